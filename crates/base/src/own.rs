//! A descriptor of this library's in a process that is not: the host may close it, and open another file under its number.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};

use rustix::fs::fstat;
use rustix::io::{Errno, fcntl_dupfd_cloexec};

/// Numbers below are the standard streams', also where a host has closed them: what its libraries print goes there.
const STREAMS: RawFd = 3;

/// A descriptor, and which file it stands for.
#[derive(Debug)]
pub struct Own {
    /// None once it is given away.
    descriptor: Option<OwnedFd>,
    identity: (u64, u64),
}

fn identity(descriptor: &OwnedFd) -> io::Result<(u64, u64)> {
    let found = fstat(descriptor)?;
    Ok((found.st_dev, found.st_ino))
}

impl Own {
    /// Takes what has just been made, under a number that is no standard stream's.
    ///
    /// # Errors
    /// It is no descriptor, or the system has no other number for it.
    pub fn new(descriptor: OwnedFd) -> io::Result<Own> {
        let identity = match identity(&descriptor) {
            Ok(identity) => identity,
            Err(e) => {
                // Closed already, and not by us: the number is not ours to close.
                let _ = descriptor.into_raw_fd();
                return Err(e);
            }
        };
        let number = descriptor.as_raw_fd();
        let own = Own { descriptor: Some(descriptor), identity };
        if number >= STREAMS {
            return Ok(own);
        }
        let higher = fcntl_dupfd_cloexec(own.get()?, STREAMS)?;
        Ok(Own { descriptor: Some(higher), identity })
    }

    /// The descriptor, if it still is this one.
    ///
    /// # Errors
    /// It has been closed by somebody else.
    pub fn get(&self) -> io::Result<BorrowedFd<'_>> {
        match &self.descriptor {
            Some(descriptor) if identity(descriptor)? == self.identity => Ok(descriptor.as_fd()),
            _ => Err(Errno::BADF.into()),
        }
    }

    /// Gives it away, if it still is this one.
    ///
    /// # Errors
    /// It has been closed by somebody else.
    pub fn take(mut self) -> io::Result<OwnedFd> {
        self.get()?;
        self.descriptor.take().ok_or_else(|| Errno::BADF.into())
    }

    /// Lets go of it without closing it.
    pub(crate) fn let_go(&mut self) {
        let _ = self.descriptor.take().map(IntoRawFd::into_raw_fd);
    }
}

impl Drop for Own {
    /// Somebody else's descriptor stays open.
    fn drop(&mut self) {
        if self.get().is_err() {
            self.let_go();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str) -> OwnedFd {
        std::fs::File::open(path).unwrap().into()
    }

    #[test]
    fn a_descriptor_that_is_somebody_elses_is_neither_used_nor_closed() {
        let own = Own::new(of("/dev/null")).unwrap();
        assert!(own.get().is_ok() && own.take().is_ok());
        // As when a host has closed it and has opened another file, which got its number.
        let theirs = of("/proc/self/status");
        let place = format!("/proc/self/fd/{}", theirs.as_raw_fd());
        let stolen = || Own { descriptor: Some(theirs.try_clone().unwrap()), identity: (0, 0) };
        assert!(stolen().get().is_err() && stolen().take().is_err());
        let copy = stolen();
        let number = copy.descriptor.as_ref().unwrap().as_raw_fd();
        drop(copy);
        assert!(std::fs::exists(place).unwrap() && std::fs::exists(format!("/proc/self/fd/{number}")).unwrap());
    }
}
