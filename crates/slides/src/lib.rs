//! Slides: one trait, and a reader for each kind of input.

mod alpha;
mod budget;
mod cache;
mod description;
mod directory;
mod error;
pub mod generated;
mod jpeg;
mod mpp;
mod ome;
mod open;
mod openslide;
mod picture;
mod places;
mod rect;
mod refusal;
mod scanned;
mod signature;
pub mod simulated;
mod source;
#[cfg(test)]
mod tests;
mod tiff;
mod xml;

pub use description::{Associated, Mpp, Reader, Scene, Size, SourceInfo};
pub use error::SourceError;
pub use mpp::RANGE as MPP_RANGE;
pub use open::{ReaderKind, Selection, open};
pub use openslide::{
    Found, INSTALL, found as find_openslide, read_apart as read_openslide_apart, serve as serve_openslide,
};
pub use rect::{Rect, cut_out};
pub use scanned::Scanned;
pub use source::SlideSource;
