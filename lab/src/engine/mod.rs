//! `coverslip engine`: GPU plans, built before a scanner needs them.

mod builder;
mod page;

pub(crate) use builder::{Request, run as build};
pub(crate) use page::page;
