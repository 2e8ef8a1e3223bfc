//! A runtime of the library: an open bundle with its engine and threads.

use std::ffi::{CString, c_void};
use std::path::{Path, PathBuf};
use std::time::Duration;

use coverslip_bundle::signature::Trust;
use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::AbiStruct;

use super::engine::EngineChoice;
use super::error::{Outcome, c_string, check, milliseconds, path_text};
use super::library::Library;
use super::slide::Slide;

/// An open bundle with its engine and threads.
pub(crate) struct Runtime {
    library: Library,
    /// 0: closed.
    handle: abi::Runtime,
}

impl Runtime {
    /// Opens `bundle`, with a profile where one is given. `threads` 0: one per CPU. `progress` gets the stage and the part
    /// of it that is done; it returns false to cancel.
    pub(super) fn open(
        library: Library,
        bundle: &Path,
        profile: Option<&Path>,
        trust: &Trust,
        engine: &EngineChoice,
        threads: u32,
        mut progress: impl FnMut(i32, f64) -> bool,
    ) -> Outcome<Runtime> {
        let bundle = path_text(bundle)?;
        let profile = profile.map(path_text).transpose()?;
        let mut desc = abi::RuntimeDesc::init();
        desc.bundle_path = bundle.as_ptr();
        desc.profile_path = profile.as_ref().map_or(std::ptr::null(), |path| path.as_ptr());
        let path = |path: &Option<PathBuf>| path.as_deref().map(path_text).transpose();
        let (tensorrt, plans) = (path(&engine.tensorrt_library)?, path(&engine.plans)?);
        let tuning = path(&engine.cpu_tuning)?;
        let or_null = |text: &Option<CString>| text.as_ref().map_or(std::ptr::null(), |text| text.as_ptr());
        desc.engine = engine.engine;
        desc.tensorrt_library = or_null(&tensorrt);
        desc.plan_cache_path = or_null(&plans);
        desc.precision = engine.precision;
        desc.cpu_precision = engine.cpu_precision;
        desc.isolation = engine.isolation;
        desc.cpu_tuning_path = or_null(&tuning);
        desc.max_batch = engine.max_batch;
        if tensorrt.is_none() {
            desc.flags |= abi::RUNTIME_ALLOW_LIBRARY_SEARCH;
        }
        let keys = trust.keys.iter().map(|key| c_string(&key.to_string())).collect::<Outcome<Vec<_>>>()?;
        let pointers: Vec<_> = keys.iter().map(|key| key.as_ptr()).collect();
        if !pointers.is_empty() {
            desc.trusted_keys = pointers.as_ptr();
            desc.trusted_key_count = u32::try_from(pointers.len()).unwrap_or(u32::MAX);
        }
        if trust.required {
            desc.flags |= abi::RUNTIME_REQUIRE_SIGNATURE;
        }
        desc.max_threads = threads;
        desc.max_slides = 1;
        let mut callback: &mut dyn FnMut(i32, f64) -> bool = &mut progress;
        let user = (&raw mut callback).cast::<c_void>();
        let mut handle = 0;
        // SAFETY: every pointer outlives the call, `user` is what `on_progress`
        // takes it for, and runtime_open calls it on this thread only.
        check(|error| unsafe { (library.api.runtime_open)(&desc, Some(on_progress), user, &mut handle, error) })?;
        Ok(Runtime { library, handle })
    }

    /// The library that it runs in.
    pub(crate) fn library(&self) -> &Library {
        &self.library
    }

    pub(crate) fn info(&self) -> Outcome<abi::RuntimeInfo> {
        let mut info = abi::RuntimeInfo::init();
        // SAFETY: the outputs are valid structs with their size set; the handle may be anything.
        check(|error| unsafe { (self.library.api.runtime_info)(self.handle, &mut info, error) })?;
        Ok(info)
    }

    pub(crate) fn feature_info(&self, index: u32) -> Outcome<abi::FeatureInfo> {
        let mut info = abi::FeatureInfo::init();
        // SAFETY: as above.
        check(|error| unsafe { (self.library.api.feature_info)(self.handle, index, &mut info, error) })?;
        Ok(info)
    }

    pub(crate) fn stats(&self) -> Outcome<abi::RuntimeStats> {
        let mut stats = abi::RuntimeStats::init();
        // SAFETY: as above.
        check(|error| unsafe { (self.library.api.runtime_stats)(self.handle, &mut stats, error) })?;
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
        check(|error| unsafe { (self.library.api.slide_begin)(self.handle, &desc, &mut handle, error) })?;
        Ok(Slide::new(self.library.api, handle))
    }

    /// Joins the library's threads. Dropping the wrapper does the same and keeps errors to itself.
    pub(crate) fn close(mut self, timeout: Duration) -> Outcome<()> {
        let handle = std::mem::take(&mut self.handle);
        // SAFETY: the library checks handles; slides borrow the runtime, so none is left.
        check(|error| unsafe { (self.library.api.runtime_close)(handle, milliseconds(timeout), error) })
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if self.handle != 0 {
            // SAFETY: as in `close`. An error has nobody to go to.
            let _ = check(|error| unsafe { (self.library.api.runtime_close)(self.handle, 10_000, error) });
        }
    }
}

unsafe extern "C" fn on_progress(user: *mut c_void, progress: *const abi::Progress) -> i32 {
    // SAFETY: `user` is the reference that `Runtime::open` passed, used on the thread that it lives on; the library
    // gives a valid struct.
    let (callback, progress) = unsafe { (&mut *user.cast::<&mut dyn FnMut(i32, f64) -> bool>(), &*progress) };
    i32::from(!callback(progress.stage, progress.fraction))
}
