//! A process that runs, or has ended, by a descriptor of its own (Linux 5.3), never by a number that another process may have
//! by now.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::memory::{shared, with_room};
use crate::own::Own;
use crate::sync::Arc;

/// What reading what the kernel says of a descriptor takes of memory.
const PAGE: usize = 16 << 10;

/// A process that was started here, until nobody holds this any more.
#[derive(Clone, Debug)]
pub struct Running(Arc<Named>);

#[derive(Debug)]
struct Named {
    own: Own,
    number: u32,
}

impl Running {
    /// A child that nobody has reaped.
    ///
    /// # Errors
    /// The kernel gives no descriptor of it.
    pub fn new(number: u32) -> io::Result<Running> {
        let process = i32::try_from(number).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
        let own = Own::new(pidfd_open(process, PidfdFlags::empty())?)?;
        let named = shared(Named { own, number }).map_err(|_| io::ErrorKind::OutOfMemory)?;
        Ok(Running(named))
    }

    /// Its descriptor, to act on the process; None: somebody has closed it, and the number may be another's.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.0.descriptor()
    }

    /// Its descriptor, to wait for its end: quicker, and before Linux 6.9 perhaps that of another process, where somebody has
    /// closed it.
    pub fn watched(&self) -> Option<BorrowedFd<'_>> {
        self.0.own.get().ok()
    }
}

impl Named {
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.own.get().ok().filter(|descriptor| !self.is_anothers(*descriptor))
    }

    /// Whether the kernel says that the descriptor is another process's. Where /proc cannot be read, as without a free
    /// descriptor or memory, it says nothing: before Linux 6.9 every process's descriptor is the same file, but no other kind of file is.
    fn is_anothers(&self, descriptor: BorrowedFd<'_>) -> bool {
        with_room("a look at a descriptor", PAGE, || {
            let page = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", descriptor.as_raw_fd()));
            page.is_ok_and(|page| is_of_another(&page, self.number))
        })
        .unwrap_or(false)
    }
}

/// The page has the process's number as the reader of /proc sees it, or -1 once it is reaped; then its numbers in each
/// namespace from there down to its own, which is this process's.
fn is_of_another(page: &str, number: u32) -> bool {
    let last = |name: &str| {
        let line = page.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().last()).map(str::to_owned)
    };
    let (seen, innermost) = (last("Pid:"), last("NSpid:"));
    let number = number.to_string();
    seen.as_deref() != Some("-1") && seen.as_ref() != Some(&number) && innermost.as_ref() != Some(&number)
}

impl Drop for Named {
    /// Another process's descriptor stays open.
    fn drop(&mut self) {
        if self.descriptor().is_none() {
            self.own.let_go();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_names_the_process_or_another() {
        let page = |pid: &str, nspid: &str| format!("pos:\t0\nflags:\t02000002\nPid:\t{pid}\nNSpid:\t{nspid}\n");
        assert!(!is_of_another(&page("42", "42"), 42));
        assert!(!is_of_another(&page("-1", "-1"), 42), "reaped");
        assert!(!is_of_another(&page("70042", "70042 42"), 42), "/proc is that of a system around this one");
        assert!(is_of_another(&page("43", "43"), 42));
        assert!(is_of_another(&page("42", "42"), 4));
        assert!(is_of_another("pos:\t0\nflags:\t02\n", 42), "no process's");
    }

    #[test]
    fn a_descriptor_that_is_another_processs_is_neither_used_nor_closed() {
        let here = Running::new(std::process::id()).unwrap();
        assert!(here.descriptor().is_some() && here.watched().is_some());
        // As when a host has closed it and has opened that of another process, which got its number.
        let own = Own::new(pidfd_open(rustix::process::getpid(), PidfdFlags::empty()).unwrap()).unwrap();
        let place = format!("/proc/self/fd/{}", own.get().unwrap().as_raw_fd());
        let stolen = Running(Arc::new(Named { own, number: 1 }));
        assert!(stolen.descriptor().is_none());
        drop(stolen);
        assert!(std::fs::read_link(place).is_ok());
    }
}
