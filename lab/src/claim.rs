//! One owner of each output: a command claims it before the work begins, and tells the user what it found there.

use std::io::{self, Write};
use std::path::Path;

use coverslip_files::Claim;

use crate::term::plain;

/// Claims the files of the folder `--out`.
///
/// # Errors
/// Where another command writes there, or the folder cannot be made.
pub(crate) fn within(folder: &Path) -> io::Result<Claim> {
    Claim::within(folder).map(told)
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
