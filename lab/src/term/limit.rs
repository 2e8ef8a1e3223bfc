//! A limit on the length of files is an error of the write, and not the end of the process.

/// Blocks the signal that the system sends beside that error: it ends a process without a sentence. Threads that start
/// later have it blocked too, and so it is called first. Programs that the command starts have it open.
#[cfg(unix)]
pub(crate) fn a_limit_is_an_error() {
    let mut limit = nix::sys::signal::SigSet::empty();
    limit.add(nix::sys::signal::Signal::SIGXFSZ);
    // It fails for no set of signals.
    let _ = limit.thread_block();
}

#[cfg(not(unix))]
pub(crate) fn a_limit_is_an_error() {}
