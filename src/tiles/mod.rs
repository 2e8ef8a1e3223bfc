//! From frames to complete tiles: the grid, the slots, the strips, the assembler.

mod abreast;
pub(crate) mod assembler;
mod bits;
pub(crate) mod content;
pub(crate) mod frame;
pub(crate) mod glass;
pub(crate) mod grid;
pub(crate) mod ledger;
pub(crate) mod slot;
pub(crate) mod strips;
