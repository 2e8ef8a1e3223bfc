//! What a test does to a worker's process, and what it sees of it and of its own.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
pub(crate) use linux::*;
#[cfg(windows)]
pub(crate) use windows::*;

/// What the host holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Held {
    pub(crate) threads: usize,
    /// Or handles.
    pub(crate) descriptors: usize,
    /// That nobody has reaped.
    pub(crate) children: usize,
    /// Mappings of memory that the library has made for tiles.
    pub(crate) memory: usize,
}
