//! Training sparse autoencoders on embeddings, and measuring them: `coverslip sae`.

mod checkpoint;
mod data;
pub(crate) mod evaluation;
mod files;
mod objective;
mod split;
pub(crate) mod training;
mod verdict;
