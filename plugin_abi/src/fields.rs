//! Where the fields of each struct lie. A host of an older minor version knows fewer of them: a struct may end after
//! any field, and never inside one.

use core::mem::offset_of;

use crate::*;

/// One field of a struct.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub name: &'static str,
    /// In bytes from the struct's start.
    pub offset: usize,
    pub size: usize,
    /// Into how many equal parts a host may cut it: 1, but for a frame's planes.
    pub parts: usize,
}

/// A struct, or a record of an array, that a host may know shorter or longer.
pub trait Fields {
    /// In order.
    const FIELDS: &'static [Field];
}

const fn size_of_field<S, T>(_: fn(&S) -> &T) -> usize {
    size_of::<T>()
}

/// Whether the fields cover the struct: none is left out, and there is no padding.
const fn cover(fields: &[Field], size: usize) -> bool {
    let (mut end, mut index) = (0, 0);
    while index < fields.len() {
        if fields[index].offset != end {
            return false;
        }
        end += fields[index].size;
        index += 1;
    }
    end == size
}

macro_rules! fields {
    ($($struct:ident { $($field:ident $(/ $parts:literal)?),* $(,)? })*) => {$(
        impl Fields for $struct {
            const FIELDS: &'static [Field] = &[$(Field {
                name: stringify!($field),
                offset: offset_of!($struct, $field),
                size: size_of_field(|all: &$struct| &all.$field),
                parts: 1 $(* $parts)?,
            }),*];
        }
        #[cfg(target_pointer_width = "64")]
        const _: () = assert!(cover($struct::FIELDS, size_of::<$struct>()), concat!("a field of ", stringify!($struct)));
    )*};
}

fields! {
    Error {
        struct_size, code, native_code, message,
    }
    HostInfo {
        struct_size, abi_major, abi_minor_min, abi_minor, name, log, log_user,
    }
    RuntimeDesc {
        struct_size, engine, bundle_path, profile_path, plan_cache_path, tensorrt_library, gpu_uuid, bundle_digest,
        profile_digest, plan_digest, cpus, cpu_count, flags, max_threads, max_slides, fallback, precision,
        memory_limit, gpu_memory_limit, max_batch, reserved, worker_path, isolation, worker_timeout_ms,
        trusted_keys, trusted_key_count, cpu_precision, cpu_tuning_path,
    }
    Progress {
        struct_size, stage, fraction,
    }
    RuntimeInfo {
        struct_size, engine, fallback_reason, lanes, max_batch, side, mpp, tap_count, tap_widths, embedding_width,
        feature_count, features_per_tile, self_check_error, bundle_digest, profile_digest, configuration_digest,
        bundle_name, plugin_version, plugin_commit, engine_version, driver_version, gpu_uuid, fallback_message,
        plan_digest, precision, reserved, worker_process_id, worker_restarts, engine_memory_bytes, bundle_key_id,
        profile_key_id, cpu_precision, profile_precision, cpu_kernels,
    }
    FeatureInfo {
        struct_size, index, correlation, tiles, label, cell_type, dataset, partial_correlation, p_value, groups,
    }
    RuntimeStats {
        struct_size, slides_open, frames_accepted, frames_refused, results, tiles_in_flight, batches, slots,
        slots_free, memory_bytes, submit_ns, prep_ns, lane_ns, judge_ns, budget_percent, reserved,
        worker_process_id, worker_restarts, batches_retried, wake_ups,
    }
    SlideDesc {
        struct_size, color_state, scanner_id, slide_id, color_name, mpp_x, mpp_y, extent_x, extent_y, extent_width,
        extent_height, max_frame_width, max_frame_height, spread_width, spread_height, max_tiles, max_unpolled,
        assembly_timeout_ms, result_deadline_ms, min_coverage, alpha, flags, stability_interval, tone_black,
        tone_white, tone_gamma, tone_table, tone_table_size, stain, white_balance, color_matrix, white_reference,
        not_scanned, reserved,
    }
    Frame {
        struct_size, pixel_format, bit_depth, plane_count, x, y, width, height, planes / 4, frame_id,
        capture_time_ns, group_id, pass, focal_plane, channel, flags, mask, mask_format, reserved,
    }
    TileResult {
        sequence, column, row, x, y, width, height, pass, status, flags_checked, flags_raised, flags_calibrated,
        coverage, scores, reconstruction_error, active_count, feature_offset, feature_count, embedding_offset,
        embedding_count, first_frame_id, last_frame_id, group_id, latency_ns, engine_epoch, p_values, measurements,
        channels_missing, not_scanned,
    }
    ResultBatch {
        struct_size, record_size, records, features, embeddings, record_capacity, feature_capacity,
        embedding_capacity, record_count, feature_count, embedding_count,
    }
    Alert {
        sequence, code, calibrated, x, y, width, height, since_sequence, since_frame_id, strength, threshold,
        time_ns, reason, reserved,
    }
    AlertBatch {
        struct_size, record_size, records, record_capacity, record_count,
    }
    SlideSummary {
        struct_size, state, cancelled, poisoned, opened, in_flight, results, unpolled, frames_accepted,
        frames_refused, pixels_used, pixels_duplicate, pixels_late, pixels_outside, retired_early, alerts,
        flags_checked, flags_raised, latency_p50_ns, latency_p99_ns, elapsed_ns, memory_bytes, slots, alpha, engine,
        fallback_reason, bundle_digest, profile_digest, configuration_digest, plugin_version, plugin_commit,
        engine_version, driver_version, gpu_uuid, flag_alpha, scanner_p_value, scanner_verdict, reserved,
        pixels_not_scanned, channel_refused, tiles_retried, worker_restarts, bundle_key_id, profile_key_id,
        white_point, novelty_p_value, novelty_verdict, precision, cpu_kernels,
    }
}
