//! The C boundary: the only place that sees host pointers, and the only one with `unsafe`.
//!
//! Every call goes the same way: through the fence ([`guard`]), the host's structs are read into plain values
//! ([`structs`], [`text`]), a handle becomes a reference ([`handle`]), the work is done in safe code, and what comes of it is
//! written back, never past the size that the host gave.

#![allow(unsafe_code)]

mod alerts;
mod entry;
mod fields;
mod float;
mod fork;
mod frame;
mod guard;
mod handle;
mod library;
mod log;
mod records;
mod report;
mod results;
mod runtime;
mod slide;
mod slide_report;
mod structs;
mod table;
mod text;
mod thread;

pub use entry::coverslip_get_api;
