//! Training sparse autoencoders on embeddings, and measuring them: `coverslip sae`.

mod baselines;
mod checkpoint;
mod data;
pub(crate) mod evaluation;
mod files;
mod objective;
mod page;
mod probes;
mod split;
pub(crate) mod training;
mod verdict;
