//! The header, the Rust mirror and the golden files agree: every member of every struct, every constant.
//!
//! A small reader takes the names from the header, a C compiler gives their offsets, and Rust gives those of its
//! mirror. A member that is new, moved or retyped on one side therefore shows, even if sizes stay the same.
//!
//! On Windows the mirror is held against the golden files; for the header there, this test takes another compiler and what
//! runs its programs: `CC=x86_64-w64-mingw32-gcc COVERSLIP_RUNNER=wine cargo test --test layout`.
#![cfg_attr(windows, allow(dead_code, reason = "no C compiler is asked"))]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;

use coverslip_plugin_abi::*;

// -------------------------------------------------------------------------------------------- the Rust side --

/// The C name of a member's element type.
fn element<S, T>(_: fn(&S) -> &T) -> &'static str {
    match std::any::type_name::<T>().trim_start_matches('[').split(';').next().unwrap_or_default() {
        "u8" => "uint8_t",
        "i8" => "char",
        "u32" => "uint32_t",
        "i32" => "int32_t",
        "u64" => "uint64_t",
        "i64" => "int64_t",
        "f32" => "float",
        "f64" => "double",
        plane if plane.ends_with("::Plane") => "coverslip_plane",
        pointer if pointer.contains('*') || pointer.contains("fn(") => "pointer",
        other => panic!("a type that the contract does not have: {other}"),
    }
}

fn size<S, T>(_: fn(&S) -> &T) -> usize {
    size_of::<T>()
}

/// One line per struct, and one per member: C name, element type, offset, size.
macro_rules! layout {
    ($out:ident, $($c_name:literal $rust:ident { $($member:ident),* $(,)? })*) => {
        $(
            writeln!($out, "{} size {} align {}", $c_name, size_of::<$rust>(), align_of::<$rust>()).unwrap();
            $({
                let (kind, bytes) = (element(|s: &$rust| &s.$member), size(|s: &$rust| &s.$member));
                let offset = std::mem::offset_of!($rust, $member);
                writeln!($out, "{}.{} {kind} at {offset} size {bytes}", $c_name, stringify!($member)).unwrap();
            })*
        )*
    };
}

fn rust_layout() -> String {
    let mut out = String::new();
    layout! { out,
        "coverslip_error" Error { struct_size, code, native_code, message }
        "coverslip_host_info" HostInfo { struct_size, abi_major, abi_minor_min, abi_minor, name, log, log_user }
        "coverslip_runtime_desc" RuntimeDesc {
            struct_size, engine, bundle_path, profile_path, plan_cache_path, tensorrt_library, gpu_uuid,
            bundle_digest, profile_digest, plan_digest, cpus, cpu_count, flags, max_threads, max_slides, fallback,
            precision, memory_limit, gpu_memory_limit, max_batch, reserved, worker_path, isolation,
            worker_timeout_ms, trusted_keys, trusted_key_count, cpu_precision, cpu_tuning_path,
        }
        "coverslip_progress" Progress { struct_size, stage, fraction }
        "coverslip_runtime_info" RuntimeInfo {
            struct_size, engine, fallback_reason, lanes, max_batch, side, mpp, tap_count, tap_widths,
            embedding_width, feature_count, features_per_tile, self_check_error, bundle_digest, profile_digest,
            configuration_digest, bundle_name, plugin_version, plugin_commit, engine_version, driver_version,
            gpu_uuid, fallback_message, plan_digest, precision, reserved, worker_process_id, worker_restarts,
            engine_memory_bytes, bundle_key_id, profile_key_id, cpu_precision, profile_precision, cpu_kernels,
        }
        "coverslip_feature_info" FeatureInfo {
            struct_size, index, correlation, tiles, label, cell_type, dataset, partial_correlation, p_value, groups,
        }
        "coverslip_runtime_stats" RuntimeStats {
            struct_size, slides_open, frames_accepted, frames_refused, results, tiles_in_flight, batches, slots,
            slots_free, memory_bytes, submit_ns, prep_ns, lane_ns, judge_ns, budget_percent, reserved,
            worker_process_id, worker_restarts, batches_retried, wake_ups,
        }
        "coverslip_slide_desc" SlideDesc {
            struct_size, color_state, scanner_id, slide_id, color_name, mpp_x, mpp_y, extent_x, extent_y,
            extent_width, extent_height, max_frame_width, max_frame_height, spread_width, spread_height, max_tiles,
            max_unpolled, assembly_timeout_ms, result_deadline_ms, min_coverage, alpha, flags, stability_interval,
            tone_black, tone_white, tone_gamma, tone_table, tone_table_size, stain, white_balance, color_matrix,
            white_reference, not_scanned, reserved,
        }
        "coverslip_plane" Plane { data, stride, size }
        "coverslip_frame" Frame {
            struct_size, pixel_format, bit_depth, plane_count, x, y, width, height, planes, frame_id,
            capture_time_ns, group_id, pass, focal_plane, channel, flags, mask, mask_format, reserved,
        }
        "coverslip_feature" Feature { index, value }
        "coverslip_result" TileResult {
            sequence, column, row, x, y, width, height, pass, status, flags_checked, flags_raised, flags_calibrated,
            coverage, scores, reconstruction_error, active_count, feature_offset, feature_count, embedding_offset,
            embedding_count, first_frame_id, last_frame_id, group_id, latency_ns, engine_epoch, p_values,
            measurements, channels_missing, not_scanned,
        }
        "coverslip_result_batch" ResultBatch {
            struct_size, record_size, records, features, embeddings, record_capacity, feature_capacity,
            embedding_capacity, record_count, feature_count, embedding_count,
        }
        "coverslip_alert" Alert {
            sequence, code, calibrated, x, y, width, height, since_sequence, since_frame_id, strength, threshold,
            time_ns, reason, reserved,
        }
        "coverslip_alert_batch" AlertBatch { struct_size, record_size, records, record_capacity, record_count }
        "coverslip_slide_summary" SlideSummary {
            struct_size, state, cancelled, poisoned, opened, in_flight, results, unpolled, frames_accepted,
            frames_refused, pixels_used, pixels_duplicate, pixels_late, pixels_outside, retired_early, alerts,
            flags_checked, flags_raised, latency_p50_ns, latency_p99_ns, elapsed_ns, memory_bytes, slots, alpha,
            engine, fallback_reason, bundle_digest, profile_digest, configuration_digest, plugin_version,
            plugin_commit, engine_version, driver_version, gpu_uuid, flag_alpha, scanner_p_value, scanner_verdict,
            reserved, pixels_not_scanned, channel_refused, tiles_retried, worker_restarts, bundle_key_id,
            profile_key_id, white_point, novelty_p_value, novelty_verdict, precision, cpu_kernels,
        }
        "coverslip_api" Api {
            struct_size, abi_major, abi_minor, reserved, get_extension, runtime_open, runtime_info, feature_info,
            runtime_stats, runtime_set_budget, runtime_close, slide_begin, slide_submit, slide_submit_wait,
            slide_finish, slide_cancel, slide_poll, slide_wait, slide_interrupt, slide_alerts, slide_summary,
            slide_end, slide_report_json,
        }
    }
    out
}

/// `NAME = value` for every constant of the mirror, read from its source so that none can be omitted.
fn rust_constants() -> String {
    let source = include_str!("../plugin_abi/src/constants.rs");
    let declarations = source.lines().filter_map(|line| line.strip_prefix("pub const "));
    let mut out = String::new();
    for declaration in declarations {
        let (name, rest) = declaration.split_once(": ").expect("NAME: type = value;");
        let value = rest.split_once("= ").expect("= value").1.trim_end_matches(';');
        let number = match value.strip_prefix("0x") {
            Some(digits) => i64::from_str_radix(digits, 16),
            None => value.parse(),
        };
        writeln!(out, "{name} = {}", number.expect("a number")).unwrap();
    }
    out
}

// ----------------------------------------------------------------------------------------------- the C side --

const HEADER: &str = "include/coverslip/coverslip.h";
/// As hosts of version 1.0 were compiled with it. It never changes.
const HEADER_1_0: &str = "tests/c/abi_1_0/coverslip.h";

/// A header without its comments.
fn header(path: &str) -> String {
    let text = std::fs::read_to_string(coverslip_testkit::root().join(path)).expect("the header");
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some((code, comment)) = rest.split_once("/*") {
        out.push_str(code);
        rest = comment.split_once("*/").expect("comments end").1;
    }
    out + rest
}

struct Member {
    name: String,
    /// The C type, or "pointer".
    kind: String,
}

/// The structs of the header in order, with their members in order.
fn structs(header: &str) -> Vec<(String, Vec<Member>)> {
    let bodies = header.split("typedef struct ").skip(1);
    bodies
        .map(|text| {
            let (name, rest) = text.split_once('{').expect("a struct has a body");
            let (body, _) = rest.split_once('}').expect("a body ends");
            let declarations = body.split(';').map(str::trim).filter(|text| !text.is_empty());
            (name.trim().to_owned(), declarations.flat_map(members).collect())
        })
        .collect()
}

/// `type name`, `type a, b`, `type name[n]`, `type *name`, `type (CALL *name)(…)`.
fn members(declaration: &str) -> Vec<Member> {
    let pointer = |name: &str| vec![Member { name: name.trim().to_owned(), kind: "pointer".into() }];
    if let Some((_, rest)) = declaration.split_once("(COVERSLIP_CALL *") {
        return pointer(rest.split_once(')').expect("the function's name ends").0);
    }
    if let Some((_, name)) = declaration.rsplit_once('*') {
        return pointer(name);
    }
    let (kind, names) = declaration.split_once(' ').expect("a type and a name");
    // A callback's type is a pointer too.
    let kind = if kind.ends_with("_fn") { "pointer" } else { kind };
    let plain = |name: &str| name.split('[').next().unwrap_or_default().trim().to_owned();
    names.split(',').map(|name| Member { name: plain(name), kind: kind.to_owned() }).collect()
}

/// The names of the constants: `#define COVERSLIP_NAME value`.
fn constants(header: &str) -> Vec<String> {
    let defines = header.lines().filter_map(|line| line.trim().strip_prefix("#define COVERSLIP_"));
    defines
        .filter_map(|text| text.split_once(' '))
        .filter(|(name, value)| !name.contains('(') && value.trim().starts_with(|c: char| c.is_ascii_digit()))
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// Compiles and runs a C program that includes the header and whose main consists of these statements.
fn ask_c(header: &str, statements: &str) -> String {
    let scratch = coverslip_testkit::Scratch::new("layout");
    let (source, program) = (scratch.join("layout.c"), scratch.join("layout.exe"));
    let text = format!(
        "#include \"{}\"\n#include <stdalign.h>\n#include <stdio.h>\nint main(void) {{\n{statements}return 0;\n}}\n",
        coverslip_testkit::root().join(header).display()
    );
    std::fs::write(&source, text).expect("the source");
    coverslip_testkit::run(coverslip_testkit::cc().arg("-std=c11").arg(&source).arg("-o").arg(&program));
    let Ok(runner) = std::env::var("COVERSLIP_RUNNER") else {
        return coverslip_testkit::stdout(&mut Command::new(program));
    };
    let mut words = runner.split_whitespace();
    let mut command = Command::new(words.next().expect("a runner"));
    coverslip_testkit::stdout(command.args(words).arg(program)).replace("\r\n", "\n")
}

fn c_layout(path: &str) -> String {
    let mut statements = String::new();
    for (name, members) in structs(&header(path)) {
        writeln!(statements, "printf(\"{name} size %zu align %zu\\n\", sizeof({name}), alignof({name}));").unwrap();
        for Member { name: member, kind } in members {
            writeln!(
                statements,
                "printf(\"{name}.{member} {kind} at %zu size %zu\\n\", offsetof({name}, {member}), \
                 sizeof((({name} *)0)->{member}));"
            )
            .unwrap();
        }
    }
    ask_c(path, &statements)
}

fn c_constants(path: &str) -> String {
    let mut statements = String::new();
    for name in constants(&header(path)) {
        writeln!(statements, "printf(\"{name} = %lld\\n\", (long long)COVERSLIP_{name});").unwrap();
    }
    ask_c(path, &statements)
}

// ------------------------------------------------------------------------------------------------ the tests --

fn golden(name: &str) -> PathBuf {
    coverslip_testkit::root().join("plugin_abi/golden").join(name)
}

#[cfg(not(windows))]
#[test]
#[cfg(target_pointer_width = "64")]
fn every_member_has_the_same_offset_in_the_header_in_rust_and_in_the_golden_file() {
    let c = c_layout(HEADER);
    // If C's char is unsigned, Rust's c_char and u8 are one type.
    let comparable = if std::ffi::c_char::MIN == 0 { c.replace(" char ", " uint8_t ") } else { c.clone() };
    coverslip_testkit::assert_same("the header (expected) and plugin_abi (found)", &comparable, &rust_layout());
    coverslip_testkit::assert_golden(&golden("layout.txt"), &c);
}

#[cfg(not(windows))]
#[test]
fn every_constant_has_the_same_value() {
    let c = c_constants(HEADER);
    coverslip_testkit::assert_same("the header (expected) and plugin_abi (found)", &c, &rust_constants());
    coverslip_testkit::assert_golden(&golden("constants.txt"), &c);
}

#[cfg(windows)]
#[test]
fn the_mirror_is_what_the_golden_files_say() {
    let said = |name: &str| std::fs::read_to_string(golden(name)).expect("a golden file").replace("\r\n", "\n");
    coverslip_testkit::assert_same("layout.txt (expected) and plugin_abi (found)", &said("layout.txt"), &rust_layout());
    let (constants, mirror) = (said("constants.txt"), rust_constants());
    coverslip_testkit::assert_same("constants.txt (expected) and plugin_abi (found)", &constants, &mirror);
}

/// Hosts compiled against 1.0 go on: every member and every constant of its header is where and what it was.
#[cfg(not(windows))]
#[test]
#[cfg(target_pointer_width = "64")]
fn nothing_of_1_0_has_moved() {
    let (layout, values) = (c_layout(HEADER), c_constants(HEADER));
    let (layout_1_0, values_1_0) = (c_layout(HEADER_1_0), c_constants(HEADER_1_0));
    let is_not_in = |text: &str, line: &&str| !text.lines().any(|other| other == *line);
    let moved: Vec<&str> =
        layout_1_0.lines().filter(|line| line.contains(" at ") && is_not_in(&layout, line)).collect();
    assert!(moved.is_empty(), "members of 1.0 have moved: {moved:#?}");
    let changed: Vec<&str> = values_1_0.lines().filter(|line| is_not_in(&values, line)).collect();
    assert_eq!(changed, ["ABI_MINOR = 0"], "constants of 1.0 have changed");
}

/// A constant's C type decides how it compares with a member: flags and formats are unsigned, codes are signed.
#[cfg(not(windows))]
#[test]
fn every_constant_has_the_sign_of_its_rust_type() {
    let mut statements = String::new();
    for name in constants(&header(HEADER)) {
        let sign = format!("_Generic((COVERSLIP_{name}), unsigned: \"unsigned\", int: \"int\", default: \"other\")");
        writeln!(statements, "printf(\"{name} %s\\n\", {sign});").unwrap();
    }
    let mut rust = String::new();
    for line in include_str!("../plugin_abi/src/constants.rs").lines() {
        let Some((name, rest)) = line.strip_prefix("pub const ").and_then(|text| text.split_once(": ")) else {
            continue;
        };
        // Lengths of arrays are usize in Rust and plain numbers in C.
        let sign = if rest.starts_with("u32") { "unsigned" } else { "int" };
        writeln!(rust, "{name} {sign}").unwrap();
    }
    coverslip_testkit::assert_same("the header (expected) and plugin_abi (found)", &ask_c(HEADER, &statements), &rust);
}

/// The wrapper names every code, tile status, flag and alert of the header.
#[test]
fn the_cpp_header_names_every_constant_of_its_enumerations() {
    let text =
        std::fs::read_to_string(coverslip_testkit::root().join("include/coverslip/coverslip.hpp")).expect("the header");
    let all = constants(&header(HEADER));
    let behind_the_codes = all.iter().position(|name| name == "ENGINE_AUTO").expect("what follows the codes");
    let codes = all[..behind_the_codes].iter().filter(|name| !name.starts_with("ABI_M") || *name == "ABI_MISMATCH");
    let prefixed = all.iter().filter(|name| ["TILE_", "FLAG_", "ALERT_"].iter().any(|p| name.starts_with(p)));
    let missing: BTreeSet<&String> = codes
        .chain(prefixed)
        .filter(|name| *name != "FLAG_COUNT")
        .filter(|name| {
            let short = ["TILE_", "FLAG_", "ALERT_"].iter().find_map(|p| name.strip_prefix(p)).unwrap_or(name);
            !text.contains(&format!("COVERSLIP_{name}")) || !text.contains(&format!("return \"{short}\""))
        })
        .collect();
    assert!(missing.is_empty(), "coverslip.hpp does not know {missing:?}");
}

/// The reader above finds every struct of the header, and every struct begins with its size.
#[test]
fn the_reader_sees_the_whole_header() {
    let header = header(HEADER);
    let structs = structs(&header);
    assert_eq!(structs.len(), header.matches("typedef struct").count());
    for (name, members) in &structs {
        // Planes, features, results and alerts are elements of arrays, whose owner has the size.
        let element = ["plane", "feature", "result", "alert"].iter().any(|e| name == &format!("coverslip_{e}"));
        assert!(element || members[0].name == "struct_size", "{name} does not begin with struct_size");
    }
    assert!(constants(&header).len() > 90);
}
