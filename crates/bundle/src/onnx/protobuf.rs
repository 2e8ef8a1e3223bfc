//! Protobuf's wire format: the fields of a message in order. Every length is checked against the remaining bytes.

use crate::error::{BundleError, fail};

/// A field's content.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// 4 or 8 bytes.
    Fixed(&'a [u8]),
}

impl Value<'_> {
    /// Zero or empty: what a reader takes where the field is not there.
    pub(super) fn is_default(self) -> bool {
        match self {
            Value::Number(number) => number == 0,
            Value::Bytes(bytes) => bytes.is_empty(),
            Value::Fixed(bytes) => bytes.iter().all(|byte| *byte == 0),
        }
    }
}

/// Iterates over a message's fields in order.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), BundleError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u64, Value<'a>), BundleError> {
        let tag = varint(&mut self.0)?;
        let value = match tag & 7 {
            0 => Value::Number(varint(&mut self.0)?),
            1 => Value::Fixed(self.take(8)?),
            2 => {
                let length = varint(&mut self.0)?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed(self.take(4)?),
            other => fail!(Invalid, "found wire type {other}: expected an ONNX file"),
        };
        Ok((tag >> 3, value))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], BundleError> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some((taken, rest)) = self.0.split_at_checked(length) else {
            fail!(Truncated, "the ONNX file ends within a field of {length} bytes; copy or export it again");
        };
        self.0 = rest;
        Ok(taken)
    }
}

/// Iterates over a packed list of varints.
pub(super) struct Varints<'a>(pub(super) &'a [u8]);

impl Iterator for Varints<'_> {
    type Item = Result<u64, BundleError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let value = varint(&mut self.0);
        if value.is_err() {
            self.0 = &[];
        }
        Some(value)
    }
}

fn varint(bytes: &mut &[u8]) -> Result<u64, BundleError> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let Some((byte, rest)) = bytes.split_first() else {
            fail!(Truncated, "the ONNX file ends within a number; copy or export it again");
        };
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Ok(value);
        }
    }
    fail!(Invalid, "found a number of more than 64 bits: expected an ONNX file");
}

/// A field's text.
pub(super) fn text(bytes: &[u8]) -> Result<&str, BundleError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(_) => fail!(Invalid, "a name is not UTF-8; the ONNX file is damaged"),
    }
}
