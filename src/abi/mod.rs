//! The C boundary: the only place that sees host pointers, and the only one with `unsafe`.
//!
//! Every call goes the same way: through the fence ([`guard`]), the host's structs are read into plain values
//! ([`marshal`]), a handle becomes a reference ([`handle`]), the work is done in safe code, and what comes of it is
//! written back, never past the size that the host gave.

#![allow(unsafe_code)]

mod begin;
mod entry;
mod fields;
mod float;
mod guard;
mod handle;
pub(crate) mod log;
mod marshal;
mod open;
mod range;
mod report;
mod results;
mod submit;
mod table;
mod unsupported;

pub use entry::coverslip_get_api;
