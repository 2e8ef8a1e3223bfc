//! Who made a bundle: what is accepted, what is refused, and in which order things are read.

use std::fs;

use coverslip_bundle::BundleErrorKind::{DigestMismatch, Invalid, SignatureInvalid, TooLarge};
use coverslip_bundle::signature::{KeyId, PublicKey, Signature, Trust};
use coverslip_bundle::{Bundle, BundleError, Digest, MANIFEST_FILE, MODEL_FILE};
use coverslip_testkit::{Fixture, Scratch, Signer, assert_refused};
use serde_json::json;

fn trust(signers: &[&Signer], required: bool) -> Trust {
    let keys = signers.iter().map(|signer| PublicKey::parse(&signer.public()).unwrap()).collect();
    Trust { keys, required }
}

fn open(fixture: &Fixture, trust: &Trust) -> Result<Bundle, BundleError> {
    Bundle::open_trusted(&fixture.dir(), trust)
}

#[test]
fn a_signed_bundle_names_its_key_and_comment() {
    let (fixture, ours, old) = (Fixture::new(), Signer::new(), Signer::new());
    ours.sign(&fixture.dir().join(MANIFEST_FILE), "site one, 2026");
    for trust in [trust(&[&ours], true), trust(&[&old, &ours], true), trust(&[&ours], false)] {
        let bundle = open(&fixture, &trust).unwrap();
        let signed = bundle.signed().expect("it is signed");
        assert_eq!((signed.key, signed.comment.as_str()), (KeyId(ours.id()), "site one, 2026"));
    }
    let nobody = fixture.open().unwrap();
    assert_eq!(nobody.signed(), None, "nobody is trusted: nothing is checked");
}

#[test]
fn unsigned_is_refused_where_a_signature_is_required_and_only_there() {
    let (fixture, ours) = (Fixture::new(), Signer::new());
    assert_eq!(open(&fixture, &trust(&[&ours], false)).unwrap().signed(), None);
    let id = KeyId(ours.id()).to_string();
    let said = ["is not signed", "manifest.json.minisig", id.as_str(), "coverslip sign"];
    assert_refused(open(&fixture, &trust(&[&ours], true)), SignatureInvalid, &said);
    assert_refused(open(&fixture, &trust(&[], true)), SignatureInvalid, &["by the key none"]);
}

#[test]
fn a_signature_that_is_there_must_be_right_even_where_none_is_required() {
    let (fixture, ours, stranger) = (Fixture::new(), Signer::new(), Signer::new());
    let manifest = fixture.dir().join(MANIFEST_FILE);
    let whole = fs::read(&manifest).unwrap();
    for required in [false, true] {
        let place = stranger.sign(&manifest, "");
        let (theirs, id) = (KeyId(stranger.id()).to_string(), KeyId(ours.id()).to_string());
        assert_refused(open(&fixture, &trust(&[&ours], required)), SignatureInvalid, &[&theirs, &id, "trusted is"]);

        ours.sign(&manifest, "of the first manifest");
        fixture.edit(|m| m["name"] = json!("another"));
        let said = ["is not the signature of this file", id.as_str()];
        assert_refused(open(&fixture, &trust(&[&ours], required)), SignatureInvalid, &said);
        fs::write(&manifest, &whole).unwrap();
        open(&fixture, &trust(&[&ours], required)).unwrap();

        for (broken, expected) in [("", "no signature"), ("untrusted comment: x\nRWQ", "no signature")] {
            fs::write(&place, broken).unwrap();
            assert_refused(open(&fixture, &trust(&[&ours], required)), SignatureInvalid, &[expected]);
        }
        // Every line but the untrusted comment is covered.
        ours.sign(&manifest, "the trusted comment");
        let text = fs::read_to_string(&place).unwrap();
        fs::write(&place, text.replacen("signature from", "anything by", 1)).unwrap();
        open(&fixture, &trust(&[&ours], required)).unwrap();
        fs::write(&place, text.replace("the trusted", "a forged")).unwrap();
        assert_refused(open(&fixture, &trust(&[&ours], required)), SignatureInvalid, &["was changed after"]);
    }
}

#[test]
fn every_changed_byte_of_a_signature_is_noticed() {
    let (folder, ours) = (Scratch::new("flips"), Signer::new());
    fs::write(folder.join("x"), "content").unwrap();
    let place = ours.sign(&folder.join("x"), "a comment");
    let (trust, whole) = (trust(&[&ours], true), fs::read(&place).unwrap());
    let check = || trust.check(folder.path(), "x", b"content");
    check().unwrap();
    // The first line is the untrusted comment.
    for at in whole.iter().position(|&byte| byte == b'\n').unwrap()..whole.len() {
        for bit in [1, 4, 0x80] {
            let mut changed = whole.clone();
            changed[at] ^= bit;
            fs::write(&place, changed).unwrap();
            assert_refused(check(), SignatureInvalid, &["x.minisig"]);
        }
    }
    for cut in 0..whole.len() - 1 {
        fs::write(&place, &whole[..cut]).unwrap();
        assert_refused(check(), SignatureInvalid, &["x.minisig"]);
    }
    fs::write(&place, vec![b'x'; 1 << 20]).unwrap();
    assert_refused(check(), TooLarge, &["x.minisig", "at most"]);
}

#[test]
fn every_file_that_is_read_is_covered() {
    let (fixture, ours) = (Fixture::new(), Signer::new());
    ours.sign(&fixture.dir().join(MANIFEST_FILE), "");
    let trusted = trust(&[&ours], true);
    for name in [MODEL_FILE, "CARD.md"] {
        let path = fixture.dir().join(name);
        let whole = fs::read(&path).unwrap();
        let mut changed = whole.clone();
        *changed.last_mut().unwrap() ^= 1;
        fs::write(&path, changed).unwrap();
        assert_refused(open(&fixture, &trusted), DigestMismatch, &[name]);
        fs::write(&path, whole).unwrap();
    }
    fs::write(fixture.dir().join("extra.bin"), "x").unwrap();
    assert_refused(open(&fixture, &trusted), Invalid, &["extra.bin", "not listed"]);
    fs::remove_file(fixture.dir().join("extra.bin")).unwrap();

    // The attacker's own digests do not help.
    fixture.seal("CARD.md", b"trust me");
    assert_refused(open(&fixture, &trusted), SignatureInvalid, &["was changed after"]);
}

/// A stranger's JSON is not even parsed.
#[test]
fn the_signature_is_checked_before_anything_else_is_read() {
    let (fixture, ours) = (Fixture::new(), Signer::new());
    let manifest = fixture.dir().join(MANIFEST_FILE);
    ours.sign(&manifest, "");
    fs::write(&manifest, "{ not JSON").unwrap();
    assert_refused(open(&fixture, &trust(&[&ours], true)), SignatureInvalid, &["was changed after"]);
    fs::remove_file(fixture.dir().join("manifest.json.minisig")).unwrap();
    assert_refused(open(&fixture, &trust(&[&ours], true)), SignatureInvalid, &["is not signed"]);
}

/// What was verified is what is used.
#[test]
fn files_that_change_after_opening_change_nothing() {
    let (fixture, ours) = (Fixture::new(), Signer::new());
    ours.sign(&fixture.dir().join(MANIFEST_FILE), "");
    let bundle = open(&fixture, &trust(&[&ours], true)).unwrap();
    let before = Digest::of(&bundle.compose().unwrap().onnx);
    for entry in fs::read_dir(fixture.dir()).unwrap() {
        fs::write(entry.unwrap().path(), "swapped").unwrap();
    }
    assert_eq!(Digest::of(&bundle.compose().unwrap().onnx), before);
    assert!(bundle.reference().is_ok());
}

#[test]
fn a_signature_cannot_be_listed() {
    let fixture = Fixture::new();
    fixture.seal("Manifest.json.MINISIG", b"x");
    fixture.refuses(Invalid, &["signatures are not listed"]);
}

/// The signatures of minisign's own page for the word `test`: one in the hashed form, one in the legacy form.
#[test]
fn minisigns_own_signatures() {
    const HASHED: &str = "untrusted comment: signature from minisign secret key\n\
        RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\n\
        trusted comment: timestamp:1556193335\tfile:test\n\
        y/rUw2y8/hOUYjZU71eHp/Wo1KZ40fGy2VJEDl34XMJM+TX48Ss/17u3IvIfbVR1FkZZSNCisQbuQY+bHwhEBg==\n";
    const LEGACY: &str = "untrusted comment: signature from minisign secret key\n\
        RWQf6LRCGA9i59SLOFxz6NxvASXDJeRtuZykwQepbDEGt87ig1BNpWaVWuNrm73YiIiJbq71Wi+dP9eKL8OC351vwIasSSbXxwA=\n\
        trusted comment: timestamp:1555779966\tfile:test\n\
        QtKMXWyYcwdpZAlPF7tE2ENJkRd1ujvKjlj1m9RtHTBnZPa5WKU5uWRs5GoP5M/VqE81QFuMKI5k/SfNQUaOAA==\n";
    let folder = Scratch::new("minisign");
    let key = PublicKey::parse("RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3").unwrap();
    let trust = Trust { keys: vec![key], required: true };
    let check = |signature: &str, content: &[u8]| {
        fs::write(folder.join("test.minisig"), signature).unwrap();
        trust.check(folder.path(), "test", content)
    };
    let signed = check(HASHED, b"test").unwrap().unwrap();
    // The tab cannot move a terminal's cursor.
    assert_eq!((signed.key, signed.comment.as_str()), (KeyId(0xe762_0f18_42b4_e81f), "timestamp:1556193335 file:test"));
    let found = Signature::read(folder.path(), "test").unwrap().expect("a signature");
    assert_eq!((found.key(), found.comment()), (signed.key, signed.comment));
    assert_refused(check(HASHED, b"Test"), SignatureInvalid, &["was changed after"]);
    assert_refused(check(LEGACY, b"test"), SignatureInvalid, &["legacy", "without `-l`"]);
    // Windows' line ends are no change.
    assert!(check(&HASHED.replace('\n', "\r\n"), b"test").is_ok());
}
