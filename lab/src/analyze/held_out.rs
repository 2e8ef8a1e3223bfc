//! How well counts are predicted in groups that had no part in the prediction.

use coverslip_analysis::counts::{HeldOut, Interval, Line, PairSums, Resamples, best_feature, ridge};

use super::Failure;
use super::options::Method;
use super::representation::Representation;
use super::study::Study;
use crate::findings::reading::HeldOutScore;

/// Folds of whole groups, at most: one per group in small studies.
pub(super) const FOLDS: usize = 20;
/// The level of intervals.
pub(super) const LEVEL: f64 = 0.95;

/// Predictions of one cell type.
pub(super) struct Predicted {
    /// From the best column of each fold.
    pub(super) one: HeldOut,
    /// That column's line, by fold; `None` where nothing could be chosen.
    pub(super) lines: Vec<Option<Line>>,
    /// From all columns, by ridge regression.
    pub(super) all: HeldOut,
}

/// Predicts every cell type for groups that are held out.
///
/// # Errors
/// When ridge cannot be fitted.
pub(super) fn predictions(study: &Study, columns: &Representation, method: Method) -> Result<Vec<Predicted>, Failure> {
    let folds = study.groups.folds(FOLDS);
    let fires = columns.firing_by_fold(&study.groups, &folds);
    let all = ridge(columns.values.as_ref(), study.y().as_ref(), &folds)?;
    let predicted = study.counts.iter().zip(all).map(|(counts, all)| {
        let (one, lines) = best_feature(columns.values.as_ref(), &counts.values, &folds, &fires, method.least_groups);
        Predicted { one, lines, all }
    });
    Ok(predicted.collect())
}

/// How good held-out predictions of `y` are, with an interval from resampling the groups they were made for.
pub(super) fn score(
    study: &Study,
    y: &[f64],
    held_out: &HeldOut,
    resamples: &Resamples,
    chosen: Option<(String, usize)>,
) -> HeldOutScore {
    let interval = PairSums::new(&held_out.predicted, y, &study.groups).interval(resamples, LEVEL);
    HeldOutScore {
        r: held_out.r,
        interval: interval.map(ends),
        q2: held_out.q2,
        chosen,
        folds: study.groups.count().min(FOLDS),
    }
}

/// The column that was chosen in most folds, and in how many.
pub(super) fn chosen(columns: &Representation, lines: &[Option<Line>]) -> Option<(String, usize)> {
    let times = |feature: usize| lines.iter().flatten().filter(|line| line.feature == feature).count();
    let most = lines.iter().flatten().map(|line| line.feature).max_by_key(|&feature| times(feature))?;
    Some((columns.columns[most].clone(), times(most)))
}

pub(super) fn ends(interval: Interval) -> [f64; 2] {
    [interval.low, interval.high]
}
