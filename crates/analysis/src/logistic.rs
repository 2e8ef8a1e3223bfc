//! Logistic regression with an L2 penalty: what a probe believes, as a probability.

use faer::prelude::Solve;
use faer::{Col, Mat, MatRef, Side};

use crate::undefined::Undefined;

/// Newton steps at most; a fit that exists takes about ten.
const STEPS: usize = 60;
/// A gradient of this much per row is zero.
const GRADIENT: f64 = 1e-10;
/// Of a sum of losses, as a share of it.
const ROUNDING: f64 = 1e-13;

/// A fitted regression.
#[derive(Debug, Clone, PartialEq)]
pub struct Logistic {
    /// One per column.
    slopes: Vec<f64>,
    intercept: f64,
}

impl Logistic {
    /// Minimises Σ ln(1 + e^(−s z)) + penalty / 2 · ‖slopes‖² with s = 1 where it is true and −1 elsewhere, by Newton's
    /// method. The intercept is not penalised. scikit-learn's `LogisticRegression(C=1 / penalty)`.
    ///
    /// # Errors
    /// Where all rows are of one kind, a value is not finite, or, without a penalty, the columns separate the two kinds.
    pub fn fit(rows: MatRef<'_, f64>, truth: &[bool], penalty: f64) -> Result<Logistic, Undefined> {
        let (n, d) = (rows.nrows(), rows.ncols());
        let positive = truth.iter().filter(|&&is| is).count();
        if positive == 0 || positive == n {
            return Err(Undefined(format!(
                "a logistic regression: expected rows of both kinds, found {positive} of {n} of one"
            )));
        }
        let design = Mat::from_fn(n, d + 1, |row, column| if column < d { rows[(row, column)] } else { 1.0 });
        let penalties = Col::from_fn(d + 1, |column| if column < d { penalty } else { 0.0 });
        let loss = |weights: &Col<f64>, odds: &Col<f64>| {
            let fit: f64 = odds.iter().zip(truth).map(|(&z, &is)| softplus(if is { -z } else { z })).sum();
            fit + 0.5 * weights.iter().zip(penalties.iter()).map(|(w, p)| p * w * w).sum::<f64>()
        };
        let mut weights = Col::<f64>::zeros(d + 1);
        let mut odds = &design * &weights;
        if !odds.iter().all(|z| z.is_finite()) {
            return Err(unbounded());
        }
        let mut now = loss(&weights, &odds);
        for _ in 0..STEPS {
            let chance: Vec<f64> = odds.iter().map(|&z| sigmoid(z)).collect();
            let residual = Col::from_fn(n, |row| chance[row] - f64::from(u8::from(truth[row])));
            let pull = Col::from_fn(d + 1, |column| penalties[column] * weights[column]);
            let gradient = design.transpose() * &residual + pull;
            if gradient.norm_max() <= GRADIENT * n as f64 {
                // Who tells every row rightly without a penalty gains by being surer still.
                let right = odds.iter().zip(truth).all(|(&z, &is)| (z > 0.0) == is);
                let slopes = weights.iter().take(d).copied().collect();
                let bounded = penalty > 0.0 || !right;
                return bounded.then_some(Logistic { slopes, intercept: weights[d] }).ok_or_else(unbounded);
            }
            let root: Vec<f64> = chance.iter().map(|p| (p * (1.0 - p)).sqrt()).collect();
            let weighted = Mat::from_fn(n, d + 1, |row, column| root[row] * design[(row, column)]);
            let mut curvature = weighted.transpose() * &weighted;
            (0..=d).for_each(|column| curvature[(column, column)] += penalties[column]);
            let factor = curvature.llt(Side::Lower).map_err(|_| unbounded())?;
            let step = factor.solve(gradient);
            // Newton's full step can overshoot; half of it, and so on, goes down.
            let lower = (0..40).find_map(|halvings| {
                let share = 0.5_f64.powi(halvings);
                let tried = Col::from_fn(d + 1, |column| weights[column] - share * step[column]);
                let odds = &design * &tried;
                let then = loss(&tried, &odds);
                // Near the bottom the loss only moves by its rounding.
                (then <= now + ROUNDING * now.abs()).then_some((tried, odds, then))
            });
            let Some((tried, tried_odds, then)) = lower else { return Err(unbounded()) };
            (weights, odds, now) = (tried, tried_odds, then);
        }
        Err(unbounded())
    }

    /// The logarithm of the odds of each row; [`sigmoid`] makes a probability of it.
    pub fn log_odds(&self, rows: MatRef<'_, f64>) -> Vec<f64> {
        let of = |row: usize| {
            self.intercept + self.slopes.iter().enumerate().map(|(column, w)| w * rows[(row, column)]).sum::<f64>()
        };
        (0..rows.nrows()).map(of).collect()
    }

    /// The slopes, one per column.
    pub fn slopes(&self) -> &[f64] {
        &self.slopes
    }

    /// What is added to all log-odds.
    pub fn intercept(&self) -> f64 {
        self.intercept
    }
}

/// The probability of log-odds `z`.
pub fn sigmoid(z: f64) -> f64 {
    if z >= 0.0 { 1.0 / (1.0 + (-z).exp()) } else { z.exp() / (1.0 + z.exp()) }
}

/// ln(1 + eᶻ).
pub(crate) fn softplus(z: f64) -> f64 {
    z.max(0.0) + (-z.abs()).exp().ln_1p()
}

fn unbounded() -> Undefined {
    Undefined(
        "a logistic regression: expected finite columns that do not separate the two kinds wholly, found none; its \
         slopes have no bound"
            .into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use faer::mat;

    #[test]
    fn what_has_no_fit_says_so() {
        let rows = mat![[0.0], [1.0], [2.0], [3.0]];
        let error = Logistic::fit(rows.as_ref(), &[true; 4], 1.0).unwrap_err();
        assert!(error.0.contains("4 of 4 of one"), "{error}");
        assert!(Logistic::fit(rows.as_ref(), &[false, false, true, true], 0.0).is_err(), "separated");
        let wide = mat![[f64::NAN], [1.0]];
        assert!(Logistic::fit(wide.as_ref(), &[false, true], 1.0).is_err());
    }

    #[test]
    fn without_columns_it_is_the_share() {
        let rows = Mat::<f64>::zeros(4, 1);
        let fitted = Logistic::fit(rows.as_ref(), &[true, false, false, false], 1.0).unwrap();
        assert!((fitted.log_odds(rows.as_ref())[0] - (1.0_f64 / 3.0).ln()).abs() < 1e-9);
        assert!((sigmoid(-800.0), sigmoid(800.0)) == (0.0, 1.0) && softplus(900.0) == 900.0);
    }
}
