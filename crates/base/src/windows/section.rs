//! Memory that one process writes and another one reads: a section of Windows'.
//!
//! Its size never changes, and all of it is promised when it is made. Another process is given a handle that can only read.
//! A process of the same user's could make one from it that writes: the maker never reads the memory.

#![allow(unsafe_code)]

use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr::{NonNull, null};

use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::System::Memory::{
    CreateFileMappingW, FILE_MAP, FILE_MAP_READ, FILE_MAP_WRITE, MEMORY_MAPPED_VIEW_ADDRESS, MapViewOfFile,
    PAGE_READWRITE, UnmapViewOfFile,
};

use super::handle::{Kept, is_kept, keep_from_children, made};

/// By which a process maps such memory.
#[derive(Debug)]
pub struct Section(Kept);

/// Makes memory that this process can write, and what another one is given of it.
pub(crate) fn make(bytes: usize) -> io::Result<(Mapping, Section)> {
    let (high, low) = ((bytes as u64 >> 32) as u32, bytes as u32);
    // SAFETY: no pointer that is not null: memory of the system's, which has no name and which no program inherits.
    let section = made(unsafe { CreateFileMappingW(INVALID_HANDLE_VALUE, null(), PAGE_READWRITE, high, low, null()) })?;
    let mapping = Mapping::new(section.as_handle(), bytes, FILE_MAP_WRITE)?;
    Ok((mapping, Section(Kept::new(section))))
}

/// Maps the first bytes of what another process has made, to be read.
pub(crate) fn map(section: &Section, bytes: usize) -> io::Result<Mapping> {
    Mapping::new(section.as_handle(), bytes, FILE_MAP_READ)
}

impl Section {
    /// Takes a section whose handle another process has made in this one, and said so.
    ///
    /// # Errors
    /// It is no handle that can be taken.
    pub fn adopt(value: u64) -> io::Result<Section> {
        let handle = value as usize as HANDLE;
        if handle.is_null() || handle == INVALID_HANDLE_VALUE || is_kept(handle) {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        // Only a section can be mapped: nothing else is taken.
        // SAFETY: any value may be asked for; the borrow ends here.
        drop(Mapping::new(unsafe { BorrowedHandle::borrow_raw(handle) }, 1, FILE_MAP_READ)?);
        // SAFETY: it is open, nothing of this process's owns it that the library knows, and by its maker's word nothing else.
        let section = unsafe { OwnedHandle::from_raw_handle(handle) };
        keep_from_children(section.as_handle());
        Ok(Section(Kept::new(section)))
    }
}

impl AsHandle for Section {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.0.as_handle()
    }
}

/// Pages that other processes may have too.
#[derive(Debug)]
pub(crate) struct Mapping {
    pub(crate) place: NonNull<u8>,
    pub(crate) bytes: usize,
}

// SAFETY: owns its pages, which are no thread's.
unsafe impl Send for Mapping {}
// SAFETY: as above; writing takes the owner mutably.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(section: BorrowedHandle<'_>, bytes: usize, access: FILE_MAP) -> io::Result<Mapping> {
        // SAFETY: a live handle, or one that the system refuses; it chooses a place where nothing else is.
        let view = unsafe { MapViewOfFile(section.as_raw_handle(), access, 0, 0, bytes) };
        let place = NonNull::new(view.Value.cast::<u8>()).ok_or_else(io::Error::last_os_error)?;
        Ok(Mapping { place, bytes })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped here, and nobody has a reference into it any more.
        unsafe { UnmapViewOfFile(MEMORY_MAPPED_VIEW_ADDRESS { Value: self.place.as_ptr().cast() }) };
    }
}

#[cfg(test)]
mod tests {
    use std::os::windows::io::IntoRawHandle;

    use super::super::handle::{duplicate, of_own_process};
    use super::*;

    const BYTES: usize = 3 * 4096 + 5;

    /// As another process is given it.
    fn given(section: &Section) -> io::Result<Section> {
        Section::adopt(duplicate(section.as_handle(), of_own_process(), Some(FILE_MAP_READ), false)? as u64)
    }

    #[test]
    fn what_another_process_is_given_is_read_and_not_written() {
        let (here, section) = make(BYTES).unwrap();
        let theirs = given(&section).unwrap();
        assert!(Mapping::new(theirs.as_handle(), BYTES, FILE_MAP_WRITE).is_err());
        let there = map(&theirs, BYTES).unwrap();
        drop((section, theirs));
        // SAFETY: the last of so many bytes, mapped twice.
        let read = unsafe {
            here.place.add(BYTES - 1).write(7);
            there.place.add(BYTES - 1).read()
        };
        assert_eq!(read, 7);
    }

    #[test]
    fn what_is_no_section_or_is_too_small_is_not_read() {
        let (_here, section) = make(BYTES).unwrap();
        assert!(map(&given(&section).unwrap(), 1 << 20).is_err());
        assert!(Section::adopt(section.0.raw() as u64).is_err(), "one of this process's own");
        let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
        let handle = OwnedHandle::from(file).into_raw_handle();
        for value in [0, u64::MAX, handle as u64] {
            assert!(Section::adopt(value).is_err());
        }
        // SAFETY: nobody has taken it.
        drop(unsafe { OwnedHandle::from_raw_handle(handle) });
    }
}
