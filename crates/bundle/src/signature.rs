//! Signatures in minisign's format: who made a folder, beside its digests, which say that nothing changed.
//!
//! The signature of a bundle is over the bytes of `manifest.json`, that of a profile over `profile.json`. Each of these
//! states size and sha256 of every other file that is read, so the signature covers the folder. It is the file that
//! `minisign -S` writes: `manifest.json.minisig`.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::{BundleError, BundleErrorKind, fail};
use crate::verified::read_file;

/// What follows the name of a signed file in its signature's name.
pub const SUFFIX: &str = ".minisig";
/// minisign takes comments of 8 KiB at most.
const MAX_BYTES: u64 = 16 << 10;

/// The number of a key, as minisign shows it. It tells keys apart and proves nothing.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct KeyId(pub u64);

impl KeyId {
    /// From the line of base64 of a key or a signature: two bytes of the algorithm, then the number, little-endian.
    fn of_line(line: &str) -> Option<KeyId> {
        let digit = |byte: &u8| match byte {
            b'A'..=b'Z' => Some(byte - b'A'),
            b'a'..=b'z' => Some(byte - b'a' + 26),
            b'0'..=b'9' => Some(byte - b'0' + 52),
            b'+' => Some(62),
            b'/' => Some(63),
            _ => None,
        };
        // 14 digits of six bits hold the ten bytes.
        let digits = line.as_bytes().get(..14)?.iter().map(digit).collect::<Option<Vec<u8>>>()?;
        let bits = digits.iter().fold(0u128, |bits, &digit| bits << 6 | u128::from(digit)) >> 4;
        Some(KeyId((bits as u64).swap_bytes()))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

/// A public key of minisign.
#[derive(Clone, Debug)]
pub struct PublicKey {
    id: KeyId,
    text: String,
    key: minisign_verify::PublicKey,
}

impl PublicKey {
    /// Reads the line of base64 that minisign prints, or the two lines of its file.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn parse(text: &str) -> Result<PublicKey, BundleError> {
        let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with("untrusted comment:"));
        let line = line.unwrap_or_default();
        match (minisign_verify::PublicKey::from_base64(line), KeyId::of_line(line)) {
            (Ok(key), Some(id)) => Ok(PublicKey { id, text: line.to_owned(), key }),
            _ => fail!(
                Invalid,
                "expected a public key of minisign, a text in base64 of 56 letters that begins with RW, found `{}`",
                line.chars().take(64).collect::<String>().escape_default()
            ),
        }
    }

    /// The key's number.
    pub fn id(&self) -> KeyId {
        self.id
    }
}

/// The line of base64.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A signature as it is stored. Nothing in it is proved before [`Trust::check`].
pub struct Signature {
    path: PathBuf,
    key: KeyId,
    stored: minisign_verify::Signature,
}

impl Signature {
    /// The signature of the file `name` in `dir`; `None` if there is none.
    ///
    /// # Errors
    /// `SignatureInvalid` if there is a file that is no signature, and as [`read_file`].
    pub fn read(dir: &Path, name: &str) -> Result<Option<Signature>, BundleError> {
        let path = dir.join(format!("{name}{SUFFIX}"));
        let bytes = match read_file(&path, MAX_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == BundleErrorKind::Missing => return Ok(None),
            Err(error) => return Err(error),
        };
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        let key = text.lines().nth(1).and_then(KeyId::of_line);
        match (minisign_verify::Signature::decode(text), key) {
            (Ok(stored), Some(key)) => Ok(Some(Signature { path, key, stored })),
            _ => fail!(SignatureInvalid, "{} is no signature of minisign; sign the folder again", path.display()),
        }
    }

    /// The number of the key that it states.
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// The trusted comment, fit for a terminal.
    pub fn comment(&self) -> String {
        self.stored.trusted_comment().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    }
}

/// A signature that a trusted key made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Signed {
    /// The key's number.
    pub key: KeyId,
    /// The comment, which is signed too.
    pub comment: String,
}

/// Whose signatures count, and whether there must be one. The default trusts nobody and checks nothing.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// The keys. None: signatures are not looked at.
    pub keys: Vec<PublicKey>,
    /// What is unsigned is refused.
    pub required: bool,
}

impl Trust {
    /// Checks the signature of the file `name` in `dir`, whose content was read as `content`: the bytes that are checked
    /// are the bytes that are used. `None`: there is no signature, or nobody is trusted and none is required.
    ///
    /// # Errors
    /// `SignatureInvalid` if a signature is required and missing, if it is by no trusted key, or if it is wrong.
    pub fn check(&self, dir: &Path, name: &str, content: &[u8]) -> Result<Option<Signed>, BundleError> {
        if self.keys.is_empty() && !self.required {
            return Ok(None);
        }
        match Signature::read(dir, name)? {
            Some(signature) => self.accept(&signature, content).map(Some),
            None if self.required => fail!(
                SignatureInvalid,
                "{} is not signed: expected {name}{SUFFIX} by the key {}; sign it with `coverslip sign`, or install a \
                 signed one",
                dir.display(),
                self.listed()
            ),
            None => Ok(None),
        }
    }

    fn accept(&self, signature: &Signature, content: &[u8]) -> Result<Signed, BundleError> {
        let path = signature.path.display();
        let mut named = self.keys.iter().filter(|key| key.id == signature.key).peekable();
        if named.peek().is_none() {
            fail!(
                SignatureInvalid,
                "{path} is by the key {}, trusted is {}: install a folder signed by a trusted key, or trust its key",
                signature.key,
                self.listed()
            );
        }
        // Numbers of keys are free to choose: two keys may share one.
        let tried: Vec<_> = named.map(|key| key.key.verify(content, &signature.stored, false)).collect();
        if tried.iter().any(Result::is_ok) {
            return Ok(Signed { key: signature.key, comment: signature.comment() });
        }
        match tried.first() {
            Some(Err(minisign_verify::Error::UnexpectedAlgorithm)) => fail!(
                SignatureInvalid,
                "{path} is in minisign's legacy form, expected the hashed one: sign again without `-l`"
            ),
            _ => fail!(
                SignatureInvalid,
                "{path} is not the signature of this file by the key {}: one of the two was changed after it was \
                 signed; install the folder again",
                signature.key
            ),
        }
    }

    /// The trusted keys' numbers.
    fn listed(&self) -> String {
        match self.keys.as_slice() {
            [] => "none".to_owned(),
            keys => keys.iter().map(|key| key.id.to_string()).collect::<Vec<_>>().join(" or "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From minisign's own page.
    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

    #[test]
    fn a_key_has_the_number_that_minisign_shows() {
        let key = PublicKey::parse(KEY).unwrap();
        assert_eq!((key.id().to_string().as_str(), key.to_string().as_str()), ("E7620F1842B4E81F", KEY));
        let file = format!("untrusted comment: minisign public key E7620F1842B4E81F\n{KEY}\n");
        assert_eq!(PublicKey::parse(&file).unwrap().id(), key.id());
    }

    #[test]
    fn what_is_no_key_is_refused_with_what_was_expected() {
        for text in
            ["", "RW", "untrusted comment: nothing else", &KEY[..55], "RWQf6LRCGA9i5\u{e9}", &KEY.replace('R', "S")]
        {
            let error = PublicKey::parse(text).unwrap_err();
            assert_eq!(error.kind(), BundleErrorKind::Invalid, "{text}");
            assert!(error.message().contains("56 letters"), "{error}");
        }
    }
}
