//! One acquisition: takes frames until it is closed, then drains until every tile that it opened has its result.

pub(crate) mod config;
pub(crate) mod counts;
#[cfg(test)]
pub(crate) mod fixture;
mod handle;
mod latency;
pub(crate) mod registry;
pub(crate) mod standing;
pub(crate) mod state;
