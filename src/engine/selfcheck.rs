//! The self-check: the bundle's reference tiles, run here, against the outputs stored in the bundle.

use std::collections::HashMap;

use coverslip_bundle::ReferenceOutputs;
use coverslip_plugin_abi::Feature;

use super::{Lane, TileOutput};
use crate::error::{Result, error};

/// 1 − cosine of an embedding: float32 on another CPU differs in the last bits only (measured: below 1e-11).
const MAX_COSINE_DISTANCE: f64 = 1e-6;
/// ‖f − f′‖ / ‖f‖ of the SAE's reported features.
const MAX_FEATURE_DISTANCE: f64 = 1e-3;
/// The reconstruction error, relative (or absolute below 1).
const MAX_ERROR_DISTANCE: f64 = 1e-3;

/// Runs the reference tiles, `batch` at a time, and compares. `side` is the model's, `batch` at least 1.
///
/// Gives the largest 1 − cosine; SELF_CHECK_FAILED where an output is too far from its reference.
pub(crate) fn self_check(
    lane: &mut dyn Lane,
    reference: &ReferenceOutputs,
    side: usize,
    batch: usize,
    progress: &mut dyn FnMut(f64) -> Result<()>,
) -> Result<f64> {
    let tiles: Vec<&[u8]> = reference.tiles.chunks_exact(3 * side * side).collect();
    let mut worst = 0f64;
    for (at, group) in tiles.chunks(batch).enumerate() {
        let mut outputs = vec![TileOutput::default(); group.len()];
        lane.run(group, &mut outputs)?;
        for (i, output) in outputs.iter().enumerate() {
            worst = worst.max(compare(output, reference, at * batch + i)?);
        }
        progress((at * batch + group.len()) as f64 / tiles.len() as f64)?;
    }
    Ok(worst)
}

/// One tile; gives its largest 1 − cosine over the taps.
fn compare(output: &TileOutput, reference: &ReferenceOutputs, tile: usize) -> Result<f64> {
    let differs = |what: &str, found: f64, limit: f64| {
        error!(
            SELF_CHECK_FAILED,
            "reference tile {tile}: {what} differs by {found:.2e}, expected at most {limit:.0e}: the engine computes \
             something else than the bundle's author; do not use this machine before `coverslip bundle verify` passes"
        )
    };
    let (mut worst, mut at) = (0f64, 0);
    for stored in &reference.embeddings {
        let width = stored.len() / reference.count;
        let found = &output.embedding[at..at + width];
        let distance = cosine_distance(found, &stored[tile * width..(tile + 1) * width]);
        if !within(distance, MAX_COSINE_DISTANCE) {
            return Err(differs("an embedding's direction", distance, MAX_COSINE_DISTANCE));
        }
        worst = worst.max(distance);
        at += width;
    }
    let k = reference.feature_index.len() / reference.count;
    let stored = (tile * k..(tile + 1) * k)
        .map(|i| Feature { index: reference.feature_index[i] as u32, value: reference.feature_value[i] });
    let distance = feature_distance(&output.features, &stored.filter(|f| f.value != 0.0).collect::<Vec<_>>());
    if !within(distance, MAX_FEATURE_DISTANCE) {
        return Err(differs("the SAE's features", distance, MAX_FEATURE_DISTANCE));
    }
    let expected = f64::from(reference.reconstruction_error[tile]);
    let distance = (f64::from(output.reconstruction_error) - expected).abs() / expected.max(1.0);
    if !within(distance, MAX_ERROR_DISTANCE) {
        return Err(differs("the reconstruction error", distance, MAX_ERROR_DISTANCE));
    }
    Ok(worst)
}

/// Not so for a NaN.
fn within(distance: f64, limit: f64) -> bool {
    distance <= limit
}

/// 1 − cosine, in float64; 0 for two zero vectors, NaN where a value is.
fn cosine_distance(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum::<f64>();
    let norms = (dot(a, a) * dot(b, b)).sqrt();
    if norms == 0.0 {
        return f64::from(u8::from(a != b));
    }
    let distance = 1.0 - dot(a, b) / norms;
    // Not `max`, which would make a NaN a 0.
    if distance < 0.0 { 0.0 } else { distance }
}

/// ‖f − f′‖ / ‖f′‖ over all features but those that tie with the weakest reported one: which of two equal values is
/// cut off is the engine's choice.
fn feature_distance(found: &[Feature], stored: &[Feature]) -> f64 {
    let weakest = stored.iter().map(|f| f.value).fold(f32::INFINITY, f32::min);
    // Signed features may be negative: the margin goes upwards from either side of zero.
    let weakest = weakest + weakest.abs() * 0.001;
    let mut difference: HashMap<u32, f64> = HashMap::new();
    for f in stored.iter().filter(|f| f.value > weakest) {
        *difference.entry(f.index).or_default() += f64::from(f.value);
    }
    let norm = difference.values().map(|v| v * v).sum::<f64>().sqrt();
    let known: Vec<u32> = stored.iter().map(|f| f.index).collect();
    for f in found.iter().filter(|f| f.value > weakest || (f.value.is_nan() && !known.is_empty())) {
        *difference.entry(f.index).or_default() -= f64::from(f.value);
    }
    // Those at the cut are left out on both sides.
    for f in stored.iter().filter(|f| f.value <= weakest) {
        difference.remove(&f.index);
    }
    let distance = difference.values().map(|v| v * v).sum::<f64>().sqrt();
    if norm == 0.0 { distance } else { distance / norm }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(pairs: &[(u32, f32)]) -> Vec<Feature> {
        pairs.iter().map(|&(index, value)| Feature { index, value }).collect()
    }

    #[test]
    fn a_tie_at_the_cut_is_no_difference_but_a_changed_value_is() {
        let stored = features(&[(3, 2.0), (1, 1.0), (7, 0.5)]);
        assert!(feature_distance(&features(&[(3, 2.0), (1, 1.0), (8, 0.5001)]), &stored) < 1e-9);
        assert!(feature_distance(&features(&[(3, 2.0), (2, 1.0), (7, 0.5)]), &stored) > 0.4);
        assert!(feature_distance(&features(&[(3, 2.1), (1, 1.0), (7, 0.5)]), &stored) > 0.04);
    }

    #[test]
    fn nan_is_no_match() {
        assert!(!within(cosine_distance(&[f32::NAN, 1.0], &[1.0, 1.0]), MAX_COSINE_DISTANCE));
        assert_eq!(cosine_distance(&[0.0, 0.0], &[0.0, 0.0]), 0.0);
    }
}
