//! What several analyses of counts say in the same words: the tiles, what counts are read from, and how well.

use serde::{Deserialize, Serialize};

use super::absent::null_as_nan;

/// The tiles that an analysis rests on.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Sample {
    pub dataset: String,
    pub tiles: usize,
    pub groups: usize,
}

/// What a column of numbers per tile is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    /// A feature of the SAE.
    Feature,
    /// A single dimension of the embedding.
    Dimension,
    /// A principal component of the embeddings.
    Component,
    /// Mean red, green or blue of the tile.
    Colour,
    /// A feature of an SAE that nobody trained, as large and with as many features active.
    Random,
    /// A feature of an SAE with a random decoder that stayed, and an encoder trained for it.
    FrozenDecoder,
}

impl ColumnKind {
    /// One such column, in words.
    pub fn one(self) -> &'static str {
        match self {
            ColumnKind::Feature => "SAE feature",
            ColumnKind::Dimension => "embedding dimension",
            ColumnKind::Component => "principal component",
            ColumnKind::Colour => "colour channel",
            ColumnKind::Random => "random SAE's feature",
            ColumnKind::FrozenDecoder => "frozen random decoder's feature",
        }
    }

    /// All such columns together, in words.
    pub fn all(self) -> String {
        format!("all {}s", self.one())
    }
}

/// A cell type, and what its counts are read from.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Reading {
    pub cell_type: String,
    pub kind: ColumnKind,
    /// False: from one column, the best. True: from all columns together, by ridge regression.
    pub all_columns: bool,
}

/// How well counts are predicted in groups that were held out.
#[derive(Debug, Clone, Default, Deserialize, PartialEq, Serialize)]
pub struct HeldOutScore {
    /// Pearson's r of predicted and true counts.
    pub r: Option<f64>,
    /// 95 % interval of r.
    #[serde(default, deserialize_with = "null_as_nan")]
    pub interval: Option<[f64; 2]>,
    /// Share of the squared error that the prediction saves against the mean of the other groups.
    #[serde(deserialize_with = "null_as_nan")]
    pub q2: f64,
    /// The column that was chosen most often, and in how many folds.
    pub chosen: Option<(String, usize)>,
    pub folds: usize,
}
