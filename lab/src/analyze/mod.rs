//! The analyses of `coverslip analyze`: what embeddings and features say. Each writes its [`findings`](crate::findings)
//! and prints a table of at most 80 columns.

pub(crate) mod comparison;
mod count_table;
pub(crate) mod counts;
pub(crate) mod depth;
pub(crate) mod features;
mod held_out;
mod kinds;
pub(crate) mod options;
pub(crate) mod planted;
mod representation;
pub(crate) mod scanners;
mod study;
mod text;
pub(crate) mod transfer;

use std::error::Error;

/// A message for the user: what was expected, what was found, what to do.
pub(crate) type Failure = Box<dyn Error>;

pub(crate) type Outcome = Result<(), Failure>;
