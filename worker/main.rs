//! The engine in a process of its own. The library starts it with the control connection as its standard input; what both
//! say is in `crates/wire`.
//!
//! `inherited` leaves behind what came from the host, `serve` opens the engine and answers, `lane` runs batches, `lines`
//! sends log lines. This process's first thread does nothing but wait for the end of the host: whatever the others do, a
//! kernel that hangs among it, the process ends with it.

#![deny(unsafe_code)]
// Errors carry their text in place.
#![allow(clippy::result_large_err)]

#[cfg(target_os = "linux")]
mod inherited;
#[cfg(target_os = "linux")]
mod keeper;
#[cfg(target_os = "linux")]
mod lane;
#[cfg(target_os = "linux")]
mod lines;
#[cfg(all(target_os = "linux", debug_assertions))]
mod poison;
#[cfg(target_os = "linux")]
mod serve;
mod stamp;

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "somebody started it by hand")]
fn main() {
    if std::env::args_os().len() > 1 {
        return println!("coverslip-worker {}", stamp::BUILD);
    }
    #[cfg(target_os = "linux")]
    if let Some(control) = inherited::leave() {
        keeper::keep(control);
    }
    eprintln!("coverslip-worker is started by the Coverslip library, for whose engine it is a process: see docs/guide");
    std::process::exit(2);
}
