//! A descriptor of this library's in a process that is not: the host may close it, and open another file under its number.

use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};

use rustix::fs::fstat;
use rustix::io::Errno;

use crate::transport::Broken;

/// A descriptor, and which file it stands for.
#[derive(Debug)]
pub(crate) struct Own {
    /// None once it is given away.
    descriptor: Option<OwnedFd>,
    identity: (u64, u64),
}

fn identity(descriptor: &OwnedFd) -> Result<(u64, u64), Broken> {
    let found = fstat(descriptor).map_err(|errno| Broken::System(errno.raw_os_error()))?;
    Ok((found.st_dev, found.st_ino))
}

impl Own {
    /// # Errors
    /// It is no descriptor.
    pub(crate) fn new(descriptor: OwnedFd) -> Result<Own, Broken> {
        let identity = identity(&descriptor)?;
        Ok(Own { descriptor: Some(descriptor), identity })
    }

    /// The descriptor, if it still is this one.
    ///
    /// # Errors
    /// It has been closed by somebody else.
    pub(crate) fn get(&self) -> Result<BorrowedFd<'_>, Broken> {
        self.owned().map(AsFd::as_fd)
    }

    /// As [`Own::get`].
    pub(crate) fn owned(&self) -> Result<&OwnedFd, Broken> {
        let closed = || Broken::System(Errno::BADF.raw_os_error());
        let descriptor = self.descriptor.as_ref().ok_or_else(closed)?;
        if identity(descriptor)? == self.identity { Ok(descriptor) } else { Err(closed()) }
    }

    /// Gives it away, if it still is this one.
    ///
    /// # Errors
    /// It has been closed by somebody else.
    pub(crate) fn take(mut self) -> Result<OwnedFd, Broken> {
        self.get()?;
        self.descriptor.take().ok_or(Broken::System(Errno::BADF.raw_os_error()))
    }
}

impl Drop for Own {
    /// Somebody else's descriptor stays open.
    fn drop(&mut self) {
        let own = self.get().is_ok();
        if let Some(descriptor) = self.descriptor.take().filter(|_| !own) {
            let _ = descriptor.into_raw_fd();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

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
