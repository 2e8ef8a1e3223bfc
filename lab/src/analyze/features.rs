//! `coverslip analyze features`: where each feature fires most, how often, how strongly.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use coverslip_analysis::counts::Groups;
use coverslip_bundle::{Bundle, FeatureLabel};

use super::study::{self, FeatureTable};
use super::{Failure, Outcome};
use crate::claim;
use crate::embeddings::names::{IMAGE, PLACE, SCENE, SLIDE, TILE};
use crate::embeddings::{EmbeddingSet, SlideColumn};
use crate::findings::features::{FeatureProfile, FeaturesFindings, TopTile};
use crate::findings::file::Findings;
use crate::findings::reading::Sample;

pub(crate) struct Options {
    pub(crate) embeddings: PathBuf,
    /// The bundle that the embeddings come from.
    pub(crate) bundle: Option<PathBuf>,
    /// The column of the embeddings' table that names the slide.
    pub(crate) slides: SlideColumn,
    /// The column whose equal values make a group.
    pub(crate) group: String,
    /// Top tiles of each feature.
    pub(crate) top: usize,
    pub(crate) dataset: String,
    /// The folder of the findings.
    pub(crate) out: PathBuf,
}

/// Runs the analysis.
///
/// # Errors
/// When files cannot be read or written, or there are no features in them.
pub(crate) fn run(options: &Options, out: &mut dyn Write) -> Outcome {
    let _claim = claim::within(&options.out)?;
    let set = EmbeddingSet::open(&options.embeddings, &options.slides)?;
    let bundle = options.bundle.as_deref().map(Bundle::open).transpose()?;
    if let Some(bundle) = &bundle {
        study::features_fit(&set, bundle)?;
    }
    let found = describe(options, &set, bundle.as_ref())?;
    found.save(&options.out)?;
    Ok(write!(out, "{}", page(&found))?)
}

fn describe(options: &Options, set: &EmbeddingSet, bundle: Option<&Bundle>) -> Result<FeaturesFindings, Failure> {
    let Some(sparse) = set.features()? else {
        return Err("the file has no SAE features; expected embeddings by a bundle that has an SAE".into());
    };
    let cells = set.filled_column(&options.group)?;
    let groups = Groups::new(&cells.iter().map(String::as_str).collect::<Vec<_>>());
    let rows: Vec<usize> = (0..set.len()).collect();
    let features = FeatureTable::of(&sparse, &rows);
    let known = bundle.map(|bundle| &bundle.manifest().sae.labels[..]).unwrap_or_default();
    let labels: BTreeMap<usize, &FeatureLabel> = known.iter().map(|label| (label.index, label)).collect();
    let mut profiles = Vec::with_capacity(features.index.len());
    for (column, &index) in features.index.iter().enumerate() {
        let value = |row: usize| features.values[(row, column)];
        let mut firing: Vec<usize> = rows.iter().copied().filter(|&row| value(row) != 0.0).collect();
        firing.sort_by(|&a, &b| value(b).total_cmp(&value(a)));
        let mut fired: Vec<usize> = firing.iter().map(|&row| groups.of()[row]).collect();
        fired.sort_unstable();
        fired.dedup();
        let at = |place: usize| value(firing[place]);
        let top = spread(&firing, &groups, options.top);
        profiles.push(FeatureProfile {
            index,
            label: labels.get(&index).map(|label| (*label).clone()),
            tiles_firing: firing.len(),
            groups_firing: fired.len(),
            range: [at(firing.len() - 1), at(firing.len() / 2), at(0)],
            top: top.into_iter().map(|row| top_tile(set, &cells[row], row, value(row))).collect::<Result<_, _>>()?,
        });
    }
    profiles.sort_by_key(|feature| (std::cmp::Reverse(feature.tiles_firing), feature.index));
    Ok(FeaturesFindings {
        sample: Sample { dataset: options.dataset.clone(), tiles: rows.len(), groups: groups.count() },
        bundle: bundle.map(|bundle| bundle.manifest().name.clone()),
        features: profiles,
    })
}

/// The strongest tiles, at most two of a group before every group has had its turn: eight neighbours of one slide show
/// that slide, not the feature.
fn spread(firing: &[usize], groups: &Groups, count: usize) -> Vec<usize> {
    let mut taken: BTreeMap<usize, usize> = BTreeMap::new();
    let (mut first, mut rest) = (Vec::new(), Vec::new());
    for &row in firing {
        let of_group = taken.entry(groups.of()[row]).or_default();
        *of_group += 1;
        if *of_group <= 2 { first.push(row) } else { rest.push(row) }
    }
    first.into_iter().chain(rest).take(count).collect()
}

fn top_tile(set: &EmbeddingSet, group: &str, row: usize, value: f64) -> Result<TopTile, Failure> {
    let text = |name: &str| set.table().column(name).map_or(String::new(), |cells| cells[row].clone());
    let number = |name: &str| text(name).parse::<f64>().ok().map(|value| value as i64);
    let place = match PLACE.map(number) {
        [Some(x), Some(y), Some(width), Some(height)] => Some([x, y, width, height]),
        _ => None,
    };
    let image = Some(text(IMAGE)).filter(|image| !image.is_empty()).unwrap_or_else(|| text(SLIDE));
    let scene = number(SCENE).and_then(|scene| u32::try_from(scene).ok());
    Ok(TopTile { value, group: group.to_owned(), image, tile: text(TILE), scene, place })
}

fn page(found: &FeaturesFindings) -> String {
    const SHOWN: usize = 20;
    let mut page = format!(
        "{} features fire on {} tiles of {} groups; the most frequent:\n\n{:>8}{:>8}{:>8}{:>10}{:>10}  label\n",
        found.features.len(),
        found.sample.tiles,
        found.sample.groups,
        "feature",
        "tiles",
        "groups",
        "median",
        "largest"
    );
    for feature in found.features.iter().take(SHOWN) {
        let label = feature.label.as_ref().map_or("", |label| &label.label);
        let label: String = label.chars().take(34).collect();
        let [_, median, largest] = feature.range;
        let _ = writeln!(
            page,
            "{:>8}{:>8}{:>8}{median:>10.3}{largest:>10.3}  {label}",
            feature.index, feature.tiles_firing, feature.groups_firing
        );
    }
    page
}
