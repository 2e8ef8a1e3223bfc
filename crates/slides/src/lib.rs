//! Slides to play: one trait, and a reader for each kind of input.

mod cache;
mod directory;
pub mod generated;
mod jpeg;
mod mpp;
mod opened;
mod picture;
pub mod simulated;
mod source;
#[cfg(test)]
mod tests;
mod tiff;

pub use mpp::RANGE as MPP_RANGE;
pub use opened::open;
pub use source::{Mpp, Rect, SlideSource, SourceError, SourceInfo};
