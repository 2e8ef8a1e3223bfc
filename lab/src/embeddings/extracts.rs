//! The parts of a file that are wanted, as one.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

/// Reads ranges of a file one after the other.
pub(super) struct Extracts {
    file: BufReader<File>,
    /// The range that is read, shortened at its start; then those behind it, the last one first.
    now: Range<u64>,
    behind: Vec<Range<u64>>,
}

impl Extracts {
    pub(super) fn open(path: &Path, mut ranges: Vec<Range<u64>>) -> io::Result<Self> {
        ranges.reverse();
        Ok(Self { file: BufReader::new(coverslip_files::open(path)?), now: 0..0, behind: ranges })
    }
}

impl Read for Extracts {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.now.is_empty() {
            let Some(next) = self.behind.pop() else { return Ok(0) };
            self.file.seek(SeekFrom::Start(next.start))?;
            self.now = next;
        }
        let most = usize::try_from(self.now.end - self.now.start).unwrap_or(usize::MAX).min(out.len());
        let read = self.file.read(&mut out[..most])?;
        if read == 0 && most > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file ends before what was committed"));
        }
        self.now.start += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use coverslip_testkit::Scratch;

    use super::*;

    #[test]
    fn ranges_are_read_as_one_and_an_early_end_is_an_error() {
        let folder = Scratch::new("extracts");
        let path = folder.join("a");
        std::fs::write(&path, "0123456789").unwrap();
        let read = |ranges: Vec<Range<u64>>| io::read_to_string(Extracts::open(&path, ranges).unwrap());
        assert_eq!(read(vec![0..2, 5..6, 8..10]).unwrap(), "015".to_owned() + "89");
        assert_eq!(read(vec![]).unwrap(), "");
        assert_eq!(read(vec![0..2, 8..11]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
