//! Files and folders that appear whole or not at all. They are written beside their place under a temporary name,
//! synced to disk, and renamed. A reader sees the old or the new one, never a part.
//!
//! This is the only place in the workspace that renames, and the one way to open a file that may be a stranger's.

mod folder;
mod regular;
#[cfg(test)]
mod scratch;
mod set;
mod whole;

pub use folder::{Folder, Replace, check_target};
pub use regular::{open, read, read_text};
pub use set::FileSet;
pub use whole::{link, put, whole};
