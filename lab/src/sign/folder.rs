//! Signing a bundle or a profile, and checking that it is signed.

use std::error::Error;
use std::io::{Cursor, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use coverslip_bundle::limits::MAX_MANIFEST_BYTES;
use coverslip_bundle::signature::{self, PublicKey, Signed, Trust};
use coverslip_bundle::{Bundle, Digest, MANIFEST_FILE};
use coverslip_profile::{PROFILE_FILE, Profile};
use minisign::SecretKey;

use crate::claim;

/// What is signed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Bundle,
    Profile,
}

/// Longest name in a comment, letters.
const NAME: usize = 64;

impl Kind {
    /// What the folder is, by the file that every one of its kind has.
    fn of(folder: &Path) -> Result<Kind, String> {
        let has = |name: &str| folder.join(name).is_file();
        match (has(MANIFEST_FILE), has(PROFILE_FILE)) {
            (true, false) => Ok(Kind::Bundle),
            (false, true) => Ok(Kind::Profile),
            (both, _) => Err(format!(
                "{}: expected a bundle with {MANIFEST_FILE} or a profile with {PROFILE_FILE}, found {}",
                folder.display(),
                if both { "both" } else { "neither" }
            )),
        }
    }

    /// The file whose signature covers the folder.
    fn file(self) -> &'static str {
        match self {
            Kind::Bundle => MANIFEST_FILE,
            Kind::Profile => PROFILE_FILE,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Bundle => "bundle",
            Kind::Profile => "profile",
        }
    }

    /// Opens the folder, which checks all that is in it.
    fn open(self, folder: &Path, trust: &Trust) -> Result<Opened, Box<dyn Error>> {
        match self {
            Kind::Bundle => {
                let bundle = Bundle::open_trusted(folder, trust)?;
                let (name, digest) = (bundle.manifest().name.clone(), bundle.digest());
                Ok(Opened { name, digest, signed: bundle.signed().cloned() })
            }
            Kind::Profile => {
                let (profile, digest, signed) = Profile::open_trusted(folder, trust)?;
                Ok(Opened { name: profile.name, digest, signed })
            }
        }
    }
}

struct Opened {
    name: String,
    digest: Digest,
    signed: Option<Signed>,
}

/// Checks the folder as a host does, signs it, and checks the signature with the code that hosts run. An older signature
/// is replaced. No command that replaces the folder, and no other that signs it, runs meanwhile.
///
/// # Errors
/// Where another command writes the folder, where it is not whole, or the signature cannot be written.
pub(crate) fn sign(
    kind: Kind,
    folder: &Path,
    key: &SecretKey,
    note: Option<&str>,
    out: &mut impl Write,
) -> Result<(), Box<dyn Error>> {
    // By its own name: `.` has none.
    let place = folder.canonicalize().map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut claim = claim::beside(&place)?;
    // A run that was cut off has left its draft within.
    claim.sweep(&place)?;
    claim::said(&claim.notes());
    let opened = kind.open(folder, &Trust::default())?;
    let path = folder.join(kind.file());
    let content = coverslip_files::read_at_most(&path, MAX_MANIFEST_BYTES)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    if Digest::of(&content) != opened.digest {
        return Err(format!(
            "{} was changed while it was read; sign it again when nobody writes to it",
            path.display()
        )
        .into());
    }
    let comment = comment(kind, &opened, note)?;
    // With the public key minisign verifies what it signed, before anything is replaced.
    let public = minisign::PublicKey::from_secret_key(key)?;
    let signature =
        minisign::sign(Some(&public), key, Cursor::new(&content), Some(&comment), Some("signature of coverslip"))?;
    let place = folder.join(format!("{}{}", kind.file(), signature::SUFFIX));
    coverslip_files::put(&place, signature.into_string().as_bytes())?;

    let trust = Trust { keys: vec![PublicKey::parse(&public.to_base64())?], required: true };
    let Some(signed) = trust.check(folder, kind.file(), &content)? else { return Err("the signature is gone".into()) };
    writeln!(out, "{}", place.display())?;
    Ok(writeln!(out, "signed by the key {}: {}", signed.key, signed.comment)?)
}

/// What the signature says of the folder: its name, the day and its digest.
fn comment(kind: Kind, opened: &Opened, note: Option<&str>) -> Result<String, String> {
    if note.is_some_and(|note| note.chars().any(char::is_control) || note.len() > 1024) {
        return Err("--comment: expected one line of at most 1024 bytes".to_owned());
    }
    let name: String = opened.name.chars().map(|c| if c.is_control() { ' ' } else { c }).take(NAME).collect();
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let note = note.map_or(String::new(), |note| format!(", {note}"));
    Ok(format!("coverslip {} {name}, {}, sha256 {}{note}", kind.name(), day(seconds), opened.digest))
}

/// The day of the Gregorian calendar, in UTC, of a time in seconds since 1970.
fn day(seconds: u64) -> String {
    // Days since 1 March of year 0, in cycles of 400 years; years begin in March, so that leap days come last.
    let days = seconds / 86_400 + 719_468;
    let (cycle, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    format!("{:04}-{month:02}-{day:02}", cycle * 400 + year + u64::from(month <= 2))
}

/// Checks that the folder is whole and signed by one of `keys`.
///
/// # Errors
/// Where it is not; says what was expected and what was found.
pub(crate) fn verify(folder: &Path, keys: Vec<PublicKey>, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let kind = Kind::of(folder)?;
    let Opened { name, digest, signed } = kind.open(folder, &Trust { keys, required: true })?;
    let Some(Signed { key, comment }) = signed else { return Err("the signature was not checked".into()) };
    writeln!(out, "{} {name}: every file has its stated digest", kind.name())?;
    writeln!(out, "digest {digest}")?;
    Ok(writeln!(out, "signed by the key {key}: {comment}")?)
}

#[cfg(test)]
mod tests {
    use super::day;

    #[test]
    fn days_are_those_of_the_calendar() {
        // `date -u -d @SECONDS +%F`
        for (seconds, expected) in [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_767_225_599, "2025-12-31"),
            (1_767_225_600, "2026-01-01"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(day(seconds), expected);
        }
    }
}
