//! One representation against all cell types.

use coverslip_analysis::counts::{Groups, MaxT, PairSums, Resamples, correlations, max_t, spearman, spearman_interval};
use coverslip_analysis::random::Random;
use coverslip_analysis::select;
use faer::Mat;

use crate::analyze::Failure;
use crate::analyze::held_out::{LEVEL, chosen, ends, predictions, score};
use crate::analyze::options::Method;
use crate::analyze::representation::Representation;
use crate::analyze::study::Study;
use crate::findings::counts::{ALPHA, Association, RepresentationFindings, Shuffled, TypeRow};

/// A representation's tested columns, with everything that was found out about them.
pub(super) struct Examined {
    tested: Representation,
    r: Mat<f64>,
    test: MaxT,
    resamples: Resamples,
    pub(super) findings: RepresentationFindings,
}

/// Examines all columns.
pub(super) fn examine(study: &Study, columns: &Representation, method: Method) -> Result<Examined, Failure> {
    let tested = columns.firing_in(method.least_groups);
    if tested.columns.is_empty() {
        return Err(format!(
            "no {} fires in {} groups or more; expected tiles that the SAE knows, or a lower --least-groups",
            columns.kind.one(),
            method.least_groups
        )
        .into());
    }
    let y = study.y();
    let r = correlations(tested.values.as_ref(), y.as_ref());
    let (test, tested_rows) = test(study, &tested, &y, method)?;
    let resamples = Resamples::new(study.groups.count(), method.resamples, method.seed);
    let findings = RepresentationFindings {
        kind: columns.kind,
        columns: columns.columns.len(),
        tested: tested.columns.len(),
        tested_tiles: tested_rows.len(),
        tested_groups: sub_groups(&study.groups, &tested_rows).count(),
        critical: test.critical(1.0 - ALPHA),
        discoveries: test.adjusted.col_iter().flat_map(|column| column.iter()).filter(|p| **p <= ALPHA).count(),
        rows: Vec::new(),
    };
    let mut examined = Examined { tested, r, test, resamples, findings };
    let predictions = predictions(study, columns, method)?;
    for (t, of) in predictions.into_iter().enumerate() {
        let best = examined.strongest(t, 1).first().map(|&column| examined.association(study, column, t));
        let counts = &study.counts[t];
        examined.findings.rows.push(TypeRow {
            cell_type: counts.name.clone(),
            best,
            one: score(study, &counts.values, &of.one, &examined.resamples, chosen(columns, &of.lines)),
            all: score(study, &counts.values, &of.all, &examined.resamples, None),
        });
    }
    Ok(examined)
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
