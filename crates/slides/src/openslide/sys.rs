//! OpenSlide's C interface, the functions that are used, bound at run time. The only unsafe code of this crate.
//!
//! Each wrapper takes and gives Rust values, so that nothing outside this file sees a pointer. OpenSlide's handles may be
//! used from several threads; a handle that has met an error answers with that error ever after.

#![allow(unsafe_code, reason = "functions of a C library")]

use std::ffi::{CStr, CString, c_char};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;

use libloading::Library;

use crate::budget;

/// OpenSlide's handle; never looked into.
enum Opaque {}

type Handle = *mut Opaque;

/// Width and height as the library gives them, before they are checked.
type Extent = (i64, i64);

/// The functions, with the library that holds their code.
pub(super) struct Functions {
    get_version: unsafe extern "C" fn() -> *const c_char,
    open: unsafe extern "C" fn(*const c_char) -> Handle,
    close: unsafe extern "C" fn(Handle),
    get_error: unsafe extern "C" fn(Handle) -> *const c_char,
    get_level_count: unsafe extern "C" fn(Handle) -> i32,
    get_level_dimensions: unsafe extern "C" fn(Handle, i32, *mut i64, *mut i64),
    read_region: unsafe extern "C" fn(Handle, *mut u32, i64, i64, i32, i64, i64),
    get_property_value: unsafe extern "C" fn(Handle, *const c_char) -> *const c_char,
    get_associated_image_names: unsafe extern "C" fn(Handle) -> *const *const c_char,
    get_associated_image_dimensions: unsafe extern "C" fn(Handle, *const c_char, *mut i64, *mut i64),
    /// Dropped last.
    _library: Library,
}

impl Functions {
    /// Loads a library of OpenSlide's interface.
    ///
    /// # Errors
    /// The loader's words, or the name of the function that is not there.
    pub(super) fn load(path: &Path) -> Result<Functions, String> {
        // The loader would wait at a named pipe for ever. What it finds itself, under a bare name, is the system's.
        if path.parent().is_some_and(|folder| !folder.as_os_str().is_empty()) {
            coverslip_files::expect_file(path).map_err(|error| error.to_string())?;
        }
        // SAFETY: loading runs the library's initialisers. It is the one that the user named or installed under
        // OpenSlide's name, and is trusted as the system's other libraries are.
        let library = unsafe { Library::new(path) }.map_err(|error| error.to_string())?;
        macro_rules! function {
            ($name:literal) => {
                // SAFETY: the type is that of OpenSlide's header, unchanged since version 3.4.0, and the pointer is kept
                // beside the library.
                *unsafe { library.get($name) }.map_err(|error| format!("no library of OpenSlide's: {error}"))?
            };
        }
        Ok(Functions {
            get_version: function!(b"openslide_get_version"),
            open: function!(b"openslide_open"),
            close: function!(b"openslide_close"),
            get_error: function!(b"openslide_get_error"),
            get_level_count: function!(b"openslide_get_level_count"),
            get_level_dimensions: function!(b"openslide_get_level_dimensions"),
            read_region: function!(b"openslide_read_region"),
            get_property_value: function!(b"openslide_get_property_value"),
            get_associated_image_names: function!(b"openslide_get_associated_image_names"),
            get_associated_image_dimensions: function!(b"openslide_get_associated_image_dimensions"),
            _library: library,
        })
    }

    pub(super) fn version(&self) -> String {
        // SAFETY: the function has no arguments.
        text(unsafe { (self.get_version)() }).unwrap_or_default()
    }
}

/// Copies a text of OpenSlide's.
fn text(pointer: *const c_char) -> Option<String> {
    // SAFETY: OpenSlide gives null or a text that ends with 0, which lives as long as the handle that it was asked of;
    // it is copied before anything else is asked.
    (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned())
}

/// An open slide.
pub(super) struct Slide {
    handle: NonNull<Opaque>,
    functions: Arc<Functions>,
}

// SAFETY: OpenSlide's documentation: a handle may be used from any thread, and from several at a time.
unsafe impl Send for Slide {}

impl Drop for Slide {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and nothing uses it after this.
        unsafe { (self.functions.close)(self.handle.as_ptr()) }
    }
}

impl Slide {
    /// Opens a file.
    ///
    /// # Errors
    /// What OpenSlide says of it, or that it knows no such format.
    pub(super) fn open(functions: &Arc<Functions>, path: &Path) -> Result<Slide, String> {
        let name = name_of(path)?;
        // SAFETY: the text ends with 0 and outlives the call.
        let handle = unsafe { (functions.open)(name.as_ptr()) };
        let handle = NonNull::new(handle).ok_or("it knows no such format, or not in this version")?;
        let slide = Slide { handle, functions: functions.clone() };
        slide.checked(())?;
        Ok(slide)
    }

    /// A value, unless the handle has met an error. To be asked after each call.
    fn checked<T>(&self, value: T) -> Result<T, String> {
        // SAFETY: the handle is open.
        match text(unsafe { (self.functions.get_error)(self.handle.as_ptr()) }) {
            None => Ok(value),
            Some(error) => Err(error),
        }
    }

    /// Sizes of all levels, the largest first.
    ///
    /// # Errors
    /// As every function here: OpenSlide's own words.
    pub(super) fn levels(&self) -> Result<Vec<Extent>, String> {
        // SAFETY: the handle is open.
        let count = self.checked(unsafe { (self.functions.get_level_count)(self.handle.as_ptr()) })?;
        let mut levels = Vec::new();
        for level in 0..count {
            let (mut width, mut height) = (-1, -1);
            // SAFETY: the handle is open, and the call writes one number to each place.
            unsafe { (self.functions.get_level_dimensions)(self.handle.as_ptr(), level, &mut width, &mut height) };
            levels.push(self.checked((width, height))?);
        }
        Ok(levels)
    }

    /// A property's value.
    pub(super) fn property(&self, name: &CStr) -> Option<String> {
        // SAFETY: the handle is open, and the name ends with 0.
        text(unsafe { (self.functions.get_property_value)(self.handle.as_ptr(), name.as_ptr()) })
    }

    /// Names and sizes of the associated images.
    pub(super) fn associated(&self) -> Result<Vec<(String, Extent)>, String> {
        // SAFETY: the handle is open.
        let names = self.checked(unsafe { (self.functions.get_associated_image_names)(self.handle.as_ptr()) })?;
        let mut found = Vec::new();
        for index in 0.. {
            if names.is_null() {
                break;
            }
            // SAFETY: the array ends with null, and no index is behind the first null.
            let name = unsafe { *names.add(index) };
            let Some(text) = text(name) else { break };
            let (mut width, mut height) = (-1, -1);
            let dimensions = self.functions.get_associated_image_dimensions;
            // SAFETY: the handle is open, the name is OpenSlide's own, and the call writes one number to each place.
            unsafe { dimensions(self.handle.as_ptr(), name, &mut width, &mut height) };
            found.push((text, self.checked((width, height))?));
        }
        Ok(found)
    }

    /// Fills `pixels`, one word each, ARGB multiplied by opacity, with a rectangle of level 0.
    pub(super) fn read(&self, x: i64, y: i64, width: i64, height: i64, pixels: &mut Vec<u32>) -> Result<(), String> {
        let count = usize::try_from(width * height).unwrap_or(0);
        pixels.clear();
        pixels.try_reserve_exact(count).map_err(|_| budget::no_memory(count.saturating_mul(4)))?;
        pixels.resize(count, 0);
        // SAFETY: the handle is open, and the call writes `width` · `height` words, which are there.
        unsafe { (self.functions.read_region)(self.handle.as_ptr(), pixels.as_mut_ptr(), x, y, 0, width, height) };
        self.checked(())
    }
}

#[cfg(unix)]
fn name_of(path: &Path) -> Result<CString, String> {
    use std::os::unix::ffi::OsStrExt;
    CString::new(path.as_os_str().as_bytes()).map_err(|_| "its path has a zero byte".into())
}

#[cfg(not(unix))]
fn name_of(path: &Path) -> Result<CString, String> {
    let text = path.to_str().ok_or("its path is not Unicode")?;
    CString::new(text).map_err(|_| "its path has a zero byte".into())
}
