//! One owner of each output: a command claims it before the work begins, and tells the user what it found there.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use coverslip_files::Claim;

use crate::term::plain;

/// Claims the files of the folder `--out`.
///
/// # Errors
/// Where another command writes there, or the folder cannot be made.
pub(crate) fn within(folder: &Path) -> io::Result<Claim> {
    Claim::within(folder).map(told)
}

/// Claims the files of the folder `--out`, which is none of the folders that the command reads: the next run would take
/// what this one writes for an input.
///
/// # Errors
/// As [`within`]; where `folder` is one of `inputs`.
pub(crate) fn apart<'p>(folder: &Path, inputs: impl IntoIterator<Item = &'p PathBuf>) -> io::Result<Claim> {
    let place = fs::canonicalize(folder).ok();
    let same = |input: &&PathBuf| place.is_some() && fs::canonicalize(input).ok() == place;
    match inputs.into_iter().find(same) {
        Some(input) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "--out {}: expected another folder than the input, found {}, which would be read with the outputs in it the \
                 next time; give a folder of its own",
                folder.display(),
                input.display()
            ),
        )),
        None => within(folder),
    }
}

/// Claims the file, or the folder that is written as a whole.
///
/// # Errors
/// As [`within`].
pub(crate) fn beside(out: &Path) -> io::Result<Claim> {
    Claim::beside(out).map(told)
}

fn told(mut claim: Claim) -> Claim {
    said(&claim.notes());
    claim
}

/// Says what earlier runs left. The result goes to stdout, so this does not.
pub(crate) fn said(notes: &[String]) {
    for note in notes {
        // Nothing is left to do if stderr is gone.
        let _ = writeln!(io::stderr(), "{}", plain(note));
    }
}
