//! From frames to complete tiles: the grid, the slots, the assembler; and what is measured on pixels before the model
//! sees them.

pub(crate) mod assembler;
mod banding;
mod blocks;
pub(crate) mod exposure;
pub(crate) mod focus;
pub(crate) mod frame;
pub(crate) mod grid;
mod ledger;
pub(crate) mod meter;
#[cfg(test)]
mod oracle;
pub(crate) mod pixels;
pub(crate) mod resample;
pub(crate) mod slot;
mod spectrum;
mod stain;
pub(crate) mod tissue;

pub(crate) use ledger::Ledger;
