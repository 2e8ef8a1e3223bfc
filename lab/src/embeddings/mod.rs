//! Embedding files: what a model says about each of many tiles, and where each tile comes from.
//!
//! `NAME.safetensors` has for each tap a float tensor `embedding_<tap>` \[n, width\] and may have `feature_index` i32 and
//! `feature_value` float \[n, k\]; `NAME.csv` beside it has a row per tile in the same order. `NAME.parquet` has all of it
//! in one file. The columns of the rows are [`COLUMNS`]; `slide` has to be there, others are kept as they are.

mod file;
mod parquet;
mod rows;
#[cfg(test)]
mod tests;
mod write;

use std::fmt;
use std::path::Path;

pub(crate) use file::EmbeddingFile;
pub(crate) use rows::Rows;
pub(crate) use write::{TileRecord, Writer};

/// The columns that this command writes, in their order.
pub(crate) const COLUMNS: [&str; 15] = [
    "slide",
    "image",
    "tile",
    "column",
    "row",
    "x",
    "y",
    "width",
    "height",
    "mpp",
    "scanner",
    "mean_red",
    "mean_green",
    "mean_blue",
    "tissue",
];

/// What stands before a tap's name in a file.
pub(crate) const PREFIX: &str = "embedding_";

/// An embedding file that cannot be used: what was expected, what was found, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EmbeddingError(pub(crate) String);

impl fmt::Display for EmbeddingError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for EmbeddingError {}

/// What every function here returns.
pub(crate) type Result<T> = std::result::Result<T, EmbeddingError>;

/// An embedding's name and width.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TapInfo {
    /// The tap, without `embedding_`.
    pub(crate) name: String,
    /// Values per tile.
    pub(crate) width: usize,
}

/// The k strongest SAE features of every tile, row-major; value 0 where fewer are active.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SparseFeatures {
    /// Features per tile.
    pub(crate) k: usize,
    /// `[n, k]`
    pub(crate) index: Vec<i32>,
    /// `[n, k]`
    pub(crate) value: Vec<f32>,
}

/// An embedding file with its rows: for analyses that need every tile at once.
#[derive(Debug)]
pub(crate) struct EmbeddingSet {
    file: EmbeddingFile,
    rows: Rows,
}

impl EmbeddingSet {
    /// Opens a .safetensors (with its .csv beside it) or a .parquet.
    ///
    /// # Errors
    /// When a file is missing or damaged, has no tap, has no column `slide`, or rows and tiles differ in number.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = EmbeddingFile::open(path)?;
        let rows = file.read_rows_table()?;
        Ok(Self { file, rows })
    }

    /// Tiles.
    pub(crate) fn len(&self) -> usize {
        self.file.len()
    }

    /// The taps, by name.
    pub(crate) fn taps(&self) -> &[TapInfo] {
        self.file.taps()
    }

    /// What is known of each tile.
    pub(crate) fn rows(&self) -> &Rows {
        &self.rows
    }

    /// Every tile's embedding of `tap`, a row per tile.
    ///
    /// # Errors
    /// When there is no such tap, or a value is NaN or infinite (the message has the first such row).
    pub(crate) fn matrix(&self, tap: &str) -> Result<faer::Mat<f64>> {
        const BLOCK: usize = 4096;
        let tap = self.file.tap(tap)?.clone();
        let mut matrix = faer::Mat::zeros(self.len(), tap.width);
        let mut block = Vec::new();
        for first in (0..self.len()).step_by(BLOCK) {
            let count = BLOCK.min(self.len() - first);
            self.file.read(&tap.name, first, count, &mut block)?;
            for (row, values) in block.chunks_exact(tap.width).enumerate() {
                for (column, value) in values.iter().enumerate() {
                    matrix[(first + row, column)] = f64::from(*value);
                }
            }
        }
        Ok(matrix)
    }

    /// The SAE's features, where the file has them.
    ///
    /// # Errors
    /// When they are damaged: wrong type or shape, NaN, an index below 0.
    pub(crate) fn features(&self) -> Result<Option<SparseFeatures>> {
        self.file.features()
    }
}
