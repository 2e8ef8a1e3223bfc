//! What the plugin, its engines and the worker process stand on: errors with the contract's codes, memory that can be
//! refused, memory that two processes share, log lines, threads that take no signal, locks and atomics that loom can try,
//! faults on purpose.
//!
//! Each module names only modules that stand before it here: `sync` `error` `fault` `memory` `windows` `own` `pidfd`
//! `memfd` `shared` `thread` `log`

#![deny(missing_docs)]
#![deny(unsafe_code)]
// Errors carry their text in place, so that submit can refuse a frame without allocating.
#![allow(clippy::result_large_err)]

pub mod error;
pub mod fault;
pub mod log;
#[cfg(target_os = "linux")]
mod memfd;
pub mod memory;
#[cfg(target_os = "linux")]
pub mod own;
#[cfg(target_os = "linux")]
pub mod pidfd;
#[cfg(target_os = "linux")]
mod policy;
#[cfg(any(target_os = "linux", windows))]
pub mod shared;
pub mod sync;
pub mod thread;
#[cfg(windows)]
pub mod windows;

#[doc(hidden)]
pub use coverslip_plugin_abi as codes;
