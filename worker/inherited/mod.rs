//! What a process has of the host's that it does not need, left behind before anything else; and the rights that it drops
//! later.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
pub(crate) use linux::{drop_rights, end, fail, give_way, leave};
#[cfg(windows)]
pub(crate) use windows::{Kept, drop_rights, end, fail, give_way, leave};
