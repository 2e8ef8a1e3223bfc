//! The functions of the table: each says what it sees, passes the call on, and says what came of it.

use std::ffi::{CStr, c_char, c_void};
use std::sync::OnceLock;

use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::{
    AbiStruct, AlertBatch, Error, Feature, FeatureInfo, Frame, Plane, ProgressFn, ResultBatch, RuntimeDesc,
    RuntimeInfo, RuntimeStats, SlideDesc, SlideSummary, TileResult,
};

use crate::guarded::Guarded;
use crate::maps::{Access, first_beyond};
use crate::real::real;
use crate::report::broken;
use crate::state::{
    Callback, Submitting, begin_call, has_ended, inside, runtime_ended, slide_begun, slide_ended, with_slide,
};
use crate::{report, rules};

/// The table that hosts get: the real one's, with these functions.
pub(crate) fn table(real: &abi::Api) -> &'static abi::Api {
    static TABLE: OnceLock<abi::Api> = OnceLock::new();
    TABLE.get_or_init(|| abi::Api {
        struct_size: size_of::<abi::Api>() as u32,
        get_extension,
        runtime_open,
        runtime_info,
        feature_info,
        runtime_stats,
        runtime_set_budget,
        runtime_close,
        slide_begin,
        slide_submit,
        slide_submit_wait,
        slide_finish,
        slide_cancel,
        slide_poll,
        slide_wait,
        slide_interrupt,
        slide_alerts,
        slide_summary,
        slide_end,
        slide_report_json,
        ..*real
    })
}

/// What an answer says of the call.
///
/// # Safety
/// `error` is as the contract says.
pub(crate) unsafe fn heard(call: &str, code: i32, error: *const Error) {
    let rule = match code {
        abi::INVALID_STRUCT => rules::STRUCT_SIZE,
        abi::ABI_MISMATCH => return,
        abi::INVALID_ARGUMENT => rules::ARGUMENT,
        abi::UNSUPPORTED_FORMAT => rules::FORMAT,
        abi::FRAME_TOO_LARGE => rules::FRAME_TOO_LARGE,
        abi::OUT_OF_EXTENT => rules::FRAME_OUTSIDE,
        _ => return,
    };
    // SAFETY: the caller's promise.
    let said = unsafe { message(error) };
    let rule = if code == abi::INVALID_STRUCT && said.contains("record_size") { rules::RECORD_SIZE } else { rule };
    broken(rule, call, if said.is_empty() { "the library refused it" } else { &said });
}

/// # Safety
/// As the contract says of an error that the library has just written.
unsafe fn message(error: *const Error) -> String {
    // SAFETY: the caller's promise; a struct that is too small for a whole message is left alone.
    match unsafe { error.as_ref() } {
        Some(error) if error.struct_size as usize >= size_of::<Error>() => {
            // SAFETY: the library terminates its message.
            unsafe { CStr::from_ptr(error.message.as_ptr()) }.to_string_lossy().into_owned()
        }
        _ => String::new(),
    }
}

/// A call with a handle that has ended.
fn expect_live(handle: u64, call: &str) {
    if has_ended(handle) {
        broken(rules::STALE_HANDLE, call, &format!("the handle {handle:#x} has ended"));
    }
}

// -- callbacks --------------------------------------------------------------------------------------------------------

/// The host's log callback and its `user`, kept for ever: a runtime may log as long as it is open.
pub(crate) struct Log(Option<abi::LogFn>, *mut c_void);

pub(crate) fn wrap_log(log: Option<abi::LogFn>, user: *mut c_void) -> *mut Log {
    Box::into_raw(Box::new(Log(log, user)))
}

pub(crate) unsafe extern "C" fn log(user: *mut c_void, level: i32, message: *const c_char) {
    // SAFETY: `user` is what `wrap_log` made.
    let Log(log, user) = unsafe { &*user.cast::<Log>() };
    if let Some(log) = log {
        // SAFETY: the host's callback, with its own `user`.
        inside(Callback::Log, || unsafe { log(*user, level, message) });
    }
}

struct Progress(ProgressFn, *mut c_void);

unsafe extern "C" fn progress(user: *mut c_void, state: *const abi::Progress) -> i32 {
    // SAFETY: `user` is the struct in `runtime_open`, which is running.
    let Progress(run, user) = unsafe { &*user.cast::<Progress>() };
    // SAFETY: the host's callback, with its own `user`.
    inside(Callback::Progress, || unsafe { run(*user, state) })
}

// -- the functions ----------------------------------------------------------------------------------------------------
//
// SAFETY (of every `unsafe` block below): the host's pointers go on as they came; what is read of them first is what the
// contract lets the library read, and is checked as the library checks it.

unsafe extern "C" fn get_extension(name: *const c_char) -> *const c_void {
    begin_call("get_extension", false);
    // SAFETY: see above.
    unsafe { (real().get_extension)(name) }
}

unsafe extern "C" fn runtime_open(
    desc: *const RuntimeDesc,
    run: Option<ProgressFn>,
    user: *mut c_void,
    out: *mut u64,
    error: *mut Error,
) -> i32 {
    begin_call("runtime_open", true);
    let mut wrapped = run.map(|run| Progress(run, user));
    let (run, user) = match wrapped.as_mut() {
        Some(wrapped) => (Some(progress as ProgressFn), (&raw mut *wrapped).cast()),
        None => (None, user),
    };
    // SAFETY: see above; `wrapped` lives until the call returns.
    let code = unsafe { (real().runtime_open)(desc, run, user, out, error) };
    // SAFETY: see above.
    unsafe { heard("runtime_open", code, error) };
    if code == abi::OK {
        // SAFETY: on OK the handle was written.
        report::opened(unsafe { *out }, rules::NOT_CLOSED);
    }
    code
}

/// A function that only takes a handle and an output or nothing.
macro_rules! passed_on {
    ($($name:ident($handle:ident $(, $argument:ident: $kind:ty)*) $control:literal;)*) => {$(
        unsafe extern "C" fn $name($handle: u64, $($argument: $kind,)* error: *mut Error) -> i32 {
            begin_call(stringify!($name), $control);
            expect_live($handle, stringify!($name));
            with_slide($handle, |known| known.called());
            // SAFETY: see above.
            let code = unsafe { (real().$name)($handle, $($argument,)* error) };
            // SAFETY: see above.
            unsafe { heard(stringify!($name), code, error) };
            code
        }
    )*};
}

passed_on! {
    runtime_info(runtime, out: *mut RuntimeInfo) false;
    feature_info(runtime, index: u32, out: *mut FeatureInfo) false;
    runtime_stats(runtime, out: *mut RuntimeStats) false;
    runtime_set_budget(runtime, percent: u32) false;
    slide_interrupt(slide) false;
    slide_alerts(slide, batch: *mut AlertBatch) false;
    slide_summary(slide, out: *mut SlideSummary) false;
    slide_report_json(slide, buffer: *mut c_char, capacity: u64, needed: *mut u64) false;
}

unsafe extern "C" fn runtime_close(runtime: u64, timeout_ms: u32, error: *mut Error) -> i32 {
    begin_call("runtime_close", true);
    // SAFETY: see above.
    let code = unsafe { (real().runtime_close)(runtime, timeout_ms, error) };
    if code != abi::INVALID_HANDLE {
        runtime_ended(runtime);
        report::closed(runtime);
    }
    code
}

unsafe extern "C" fn slide_begin(runtime: u64, desc: *const SlideDesc, out: *mut u64, error: *mut Error) -> i32 {
    begin_call("slide_begin", true);
    expect_live(runtime, "slide_begin");
    // SAFETY: see above.
    let code = unsafe { (real().slide_begin)(runtime, desc, out, error) };
    // SAFETY: see above.
    unsafe { heard("slide_begin", code, error) };
    if code == abi::OK {
        // SAFETY: on OK the handle was written.
        slide_begun(unsafe { *out });
    }
    code
}

unsafe extern "C" fn slide_submit(slide: u64, frame: *const Frame, error: *mut Error) -> i32 {
    // SAFETY: see above.
    unsafe {
        submit("slide_submit", slide, frame, error, |slide, frame, error| (real().slide_submit)(slide, frame, error))
    }
}

unsafe extern "C" fn slide_submit_wait(slide: u64, frame: *const Frame, timeout_ms: u32, error: *mut Error) -> i32 {
    let pass = |slide, frame, error| {
        // SAFETY: see above.
        unsafe { (real().slide_submit_wait)(slide, frame, timeout_ms, error) }
    };
    // SAFETY: see above.
    unsafe { submit("slide_submit_wait", slide, frame, error, pass) }
}

unsafe fn submit(
    call: &str,
    slide: u64,
    frame: *const Frame,
    error: *mut Error,
    pass: impl FnOnce(u64, *const Frame, *mut Error) -> i32,
) -> i32 {
    begin_call(call, false);
    expect_live(slide, call);
    let finished = with_slide(slide, |known| {
        known.called();
        known.finished && !known.cancelled
    });
    if finished == Some(true) {
        broken(rules::AFTER_FINISH, call, "a frame after slide_finish");
    }
    if let Some(Some(waited)) = with_slide(slide, |known| known.waits()) {
        let what = format!("frames come, and nobody has polled for {:.0} s", waited.as_secs_f64());
        broken(rules::RESULTS_WAIT, call, &what);
    }
    let _submitting = Submitting::begin(slide, call);
    // SAFETY: see above.
    let planes = unsafe { readable_planes(call, frame) };
    let before = planes.map(sum);
    let code = pass(slide, frame, error);
    if before != planes.map(sum) {
        broken(rules::FRAME_CHANGED, call, "the frame's memory changed while the library read it");
    }
    // SAFETY: see above.
    unsafe { heard(call, code, error) };
    code
}

/// The frame's planes that can be read as far as the frame says.
unsafe fn readable_planes(call: &str, frame: *const Frame) -> [Option<Plane>; 4] {
    // SAFETY: a frame of 1.0 or 1.1 has its planes.
    let Some(frame) = (unsafe { frame.as_ref() }) else { return [None; 4] };
    if (frame.struct_size as usize) < size_of::<abi::Frame>() {
        return [None; 4];
    }
    let stated = [frame.planes[0], frame.planes[1], frame.planes[2], frame.mask];
    std::array::from_fn(|at| {
        let plane = stated[at];
        if plane.data.is_null() || plane.size == 0 {
            return None;
        }
        let start = plane.data as u64;
        let beyond = match start.checked_add(plane.size) {
            Some(end) => first_beyond(start..end, Access::Read),
            None => Some(start),
        };
        let Some(beyond) = beyond else { return Some(plane) };
        let name = if at == 3 { "mask".to_owned() } else { format!("planes[{at}]") };
        let readable = beyond - start;
        let what = format!("{name}.size is {}, and {readable} bytes from data on can be read", plane.size);
        broken(rules::FRAME_MEMORY, call, &what);
        None
    })
}

/// A sum of a plane's bytes, in which every change shows.
fn sum(plane: Option<Plane>) -> u64 {
    let Some(plane) = plane else { return 0 };
    let byte = |at: u64| {
        // SAFETY: `readable_planes` has found that so many bytes can be read. Volatile, since another thread may write.
        u64::from(unsafe { plane.data.add(at as usize).read_volatile() })
    };
    (0..plane.size).fold(0xcbf2_9ce4_8422_2325, |sum: u64, at| (sum ^ byte(at)).wrapping_mul(0x100_0000_01b3))
}

unsafe extern "C" fn slide_finish(slide: u64, timeout_ms: u32, error: *mut Error) -> i32 {
    begin_call("slide_finish", true);
    expect_live(slide, "slide_finish");
    with_slide(slide, |known| known.finished = true);
    // SAFETY: see above.
    unsafe { (real().slide_finish)(slide, timeout_ms, error) }
}

unsafe extern "C" fn slide_cancel(slide: u64, error: *mut Error) -> i32 {
    begin_call("slide_cancel", false);
    expect_live(slide, "slide_cancel");
    with_slide(slide, |known| known.cancelled = true);
    // SAFETY: see above.
    unsafe { (real().slide_cancel)(slide, error) }
}

unsafe extern "C" fn slide_poll(slide: u64, batch: *mut ResultBatch, error: *mut Error) -> i32 {
    // SAFETY: see above.
    unsafe { take("slide_poll", slide, batch, error, |slide, batch, error| (real().slide_poll)(slide, batch, error)) }
}

unsafe extern "C" fn slide_wait(slide: u64, batch: *mut ResultBatch, timeout_ms: u32, error: *mut Error) -> i32 {
    let pass = |slide, batch, error| {
        // SAFETY: see above.
        unsafe { (real().slide_wait)(slide, batch, timeout_ms, error) }
    };
    // SAFETY: see above.
    unsafe { take("slide_wait", slide, batch, error, pass) }
}

/// Gives the library buffers of ours in place of the host's, and the host what came into them.
unsafe fn take(
    call: &str,
    slide: u64,
    batch: *mut ResultBatch,
    error: *mut Error,
    pass: impl FnOnce(u64, *mut ResultBatch, *mut Error) -> i32,
) -> i32 {
    begin_call(call, false);
    expect_live(slide, call);
    // SAFETY: see above.
    let stated = unsafe { batch.as_ref() }.filter(|batch| batch.struct_size as usize >= size_of::<ResultBatch>());
    let Some(stated) = stated.filter(|stated| buffers_are_sound(call, stated)) else {
        let code = pass(slide, batch, error);
        // SAFETY: see above.
        unsafe { heard(call, code, error) };
        return code;
    };
    let mut ours = *stated;
    ours.struct_size = size_of::<ResultBatch>() as u32;
    let [records, features, embeddings] = sizes(stated);
    let mut guarded = [records, features, embeddings].map(Guarded::new);
    ours.records = guarded[0].pointer();
    // A buffer that the host left out stays left out.
    ours.features = if features == 0 { stated.features } else { guarded[1].pointer() };
    ours.embeddings = if embeddings == 0 { stated.embeddings } else { guarded[2].pointer() };
    let code = pass(slide, &mut ours, error);
    if !guarded.iter().all(Guarded::is_sound) {
        broken(rules::LIBRARY_WROTE_BEYOND, call, "the library wrote beside a buffer: report it");
    }
    if code == abi::OK || code == abi::END_OF_RESULTS {
        // SAFETY: the host's buffers hold what it stated, and the library has filled no more than that.
        unsafe {
            let bytes = ours.record_count as usize * ours.record_size as usize;
            std::ptr::copy_nonoverlapping(ours.records.cast::<u8>(), stated.records.cast::<u8>(), bytes);
            if features > 0 {
                std::ptr::copy_nonoverlapping(ours.features, stated.features, ours.feature_count as usize);
            }
            if embeddings > 0 {
                std::ptr::copy_nonoverlapping(ours.embeddings, stated.embeddings, ours.embedding_count as usize);
            }
            (*batch).record_count = ours.record_count;
            (*batch).feature_count = ours.feature_count;
            (*batch).embedding_count = ours.embedding_count;
        }
    }
    with_slide(slide, |known| {
        known.called();
        known.took(u64::from(ours.record_count));
    });
    // SAFETY: see above.
    unsafe { heard(call, code, error) };
    code
}

/// Bytes of the three buffers.
fn sizes(batch: &ResultBatch) -> [usize; 3] {
    let of = |count: u32, size: usize, there: bool| if there { count as usize * size } else { 0 };
    [
        of(batch.record_capacity, batch.record_size as usize, !batch.records.is_null()),
        of(batch.feature_capacity, size_of::<Feature>(), !batch.features.is_null()),
        of(batch.embedding_capacity, 4, !batch.embeddings.is_null()),
    ]
}

/// Whether the host's buffers can be written as far as it says, and lie apart. Sizes that the library refuses are left to
/// it.
fn buffers_are_sound(call: &str, batch: &ResultBatch) -> bool {
    let record = batch.record_size as usize;
    if record == 0 || record > 4 * size_of::<TileResult>() || batch.records.is_null() {
        return false;
    }
    let places = [batch.records as u64, batch.features as u64, batch.embeddings as u64];
    let names = ["records", "features", "embeddings"];
    let ranges: Vec<_> = places.into_iter().zip(sizes(batch)).map(|(start, size)| start..start + size as u64).collect();
    let mut sound = true;
    for (range, name) in ranges.iter().zip(names).filter(|(range, _)| !range.is_empty()) {
        if let Some(beyond) = first_beyond(range.clone(), Access::Write) {
            let what = format!(
                "{name} of {} bytes, of which {} can be written",
                range.end - range.start,
                beyond - range.start
            );
            broken(rules::BUFFER_MEMORY, call, &what);
            sound = false;
        }
    }
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        if ranges[a].start < ranges[b].end && ranges[b].start < ranges[a].end {
            broken(rules::BUFFERS_OVERLAP, call, &format!("{} and {} overlap", names[a], names[b]));
            sound = false;
        }
    }
    sound
}

unsafe extern "C" fn slide_end(slide: u64, error: *mut Error) -> i32 {
    begin_call("slide_end", true);
    let cancelled = with_slide(slide, |known| known.cancelled);
    let mut summary = SlideSummary::init();
    // SAFETY: the summary is ours; a handle that is not valid is refused.
    let known = unsafe { (real().slide_summary)(slide, &mut summary, std::ptr::null_mut()) } == abi::OK;
    if known && cancelled == Some(false) && summary.unpolled + summary.in_flight > 0 {
        let what = format!("{} results were not polled, {} tiles had none yet", summary.unpolled, summary.in_flight);
        broken(rules::RESULTS_DROPPED, "slide_end", &what);
    }
    // SAFETY: see above.
    let code = unsafe { (real().slide_end)(slide, error) };
    if code == abi::OK {
        slide_ended(slide);
    }
    code
}
