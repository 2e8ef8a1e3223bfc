//! The outputs of a bundle on some tiles, in the form in which engines are compared.

use std::sync::Arc;

use coverslip_bundle::{Bundle, BundleError, Manifest, ReferenceOutputs};

use crate::choice::Choice;
use crate::forward::Lane;
use crate::weights::Model;

/// Runs `tiles`, `[n, side, side, 3]` bytes, on one lane.
///
/// # Errors
/// As [`Model::open`].
pub fn outputs(bundle: &Bundle, choice: impl Into<Choice>, tiles: &[u8]) -> Result<ReferenceOutputs, BundleError> {
    of_model(bundle.manifest(), Model::open(bundle, choice)?, tiles)
}

/// The same of a model that is packed already.
///
/// # Errors
/// `OutOfMemory` when memory is short.
pub fn of_model(manifest: &Manifest, model: Model, tiles: &[u8]) -> Result<ReferenceOutputs, BundleError> {
    let mut lane = Lane::new(&Arc::new(model))?;
    let mut all = ReferenceOutputs { embeddings: vec![Vec::new(); manifest.taps.len()], ..Default::default() };
    for tile in tiles.chunks_exact(3 * manifest.side * manifest.side) {
        let outputs = lane.run(tile);
        let mut rest = outputs.embeddings;
        for (tap, embeddings) in manifest.taps.iter().zip(&mut all.embeddings) {
            let (embedding, others) = rest.split_at(manifest.tap_width(tap));
            embeddings.extend_from_slice(embedding);
            rest = others;
        }
        all.feature_index.extend(outputs.features.iter().map(|feature| feature.index as i32));
        all.feature_value.extend(outputs.features.iter().map(|feature| feature.value));
        all.active_count.push(outputs.active_count as i32);
        all.reconstruction_error.push(outputs.reconstruction_error);
        all.count += 1;
    }
    Ok(all)
}
