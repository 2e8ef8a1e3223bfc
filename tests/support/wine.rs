//! What Wine is not able to do.

/// Whether this is Wine, which starts no program whose path is longer than 260 characters: its CreateProcess copies the path
/// into so much room, whatever form it has.
#[cfg(windows)]
pub(crate) fn is_here() -> bool {
    let library = libloading::os::windows::Library::open_already_loaded("ntdll.dll").expect("every process has it");
    // SAFETY: asks for the place of a function, which is not called.
    unsafe { library.get::<unsafe extern "C" fn()>(b"wine_get_version\0") }.is_ok()
}

#[cfg(not(windows))]
pub(crate) fn is_here() -> bool {
    false
}
