//! A memfd of Linux's: memory that another process can map.
//!
//! It has all its pages from the beginning, and a size that nobody can change: whatever another process does, no access to it
//! raises SIGBUS. Only the mapping of its maker can be written through: who gets the descriptor cannot make another one that can.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::{NonNull, null_mut};

use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, fcntl_get_seals, fstat, memfd_create,
};
use rustix::io::{Errno, retry_on_intr};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};
use rustix::process::{Resource, getrlimit};

use crate::own::Own;

/// As /proc/PID/maps names it, with "/memfd:" before.
const NAME: &str = "coverslip-tiles";

/// Makes memory that this process can write, and the descriptor by which another one maps it.
pub(crate) fn make(bytes: usize) -> io::Result<(Mapping, Own)> {
    // Beyond it the system refuses the size by a signal.
    if getrlimit(Resource::Fsize).current.is_some_and(|most| most < bytes as u64) {
        return Err(Errno::FBIG.into());
    }
    furnish(create()?, bytes)
}

/// An empty one.
fn create() -> io::Result<Own> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let descriptor = match memfd_create(NAME, flags | MemfdFlags::NOEXEC_SEAL) {
        // Linux before 6.3 does not know it; some later ones are set to insist on it.
        Err(Errno::INVAL) => memfd_create(NAME, flags),
        found => found,
    }?;
    Own::new(descriptor)
}

/// Gives it pages, maps them, and closes both to everybody else.
fn furnish(own: Own, bytes: usize) -> io::Result<(Mapping, Own)> {
    // Takes the pages: what the system refuses it refuses here, and not by a signal at a write. A cgroup does not refuse.
    let place = own.get()?;
    retry_on_intr(|| fallocate(place, FallocateFlags::empty(), 0, bytes as u64))?;
    let mapping = Mapping::new(own.get()?, bytes, ProtFlags::READ | ProtFlags::WRITE)?;
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE | SealFlags::SEAL;
    fcntl_add_seals(own.get()?, seals)?;
    Ok((mapping, own))
}

/// Maps the first bytes of what another process has made, to be read.
pub(crate) fn map(own: &Own, bytes: usize) -> io::Result<Mapping> {
    let descriptor = own.get()?;
    let seals = fcntl_get_seals(descriptor)?;
    let size = u64::try_from(fstat(descriptor)?.st_size).unwrap_or(0);
    if !seals.contains(SealFlags::SHRINK) || size < bytes as u64 {
        return Err(Errno::INVAL.into());
    }
    Mapping::new(descriptor, bytes, ProtFlags::READ)
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
    fn new(descriptor: BorrowedFd<'_>, bytes: usize, protection: ProtFlags) -> io::Result<Mapping> {
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        // SAFETY: a place that the system chooses, where nothing else is.
        let place = unsafe { mmap(null_mut(), bytes, protection, flags, descriptor, 0) }?;
        let place = NonNull::new(place.cast::<u8>()).ok_or(Errno::NOMEM)?;
        let mapping = Mapping { place, bytes };
        // A child that this process forks has no use for it, and would keep it.
        // SAFETY: the pages of the mapping, which stay as they are here.
        unsafe { madvise(mapping.raw(), bytes, Advice::LinuxDontFork) }?;
        Ok(mapping)
    }

    fn raw(&self) -> *mut c_void {
        self.place.as_ptr().cast()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped here, and nobody has a reference into it any more.
        let _ = unsafe { munmap(self.raw(), self.bytes) };
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

    use rustix::fs::ftruncate;
    use rustix::io::{dup2, write};

    use super::*;

    const BYTES: usize = 3 * 4096 + 5;

    fn of_this_program() -> OwnedFd {
        std::fs::File::open(std::env::current_exe().unwrap()).unwrap().into()
    }

    #[test]
    fn nobody_else_writes_it_or_changes_its_size() {
        let (_here, own) = make(BYTES).unwrap();
        let descriptor = own.get().unwrap();
        assert_eq!(ftruncate(descriptor, 0), Err(Errno::PERM));
        assert_eq!(ftruncate(descriptor, 1 << 20), Err(Errno::PERM));
        assert_eq!(write(descriptor, b"x"), Err(Errno::PERM));
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        assert_eq!(fallocate(descriptor, hole, 0, 4096), Err(Errno::PERM));
        let writable = Mapping::new(descriptor, BYTES, ProtFlags::READ | ProtFlags::WRITE);
        assert_eq!(writable.unwrap_err().raw_os_error(), Some(Errno::PERM.raw_os_error()));
        assert_eq!(fcntl_add_seals(descriptor, SealFlags::WRITE), Err(Errno::PERM));
    }

    #[test]
    fn what_may_shrink_or_is_too_small_is_not_read() {
        let (_here, own) = make(BYTES).unwrap();
        assert!(map(&own, BYTES + 1).is_err());
        let free = memfd_create("free", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&free, BYTES as u64).unwrap();
        let free = Own::new(free).unwrap();
        assert!(map(&free, BYTES).is_err(), "its size may change");
        fcntl_add_seals(free.get().unwrap(), SealFlags::SHRINK).unwrap();
        map(&free, BYTES).unwrap();
        assert!(map(&Own::new(of_this_program()).unwrap(), 16).is_err(), "a file is none");
    }

    /// A host that closes every descriptor while the memory is made, and opens a file of its own: that has the number then.
    #[test]
    fn a_file_that_has_got_its_number_is_not_extended_mapped_or_closed() {
        let theirs = memfd_create("theirs", MemfdFlags::CLOEXEC).unwrap();
        let own = create().unwrap();
        // SAFETY: the number is `own`'s, which lets go of it once it is another file's.
        let mut number = unsafe { OwnedFd::from_raw_fd(own.get().unwrap().as_raw_fd()) };
        dup2(&theirs, &mut number).unwrap();
        assert_eq!(furnish(own, BYTES).unwrap_err().raw_os_error(), Some(Errno::BADF.raw_os_error()));
        assert_eq!(fstat(number.as_fd()).expect("still open").st_size, 0);
    }
}
