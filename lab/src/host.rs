//! A safe wrapper over the C ABI: the only file of this crate with `unsafe`.
//!
//! The library is loaded by path, as any host loads it. Handles end with their wrappers, results are copied into
//! buffers that the caller owns, and every code other than OK becomes a `HostError` with the library's own message.

use std::ffi::{CStr, CString, c_char, c_void};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::AbiStruct;

use crate::engine_args::EngineChoice;

/// What a function of the table answered other than OK, or why it could not be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostError {
    /// A `COVERSLIP_*` code; 0 where the library was not reached.
    pub(crate) code: i32,
    pub(crate) native_code: i64,
    pub(crate) message: String,
}

impl fmt::Display for HostError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            0 => out.write_str(&self.message),
            code => write!(out, "{} ({}): {}", code_name(code), code, self.message),
        }
    }
}

impl std::error::Error for HostError {}

type Outcome<T> = Result<T, HostError>;

/// Lines that the library logged, oldest first, as (level, text); beyond 1,000 they are left out.
static LOG: Mutex<Vec<(i32, String)>> = Mutex::new(Vec::new());

/// Takes the lines that the library has logged since the last call.
pub(crate) fn take_log() -> Vec<(i32, String)> {
    std::mem::take(&mut *LOG.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
}

unsafe extern "C" fn log(_user: *mut c_void, level: i32, message: *const c_char) {
    if message.is_null() {
        return;
    }
    // SAFETY: the contract says that the message is NUL-terminated and valid during the call.
    let text = unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned();
    if let Ok(mut lines) = LOG.lock()
        && lines.len() < 1000
    {
        lines.push((level, text));
    }
}

/// The loaded library.
pub(crate) struct Library {
    api: &'static abi::Api,
    path: PathBuf,
    // Kept open: the table lives in it.
    _library: libloading::Library,
}

impl Library {
    /// Loads the shared library and asks for version 1 of the contract.
    pub(crate) fn load(path: &Path) -> Outcome<Library> {
        let not_loaded = |what: &str, error: &dyn fmt::Display| HostError {
            code: 0,
            native_code: 0,
            message: format!(
                "{}: expected the Coverslip library, found {what} ({error}). Build it with `cargo build --release` or \
                 give its path with --library",
                path.display()
            ),
        };
        // SAFETY: the file is the library that the user named or that was built with this command; its
        // initialisers do nothing (the contract: no thread, no file, no signal handler before runtime_open).
        let library = unsafe { libloading::Library::new(path) }
            .map_err(|error| not_loaded("a file that cannot be loaded", &error))?;
        // SAFETY: the symbol's type is the contract's coverslip_get_api_fn.
        let get_api = unsafe { library.get::<abi::GetApiFn>(b"coverslip_get_api\0") }
            .map_err(|error| not_loaded("a library without coverslip_get_api", &error))?;
        let mut info = abi::HostInfo::init();
        info.abi_major = abi::ABI_MAJOR;
        info.abi_minor_min = abi::ABI_MINOR;
        info.abi_minor = abi::ABI_MINOR;
        info.name = concat!("coverslip-lab ", env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast();
        info.log = Some(log);
        let mut api: *const abi::Api = std::ptr::null();
        // SAFETY: all pointers are valid for the call; the name is a static string, the log function lives as long
        // as the process.
        check(|error| unsafe { get_api(&info, &mut api, error) })?;
        // SAFETY: on OK the library gives its table, which stays valid until the process ends.
        let api = unsafe { api.as_ref() };
        let api =
            api.filter(|api| api.struct_size as usize >= size_of::<abi::Api>() && api.abi_major == abi::ABI_MAJOR);
        let api = api.ok_or_else(|| not_loaded("one with a table that does not fit version 1.1", &"abi"))?;
        Ok(Library { api, path: path.into(), _library: library })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The version of the contract that the library speaks.
    pub(crate) fn abi_version(&self) -> (u32, u32) {
        (self.api.abi_major, self.api.abi_minor)
    }
}

/// An open bundle with its engine and threads.
pub(crate) struct Runtime<'l> {
    api: &'l abi::Api,
    handle: abi::Runtime,
}

impl<'l> Runtime<'l> {
    /// Opens `bundle`, with a profile where one is given; `progress` returns false to cancel. `threads` 0: one per CPU.
    pub(crate) fn open(
        library: &'l Library,
        bundle: &Path,
        profile: Option<&Path>,
        engine: impl Into<EngineChoice>,
        threads: u32,
        mut progress: impl FnMut(i32, f64) -> bool,
    ) -> Outcome<Runtime<'l>> {
        let bundle = c_string(&bundle.to_string_lossy())?;
        let profile = profile.map(|path| c_string(&path.to_string_lossy())).transpose()?;
        let mut desc = abi::RuntimeDesc::init();
        desc.bundle_path = bundle.as_ptr();
        desc.profile_path = profile.as_ref().map_or(std::ptr::null(), |path| path.as_ptr());
        let engine: EngineChoice = engine.into();
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| c_string(&path.to_string_lossy())).transpose();
        let (tensorrt, plans) = (path(&engine.tensorrt_library)?, path(&engine.plans)?);
        let or_null = |text: &Option<CString>| text.as_ref().map_or(std::ptr::null(), |text| text.as_ptr());
        desc.engine = engine.engine;
        desc.tensorrt_library = or_null(&tensorrt);
        desc.plan_cache_path = or_null(&plans);
        desc.precision = engine.precision;
        desc.max_batch = engine.max_batch;
        if tensorrt.is_none() {
            desc.flags |= abi::RUNTIME_ALLOW_LIBRARY_SEARCH;
        }
        desc.max_threads = threads;
        desc.max_slides = 1;
        let mut callback: &mut dyn FnMut(i32, f64) -> bool = &mut progress;
        let user = (&raw mut callback).cast::<c_void>();
        let mut handle = 0;
        // SAFETY: every pointer outlives the call, `user` is what `on_progress`
        // takes it for, and runtime_open calls it on this thread only.
        check(|error| unsafe { (library.api.runtime_open)(&desc, Some(on_progress), user, &mut handle, error) })?;
        Ok(Runtime { api: library.api, handle })
    }

    pub(crate) fn info(&self) -> Outcome<abi::RuntimeInfo> {
        let mut info = abi::RuntimeInfo::init();
        // SAFETY: the outputs are valid structs with their size set; the handle may be anything.
        check(|error| unsafe { (self.api.runtime_info)(self.handle, &mut info, error) })?;
        Ok(info)
    }

    pub(crate) fn feature_info(&self, index: u32) -> Outcome<abi::FeatureInfo> {
        let mut info = abi::FeatureInfo::init();
        // SAFETY: as above.
        check(|error| unsafe { (self.api.feature_info)(self.handle, index, &mut info, error) })?;
        Ok(info)
    }

    pub(crate) fn stats(&self) -> Outcome<abi::RuntimeStats> {
        let mut stats = abi::RuntimeStats::init();
        // SAFETY: as above.
        check(|error| unsafe { (self.api.runtime_stats)(self.handle, &mut stats, error) })?;
        Ok(stats)
    }

    /// Begins a slide; `edit` sets the desc's fields other than the names.
    pub(crate) fn begin(
        &self,
        scanner_id: &str,
        slide_id: &str,
        edit: impl FnOnce(&mut abi::SlideDesc),
    ) -> Outcome<Slide<'_>> {
        let (scanner_id, slide_id) = (c_string(scanner_id)?, c_string(slide_id)?);
        let mut desc = abi::SlideDesc::init();
        edit(&mut desc);
        desc.scanner_id = scanner_id.as_ptr();
        desc.slide_id = slide_id.as_ptr();
        desc.color_name = std::ptr::null();
        let mut handle = 0;
        // SAFETY: the strings live until the end of the call, which copies them; no other pointer is set.
        check(|error| unsafe { (self.api.slide_begin)(self.handle, &desc, &mut handle, error) })?;
        Ok(Slide { api: self.api, handle, submitting: Mutex::new(()) })
    }

    /// Joins the library's threads; the wrapper's end does the same without telling.
    pub(crate) fn close(self, timeout: Duration) -> Outcome<()> {
        let (api, handle) = (self.api, self.handle);
        std::mem::forget(self);
        // SAFETY: handles are checked by the library, and slides borrow the runtime: none is left.
        check(|error| unsafe { (api.runtime_close)(handle, milliseconds(timeout), error) })
    }
}

impl Drop for Runtime<'_> {
    fn drop(&mut self) {
        // SAFETY: as in `close`; an error has nobody to go to.
        let _ = check(|error| unsafe { (self.api.runtime_close)(self.handle, 10_000, error) });
    }
}

unsafe extern "C" fn on_progress(user: *mut c_void, progress: *const abi::Progress) -> i32 {
    // SAFETY: `user` is the reference that `Runtime::open` passed, used on the thread that it lives on; the library
    // gives a valid struct.
    let (callback, progress) = unsafe { (&mut *user.cast::<&mut dyn FnMut(i32, f64) -> bool>(), &*progress) };
    i32::from(!callback(progress.stage, progress.fraction))
}

/// A frame in RGB without gaps between its rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RgbFrame<'a> {
    pub(crate) x: i64,
    pub(crate) y: i64,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) pixels: &'a [u8],
    pub(crate) frame_id: u64,
    pub(crate) group_id: u64,
    pub(crate) capture_time_ns: i64,
}

/// A slide that is being scanned. Ends with the wrapper.
pub(crate) struct Slide<'r> {
    api: &'r abi::Api,
    handle: abi::Slide,
    // The contract: one submitting thread at a time.
    submitting: Mutex<()>,
}

impl Slide<'_> {
    /// Submits a frame; with a timeout it waits for room that long.
    pub(crate) fn submit(&self, frame: &RgbFrame<'_>, wait: Option<Duration>) -> Outcome<()> {
        let stride = u64::from(frame.width) * 3;
        assert_eq!(frame.pixels.len() as u64, stride * u64::from(frame.height), "a frame's pixels fill its size");
        let mut raw = abi::Frame::init();
        raw.pixel_format = abi::PFNC_RGB8;
        raw.plane_count = 1;
        (raw.x, raw.y, raw.width, raw.height) = (frame.x, frame.y, frame.width, frame.height);
        raw.planes[0] = abi::Plane { data: frame.pixels.as_ptr(), stride, size: frame.pixels.len() as u64 };
        raw.frame_id = frame.frame_id;
        raw.group_id = frame.group_id;
        raw.capture_time_ns = frame.capture_time_ns;
        let _one_at_a_time = self.submitting.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match wait {
            // SAFETY: the plane's pointer is valid for `size` bytes during the call, which copies the pixels.
            None => check(|error| unsafe { (self.api.slide_submit)(self.handle, &raw, error) }),
            Some(timeout) => {
                let timeout = milliseconds(timeout);
                // SAFETY: as above.
                check(|error| unsafe { (self.api.slide_submit_wait)(self.handle, &raw, timeout, error) })
            }
        }
    }

    /// True when every tile has its result, false when the time ran out first.
    pub(crate) fn finish(&self, timeout: Duration) -> Outcome<bool> {
        // SAFETY: the handle is checked by the library; there are no pointers but the error.
        match check(|error| unsafe { (self.api.slide_finish)(self.handle, milliseconds(timeout), error) }) {
            Ok(()) => Ok(true),
            Err(error) if [abi::TIMEOUT, abi::INTERRUPTED].contains(&error.code) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Wakes the threads that wait in this slide's functions.
    pub(crate) fn interrupt(&self) -> Outcome<()> {
        // SAFETY: as above.
        check(|error| unsafe { (self.api.slide_interrupt)(self.handle, error) })
    }

    pub(crate) fn cancel(&self) -> Outcome<()> {
        // SAFETY: as above.
        check(|error| unsafe { (self.api.slide_cancel)(self.handle, error) })
    }

    /// Waits for results and copies them into `results`. False: the slide is over and everything was polled.
    pub(crate) fn wait(&self, results: &mut Results, timeout: Duration) -> Outcome<bool> {
        let mut batch = abi::ResultBatch::init();
        batch.record_size = size_of::<abi::TileResult>() as u32;
        batch.records = results.records.as_mut_ptr();
        // The contract leaves features and embeddings out where the pointer is null.
        if !results.features.is_empty() {
            batch.features = results.features.as_mut_ptr();
        }
        if !results.embeddings.is_empty() {
            batch.embeddings = results.embeddings.as_mut_ptr();
        }
        batch.record_capacity = results.records.len() as u32;
        batch.feature_capacity = results.features.len() as u32;
        batch.embedding_capacity = results.embeddings.len() as u32;
        results.count = 0;
        // SAFETY: each pointer is valid for its capacity, and nothing else uses the buffers during the call.
        let outcome =
            check(|error| unsafe { (self.api.slide_wait)(self.handle, &mut batch, milliseconds(timeout), error) });
        match outcome {
            Ok(()) => {
                results.count = (batch.record_count as usize).min(results.records.len());
                Ok(true)
            }
            Err(error) if [abi::TIMEOUT, abi::INTERRUPTED].contains(&error.code) => Ok(true),
            Err(error) if error.code == abi::END_OF_RESULTS => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes the alerts that are there.
    pub(crate) fn alerts(&self) -> Outcome<Vec<abi::Alert>> {
        let mut all = Vec::new();
        loop {
            let mut records = [abi::Alert::default(); 32];
            let mut batch = abi::AlertBatch::init();
            batch.record_size = size_of::<abi::Alert>() as u32;
            batch.records = records.as_mut_ptr();
            batch.record_capacity = records.len() as u32;
            // SAFETY: the buffer is valid for its capacity.
            check(|error| unsafe { (self.api.slide_alerts)(self.handle, &mut batch, error) })?;
            let count = (batch.record_count as usize).min(records.len());
            all.extend_from_slice(&records[..count]);
            if count < records.len() {
                return Ok(all);
            }
        }
    }

    pub(crate) fn summary(&self) -> Outcome<abi::SlideSummary> {
        let mut summary = abi::SlideSummary::init();
        // SAFETY: the output is a valid struct with its size set.
        check(|error| unsafe { (self.api.slide_summary)(self.handle, &mut summary, error) })?;
        Ok(summary)
    }
}

impl Drop for Slide<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is checked by the library; an error has nobody to go to.
        let _ = check(|error| unsafe { (self.api.slide_end)(self.handle, error) });
    }
}

/// Buffers that results are copied into.
pub(crate) struct Results {
    records: Vec<abi::TileResult>,
    features: Vec<abi::Feature>,
    embeddings: Vec<f32>,
    count: usize,
}

impl Results {
    /// Room for `tiles` results; without `embedding_width` embeddings are left out.
    pub(crate) fn new(tiles: usize, features_per_tile: u32, embedding_width: u32) -> Results {
        Results {
            records: vec![abi::TileResult::default(); tiles],
            features: vec![abi::Feature::default(); tiles * features_per_tile as usize],
            embeddings: vec![0.0; tiles * embedding_width as usize],
            count: 0,
        }
    }

    /// The latest results, each with its features and its embedding.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&abi::TileResult, &[abi::Feature], &[f32])> {
        self.records[..self.count].iter().map(|record| {
            let features = record.feature_offset as usize..(record.feature_offset + record.feature_count) as usize;
            let values = record.embedding_offset as usize..(record.embedding_offset + record.embedding_count) as usize;
            (record, &self.features[features], &self.embeddings[values])
        })
    }
}

/// Calls a function of the table and makes a `HostError` of its answer.
fn check(call: impl FnOnce(*mut abi::Error) -> i32) -> Outcome<()> {
    let mut error = abi::Error::init();
    match call(&mut error) {
        abi::OK => Ok(()),
        code => Err(HostError { code, native_code: error.native_code, message: text(&error.message) }),
    }
}

/// A fixed-size C string of an output.
pub(crate) fn text(chars: &[c_char]) -> String {
    let bytes: Vec<u8> = chars.iter().take_while(|&&c| c != 0).map(|&c| c as u8).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn c_string(text: &str) -> Outcome<CString> {
    CString::new(text).map_err(|_| HostError {
        code: abi::INVALID_ARGUMENT,
        native_code: 0,
        message: format!("expected text without NUL characters, found {text:?}"),
    })
}

/// The contract's milliseconds, without ever meaning "no timeout" by accident.
fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(abi::NO_TIMEOUT).min(abi::NO_TIMEOUT - 1)
}

/// A code's name in the header, without its prefix.
pub(crate) fn code_name(code: i32) -> &'static str {
    const NAMES: [&str; 27] = [
        "OK",
        "INVALID_ARGUMENT",
        "INVALID_STRUCT",
        "INVALID_HANDLE",
        "WRONG_STATE",
        "ABI_MISMATCH",
        "UNSUPPORTED",
        "UNSUPPORTED_FORMAT",
        "OUT_OF_MEMORY",
        "LIMIT_REACHED",
        "BUSY",
        "FRAME_TOO_LARGE",
        "OUT_OF_EXTENT",
        "TIMEOUT",
        "INTERRUPTED",
        "CANCELLED",
        "END_OF_RESULTS",
        "BUFFER_TOO_SMALL",
        "IO",
        "BUNDLE_INVALID",
        "BUNDLE_UNSUPPORTED",
        "DIGEST_MISMATCH",
        "ENGINE_UNAVAILABLE",
        "SELF_CHECK_FAILED",
        "ENGINE_HUNG",
        "INTERNAL",
        "SIGNATURE_INVALID",
    ];
    usize::try_from(code).ok().and_then(|code| NAMES.get(code)).copied().unwrap_or("unknown code")
}
