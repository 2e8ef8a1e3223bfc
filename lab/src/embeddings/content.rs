//! The taps and features of an embedding file.

use super::names::{COLUMNS, TOKEN_COLUMNS};

/// An embedding's name and width.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapInfo {
    /// The tap's name, without `embedding_`.
    pub name: String,
    /// Values per tile.
    pub width: usize,
}

/// What the rows of a file are, and what each has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The embeddings.
    pub taps: Vec<TapInfo>,
    /// Features of a row; 0 where there are none.
    pub k: usize,
    /// Whether a row is a patch token instead of a tile.
    pub tokens: bool,
}

impl Content {
    /// The table's columns, in their order.
    pub fn columns(&self) -> Vec<&'static str> {
        let more = if self.tokens { &TOKEN_COLUMNS[..] } else { &[] };
        COLUMNS.iter().chain(more).copied().collect()
    }
}

/// The k strongest SAE features of every tile, row-major; value 0 where fewer are active.
#[derive(Debug, Clone, PartialEq)]
pub struct SparseFeatures {
    /// Features per tile.
    pub k: usize,
    /// \[tiles, k\]
    pub index: Vec<i32>,
    /// \[tiles, k\]
    pub value: Vec<f32>,
}

impl SparseFeatures {
    /// The active features of a tile, and their values.
    pub(crate) fn active(&self, tile: usize) -> impl Iterator<Item = (usize, f32)> {
        let row = tile * self.k..(tile + 1) * self.k;
        let pairs = self.index[row.clone()].iter().zip(&self.value[row]);
        pairs.filter(|(_, value)| **value != 0.0).map(|(index, value)| (*index as usize, *value))
    }
}
