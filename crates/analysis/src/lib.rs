//! Statistics and SAE training over embeddings: numbers in, numbers out.
//!
//! This crate reads no slide, runs no model and prints nothing; the lab command brings the numbers and shows the results.
//! Every routine that draws random numbers takes a seed, and the same seed gives the same result on the same machine.

#![forbid(unsafe_code)]

mod auroc;
mod beliefs;
mod categories;
pub mod counts;
mod folds;
pub mod logistic;
pub mod pca;
mod quantile;
pub mod random;
mod resampled;
mod rows;
pub mod sae;
pub mod scanners;
pub mod sparse_probe;
mod undefined;

pub use auroc::auroc;
pub use categories::Categories;
pub use rows::{SparseRows, select};
pub use undefined::Undefined;
