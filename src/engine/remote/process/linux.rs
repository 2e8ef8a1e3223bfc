//! A worker on Linux.
//!
//! The host's process is not ours: it may reap children that it did not start, ignore SIGCHLD, and close descriptors that
//! it does not know. So a worker is named by a descriptor of its own where the kernel has them, never by a number that
//! another process may have by now.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use coverslip_base::error::{Error, Result, error};
use coverslip_base::fault;
use coverslip_base::memory::with_room;
use coverslip_base::pidfd::Running;
use coverslip_base::sync::{Arc, Mutex, PoisonError};
use coverslip_wire::frame::Kind;
use coverslip_wire::{Broken, Due, Link, Passed};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};

use super::ended::Ended;
use super::environment::Environment;
use super::{SPAWN_BYTES, refused, unconnected};

pub(in crate::engine::remote) struct Process {
    number: u32,
    handle: Handle,
    /// How it has ended, once that is known. Whoever reaps it first learns that, and may be the host.
    ended: Mutex<Option<Ended>>,
}

enum Handle {
    Descriptor(Running),
    /// The kernel gives no descriptor. Killed only while the system says that it is still this process's child.
    Number(Mutex<Child>),
}

impl Process {
    /// Starts the program. Its standard input is its end of the control connection, whose other end is returned; it has
    /// nothing else of this process's but this environment.
    pub(in crate::engine::remote) fn start(program: &Path, environment: &Environment) -> Result<(Arc<Process>, Link)> {
        let (mut control, theirs) = Link::pair().map_err(|broken| unconnected(&broken))?;
        let theirs = theirs.into_descriptor().map_err(|_| closed())?;
        let process = with_room("a worker", SPAWN_BYTES, || {
            let mut command = Command::new(program);
            command.env_clear().envs(environment.iter().map(|(name, value)| (name, value)));
            // A group of its own: what the host's terminal sends to its group is not for the worker.
            command.stdin(Stdio::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
            command.spawn().map(|child| Arc::new(Process::of(child)))
        })?;
        let process = process.map_err(|e| refused(program, &e))?;
        process.watch(&mut control);
        Ok((process, control))
    }

    fn of(child: Child) -> Process {
        let number = child.id();
        let handle = match Running::new(number) {
            Ok(running) => Handle::Descriptor(running),
            Err(_) => Handle::Number(Mutex::new(child)),
        };
        Process { number, handle, ended: Mutex::default() }
    }

    /// From now on its end is this connection's, whoever has a copy of its end.
    pub(in crate::engine::remote) fn watch(&self, link: &mut Link) {
        if let Handle::Descriptor(running) = &self.handle {
            link.watch(running.clone());
        }
    }

    /// Gives the worker a lane's connection, and its memory.
    pub(in crate::engine::remote) fn pass(
        &self,
        control: &mut Link,
        lane: &Passed,
        due: Due,
    ) -> std::result::Result<(), Broken> {
        control.send_link(Kind::Lane, lane, due)
    }

    pub(in crate::engine::remote) fn number(&self) -> u32 {
        self.number
    }

    /// Ends it now, whatever it does. Does not wait.
    pub(in crate::engine::remote) fn kill(&self) {
        // As when it is in a driver that does not return.
        if fault::point("kill a worker") {
            return;
        }
        match &self.handle {
            Handle::Descriptor(running) => {
                let _ = running.descriptor().map(|descriptor| pidfd_send_signal(descriptor, Signal::KILL));
            }
            Handle::Number(child) => {
                let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
                if matches!(child.try_wait(), Ok(None)) {
                    let _ = child.kill();
                }
            }
        }
    }

    /// Waits until it has ended, at most so long. Whether it is known to have; it is reaped then, unless somebody else does
    /// that.
    pub(in crate::engine::remote) fn ended_within(&self, time: Duration) -> bool {
        match &self.handle {
            Handle::Descriptor(running) => {
                // Of one that somebody has closed nothing is known.
                let Some(descriptor) = running.descriptor() else { return false };
                let time = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
                let mut event = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
                let ended = retry_on_intr(|| poll(&mut event, Some(&time))).is_ok_and(|events| events > 0);
                // ECHILD: the host reaps its children itself, or ignores SIGCHLD.
                let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
                if let Ok(Some(status)) = waitid(WaitId::PidFd(descriptor), options) {
                    let by_signal = status.terminating_signal().map(Ended::Signal);
                    self.learn(by_signal.or_else(|| status.exit_status().map(Ended::Code)));
                }
                ended
            }
            Handle::Number(child) => {
                let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
                let pause = Duration::from_millis(5);
                let mut left = time;
                loop {
                    match child.try_wait() {
                        Ok(Some(status)) => {
                            self.learn(how(status));
                            return true;
                        }
                        // The host has reaped it.
                        Err(_) => return true,
                        Ok(None) if left.is_zero() => return false,
                        Ok(None) => {}
                    }
                    std::thread::sleep(pause.min(left));
                    left = left.saturating_sub(pause);
                }
            }
        }
    }

    fn learn(&self, ended: Option<Ended>) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = ended;
    }

    /// How it has ended; None: it has not, or nobody says.
    pub(in crate::engine::remote) fn ended(&self) -> Option<Ended> {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn how(status: ExitStatus) -> Option<Ended> {
    status.signal().map(Ended::Signal).or_else(|| status.code().map(Ended::Code))
}

/// What helps where a connection fails.
pub(in crate::engine::remote) const AGAINST_FAILURE: &str = "a program may close only its own descriptors";

/// The host has closed a descriptor of the library's.
fn closed() -> Error {
    error!(ENGINE_UNAVAILABLE, "a descriptor of the library's was closed by somebody else: close only your own")
}

#[cfg(test)]
mod tests {
    use super::super::environment;
    use super::*;

    #[test]
    fn a_process_is_killed_and_buried_whoever_reaps_it() {
        let (process, _control) = Process::start(Path::new("/bin/cat"), &environment()).unwrap();
        assert!(!process.ended_within(Duration::from_millis(20)));
        process.kill();
        assert!(process.ended_within(Duration::from_secs(10)));
        process.kill();
        assert!(process.ended_within(Duration::ZERO), "also when it is asked again");
        assert_eq!(process.ended(), Some(Ended::Signal(libc::SIGKILL)));
        let e = Process::start(Path::new("/nowhere/coverslip-worker"), &environment()).err().unwrap();
        assert!(e.text().contains("/nowhere/coverslip-worker: there is none"), "{}", e.text());
    }
}
