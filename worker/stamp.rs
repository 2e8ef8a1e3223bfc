//! Which build this is.

/// Version and commit, as the library compares them.
pub(crate) const BUILD: &str = concat!(env!("CARGO_PKG_VERSION"), " ", env!("COVERSLIP_COMMIT"));
