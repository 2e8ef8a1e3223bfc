//! An option's value with which a command cannot begin. As where the parser itself refuses one, the command ends with 2.

use std::error::Error;
use std::fmt;

/// What was expected and found, beginning with the option.
#[derive(Debug)]
pub(super) struct WrongOption(pub(super) String);

impl fmt::Display for WrongOption {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl Error for WrongOption {}
