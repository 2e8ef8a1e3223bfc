//! What the plugin and its worker process say to each other.
//!
//! ```text
//! plugin                    control                          worker
//! Hello, Open            ───────────▶   loads the engine, checks it
//!                        ◀───────────   Hello, Progress …, Opened or Refused
//! Lane, with a connection ──────────▶   a thread with a runner, one for each lane
//!   and memory
//!                        ◀───────────   Log, whenever the engine says something
//! Close                  ───────────▶   ends
//!
//! plugin's lane             lane                             worker's lane
//!                        ◀───────────   Ready, Failed or Lost
//! Run, with the pixels   ───────────▶   or RunShared, where they lie in memory of the lane's
//!                        ◀───────────   Outputs, Failed or Lost
//! ```
//!
//! [`frame`] says how a message lies in bytes, [`control`] and [`batch`] what is in it. Both are functions of bytes, and
//! each length is held against a budget before memory is asked for. [`Transport`] carries frames; a [`Link`] is the
//! transport of this system: a socket on Linux, a pipe with a name on Windows. Neither side believes the other: what does
//! not fit is [`Broken`].

// On other systems nothing speaks yet.
#![cfg_attr(not(any(target_os = "linux", windows)), allow(dead_code))]
#![deny(missing_docs)]
#![deny(unsafe_code)]
// Errors carry their text in place.
#![allow(clippy::result_large_err)]

pub mod batch;
#[cfg(any(target_os = "linux", windows))]
pub mod control;
mod field;
pub mod frame;
#[cfg(any(target_os = "linux", windows))]
mod memory;
#[cfg(windows)]
mod pipe;
#[cfg(target_os = "linux")]
mod socket;
mod transport;

pub use field::Malformed;
#[cfg(any(target_os = "linux", windows))]
pub use memory::Memory;
#[cfg(windows)]
pub use pipe::{HANDLES, Passed, Pipe as Link};
#[cfg(target_os = "linux")]
pub use socket::{Passed, Socket as Link};
pub use transport::{Broken, Due, Transport};
