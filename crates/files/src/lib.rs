//! Files and folders that appear whole or not at all, and have one owner while they are written.
//!
//! They are written beside their place under a temporary name, synced to disk, and renamed. A reader sees the old or the
//! new one, never a part. Whoever writes several files at a place claims it first; what earlier runs left there is then
//! finished or removed. This is the only place in the workspace that renames, and the one way to open a file that may be
//! a stranger's; the fence catches what a library does on one.

mod append;
mod claim;
mod commit;
mod draft;
pub mod fence;
mod folder;
mod lock;
mod owner;
mod regular;
#[cfg(test)]
mod scratch;
mod secret;
mod set;
mod sweep;
mod whole;

pub use append::{append, folder_to_append};
pub use claim::{Claim, IntoClaim};
pub use draft::create_folders;
pub use folder::{Folder, Replace, check_target};
pub use regular::{expect_file, open, read, read_at_most, read_text, read_text_at_most};
pub use secret::secret;
pub use set::FileSet;
pub use whole::{put, whole};
