//! The distance between two engines' outputs for the same tiles, computed in float64.

use std::fmt;

use crate::error::{BundleError, fail};
use crate::manifest::Manifest;
use crate::precision::Precision;
use crate::reference::ReferenceOutputs;

/// Two reported values whose relative difference is at most this are a near tie: engines may report them in either
/// order.
const NEAR_TIE: f64 = 1e-4;

/// Features within this fraction of the weakest reported one count as tied with it: the change that float16 can make to
/// a value. With 32 reported features, one such swap is a fifth of ‖f‖ (seen on a ViT-S/14 whose embeddings agree to
/// 4e-7). `overlap` bounds the number of swaps, and in float32 `index_mismatches` allows none.
const AT_THE_CUT: f64 = 0.05;

/// The distance between expected and found outputs. Each figure is the worst over all tiles, unless it says otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Agreement {
    /// Per tap: its name, and 1 − cosine or half the squared relative difference of the norms, whichever is larger.
    pub embeddings: Vec<(String, f64)>,
    /// ‖Δx‖² of the SAE's embedding, divided by the bundle's mean ‖x−x̄‖².
    pub displacement: f64,
    /// ‖f−f′‖ / ‖f‖ of the reported features, matched by index.
    pub features: f64,
    /// Fraction of the expected features that both engines report, averaged over the tiles.
    pub overlap: f64,
    /// Positions at which the two engines report different features whose values are not a near tie.
    pub index_mismatches: usize,
    /// Absolute difference of the number of active features.
    pub active_count: i64,
    /// |e−e′| / max(e, 1).
    pub reconstruction_error: f64,
}

/// The largest differences at which an engine is accepted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// 1 − cosine of each embedding.
    pub embeddings: f64,
    /// ‖Δx‖² of the SAE's embedding, divided by the bundle's mean ‖x−x̄‖².
    pub displacement: f64,
    /// ‖f−f′‖ / ‖f‖, and the relative difference of the reconstruction error.
    pub features: f64,
    /// Smallest mean overlap of the reported features. 1 requires the same order too, except for near ties.
    pub overlap: f64,
}

impl Tolerance {
    /// Engines that compute in float32 on the machine that made the reference outputs.
    pub const FLOAT32: Tolerance =
        Tolerance { embeddings: 1e-9, displacement: f64::INFINITY, features: 1e-4, overlap: 1.0 };
    /// Engines that compute in float32 on any machine. Processors round differently (measured: embeddings below 1e-11);
    /// this still tells the bundle's model from any other.
    pub const FLOAT32_ANYWHERE: Tolerance =
        Tolerance { embeddings: 1e-6, displacement: f64::INFINITY, features: 1e-3, overlap: 1.0 };
    /// Engines that multiply in float16 (measured on real tiles: embeddings 1.0e-5).
    pub const FLOAT16: Tolerance = Tolerance { embeddings: 1e-4, displacement: 1e-3, features: 0.05, overlap: 0.95 };
    /// Engines that multiply in bfloat16 (measured on real tiles: embeddings 9.7e-5). It has three bits fewer than
    /// float16, so squared distances may be ten times as large and the feature distance √10 times.
    pub(crate) const BFLOAT16: Tolerance =
        Tolerance { embeddings: 1e-3, displacement: 1e-2, features: 0.16, overlap: 0.85 };

    /// Engines that run a bundle's mix of int8, whose fidelity its gate has measured. A wrong kernel gives far more.
    pub const INT8: Tolerance = Tolerance { embeddings: 1e-2, displacement: 5e-2, features: 0.5, overlap: 0.8 };

    /// Tolerance for an engine of this precision that did not make the reference outputs.
    pub fn of(precision: Precision) -> Tolerance {
        match precision {
            Precision::Float32 => Tolerance::FLOAT32_ANYWHERE,
            Precision::Float16 | Precision::Float16Sae => Tolerance::FLOAT16,
            Precision::BFloat16 => Tolerance::BFLOAT16,
        }
    }
}

impl Agreement {
    /// Compares `found` with `expected`. Both must have the manifest's shapes and the same number of tiles.
    ///
    /// # Errors
    /// `Invalid` or `NotFinite` for outputs that fail [`ReferenceOutputs::check`], and for different numbers of tiles.
    pub fn between(
        manifest: &Manifest,
        expected: &ReferenceOutputs,
        found: &ReferenceOutputs,
    ) -> Result<Self, BundleError> {
        expected.check(manifest)?;
        if found.count != expected.count {
            fail!(Invalid, "outputs for {} tiles, expected {}", found.count, expected.count);
        }
        found.check(manifest)?;
        let taps = manifest.taps.iter().zip(expected.embeddings.iter().zip(&found.embeddings));
        let embeddings = taps.map(|(tap, (a, b))| {
            let width = manifest.tap_width(tap);
            let rows = a.chunks_exact(width).zip(b.chunks_exact(width));
            (tap.name.clone(), rows.map(|(a, b)| one_minus_cosine(a, b)).fold(0.0, f64::max))
        });
        let k = manifest.sae.outputs;
        let tile = |outputs: &ReferenceOutputs, i: usize| -> Vec<(i32, f64)> {
            let range = i * k..(i + 1) * k;
            let values = outputs.feature_value[range.clone()].iter().map(|v| f64::from(*v));
            outputs.feature_index[range].iter().copied().zip(values).collect()
        };
        let tiles: Vec<_> = (0..expected.count).map(|i| (tile(expected, i), tile(found, i))).collect();
        let counts = expected.active_count.iter().zip(&found.active_count);
        let errors = expected.reconstruction_error.iter().zip(&found.reconstruction_error);
        Ok(Self {
            embeddings: embeddings.collect(),
            displacement: displacement(manifest, expected, found),
            features: tiles.iter().map(|(a, b)| feature_distance(a, b)).fold(0.0, f64::max),
            overlap: tiles.iter().map(|(a, b)| overlap(a, b)).sum::<f64>() / tiles.len().max(1) as f64,
            index_mismatches: tiles.iter().map(|(a, b)| mismatches(a, b)).sum(),
            active_count: counts.map(|(a, b)| (i64::from(*a) - i64::from(*b)).abs()).max().unwrap_or(0),
            reconstruction_error: errors
                .map(|(a, b)| f64::from((a - b).abs()) / f64::from(a.max(1.0)))
                .fold(0.0, f64::max),
        })
    }

    /// The largest 1 − cosine of all taps.
    pub fn worst_embedding(&self) -> f64 {
        self.embeddings.iter().map(|(_, distance)| *distance).fold(0.0, f64::max)
    }

    /// Whether every figure is within `tolerance`. The number of active features is not compared: a feature of 1e-8 is
    /// active and one of −1e-8 is not.
    pub fn is_within(&self, tolerance: Tolerance) -> bool {
        self.embeddings.iter().all(|(_, distance)| *distance <= tolerance.embeddings)
            && self.displacement <= tolerance.displacement
            && self.features <= tolerance.features
            && self.reconstruction_error <= tolerance.features
            && (self.overlap >= tolerance.overlap || tolerance.overlap >= 1.0)
            && (self.index_mismatches == 0 || tolerance.overlap < 1.0)
    }
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (tap, distance) in &self.embeddings {
            write!(f, "1-cos of {tap} {distance:.1e}, ")?;
        }
        write!(
            f,
            "displacement {:.1e}, features {:.1e} ({:.1} % the same), other indices {}, active count ±{}, \
             reconstruction error {:.1e}",
            self.displacement,
            self.features,
            100.0 * self.overlap,
            self.index_mismatches,
            self.active_count,
            self.reconstruction_error
        )
    }
}

/// 1 − a·b/(‖a‖‖b‖), computed as ½‖a/‖a‖ − b/‖b‖‖² so that small distances keep their digits; or ½(1 − ‖b‖/‖a‖)²
/// if that is larger, because the cosine alone does not see a wrong norm.
fn one_minus_cosine(a: &[f32], b: &[f32]) -> f64 {
    let norm = |v: &[f32]| v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    let (norm_a, norm_b) = (norm(a), norm(b));
    if norm_a == 0.0 || norm_b == 0.0 {
        return if norm_a == norm_b { 0.0 } else { 1.0 };
    }
    let difference = |(x, y): (&f32, &f32)| f64::from(*x) / norm_a - f64::from(*y) / norm_b;
    let direction = a.iter().zip(b).map(difference).map(|d| d * d).sum::<f64>() / 2.0;
    direction.max((1.0 - norm_b / norm_a).powi(2) / 2.0)
}

/// ‖Δx‖² of the SAE's embedding, divided by the bundle's mean ‖x−x̄‖²: the worst tile.
fn displacement(manifest: &Manifest, expected: &ReferenceOutputs, found: &ReferenceOutputs) -> f64 {
    let Some(at) = manifest.taps.iter().position(|tap| tap.name == manifest.sae.tap) else { return 0.0 };
    let width = manifest.sae.d_in.max(1);
    let rows = expected.embeddings[at].chunks_exact(width).zip(found.embeddings[at].chunks_exact(width));
    let square =
        |(a, b): (&[f32], &[f32])| a.iter().zip(b).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum::<f64>();
    rows.map(square).fold(0.0, f64::max) / manifest.sae.reference.mean_square_deviation
}

/// The fraction of `expected`'s active features that `found` reports too; 1 if none is active. Features at the cut
/// count as reported by both: which of them an engine reports is its choice, as in [`feature_distance`].
fn overlap(expected: &[(i32, f64)], found: &[(i32, f64)]) -> f64 {
    let weakest = expected.iter().filter(|(_, v)| *v != 0.0).map(|(_, v)| *v).fold(f64::INFINITY, f64::min);
    let cut = weakest + AT_THE_CUT * weakest.abs();
    let active: Vec<_> = expected.iter().filter(|(_, v)| *v != 0.0).collect();
    let same = |(index, value): &&&(i32, f64)| *value <= cut || found.iter().any(|(i, v)| i == index && *v != 0.0);
    if active.is_empty() { 1.0 } else { active.iter().filter(same).count() as f64 / active.len() as f64 }
}

/// ‖f−f′‖ / ‖f‖ of two sparse vectors. Which of the features that tie at the cut is reported is an engine's choice, so
/// a feature at the cut that only one engine reports does not count.
fn feature_distance(expected: &[(i32, f64)], found: &[(i32, f64)]) -> f64 {
    let active = expected.iter().filter(|(_, v)| *v != 0.0);
    let weakest = active.clone().map(|(_, v)| *v).fold(f64::INFINITY, f64::min);
    let cut = weakest + AT_THE_CUT * weakest.abs();
    let value = |of: &[(i32, f64)], index: i32| of.iter().find(|(i, v)| *i == index && *v != 0.0).map(|(_, v)| *v);
    let mut square = 0.0;
    for (index, a) in active {
        match value(found, *index) {
            Some(b) => square += (a - b).powi(2),
            None if *a > cut => square += a * a,
            None => {}
        }
    }
    // If nothing is active, the cut is infinite and must not excuse any feature.
    for (index, b) in found.iter().filter(|(_, b)| *b != 0.0 && !(*b < cut && cut.is_finite())) {
        if value(expected, *index).is_none() {
            square += b * b;
        }
    }
    let norm = expected.iter().map(|(_, v)| v * v).sum::<f64>().sqrt();
    if norm > 0.0 { square.sqrt() / norm } else { square.sqrt() }
}

/// Positions whose features differ although their values are not a near tie. Zeros have no order.
fn mismatches(expected: &[(i32, f64)], found: &[(i32, f64)]) -> usize {
    let differs = |((i, a), (j, b)): &(&(i32, f64), &(i32, f64))| {
        if i == j || (*a <= 0.0 && *b <= 0.0) {
            return false;
        }
        // In a near tie the feature found here is close by in the expected list, or just below its end.
        let last = expected.last().map_or(0.0, |(_, v)| *v);
        let theirs = expected.iter().find(|(index, _)| index == j).map_or(last, |(_, v)| *v);
        (theirs - a).abs() > NEAR_TIE * a.abs().max(theirs.abs())
    };
    expected.iter().zip(found).filter(differs).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_angles_keep_their_digits() {
        let distance = one_minus_cosine(&[1.0, 0.0], &[1.0, 1e-6]);
        assert!((distance - 5e-13).abs() < 1e-16, "{distance}");
        assert_eq!(one_minus_cosine(&[1.0, 0.0], &[0.0, 2.0]), 1.0);
        assert_eq!(one_minus_cosine(&[1.0, 0.0], &[2.0, 0.0]), 0.5, "the same direction, twice as long");
    }

    #[test]
    fn overlap_is_the_fraction_that_both_report() {
        let expected = [(3, 2.0), (5, 1.5), (7, 1.0), (9, 0.5)];
        assert_eq!(
            overlap(&expected, &[(5, 1.6), (3, 1.4), (7, 1.0), (2, 0.5)]),
            1.0,
            "a feature at the cut is the engine's choice"
        );
        assert_eq!(overlap(&expected, &[(5, 1.6), (4, 1.4), (7, 1.0), (9, 0.5)]), 0.75);
        assert_eq!(overlap(&[(0, 0.0)], &[(4, 1.0)]), 1.0);
    }

    #[test]
    fn only_near_ties_may_swap() {
        let expected = [(3, 2.0), (5, 1.00001), (7, 1.0), (9, 0.0)];
        let swapped = [(3, 2.0), (7, 1.00001), (5, 1.0), (2, 0.0)];
        assert_eq!(mismatches(&expected, &swapped), 0);
        let wrong = [(5, 2.0), (3, 1.00001), (7, 1.0), (9, 0.0)];
        assert_eq!(mismatches(&expected, &wrong), 2);
        assert!(feature_distance(&expected, &swapped) < 1e-4);
        assert!(feature_distance(&expected, &wrong) > 0.5);
    }

    #[test]
    fn ties_at_the_cut_are_the_engines_choice() {
        let expected = [(3, 2.0), (1, 1.0), (7, 0.5)];
        assert!(feature_distance(&expected, &[(3, 2.0), (1, 1.0), (8, 0.5001)]) < 1e-9);
        assert!(feature_distance(&expected, &[(3, 2.0), (2, 1.0), (7, 0.5)]) > 0.4, "another feature");
        assert!(feature_distance(&expected, &[(3, 2.0), (1, 1.0), (7, 0.4)]) > 0.04, "another value at the cut");
        assert!(feature_distance(&[(3, 0.0)], &[(3, 0.5)]) > 0.4, "nothing was active");
        let signed = [(3, 2.0), (1, -1.0)];
        assert!(feature_distance(&signed, &[(3, 2.0), (5, -1.0001)]) < 1e-9);
        assert!(feature_distance(&signed, &[(3, 2.0), (5, -0.5)]) > 0.2);
    }
}
