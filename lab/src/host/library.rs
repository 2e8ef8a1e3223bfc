//! The shared library, loaded by path as any host loads it, and what it logs.

use std::error::Error;
use std::ffi::{CStr, c_char, c_void};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::AbiStruct;

use super::error::{HostError, Outcome, check};
use super::locate;

/// The first 1,000 lines that the library logged, oldest first, as (level, text).
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
    pub(super) api: &'static abi::Api,
    path: PathBuf,
    // Kept open: the table lives in it.
    _library: libloading::Library,
}

impl Library {
    /// Loads the library at `given`, or the one that was built or installed with this command.
    ///
    /// # Errors
    /// Where there is none, or the file is not this library.
    pub(crate) fn find(given: Option<&Path>) -> Result<Library, Box<dyn Error>> {
        Ok(Library::load(&locate::library(given)?)?)
    }

    /// Loads the shared library and asks for version 1 of the contract.
    fn load(path: &Path) -> Outcome<Library> {
        let not_loaded = |what: &str, error: &dyn fmt::Display| HostError {
            code: 0,
            native_code: 0,
            message: format!(
                "{}: expected the Coverslip library, found {what} ({error}). Build it with `cargo build --release` or \
                 give its path with --library",
                path.display()
            ),
        };
        // The loader would wait at a named pipe for ever.
        coverslip_files::expect_file(path).map_err(|error| not_loaded("a file that cannot be loaded", &error))?;
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
