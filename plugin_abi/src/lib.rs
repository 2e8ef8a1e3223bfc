//! The mirror of `coverslip.h`, version 1.1: the same structs, constants and functions in `repr(C)`.
//!
//! The header is the contract and its documentation. This crate holds no logic but the numbers' names and has no dependencies, so that a
//! Rust host can speak to the library with nothing else. `tests/` compares its layout, member by member, with what a
//! C compiler makes of the header and with the golden file.

// Each item is documented once, in the header.

mod constants;
mod fields;
pub mod names;
mod structs;

pub use constants::*;
pub use fields::*;
pub use structs::*;
