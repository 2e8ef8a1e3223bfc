//! Ways to take the scanner out of embeddings: shift each scanner's mean to the common one, or give each scanner the
//! common covariance too (CORAL: Sun, Feng & Saenko, Return of Frustratingly Easy Domain Adaptation, AAAI 2016).

use faer::{Mat, MatRef, Side};

use super::covariance::{ledoit_wolf, means_by, residuals};
use crate::categories::Categories;
use crate::folds::folds;
use crate::rows::select;
use crate::undefined::Undefined;

/// The moments that are made equal between scanners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Correction {
    /// Means: `x − mean of its scanner + mean of the scanners' means`.
    Centring,
    /// Means and covariances: the residual is whitened by its scanner's covariance and given the pooled one, both
    /// shrunk by Ledoit–Wolf.
    Coral,
}

/// One scanner's affine map, as fitted: `(x − mean) · matrix + target`.
struct Map {
    mean: Vec<f64>,
    matrix: Option<Mat<f64>>,
}

/// Corrected rows, each by maps fitted on other groups (slides): the groups are cut into `most_folds` folds and no row
/// is corrected by statistics that it is part of.
///
/// # Errors
/// Where a scanner has tiles in one group only: there is nothing else to fit on.
pub fn cross_fitted(
    rows: MatRef<'_, f64>,
    scanners: &Categories,
    groups: &Categories,
    correction: Correction,
    most_folds: usize,
    seed: u64,
) -> Result<Mat<f64>, Undefined> {
    let in_groups = scanners.kinds_within(groups);
    if let Some(alone) = in_groups.iter().position(|&count| count < 2) {
        return Err(Undefined(format!(
            "a correction fitted on other slides: expected two slides or more of every scanner, found one of {}",
            scanners.names()[alone]
        )));
    }
    let count = most_folds.min(groups.kinds()).max(2);
    let fold_of = folds(scanners, groups, count, seed);
    let mut corrected = rows.to_owned();
    for fold in 0..count {
        let (test, train): (Vec<usize>, Vec<usize>) = (0..rows.nrows()).partition(|&row| fold_of[row] == fold);
        if test.is_empty() {
            continue;
        }
        let known = scanners.select(&train);
        let (maps, target) = fit(select(rows, &train).as_ref(), &known, correction)?;
        for (code, test_rows) in scanners.select(&test).rows().iter().enumerate() {
            let name = scanners.select(&test).names()[code].clone();
            let place = known.names().iter().position(|known| *known == name).ok_or_else(|| {
                Undefined(format!(
                    "a correction fitted on other slides: expected tiles of {name} outside of each fold, found none. \
                     Give more slides of it"
                ))
            })?;
            let own: Vec<usize> = test_rows.iter().map(|&row| test[row]).collect();
            maps[place].apply(rows, &own, &target, &mut corrected);
        }
    }
    Ok(corrected)
}

fn fit(
    rows: MatRef<'_, f64>,
    scanners: &Categories,
    correction: Correction,
) -> Result<(Vec<Map>, Vec<f64>), Undefined> {
    let means = means_by(rows, scanners);
    let kinds = scanners.kinds() as f64;
    let target = (0..rows.ncols()).map(|column| means.col(column).iter().sum::<f64>() / kinds).collect();
    let left = residuals(rows, scanners);
    let common = match correction {
        Correction::Centring => None,
        Correction::Coral => Some(power(&ledoit_wolf(left.as_ref())?, 0.5)?),
    };
    let by_scanner = scanners.rows();
    let maps = by_scanner.iter().enumerate().map(|(code, own)| {
        let matrix = match &common {
            None => None,
            Some(common) => {
                let own = ledoit_wolf(select(left.as_ref(), own).as_ref())?;
                Some(power(&own, -0.5)? * common)
            }
        };
        Ok(Map { mean: means.row(code).iter().copied().collect(), matrix })
    });
    Ok((maps.collect::<Result<_, Undefined>>()?, target))
}

impl Map {
    fn apply(&self, rows: MatRef<'_, f64>, own: &[usize], target: &[f64], corrected: &mut Mat<f64>) {
        let centred = Mat::from_fn(own.len(), rows.ncols(), |row, c| rows[(own[row], c)] - self.mean[c]);
        let mapped = self.matrix.as_ref().map_or_else(|| centred.clone(), |matrix| &centred * matrix);
        for (column, centre) in target.iter().enumerate() {
            let values = mapped.col_as_slice(column);
            own.iter().zip(values).for_each(|(&row, value)| corrected[(row, column)] = value + centre);
        }
    }
}

/// A symmetric positive matrix to a power.
fn power(matrix: &Mat<f64>, exponent: f64) -> Result<Mat<f64>, Undefined> {
    let eigen = matrix.self_adjoint_eigen(Side::Lower).map_err(|_| {
        Undefined("CORAL: expected a covariance with eigenvalues, found values that are not finite".into())
    })?;
    let (vectors, values) = (eigen.U(), eigen.S().column_vector());
    let floor = values[matrix.nrows() - 1] * 1e-12;
    let scaled = Mat::from_fn(matrix.nrows(), matrix.nrows(), |row, column| {
        vectors[(row, column)] * values[column].max(floor).powf(exponent)
    });
    Ok(scaled * vectors.transpose())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::seeded;
    use rand::RngExt;

    /// Two scanners, 20 groups of 50 rows each; the second adds an offset and doubles the second column.
    fn rows() -> (Mat<f64>, Categories, Categories) {
        let mut random = seeded(11);
        let rows = Mat::from_fn(2000, 3, |row, column| {
            let value = (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
            if row < 1000 { value } else { value * if column == 1 { 2.0 } else { 1.0 } + 5.0 }
        });
        let scanners = Categories::new(&(0..2000).map(|row| if row < 1000 { "a" } else { "b" }).collect::<Vec<_>>());
        (rows, scanners, Categories::new(&(0..2000).map(|row| (row / 50).to_string()).collect::<Vec<_>>()))
    }

    #[test]
    fn centring_moves_means_and_coral_covariances_too() {
        let (rows, scanners, groups) = rows();
        for correction in [Correction::Centring, Correction::Coral] {
            let found = cross_fitted(rows.as_ref(), &scanners, &groups, correction, 5, 1).unwrap();
            let means = means_by(found.as_ref(), &scanners);
            for column in 0..3 {
                assert!((means[(0, column)] - means[(1, column)]).abs() < 0.1, "{correction:?} {means:?}");
                assert!((means[(0, column)] - 2.5).abs() < 0.1, "the common place lies between");
            }
            let variance = |code: usize, column: usize| {
                let own = &scanners.rows()[code];
                own.iter().map(|&row| (found[(row, column)] - means[(code, column)]).powi(2)).sum::<f64>() / 1000.0
            };
            let ratio = variance(1, 1) / variance(0, 1);
            match correction {
                Correction::Centring => assert!((ratio - 4.0).abs() < 0.6, "{ratio}"),
                Correction::Coral => assert!((ratio - 1.0).abs() < 0.1, "{ratio}"),
            }
        }
    }

    #[test]
    fn nobody_is_corrected_by_himself() {
        // One wild group: fitted on others, the rest of its scanner is moved by it, it itself is not.
        let (mut rows, scanners, groups) = rows();
        (0..50).for_each(|row| rows[(row, 0)] += 1000.0);
        let found = cross_fitted(rows.as_ref(), &scanners, &groups, Correction::Centring, 20, 1).unwrap();
        let mean = (0..50).map(|row| found[(row, 0)]).sum::<f64>() / 50.0;
        assert!(mean > 990.0, "{mean}");
    }

    #[test]
    fn one_slide_of_a_scanner_is_too_little() {
        let (rows, scanners, _) = rows();
        let groups =
            Categories::new(&(0..2000).map(|row| if row < 1000 { 0 } else { row }.to_string()).collect::<Vec<_>>());
        let error = cross_fitted(rows.as_ref(), &scanners, &groups, Correction::Centring, 5, 1).unwrap_err();
        assert!(error.0.contains("found one of a"), "{error}");
    }
}
