//! What the analyses find, as the JSON files that they leave in their folders: `coverslip analyze`, `sae eval` and
//! `profile challenge` write them, `coverslip report` and `bundle label` read them.
//!
//! Each file has one type here, and each type names its file ([`file::Findings::FILE`]).

mod absent;
pub mod challenge;
pub mod counts;
pub mod features;
pub mod file;
pub mod models;
pub mod reading;
pub mod sae;
pub mod scanners;
