//! The key of a run that can be cut off and go on: all that has to be the same, as named fields in a fixed order behind a
//! version. It is written to files, so that a field's name and place never change within a version.

use serde_json::Value;

/// Behind what a key begins with.
const VERSION: &str = "v4: ";

/// The key of a run: `v4: name=value, name=value`, the values as JSON.
pub(crate) fn key(fields: &[(&str, Value)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{VERSION}{}", fields.join(", "))
}

/// Why a run with the key `wanted` cannot go on with one that was begun with `found`; None where the two are the same.
pub(crate) fn misfit(wanted: &str, found: &str) -> Option<String> {
    if wanted == found {
        return None;
    }
    if wanted.starts_with(VERSION) && !found.starts_with(VERSION) {
        return Some(format!(
            "expected a run of this version of Coverslip, found one that another version began ({found})"
        ));
    }
    Some(format!("expected to go on with {wanted}, found an earlier run with {found}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_is_its_fields_in_their_order() {
        let key = key(&[("name", json!("a, b=\"c\"")), ("mpp", json!(0.25)), ("none", Value::Null)]);
        assert_eq!(key, r#"v4: name="a, b=\"c\"", mpp=0.25, none=null"#);
    }

    #[test]
    fn another_run_and_another_version_are_told_apart() {
        let (old, a, b) = ("bundle 73bc, --field Grid", key(&[("k", json!(1))]), key(&[("k", json!(2))]));
        assert_eq!(misfit(&a, &a), None);
        assert!(misfit(&a, &b).unwrap().contains("an earlier run with v4: k=2"));
        assert!(misfit(&a, old).unwrap().contains("another version began"));
    }
}
