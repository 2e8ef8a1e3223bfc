//! The self-check: a few tiles and what the graph must put out for them.

use crate::error::{BundleError, fail};
use crate::limits::MAX_REFERENCE_TILES;
use crate::manifest::{Manifest, SaeArchitecture};
use crate::tensors::{Tensor, TensorFile, TensorMap};

/// Tiles and the outputs that belong to them. In [`crate::Bundle::reference`] they are the stored ones;
/// an engine's outputs are written in the same shape (with or without the tiles) to be compared.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReferenceOutputs {
    /// Pixels, R G B, `[count, side, side, 3]`.
    pub tiles: Vec<u8>,
    /// Number of tiles.
    pub count: usize,
    /// One per tap in the manifest's order: `[count, width]`.
    pub embeddings: Vec<Vec<f32>>,
    /// `[count, outputs]`: features, the largest value first.
    pub feature_index: Vec<i32>,
    /// `[count, outputs]`: their values; 0 where fewer are active.
    pub feature_value: Vec<f32>,
    /// `[count]`: active features, of all `d_sae`.
    pub active_count: Vec<i32>,
    /// `[count]`: ‖x−x̂‖² over the bundle's mean ‖x−x̄‖².
    pub reconstruction_error: Vec<f32>,
}

impl ReferenceOutputs {
    /// Adds another batch's outputs (and tiles) behind these.
    pub fn append(&mut self, batch: ReferenceOutputs) {
        self.tiles.extend(batch.tiles);
        self.count += batch.count;
        for (all, batch) in self.embeddings.iter_mut().zip(batch.embeddings) {
            all.extend(batch);
        }
        self.feature_index.extend(batch.feature_index);
        self.feature_value.extend(batch.feature_value);
        self.active_count.extend(batch.active_count);
        self.reconstruction_error.extend(batch.reconstruction_error);
    }

    /// Checks that an engine's outputs have the manifest's shapes and sane values.
    ///
    /// # Errors
    /// `Invalid` or `NotFinite`.
    pub fn check(&self, manifest: &Manifest) -> Result<(), BundleError> {
        let (n, k) = (self.count, manifest.sae.outputs);
        let widths = manifest.taps.iter().map(|tap| manifest.tap_width(tap));
        let shapes = [
            ("feature_index", self.feature_index.len(), n * k),
            ("feature_value", self.feature_value.len(), n * k),
            ("active_count", self.active_count.len(), n),
            ("reconstruction_error", self.reconstruction_error.len(), n),
            ("embeddings", self.embeddings.len(), manifest.taps.len()),
        ];
        let embeddings = self.embeddings.iter().zip(widths);
        let embeddings = embeddings.map(|(e, width)| ("embedding", e.len(), n * width));
        for (name, found, expected) in shapes.into_iter().chain(embeddings) {
            if found != expected {
                fail!(Invalid, "`{name}` has {found} values, expected {expected}");
            }
        }
        let signed = manifest.sae.architecture == Some(SaeArchitecture::SignedTopK);
        let mut floats = self.embeddings.iter().flatten();
        if !floats.all(|v| v.is_finite())
            || !self.feature_value.iter().all(|v| v.is_finite() && (signed || *v >= 0.0))
            || !self.reconstruction_error.iter().all(|v| v.is_finite() && *v >= 0.0)
        {
            fail!(NotFinite, "the outputs have NaN, infinite or (features, error) negative values");
        }
        let features = 0..=manifest.sae.d_sae as i64;
        let indices = self.feature_index.iter().map(|i| i64::from(*i) + 1);
        let counts = self.active_count.iter().map(|c| i64::from(*c));
        if indices.clone().any(|i| i == 0) || !indices.chain(counts).all(|i| features.contains(&i)) {
            fail!(Invalid, "`feature_index` or `active_count` passes the {} features", manifest.sae.d_sae);
        }
        Ok(())
    }
}

/// The reference file's tensors.
pub(crate) fn to_tensors(manifest: &Manifest, outputs: &ReferenceOutputs, mean: &[f32]) -> TensorMap {
    let (n, side, k) = (outputs.count, manifest.side, manifest.sae.outputs);
    let mut tensors = TensorMap::new();
    let mut add = |name: &str, tensor| tensors.insert(name.to_owned(), tensor);
    add("tiles", Tensor::u8(&[n, side, side, 3], &outputs.tiles));
    for (tap, values) in manifest.taps.iter().zip(&outputs.embeddings) {
        let width = manifest.tap_width(tap);
        add(&format!("embedding.{}", tap.name), Tensor::f32(&[n, width], values));
    }
    add("feature_index", Tensor::i32(&[n, k], &outputs.feature_index));
    add("feature_value", Tensor::f32(&[n, k], &outputs.feature_value));
    add("active_count", Tensor::i32(&[n], &outputs.active_count));
    add("reconstruction_error", Tensor::f32(&[n], &outputs.reconstruction_error));
    add("sae.mean", Tensor::f32(&[mean.len()], mean));
    tensors
}

/// Reads the stored outputs.
pub(crate) fn read(manifest: &Manifest, file: &TensorFile) -> Result<ReferenceOutputs, BundleError> {
    let (n, side, k) = (tile_count(file)?, manifest.side, manifest.sae.outputs);
    let mut embeddings = Vec::with_capacity(manifest.taps.len());
    for tap in &manifest.taps {
        let name = format!("embedding.{}", tap.name);
        let stored = file.expect(&name, &[n, manifest.tap_width(tap)])?;
        embeddings.push(stored.to_f32()?);
    }
    Ok(ReferenceOutputs {
        tiles: file.expect("tiles", &[n, side, side, 3])?.to_u8()?,
        count: n,
        embeddings,
        feature_index: file.expect("feature_index", &[n, k])?.to_i32()?,
        feature_value: file.expect("feature_value", &[n, k])?.to_f32()?,
        active_count: file.expect("active_count", &[n])?.to_i32()?,
        reconstruction_error: file.expect("reconstruction_error", &[n])?.to_f32()?,
    })
}

/// Checks the reference file: all tensors there, in shape, finite, and no others.
pub(crate) fn check(manifest: &Manifest, file: &TensorFile) -> Result<(), BundleError> {
    read(manifest, file)?.check(manifest)?;
    file.expect("sae.mean", &[manifest.sae.d_in])?.check_finite()?;
    let fixed = ["tiles", "feature_index", "feature_value", "active_count", "reconstruction_error", "sae.mean"];
    let embedding = |name: &str| {
        let tap = name.strip_prefix("embedding.");
        tap.is_some_and(|tap| manifest.taps.iter().any(|known| known.name == tap))
    };
    if let Some(name) = file.names().find(|n| !fixed.contains(n) && !embedding(n)) {
        fail!(Invalid, "tensor `{name}` is no part of a bundle's reference file");
    }
    Ok(())
}

fn tile_count(file: &TensorFile) -> Result<usize, BundleError> {
    let Some(tiles) = file.get("tiles") else {
        fail!(Missing, "tensor `tiles` is missing");
    };
    let n = tiles.shape.first().copied().unwrap_or(0);
    if n == 0 {
        fail!(Invalid, "tensor `tiles` is empty; a bundle has 1 to {MAX_REFERENCE_TILES}");
    }
    if n > MAX_REFERENCE_TILES {
        fail!(TooLarge, "{n} reference tiles, at most {MAX_REFERENCE_TILES}");
    }
    Ok(n)
}
