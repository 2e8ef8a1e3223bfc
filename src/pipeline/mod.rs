//! The threads between assembler and judge, and the queues that lead from one to the next. Each takes a tile with its
//! slot, adds what it knows, and hands both on.

pub(crate) mod lane;
pub(crate) mod prep;
pub(crate) mod queues;
pub(crate) mod shared;
mod twice;
