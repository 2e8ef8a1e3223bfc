//! Small numerics that the plugin and the lab share. No dependencies, and the same bits on every machine.

mod binomial;
mod fourier;
mod seeded;

pub use binomial::binomial_tail;
pub use fourier::Fourier;
pub use seeded::{Draw, SplitMix64, mix};
