//! A worker on Windows: in a job, so that it ends with the host, and with a second connection, of which nothing is written:
//! where the system allows no job, a thread of the worker's sees its end.

use std::path::Path;
use std::time::Duration;

use coverslip_base::error::Result;
use coverslip_base::fault;
use coverslip_base::memory::with_room;
use coverslip_base::sync::Arc;
use coverslip_base::windows::process::{Child, Start};
use coverslip_wire::frame::Kind;
use coverslip_wire::{Broken, Due, HANDLES, Link, Passed};

use super::ended::Ended;
use super::environment::Environment;
use super::{SPAWN_BYTES, refused, unconnected};

/// The first digits of exceptions' codes: warnings, errors, and those of compilers.
const EXCEPTIONS: [u32; 3] = [0x8, 0xC, 0xE];

pub(in crate::engine::remote) struct Process {
    child: Child,
    /// Ends with this process.
    _leash: Link,
}

impl Process {
    /// Starts the program. It gets its end of the control connection, whose other end is returned, and nothing else of this
    /// process's but this environment.
    pub(in crate::engine::remote) fn start(program: &Path, environment: &Environment) -> Result<(Arc<Process>, Link)> {
        let pair = || Link::pair().map_err(|broken| unconnected(&broken));
        let ((mut control, theirs), (leash, their_leash)) = (pair()?, pair()?);
        let ends = [theirs.end(), their_leash.end()];
        let jobless = fault::point("a worker's job");
        let process = with_room("a worker", SPAWN_BYTES, || {
            let child = Start { program, first: HANDLES, environment, ends: &ends, jobless }.start();
            child.map(|child| Arc::new(Process { child, _leash: leash }))
        })?;
        let process = process.map_err(|e| refused(program, &e))?;
        process.watch(&mut control);
        Ok((process, control))
    }

    /// From now on its end is this connection's, whoever has a handle of its end.
    pub(in crate::engine::remote) fn watch(&self, link: &mut Link) {
        link.watch(self.child.running().clone());
    }

    pub(in crate::engine::remote) fn number(&self) -> u32 {
        self.child.number()
    }

    /// Gives the worker a lane's connection, and its memory.
    pub(in crate::engine::remote) fn pass(
        &self,
        control: &mut Link,
        lane: &Passed,
        due: Due,
    ) -> std::result::Result<(), Broken> {
        control.send_link(Kind::Lane, lane, &self.child, due)
    }

    /// Ends it now, whatever it does. Does not wait.
    pub(in crate::engine::remote) fn kill(&self) {
        // As when it is in a driver that does not return.
        if !fault::point("kill a worker") {
            self.child.kill();
        }
    }

    /// Waits until it has ended, at most so long. Whether it has.
    pub(in crate::engine::remote) fn ended_within(&self, time: Duration) -> bool {
        self.child.running().ended_within(time)
    }

    /// How it has ended; None: it has not.
    pub(in crate::engine::remote) fn ended(&self) -> Option<Ended> {
        let code = self.child.running().exit_code()?;
        Some(if EXCEPTIONS.contains(&(code >> 28)) { Ended::Exception(code) } else { Ended::Code(code as i32) })
    }
}

/// What helps where a connection fails: others cannot close it, so the system has no memory or handles left.
pub(in crate::engine::remote) const AGAINST_FAILURE: &str = "close programs and handles that are not needed";

#[cfg(test)]
mod tests {
    use super::super::environment;
    use super::*;

    #[test]
    fn a_process_is_killed_and_buried() {
        // This program, with arguments that it does not know: what it makes of them is not the matter.
        let (process, _control) = Process::start(&std::env::current_exe().unwrap(), &environment()).unwrap();
        process.kill();
        assert!(process.ended_within(Duration::from_secs(10)));
        process.kill();
        assert!(process.ended_within(Duration::ZERO), "also when it is asked again");
        assert!(process.ended().is_some());
        let nowhere = std::env::temp_dir().join("nowhere").join("coverslip-worker.exe");
        let e = Process::start(&nowhere, &environment()).err().unwrap();
        assert!(e.text().contains("coverslip-worker.exe: there is none"), "{}", e.text());
    }
}
