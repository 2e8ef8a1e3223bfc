//! Which engine runs, where, and which takes over. Engines themselves are in `crates/engine`.

pub(crate) mod duty;
pub(crate) mod isolation;
pub(crate) mod open;
#[cfg(any(target_os = "linux", windows))]
mod remote;
