//! On Linux: descriptors, ignored and blocked signals, the folder that it is in, core dumps. Called on the only thread.

#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::sys::signal::SigSet;
use rustix::fs::{Mode, OFlags};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::net::sockopt::socket_domain;
use rustix::process::{Resource, Rlimit, setrlimit};

/// The control connection gets a number that no library expects to be free, nor takes for a standard stream.
const HIGH: RawFd = 200;

/// Keeps the control connection alone, which is the standard input; None: that is no socket, so nobody of ours has started
/// this process.
pub(crate) fn leave() -> Option<OwnedFd> {
    if std::env::args_os().len() > 1 {
        return None;
    }
    socket_domain(std::io::stdin()).ok()?;
    let control =
        fcntl_dupfd_cloexec(std::io::stdin(), HIGH).or_else(|_| fcntl_dupfd_cloexec(std::io::stdin(), 3)).ok()?;
    // Drivers print: before one is loaded, the standard streams lead nowhere.
    let nowhere = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()).ok()?;
    rustix::stdio::dup2_stdin(&nowhere).ok()?;
    rustix::stdio::dup2_stdout(&nowhere).ok()?;
    rustix::stdio::dup2_stderr(&nowhere).ok()?;
    drop(nowhere);
    close_all_but(control.as_raw_fd());
    reset_signals();
    // The host's folder may be on a disk that is to be taken out. Every path that is sent is absolute.
    let _ = std::env::set_current_dir("/");
    // A crash would write the tiles of a patient, and gigabytes of weights, to the disk. With 0 the kernel would still feed
    // a program that the system has named for dumps; with 1 it does neither.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(1), maximum: Some(1) });
    Some(control)
}

/// Closes every descriptor from 3 on but `kept`.
fn close_all_but(kept: RawFd) {
    let kept = kept as libc::c_uint;
    let ranges = [(3, kept - 1), (kept + 1, libc::c_uint::MAX)];
    for (first, last) in ranges.into_iter().filter(|(first, last)| first <= last) {
        // SAFETY: no object of this process owns one of them yet: this is the start of the only thread.
        let closed = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        if closed != 0 {
            close_listed(first, last);
        }
    }
}

/// For kernels before 5.9.
fn close_listed(first: libc::c_uint, last: libc::c_uint) {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let number = |entry: std::io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    let open: Vec<libc::c_uint> = entries.filter_map(number).collect();
    for number in open.into_iter().filter(|number| (first..=last).contains(number)) {
        // SAFETY: as above; the listing's own is closed already, and closing it again does nothing.
        unsafe { libc::close(number as RawFd) };
    }
}

/// Signals that the host ignores or blocks are neither here: drivers start programs and wait for them.
fn reset_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        // Writes to the connection do without it, and a driver's own must not end this process.
        if signal != libc::SIGPIPE {
            // SAFETY: sets a default disposition; the numbers that may not be set are refused.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
    }
    let _ = SigSet::empty().thread_set_mask();
}

/// Where the system must end a process to have memory, it is this one and not the host.
pub(crate) fn give_way() {
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
}

/// Programs that the calling thread starts, and threads that it starts, gain no rights.
pub(crate) fn drop_rights() {
    let _ = rustix::thread::set_no_new_privs(true);
}

/// Ends this process as a crash does.
pub(crate) fn fail() -> ! {
    std::process::abort()
}

/// Ends this process without what vendors' libraries do at an exit.
pub(crate) fn end() -> ! {
    // SAFETY: does not return, and runs nothing.
    unsafe { libc::_exit(0) }
}
