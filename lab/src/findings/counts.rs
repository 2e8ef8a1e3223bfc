//! `counts.json`: which features follow the counts of which cells.

use coverslip_bundle::{Bundle, SAE_FILE};
use serde::{Deserialize, Serialize};

use super::file::Findings;
use super::reading::{ColumnKind, HeldOutScore};

/// A discovery has an adjusted p of at most this.
pub const ALPHA: f64 = 0.05;

/// The whole analysis.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct CountsFindings {
    pub source: Source,
    pub tiles: usize,
    pub groups: usize,
    /// Tiles in the smallest, the middle and the largest group.
    pub group_sizes: [usize; 3],
    /// Columns that fire in fewer groups are not tested.
    pub least_groups: usize,
    /// Permutations of whole groups behind each p.
    pub permutations: usize,
    /// Resamples of whole groups behind each interval.
    pub resamples: usize,
    pub cell_types: Vec<CellType>,
    pub representations: Vec<RepresentationFindings>,
    /// A label for each count, tried on groups that had no part in choosing it; none where there are no features.
    #[serde(default)]
    pub replication: Option<Replication>,
    /// The SAE's features: the discoveries, and the ten strongest of every cell type.
    pub features: Vec<Association>,
    /// The control: the same analysis with the counts of whole groups exchanged.
    pub shuffled: Option<Shuffled>,
}

impl Findings for CountsFindings {
    const FILE: &'static str = "counts.json";
}

/// Where the numbers come from.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Source {
    pub dataset: String,
    pub embeddings: String,
    pub labels: String,
    pub tap: String,
    pub bundle: Option<String>,
    /// sha256 of the bundle's SAE, whose numbering the features have.
    pub sae_digest: Option<String>,
    /// What makes a group, in words.
    pub grouped_by: String,
}

/// sha256 of a bundle's SAE. It numbers the features, and stays the same when the bundle is labelled.
pub(crate) fn sae_digest(bundle: &Bundle) -> Option<String> {
    bundle.manifest().files.get(SAE_FILE).map(|file| file.sha256.to_string())
}

/// One column of counts.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct CellType {
    pub name: String,
    pub mean: f64,
    /// Standard deviation between tiles.
    pub sd: f64,
    pub min: f64,
    pub max: f64,
    /// Groups that have any.
    pub groups_with: usize,
    /// Share of the variance that lies between groups, 0 to 1.
    pub between_groups: f64,
}

/// What the columns of one kind say about every cell type.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct RepresentationFindings {
    pub kind: ColumnKind,
    /// Columns that are not 0 everywhere.
    pub columns: usize,
    /// Columns that fire in enough groups to be tested.
    pub tested: usize,
    /// Tiles of the test: fewer than all where groups were cut to one size.
    pub tested_tiles: usize,
    pub tested_groups: usize,
    /// The |r| that chance alone exceeds somewhere in the table once in twenty times.
    pub critical: f64,
    /// Pairs of column and cell type with p ≤ [`ALPHA`].
    pub discoveries: usize,
    /// One for each cell type, in their order.
    pub rows: Vec<TypeRow>,
}

/// One cell type in one representation.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct TypeRow {
    pub cell_type: String,
    /// The column with the largest |r| on all tiles: the best of many, so its r is too high.
    pub best: Option<Association>,
    /// One column, chosen on other groups than it is reported on.
    pub one: HeldOutScore,
    /// Ridge regression on all columns.
    pub all: HeldOutScore,
}

/// A column and a cell type.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Association {
    /// The feature's index, the dimension's, the component's, or a colour's name.
    pub column: String,
    pub cell_type: String,
    pub pearson: f64,
    /// 95 % interval.
    pub interval: Option<[f64; 2]>,
    pub spearman: Option<f64>,
    pub spearman_interval: Option<[f64; 2]>,
    /// Adjusted for all columns and cell types of the table.
    pub p: f64,
    pub tiles_firing: usize,
    pub groups_firing: usize,
}

/// Labels that were chosen on half of the groups and tested on the other half.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
pub struct Replication {
    /// Why no label can be tried.
    pub impossible: Option<String>,
    pub choosing_groups: usize,
    pub testing_groups: usize,
    pub testing_tiles: usize,
    /// Columns of the tiles' table that are taken out of features and counts.
    pub partial_on: Vec<String>,
    /// One for each cell type, in their order.
    pub trials: Vec<LabelTrial>,
}

/// What became of the label of one cell type.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
pub struct LabelTrial {
    pub cell_type: String,
    /// The best of ten candidates; none where no feature has a positive r on the choosing half.
    pub feature: Option<String>,
    /// Partial r on the choosing half.
    pub chosen: Option<f64>,
    /// Partial r on the testing half.
    pub r: Option<f64>,
    /// The smallest partial r on the testing half without one of its groups.
    pub least: Option<f64>,
    /// Adjusted for the candidates (largest of them, whole groups permuted) and for the cell types (Holm).
    pub p: Option<f64>,
    /// What the label did not pass; empty: it replicates.
    pub failed: Vec<String>,
}

/// Tables in which nothing can be found: what is found there is chance.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
pub struct Shuffled {
    pub tables: usize,
    /// Tables in which any SAE feature (or dimension, where there are no features) was a discovery.
    pub with_discovery: usize,
}
