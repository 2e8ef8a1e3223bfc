//! Handles of the system's objects.

#![allow(unsafe_code)]

use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};

use windows_sys::Win32::Foundation::{
    DUPLICATE_SAME_ACCESS, DuplicateHandle, GetHandleInformation, HANDLE, HANDLE_FLAG_INHERIT,
    HANDLE_FLAG_PROTECT_FROM_CLOSE, INVALID_HANDLE_VALUE, SetHandleInformation,
};
use windows_sys::Win32::System::Threading::GetCurrentProcess;

/// Takes what a call has made; nothing, or -1, is the call's error.
pub(super) fn made(handle: HANDLE) -> io::Result<OwnedHandle> {
    if handle.is_null() || handle == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call that made it has given it to this function's caller, and to nobody else.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// Of a call that says whether it went well.
pub(super) fn done(answer: windows_sys::core::BOOL) -> io::Result<()> {
    if answer == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Text as the system takes it.
pub(super) fn wide(text: &std::ffi::OsStr) -> Vec<u16> {
    use std::os::windows::ffi::OsStrExt;
    text.encode_wide().chain([0]).collect()
}

/// This process, as a handle that needs no closing.
pub(super) fn of_own_process() -> HANDLE {
    // SAFETY: has no argument, and opens nothing.
    unsafe { GetCurrentProcess() }
}

/// A second handle of an object of this process's, for `process`, by its value there; with this access, or with the same.
pub(super) fn duplicate(
    of: BorrowedHandle<'_>,
    process: HANDLE,
    access: Option<u32>,
    inherited: bool,
) -> io::Result<HANDLE> {
    let (mut second, options) = (std::ptr::null_mut(), if access.is_some() { 0 } else { DUPLICATE_SAME_ACCESS });
    let (of, access) = (of.as_raw_handle(), access.unwrap_or(0));
    // SAFETY: both processes and the object live during the call, which writes one handle.
    done(unsafe { DuplicateHandle(of_own_process(), of, process, &mut second, access, inherited.into(), options) })?;
    Ok(second)
}

/// As [`duplicate`], for the programs that this process starts.
pub(super) fn inheritable(of: BorrowedHandle<'_>) -> io::Result<OwnedHandle> {
    made(duplicate(of, of_own_process(), None, true)?)
}

/// No program that is started gets it.
pub(super) fn keep_from_children(handle: BorrowedHandle<'_>) {
    // SAFETY: a live handle, and two numbers.
    unsafe { SetHandleInformation(handle.as_raw_handle(), HANDLE_FLAG_INHERIT, 0) };
}

/// A handle that the rest of the process cannot close: what it opened next would have its value, and get what is meant for
/// the worker.
#[derive(Debug)]
pub(super) struct Kept(OwnedHandle);

impl Kept {
    pub(super) fn new(handle: OwnedHandle) -> Kept {
        protect(&handle, true);
        Kept(handle)
    }

    pub(super) fn raw(&self) -> HANDLE {
        self.0.as_raw_handle()
    }
}

impl AsHandle for Kept {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.0.as_handle()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        protect(&self.0, false);
    }
}

/// Whether a [`Kept`] of this process has this value.
pub(super) fn is_kept(handle: HANDLE) -> bool {
    let mut flags = 0;
    // SAFETY: any value may be asked for; one number is written.
    unsafe { GetHandleInformation(handle, &mut flags) != 0 && flags & HANDLE_FLAG_PROTECT_FROM_CLOSE != 0 }
}

fn protect(handle: &OwnedHandle, yes: bool) {
    let flags = if yes { HANDLE_FLAG_PROTECT_FROM_CLOSE } else { 0 };
    // SAFETY: a live handle, and two numbers.
    unsafe { SetHandleInformation(handle.as_raw_handle(), HANDLE_FLAG_PROTECT_FROM_CLOSE, flags) };
}

#[cfg(test)]
mod tests {
    use windows_sys::Win32::Foundation::CloseHandle;

    use super::*;

    #[test]
    fn a_kept_handle_is_closed_by_its_owner_alone() {
        let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
        let kept = Kept::new(file.into());
        let raw = kept.raw();
        // SAFETY: the system refuses it, which is what is tested.
        assert_eq!(unsafe { CloseHandle(raw) }, 0);
        let second = kept.as_handle().try_clone_to_owned().expect("still open");
        assert!(is_kept(raw) && !is_kept(second.as_raw_handle()));
        drop(kept);
        // SAFETY: no handle of this process has the value until the next is made.
        assert!(duplicate(unsafe { BorrowedHandle::borrow_raw(raw) }, of_own_process(), None, false).is_err());
    }
}
