//! What is measured on a tile's pixels before the model sees them.

mod banding;
mod blocks;
pub(crate) mod exposure;
pub(crate) mod focus;
pub(crate) mod meter;
#[cfg(test)]
mod optics;
#[cfg(test)]
mod oracle;
mod spectrum;
mod stain;
pub(crate) mod tissue;
