//! Coverslip's plugin: the shared library that slide-scanner software loads.
//!
//! The contract is `include/coverslip/coverslip.h`; the one exported symbol is [`coverslip_get_api`]. The way of a tile
//! through the modules:
//!
//! ```text
//! host thread          prep workers            lanes              judge              host thread
//! abi → slide::handle  pipeline::prep     ─▶   pipeline::lane ─▶  judge → outbox ─▶  abi
//!       → tiles        (measure, resample)     (engine)           (flags, alerts)
//! ```
//!
//! `config` decides what a host's wishes come to, `runtime` starts and stops bundle, engine and threads, `admission`
//! begins slides, and host threads wait at `gate`. Each module names only modules that stand before it here:
//!
//! `gate` `restarts` · `tiles` `measure` `resample` `outbox` · `slide` · `judge` · `engine` · `pipeline` · `config` ·
//! `runtime` `admission` · `abi`
//!
//! Errors, memory, threads, locks and the log are in `crates/base`, engines in `crates/engine`, what is said to the worker
//! process in `crates/wire`. Only `abi` sees host pointers, and `unsafe` is only there.

#![deny(missing_docs)]
#![deny(unsafe_code)]
// Errors carry their text in place, so that submit can refuse a frame without allocating.
#![allow(clippy::result_large_err)]

mod abi;
mod admission;
mod config;
mod engine;
#[cfg(loom)]
#[cfg(test)]
mod every_order;
mod gate;
mod judge;
mod measure;
mod outbox;
mod pipeline;
mod resample;
mod restarts;
mod runtime;
mod slide;
mod tiles;

pub use abi::coverslip_get_api;
pub use coverslip_base::fault;
