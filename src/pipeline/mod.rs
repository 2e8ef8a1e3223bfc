//! The threads between assembler and judge. Each takes a tile with its slot, adds what it knows, and hands both on.

pub(crate) mod lane;
pub(crate) mod prep;
pub(crate) mod queues;
mod twice;
