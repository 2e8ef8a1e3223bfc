//! Embedding files: a model's outputs for many tiles, and where each tile comes from.
//!
//! `NAME.safetensors` has for each tap a float tensor `embedding_<tap>` \[tiles, width\] and may have `feature_index` i32
//! and `feature_value` float \[tiles, k\]; `NAME.csv` beside it has a row per tile in the same order. `NAME.parquet` has
//! all of it in one file. The columns of the table are [`COLUMNS`]; one that names the slide is required, others are kept
//! as they are.

mod claims;
mod content;
mod csv_file;
mod error;
mod extracts;
mod file;
mod journal;
pub(crate) mod names;
mod parquet;
mod set;
mod slide_column;
mod table;
mod thrift;
mod writer;

pub use content::{Content, SparseFeatures, TapInfo};
pub(crate) use csv_file::{listed, open_csv, said};
pub use error::{EmbeddingError, Result};
pub use file::EmbeddingFile;
pub use journal::InputState;
pub use names::COLUMNS;
pub use set::EmbeddingSet;
pub(crate) use set::stacked;
pub use slide_column::SlideColumn;
pub use table::Table;
pub(crate) use table::{check_filled, check_kinds};
pub use writer::{TileRecord, Writer};
