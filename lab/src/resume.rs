//! The key of a run that can be cut off and go on: all that has to be the same, as named fields in a fixed order behind a
//! version. It is written to files, so that a field's name and place never change within a version. Each command counts its
//! own versions.

use serde_json::Value;

/// Longest text of a value that a message shows.
const SHOWN: usize = 40;

/// The key of a run: `v4: name=value, name=value`, the values as JSON.
pub(crate) fn key(version: u32, fields: &[(&str, Value)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("v{version}: {}", fields.join(", "))
}

/// Why a run with the key `wanted` cannot go on with one that was begun with `found`, and what to do; None where the two are
/// the same.
///
/// `word` is what a field is called to the user; None: it follows from the others, and is no option. `otherwise` is what to
/// do where the earlier options are not wanted.
pub(crate) fn misfit(
    wanted: &str,
    found: &str,
    word: impl Fn(&str) -> Option<String>,
    otherwise: &str,
) -> Option<String> {
    if wanted == found {
        return None;
    }
    let (Some((version, now)), Some((earlier, then))) = (parsed(wanted), parsed(found)) else {
        return Some(of_another_version(otherwise));
    };
    if version != earlier {
        return Some(of_another_version(otherwise));
    }
    let differences = differences(&now, &then, word);
    if differences.is_empty() {
        return Some(of_another_version(otherwise));
    }
    Some(format!(
        "expected to go on with an earlier run, found that it was begun with other options: {}; give the earlier options, or \
         {otherwise}",
        differences.join("; ")
    ))
}

/// What an option of the command is called that a field has the name of.
pub(crate) fn option(field: &str) -> Option<String> {
    Some(format!("--{}", field.replace('_', "-")))
}

fn of_another_version(otherwise: &str) -> String {
    format!("expected a run of this version of Coverslip, found one that another version began; {otherwise}")
}

/// A field of a key: its name and its value.
type Field<'k> = (&'k str, Value);

/// The version and the fields of a key; None of a text that is none.
fn parsed(key: &str) -> Option<(&str, Vec<Field<'_>>)> {
    let (version, mut rest) = key.split_once(": ")?;
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let (name, behind) = rest.split_once('=')?;
        let mut values = serde_json::Deserializer::from_str(behind).into_iter::<Value>();
        let value = values.next()?.ok()?;
        fields.push((name, value));
        rest = &behind[values.byte_offset()..];
        rest = rest.strip_prefix(", ").unwrap_or(rest);
    }
    Some((version, fields))
}

/// The fields that the user knows and that differ: what each is now, and what it was then.
fn differences(now: &[Field<'_>], then: &[Field<'_>], word: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let value = |fields: &[Field<'_>], wanted: &str| {
        fields.iter().find(|(name, _)| *name == wanted).map_or(Value::Null, |(_, value)| value.clone())
    };
    let gone = then.iter().filter(|(name, _)| now.iter().all(|(other, _)| other != name));
    let names = now.iter().chain(gone).map(|(name, _)| *name);
    let of = |name: &str| {
        let (now, then) = (value(now, name), value(then, name));
        (now != then).then(|| word(name).map(|word| difference(&word, &now, &then))).flatten()
    };
    names.filter_map(of).collect()
}

fn difference(word: &str, now: &Value, then: &Value) -> String {
    match (shown(now), shown(then)) {
        (Some(now), Some(then)) => format!("{word} {now} now, {then} in the earlier run"),
        _ => format!("{word} other than in the earlier run"),
    }
}

/// A value as it is given to an option; None of one that says nothing to people: a digest, a list.
fn shown(value: &Value) -> Option<String> {
    let text = match value {
        Value::Null | Value::Bool(false) => "not given".to_owned(),
        Value::Bool(true) => "given".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) if text.is_empty() => "not given".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(_) | Value::Object(_) => return None,
    };
    (text.chars().count() <= SHOWN).then_some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_is_its_fields_in_their_order() {
        let fields = [("name", json!("a, b=\"c\"")), ("mpp", json!(0.25)), ("none", Value::Null)];
        let key = key(4, &fields);
        assert_eq!(key, r#"v4: name="a, b=\"c\"", mpp=0.25, none=null"#);
        assert_eq!(parsed(&key), Some(("v4", fields.to_vec())));
    }

    #[test]
    fn what_differs_is_said_in_the_words_of_the_options() {
        let field = |k: u32, more: &[(&'static str, Value)]| {
            let same = [("steps", json!(60)), ("list", json!(["a"])), ("k", json!(k))];
            key(4, &[&same[..], more].concat())
        };
        let a = field(4, &[("slide_separator", Value::Null), ("digest", json!("ab".repeat(32)))]);
        let b = field(8, &[("slide_separator", json!("_")), ("digest", json!("cd".repeat(32))), ("scene", json!(2))]);
        let refused = misfit(&a, &b, option, "go away").unwrap();
        assert_eq!(
            refused,
            "expected to go on with an earlier run, found that it was begun with other options: --k 4 now, 8 in the earlier \
             run; --slide-separator not given now, _ in the earlier run; --digest other than in the earlier run; --scene not \
             given now, 2 in the earlier run; give the earlier options, or go away"
        );
        let some = |name: &str| option(name).filter(|_| name == "k");
        let refused = misfit(&a, &b, some, "go away").unwrap();
        assert!(refused.contains("--k 4 now") && !refused.contains("digest"), "{refused}");
    }

    #[test]
    fn another_version_is_named_without_its_key() {
        let a = key(4, &[("k", json!(1))]);
        assert_eq!(misfit(&a, &a, option, "begin again"), None);
        let other = key(5, &[("k", json!(1))]);
        for old in ["bundle 73bc, --field Grid", "e.safetensors, k: 4", &other] {
            let refused = misfit(&a, old, option, "begin again").unwrap();
            assert!(refused.contains("another version began; begin again") && !refused.contains("k="), "{refused}");
        }
        // Options that are the same, and what this version makes of them is not.
        let derived = key(4, &[("k", json!(1)), ("warmup", json!(2))]);
        let none = |name: &str| option(name).filter(|_| name != "warmup");
        assert!(misfit(&a, &derived, none, "begin again").unwrap().contains("another version began"));
    }
}
