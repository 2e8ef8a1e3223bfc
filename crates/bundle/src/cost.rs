//! What a bundle costs to run: parameters and floating-point operations.

use crate::layout;
use crate::manifest::{Architecture, Manifest, SaeArchitecture, Vit};

impl Manifest {
    /// Parameters of the model, including a ViT's final norm.
    pub fn model_parameters(&self) -> u128 {
        layout::model_parameters(self)
    }

    /// Parameters of the SAE.
    pub fn sae_parameters(&self) -> u128 {
        layout::sae_parameters(&self.sae)
    }

    /// Floating-point operations per tile: the matrix products of a plain implementation up to the last tap, with two
    /// operations per multiply-add. Norms, softmax and activations add a few percent. The composed graph needs fewer
    /// where only the class token is read.
    pub fn flops_per_tile(&self) -> u128 {
        let model = match &self.architecture {
            Architecture::Vit(vit) => self.vit_flops(vit),
            Architecture::Onnx(onnx) => u128::from(onnx.flops_per_tile),
        };
        let sae = &self.sae;
        let decoded = match sae.architecture {
            Some(SaeArchitecture::TopK | SaeArchitecture::SignedTopK) => sae.outputs,
            _ => sae.d_sae,
        };
        model + 2 * sae.d_in as u128 * (sae.d_sae + decoded) as u128
    }

    fn vit_flops(&self, a: &Vit) -> u128 {
        let wide = |size: usize| size as u128;
        let (t, d) = (wide(a.tokens(self.side)), wide(a.embed_dim));
        let embed = wide(a.patches(self.side)) * wide(3 * a.patch * a.patch) * d;
        let linear = t * d * (3 * d + d + wide(a.fc1_rows() + a.mlp_dim));
        let attention = 2 * t * t * d;
        let blocks = self.blocks_read();
        2 * (embed + wide(blocks) * (linear + attention))
    }
}

#[cfg(test)]
mod tests {
    use crate::synthetic::{SyntheticSpec, recipe};

    #[test]
    fn a_small_vit_has_the_known_size() {
        let manifest = recipe(&SyntheticSpec::vit_small()).manifest;
        // timm's vit_small_patch16_224 without its classifier: 21.67 M parameters, 4.6 G multiply-adds
        // ("4.61 GMACs" counts attention's products too).
        assert_eq!(manifest.model_parameters(), 21_665_664);
        let sae = manifest.flops_per_tile() - 2 * 768 * (3072 + 32);
        assert!((sae as f64 / 2.0 - 4.6e9).abs() < 0.05e9, "{sae}");
    }
}
