//! A frame: a header of 16 bytes, then as many bytes as it says.
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | the mark |
//! | 4..6 | the protocol's version |
//! | 6 | the kind of message |
//! | 7 | 0 |
//! | 8..12 | the payload's length |
//! | 12..16 | a checksum of the bytes before, and of the payload unless it is a batch |
//!
//! The checksum is no guard against an enemy, who could compute it, but against two sides that have lost their places in
//! the stream. Pixels and outputs are not summed: the kernel hands them over as they are, and what is said of them, their
//! number and sizes, is checked when they are read. Numbers are little-endian.

use crate::field::Malformed;

/// Of every frame.
const MARK: [u8; 4] = *b"CSLW";
/// The version of the protocol. Plugin and worker are installed together, so there is no other to speak to.
pub const VERSION: u16 = 2;
/// Bytes of a header.
pub const HEADER: usize = 16;
/// The largest payload of a control message.
pub const CONTROL_BUDGET: usize = 1 << 20;

/// What a frame carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Kind {
    /// Who speaks; the first frame of each side.
    Hello = 1,
    /// What to open.
    Open = 2,
    /// A connection for a lane comes with it, and memory from which the lane reads tiles, where there is some.
    Lane = 3,
    /// No more lanes; the end.
    Close = 4,
    /// How far the opening is.
    Progress = 16,
    /// A line for the host's log.
    Log = 17,
    /// The engine runs.
    Opened = 18,
    /// The engine does not run, and why.
    Refused = 19,
    /// Tiles to run.
    Run = 32,
    /// How many tiles to run, which lie in the lane's memory.
    RunShared = 33,
    /// The lane can run, and whether it reads the memory that came with it.
    Ready = 48,
    /// What the graph says of the tiles.
    Outputs = 49,
    /// This batch failed; the next may work.
    Failed = 50,
    /// The engine is lost.
    Lost = 51,
}

impl Kind {
    const ALL: [Kind; 14] = [
        Kind::Hello,
        Kind::Open,
        Kind::Lane,
        Kind::Close,
        Kind::Progress,
        Kind::Log,
        Kind::Opened,
        Kind::Refused,
        Kind::Run,
        Kind::RunShared,
        Kind::Ready,
        Kind::Outputs,
        Kind::Failed,
        Kind::Lost,
    ];

    /// Its payload is not summed.
    fn is_bulk(self) -> bool {
        matches!(self, Kind::Run | Kind::Outputs)
    }
}

/// The header of a frame whose payload consists of `parts`.
pub fn header(kind: Kind, parts: &[&[u8]]) -> [u8; HEADER] {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut bytes = [0; HEADER];
    bytes[..4].copy_from_slice(&MARK);
    bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
    bytes[6] = kind as u8;
    bytes[8..12].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    let mut sum = hash(START, &bytes[..12]);
    if !kind.is_bulk() {
        sum = parts.iter().fold(sum, |sum, part| hash(sum, part));
    }
    bytes[12..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// What a header says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Announced {
    /// What the payload is.
    pub kind: Kind,
    /// Its bytes.
    pub length: usize,
    sum: u32,
    so_far: u32,
}

impl Announced {
    /// Reads a header. A payload of more than `most` bytes is refused.
    ///
    /// # Errors
    /// The mark, the version or the kind is none of this protocol, or the payload too large.
    pub fn read(bytes: &[u8; HEADER], most: usize) -> Result<Announced, Malformed> {
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if bytes[..4] != MARK {
            return Err(Malformed("a frame does not begin with the protocol's mark"));
        }
        if bytes[4..6] != VERSION.to_le_bytes() {
            return Err(Malformed("a frame is of another version of the protocol"));
        }
        let kind = Kind::ALL.into_iter().find(|kind| *kind as u8 == bytes[6] && bytes[7] == 0);
        let kind = kind.ok_or(Malformed("a frame is of an unknown kind"))?;
        let (length, sum) = (number(8) as usize, number(12));
        if length > most {
            return Err(Malformed("a frame is larger than it may be"));
        }
        let announced = Announced { kind, length, sum, so_far: hash(START, &bytes[..12]) };
        if kind.is_bulk() && announced.sum != announced.so_far {
            return Err(Malformed("a frame's header does not have its checksum"));
        }
        Ok(announced)
    }

    /// Checks the payload, once it is there.
    ///
    /// # Errors
    /// It does not have its checksum.
    pub fn check(&self, payload: &[u8]) -> Result<(), Malformed> {
        if self.kind.is_bulk() || hash(self.so_far, payload) == self.sum {
            return Ok(());
        }
        Err(Malformed("a frame does not have its checksum"))
    }
}

const START: u32 = 0x811c_9dc5;

/// FNV-1a.
fn hash(start: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(start, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_as_it_was_written_and_no_other() {
        for kind in Kind::ALL {
            let payload = b"seven bytes and more";
            let header = header(kind, &[&payload[..5], &payload[5..]]);
            let read = Announced::read(&header, 20).unwrap();
            assert_eq!((read.kind, read.length), (kind, 20));
            read.check(payload).unwrap();
            assert!(Announced::read(&header, 19).is_err(), "the budget");
            // No bit of the header may be another.
            for bit in 0..8 * HEADER {
                let mut other = header;
                other[bit / 8] ^= 1 << (bit % 8);
                let read = Announced::read(&other, usize::MAX);
                assert!(read.and_then(|read| read.check(payload)).is_err(), "{kind:?}, bit {bit}");
            }
        }
    }

    #[test]
    fn a_payload_is_summed_unless_it_is_a_batch() {
        let altered = |kind| {
            let read = Announced::read(&header(kind, &[b"abc"]), 3).unwrap();
            read.check(b"abd").is_err()
        };
        assert!(altered(Kind::Open) && altered(Kind::Lost) && altered(Kind::Log));
        assert!(!altered(Kind::Run) && !altered(Kind::Outputs));
    }
}
