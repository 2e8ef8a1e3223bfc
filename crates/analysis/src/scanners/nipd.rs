//! nIPD, the normalised integrated performance degradation: which share of what a classifier knows above chance does it
//! lose as its training data tie the biology to the centre? (PyPI `croma`, `croma.downstream.nipd`.)

use crate::undefined::Undefined;

/// The area under (accuracy(V) − accuracy(0)) / (accuracy(0) − chance) over Cramér's V from 0 to 1, by trapezoids: 0 where
/// nothing is lost, −0.5 where the accuracy falls evenly to chance, −1 where it is at chance as soon as V is above 0.
/// `accuracy` is the mean of the trials at each V.
///
/// # Errors
/// Where the classifier that was trained on balanced data is not above chance, or V does not rise from 0 to 1.
pub fn nipd(accuracy: &[f64], association: &[f64], chance: f64) -> Result<f64, Undefined> {
    let ends = (association.first().copied().unwrap_or(f64::NAN), association.last().copied().unwrap_or(f64::NAN));
    let rises = association.windows(2).all(|pair| pair[0] < pair[1]);
    if accuracy.len() != association.len() || !rises || ends.0.abs() > 1e-8 || (ends.1 - 1.0).abs() > 1e-8 {
        return Err(Undefined(format!(
            "nIPD: expected Cram\u{e9}r's V that rises from 0 to 1, found {association:.2?}"
        )));
    }
    let skill = accuracy[0] - chance;
    if skill.is_nan() || skill <= 0.0 {
        return Err(Undefined(format!(
            "nIPD: expected a classifier above chance ({chance:.2}) where biology and centre are balanced, found {:.2}",
            accuracy[0]
        )));
    }
    let lost = |step: usize| (accuracy[step] - accuracy[0]) / skill;
    let trapezoid = |step: usize| 0.5 * (association[step] - association[step - 1]) * (lost(step) + lost(step - 1));
    Ok((1..accuracy.len()).map(trapezoid).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_fall_to_chance_is_a_half_and_no_skill_is_refused() {
        let even = nipd(&[0.9, 0.8, 0.5], &[0.0, 0.25, 1.0], 0.5).unwrap();
        assert!((even + 0.5).abs() < 1e-12, "{even}");
        assert_eq!(nipd(&[0.9, 0.9], &[0.0, 1.0], 0.5).unwrap(), 0.0);
        assert!(nipd(&[0.5, 0.4], &[0.0, 1.0], 0.5).unwrap_err().0.contains("above chance (0.50)"));
        assert!(nipd(&[0.9, 0.8], &[0.0, 0.9], 0.5).unwrap_err().0.contains("from 0 to 1"));
    }
}
