//! Ranges and defaults of single fields.

use crate::error::{Result, error};

pub(super) fn or_default(value: u32, default: u32) -> u32 {
    if value == 0 { default } else { value }
}

/// INVALID_ARGUMENT unless `value` is in `range`.
pub(super) fn in_range<T: PartialOrd + std::fmt::Display + Copy>(
    name: &str,
    value: T,
    range: std::ops::RangeInclusive<T>,
) -> Result<()> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(error!(INVALID_ARGUMENT, "expected {name} in {}..={}, found {value}", range.start(), range.end()))
}
