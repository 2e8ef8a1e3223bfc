//! `coverslip profile`: what a site's scanners look like to a bundle. Built from their slides, looked at, compared.

mod builder;
mod calibration;
mod challenge;
mod comparison;
mod fit;
mod left_out;
mod other_scanners;
mod page;
mod sampler;
mod scanner_slides;
mod screening;
mod set_aside;
mod verification;

pub(crate) use builder::{Request as BuildRequest, run as build};
pub(crate) use challenge::{Request as ChallengeRequest, run as challenge};
pub(crate) use comparison::print as compare;
pub(crate) use page::print as inspect;
pub(crate) use sampler::Sampling;
pub(crate) use verification::{open, open_trusted, verify};
