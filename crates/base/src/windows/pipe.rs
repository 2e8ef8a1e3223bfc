//! A pipe in both directions between two processes. Every read and every write has a deadline.
//!
//! It has a name, because the system gives a deadline only to pipes that have one: 128 random bits, one instance, whose
//! other end is opened here before the name is known to anybody, and closed to other machines.

#![allow(unsafe_code)]

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::windows::io::{AsHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr::{null, null_mut};
use std::time::Instant;

use windows_sys::Win32::Foundation::{
    ERROR_BROKEN_PIPE, ERROR_IO_PENDING, ERROR_NO_DATA, ERROR_OPERATION_ABORTED, ERROR_PIPE_NOT_CONNECTED,
    GENERIC_READ, GENERIC_WRITE, GetLastError, HANDLE, WAIT_OBJECT_0, WAIT_TIMEOUT,
};
use windows_sys::Win32::Storage::FileSystem::{
    CreateFileW, FILE_FLAG_FIRST_PIPE_INSTANCE, FILE_FLAG_OVERLAPPED, FILE_TYPE_PIPE, GetFileType, OPEN_EXISTING,
    PIPE_ACCESS_DUPLEX, ReadFile, SECURITY_ANONYMOUS, SECURITY_SQOS_PRESENT, WriteFile,
};
use windows_sys::Win32::System::IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED};
use windows_sys::Win32::System::Pipes::{
    CreateNamedPipeW, PIPE_READMODE_BYTE, PIPE_REJECT_REMOTE_CLIENTS, PIPE_TYPE_BYTE, PIPE_WAIT, PeekNamedPipe,
};
use windows_sys::Win32::System::Threading::{CreateEventW, WaitForMultipleObjects};

use super::handle::{Kept, done, is_kept, keep_from_children, made, wide};
use super::running::{Running, milliseconds};

/// What a pipe holds in each direction before a write waits: a tile of 224 px and more.
const HELD: u32 = 256 << 10;
/// Bytes of one transfer at most.
const MOST: usize = 1 << 20;

/// Why nothing was transferred.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// The other end is closed, or its process has ended.
    Ended,
    /// The deadline.
    Late,
    /// The system refuses: its code.
    System(i32),
}

impl From<u32> for Fault {
    fn from(code: u32) -> Fault {
        match code {
            ERROR_BROKEN_PIPE | ERROR_NO_DATA | ERROR_PIPE_NOT_CONNECTED => Fault::Ended,
            code => Fault::System(code as i32),
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        Fault::from(error.raw_os_error().unwrap_or(0) as u32)
    }
}

/// One end of a pipe.
#[derive(Debug)]
pub struct End {
    handle: Kept,
    /// Set when a transfer is over. An end has one at a time, which `&mut` sees to.
    over: Kept,
    /// The process that has the other end.
    other: Option<Running>,
}

impl End {
    fn new(handle: OwnedHandle) -> io::Result<End> {
        // SAFETY: no pointer that is not null: an event of this process's, reset by hand, not set.
        let over = made(unsafe { CreateEventW(null(), 1, 0, null()) })?;
        Ok(End { handle: Kept::new(handle), over: Kept::new(over), other: None })
    }

    /// Two ends, neither of which a program inherits that this process starts.
    ///
    /// # Errors
    /// The system makes no more of them.
    pub fn pair() -> io::Result<(End, End)> {
        let random = || RandomState::new().hash_one(0);
        let name = format!(r"\\.\pipe\coverslip-{}-{:016x}{:016x}", std::process::id(), random(), random());
        let name = wide(name.as_ref());
        let open = PIPE_ACCESS_DUPLEX | FILE_FLAG_FIRST_PIPE_INSTANCE | FILE_FLAG_OVERLAPPED;
        let mode = PIPE_TYPE_BYTE | PIPE_READMODE_BYTE | PIPE_WAIT | PIPE_REJECT_REMOTE_CLIENTS;
        // SAFETY: a name that ends with 0, and numbers.
        let here = made(unsafe { CreateNamedPipeW(name.as_ptr(), open, mode, 1, HELD, HELD, 0, null()) })?;
        let flags = FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | SECURITY_ANONYMOUS;
        let access = GENERIC_READ | GENERIC_WRITE;
        // SAFETY: as above. The only instance: a stranger who was quicker makes this fail.
        let there = made(unsafe { CreateFileW(name.as_ptr(), access, 0, null(), OPEN_EXISTING, flags, null_mut()) })?;
        Ok((End::new(here)?, End::new(there)?))
    }

    /// Takes an end whose handle another process has made in this one, and said so.
    ///
    /// # Errors
    /// It is no pipe's, or that of an end which this process has.
    pub fn adopt(value: u64) -> io::Result<End> {
        let handle = value as usize as HANDLE;
        // SAFETY: any value may be asked for.
        if handle.is_null() || unsafe { GetFileType(handle) } != FILE_TYPE_PIPE || is_kept(handle) {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        // SAFETY: it is open, no end of this process owns it, and by its maker's word nothing else does.
        let handle = unsafe { OwnedHandle::from_raw_handle(handle) };
        keep_from_children(handle.as_handle());
        End::new(handle)
    }

    /// Another handle of the same end, for another thread.
    ///
    /// # Errors
    /// The system makes no more of them.
    pub fn try_clone(&self) -> io::Result<End> {
        Ok(End { other: self.other.clone(), ..End::new(self.handle.as_handle().try_clone_to_owned()?)? })
    }

    /// From now on the end of this process is the end of the pipe, whoever has got a handle of its end: a host that starts
    /// a program while a worker is started hands it one.
    pub fn watch(&mut self, other: Running) {
        self.other = Some(other);
    }

    /// Reads as many bytes as there are, at least one.
    ///
    /// # Errors
    /// There are none until it is due, or nobody to send any.
    pub fn read(&mut self, into: &mut [u8], due: Option<Instant>) -> Result<usize, Fault> {
        let count = into.len().min(MOST) as u32;
        // SAFETY: `transfer` does not return before the system has let go of the buffer and the struct.
        let read = self.transfer(due, |handle, overlapped| unsafe {
            ReadFile(handle, into.as_mut_ptr(), count, null_mut(), overlapped)
        })?;
        // An empty write, of which neither side makes any.
        if read == 0 { Err(Fault::Ended) } else { Ok(read) }
    }

    /// Writes at least one of the bytes.
    ///
    /// # Errors
    /// None is taken until it is due, or nobody takes any.
    pub fn write(&mut self, bytes: &[u8], due: Option<Instant>) -> Result<usize, Fault> {
        let count = bytes.len().min(MOST) as u32;
        // SAFETY: as in `read`.
        let written = self.transfer(due, |handle, overlapped| unsafe {
            WriteFile(handle, bytes.as_ptr(), count, null_mut(), overlapped)
        })?;
        if written == 0 { Err(Fault::Ended) } else { Ok(written) }
    }

    /// Whether there is something to read.
    ///
    /// # Errors
    /// The other end is closed, and everything is read.
    pub fn is_ready(&self) -> Result<bool, Fault> {
        let mut count = 0;
        // SAFETY: one number is written.
        done(unsafe { PeekNamedPipe(self.handle.raw(), null_mut(), 0, null_mut(), &mut count, null_mut()) })?;
        Ok(count > 0)
    }

    /// Starts a transfer and waits for its end. When it is due, it is taken back.
    fn transfer(
        &mut self,
        due: Option<Instant>,
        start: impl FnOnce(HANDLE, *mut OVERLAPPED) -> windows_sys::core::BOOL,
    ) -> Result<usize, Fault> {
        let mut overlapped = OVERLAPPED { hEvent: self.over.raw(), ..OVERLAPPED::default() };
        let handle = self.handle.raw();
        let mut waited = Ok(());
        if start(handle, &mut overlapped) == 0 {
            // SAFETY: of the call before.
            match unsafe { GetLastError() } {
                ERROR_IO_PENDING => waited = self.wait(due),
                code => return Err(code.into()),
            }
        }
        if waited.is_err() {
            // SAFETY: both are live. It may be over meanwhile.
            unsafe { CancelIoEx(handle, &overlapped) };
        }
        let mut count = 0;
        // SAFETY: both are live; one number is written. Waits until the system has let go of the transfer, which it does at
        // once: it is over, or taken back.
        if unsafe { GetOverlappedResult(handle, &overlapped, &mut count, 1) } != 0 {
            return Ok(count as usize);
        }
        // SAFETY: of the call before.
        match (unsafe { GetLastError() }, waited) {
            (ERROR_OPERATION_ABORTED, Err(fault)) => Err(fault),
            (code, _) => Err(code.into()),
        }
    }

    /// Until the transfer is over.
    fn wait(&self, due: Option<Instant>) -> Result<(), Fault> {
        let other = self.other.as_ref().map_or(null_mut(), Running::raw);
        let handles = [self.over.raw(), other];
        let count = if self.other.is_some() { 2 } else { 1 };
        loop {
            let left = due.map(|due| due.saturating_duration_since(Instant::now()));
            // SAFETY: so many live handles.
            let found = unsafe { WaitForMultipleObjects(count, handles.as_ptr(), 0, milliseconds(left)) };
            match found {
                WAIT_OBJECT_0 => return Ok(()),
                // What it has written before was there to be read: a transfer that waits then gets nothing more.
                found if found == WAIT_OBJECT_0 + 1 => return Err(Fault::Ended),
                WAIT_TIMEOUT if left.is_some_and(|left| left.is_zero()) => return Err(Fault::Late),
                WAIT_TIMEOUT => {}
                _ => return Err(io::Error::last_os_error().into()),
            }
        }
    }
}

impl AsHandle for End {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.handle.as_handle()
    }
}

#[cfg(test)]
mod tests {
    use std::os::windows::io::AsRawHandle;
    use std::time::Duration;

    use super::*;

    fn due(milliseconds: u64) -> Option<Instant> {
        Some(Instant::now() + Duration::from_millis(milliseconds))
    }

    #[test]
    fn bytes_go_both_ways_and_nobody_waits_beyond_what_is_due() {
        let (mut here, mut there) = End::pair().unwrap();
        let mut bytes = [0; 9];
        assert_eq!(here.is_ready(), Ok(false));
        assert_eq!(here.read(&mut bytes, due(5)), Err(Fault::Late));
        assert_eq!(there.write(b"abc", due(1000)), Ok(3));
        assert_eq!(here.is_ready(), Ok(true));
        assert_eq!(here.read(&mut bytes, due(1000)), Ok(3));
        assert_eq!(here.write(b"de", due(1000)), Ok(2));
        assert_eq!(there.read(&mut bytes, due(1000)), Ok(2));
        assert_eq!(&bytes[..3], b"dec");
        let large = vec![0; 2 * HELD as usize];
        assert_eq!(here.write(&large, due(5)), Err(Fault::Late), "more than the pipe holds");
        drop(there);
        assert_eq!(here.read(&mut bytes, due(1000)), Err(Fault::Ended));
        assert_eq!(here.write(b"f", due(1000)), Err(Fault::Ended));
        assert_eq!(here.is_ready(), Err(Fault::Ended));
    }

    #[test]
    fn an_end_that_closes_ends_a_read_that_waits() {
        let (mut here, there) = End::pair().unwrap();
        std::thread::scope(|scope| {
            let reading = scope.spawn(move || here.read(&mut [0; 1], None));
            std::thread::sleep(Duration::from_millis(20));
            drop(there);
            assert_eq!(reading.join().unwrap(), Err(Fault::Ended));
        });
    }

    #[test]
    fn what_is_no_pipe_is_not_adopted() {
        assert!(End::adopt(0).is_err());
        assert!(End::adopt(u64::MAX).is_err());
        let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
        assert!(End::adopt(file.as_raw_handle() as u64).is_err());
    }

    #[test]
    fn an_end_of_this_process_is_not_adopted_again() {
        let (here, _there) = End::pair().unwrap();
        assert!(End::adopt(here.handle.raw() as u64).is_err());
        let second = here.handle.as_handle().try_clone_to_owned().unwrap();
        use std::os::windows::io::IntoRawHandle;
        let adopted = End::adopt(second.into_raw_handle() as u64).unwrap();
        assert!(End::adopt(adopted.handle.raw() as u64).is_err());
    }
}
