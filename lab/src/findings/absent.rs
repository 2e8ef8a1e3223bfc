//! Numbers that may not exist: a share of nothing, a figure of a run that diverged. JSON has null where a number is NaN or
//! infinite, and null is read as NaN, so every file that was written can be read.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// Reads numbers that may be null.
pub(super) fn null_as_nan<'de, T: MayBeAbsent, D: Deserializer<'de>>(source: D) -> Result<T, D::Error> {
    let read = <T::Read as Deserialize<'de>>::deserialize(source)?;
    Ok(T::from_read(read))
}

/// Numbers, each of which may be null in the file.
pub(super) trait MayBeAbsent {
    /// What the file has.
    type Read: for<'a> Deserialize<'a>;

    fn from_read(read: Self::Read) -> Self;
}

impl MayBeAbsent for f64 {
    type Read = Option<f64>;

    fn from_read(read: Self::Read) -> Self {
        read.unwrap_or(f64::NAN)
    }
}

impl<const N: usize> MayBeAbsent for [f64; N]
where
    [Option<f64>; N]: for<'a> Deserialize<'a>,
{
    type Read = [Option<f64>; N];

    fn from_read(read: Self::Read) -> Self {
        read.map(f64::from_read)
    }
}

impl MayBeAbsent for (f64, f64) {
    type Read = (Option<f64>, Option<f64>);

    fn from_read((first, second): Self::Read) -> Self {
        (f64::from_read(first), f64::from_read(second))
    }
}

/// An interval of which an end is missing is none.
impl MayBeAbsent for Option<[f64; 2]> {
    type Read = Option<[Option<f64>; 2]>;

    fn from_read(read: Self::Read) -> Self {
        let [low, high] = read?;
        Some([low?, high?])
    }
}

impl<T: MayBeAbsent> MayBeAbsent for Vec<T> {
    type Read = Vec<T::Read>;

    fn from_read(read: Self::Read) -> Self {
        read.into_iter().map(T::from_read).collect()
    }
}

impl<T: MayBeAbsent> MayBeAbsent for BTreeMap<String, T> {
    type Read = BTreeMap<String, T::Read>;

    fn from_read(read: Self::Read) -> Self {
        read.into_iter().map(|(name, value)| (name, T::from_read(value))).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::Value;

    use crate::findings::file::Findings;

    /// The places of all numbers that are written with a point, as JSON pointers.
    fn numbers(value: &Value, at: &str, found: &mut Vec<String>) {
        match value {
            Value::Number(number) if number.is_f64() => found.push(at.to_owned()),
            Value::Array(values) => {
                values.iter().enumerate().for_each(|(place, value)| numbers(value, &format!("{at}/{place}"), found));
            }
            Value::Object(fields) => {
                fields.iter().for_each(|(name, value)| numbers(value, &format!("{at}/{name}"), found));
            }
            _ => {}
        }
    }

    /// Checks that each number of `whole` may be null, but those whose pointer has one of `but` in it.
    pub(crate) fn each_number_may_be_absent<F: Findings>(whole: &Value, but: &[&str]) {
        let mut places = Vec::new();
        numbers(whole, "", &mut places);
        places.retain(|place| but.iter().all(|kept| !place.contains(kept)));
        assert!(!places.is_empty(), "no number in {whole}");
        for place in places {
            let mut without = whole.clone();
            *without.pointer_mut(&place).unwrap() = Value::Null;
            let read = serde_json::from_value::<F>(without);
            let read = read.unwrap_or_else(|error| panic!("{}: null at {place}: {error}", F::FILE));
            // What is written of it can be read again.
            serde_json::from_slice::<F>(&read.text().unwrap()).unwrap();
        }
    }
}
