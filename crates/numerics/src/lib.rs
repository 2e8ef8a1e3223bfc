//! Small numerics that the plugin and the lab share, and whether there is memory for large ones: no dependencies, and the same
//! bits on every machine.

mod binomial;
mod fourier;
mod room;
mod seeded;

pub use binomial::binomial_tail;
pub use fourier::Fourier;
pub use room::there_is;
pub use seeded::{Draw, SplitMix64, mix};
