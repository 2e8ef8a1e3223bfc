//! A vision transformer's weights.

use super::linear::{Linear, Norm, zeroed};
use crate::error::{BundleError, fail};
use crate::layout;
use crate::manifest::{Manifest, Mlp, Pooling, Vit};
use crate::precision::Precision;
use crate::tensors::TensorFile;

/// A ViT's weights as float32, by timm's names.
pub struct VitWeights<'a> {
    manifest: &'a Manifest,
    vit: &'a Vit,
    file: &'a TensorFile,
}

impl<'a> VitWeights<'a> {
    pub fn new(manifest: &'a Manifest, vit: &'a Vit, file: &'a TensorFile) -> Self {
        Self { manifest, vit, file }
    }

    /// Number of blocks that the taps need.
    pub fn depth(&self) -> usize {
        self.manifest.blocks_read()
    }

    /// Whether the taps after block `index`, the last one, read only the class token, so that the block need not
    /// compute others.
    pub fn class_only(&self, index: usize) -> bool {
        let mut taps = self.manifest.taps.iter().filter(|tap| tap.after_block() == Some(index));
        index + 1 == self.depth() && taps.all(|tap| tap.pooling == Pooling::ClassToken)
    }

    /// The weights of a block.
    pub fn block(&self, index: usize) -> BlockWeights<'a> {
        BlockWeights { vit: self.vit, file: self.file, prefix: format!("blocks.{index}.") }
    }

    /// The norm after the last block.
    ///
    /// # Errors
    /// `Missing` if the file does not have it; `OutOfMemory` when memory is short.
    pub fn final_norm(&self) -> Result<Norm, BundleError> {
        norm(self.file, self.vit, "norm")
    }

    /// The patch embedding's weight with the preprocessing folded in, for patches in (row, column, channel) order, and
    /// its bias. The bias is computed from the weights rounded to `precision`, so that rounding does not shift a patch
    /// by its mean colour.
    ///
    /// # Errors
    /// As [`Self::final_norm`].
    pub fn patch_embedding(&self, precision: Precision) -> Result<(Linear, Vec<f64>), BundleError> {
        let (pixels, d) = (self.vit.patch * self.vit.patch, self.vit.embed_dim);
        let stored = self.get("patch_embed.proj.weight")?;
        let mut bias = to_f64(self.get("patch_embed.proj.bias")?);
        let mut weight = zeroed(stored.len())?;
        for (output, row) in stored.chunks_exact(3 * pixels).enumerate() {
            for (channel, plane) in row.chunks_exact(pixels).enumerate() {
                let (mean, std) = (self.manifest.mean[channel], self.manifest.std[channel]);
                for (pixel, value) in plane.iter().enumerate() {
                    let value = precision.round((f64::from(*value) / std / 255.0) as f32);
                    weight[(pixel * 3 + channel) * d + output] = value;
                    bias[output] -= f64::from(value) * 255.0 * mean;
                }
            }
        }
        let linear = Linear { inputs: 3 * pixels, outputs: d, weight, bias: None };
        Ok((linear, bias))
    }

    /// The table `[tokens, embed_dim]` that is added to the tokens: class token, registers, position embedding, and the
    /// patch embedding's bias. As in timm's `_pos_embed`, with `no_embed_class` only the patches have positions,
    /// otherwise class token and registers have them too.
    ///
    /// # Errors
    /// As [`Self::final_norm`].
    pub fn token_table(&self, patch_bias: &[f64]) -> Result<Vec<f32>, BundleError> {
        let (a, d, side) = (self.vit, self.vit.embed_dim, self.manifest.side);
        let mut table = Vec::with_capacity(a.tokens(side) * d);
        if a.class_token {
            table.extend(to_f64(self.get("cls_token")?));
        }
        if a.register_tokens > 0 {
            table.extend(to_f64(self.get("reg_token")?));
        }
        for _ in 0..a.patches(side) {
            table.extend_from_slice(patch_bias);
        }
        let positions = to_f64(self.get("pos_embed")?);
        let uncovered = (a.tokens(side) - layout::position_rows(a, side)) * d;
        for (value, position) in table[uncovered..].iter_mut().zip(positions) {
            *value += position;
        }
        Ok(table.into_iter().map(|value| value as f32).collect())
    }

    fn get(&self, name: &str) -> Result<Vec<f32>, BundleError> {
        get(self.file, name)
    }
}

/// The weights of one block.
pub struct BlockWeights<'a> {
    vit: &'a Vit,
    file: &'a TensorFile,
    prefix: String,
}

impl BlockWeights<'_> {
    /// The norm before attention (`norm1`) or before the MLP (`norm2`).
    ///
    /// # Errors
    /// As [`VitWeights::final_norm`].
    pub fn norm(&self, name: &str) -> Result<Norm, BundleError> {
        norm(self.file, self.vit, &format!("{}{name}", self.prefix))
    }

    /// Queries, keys and values: the fused qkv layer in three, with 1/√(head width) folded into the queries.
    ///
    /// # Errors
    /// As [`VitWeights::final_norm`].
    pub fn qkv(&self) -> Result<[Linear; 3], BundleError> {
        let d = self.vit.embed_dim;
        let weight = self.get("attn.qkv.weight")?;
        let bias = self.find("attn.qkv.bias")?;
        let head_scale = 1.0 / ((d / self.vit.heads) as f64).sqrt();
        let part = |part: usize, scale: f64| {
            let rows = &weight[part * d * d..(part + 1) * d * d];
            let bias = bias.as_ref().map(|bias| &bias[part * d..(part + 1) * d]);
            Linear::from_rows(rows, bias, d, |_| scale)
        };
        Ok([part(0, head_scale)?, part(1, 1.0)?, part(2, 1.0)?])
    }

    /// The projection after attention, with LayerScale folded in.
    ///
    /// # Errors
    /// As [`VitWeights::final_norm`].
    pub fn proj(&self) -> Result<Linear, BundleError> {
        self.scaled("attn.proj", self.vit.embed_dim, "ls1.gamma")
    }

    /// The MLP's first layer; with a gate it is in two: the gate, then the value.
    ///
    /// # Errors
    /// As [`VitWeights::final_norm`].
    pub fn fc1(&self) -> Result<Vec<Linear>, BundleError> {
        let (d, hidden) = (self.vit.embed_dim, self.vit.mlp_dim);
        let weight = self.get("mlp.fc1.weight")?;
        let bias = self.get("mlp.fc1.bias")?;
        let parts = match self.vit.mlp {
            Mlp::Gelu => 1,
            Mlp::SwiGlu => 2,
        };
        let part = |part: usize| {
            let rows = part * hidden..(part + 1) * hidden;
            Linear::from_rows(&weight[rows.start * d..rows.end * d], Some(&bias[rows]), d, |_| 1.0)
        };
        (0..parts).map(part).collect()
    }

    /// The MLP's second layer, with LayerScale folded in.
    ///
    /// # Errors
    /// As [`VitWeights::final_norm`].
    pub fn fc2(&self) -> Result<Linear, BundleError> {
        self.scaled("mlp.fc2", self.vit.mlp_dim, "ls2.gamma")
    }

    fn scaled(&self, name: &str, inputs: usize, gamma: &str) -> Result<Linear, BundleError> {
        let gamma = if self.vit.layer_scale { Some(self.get(gamma)?) } else { None };
        let scale = |output: usize| gamma.as_ref().map_or(1.0, |gamma| f64::from(gamma[output]));
        let weight = self.get(&format!("{name}.weight"))?;
        let bias = self.get(&format!("{name}.bias"))?;
        Linear::from_rows(&weight, Some(&bias), inputs, scale)
    }

    fn find(&self, name: &str) -> Result<Option<Vec<f32>>, BundleError> {
        self.file.get(&format!("{}{name}", self.prefix)).map(|stored| stored.to_f32()).transpose()
    }

    fn get(&self, name: &str) -> Result<Vec<f32>, BundleError> {
        get(self.file, &format!("{}{name}", self.prefix))
    }
}

fn norm(file: &TensorFile, vit: &Vit, name: &str) -> Result<Norm, BundleError> {
    let part = |part: &str| get(file, &format!("{name}.{part}"));
    Ok(Norm { weight: part("weight")?, bias: part("bias")?, eps: vit.layer_norm_eps })
}

/// A tensor whose presence `layout::check_model` has checked.
fn get(file: &TensorFile, name: &str) -> Result<Vec<f32>, BundleError> {
    match file.get(name) {
        Some(stored) => stored.to_f32(),
        None => fail!(Missing, "tensor `{name}` is missing"),
    }
}

fn to_f64(values: Vec<f32>) -> Vec<f64> {
    values.into_iter().map(f64::from).collect()
}
