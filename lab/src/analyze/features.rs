//! `coverslip analyze features`: where each feature fires most, how often, how strongly.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use coverslip_analysis::counts::Groups;
use coverslip_bundle::{Bundle, FeatureLabel};
use serde::{Deserialize, Serialize};

use super::study::{self, Features};
use super::{Failure, Outcome, save};
use crate::embeddings::EmbeddingSet;

/// Options of `coverslip analyze features`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Embeddings and features of the tiles, from `coverslip embed`
    #[arg(long, value_name = "FILE")]
    embeddings: PathBuf,
    /// The bundle that they come from, for the features' labels
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// The column whose equal values make a group: top tiles come from as many groups as there are
    #[arg(long, value_name = "COLUMN", default_value = "slide")]
    group: String,
    /// Top tiles of each feature
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64))]
    top: u32,
    /// What the tiles are called
    #[arg(long, value_name = "NAME", default_value = "")]
    dataset: String,
    /// The folder to write features.json to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// What `features.json` holds.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct FeaturesReport {
    pub(crate) dataset: String,
    pub(crate) bundle: Option<String>,
    pub(crate) tiles: usize,
    pub(crate) groups: usize,
    /// Features that fire at all, the most frequent first.
    pub(crate) features: Vec<FeatureReport>,
}

/// One feature.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct FeatureReport {
    pub(crate) index: usize,
    pub(crate) label: Option<FeatureLabel>,
    pub(crate) tiles_firing: usize,
    pub(crate) groups_firing: usize,
    /// Least, median and largest value where it fires.
    pub(crate) range: [f64; 3],
    pub(crate) top: Vec<TopTile>,
}

/// A tile on which a feature is strong.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct TopTile {
    pub(crate) value: f64,
    pub(crate) group: String,
    /// The image or slide, and where in it, px: enough to cut the tile out again.
    pub(crate) image: String,
    pub(crate) tile: String,
    pub(crate) place: Option<[i64; 4]>,
}

/// Runs the analysis.
///
/// # Errors
/// When files cannot be read or written, or there are no features in them.
pub(super) fn run(args: &Args, out: &mut dyn Write) -> Outcome {
    let set = EmbeddingSet::open(&args.embeddings)?;
    let bundle = args.bundle.as_deref().map(Bundle::open).transpose()?;
    if let Some(bundle) = &bundle {
        study::features_fit(&set, bundle)?;
    }
    let report = describe(args, &set, bundle.as_ref())?;
    save(&args.out, "features.json", &report)?;
    Ok(write!(out, "{}", page(&report))?)
}

fn describe(args: &Args, set: &EmbeddingSet, bundle: Option<&Bundle>) -> Result<FeaturesReport, Failure> {
    let Some(sparse) = set.features()? else {
        return Err("the file has no SAE features; expected embeddings by a bundle that has an SAE".into());
    };
    let cells = set.rows().column(&args.group);
    let cells =
        cells.ok_or_else(|| format!("--group {}: expected one of {}", args.group, set.rows().names().join(", ")))?;
    study::filled(&format!("--group {}", args.group), cells)?;
    let groups = Groups::new(&cells.iter().map(String::as_str).collect::<Vec<_>>());
    let rows: Vec<usize> = (0..set.len()).collect();
    let features = Features::of(&sparse, &rows);
    let known = bundle.map(|bundle| &bundle.manifest().sae.labels[..]).unwrap_or_default();
    let labels: BTreeMap<usize, &FeatureLabel> = known.iter().map(|label| (label.index, label)).collect();
    let mut reports = Vec::with_capacity(features.index.len());
    for (column, &index) in features.index.iter().enumerate() {
        let value = |row: usize| features.values[(row, column)];
        let mut firing: Vec<usize> = rows.iter().copied().filter(|&row| value(row) != 0.0).collect();
        firing.sort_by(|&a, &b| value(b).total_cmp(&value(a)));
        let mut fired: Vec<usize> = firing.iter().map(|&row| groups.of()[row]).collect();
        fired.sort_unstable();
        fired.dedup();
        let at = |place: usize| value(firing[place]);
        let top = spread(&firing, &groups, args.top as usize);
        reports.push(FeatureReport {
            index,
            label: labels.get(&index).map(|label| (*label).clone()),
            tiles_firing: firing.len(),
            groups_firing: fired.len(),
            range: [at(firing.len() - 1), at(firing.len() / 2), at(0)],
            top: top.into_iter().map(|row| top_tile(set, &cells[row], row, value(row))).collect::<Result<_, _>>()?,
        });
    }
    reports.sort_by_key(|feature| (std::cmp::Reverse(feature.tiles_firing), feature.index));
    Ok(FeaturesReport {
        dataset: args.dataset.clone(),
        bundle: bundle.map(|bundle| bundle.manifest().name.clone()),
        tiles: rows.len(),
        groups: groups.count(),
        features: reports,
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
    let text = |name: &str| set.rows().column(name).map_or(String::new(), |cells| cells[row].clone());
    let number = |name: &str| text(name).parse::<f64>().ok().map(|value| value as i64);
    let place = match ["x", "y", "width", "height"].map(number) {
        [Some(x), Some(y), Some(width), Some(height)] => Some([x, y, width, height]),
        _ => None,
    };
    let image = Some(text("image")).filter(|image| !image.is_empty()).unwrap_or_else(|| text("slide"));
    Ok(TopTile { value, group: group.to_owned(), image, tile: text("tile"), place })
}

fn page(report: &FeaturesReport) -> String {
    const SHOWN: usize = 20;
    let mut page = format!(
        "{} features fire on {} tiles of {} groups; the most frequent:\n\n{:>8}{:>8}{:>8}{:>10}{:>10}  label\n",
        report.features.len(),
        report.tiles,
        report.groups,
        "feature",
        "tiles",
        "groups",
        "median",
        "largest"
    );
    for feature in report.features.iter().take(SHOWN) {
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
