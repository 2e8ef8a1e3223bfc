//! Ranges and defaults of single fields.

use std::fmt::Display;
use std::ops::RangeInclusive;

use coverslip_base::error::{Result, error};

/// INVALID_ARGUMENT unless `value` is in `range`. A NaN is in no range.
pub(crate) fn in_range<T: PartialOrd + Display + Copy>(name: &str, value: T, range: RangeInclusive<T>) -> Result<()> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(error!(INVALID_ARGUMENT, "expected {name} in {}..={}, found {value}", range.start(), range.end()))
}

/// `value`, or the default where it is 0.
pub(super) fn or_default<T: Default + PartialEq>(value: T, default: T) -> T {
    if value == T::default() { default } else { value }
}
