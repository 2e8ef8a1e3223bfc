//! From frames to complete tiles: the grid, the slots, the assembler; and what is measured on pixels before the model
//! sees them.

pub(crate) mod assembler;
mod blocks;
pub(crate) mod exposure;
pub(crate) mod focus;
pub(crate) mod frame;
pub(crate) mod grid;
mod ledger;
#[cfg(test)]
mod oracle;
pub(crate) mod pixels;
pub(crate) mod resample;
pub(crate) mod slot;
pub(crate) mod tissue;

pub(crate) use blocks::Blocks;
pub(crate) use ledger::Ledger;
