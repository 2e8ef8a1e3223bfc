//! What the numbers of a profile can be. Each bound follows from what the number is, with room: a number beyond it was not
//! measured, and would switch its check off or make it score nothing but infinity.

use std::ops::RangeInclusive;

use super::manifest::NovelScale;
use super::{COLOR_VALUES, ColorBaseline, Perturbation};
use coverslip_bundle::{BundleError, fail};

/// Logarithms of optical densities, −5.3 to 0.9, and a white point's optical density, 0 to 2.4.
const COLOR_MEAN: RangeInclusive<f64> = -10.0..=10.0;
/// One over the standard deviation of such a value, given those before it: that is at most 4 in this range, and at least
/// 10⁻³, by what is added to each variance.
const COLOR_SCALE: RangeInclusive<f64> = 0.1..=1e4;
/// No entry of the inverse factor is larger than one over the root of the least eigenvalue, 10⁻⁶.
const COLOR_WHITENING: RangeInclusive<f64> = -1e4..=1e4;
/// A factor between grey levels of two scanners, and a difference of them.
const PERTURBATION_FACTOR: RangeInclusive<f64> = -16.0..=16.0;
const PERTURBATION_OFFSET: RangeInclusive<f64> = -255.0..=255.0;
/// A value of an embedding. With these bounds no distance overflows.
pub(super) const EMBEDDING: RangeInclusive<f64> = -1e9..=1e9;
/// The variance of one. The builder keeps them above 10⁻¹² of the largest.
pub(super) const VARIANCE: RangeInclusive<f64> = 1e-30..=1e18;
/// A value of an axis that is one over a standard deviation long.
pub(super) const SCANNER_AXIS: RangeInclusive<f64> = -1e16..=1e16;
/// A difference in standard deviations.
pub(super) const EFFECT: RangeInclusive<f64> = -1e15..=1e15;
/// A score of any check.
pub(super) const SCORE: RangeInclusive<f64> = -1e30..=1e30;
/// A length in whitened space, and a standard deviation of such lengths.
const LENGTH: RangeInclusive<f64> = 0.0..=1e12;
const LENGTH_SPREAD: RangeInclusive<f64> = 1e-12..=1e12;
/// What a lower triangle has above its diagonal.
const NOTHING: RangeInclusive<f64> = 0.0..=0.0;
/// The squared length of an axis of length 1.
const UNIT: RangeInclusive<f64> = 0.99..=1.01;

/// Refuses values outside of a range.
pub(super) fn within(
    field: &str,
    values: impl IntoIterator<Item = f64>,
    range: &RangeInclusive<f64>,
) -> Result<(), BundleError> {
    for value in values {
        if !value.is_finite() {
            fail!(NotFinite, "`{field}` is not finite");
        }
        if !range.contains(&value) {
            fail!(
                Invalid,
                "`{field}`: expected {} to {}, found {}; build the profile again",
                short(*range.start()),
                short(*range.end()),
                short(value)
            );
        }
    }
    Ok(())
}

/// As [`within`], of many values.
pub(super) fn all_within(field: &str, values: &[f32], range: &RangeInclusive<f64>) -> Result<(), BundleError> {
    within(field, values.iter().copied().map(f64::from), range)
}

/// A number in a few letters.
fn short(value: f64) -> String {
    let plain = value == 0.0 || (1e-3..1e6).contains(&value.abs());
    if plain { value.to_string() } else { format!("{value:e}") }
}

/// Refuses axes, in rows of `width`, that are not of length 1.
pub(super) fn check_axes(field: &str, axes: &[f32], width: usize) -> Result<(), BundleError> {
    let square = |axis: &[f32]| axis.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>();
    within(&format!("{field}, squared length"), axes.chunks_exact(width.max(1)).map(square), &UNIT)
}

/// Refuses a whitening that leaves a direction out, and colours that no pixels have.
pub(super) fn check_color(color: &ColorBaseline) -> Result<(), BundleError> {
    within("color.mean", color.mean, &COLOR_MEAN)?;
    let entries = color.whitening.iter().flatten().copied();
    within("color.whitening", entries, &COLOR_WHITENING)?;
    let places = (0..COLOR_VALUES).flat_map(|row| (row + 1..COLOR_VALUES).map(move |column| (row, column)));
    // A lower triangle is as good as its diagonal: nothing of a tile's colours is lost where none of that is 0.
    let above = places.map(|(row, column)| color.whitening[row][column]);
    within("color.whitening above its diagonal", above, &NOTHING)?;
    within("color.whitening on its diagonal", (0..COLOR_VALUES).map(|at| color.whitening[at][at]), &COLOR_SCALE)
}

/// Refuses a unit of NOVEL that no lengths have.
pub(super) fn check_novel(novel: &NovelScale) -> Result<(), BundleError> {
    all_within("novel.spread", &[novel.spread], &LENGTH_SPREAD)?;
    all_within("novel.middle", &[novel.middle], &LENGTH)
}

/// Refuses a change of colour that is none between two scanners.
pub(super) fn check_perturbation(perturbation: &Perturbation) -> Result<(), BundleError> {
    all_within("perturbation.matrix", perturbation.matrix.as_flattened(), &PERTURBATION_FACTOR)?;
    all_within("perturbation.offset", &perturbation.offset, &PERTURBATION_OFFSET)
}
