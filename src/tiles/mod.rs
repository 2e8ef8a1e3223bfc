//! From frames to complete tiles: the grid, the slots, the assembler.

pub(crate) mod assembler;
pub(crate) mod frame;
pub(crate) mod grid;
pub(crate) mod ledger;
pub(crate) mod pixels;
pub(crate) mod slot;
