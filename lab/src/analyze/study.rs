//! Embeddings with the counts of their tiles: the start of every analysis of counts.

use std::path::Path;

use coverslip_analysis::counts::Groups;
use coverslip_analysis::select;
use coverslip_bundle::Bundle;
use faer::Mat;

use super::count_table::{CountColumn, CountTable};
use super::options::LabelOptions;
use super::{Failure, Outcome};
use crate::embeddings::names::COLOUR;
use crate::embeddings::{EmbeddingSet, SparseFeatures, check_filled};
use crate::findings::reading::Sample;

/// SAE features as a dense table of those that fire at all.
#[derive(Debug, Clone)]
pub(super) struct FeatureTable {
    /// Each column's feature, ascending.
    pub(super) index: Vec<usize>,
    /// \[tiles, columns\]
    pub(super) values: Mat<f64>,
}

impl FeatureTable {
    /// The features of some tiles.
    pub(super) fn of(sparse: &SparseFeatures, rows: &[usize]) -> FeatureTable {
        let mut index: Vec<usize> = rows.iter().flat_map(|&row| sparse.active(row).map(|(index, _)| index)).collect();
        index.sort_unstable();
        index.dedup();
        let mut values = Mat::zeros(rows.len(), index.len());
        for (tile, &row) in rows.iter().enumerate() {
            for (feature, value) in sparse.active(row) {
                if let Ok(column) = index.binary_search(&feature) {
                    values[(tile, column)] = f64::from(value);
                }
            }
        }
        FeatureTable { index, values }
    }
}

/// Labelled tiles, in the labels' order.
#[derive(Debug)]
pub(super) struct Study {
    pub(super) set: EmbeddingSet,
    /// The tiles' rows in the embedding file.
    pub(super) rows: Vec<usize>,
    pub(super) groups: Groups,
    pub(super) counts: Vec<CountColumn>,
}

impl Study {
    /// Opens embeddings and matches the labels with them.
    ///
    /// # Errors
    /// When files cannot be used, labels do not match, or there are fewer than three groups.
    pub(super) fn open(embeddings: &Path, options: &LabelOptions) -> Result<Study, Failure> {
        let set = EmbeddingSet::open(embeddings, &options.slides)?;
        let labels = CountTable::read(&options.path)?;
        let counts = labels.counts(&options.types, &options.group)?;
        let rows = labels.places(set.table())?;
        let of_tiles = set.table().column(&options.group);
        let cells: Vec<String> = match (of_tiles, labels.column(&options.group)) {
            (Some(cells), _) => rows.iter().map(|&row| cells[row].clone()).collect(),
            (None, Some(cells)) => cells,
            (None, None) => {
                let known = set.table().names().join(", ");
                return Err(format!(
                    "--group {}: expected a column of the labels or of the tiles ({known})",
                    options.group
                )
                .into());
            }
        };
        let cut = |cell: &String| match options.cut {
            Some(end) => cell.rsplit_once(end).map_or(cell.clone(), |(group, _)| group.to_owned()),
            None => cell.clone(),
        };
        let cells: Vec<String> = cells.iter().map(cut).collect();
        check_filled(&format!("--group {}", options.group), &cells)?;
        let groups = Groups::new(&cells.iter().map(String::as_str).collect::<Vec<_>>());
        if groups.count() < 3 {
            return Err(format!(
                "{} tiles in {} groups by {}; expected three groups or more: what one image shows may be that image's alone",
                rows.len(),
                groups.count(),
                options.group
            )
            .into());
        }
        Ok(Study { set, rows, groups, counts })
    }

    /// The labelled tiles, under the data set's name.
    pub(super) fn sample(&self, dataset: String) -> Sample {
        Sample { dataset, tiles: self.rows.len(), groups: self.groups.count() }
    }

    /// The counts, \[tiles, types\].
    pub(super) fn y(&self) -> Mat<f64> {
        Mat::from_fn(self.rows.len(), self.counts.len(), |row, column| self.counts[column].values[row])
    }

    /// The labelled tiles' embeddings.
    pub(super) fn embedding(&self, tap: &str) -> Result<Mat<f64>, Failure> {
        Ok(select(self.set.matrix(tap)?.as_ref(), &self.rows))
    }

    /// The labelled tiles' features, where the file has any.
    pub(super) fn features(&self) -> Result<Option<FeatureTable>, Failure> {
        Ok(self.set.features()?.map(|sparse| FeatureTable::of(&sparse, &self.rows)))
    }

    /// Mean red, green and blue of the labelled tiles, where the table has them.
    pub(super) fn colour(&self) -> Result<Option<Mat<f64>>, Failure> {
        let mut channels = Vec::new();
        for name in COLOUR {
            match self.set.table().number(name)? {
                Some(values) if self.rows.iter().all(|&row| values[row].is_finite()) => channels.push(values),
                _ => return Ok(None),
            }
        }
        Ok(Some(Mat::from_fn(self.rows.len(), 3, |tile, channel| channels[channel][self.rows[tile]])))
    }
}

/// Refuses a tap that cannot be the bundle's.
///
/// # Errors
/// Names the tap's width, and the bundle's.
pub(super) fn tap_fits(set: &EmbeddingSet, tap: &str, bundle: &Bundle) -> Outcome {
    let manifest = bundle.manifest();
    if let Some(found) = set.taps().iter().find(|known| known.name == tap) {
        let own = manifest.taps.iter().find(|known| known.name == found.name).map(|own| manifest.tap_width(own));
        if own != Some(found.width) {
            let own = own.map_or("no such tap".into(), |width| format!("{width} values"));
            return Err(format!(
                "--bundle {}: expected the bundle that the embeddings come from, found {own} where their tap {} has {}; \
                 give that bundle, or embed with this one",
                manifest.name, found.name, found.width
            )
            .into());
        }
    }
    Ok(())
}

/// Refuses features that cannot be the bundle's.
///
/// # Errors
/// Names a feature that the bundle's SAE does not have.
pub(super) fn features_fit(set: &EmbeddingSet, bundle: &Bundle) -> Outcome {
    let manifest = bundle.manifest();
    let count = manifest.sae.features();
    let strange = |features: SparseFeatures| features.index.into_iter().find(|index| *index as usize >= count);
    if let Some(index) = set.features()?.and_then(strange) {
        return Err(format!(
            "--bundle {}: expected features below {count} as its SAE has, found feature {index} in the embeddings; give \
             the bundle that they come from, or embed with this one",
            manifest.name
        )
        .into());
    }
    Ok(())
}

/// The tap to look at: stated, the bundle's SAE's, or the only one.
///
/// # Errors
/// When there are several and nothing says which.
pub(super) fn tap(set: &EmbeddingSet, stated: Option<&str>, bundle: Option<&Bundle>) -> Result<String, Failure> {
    let names: Vec<&str> = set.taps().iter().map(|tap| tap.name.as_str()).collect();
    let of_bundle = bundle.map(|bundle| bundle.manifest().sae.tap.as_str());
    let wanted = stated.or(of_bundle).or(if names.len() == 1 { Some(names[0]) } else { None });
    match wanted {
        Some(tap) if names.contains(&tap) => Ok(tap.to_owned()),
        Some(tap) => Err(format!("expected a tap {tap} in the embeddings, found {}", names.join(", ")).into()),
        None => {
            Err(format!("the embeddings have {} taps; say which with --tap: {}", names.len(), names.join(", ")).into())
        }
    }
}
