//! What cameras deliver: from a frame's bytes, in the format that its PFNC code names, to 8-bit channels.
//!
//! `format` says what a code means, `unpack` reads levels out of bytes, `mosaic` interpolates a Bayer mosaic,
//! `tone` makes channels of levels. `developer` does all of it for one row; `copy` is its short way for 8-bit formats
//! whose levels are the channels. `validity` says which pixels were captured, `ahead` calls a
//! row into the cache before it is copied. Memory is asked for once; developing
//! a row allocates nothing.

#![deny(unsafe_code)]

#[allow(unsafe_code)]
pub mod ahead;
#[allow(unsafe_code)]
pub mod avx2;
mod copy;
pub mod developer;
pub mod format;
pub mod image;
mod kernels;
mod memory;
mod mosaic;
pub mod tone;
mod unpack;
pub mod validity;
