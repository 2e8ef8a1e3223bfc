//! Signatures in minisign's format, and the keys that a host trusts.

use std::fs;

use coverslip_bundle::signature::{PublicKey, SUFFIX, Signature, Trust};
use coverslip_testkit::Scratch;

use crate::input::{Input, Seeds, joined};

/// A key and what it signed, from minisign's own page.
const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
const SIGNATURE: &str = "untrusted comment: signature from minisign secret key\n\
    RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\n\
    trusted comment: timestamp:1556193335\tfile:test\n\
    y/rUw2y8/hOUYjZU71eHp/Wo1KZ40fGy2VJEDl34XMJM+TX48Ss/17u3IvIfbVR1FkZZSNCisQbuQY+bHwhEBg==\n";
const CONTENT: &[u8] = b"test";
/// The file that is signed.
const FILE: &str = "manifest.json";

/// A signature of a true key; a key's text with a true signature; both, and the content that they are for.
pub(crate) fn signature(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let (key, signature, content) = match input.below(3) {
        0 => (KEY.as_bytes(), input.rest(), CONTENT),
        1 => (input.rest(), SIGNATURE.as_bytes(), CONTENT),
        _ => (input.part(), input.part(), input.rest()),
    };
    let scratch = Scratch::new("fuzz");
    fs::write(scratch.join(&format!("{FILE}{SUFFIX}")), signature).expect("a scratch file");
    // Before anything is checked its words are shown to people.
    if let Ok(Some(stored)) = Signature::read(scratch.path(), FILE) {
        assert!(!format!("{}{}", stored.key(), stored.comment()).chars().any(char::is_control));
    }
    let keys: Vec<PublicKey> =
        std::str::from_utf8(key).ok().and_then(|text| PublicKey::parse(text).ok()).into_iter().collect();
    for key in &keys {
        let again = PublicKey::parse(&key.to_string()).expect("a key that is printed is read again");
        assert_eq!(again.id(), key.id());
    }
    let signed = Trust { keys, required: true }.check(scratch.path(), FILE, content);
    // A signature that is required is there, or the folder is refused.
    assert!(!matches!(signed, Ok(None)));
    signed.is_ok()
}

pub(crate) fn seeds() -> Seeds {
    let key_file = format!("untrusted comment: minisign public key E7620F1842B4E81F\n{KEY}\n");
    vec![
        ("signature".to_owned(), joined(0, &[], SIGNATURE.as_bytes())),
        ("key".to_owned(), joined(1, &[], KEY.as_bytes())),
        ("key_file".to_owned(), joined(1, &[], key_file.as_bytes())),
        ("both".to_owned(), joined(2, &[KEY.as_bytes(), SIGNATURE.as_bytes()], CONTENT)),
    ]
}
