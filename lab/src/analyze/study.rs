//! Embeddings and labels side by side: what every analysis of counts begins with.

use std::path::{Path, PathBuf};

use coverslip_analysis::counts::Groups;
use coverslip_analysis::scanners::select;
use coverslip_bundle::Bundle;
use faer::Mat;

use super::labels::{Counts, Labels};
use super::{Failure, Outcome};
use crate::embeddings::{EmbeddingSet, SparseFeatures};

/// Labels, and which tiles belong together.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct LabelArgs {
    /// Counts: a CSV with a row per tile, named in a column tile, image or slide, and a column per cell type
    #[arg(long, value_name = "CSV")]
    pub(super) labels: PathBuf,
    /// The column, of the embeddings' table or of the labels, whose equal values make a group: tiles of one image,
    /// slide or patient are not independent
    #[arg(long, value_name = "COLUMN", default_value = "slide")]
    pub(super) group: String,
    /// Groups are equal up to the last such character: with _ the tiles img1_a and img1_b are one group
    #[arg(long, value_name = "CHAR")]
    pub(super) cut: Option<char>,
    /// Cell types: columns of the labels [default: all that are numbers]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(super) types: Vec<String>,
    /// What the tiles are called in reports and in the bundle [default: the labels' folder]
    #[arg(long, value_name = "NAME")]
    pub(super) dataset: Option<String>,
}

impl LabelArgs {
    /// The data set's name.
    pub(super) fn name(&self) -> String {
        let folder =
            std::path::absolute(&self.labels).ok().and_then(|path| path.parent()?.file_name().map(|n| n.to_owned()));
        let folder = folder.map(|name| name.to_string_lossy().into_owned());
        self.dataset.clone().or(folder).unwrap_or_else(|| "unnamed".into())
    }
}

/// SAE features as a dense table of those that fire at all.
#[derive(Debug, Clone)]
pub(super) struct Features {
    /// Each column's feature.
    pub(super) index: Vec<usize>,
    /// \[tiles, columns\]
    pub(super) values: Mat<f64>,
}

impl Features {
    /// The features of some tiles.
    pub(super) fn of(sparse: &SparseFeatures, rows: &[usize]) -> Features {
        let pairs = |row: usize| {
            let range = row * sparse.k..(row + 1) * sparse.k;
            sparse.index[range.clone()].iter().zip(&sparse.value[range]).filter(|(_, value)| **value != 0.0)
        };
        let mut index: Vec<usize> = rows.iter().flat_map(|&row| pairs(row).map(|(i, _)| *i as usize)).collect();
        index.sort_unstable();
        index.dedup();
        let mut values = Mat::zeros(rows.len(), index.len());
        for (tile, &row) in rows.iter().enumerate() {
            for (feature, value) in pairs(row) {
                if let Ok(column) = index.binary_search(&(*feature as usize)) {
                    values[(tile, column)] = f64::from(*value);
                }
            }
        }
        Features { index, values }
    }
}

/// Labelled tiles, in the labels' order.
#[derive(Debug)]
pub(super) struct Study {
    pub(super) set: EmbeddingSet,
    /// The tiles' rows in the embedding file.
    pub(super) rows: Vec<usize>,
    pub(super) groups: Groups,
    pub(super) counts: Vec<Counts>,
}

impl Study {
    /// Opens embeddings and matches the labels with them.
    ///
    /// # Errors
    /// When files cannot be used, labels do not match, or there are fewer than three groups.
    pub(super) fn open(embeddings: &Path, args: &LabelArgs) -> Result<Study, Failure> {
        let set = EmbeddingSet::open(embeddings)?;
        let labels = Labels::read(&args.labels)?;
        let counts = labels.counts(&args.types, &args.group)?;
        let rows = labels.places(set.rows())?;
        let of_tiles = set.rows().column(&args.group);
        let cells: Vec<String> = match (of_tiles, labels.column(&args.group)) {
            (Some(cells), _) => rows.iter().map(|&row| cells[row].clone()).collect(),
            (None, Some(cells)) => cells,
            (None, None) => {
                let known = set.rows().names().join(", ");
                return Err(format!(
                    "--group {}: expected a column of the labels or of the tiles ({known})",
                    args.group
                )
                .into());
            }
        };
        let cut = |cell: &String| match args.cut {
            Some(end) => cell.rsplit_once(end).map_or(cell.clone(), |(group, _)| group.to_owned()),
            None => cell.clone(),
        };
        let cells: Vec<String> = cells.iter().map(cut).collect();
        filled(&format!("--group {}", args.group), &cells)?;
        let groups = Groups::new(&cells.iter().map(String::as_str).collect::<Vec<_>>());
        if groups.count() < 3 {
            return Err(format!(
                "{} tiles in {} groups by {}; expected three groups or more: what one image shows may be that image's alone",
                rows.len(),
                groups.count(),
                args.group
            )
            .into());
        }
        Ok(Study { set, rows, groups, counts })
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
    pub(super) fn features(&self) -> Result<Option<Features>, Failure> {
        Ok(self.set.features()?.map(|sparse| Features::of(&sparse, &self.rows)))
    }

    /// Mean red, green and blue of the labelled tiles, where the table has them.
    pub(super) fn colour(&self) -> Result<Option<Mat<f64>>, Failure> {
        let mut channels = Vec::new();
        for name in ["mean_red", "mean_green", "mean_blue"] {
            match self.set.rows().number(name)? {
                Some(values) if self.rows.iter().all(|&row| values[row].is_finite()) => channels.push(values),
                _ => return Ok(None),
            }
        }
        Ok(Some(Mat::from_fn(self.rows.len(), 3, |tile, channel| channels[channel][self.rows[tile]])))
    }
}

/// Whether every row has a value: rows without one would pass for one group.
pub(super) fn filled(place: &str, cells: &[String]) -> Outcome {
    let empty = cells.iter().filter(|cell| cell.trim().is_empty()).count();
    if empty > 0 {
        return Err(format!(
            "{place}: expected a value in every row, found {empty} empty ones of {}; fill them in, or leave the tiles out",
            cells.len()
        )
        .into());
    }
    Ok(())
}

/// Whether a tap of the embeddings can be the bundle's.
///
/// # Errors
/// Names the width that the bundle's has not.
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

/// Whether the features of the embeddings can be the bundle's.
///
/// # Errors
/// Names the feature that its SAE does not have.
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
