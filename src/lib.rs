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
//! `sync` `error` `fault` `thread` `memory` `log` `gate` · `tiles` `measure` `resample` `outbox` · `slide` · `judge` ·
//! `engine` · `pipeline` · `config` · `runtime` `admission` · `abi`
//!
//! Only `abi` sees host pointers; `unsafe` is only there and where the GPU's engine calls CUDA.

#![deny(missing_docs)]
#![deny(unsafe_code)]
// Errors carry their text in place, so that submit can refuse a frame without allocating.
#![allow(clippy::result_large_err)]

mod abi;
mod admission;
mod config;
mod engine;
mod error;
#[cfg_attr(not(debug_assertions), allow(dead_code))]
pub mod fault;
mod gate;
mod judge;
mod log;
mod measure;
mod memory;
mod outbox;
mod pipeline;
mod resample;
mod runtime;
mod slide;
mod sync;
mod thread;
mod tiles;

pub use abi::coverslip_get_api;
