//! What the plugin and its worker process say to each other.
//!
//! ```text
//! plugin                    control                          worker
//! Hello, Open            ───────────▶   loads the engine, checks it
//!                        ◀───────────   Hello, Progress …, Opened or Refused
//! Lane, with a connection ──────────▶   a thread with a runner, one for each lane
//!                        ◀───────────   Log, whenever the engine says something
//! Close                  ───────────▶   ends
//!
//! plugin's lane             lane                             worker's lane
//!                        ◀───────────   Ready, Failed or Lost
//! Run, with the pixels   ───────────▶
//!                        ◀───────────   Outputs, Failed or Lost
//! ```
//!
//! [`frame`] says how a message lies in bytes, [`control`] and [`batch`] what is in it. Both are functions of bytes, and
//! each length is held against a budget before memory is asked for. [`Transport`] carries frames; [`socket`] is the one
//! that is built. Neither side believes the other: what does not fit is [`Broken`].

// On other systems nothing speaks yet.
#![cfg_attr(not(target_os = "linux"), allow(dead_code))]
#![deny(missing_docs)]
#![deny(unsafe_code)]
// Errors carry their text in place.
#![allow(clippy::result_large_err)]

pub mod batch;
#[cfg(unix)]
pub mod control;
mod field;
pub mod frame;
#[cfg(target_os = "linux")]
pub mod socket;
mod transport;

pub use field::Malformed;
pub use transport::{Broken, Due, Transport};
