//! `coverslip engine`: GPU plans, built before a scanner needs them, and the choice of CPU kernels.

mod builder;
mod page;
mod tune;

pub(crate) use builder::{Request, run as build};
pub(crate) use page::page;
pub(crate) use tune::run as tune;
