//! Weights as engines use them. What can be computed once is computed here in float64 and stored as float32:
//! preprocessing is folded into the patch embedding, attention's 1/√d into the queries, LayerScale into the
//! projections, the decoder's norms into the SAE. The composer writes its graph from them, and the CPU engine packs them.

mod linear;
mod sae;
mod vit;

pub use linear::{Linear, Norm, smooth};
pub use sae::SaeWeights;
pub use vit::{BlockWeights, VitWeights};
