//! Which label each count would give to a feature, and whether it replicates on groups that had no part in choosing it.

use coverslip_analysis::counts::{Halves, Trial};
use faer::Mat;

use crate::analyze::Failure;
use crate::analyze::options::Method;
use crate::analyze::representation::Representation;
use crate::analyze::study::Study;
use crate::embeddings::names::{COLOUR, HAEMATOXYLIN_AREA};
use crate::findings::counts::{ALPHA, LabelTrial, Replication};

/// Draws the halves from another seed than the permutations.
const HALVES: u64 = 0x4a1f;
/// A label's r must keep this share of itself without any one group.
const KEPT: f64 = 0.5;

/// Tries a label for every count.
///
/// # Errors
/// When the tiles' table cannot be read.
pub(super) fn replication(study: &Study, features: &Representation, method: Method) -> Result<Replication, Failure> {
    let tested = features.firing_in(method.least_groups);
    let (covariates, partial_on) = covariates(study)?;
    let without =
        |why: String| Replication { partial_on: partial_on.clone(), impossible: Some(why), ..Replication::default() };
    if tested.columns.is_empty() {
        return Ok(without("no feature fires in enough groups".into()));
    }
    let halves = match Halves::new(&study.groups, method.seed ^ HALVES) {
        Ok(halves) => halves,
        Err(why) => return Ok(without(why.to_string())),
    };
    let (x, y) = (&tested.values, study.y());
    let trials = halves.trials(x.as_ref(), y.as_ref(), covariates.as_ref(), method.permutations, method.seed)?;
    let [choosing_groups, testing_groups] = halves.groups();
    let trial = |(counts, trial): (&str, &Option<Trial>)| label(counts, trial.as_ref(), &tested);
    Ok(Replication {
        impossible: None,
        choosing_groups,
        testing_groups,
        testing_tiles: halves.rows()[1].len(),
        trials: study.counts.iter().map(|counts| counts.name.as_str()).zip(&trials).map(trial).collect(),
        partial_on,
    })
}

/// What is taken out of features and counts, where the tiles' table has it: mean red, and the area of haematoxylin.
fn covariates(study: &Study) -> Result<(Mat<f64>, Vec<String>), Failure> {
    let (mut columns, mut names) = (Vec::new(), Vec::new());
    for name in [COLOUR[0], HAEMATOXYLIN_AREA] {
        if let Some(values) = study.set.table().number(name)?
            && study.rows.iter().all(|&row| values[row].is_finite())
        {
            columns.push(values);
            names.push(name.to_owned());
        }
    }
    Ok((Mat::from_fn(study.rows.len(), columns.len(), |tile, column| columns[column][study.rows[tile]]), names))
}

fn label(cell_type: &str, trial: Option<&Trial>, tested: &Representation) -> LabelTrial {
    let Some(trial) = trial else {
        let failed = vec!["no feature has a positive r on the choosing half".to_owned()];
        return LabelTrial { cell_type: cell_type.to_owned(), failed, ..LabelTrial::default() };
    };
    let &Trial { column, chosen, r, least, p } = trial;
    let mut failed = Vec::new();
    if r <= 0.0 {
        failed.push(format!("r is {r:.2} on the testing half, expected above 0"));
    }
    if p > ALPHA {
        failed.push(format!("p is {p:.3}, expected {ALPHA} or less"));
    }
    if least < KEPT * r.max(0.0) {
        failed.push(format!("r falls to {least:.2} without one group, expected {KEPT} of itself or more"));
    }
    LabelTrial {
        cell_type: cell_type.to_owned(),
        feature: Some(tested.columns[column].clone()),
        chosen: Some(chosen),
        r: Some(r),
        least: Some(least),
        p: Some(p),
        failed,
    }
}
