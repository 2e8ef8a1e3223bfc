//! Thrift's compact protocol, as far as Parquet's headers need it: fields are looked at, nothing is kept. The reader of
//! the crate `parquet` takes memory for what a header claims, so the claims are read here first.

/// Deepest nesting of a header.
const DEEPEST: usize = 32;

/// A place in encoded bytes. `None` from its functions: the bytes end, or are no thrift.
pub(super) struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Members of lists that were passed.
    pub(super) members: usize,
}

/// The kind of a field's content.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Kind(u8);

impl Kind {
    pub(super) const STRUCT: Kind = Kind(12);
}

impl<'a> Thrift<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, members: 0 }
    }

    /// Bytes that were read.
    pub(super) fn length(&self) -> usize {
        self.at
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn unsigned(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// A signed number.
    pub(super) fn number(&mut self) -> Option<i64> {
        let value = self.unsigned()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The next field of a struct: its number and kind. `last` is the number of the one before, first 0. The inner
    /// `None` is the struct's end.
    pub(super) fn field(&mut self, last: &mut i64) -> Option<Option<(i64, Kind)>> {
        let byte = self.byte()?;
        if byte == 0 {
            return Some(None);
        }
        *last = match byte >> 4 {
            0 => self.number()?,
            step => last.checked_add(i64::from(step))?,
        };
        Some(Some((*last, Kind(byte & 15))))
    }

    /// Passes a field's content.
    pub(super) fn skip_field(&mut self, kind: Kind) -> Option<()> {
        self.skip(kind, 1)
    }

    fn skip(&mut self, kind: Kind, depth: usize) -> Option<()> {
        if depth > DEEPEST {
            return None;
        }
        match kind.0 {
            // A boolean field's value is its kind.
            1 | 2 => Some(()),
            3 => self.byte().map(|_| ()),
            4..=6 => self.unsigned().map(|_| ()),
            7 => self.pass(8),
            8 => {
                let length = self.unsigned()?;
                self.pass(length)
            }
            9 | 10 => {
                let head = self.byte()?;
                let count = if head >> 4 == 15 { self.unsigned()? } else { u64::from(head >> 4) };
                for _ in 0..count {
                    self.members += 1;
                    match Kind(head & 15) {
                        // A boolean in a list is a byte.
                        Kind(1 | 2) => self.pass(1)?,
                        member => self.skip(member, depth + 1)?,
                    }
                }
                Some(())
            }
            12 => {
                let mut last = 0;
                while let Some((_, kind)) = self.field(&mut last)? {
                    self.skip(kind, depth + 1)?;
                }
                Some(())
            }
            // Parquet has no maps.
            _ => None,
        }
    }

    fn pass(&mut self, count: u64) -> Option<()> {
        let end = self.at.checked_add(usize::try_from(count).ok()?)?;
        self.at = Some(end).filter(|end| *end <= self.bytes.len())?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_passed_and_claims_beyond_the_bytes_are_refused() {
        // 1: i32 -3; 2: binary "ab"; 3: list of two structs, each empty; 5: true; end.
        let bytes = [0x15, 5, 0x18, 2, b'a', b'b', 0x19, 0x2c, 0, 0, 0x21, 0, 99];
        let mut whole = Thrift::new(&bytes);
        assert_eq!((whole.skip(Kind::STRUCT, 0), whole.length(), whole.members), (Some(()), 12, 2));
        let mut first = Thrift::new(&bytes);
        let mut last = 0;
        assert_eq!(first.field(&mut last), Some(Some((1, Kind(5)))));
        assert_eq!(first.number(), Some(-3));
        for claim in [&[0x18, 0xff, 0xff, 0x03, 0][..], &[0x19, 0xfc, 0xff, 0xff, 0xff, 0x7f, 0], &[0x1b, 1, 0x88, 0]] {
            assert_eq!(Thrift::new(claim).skip(Kind::STRUCT, 0), None, "{claim:?}");
        }
        assert_eq!(Thrift::new(&[0x1c; 100]).skip(Kind::STRUCT, 0), None, "nested too deep");
    }
}
