//! Feature labels: from what was measured to what the scanner shows.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::path::PathBuf;

use coverslip_bundle::build::relabel;
use coverslip_bundle::{Bundle, FeatureLabel, LabelTest};

use super::request::from_json;
use crate::claim;
use crate::findings::counts::{CountsFindings, LabelTrial, Replication, sae_digest};
use crate::findings::file::Findings as _;
use crate::term::plain;

/// The labels to write, and where.
#[derive(Debug)]
pub(crate) struct LabelRequest {
    pub(crate) bundle: PathBuf,
    /// What `coverslip analyze counts --bundle` wrote.
    pub(crate) counts: Option<PathBuf>,
    /// Labels of the counts that replicate with an adjusted p of at most this.
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
    let (mut labels, mut refused, mut left_out) = (BTreeMap::new(), String::new(), Vec::new());
    if let Some(path) = &request.counts {
        let report = CountsFindings::read(path)?;
        check_sae(&report, &Bundle::open(&request.bundle)?)?;
        let measured = measured(&report, request.p)?;
        labels.extend(measured.labels.into_iter().map(|label| (label.index, label)));
        (refused, left_out) = (refusals(&report), measured.left_out);
    }
    if let Some(path) = &request.labels {
        let own: Vec<FeatureLabel> = from_json(path)?;
        expect_once(&own).map_err(|error| format!("{}: {error}", path.display()))?;
        labels.extend(own.into_iter().map(|label| (label.index, label)));
    }
    if labels.is_empty() {
        return Err(format!(
            "nothing to label: expected --labels, or --counts in which a label replicates at --p {}{refused}",
            request.p
        )
        .into());
    }
    let count = labels.len();
    let bundle = relabel(&request.bundle, claim::beside(&request.out)?, labels.into_values().collect(), request.force)?;
    writeln!(
        out,
        "{}: {count} features labelled, {} in all",
        request.out.display(),
        bundle.manifest().sae.labels.len()
    )?;
    left_out.iter().try_for_each(|line| writeln!(out, "{}", plain(line)))?;
    Ok(writeln!(out, "{}", bundle.digest())?)
}

/// Refuses two labels of one feature.
fn expect_once(labels: &[FeatureLabel]) -> Result<(), String> {
    let mut seen = BTreeMap::new();
    for FeatureLabel { index, label, .. } in labels {
        if let Some(other) = seen.insert(index, label) {
            return Err(format!(
                "expected one label for each feature, found `{other}` and `{label}` for the feature {index}; leave one of them \
                 out"
            ));
        }
    }
    Ok(())
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

/// Labels for the features that replicate.
#[derive(Debug)]
struct Measured {
    labels: Vec<FeatureLabel>,
    /// A line for each cell type whose feature has another one's label.
    left_out: Vec<String>,
}

/// Labels for the features that replicate: one for each cell type at most. A feature that two cell types chose has the one
/// with the larger r.
fn measured(report: &CountsFindings, p: f64) -> Result<Measured, Box<dyn Error>> {
    let Some(replication) = &report.replication else {
        return Err(
            "the counts try no labels: expected counts of features by this version; run analyze counts again".into()
        );
    };
    let mut all: BTreeMap<usize, Vec<(f64, FeatureLabel)>> = BTreeMap::new();
    for trial in replication.trials.iter().filter(|trial| trial.failed.is_empty() && trial.p.is_some_and(|it| it <= p))
    {
        let (Some(feature), Some(r)) = (&trial.feature, trial.r) else { continue };
        let index =
            feature.parse().map_err(|_| format!("expected a feature's index in the counts, found {feature:?}"))?;
        let label = FeatureLabel {
            index,
            label: trial.cell_type.clone(),
            evidence: evidence(replication, trial),
            cell_type: trial.cell_type.clone(),
            correlation: Some(r),
            tiles: Some(replication.testing_tiles as u64),
            dataset: report.source.dataset.clone(),
            tested: trial.p.map(|p_value| LabelTest {
                partial_correlation: (!replication.partial_on.is_empty()).then_some(r),
                p_value,
                groups: replication.testing_groups as u64,
            }),
        };
        all.entry(index).or_default().push((r, label));
    }
    let mut measured = Measured { labels: Vec::new(), left_out: Vec::new() };
    for mut labels in all.into_values() {
        labels.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let mut labels = labels.into_iter();
        let Some((best_r, best)) = labels.next() else { continue };
        let line = |(r, label): (f64, FeatureLabel)| {
            format!(
                "feature {}: {} (r {best_r:.2}), not {} (r {r:.2}); a feature has one label",
                best.index, best.label, label.label
            )
        };
        measured.left_out.extend(labels.map(line));
        measured.labels.push(best);
    }
    Ok(measured)
}

/// What each cell type's label did not pass, for the end of a sentence.
fn refusals(report: &CountsFindings) -> String {
    let Some(replication) = &report.replication else { return String::new() };
    let failed = |trial: &LabelTrial| format!("; {}: {}", trial.cell_type, trial.failed.join(" and "));
    let trials = replication.trials.iter().filter(|trial| !trial.failed.is_empty()).map(failed);
    replication.impossible.iter().map(|why| format!("; {why}")).chain(trials).collect()
}

fn evidence(replication: &Replication, trial: &LabelTrial) -> String {
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
    let partial = match &replication.partial_on[..] {
        [] => String::new(),
        names => format!(" given {}", names.join(" and ")),
    };
    format!(
        "Pearson's r {} with {}{partial} on {} tiles of {} groups that had no part in choosing it (on {} others), {} or more \
         without any one group; p {:.4}, adjusted for features and cell types by permuting whole groups",
        number(trial.r),
        trial.cell_type,
        replication.testing_tiles,
        replication.testing_groups,
        replication.choosing_groups,
        number(trial.least),
        trial.p.unwrap_or(1.0)
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report(replication: serde_json::Value) -> CountsFindings {
        serde_json::from_value(json!({
            "source": { "dataset": "here", "embeddings": "e", "labels": "l", "tap": "last", "bundle": "model",
                "sae_digest": null, "grouped_by": "image" },
            "tiles": 96, "groups": 24, "group_sizes": [4, 4, 4], "least_groups": 3, "permutations": 999, "resamples": 200,
            "cell_types": [], "representations": [], "features": [], "shuffled": null, "replication": replication,
        }))
        .unwrap()
    }

    #[test]
    fn only_what_replicates_is_written_and_the_rest_is_said() {
        let trial = |cell: &str, feature: &str, r: f64, p: f64, failed: &[&str]| json!({ "cell_type": cell, "feature": feature, "chosen": 0.8, "r": r, "least": r / 2.0, "p": p, "failed": failed });
        let found =
            report(json!({ "impossible": null, "choosing_groups": 12, "testing_groups": 12, "testing_tiles": 48,
            "partial_on": ["mean_red"], "trials": [
                trial("lymphocytes", "5", 0.7, 0.002, &[]),
                trial("plasma cells", "5", 0.5, 0.003, &[]),
                trial("tumour", "7", 0.6, 0.04, &[]),
                trial("stroma", "9", -0.1, 0.9, &["r is -0.10"]),
            ] }));
        let Measured { labels, left_out } = measured(&found, 0.01).unwrap();
        let [label] = &labels[..] else { panic!("{labels:?}") };
        let line = "feature 5: lymphocytes (r 0.70), not plasma cells (r 0.50); a feature has one label";
        assert_eq!(left_out, [line]);
        assert_eq!((label.index, label.label.as_str(), label.tiles), (5, "lymphocytes", Some(48)));
        assert_eq!(label.tested, Some(LabelTest { partial_correlation: Some(0.7), p_value: 0.002, groups: 12 }));
        for part in
            ["r 0.70 with lymphocytes given mean_red", "48 tiles of 12 groups", "0.35 or more without any one group"]
        {
            assert!(label.evidence.contains(part), "{}", label.evidence);
        }
        assert_eq!(measured(&found, 0.05).unwrap().labels.len(), 2);
        assert_eq!(refusals(&found), "; stroma: r is -0.10");
        // The report of an earlier version, and too few groups.
        assert!(measured(&report(json!(null)), 0.05).unwrap_err().to_string().contains("run analyze counts again"));
        let few =
            report(json!({ "impossible": "found 12", "choosing_groups": 0, "testing_groups": 0, "testing_tiles": 0,
            "partial_on": [], "trials": [] }));
        assert!(measured(&few, 0.05).unwrap().labels.is_empty() && refusals(&few) == "; found 12");
    }

    #[test]
    fn two_labels_of_one_feature_are_refused_by_their_names() {
        let labels = |indices: [usize; 2]| -> Vec<FeatureLabel> {
            let label = |index: usize, label: &str| json!({ "index": index, "label": label });
            serde_json::from_value(json!([label(indices[0], "stroma"), label(indices[1], "tumour")])).unwrap()
        };
        expect_once(&labels([3, 4])).unwrap();
        let refused = expect_once(&labels([3, 3])).unwrap_err();
        assert!(refused.contains("found `stroma` and `tumour` for the feature 3"), "{refused}");
    }
}
