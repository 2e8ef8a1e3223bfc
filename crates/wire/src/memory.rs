//! What a process is given of memory that another one writes. It goes with the connection of a lane.

use std::io;

use coverslip_base::shared::{Given, Incoming, Outgoing};

#[cfg(target_os = "linux")]
use crate::own::Own;

/// By which the other side maps it. On Linux a descriptor, which the host may have closed.
#[derive(Debug)]
#[cfg(target_os = "linux")]
pub struct Memory(pub(crate) Own);

/// By which the other side maps it.
#[derive(Debug)]
#[cfg(windows)]
pub struct Memory(pub(crate) Given);

impl Memory {
    /// So many bytes for this process to write, and what the other side is given of them.
    ///
    /// # Errors
    /// The system has no such memory, or not so much of it.
    pub fn new(bytes: usize) -> io::Result<(Outgoing, Memory)> {
        let (outgoing, given) = Outgoing::new(bytes)?;
        Ok((outgoing, Memory::of(given)?))
    }

    /// What came from another process, whatever it is.
    ///
    /// # Errors
    /// It is nothing.
    pub fn of(given: Given) -> io::Result<Memory> {
        #[cfg(target_os = "linux")]
        let given = Own::new(given).map_err(|_| io::ErrorKind::NotFound)?;
        Ok(Memory(given))
    }

    /// The first bytes, for this process to read.
    ///
    /// # Errors
    /// It is no memory of that kind, or smaller; or the system maps no more.
    pub fn map(self, bytes: usize) -> io::Result<Incoming> {
        #[cfg(target_os = "linux")]
        return Incoming::new(&self.0.take().map_err(|_| io::ErrorKind::NotFound)?, bytes);
        #[cfg(windows)]
        return Incoming::new(&self.0, bytes);
    }
}
