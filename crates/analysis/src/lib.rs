//! Statistics and SAE training over embeddings: numbers in, numbers out.
//!
//! This crate reads no slide, runs no model and prints nothing; the lab command brings the numbers and shows the results.
//! Every routine that draws random numbers takes a seed, and the same seed gives the same result on the same machine.

#![forbid(unsafe_code)]

pub mod counts;
pub mod pca;
pub mod random;
pub mod sae;
pub mod scanners;
mod undefined;

pub use undefined::Undefined;
