//! One representation against all cell types.

use coverslip_analysis::counts::{
    Groups, HeldOut, Interval, Line, MaxT, PairSums, Resamples, best_feature, correlations, max_t, ridge, spearman,
    spearman_interval,
};
use coverslip_analysis::random::Random;
use coverslip_analysis::scanners::select;
use faer::Mat;

use super::report::{Association, Reported, RepresentationReport, Shuffled, TypeRow};
use crate::analyze::Failure;
use crate::analyze::representation::Representation;
use crate::analyze::study::Study;

/// Folds of whole groups, at most: one per group in small studies.
pub(in crate::analyze) const FOLDS: usize = 20;
/// The level of intervals.
pub(in crate::analyze) const LEVEL: f64 = 0.95;
/// A discovery has at most this adjusted p.
pub(crate) const ALPHA: f64 = 0.05;

/// How the numbers are got.
#[derive(Debug, Clone, Copy)]
pub(in crate::analyze) struct Method {
    pub(in crate::analyze) least_groups: usize,
    pub(in crate::analyze) permutations: usize,
    pub(in crate::analyze) resamples: usize,
    pub(in crate::analyze) seed: u64,
}

/// A representation's columns that were tested, with everything found out about them.
pub(super) struct Examined {
    tested: Representation,
    r: Mat<f64>,
    test: MaxT,
    resamples: Resamples,
    pub(super) report: RepresentationReport,
}

/// Examines all columns.
pub(super) fn examine(study: &Study, columns: &Representation, method: Method) -> Result<Examined, Failure> {
    let tested = columns.firing_in(method.least_groups);
    if tested.columns.is_empty() {
        return Err(format!(
            "no {} fires in {} groups or more; expected tiles that the SAE knows, or a lower --least-groups",
            columns.name.one(),
            method.least_groups
        )
        .into());
    }
    let y = study.y();
    let r = correlations(tested.values.as_ref(), y.as_ref());
    let (test, tested_rows) = test(study, &tested, &y, method)?;
    let resamples = Resamples::new(study.groups.count(), method.resamples, method.seed);
    let report = RepresentationReport {
        kind: columns.name,
        columns: columns.columns.len(),
        tested: tested.columns.len(),
        tested_tiles: tested_rows.len(),
        tested_groups: sub_groups(&study.groups, &tested_rows).count(),
        critical: test.critical(1.0 - ALPHA),
        discoveries: test.adjusted.col_iter().flat_map(|column| column.iter()).filter(|p| **p <= ALPHA).count(),
        rows: Vec::new(),
    };
    let mut examined = Examined { tested, r, test, resamples, report };
    let predictions = predictions(study, columns, method)?;
    for (t, (one, all)) in predictions.into_iter().enumerate() {
        let best = examined.strongest(t, 1).first().map(|&column| examined.association(study, column, t));
        let counts = &study.counts[t];
        examined.report.rows.push(TypeRow {
            cell_type: counts.name.clone(),
            best,
            one: reported(study, &counts.values, &one.0, &examined.resamples, chosen(columns, &one.1)),
            all: reported(study, &counts.values, &all, &examined.resamples, None),
        });
    }
    Ok(examined)
}

/// Held-out predictions of each cell type: from one column, with the lines that were chosen, and from all by ridge.
pub(in crate::analyze) type Predictions = Vec<((HeldOut, Vec<Option<Line>>), HeldOut)>;

/// Predicts every cell type for groups that are held out.
///
/// # Errors
/// When ridge cannot be fitted.
pub(in crate::analyze) fn predictions(
    study: &Study,
    columns: &Representation,
    method: Method,
) -> Result<Predictions, Failure> {
    let folds = study.groups.folds(FOLDS);
    let fires = columns.firing_by_fold(&study.groups, &folds);
    let all = ridge(columns.values.as_ref(), study.y().as_ref(), &folds)?;
    let one = |values: &[f64]| best_feature(columns.values.as_ref(), values, &folds, &fires, method.least_groups);
    Ok(study.counts.iter().zip(all).map(|(counts, all)| (one(&counts.values), all)).collect())
}

/// The permutation test, on groups of one size.
fn test(study: &Study, tested: &Representation, y: &Mat<f64>, method: Method) -> Result<(MaxT, Vec<usize>), Failure> {
    let rows =
        if study.groups.are_equal() { (0..study.rows.len()).collect() } else { study.groups.equalised(method.seed) };
    let groups = sub_groups(&study.groups, &rows);
    let y = select(y.as_ref(), &rows);
    let test = max_t(tested.rows(&rows).as_ref(), y.as_ref(), &groups, method.permutations, method.seed)?;
    Ok((test, rows))
}

fn sub_groups(groups: &Groups, rows: &[usize]) -> Groups {
    Groups::new(&rows.iter().map(|&row| groups.of()[row]).collect::<Vec<_>>())
}

impl Examined {
    /// The columns with the largest |r| with a cell type.
    pub(super) fn strongest(&self, t: usize, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.tested.columns.len()).collect();
        order.sort_by(|&a, &b| self.r[(b, t)].abs().total_cmp(&self.r[(a, t)].abs()));
        order.truncate(count);
        order
    }

    /// Columns whose adjusted p says that they are more than chance.
    pub(super) fn discoveries(&self, t: usize) -> Vec<usize> {
        (0..self.tested.columns.len()).filter(|&column| self.test.adjusted[(column, t)] <= ALPHA).collect()
    }

    /// All that is known of a column and a cell type, with both intervals.
    pub(super) fn association(&self, study: &Study, column: usize, t: usize) -> Association {
        let (x, y) = (self.tested.column(column), &study.counts[t].values);
        let rank_interval = spearman_interval(&x, y, &study.groups, &self.resamples, LEVEL);
        Association {
            spearman_interval: rank_interval.map(ends),
            interval: PairSums::new(&x, y, &study.groups).interval(&self.resamples, LEVEL).map(ends),
            ..self.quick(study, column, t)
        }
    }

    /// All but the intervals.
    fn quick(&self, study: &Study, column: usize, t: usize) -> Association {
        let (x, y) = (self.tested.column(column), &study.counts[t].values);
        Association {
            column: self.tested.columns[column].clone(),
            cell_type: study.counts[t].name.clone(),
            pearson: self.r[(column, t)],
            interval: None,
            spearman: spearman(&x, y),
            spearman_interval: None,
            p: self.test.adjusted[(column, t)],
            tiles_firing: x.iter().filter(|value| **value != 0.0).count(),
            groups_firing: self.tested.groups_firing[column],
        }
    }

    /// Every tested column with every cell type, with Pearson's interval, cell type by cell type.
    pub(super) fn every(&self, study: &Study) -> impl Iterator<Item = Association> {
        let pairs = (0..study.counts.len()).flat_map(|t| (0..self.tested.columns.len()).map(move |column| (column, t)));
        pairs.map(move |(column, t)| {
            let sums = PairSums::new(&self.tested.column(column), &study.counts[t].values, &study.groups);
            let interval = sums.interval(&self.resamples, LEVEL).map(ends);
            Association { interval, ..self.quick(study, column, t) }
        })
    }

    /// The test again, `tables` times, each time with the counts of whole groups exchanged at random.
    pub(super) fn shuffled(&self, study: &Study, tables: usize, method: Method) -> Result<Shuffled, Failure> {
        let rows = study.groups.equalised(method.seed);
        let groups = sub_groups(&study.groups, &rows);
        let (x, y) = (self.tested.rows(&rows), select(study.y().as_ref(), &rows));
        let mut random = Random::new(method.seed ^ 0x5eed);
        let mut with_discovery = 0;
        for table in 0..tables {
            let mut sources: Vec<usize> = (0..groups.count()).collect();
            random.shuffle(&mut sources);
            let mut from = vec![0; rows.len()];
            for (to, &source) in groups.rows().iter().zip(&sources) {
                to.iter().zip(&groups.rows()[source]).for_each(|(&to, &row)| from[to] = row);
            }
            let exchanged = select(y.as_ref(), &from);
            let seed = method.seed.wrapping_add(table as u64 + 1);
            let test = max_t(x.as_ref(), exchanged.as_ref(), &groups, method.permutations, seed)?;
            let any = test.adjusted.col_iter().any(|column| column.iter().any(|p| *p <= ALPHA));
            with_discovery += usize::from(any);
        }
        Ok(Shuffled { tables, with_discovery })
    }
}

pub(in crate::analyze) fn ends(interval: Interval) -> [f64; 2] {
    [interval.low, interval.high]
}

/// What held-out predictions are worth, with an interval from resampling the groups they were made for.
pub(in crate::analyze) fn reported(
    study: &Study,
    y: &[f64],
    held_out: &HeldOut,
    resamples: &Resamples,
    chosen: Option<(String, usize)>,
) -> Reported {
    let interval = PairSums::new(&held_out.predicted, y, &study.groups).interval(resamples, LEVEL);
    Reported {
        r: held_out.r,
        interval: interval.map(ends),
        q2: held_out.q2,
        chosen,
        folds: study.groups.count().min(FOLDS),
    }
}

/// The column that was chosen in most folds.
pub(in crate::analyze) fn chosen(columns: &Representation, lines: &[Option<Line>]) -> Option<(String, usize)> {
    let times = |feature: usize| lines.iter().flatten().filter(|line| line.feature == feature).count();
    let most = lines.iter().flatten().map(|line| line.feature).max_by_key(|&feature| times(feature))?;
    Some((columns.columns[most].clone(), times(most)))
}
