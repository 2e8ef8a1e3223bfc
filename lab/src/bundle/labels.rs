//! Feature labels: from what was measured to what the scanner shows.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::path::PathBuf;

use coverslip_bundle::build::relabel;
use coverslip_bundle::{Bundle, FeatureLabel};

use super::request::from_json;
use crate::claim;
use crate::findings::counts::{Association, CountsFindings, sae_digest};
use crate::findings::file::Findings as _;

/// The labels to write, and where.
#[derive(Debug)]
pub(crate) struct LabelRequest {
    pub(crate) bundle: PathBuf,
    /// What `coverslip analyze counts --bundle` wrote.
    pub(crate) counts: Option<PathBuf>,
    /// Features of the counts with an adjusted p of at most this.
    pub(crate) p: f64,
    /// Labels as JSON, which override those of the counts.
    pub(crate) labels: Option<PathBuf>,
    /// The folder of the labelled bundle.
    pub(crate) out: PathBuf,
    pub(crate) force: bool,
}

/// Labels a copy of the bundle.
///
/// # Errors
/// Where there is nothing to write, the counts belong to another SAE, or a bundle cannot be read or written.
pub(crate) fn run(request: &LabelRequest, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let mut labels = BTreeMap::new();
    if let Some(path) = &request.counts {
        let report = CountsFindings::read(path)?;
        check_sae(&report, &Bundle::open(&request.bundle)?)?;
        labels.extend(measured(&report, request.p)?.into_iter().map(|label| (label.index, label)));
    }
    if let Some(path) = &request.labels {
        let own: Vec<FeatureLabel> = from_json(path)?;
        labels.extend(own.into_iter().map(|label| (label.index, label)));
    }
    if labels.is_empty() {
        return Err(
            "nothing to label: expected --labels, or --counts in which a feature is more than chance (--p)".into()
        );
    }
    let count = labels.len();
    let bundle = relabel(&request.bundle, claim::beside(&request.out)?, labels.into_values().collect(), request.force)?;
    writeln!(
        out,
        "{}: {count} features labelled, {} in all",
        request.out.display(),
        bundle.manifest().sae.labels.len()
    )?;
    Ok(writeln!(out, "{}", bundle.digest())?)
}

fn check_sae(report: &CountsFindings, bundle: &Bundle) -> Result<(), Box<dyn Error>> {
    match &report.source.sae_digest {
        Some(digest) if Some(digest) == sae_digest(bundle).as_ref() => Ok(()),
        Some(digest) => Err(format!(
            "the counts were measured on the features of another SAE (sha256 {digest}); expected counts of this bundle"
        )
        .into()),
        None => Err("the counts do not say which SAE numbers the features; run analyze counts with --bundle".into()),
    }
}

/// Labels for the features that are more than chance: the cell type with the largest |r|.
fn measured(report: &CountsFindings, p: f64) -> Result<Vec<FeatureLabel>, Box<dyn Error>> {
    let mut strongest: BTreeMap<usize, &Association> = BTreeMap::new();
    for found in report.features.iter().filter(|found| found.p <= p) {
        let index = found
            .column
            .parse()
            .map_err(|_| format!("expected a feature's index in the counts, found {:?}", found.column))?;
        let place = strongest.entry(index).or_insert(found);
        if found.pearson.abs() > place.pearson.abs() {
            *place = found;
        }
    }
    let label = |(index, found): (usize, &Association)| FeatureLabel {
        index,
        label: if found.pearson < 0.0 { format!("few {}", found.cell_type) } else { found.cell_type.clone() },
        evidence: evidence(report, found),
        cell_type: found.cell_type.clone(),
        correlation: Some(found.pearson),
        tiles: Some(report.tiles as u64),
        dataset: report.source.dataset.clone(),
    };
    Ok(strongest.into_iter().map(label).collect())
}

fn evidence(report: &CountsFindings, found: &Association) -> String {
    let interval = found.interval.map_or(String::new(), |[low, high]| format!(" [{low:.2}, {high:.2}]"));
    format!(
        "Pearson's r {:.2}{interval} with {} on {} tiles of {} groups; fires on {} tiles of {} groups; p {:.4}, adjusted \
         for all features and cell types by permuting whole groups",
        found.pearson, found.cell_type, report.tiles, report.groups, found.tiles_firing, found.groups_firing, found.p
    )
}
