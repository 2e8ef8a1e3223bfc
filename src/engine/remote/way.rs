//! The way of a lane's batches to one worker: a connection, and memory into which this process writes tiles and from which
//! the worker reads them. Without memory the tiles go over the connection.

use std::fmt::Arguments;

use coverslip_base::fault;
use coverslip_base::log::Log;
use coverslip_base::memory::reserve;
use coverslip_base::shared::Outgoing;
use coverslip_plugin_abi::{LOG_INFO, LOG_WARN};
use coverslip_wire::batch::write_shared;
use coverslip_wire::frame::Kind;
use coverslip_wire::{Broken, Due, Link, Memory, Passed, Transport};

/// As the system says that there are no more descriptors (EMFILE).
const TOO_MANY: i32 = 24;

pub(super) struct Way {
    pub(super) link: Link,
    /// No other worker has it: one that is left behind sees nothing of what comes later.
    memory: Option<Outgoing>,
    /// The worker's number.
    pub(super) worker: u64,
}

impl Way {
    /// A way to this worker for batches of at most `bytes`, and what the worker is given of it.
    ///
    /// # Errors
    /// The system makes no more connections.
    pub(super) fn new(worker: u64, bytes: usize, log: &Log) -> Result<(Way, Passed), Broken> {
        let made = Memory::new(bytes).map_err(|e| match e.raw_os_error() {
            // The text of a code would be allocated.
            Some(code) => without_memory(log, format_args!("the system's error {code}")),
            None => without_memory(log, format_args!("{}", e.kind())),
        });
        let (memory, passed) = made.ok().unzip();
        if fault::point("a lane's connection") {
            return Err(Broken::System(TOO_MANY));
        }
        // After the memory, which takes its time: a child that the host forks from here on has a copy of the worker's end.
        let (link, theirs) = Link::pair()?;
        Ok((Way { link, memory, worker }, (theirs, passed)))
    }

    /// The worker has said whether it reads the memory.
    pub(super) fn settle(&mut self, reads_memory: bool, log: &Log) {
        match &self.memory {
            Some(_) if !reads_memory => {
                without_memory(log, format_args!("the worker cannot map it"));
                self.memory = None;
            }
            Some(_) => log.write(LOG_INFO, format_args!("a lane's tiles go to the worker through shared memory")),
            None => {}
        }
    }

    /// Sends a batch.
    pub(super) fn send(&mut self, tiles: &[&[u8]], due: Due) -> Result<(), Broken> {
        if self.memory.as_mut().is_some_and(|memory| memory.write(tiles)) {
            return self.link.send(Kind::RunShared, &[&write_shared(tiles.len())], due);
        }
        let count = (tiles.len() as u32).to_le_bytes();
        let mut parts: Vec<&[u8]> = reserve(tiles.len() + 1).map_err(Broken::Memory)?;
        parts.push(&count);
        parts.extend_from_slice(tiles);
        self.link.send(Kind::Run, &parts, due)
    }

    /// Waits for an answer of at most `most` bytes.
    pub(super) fn receive(&mut self, payload: &mut Vec<u8>, most: usize, due: Due) -> Result<Kind, Broken> {
        self.link.receive(payload, most, due)
    }
}

/// The worker's lane ends with this one, also where a child that the host has forked has a copy of this end.
#[cfg(target_os = "linux")]
impl Drop for Way {
    fn drop(&mut self) {
        self.link.hang_up();
    }
}

fn without_memory(log: &Log, why: Arguments<'_>) {
    log.write(LOG_WARN, format_args!("a lane's tiles go to the worker over its connection, not through memory: {why}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a worker gets of a batch of two tiles: the frame, and what is in the memory.
    fn sent(reads_memory: bool, bytes: usize) -> (Kind, Vec<u8>, Vec<u8>) {
        let log = Log::new(None);
        let (mut way, (mut link, memory)) = Way::new(1, bytes, &log).unwrap();
        let memory = memory.expect("memory").map(bytes).unwrap();
        way.settle(reads_memory, &log);
        way.send(&[&[1, 2, 3], &[4, 5, 6]], None).unwrap();
        let mut payload = Vec::new();
        let kind = link.receive(&mut payload, 10, None).unwrap();
        (kind, payload, memory.as_ref().to_vec())
    }

    #[test]
    fn tiles_go_through_memory_where_the_worker_reads_it_and_they_fit() {
        assert_eq!(sent(true, 7), (Kind::RunShared, vec![2, 0, 0, 0], vec![1, 2, 3, 4, 5, 6, 0]));
        let over_the_connection = vec![2, 0, 0, 0, 1, 2, 3, 4, 5, 6];
        assert_eq!(sent(false, 7), (Kind::Run, over_the_connection.clone(), vec![0; 7]));
        assert_eq!(sent(true, 5), (Kind::Run, over_the_connection, vec![0; 5]));
    }
}
