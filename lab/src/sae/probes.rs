//! Labels read from few features of held-out tiles, by whole groups, beside what features have to beat.

use std::error::Error;

use coverslip_analysis::pca::Pca;
use coverslip_analysis::sae::{Objective, Sae};
use coverslip_analysis::sparse_probe::{Columns, sparse_probes};
use coverslip_analysis::{Categories, SparseRows};
use faer::Mat;

use super::data::{Data, Sample};
use crate::embeddings::{SlideColumn, check_kinds};
use crate::findings::sae::{ProbeFindings, ProbeRow, ProbedFigures};

/// Columns that a probe reads.
const KS: [usize; 4] = [1, 2, 5, 16];
/// Folds of whole groups, at most.
const FOLDS: usize = 5;
/// Bootstraps of groups behind each interval.
const BOOTSTRAPS: usize = 500;
/// Held-out tiles at most, drawn at random; and tiles that the principal components are fitted on.
const TILES: usize = 8192;
/// Principal components that a probe can choose from.
const COMPONENTS: usize = 64;

/// The tiles that are probed.
pub(super) struct Probing {
    label: String,
    grouped_by: String,
    tiles: Sample,
    labels: Categories,
    groups: Categories,
}

impl Probing {
    /// The held-out tiles that have a label, with their groups.
    ///
    /// # Errors
    /// When a column is not there, the labels are a measure, or the file cannot be read.
    pub(super) fn open(data: &Data, label: &str, groups: &SlideColumn, named: &str) -> Result<Self, Box<dyn Error>> {
        let tiles = data.sample(false, TILES, 0)?;
        let at = |column: &SlideColumn| -> Result<Categories, Box<dyn Error>> {
            let all = data.file.slides(column)?;
            Ok(tiles.places.iter().map(|&place| all.name(place)).collect())
        };
        let (labels, groups) = (at(&SlideColumn::new(Some(label.into())))?, at(groups)?);
        check_kinds(&format!("--probe {label}"), labels.names().iter().map(String::as_str))?;
        // An empty cell means "not known".
        let known: Vec<usize> = (0..labels.len()).filter(|&row| !labels.name(row).is_empty()).collect();
        Ok(Self {
            label: label.into(),
            grouped_by: named.into(),
            labels: labels.select(&known),
            groups: groups.select(&known),
            tiles: tiles.select(&known, data.width),
        })
    }

    /// The rows of one dictionary.
    pub(super) fn dictionary(&self, name: &str, sae: &Sae, objective: Objective) -> ProbeRow {
        let (ends, index, value) = sae.encode(objective, &self.tiles.rows).columns();
        let rows = SparseRows { ends: &ends, index: &index, value: &value };
        self.row(name, Columns::Sparse(rows, sae.features))
    }

    fn row(&self, name: &str, columns: Columns<'_>) -> ProbeRow {
        match sparse_probes(columns, &self.labels, &self.groups, &KS, FOLDS, BOOTSTRAPS, 0) {
            Ok(found) => {
                let one = |probe: &coverslip_analysis::sparse_probe::SparseProbe| ProbedFigures {
                    k: probe.k,
                    auc: finite(probe.auc),
                    interval: [probe.interval.0, probe.interval.1].map(finite),
                };
                ProbeRow { name: name.into(), probes: found.iter().map(one).collect(), undefined: None }
            }
            Err(why) => ProbeRow { name: name.into(), probes: Vec::new(), undefined: Some(why.0) },
        }
    }

    /// All rows, with those of the raw dimensions and of the principal components behind them.
    ///
    /// # Errors
    /// When the embeddings cannot be read, or are all the same.
    pub(super) fn findings(&self, data: &Data, mut rows: Vec<ProbeRow>) -> Result<ProbeFindings, Box<dyn Error>> {
        let dense = |rows: &[f32]| {
            let width = data.width;
            Mat::from_fn(rows.len() / width, width, |row, column| f64::from(rows[row * width + column]))
        };
        let (own, train) = (dense(&self.tiles.rows), dense(&data.sample(true, TILES, 0)?.rows));
        rows.push(self.row("raw dimensions", Columns::Dense(own.as_ref())));
        let components = Pca::fit(train.as_ref(), COMPONENTS)?.project(own.as_ref());
        rows.push(self.row("principal components", Columns::Dense(components.as_ref())));
        Ok(ProbeFindings {
            label: self.label.clone(),
            kinds: self.labels.names().to_vec(),
            grouped_by: self.grouped_by.clone(),
            tiles: self.labels.len(),
            groups: self.groups.kinds(),
            rows,
        })
    }
}

fn finite(value: f64) -> Option<f64> {
    Some(value).filter(|value| value.is_finite())
}
