//! `coverslip sign`: keys, and signatures of bundles and profiles in minisign's format. The plugin only verifies.

mod folder;
mod key;
mod origin;

pub(crate) use folder::{Kind, sign, verify};
pub(crate) use key::{Generated, Password, generate, public, secret};
pub(crate) use origin::origin;
