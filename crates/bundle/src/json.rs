//! JSON of strangers: how much it becomes in memory is bounded before it is parsed.

use serde::de::DeserializeOwned;

use crate::budget::MAX_JSON_VALUES;

/// Parses `bytes`.
///
/// # Errors
/// serde_json's, and one for more values than the budget allows.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    if values(bytes) > MAX_JSON_VALUES {
        return Err(serde::de::Error::custom(format_args!("found more than {MAX_JSON_VALUES} values, expected fewer")));
    }
    serde_json::from_slice(bytes)
}

/// At least the number of values and keys: one more than the separators and brackets outside of text.
fn values(bytes: &[u8]) -> usize {
    let (mut count, mut text, mut escaped) = (1usize, false, false);
    for byte in bytes {
        match (text, escaped, byte) {
            (true, true, _) => escaped = false,
            (true, false, b'\\') => escaped = true,
            (_, _, b'"') => text = !text,
            (false, _, b',' | b':' | b'[' | b'{') => count += 1,
            _ => {}
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_outside_of_text() {
        assert_eq!(values(b"1"), 1);
        assert_eq!(values(br#"{"a,[\"": [1, 2], "b": ",,,"}"#), 7);
        let most = [b"[", "0,".repeat(MAX_JSON_VALUES).as_bytes(), b"0]"].concat();
        let error = parse::<serde_json::Value>(&most).unwrap_err().to_string();
        assert!(error.contains("values"), "{error}");
        assert_eq!(parse::<Vec<u8>>(b"[1, 2]").unwrap(), [1, 2]);
    }
}
