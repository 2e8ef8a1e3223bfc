//! Coverslip's plugin: the shared library that slide-scanner software loads.
//!
//! The contract is `include/coverslip/coverslip.h`; the one exported symbol is [`coverslip_get_api`]. The way of a tile
//! through the modules:
//!
//! ```text
//! host thread        prep workers          lanes            judge                    host thread
//! abi → slide →      workers::prep    ─▶   workers::lane ─▶ judge → outbox      ─▶   abi
//!       intake       (intake: QC,          (batch, engine)  (flags, alerts)
//!       ::assembler   gate, resampling)
//! ```
//!
//! `runtime` opens bundle, engine and threads; `slide` is one acquisition; `gate` is where host threads wait.
//! Only `abi` sees host pointers; `unsafe` is only there and where the GPU's engine calls CUDA.

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
mod thread;
mod tiles;

pub use abi::coverslip_get_api;
