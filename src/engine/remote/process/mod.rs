//! One worker process: started with its control connection, killed, buried. How that is done is each system's own.

mod ended;
mod environment;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(windows)]
mod windows;

pub(super) use ended::Ended;
pub(super) use environment::{Environment, environment};
#[cfg(target_os = "linux")]
pub(super) use linux::{AGAINST_FAILURE, Process};
#[cfg(windows)]
pub(super) use windows::{AGAINST_FAILURE, Process};

use std::path::Path;

use coverslip_base::error::{Error, error};
use coverslip_wire::Broken;

/// What the standard library, or this one, allocates to start a program, with a copy of the environment.
const SPAWN_BYTES: usize = 256 << 10;

/// The program does not start.
fn refused(program: &Path, e: &std::io::Error) -> Error {
    let what = if e.kind() == std::io::ErrorKind::NotFound { "there is none" } else { "it does not start" };
    error!(
        ENGINE_UNAVAILABLE,
        "the worker {}: {what}: {e}; install {} beside the library, or set runtime_desc.worker_path",
        program.display(),
        crate::engine::isolation::PROGRAM
    )
    .with_native(i64::from(e.raw_os_error().unwrap_or(0)))
}

/// The system makes no connection.
pub(super) fn unconnected(broken: &Broken) -> Error {
    let code = if let Broken::System(code) = broken { *code } else { 0 };
    error!(ENGINE_UNAVAILABLE, "a connection to the worker could not be made: the system's error {code}; close descriptors or handles that are not needed")
        .with_native(code.into())
}
