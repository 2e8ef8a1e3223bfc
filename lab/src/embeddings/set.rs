//! An embedding file with its table: for analyses that need every tile at once.

use std::path::{Path, PathBuf};

use coverslip_numerics::there_is;
use faer::Mat;

use super::content::{SparseFeatures, TapInfo};
use super::error::{EmbeddingError, Result};
use super::file::EmbeddingFile;
use super::slide_column::SlideColumn;
use super::table::{Table, check_filled, check_kinds};

/// Rows that are read at a time.
const BLOCK: usize = 4096;

#[derive(Debug)]
pub struct EmbeddingSet {
    path: PathBuf,
    file: EmbeddingFile,
    table: Table,
}

impl EmbeddingSet {
    /// Opens a .safetensors (with its .csv beside it) or a .parquet.
    ///
    /// # Errors
    /// When a file is missing or damaged, has no tap, has no column of slides, or rows and tiles differ in number.
    pub fn open(path: &Path, slides: &SlideColumn) -> Result<Self> {
        let file = EmbeddingFile::open(path)?;
        let table = file.table(slides)?;
        Ok(Self { path: path.into(), file, table })
    }

    /// The number of tiles.
    #[allow(clippy::len_without_is_empty, reason = "a file without tiles is refused")]
    pub fn len(&self) -> usize {
        self.file.len()
    }

    /// The taps, by name.
    pub fn taps(&self) -> &[TapInfo] {
        self.file.taps()
    }

    /// The table of the tiles.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// A column of the table that has a value in every row.
    ///
    /// # Errors
    /// When the column is missing, or a cell is empty: empty cells would pass for one group.
    pub(crate) fn filled_column(&self, name: &str) -> Result<&[String]> {
        let cells = self.table.column(name).ok_or_else(|| {
            let known = self.table.names().join(", ");
            EmbeddingError::at(&self.path, &format!("expected the column {name}, found {known}"))
        })?;
        check_filled(&format!("{}: column {name}", self.path.display()), cells)?;
        Ok(cells)
    }

    /// As [`EmbeddingSet::filled_column`], of a column that names kinds of tiles.
    ///
    /// # Errors
    /// As there, and when the column is a measure.
    pub(crate) fn kinds_column(&self, name: &str) -> Result<&[String]> {
        let cells = self.filled_column(name)?;
        check_kinds(&format!("{}: column {name}", self.path.display()), cells.iter().map(String::as_str))?;
        Ok(cells)
    }

    /// Every tile's embedding of `tap`, a row per tile.
    ///
    /// # Errors
    /// When there is no such tap, or a value is NaN or infinite (the message has the first such row).
    pub fn matrix(&self, tap: &str) -> Result<Mat<f64>> {
        let tap = self.file.tap(tap)?.clone();
        self.check_memory(&tap)?;
        let mut matrix = Mat::zeros(self.len(), tap.width);
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

    /// Refuses a matrix that there is no memory for.
    fn check_memory(&self, tap: &TapInfo) -> Result<()> {
        let (tiles, width) = (self.len() as u64, tap.width as u64);
        if there_is(tiles.saturating_mul(width).saturating_mul(size_of::<f64>() as u64)) {
            return Ok(());
        }
        Err(EmbeddingError::at(
            &self.path,
            &format!("no memory for {tiles} embeddings of {width} values; split the file"),
        ))
    }

    /// The SAE's features, where the file has them.
    ///
    /// # Errors
    /// When they are damaged: wrong type or shape, NaN, an index below 0.
    pub fn features(&self) -> Result<Option<SparseFeatures>> {
        self.file.features()
    }
}

/// The embeddings of `tap` of several sets, one set after the other.
///
/// # Errors
/// As [`EmbeddingSet::matrix`]; when the tap differs in width between sets.
pub(crate) fn stacked(sets: &[EmbeddingSet], tap: &str) -> Result<Mat<f64>> {
    let parts = sets.iter().map(|set| set.matrix(tap)).collect::<Result<Vec<_>>>()?;
    let width = parts.first().map_or(0, Mat::ncols);
    let mut all = Mat::zeros(sets.iter().map(EmbeddingSet::len).sum(), width);
    let mut first = 0;
    for (part, set) in parts.iter().zip(sets) {
        if part.ncols() != width {
            return Err(EmbeddingError::at(
                &set.path,
                &format!(
                    "expected {width} values in tap {tap}, as in the files before, found {}; embed all tiles with \
                          one bundle",
                    part.ncols()
                ),
            ));
        }
        all.subrows_mut(first, part.nrows()).copy_from(part);
        first += part.nrows();
    }
    Ok(all)
}
