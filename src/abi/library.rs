//! Where this library lies, and which version of the contract its host speaks.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// Of the host that called coverslip_get_api last.
static HOST_MINOR: AtomicU32 = AtomicU32::new(0);

pub(super) fn set_host_minor(minor: u32) {
    HOST_MINOR.store(minor, Ordering::Relaxed);
}

pub(super) fn host_minor() -> u32 {
    HOST_MINOR.load(Ordering::Relaxed)
}

/// The folder of the library's file, or of the program that it is linked into; None: the system does not say.
#[cfg(target_os = "linux")]
pub(super) fn folder() -> Option<PathBuf> {
    use std::ffi::{CStr, OsStr};
    use std::os::unix::ffi::OsStrExt;

    let place = (folder as fn() -> Option<PathBuf>) as *const std::ffi::c_void;
    let mut found = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: writes one struct, which consists of pointers; any address may be asked for.
    if unsafe { libc::dladdr(place, found.as_mut_ptr()) } == 0 {
        return None;
    }
    // SAFETY: zeroed before, and filled now.
    let found = unsafe { found.assume_init() };
    if found.dli_fname.is_null() {
        return None;
    }
    // SAFETY: the loader's own copy of the path, which stays for as long as this code is mapped.
    let path = unsafe { CStr::from_ptr(found.dli_fname) };
    let path = PathBuf::from(OsStr::from_bytes(path.to_bytes()));
    // A program's is the name that it was started by, a library's what it was asked for: both by the folder of that moment.
    let path = if path.is_absolute() { path } else { mapped_at(place as usize)? };
    Some(path.parent()?.to_owned())
}

/// The file whose mapping has this address. The kernel knows it by its whole path.
#[cfg(target_os = "linux")]
fn mapped_at(address: usize) -> Option<PathBuf> {
    let list = std::fs::read("/proc/self/maps").ok()?;
    list.split(|byte| *byte == b'\n').find_map(|line| file_at(line, address))
}

/// The file of a line `from-to mode offset device inode  /path`, if it has the address.
#[cfg(target_os = "linux")]
fn file_at(line: &[u8], address: usize) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;

    let end = line.iter().position(|byte| *byte == b' ')?;
    let (from, to) = std::str::from_utf8(&line[..end]).ok()?.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    if !(number(from)?..number(to)?).contains(&address) {
        return None;
    }
    let path = &line[line.iter().position(|byte| *byte == b'/')?..];
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(path)))
}

#[cfg(windows)]
pub(super) fn folder() -> Option<PathBuf> {
    use std::os::windows::ffi::OsStringExt;

    use windows_sys::Win32::System::LibraryLoader::{GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT, GetModuleFileNameW};

    /// What Windows allows for a path at most, in UTF-16 units.
    const LONGEST: usize = 32_767;
    let module = own_module(GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT)?;
    let mut path = coverslip_base::memory::reserve(LONGEST).ok()?;
    path.resize(LONGEST, 0);
    // SAFETY: a module that is loaded, and a buffer with its length.
    let length = unsafe { GetModuleFileNameW(module, path.as_mut_ptr(), LONGEST as u32) } as usize;
    let path = path.get(..length).filter(|path| !path.is_empty())?;
    Some(PathBuf::from(std::ffi::OsString::from_wide(path)).parent()?.to_owned())
}

#[cfg(not(any(target_os = "linux", windows)))]
pub(super) fn folder() -> Option<PathBuf> {
    None
}

/// From now on the library stays mapped until the process ends: FreeLibrary takes no code from under a thread that runs it.
/// On Linux the linker's `-z nodelete` says so.
#[cfg(windows)]
pub(super) fn stay() {
    own_module(windows_sys::Win32::System::LibraryLoader::GET_MODULE_HANDLE_EX_FLAG_PIN);
}

/// The module of this code: the library, or the program that it is linked into.
#[cfg(windows)]
fn own_module(flags: u32) -> Option<windows_sys::Win32::Foundation::HMODULE> {
    use windows_sys::Win32::System::LibraryLoader::{GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS, GetModuleHandleExW};

    let place = own_module as fn(u32) -> Option<windows_sys::Win32::Foundation::HMODULE>;
    let (flags, mut module) = (flags | GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS, std::ptr::null_mut());
    // SAFETY: with this flag the second argument is an address and no text; one handle is written.
    let found = unsafe { GetModuleHandleExW(flags, place as *const u16, &mut module) };
    (found != 0).then_some(module)
}

#[cfg(all(test, any(target_os = "linux", windows)))]
mod tests {
    #[test]
    fn the_folder_is_that_of_the_program_that_links_the_library() {
        let program = std::env::current_exe().unwrap();
        // A build folder may be reached by a link.
        let real = |folder: &std::path::Path| folder.canonicalize().unwrap();
        assert_eq!(real(&super::folder().unwrap()), real(program.parent().unwrap()));
    }
}
