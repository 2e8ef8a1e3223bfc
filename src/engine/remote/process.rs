//! One worker process: started, killed, buried.
//!
//! The host's process is not ours: it may reap children that it did not start, ignore SIGCHLD, and close descriptors that
//! it does not know. So a worker is named by a descriptor of its own where the kernel has them (Linux 5.3), never by a
//! number that another process may have by now, and that descriptor is looked at before it is used.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use coverslip_base::error::{Error, Result, error};
use coverslip_base::fault;
use coverslip_base::memory::with_room;
use coverslip_base::sync::{Mutex, PoisonError};
use coverslip_wire::socket::Socket;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid};

/// What a worker is told of the host's environment: where to find libraries and files, and what concerns CUDA. The rest,
/// LD_PRELOAD among it, is the host's.
const KEPT: [&str; 9] =
    ["PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "XDG_CACHE_HOME", "RTEN_NUM_THREADS"];
const KEPT_PREFIXES: [&str; 6] = ["CUDA_", "NVIDIA_", "TRT_", "TENSORRT_", "LC_", "COVERSLIP_"];

/// What the standard library allocates to start a program, with a copy of the environment.
const SPAWN_BYTES: usize = 256 << 10;

pub(super) struct Process {
    number: u32,
    handle: Handle,
}

enum Handle {
    /// None once it is found to be somebody else's.
    Descriptor(Mutex<Option<OwnedFd>>),
    /// The kernel gives no descriptor. Killed only while the system says that it is still this process's child.
    Number(Mutex<Child>),
}

impl Process {
    /// Starts the program with `link` as its standard input, and nothing else of this process's but this environment.
    pub(super) fn start(program: &Path, environment: &Environment, link: Socket) -> Result<Process> {
        let refused = |e: std::io::Error| {
            let what = if e.kind() == ErrorKind::NotFound { "there is none" } else { "it does not start" };
            error!(
                ENGINE_UNAVAILABLE,
                "the worker {}: {what}: {e}; install coverslip-worker beside the library, or set \
                 runtime_desc.worker_path",
                program.display()
            )
            .with_native(i64::from(e.raw_os_error().unwrap_or(0)))
        };
        let link = link.into_descriptor().map_err(|_| closed())?;
        let child = with_room("a worker", SPAWN_BYTES, || {
            let mut command = Command::new(program);
            command.env_clear().envs(environment.iter().map(|(name, value)| (name, value)));
            // A group of its own: what the host's terminal sends to its group is not for the worker.
            command.stdin(Stdio::from(link)).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
            command.spawn()
        })?;
        let child = child.map_err(refused)?;
        let number = child.id();
        let descriptor = Pid::from_raw(number as i32).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        let handle = match descriptor {
            Some(descriptor) => Handle::Descriptor(Mutex::new(Some(descriptor))),
            None => Handle::Number(Mutex::new(child)),
        };
        Ok(Process { number, handle })
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Ends it now, whatever it does. Does not wait.
    pub(super) fn kill(&self) {
        // As when it is in a driver that does not return.
        if fault::point("kill a worker") {
            return;
        }
        match &self.handle {
            Handle::Descriptor(descriptor) => self.with_own(descriptor, |own| {
                let _ = pidfd_send_signal(own, Signal::KILL);
            }),
            Handle::Number(child) => {
                let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
                if matches!(child.try_wait(), Ok(None)) {
                    let _ = child.kill();
                }
            }
        }
    }

    /// Waits until it has ended, at most so long. Whether it has; it is reaped then, unless somebody else does that.
    pub(super) fn ended_within(&self, time: Duration) -> bool {
        match &self.handle {
            Handle::Descriptor(descriptor) => {
                let mut ended = true;
                self.with_own(descriptor, |own| {
                    let time = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
                    ended = poll(&mut [PollFd::new(own, PollFlags::IN)], Some(&time)) != Ok(0);
                    // ECHILD: the host reaps its children itself, or ignores SIGCHLD.
                    let _ = waitid(
                        WaitId::PidFd(std::os::fd::AsFd::as_fd(own)),
                        WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
                    );
                });
                ended
            }
            Handle::Number(child) => {
                let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
                let pause = Duration::from_millis(5);
                let mut left = time;
                while matches!(child.try_wait(), Ok(None)) {
                    if left.is_zero() {
                        return false;
                    }
                    std::thread::sleep(pause.min(left));
                    left = left.saturating_sub(pause);
                }
                true
            }
        }
    }

    /// Runs `f` with the process's descriptor, unless somebody has closed it and the number is another's: then nothing is
    /// done to it any more.
    fn with_own(&self, descriptor: &Mutex<Option<OwnedFd>>, f: impl FnOnce(&OwnedFd)) {
        let mut place = descriptor.lock().unwrap_or_else(PoisonError::into_inner);
        match &*place {
            Some(own) if self.is_named_by(own) => f(own),
            _ => {
                // Lets go of it without closing it.
                let _ = place.take().map(IntoRawFd::into_raw_fd);
            }
        }
    }

    /// The kernel says of a process's descriptor whose it is: its number, or -1 once it is reaped.
    fn is_named_by(&self, descriptor: &OwnedFd) -> bool {
        let page = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", descriptor.as_raw_fd()));
        let named = |page: String| {
            let number = page.lines().find_map(|line| line.strip_prefix("Pid:")).map(|number| number.trim().to_owned());
            number.is_some_and(|number| number == self.number.to_string() || number == "-1")
        };
        page.is_ok_and(named)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Handle::Descriptor(descriptor) = &self.handle {
            // Lets go of it where it is somebody else's.
            self.with_own(descriptor, |_| ());
        }
    }
}

/// The host has closed a descriptor of the library's.
pub(super) fn closed() -> Error {
    error!(ENGINE_UNAVAILABLE, "a descriptor of the library's was closed by somebody else: close only your own")
}

/// Variables and their values.
pub(super) type Environment = Vec<(OsString, OsString)>;

/// What a worker is told of this process's environment. Asked for once, in runtime_open: later a host's thread may be
/// changing it, which nothing guards.
pub(super) fn environment() -> Environment {
    std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_kept)).collect()
}

fn is_kept(name: &str) -> bool {
    KEPT.contains(&name) || KEPT_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_what_a_worker_needs() {
        let kept = ["PATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "COVERSLIP_X", "LC_ALL"];
        assert!(kept.into_iter().all(is_kept));
        assert!(!["LD_PRELOAD", "PATHS", "AWS_SECRET_ACCESS_KEY", "CUDA", ""].into_iter().any(is_kept));
    }

    #[test]
    fn a_process_is_killed_and_buried_whoever_reaps_it() {
        let (_here, there) = Socket::pair().unwrap();
        let process = Process::start(Path::new("/bin/cat"), &environment(), there).unwrap();
        assert!(!process.ended_within(Duration::from_millis(20)));
        process.kill();
        assert!(process.ended_within(Duration::from_secs(10)));
        process.kill();
        assert!(process.ended_within(Duration::ZERO), "also when it is asked again");
        let (_here, there) = Socket::pair().unwrap();
        let e = Process::start(Path::new("/nowhere/coverslip-worker"), &environment(), there).err().unwrap();
        assert!(e.text().contains("/nowhere/coverslip-worker: there is none"), "{}", e.text());
    }
}
