//! An SAE's weights.

use crate::error::BundleError;
use crate::layout;
use crate::manifest::{Sae, SaeArchitecture};
use crate::tensors::TensorFile;

/// An SAE's weights as float32, by SAELens' names.
pub struct SaeWeights<'a> {
    sae: &'a Sae,
    file: &'a TensorFile,
}

impl<'a> SaeWeights<'a> {
    pub fn new(sae: &'a Sae, file: &'a TensorFile) -> Self {
        Self { sae, file }
    }

    /// A tensor as it is stored.
    ///
    /// # Errors
    /// `Missing` or `Invalid` if it is not there or has another shape.
    pub fn get(&self, name: &str) -> Result<Vec<f32>, BundleError> {
        let tensors = layout::sae_tensors(self.sae);
        let shape = tensors.iter().find(|(known, _)| known == name).map(|(_, shape)| &shape[..]);
        self.file.expect(name, shape.unwrap_or_default())?.to_f32()
    }

    /// W_enc `[d_in, d_sae]` and b_enc, times ‖W_dec,i‖ when activations are rescaled.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn encoder(&self) -> Result<(Vec<f32>, Vec<f32>), BundleError> {
        let (mut w_enc, mut b_enc) = (self.get("W_enc")?, self.get("b_enc")?);
        if self.sae.rescale_acts_by_decoder_norm {
            let norms = decoder_norms(&self.get("W_dec")?, self.sae.d_in);
            for row in w_enc.chunks_exact_mut(self.sae.d_sae) {
                scale(row, &norms);
            }
            scale(&mut b_enc, &norms);
        }
        Ok((w_enc, b_enc))
    }

    /// W_dec `[d_sae, d_in]`, divided by ‖W_dec,i‖ when activations are rescaled.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn decoder(&self) -> Result<Vec<f32>, BundleError> {
        let mut w_dec = self.get("W_dec")?;
        if self.sae.rescale_acts_by_decoder_norm {
            let norms = decoder_norms(&w_dec, self.sae.d_in);
            for (row, norm) in w_dec.chunks_exact_mut(self.sae.d_in).zip(norms) {
                // A zero row of W_dec has p·0 = 0 and must decode to 0, not to 0/0.
                let inverse = if norm > 0.0 { 1.0 / norm } else { 0.0 };
                row.iter_mut().for_each(|v| *v = (f64::from(*v) * inverse) as f32);
            }
        }
        Ok(w_dec)
    }

    /// exp(r_mag) of a gated SAE.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn magnitude(&self) -> Result<Vec<f32>, BundleError> {
        debug_assert_eq!(self.sae.architecture, Some(SaeArchitecture::Gated));
        Ok(self.get("r_mag")?.into_iter().map(|r| f64::from(r).exp() as f32).collect())
    }
}

/// ‖W_dec,i‖ of each feature.
fn decoder_norms(w_dec: &[f32], d: usize) -> Vec<f64> {
    let square = |v: &f32| f64::from(*v).powi(2);
    let rows = w_dec.chunks_exact(d);
    rows.map(|row| row.iter().map(square).sum::<f64>().sqrt()).collect()
}

fn scale(values: &mut [f32], factors: &[f64]) {
    for (value, factor) in values.iter_mut().zip(factors) {
        *value = (f64::from(*value) * factor) as f32;
    }
}
