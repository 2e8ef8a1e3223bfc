//! The trait behind which the way between the two processes stands.

use std::time::Instant;

use coverslip_base::error::Error;

use crate::field::Malformed;
use crate::frame::Kind;

/// Until when something may take; None: as long as it takes.
pub type Due = Option<Instant>;

/// Carries frames between two processes, in order. After an error the place in the stream is lost.
pub trait Transport: Send {
    /// Sends a frame whose payload consists of `parts`. Raises no signal.
    ///
    /// # Errors
    /// The other side does not take it in time, or is gone.
    fn send(&mut self, kind: Kind, parts: &[&[u8]], due: Due) -> Result<(), Broken>;

    /// Waits for a frame and puts its payload, of at most `most` bytes, into `payload`.
    ///
    /// # Errors
    /// None comes in time, the other side is gone, or what comes is no frame.
    fn receive(&mut self, payload: &mut Vec<u8>, most: usize, due: Due) -> Result<Kind, Broken>;
}

/// Why a connection is of no use any more.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "an error carries its text in place, and comes once in a connection")]
pub enum Broken {
    /// The other side has ended.
    Ended,
    /// Nothing came, or nothing was taken, until it was due.
    Late,
    /// What came is none of the protocol.
    Nonsense(Malformed),
    /// The operating system refuses: its code.
    System(i32),
    /// This side has no memory for what came.
    Memory(Error),
}

impl From<Malformed> for Broken {
    fn from(malformed: Malformed) -> Self {
        Broken::Nonsense(malformed)
    }
}
