//! The forward of a vision transformer and its sparse autoencoder on the CPU, from a bundle's weights, without a graph.
//!
//! [`Model::open`] packs the weights once for a [`Family`] of kernels. Every thread takes a [`Lane`] of its own, which
//! has every buffer that a run needs: [`Lane::run`] allocates nothing and starts no thread. The way of a tile:
//!
//! ```text
//! pixels ▶ patches ▶ for each block: attention ▶ mlp ▶ the taps after it: pool ▶ sae ▶ outputs
//! ```
//!
//! `forward` walks it. Each step is plain Rust that calls `kernels` for its arithmetic; `features` and `choice` pick the kernels
//! by what the processor has, if it passes `check`. `unsafe` is only in the files of `kernels` that name instructions.

#![deny(missing_docs)]
#![deny(unsafe_code)]

mod aligned;
mod attention;
mod check;
mod choice;
mod features;
mod forward;
mod kernels;
mod layer;
mod maxima;
mod mlp;
mod panels;
mod patches;
mod pool;
mod reference;
mod sae;
mod top;
mod tuning;
mod weights;

pub use choice::{Choice, Int8Family};
pub use features::Family;
pub use forward::{Lane, Outputs};
pub use maxima::Maxima;
pub use reference::{of_model, outputs};
pub use top::Feature;
pub use tuning::Tuning;
pub use weights::{Model, smoothing};
