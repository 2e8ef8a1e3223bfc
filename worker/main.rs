//! The engine in a process of its own. The library starts it with a control connection, on Linux as its standard input;
//! what both say is in `crates/wire`.
//!
//! `inherited` leaves behind what came from the host, `serve` opens the engine and answers, `lane` runs batches, `lines`
//! sends log lines. This process's first thread does nothing but wait for the end of the host: whatever the others do, a
//! kernel that hangs among it, the process ends with it.

#![deny(unsafe_code)]
// Errors carry their text in place.
#![allow(clippy::result_large_err)]

#[cfg(any(target_os = "linux", windows))]
mod inherited;
#[cfg(windows)]
mod itself;
#[cfg(any(target_os = "linux", windows))]
mod keeper;
#[cfg(any(target_os = "linux", windows))]
mod lane;
#[cfg(any(target_os = "linux", windows))]
mod lines;
#[cfg(all(any(target_os = "linux", windows), debug_assertions))]
mod poison;
#[cfg(any(target_os = "linux", windows))]
mod serve;
mod stamp;

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "somebody started it by hand")]
fn main() {
    #[cfg(any(target_os = "linux", windows))]
    if let Some(kept) = inherited::leave() {
        keeper::keep(kept);
    }
    if std::env::args_os().len() > 1 {
        return println!("coverslip-worker {}", stamp::BUILD);
    }
    eprintln!("coverslip-worker is started by the Coverslip library, for whose engine it is a process: see docs/guide");
    std::process::exit(2);
}
