//! The first thread: starts the one that serves, and sees the end of the host.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
pub(crate) use linux::keep;
#[cfg(windows)]
pub(crate) use windows::keep;
