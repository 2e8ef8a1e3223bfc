//! What a process is given of memory that another one writes. It goes with the connection of a lane.

use std::io;

use coverslip_base::shared::{Given, Incoming, Outgoing};

/// By which the other side maps it.
#[derive(Debug)]
pub struct Memory(pub(crate) Given);

impl Memory {
    /// So many bytes for this process to write, and what the other side is given of them.
    ///
    /// # Errors
    /// The system has no such memory, or not so much of it.
    pub fn new(bytes: usize) -> io::Result<(Outgoing, Memory)> {
        let (outgoing, given) = Outgoing::new(bytes)?;
        Ok((outgoing, Memory(given)))
    }

    /// What came from another process, whatever it is.
    pub fn of(given: Given) -> Memory {
        Memory(given)
    }

    /// The first bytes, for this process to read.
    ///
    /// # Errors
    /// It is no memory of that kind, or smaller; or the system maps no more.
    pub fn map(self, bytes: usize) -> io::Result<Incoming> {
        Incoming::new(&self.0, bytes)
    }
}
