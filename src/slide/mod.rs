//! One acquisition.

pub(crate) mod state;
