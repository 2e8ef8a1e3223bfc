//! The function table: one short function per entry of `coverslip_api`.

use std::ffi::{c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::{
    AlertBatch, Error, FeatureInfo, Frame, ProgressFn, ResultBatch, RuntimeDesc, RuntimeInfo, RuntimeStats, SlideDesc,
    SlideSummary,
};

use super::guard::fenced;
use super::handle::Registry;
use super::results::{self, Target};
use super::structs::{expect_output, write_struct};
use super::{alerts, fork, frame, report, runtime, slide, slide_report};
use crate::admission::admit;
use crate::gate::WaitEnd;
use crate::runtime::Runtime;
use crate::slide::state::Slide;
use coverslip_base::error::{Result, error};
use coverslip_base::fault;
use coverslip_base::memory::shared;

/// What `coverslip_get_api` gives out.
pub(super) static TABLE: abi::Api = abi::Api {
    struct_size: size_of::<abi::Api>() as u32,
    abi_major: abi::ABI_MAJOR,
    abi_minor: abi::ABI_MINOR,
    reserved: 0,
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
};

static RUNTIMES: LazyLock<Registry<Runtime>> = LazyLock::new(|| Registry::new("runtime", 1));
static SLIDES: LazyLock<Registry<OfRuntime>> = LazyLock::new(|| Registry::new("slide", 2));

/// A slide's handle keeps its runtime alive until `runtime_close` ends both.
struct OfRuntime {
    slide: Arc<Slide>,
    runtime: Arc<Runtime>,
}

/// Runs the body of a slide's function; a panic in it poisons the slide.
fn with_slide(handle: u64, error: *mut Error, body: impl FnOnce(&Arc<Slide>, &Runtime) -> Result<()>) -> i32 {
    fenced(error, || {
        let object = SLIDES.get(handle)?;
        catch_unwind(AssertUnwindSafe(|| body(&object.slide, &object.runtime))).unwrap_or_else(|panic| {
            object.slide.poison();
            resume_unwind(panic)
        })
    })
}

fn with_runtime(handle: u64, error: *mut Error, body: impl FnOnce(&Arc<Runtime>) -> Result<()>) -> i32 {
    fenced(error, || body(&RUNTIMES.get(handle)?))
}

/// A timeout of the contract; None: without end.
fn timeout(ms: u32) -> Option<Duration> {
    (ms != abi::NO_TIMEOUT).then(|| Duration::from_millis(u64::from(ms)))
}

unsafe extern "C" fn get_extension(_name: *const c_char) -> *const c_void {
    // Version 1.1 has none.
    std::ptr::null()
}

// SAFETY (of every `unsafe` block below): the contract's rules for the function's pointers, which the host keeps. They
// are null or valid for what their struct states; null is checked in marshal.

unsafe extern "C" fn runtime_open(
    desc: *const RuntimeDesc,
    progress: Option<ProgressFn>,
    user: *mut c_void,
    out: *mut abi::Runtime,
    error: *mut Error,
) -> i32 {
    fenced(error, || {
        fork::remember_process();
        expect_place(out)?;
        // SAFETY: see above.
        let runtime = unsafe { runtime::open(desc, progress, user) }?;
        let handle = RUNTIMES.insert(runtime)?;
        // SAFETY: not null, and the host's.
        unsafe { out.write(handle) };
        Ok(())
    })
}

fn expect_place(out: *mut u64) -> Result<()> {
    if out.is_null() || !out.is_aligned() {
        return Err(error!(INVALID_ARGUMENT, "expected a place for the handle, found a NULL or unaligned pointer"));
    }
    Ok(())
}

unsafe extern "C" fn runtime_info(runtime: abi::Runtime, out: *mut RuntimeInfo, error: *mut Error) -> i32 {
    with_runtime(runtime, error, |runtime| {
        fault::point("info");
        // SAFETY: see above.
        unsafe { write_struct(out, &report::info(runtime), "coverslip_runtime_info") }
    })
}

unsafe extern "C" fn feature_info(runtime: abi::Runtime, index: u32, out: *mut FeatureInfo, error: *mut Error) -> i32 {
    with_runtime(runtime, error, |runtime| {
        fault::point("feature");
        // SAFETY: see above.
        unsafe { write_struct(out, &report::feature(runtime, index)?, "coverslip_feature_info") }
    })
}

unsafe extern "C" fn runtime_stats(runtime: abi::Runtime, out: *mut RuntimeStats, error: *mut Error) -> i32 {
    with_runtime(runtime, error, |runtime| {
        fault::point("stats");
        // SAFETY: see above.
        unsafe { write_struct(out, &report::stats(runtime), "coverslip_runtime_stats") }
    })
}

unsafe extern "C" fn runtime_set_budget(runtime: abi::Runtime, percent: u32, error: *mut Error) -> i32 {
    with_runtime(runtime, error, |runtime| {
        fault::point("budget");
        runtime.set_budget(percent)
    })
}

unsafe extern "C" fn runtime_close(runtime: abi::Runtime, timeout_ms: u32, error: *mut Error) -> i32 {
    fenced(error, || {
        let runtime = RUNTIMES.remove(runtime)?;
        let closed = runtime.close(timeout(timeout_ms));
        // Afterwards: a slide_begin that has put its handle in before it could see that the runtime is closing.
        SLIDES.remove_where(|object| Arc::ptr_eq(&object.runtime, &runtime));
        fault::point("close");
        closed
    })
}

unsafe extern "C" fn slide_begin(
    runtime: abi::Runtime,
    desc: *const SlideDesc,
    out: *mut abi::Slide,
    error: *mut Error,
) -> i32 {
    with_runtime(runtime, error, |runtime| {
        expect_place(out)?;
        // SAFETY: see above.
        let plan = unsafe { slide::plan(desc, runtime) }?;
        let slide = admit(&runtime.shared, plan)?;
        let object = shared(OfRuntime { slide: slide.clone(), runtime: runtime.clone() });
        let handle = object.and_then(|object| SLIDES.insert(object)).inspect_err(|_| slide.end())?;
        if runtime.shared.is_stopping() {
            // runtime_close looked for handles before this one was there.
            let _ = SLIDES.remove(handle);
            slide.end();
            return Err(error!(INVALID_HANDLE, "the runtime is being closed"));
        }
        // SAFETY: not null, and the host's.
        unsafe { out.write(handle) };
        Ok(())
    })
}

unsafe extern "C" fn slide_submit(slide: abi::Slide, frame: *const Frame, error: *mut Error) -> i32 {
    with_slide(slide, error, |slide, _| {
        // SAFETY: see above; the pixels are only used during this call.
        let (header, bytes) = unsafe { frame::read(frame, slide.config.limits) }?;
        slide.submit(&header, bytes)
    })
}

unsafe extern "C" fn slide_submit_wait(
    slide: abi::Slide,
    frame: *const Frame,
    timeout_ms: u32,
    error: *mut Error,
) -> i32 {
    with_slide(slide, error, |slide, _| {
        // SAFETY: see above; the pixels are only used during this call.
        let (header, bytes) = unsafe { frame::read(frame, slide.config.limits) }?;
        slide.submit_wait(&header, bytes, timeout(timeout_ms))
    })
}

unsafe extern "C" fn slide_finish(slide: abi::Slide, timeout_ms: u32, error: *mut Error) -> i32 {
    with_slide(slide, error, |slide, _| slide.finish(timeout(timeout_ms)))
}

unsafe extern "C" fn slide_cancel(slide: abi::Slide, error: *mut Error) -> i32 {
    with_slide(slide, error, |slide, _| {
        fault::point("cancel");
        slide.cancel();
        Ok(())
    })
}

unsafe extern "C" fn slide_poll(slide: abi::Slide, batch: *mut ResultBatch, error: *mut Error) -> i32 {
    take_results(slide, batch, Patience::None, error)
}

unsafe extern "C" fn slide_wait(slide: abi::Slide, batch: *mut ResultBatch, timeout_ms: u32, error: *mut Error) -> i32 {
    take_results(slide, batch, Patience::Until(timeout(timeout_ms)), error)
}

/// slide_poll takes what is there; slide_wait waits for something.
enum Patience {
    None,
    Until(Option<Duration>),
}

fn take_results(slide: abi::Slide, batch: *mut ResultBatch, patience: Patience, error: *mut Error) -> i32 {
    with_slide(slide, error, |slide, _| {
        fault::point("poll");
        // SAFETY: the host's pointers, by the contract.
        let mut target = unsafe { Target::read(batch) }?;
        // The end is asked first: a result that comes after it has been seen is impossible.
        let mut take = || {
            let end = results::when_empty(slide);
            // SAFETY: as above.
            match unsafe { target.fill(slide) } {
                Ok(0) => end.err().map(Err),
                Ok(_) => Some(Ok(())),
                Err(small) => Some(Err(small)),
            }
        };
        let outcome = match patience {
            Patience::None => take().unwrap_or(Ok(())),
            Patience::Until(timeout) => slide.gate.wait(timeout, take).unwrap_or_else(|why| match why {
                WaitEnd::TimedOut => Err(error!(TIMEOUT, "no result came in the time given; the slide goes on")),
                WaitEnd::Interrupted => Err(slide.interrupted()),
            }),
        };
        if outcome.is_ok() || is_end(&outcome) {
            // SAFETY: as above.
            unsafe { target.finish(batch) }?;
            slide.nudge_when_parked();
        }
        outcome
    })
}

fn is_end(outcome: &Result<()>) -> bool {
    outcome.as_ref().is_err_and(|e| e.code == abi::END_OF_RESULTS)
}

unsafe extern "C" fn slide_interrupt(slide: abi::Slide, error: *mut Error) -> i32 {
    with_slide(slide, error, |slide, _| {
        fault::point("interrupt");
        slide.gate.interrupt();
        Ok(())
    })
}

unsafe extern "C" fn slide_alerts(slide: abi::Slide, batch: *mut AlertBatch, error: *mut Error) -> i32 {
    with_slide(slide, error, |slide, _| {
        fault::point("alerts");
        // SAFETY: see above.
        unsafe { alerts::take(slide, batch) }
    })
}

unsafe extern "C" fn slide_summary(slide: abi::Slide, out: *mut SlideSummary, error: *mut Error) -> i32 {
    with_slide(slide, error, |slide, runtime| {
        fault::point("summary");
        // SAFETY: see above.
        unsafe {
            expect_output(out, "coverslip_slide_summary")?;
            write_struct(out, &report::summary(runtime, slide), "coverslip_slide_summary")
        }
    })
}

unsafe extern "C" fn slide_end(slide: abi::Slide, error: *mut Error) -> i32 {
    fenced(error, || {
        let object = SLIDES.remove(slide)?;
        object.slide.end();
        fault::point("end");
        Ok(())
    })
}

unsafe extern "C" fn slide_report_json(
    slide: abi::Slide,
    buffer: *mut c_char,
    capacity: u64,
    needed: *mut u64,
    error: *mut Error,
) -> i32 {
    with_slide(slide, error, |slide, runtime| {
        fault::point("report");
        // SAFETY: see above.
        unsafe { slide_report::write((runtime, slide), buffer, capacity, needed) }
    })
}
