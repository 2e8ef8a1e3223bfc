//! Every struct of the header, field by field.

use core::ffi::{c_char, c_void};

use crate::{MEASUREMENT_COUNT, SCORE_COUNT};

/// `coverslip_runtime`: a handle; 0 is never valid.
pub type Runtime = u64;
/// `coverslip_slide`: a handle; 0 is never valid.
pub type Slide = u64;
/// `coverslip_log_fn`
pub type LogFn = unsafe extern "C" fn(user: *mut c_void, level: i32, message: *const c_char);
/// `coverslip_progress_fn`
pub type ProgressFn = unsafe extern "C" fn(user: *mut c_void, progress: *const Progress) -> i32;
/// `coverslip_get_api_fn`, the type of the one exported symbol.
pub type GetApiFn = unsafe extern "C" fn(host: *const HostInfo, api: *mut *const Api, error: *mut Error) -> i32;

/// `coverslip_error`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Error {
    pub struct_size: u32,
    pub code: i32,
    pub native_code: i64,
    pub message: [c_char; 512],
}

/// `coverslip_host_info`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct HostInfo {
    pub struct_size: u32,
    pub abi_major: u32,
    pub abi_minor_min: u32,
    pub abi_minor: u32,
    pub name: *const c_char,
    pub log: Option<LogFn>,
    pub log_user: *mut c_void,
}

/// `coverslip_runtime_desc`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RuntimeDesc {
    pub struct_size: u32,
    pub engine: i32,
    pub bundle_path: *const c_char,
    pub profile_path: *const c_char,
    pub plan_cache_path: *const c_char,
    pub tensorrt_library: *const c_char,
    pub gpu_uuid: *const c_char,
    pub bundle_digest: *const u8,
    pub profile_digest: *const u8,
    pub plan_digest: *const u8,
    pub cpus: *const u32,
    pub cpu_count: u32,
    pub flags: u32,
    pub max_threads: u32,
    pub max_slides: u32,
    pub fallback: i32,
    pub precision: i32,
    pub memory_limit: u64,
    pub gpu_memory_limit: u64,
    pub max_batch: u32,
    pub reserved: u32,
    pub worker_path: *const c_char,
    pub isolation: i32,
    pub worker_timeout_ms: u32,
    pub trusted_keys: *const *const c_char,
    pub trusted_key_count: u32,
    pub cpu_precision: i32,
    pub cpu_tuning_path: *const c_char,
}

/// `coverslip_progress`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    pub struct_size: u32,
    pub stage: i32,
    pub fraction: f64,
}

/// `coverslip_runtime_info`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RuntimeInfo {
    pub struct_size: u32,
    pub engine: i32,
    pub fallback_reason: i32,
    pub lanes: u32,
    pub max_batch: u32,
    pub side: u32,
    pub mpp: f64,
    pub tap_count: u32,
    pub tap_widths: [u32; 16],
    pub embedding_width: u32,
    pub feature_count: u32,
    pub features_per_tile: u32,
    pub self_check_error: f64,
    pub bundle_digest: [u8; 32],
    pub profile_digest: [u8; 32],
    pub configuration_digest: [u8; 32],
    pub bundle_name: [c_char; 128],
    pub plugin_version: [c_char; 32],
    pub plugin_commit: [c_char; 48],
    pub engine_version: [c_char; 64],
    pub driver_version: [c_char; 64],
    pub gpu_uuid: [c_char; 64],
    pub fallback_message: [c_char; 256],
    pub plan_digest: [u8; 32],
    pub precision: i32,
    pub reserved: u32,
    pub worker_process_id: u64,
    pub worker_restarts: u64,
    pub engine_memory_bytes: u64,
    pub bundle_key_id: u64,
    pub profile_key_id: u64,
    pub cpu_precision: i32,
    pub profile_precision: i32,
    pub cpu_kernels: [c_char; 64],
}

/// `coverslip_feature_info`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FeatureInfo {
    pub struct_size: u32,
    pub index: u32,
    pub correlation: f64,
    pub tiles: u64,
    pub label: [c_char; 128],
    pub cell_type: [c_char; 64],
    pub dataset: [c_char; 128],
    pub partial_correlation: f64,
    pub p_value: f64,
    pub groups: u64,
}

/// `coverslip_runtime_stats`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RuntimeStats {
    pub struct_size: u32,
    pub slides_open: u32,
    pub frames_accepted: u64,
    pub frames_refused: u64,
    pub results: [u64; 8],
    pub tiles_in_flight: u64,
    pub batches: u64,
    pub slots: u64,
    pub slots_free: u64,
    pub memory_bytes: u64,
    pub submit_ns: u64,
    pub prep_ns: u64,
    pub lane_ns: u64,
    pub judge_ns: u64,
    pub budget_percent: u32,
    pub reserved: u32,
    pub worker_process_id: u64,
    pub worker_restarts: u64,
    pub batches_retried: u64,
    pub wake_ups: u64,
}

/// `coverslip_slide_desc`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SlideDesc {
    pub struct_size: u32,
    pub color_state: i32,
    pub scanner_id: *const c_char,
    pub slide_id: *const c_char,
    pub color_name: *const c_char,
    pub mpp_x: f64,
    pub mpp_y: f64,
    pub extent_x: i64,
    pub extent_y: i64,
    pub extent_width: u64,
    pub extent_height: u64,
    pub max_frame_width: u32,
    pub max_frame_height: u32,
    pub spread_width: u64,
    pub spread_height: u64,
    pub max_tiles: u32,
    pub max_unpolled: u32,
    pub assembly_timeout_ms: u32,
    pub result_deadline_ms: u32,
    pub min_coverage: f64,
    pub alpha: f64,
    pub flags: u32,
    pub stability_interval: u32,
    pub tone_black: f64,
    pub tone_white: f64,
    pub tone_gamma: f64,
    pub tone_table: *const u8,
    pub tone_table_size: u32,
    pub stain: i32,
    pub white_balance: [f64; 3],
    pub color_matrix: [f64; 9],
    pub white_reference: [f64; 3],
    pub not_scanned: [u32; 3],
    pub reserved: u32,
}

/// `coverslip_plane`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Plane {
    pub data: *const u8,
    pub stride: u64,
    pub size: u64,
}

/// `coverslip_frame`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    pub struct_size: u32,
    pub pixel_format: u32,
    pub bit_depth: u32,
    pub plane_count: u32,
    pub x: i64,
    pub y: i64,
    pub width: u32,
    pub height: u32,
    pub planes: [Plane; 4],
    pub frame_id: u64,
    pub capture_time_ns: i64,
    pub group_id: u64,
    pub pass: u32,
    pub focal_plane: i32,
    pub channel: i32,
    pub flags: u32,
    pub mask: Plane,
    pub mask_format: i32,
    pub reserved: u32,
}

/// `coverslip_feature`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Feature {
    pub index: u32,
    pub value: f32,
}

/// `coverslip_result` (renamed: `Result` is taken in Rust)
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct TileResult {
    pub sequence: u64,
    pub column: i32,
    pub row: i32,
    pub x: i64,
    pub y: i64,
    pub width: u32,
    pub height: u32,
    pub pass: u32,
    pub status: i32,
    pub flags_checked: u32,
    pub flags_raised: u32,
    pub flags_calibrated: u32,
    pub coverage: f32,
    pub scores: [f32; SCORE_COUNT],
    pub reconstruction_error: f32,
    pub active_count: u32,
    pub feature_offset: u32,
    pub feature_count: u32,
    pub embedding_offset: u32,
    pub embedding_count: u32,
    pub first_frame_id: u64,
    pub last_frame_id: u64,
    pub group_id: u64,
    pub latency_ns: u64,
    pub engine_epoch: u64,
    pub p_values: [f32; SCORE_COUNT],
    pub measurements: [f32; MEASUREMENT_COUNT],
    pub channels_missing: u32,
    pub not_scanned: f32,
}

/// `coverslip_result_batch`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ResultBatch {
    pub struct_size: u32,
    pub record_size: u32,
    pub records: *mut TileResult,
    pub features: *mut Feature,
    pub embeddings: *mut f32,
    pub record_capacity: u32,
    pub feature_capacity: u32,
    pub embedding_capacity: u32,
    pub record_count: u32,
    pub feature_count: u32,
    pub embedding_count: u32,
}

/// `coverslip_alert`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Alert {
    pub sequence: u64,
    pub code: i32,
    pub calibrated: u32,
    pub x: i64,
    pub y: i64,
    pub width: u64,
    pub height: u64,
    pub since_sequence: u64,
    pub since_frame_id: u64,
    pub strength: f64,
    pub threshold: f64,
    pub time_ns: i64,
    pub reason: i32,
    pub reserved: u32,
}

/// `coverslip_alert_batch`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct AlertBatch {
    pub struct_size: u32,
    pub record_size: u32,
    pub records: *mut Alert,
    pub record_capacity: u32,
    pub record_count: u32,
}

/// `coverslip_slide_summary`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SlideSummary {
    pub struct_size: u32,
    pub state: i32,
    pub cancelled: u32,
    pub poisoned: u32,
    pub opened: u64,
    pub in_flight: u64,
    pub results: [u64; 8],
    pub unpolled: u64,
    pub frames_accepted: u64,
    pub frames_refused: u64,
    pub pixels_used: u64,
    pub pixels_duplicate: u64,
    pub pixels_late: u64,
    pub pixels_outside: u64,
    pub retired_early: u64,
    pub alerts: u64,
    pub flags_checked: [u64; 16],
    pub flags_raised: [u64; 16],
    pub latency_p50_ns: u64,
    pub latency_p99_ns: u64,
    pub elapsed_ns: u64,
    pub memory_bytes: u64,
    pub slots: u64,
    pub alpha: f64,
    pub engine: i32,
    pub fallback_reason: i32,
    pub bundle_digest: [u8; 32],
    pub profile_digest: [u8; 32],
    pub configuration_digest: [u8; 32],
    pub plugin_version: [c_char; 32],
    pub plugin_commit: [c_char; 48],
    pub engine_version: [c_char; 64],
    pub driver_version: [c_char; 64],
    pub gpu_uuid: [c_char; 64],
    pub flag_alpha: [f64; SCORE_COUNT],
    pub scanner_p_value: f64,
    pub scanner_verdict: i32,
    pub reserved: u32,
    pub pixels_not_scanned: u64,
    pub channel_refused: [u64; 4],
    pub tiles_retried: u64,
    pub worker_restarts: u64,
    pub bundle_key_id: u64,
    pub profile_key_id: u64,
    pub white_point: [f64; 3],
    pub novelty_p_value: f64,
    pub novelty_verdict: i32,
    pub precision: i32,
    pub cpu_kernels: [c_char; 64],
}

/// `coverslip_api`: the function table.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Api {
    pub struct_size: u32,
    pub abi_major: u32,
    pub abi_minor: u32,
    pub reserved: u32,
    pub get_extension: unsafe extern "C" fn(name: *const c_char) -> *const c_void,
    pub runtime_open: unsafe extern "C" fn(
        desc: *const RuntimeDesc,
        progress: Option<ProgressFn>,
        progress_user: *mut c_void,
        out: *mut Runtime,
        error: *mut Error,
    ) -> i32,
    pub runtime_info: unsafe extern "C" fn(runtime: Runtime, out: *mut RuntimeInfo, error: *mut Error) -> i32,
    pub feature_info:
        unsafe extern "C" fn(runtime: Runtime, index: u32, out: *mut FeatureInfo, error: *mut Error) -> i32,
    pub runtime_stats: unsafe extern "C" fn(runtime: Runtime, out: *mut RuntimeStats, error: *mut Error) -> i32,
    pub runtime_set_budget: unsafe extern "C" fn(runtime: Runtime, percent: u32, error: *mut Error) -> i32,
    pub runtime_close: unsafe extern "C" fn(runtime: Runtime, timeout_ms: u32, error: *mut Error) -> i32,
    pub slide_begin:
        unsafe extern "C" fn(runtime: Runtime, desc: *const SlideDesc, out: *mut Slide, error: *mut Error) -> i32,
    pub slide_submit: unsafe extern "C" fn(slide: Slide, frame: *const Frame, error: *mut Error) -> i32,
    pub slide_submit_wait:
        unsafe extern "C" fn(slide: Slide, frame: *const Frame, timeout_ms: u32, error: *mut Error) -> i32,
    pub slide_finish: unsafe extern "C" fn(slide: Slide, timeout_ms: u32, error: *mut Error) -> i32,
    pub slide_cancel: unsafe extern "C" fn(slide: Slide, error: *mut Error) -> i32,
    pub slide_poll: unsafe extern "C" fn(slide: Slide, batch: *mut ResultBatch, error: *mut Error) -> i32,
    pub slide_wait:
        unsafe extern "C" fn(slide: Slide, batch: *mut ResultBatch, timeout_ms: u32, error: *mut Error) -> i32,
    pub slide_interrupt: unsafe extern "C" fn(slide: Slide, error: *mut Error) -> i32,
    pub slide_alerts: unsafe extern "C" fn(slide: Slide, batch: *mut AlertBatch, error: *mut Error) -> i32,
    pub slide_summary: unsafe extern "C" fn(slide: Slide, out: *mut SlideSummary, error: *mut Error) -> i32,
    pub slide_end: unsafe extern "C" fn(slide: Slide, error: *mut Error) -> i32,
    pub slide_report_json: unsafe extern "C" fn(
        slide: Slide,
        buffer: *mut c_char,
        capacity: u64,
        needed: *mut u64,
        error: *mut Error,
    ) -> i32,
}

/// A struct that crosses the line: plain data that begins with `struct_size`.
///
/// # Safety
/// The type is `repr(C)`, its first member is a `u32` that holds its size, and all zero bytes are a valid value.
pub unsafe trait AbiStruct: Copy {
    /// The struct with every byte zero and `struct_size` set: what `COVERSLIP_INIT` makes.
    fn init() -> Self {
        let mut value = core::mem::MaybeUninit::<Self>::zeroed();
        // SAFETY: by the trait's contract zero bytes are valid, and the first member is a u32.
        unsafe {
            value.as_mut_ptr().cast::<u32>().write(size_of::<Self>() as u32);
            value.assume_init()
        }
    }
}

macro_rules! abi_structs {
    ($($name:ident),* $(,)?) => {
        // SAFETY: each is repr(C) plain data (integers, floats, raw pointers, optional function pointers) that
        // begins with `struct_size: u32`.
        $(unsafe impl AbiStruct for $name {})*
    };
}

abi_structs!(
    Error,
    HostInfo,
    RuntimeDesc,
    Progress,
    RuntimeInfo,
    FeatureInfo,
    RuntimeStats,
    SlideDesc,
    Frame,
    ResultBatch,
    AlertBatch,
    SlideSummary,
);
