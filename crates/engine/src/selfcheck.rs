//! The self-check: the bundle's reference tiles, run here, against the outputs stored in the bundle.

use coverslip_bundle::{Agreement, Manifest, ReferenceOutputs, Tolerance};

use super::{Failure, Lane, TileOutput};
use coverslip_base::error::{Result, error};

/// Runs the reference tiles, `batch` at a time (at least 1), and compares within `tolerance`.
///
/// Gives the largest 1 − cosine; SELF_CHECK_FAILED where an output is too far from its reference.
pub(crate) fn self_check(
    lane: &mut dyn Lane,
    manifest: &Manifest,
    reference: &ReferenceOutputs,
    batch: usize,
    tolerance: Tolerance,
    progress: &mut dyn FnMut(f64) -> Result<()>,
) -> Result<f64, Failure> {
    let tiles: Vec<&[u8]> = reference.tiles.chunks_exact(3 * manifest.side * manifest.side).collect();
    let mut found = ReferenceOutputs { embeddings: vec![Vec::new(); manifest.taps.len()], ..Default::default() };
    for group in tiles.chunks(batch) {
        let mut outputs = vec![TileOutput::default(); group.len()];
        lane.run(group, &mut outputs)?;
        outputs.iter().for_each(|output| append(&mut found, manifest, output));
        progress(found.count as f64 / tiles.len() as f64)?;
    }
    let failed = |what: String| {
        error!(
            SELF_CHECK_FAILED,
            "the reference tiles: {what}: the engine computes something else than the bundle's author; do not use this \
             machine before `coverslip bundle verify` passes"
        )
    };
    let agreement = Agreement::between(manifest, reference, &found).map_err(|e| failed(e.to_string()))?;
    if !agreement.is_within(tolerance) {
        return Err(failed(format!("{agreement}, more than {tolerance:?}")).into());
    }
    Ok(agreement.worst_embedding())
}

/// Appends a tile in the bundle's shape.
fn append(found: &mut ReferenceOutputs, manifest: &Manifest, output: &TileOutput) {
    let mut rest = &output.embedding[..];
    for (tap, all) in manifest.taps.iter().zip(&mut found.embeddings) {
        let (embedding, others) = rest.split_at(manifest.tap_width(tap).min(rest.len()));
        all.extend_from_slice(embedding);
        rest = others;
    }
    for i in 0..manifest.sae.outputs {
        let feature = output.features.get(i).copied().unwrap_or_default();
        found.feature_index.push(feature.index as i32);
        found.feature_value.push(feature.value);
    }
    found.active_count.push(output.active_count as i32);
    found.reconstruction_error.push(output.reconstruction_error);
    found.count += 1;
}
