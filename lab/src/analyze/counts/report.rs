//! What `counts.json` holds.

use serde::{Deserialize, Serialize};

use crate::analyze::representation::Kind;

/// The whole analysis.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct CountsReport {
    pub(crate) source: Source,
    pub(crate) tiles: usize,
    pub(crate) groups: usize,
    /// Tiles in the smallest, the middle and the largest group.
    pub(crate) group_sizes: [usize; 3],
    /// Groups that a feature has to fire in to be looked at.
    pub(crate) least_groups: usize,
    /// Permutations of whole groups behind each p.
    pub(crate) permutations: usize,
    /// Resamples of whole groups behind each interval.
    pub(crate) resamples: usize,
    pub(crate) cell_types: Vec<CellType>,
    pub(crate) representations: Vec<RepresentationReport>,
    /// The SAE's features: those that are discoveries, and the ten strongest of every cell type.
    pub(crate) features: Vec<Association>,
    /// The same analysis with the counts of whole groups exchanged.
    pub(crate) shuffled: Option<Shuffled>,
}

/// Where the numbers come from.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct Source {
    /// What the tiles are called.
    pub(crate) dataset: String,
    pub(crate) embeddings: String,
    pub(crate) labels: String,
    pub(crate) tap: String,
    pub(crate) bundle: Option<String>,
    /// sha256 of its SAE: what features are numbered by.
    pub(crate) sae_digest: Option<String>,
    /// What makes a group, in words.
    pub(crate) grouped_by: String,
}

/// One column of counts.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct CellType {
    pub(crate) name: String,
    pub(crate) mean: f64,
    /// Standard deviation between tiles.
    pub(crate) sd: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// Groups that have any.
    pub(crate) groups_with: usize,
    /// Share of the variance that lies between groups.
    pub(crate) between_groups: f64,
}

/// What one kind of columns says.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct RepresentationReport {
    pub(crate) kind: Kind,
    /// Columns that are not 0 everywhere.
    pub(crate) columns: usize,
    /// Columns that fire in enough groups, and were tested.
    pub(crate) tested: usize,
    /// Tiles and groups of the test: fewer where groups had to be cut to one size.
    pub(crate) tested_tiles: usize,
    pub(crate) tested_groups: usize,
    /// The |r| that chance alone exceeds somewhere in the table once in twenty times.
    pub(crate) critical: f64,
    /// Pairs of column and cell type with p ≤ 0.05.
    pub(crate) discoveries: usize,
    pub(crate) rows: Vec<TypeRow>,
}

/// One cell type in one representation.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct TypeRow {
    pub(crate) cell_type: String,
    /// The column with the largest |r| on all tiles: the best of many, so its r is too high.
    pub(crate) best: Option<Association>,
    /// One column, chosen on other groups than it is reported on.
    pub(crate) one: Reported,
    /// Ridge on all columns.
    pub(crate) all: Reported,
}

/// A column and a cell type.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct Association {
    /// The feature's index, the dimension, or a colour.
    pub(crate) column: String,
    pub(crate) cell_type: String,
    pub(crate) pearson: f64,
    /// 95 % interval.
    pub(crate) interval: Option<[f64; 2]>,
    pub(crate) spearman: Option<f64>,
    pub(crate) spearman_interval: Option<[f64; 2]>,
    /// Adjusted for all columns and cell types of the table.
    pub(crate) p: f64,
    pub(crate) tiles_firing: usize,
    pub(crate) groups_firing: usize,
}

/// How well counts of groups are predicted that were held out.
#[derive(Debug, Clone, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Reported {
    /// Pearson's r of predicted and true counts.
    pub(crate) r: Option<f64>,
    /// 95 % interval.
    pub(crate) interval: Option<[f64; 2]>,
    /// Share of the squared error that the prediction saves against the mean of the other groups.
    pub(crate) q2: f64,
    /// The column that was chosen most often, and in how many folds.
    pub(crate) chosen: Option<(String, usize)>,
    pub(crate) folds: usize,
}

/// The control: nothing can be found, so what is found is chance.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
pub(crate) struct Shuffled {
    pub(crate) tables: usize,
    /// Tables in which any SAE feature (or dimension, where there are no features) was a discovery.
    pub(crate) with_discovery: usize,
}
