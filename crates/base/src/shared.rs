//! Memory that one process writes and another one reads. The system's part is in `memfd`, and in `windows/section`.

#![allow(unsafe_code)]

use std::io;
use std::ptr::NonNull;

use crate::fault;
#[cfg(target_os = "linux")]
use crate::memfd as system;
#[cfg(windows)]
use crate::windows::section as system;

/// By which another process maps such memory.
#[cfg(target_os = "linux")]
pub type Given = crate::own::Own;
/// By which another process maps such memory.
#[cfg(windows)]
pub type Given = crate::windows::section::Section;

/// Bytes of such memory at most: a batch of 64 tiles of 1024 px, or of 256 of 512 px.
const MOST: usize = 256 << 20;

/// Memory that this process writes. It never reads it, and gives no reference to it away.
#[derive(Debug)]
pub struct Outgoing(system::Mapping);

impl Outgoing {
    /// So many bytes, and what another process is given of them.
    ///
    /// # Errors
    /// The system has no such memory, or not so much of it.
    pub fn new(bytes: usize) -> io::Result<(Outgoing, Given)> {
        // The system would go on taking pages until it ends processes.
        if !(1..=MOST).contains(&bytes) {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if fault::point("shared memory") {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let (mapping, given) = system::make(bytes)?;
        Ok((Outgoing(mapping), given))
    }

    /// Writes the parts one after the other, from the beginning. False, and nothing is written, where they do not fit.
    pub fn write(&mut self, parts: &[&[u8]]) -> bool {
        let total = parts.iter().try_fold(0usize, |sum, part| sum.checked_add(part.len()));
        if total.is_none_or(|total| total > self.0.bytes) {
            return false;
        }
        let mut at = 0;
        for part in parts {
            // SAFETY: within the mapping, as their sum is; nobody has a reference into it, so a part is elsewhere.
            unsafe { self.0.place.add(at).copy_from_nonoverlapping(NonNull::from(*part).cast(), part.len()) };
            at += part.len();
        }
        true
    }
}

/// Memory that another process writes. It does so only while this one has no reference to it: what it writes and when it is
/// read is agreed upon over a connection.
#[derive(Debug)]
pub struct Incoming(system::Mapping);

impl Incoming {
    /// The first bytes of what another process has made, to be read.
    ///
    /// # Errors
    /// It is no such memory, or smaller; or the system maps no more.
    pub fn new(given: &Given, bytes: usize) -> io::Result<Incoming> {
        Ok(Incoming(system::map(given, bytes)?))
    }
}

impl AsRef<[u8]> for Incoming {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the mapping has these bytes for as long as this lives, because the memory does not shrink. Its maker writes
        // it while nobody here reads, as the type says.
        unsafe { std::slice::from_raw_parts(self.0.place.as_ptr(), self.0.bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: usize = 3 * 4096 + 5;

    #[test]
    fn what_is_written_here_is_read_there() {
        let (mut here, given) = Outgoing::new(BYTES).unwrap();
        let there = Incoming::new(&given, BYTES).unwrap();
        drop(given);
        assert!(there.as_ref().iter().all(|byte| *byte == 0) && there.as_ref().len() == BYTES);
        let whole: Vec<u8> = (0..BYTES).map(|i| (i / 7) as u8).collect();
        assert!(here.write(&whole.chunks(1001).collect::<Vec<_>>()));
        assert!(there.as_ref() == whole);
        assert!(here.write(&[&[1, 2], &[], &[3]]));
        assert_eq!(there.as_ref()[..4], [1, 2, 3, whole[3]]);
        let more = [&whole[..], &[9]].concat();
        assert!(!here.write(&[&more]) && !here.write(&[&whole, &[9]]), "more than there is");
        assert_eq!(there.as_ref()[..4], [1, 2, 3, whole[3]], "and nothing of it");
        drop(here);
        assert_eq!(there.as_ref()[BYTES - 1], whole[BYTES - 1], "the reader's pages are its own");
    }

    #[test]
    fn more_than_may_be_is_refused() {
        for bytes in [0, MOST + 1, usize::MAX] {
            assert!(Outgoing::new(bytes).is_err());
        }
    }
}
