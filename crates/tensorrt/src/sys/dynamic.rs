//! Shared libraries that stay loaded.

use std::error::Error;
use std::mem::ManuallyDrop;
use std::path::Path;

/// A shared library that is never unloaded: neither TensorRT nor the driver survives unloading.
pub(super) struct Dynamic(ManuallyDrop<libloading::Library>);

impl Dynamic {
    /// Loads a file, or what the loader finds under a bare name. All symbols are resolved at once and stay local. The
    /// error is the loader's own text.
    ///
    /// # Safety
    /// The library's initialisers may run in this process.
    pub(super) unsafe fn open(path: &Path) -> Result<Self, String> {
        // SAFETY: by the caller's promise.
        #[cfg(unix)]
        let loaded = unsafe {
            use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
            Library::open(Some(path), RTLD_NOW | RTLD_LOCAL)
        };
        // SAFETY: by the caller's promise. The flag lets Windows search the file's own folder for its dependencies.
        #[cfg(windows)]
        let loaded = unsafe {
            use libloading::os::windows::{LOAD_WITH_ALTERED_SEARCH_PATH, Library};
            Library::load_with_flags(path, if path.is_absolute() { LOAD_WITH_ALTERED_SEARCH_PATH } else { 0 })
        };
        match loaded {
            Ok(library) => Ok(Self(ManuallyDrop::new(library.into()))),
            Err(error) => Err(error.source().map_or_else(|| error.to_string(), ToString::to_string)),
        }
    }

    /// An exported function, if there is one of this name.
    ///
    /// # Safety
    /// The function has the type `T`, a function pointer.
    pub(super) unsafe fn symbol<T: Copy>(&self, name: &str) -> Option<T> {
        // SAFETY: by the caller's promise; the library is never unloaded.
        unsafe { self.0.get::<T>(name) }.ok().map(|found| *found)
    }
}
