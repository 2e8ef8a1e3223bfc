//! Files and folders that appear whole or not at all: written beside their place under a name of their own, put on
//! disk, renamed. A reader sees the old one or the new one, never half of one.
//!
//! This is the only place in the workspace that renames.

mod folder;
mod set;
mod whole;

pub use folder::{Folder, Replace, check_target};
pub use set::FileSet;
pub use whole::{link, put, whole};
