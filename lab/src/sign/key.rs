//! Keys in minisign's files.

use std::error::Error;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use coverslip_bundle::signature::PublicKey;
use ct_codecs::{Base64, Decoder};
use minisign::{KeyPair, SecretKey, SecretKeyBox};

use crate::claim;

/// How a secret key is protected.
#[derive(Debug)]
pub(crate) enum Password {
    /// By a password that is asked for on the terminal.
    Asked,
    /// By the first line of a file.
    InFile(PathBuf),
    /// Not at all.
    None,
}

impl Password {
    /// The password; `None`: minisign asks for it.
    fn text(&self) -> Result<Option<String>, Box<dyn Error>> {
        let Password::InFile(path) = self else { return Ok(None) };
        let text = coverslip_files::read_text(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Some(text.lines().next().unwrap_or_default().to_owned()))
    }
}

/// The start of the base64 of a secret key with a password: the letters `Ed`, `Sc` and `B2`.
const WITH_PASSWORD: &str = "RWRTY0Iy";
/// A stored secret key: names of algorithms, salt, limits, the key's number, the key, its checksum.
const STORED_BYTES: usize = 6 + 32 + 16 + 8 + 64 + CHECKSUM_BYTES;
const CHECKSUM_BYTES: usize = 32;

/// A key pair's public key.
pub(crate) struct Generated {
    pub(crate) key: PublicKey,
    /// The secret key was there, and the public one is written from it.
    pub(crate) recovered: bool,
}

/// Makes a key pair, and writes it to two new files. Where an earlier run was cut off after it had written the secret key,
/// the public one is written from that: a secret key is never replaced, and never left without its public one.
///
/// # Errors
/// Where the pair or a public key is there already, a file is written by another command or cannot be written, or no
/// password can be asked for.
pub(crate) fn generate(secret: &Path, public: &Path, password: &Password) -> Result<Generated, Box<dyn Error>> {
    let _claims = [claim::beside(secret)?, claim::beside(public)?];
    let is_there = |path: &Path| path.symlink_metadata().is_ok();
    if is_there(public) {
        return Err(format!("{} exists, and a key is never replaced: choose another place", public.display()).into());
    }
    let recovered = is_there(secret);
    let public_key = if recovered { of_secret(secret, password)? } else { write_secret(secret, password)? };
    let text = public_key.to_box()?.into_string();
    coverslip_files::put(public, text.as_bytes()).map_err(|error| {
        format!("{error}; the secret key is in {}: the same command writes its public key", secret.display())
    })?;
    Ok(Generated { key: PublicKey::parse(&text)?, recovered })
}

/// The public key of a secret one.
fn of_secret(path: &Path, password: &Password) -> Result<minisign::PublicKey, Box<dyn Error>> {
    let key = secret(path, password)?;
    let public = minisign::PublicKey::from_secret_key(&key)?;
    // What it signs is verified: a key without a checksum may be damaged.
    minisign::sign(Some(&public), &key, Cursor::new(b"a trial"), None, None)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(public)
}

/// Makes a key pair and writes its secret key to a new file.
fn write_secret(path: &Path, password: &Password) -> Result<minisign::PublicKey, Box<dyn Error>> {
    let pair = match password {
        Password::None => KeyPair::generate_unencrypted_keypair()?,
        password => KeyPair::generate_encrypted_keypair(password.text()?)?,
    };
    let comment = format!("coverslip secret key {:016X}", key_number(&pair.sk));
    coverslip_files::secret(path, &pair.sk.to_box(Some(&comment))?.to_bytes())?;
    Ok(pair.pk)
}

fn key_number(key: &SecretKey) -> u64 {
    key.keynum().try_into().map_or(0, u64::from_le_bytes)
}

/// Reads a secret key, with its password if it has one.
///
/// # Errors
/// Where the file is no secret key of minisign, or the password is wrong.
pub(crate) fn secret(path: &Path, password: &Password) -> Result<SecretKey, Box<dyn Error>> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = coverslip_files::read_text(path).map_err(|error| failed(&error))?;
    expect_secret(&text).map_err(|found| {
        failed(&format!(
            "expected a secret key of `coverslip sign keygen` or `minisign -G`, found {found}; give the secret key's file"
        ))
    })?;
    let protected = text.lines().nth(1).is_some_and(|line| line.starts_with(WITH_PASSWORD));
    let key = match protected {
        true if matches!(password, Password::None) => {
            return Err(failed(&"the secret key is protected by a password: leave out --no-password").into());
        }
        true => SecretKeyBox::from(text).into_secret_key(password.text()?),
        false if lacks_checksum(&text) => Ok(without_checksum(&text).ok_or_else(|| failed(&"Corrupted key"))?),
        false => SecretKeyBox::from(text).into_unencrypted_secret_key(),
    };
    Ok(key.map_err(|error| failed(&error))?)
}

/// The bytes in the second line of a key's file.
fn bytes(text: &str) -> Option<Vec<u8>> {
    Base64::decode_to_vec(text.lines().nth(1)?.trim(), None).ok()
}

/// The bytes of a stored key, if there are as many as there should be.
fn stored(text: &str) -> Option<Vec<u8>> {
    bytes(text).filter(|bytes| bytes.len() == STORED_BYTES)
}

/// Whether a file has as much as a secret key; what it has where it does not.
fn expect_secret(text: &str) -> Result<(), String> {
    match bytes(text) {
        Some(bytes) if bytes.len() == STORED_BYTES => Ok(()),
        Some(_) if PublicKey::parse(text).is_ok() => Err("a public key".into()),
        Some(bytes) => Err(format!("{} bytes where such a key has {STORED_BYTES}", bytes.len())),
        None => Err("no key in its second line".into()),
    }
}

/// minisign in C writes zeros for the checksum of a key without a password, and minisign in Rust takes such a key for
/// damaged. A key that is damaged indeed is found when it signs: what it signed is verified.
fn lacks_checksum(text: &str) -> bool {
    stored(text).is_some_and(|bytes| bytes.ends_with(&[0; CHECKSUM_BYTES]))
}

fn without_checksum(text: &str) -> Option<SecretKey> {
    SecretKey::from_bytes(&stored(text)?).ok()
}

/// The public key in a file of minisign, or given as its text.
///
/// # Errors
/// Where it is neither.
pub(crate) fn public(given: &str) -> Result<PublicKey, Box<dyn Error>> {
    let path = Path::new(given);
    if path.metadata().is_err() {
        return PublicKey::parse(given)
            .map_err(|error| format!("{error}; no file of this name can be found either").into());
    }
    let text = coverslip_files::read_text(path).map_err(|error| {
        format!(
            "{}: expected a public key or the file of one, found that this cannot be read: {error}; give the file that \
             `coverslip sign keygen` wrote",
            path.display()
        )
    })?;
    PublicKey::parse(&text).map_err(|error| format!("{}: {error}", path.display()).into())
}
