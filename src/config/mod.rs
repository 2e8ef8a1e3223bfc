//! What a host's wishes come to: defaults and ranges, limits, the memory budget, canonical digests. `abi` reads the
//! host's structs and decides nothing; the parts get values that are checked.

pub(crate) mod digest;
mod kernels;
mod memory;
pub(crate) mod range;
pub(crate) mod request;
pub(crate) mod runtime;
pub(crate) mod slide;
mod tone;
