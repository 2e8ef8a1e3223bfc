//! The vision transformer, as timm's `VisionTransformer` computes it in evaluation mode.

use super::composed::ComposedGraph;
use super::graph::{Graph, Linear, Norm};
use crate::error::BundleError;
use crate::layout;
use crate::manifest::{Manifest, Mlp, Pooling, Tap, Vit};
use crate::onnx::Attribute;
use crate::precision::Precision;
use crate::tensors::TensorFile;

/// Weights by timm's names, as float32.
pub(super) struct Weights<'a> {
    file: &'a TensorFile,
    prefix: String,
    eps: f64,
}

impl<'a> Weights<'a> {
    pub(super) fn new(vit: &Vit, file: &'a TensorFile) -> Self {
        Self { file, prefix: String::new(), eps: vit.layer_norm_eps }
    }

    fn block(&self, index: usize) -> Self {
        Self { file: self.file, prefix: format!("blocks.{index}."), eps: self.eps }
    }

    fn find(&self, name: &str) -> Result<Option<Vec<f32>>, BundleError> {
        let stored = self.file.get(&format!("{}{name}", self.prefix));
        stored.map(|stored| stored.to_f32()).transpose()
    }

    /// A tensor that `layout::check_model` saw; a missing one would be that check's fault.
    fn get(&self, name: &str) -> Result<Vec<f32>, BundleError> {
        let missing = || {
            crate::error::BundleError::new(
                crate::error::BundleErrorKind::Missing,
                format!("tensor `{}{name}` is missing", self.prefix),
            )
        };
        self.find(name)?.ok_or_else(missing)
    }

    pub(super) fn norm(&self, name: &str) -> Result<Norm, BundleError> {
        Ok(Norm {
            weight: self.get(&format!("{name}.weight"))?,
            bias: self.get(&format!("{name}.bias"))?,
            eps: self.eps,
        })
    }

    /// A linear layer with LayerScale (`gamma`) folded into it.
    fn linear(&self, name: &str, inputs: usize, gamma: Option<&str>) -> Result<Linear, BundleError> {
        let gamma = gamma.map(|gamma| self.get(gamma)).transpose()?;
        let scale = |output: usize| gamma.as_ref().map_or(1.0, |gamma| f64::from(gamma[output]));
        let weight = self.get(&format!("{name}.weight"))?;
        let bias = self.get(&format!("{name}.bias"))?;
        Ok(Linear::from_rows(&weight, Some(&bias), inputs, scale))
    }
}

/// Writes the model up to the last tap. Returns the tokens after each block, by its index.
pub(super) fn compose(
    graph: &mut Graph,
    manifest: &Manifest,
    vit: &Vit,
    file: &TensorFile,
) -> Result<Vec<String>, BundleError> {
    let weights = Weights::new(vit, file);
    let mut tokens = embed(graph, manifest, vit, &weights)?;
    let depth = composed_depth(&manifest.taps);
    let mut after_block = Vec::with_capacity(depth);
    for index in 0..depth {
        let block = Block {
            vit,
            tokens: vit.tokens(manifest.side),
            weights: weights.block(index),
            name: format!("block{index}"),
            class_only: index + 1 == depth && only_class_is_read(manifest, index),
        };
        tokens = block.compose(graph, &tokens)?;
        after_block.push(tokens.clone());
    }
    Ok(after_block)
}

/// Whether every tap after block `index` reads the class token alone: then the block computes no other.
fn only_class_is_read(manifest: &Manifest, index: usize) -> bool {
    let mut taps = manifest.taps.iter().filter(|tap: &&Tap| tap.after_block() == Some(index));
    taps.all(|tap| tap.pooling == Pooling::ClassToken)
}

/// Pixels to tokens: `[B, side, side, 3]` u8 to `[B, tokens, embed_dim]`.
///
/// The strided convolution is a matrix product of flattened patches in (row, column, channel) order, so
/// the pixels' own layout is kept. The preprocessing (p/255 − mean)/std is folded into its weights; a pixel is
/// exact in every precision.
fn embed(graph: &mut Graph, manifest: &Manifest, a: &Vit, weights: &Weights) -> Result<String, BundleError> {
    let (patch, grid, d) = (a.patch as i64, (manifest.side / a.patch) as i64, a.embed_dim);
    let pixels = graph.narrow("pixels.float", ComposedGraph::PIXELS);
    let rows = graph.reshape("patches.rows", &pixels, &[-1, grid, patch, grid, patch * 3]);
    let patches = graph.transpose("patches.grid", &rows, &[0, 1, 3, 2, 4]);
    let flat = graph.reshape("patches", &patches, &[-1, grid * grid, patch * patch * 3]);
    let (linear, bias) = patch_embedding(manifest, a, weights, graph.precision())?;
    let mut tokens = graph.linear("patch_embed", &flat, &linear)?;
    tokens = graph.widened(&tokens);
    let prefix = a.prefix_tokens();
    if prefix > 0 {
        // Zero rows for class token and registers; the table below adds what they are.
        let pads = graph.ints("tokens.pads", &[0, prefix as i64, 0, 0, 0, 0]);
        tokens = graph.op("tokens.padded", "Pad", &[&tokens, &pads]);
    }
    let table = token_table(a, manifest.side, weights, &bias)?;
    let table = graph.floats("tokens.table", &[1, a.tokens(manifest.side), d], &table);
    Ok(graph.op("tokens", "Add", &[&tokens, &table]))
}

/// The patch embedding's weight with the preprocessing folded in, and its bias: from the weights as `precision` rounds
/// them, so that rounding does not shift a patch by its mean colour.
fn patch_embedding(
    manifest: &Manifest,
    a: &Vit,
    weights: &Weights,
    precision: Precision,
) -> Result<(Linear, Vec<f64>), BundleError> {
    let (pixels, d) = (a.patch * a.patch, a.embed_dim);
    let stored = weights.get("patch_embed.proj.weight")?;
    let mut bias: Vec<f64> = to_f64(weights.get("patch_embed.proj.bias")?);
    let mut weight = vec![0.0; stored.len()];
    for (output, row) in stored.chunks_exact(3 * pixels).enumerate() {
        for (channel, plane) in row.chunks_exact(pixels).enumerate() {
            let (mean, std) = (manifest.mean[channel], manifest.std[channel]);
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

/// What is added to the tokens `[tokens, embed_dim]`: class token, registers, position embedding, and
/// the patch embedding's bias. timm's `_pos_embed`: with `no_embed_class` the positions are the patches'
/// alone, else they cover class token and registers too.
fn token_table(a: &Vit, side: usize, weights: &Weights, patch_bias: &[f64]) -> Result<Vec<f32>, BundleError> {
    let d = a.embed_dim;
    let mut table = Vec::with_capacity(a.tokens(side) * d);
    if a.class_token {
        table.extend(to_f64(weights.get("cls_token")?));
    }
    if a.register_tokens > 0 {
        table.extend(to_f64(weights.get("reg_token")?));
    }
    for _ in 0..a.patches(side) {
        table.extend_from_slice(patch_bias);
    }
    let positions = to_f64(weights.get("pos_embed")?);
    let uncovered = (a.tokens(side) - layout::position_rows(a, side)) * d;
    for (value, position) in table[uncovered..].iter_mut().zip(positions) {
        *value += position;
    }
    Ok(table.into_iter().map(|value| value as f32).collect())
}

fn to_f64(values: Vec<f32>) -> Vec<f64> {
    values.into_iter().map(f64::from).collect()
}

/// One pre-norm block: x + ls1·attn(norm1 x), then x + ls2·mlp(norm2 x).
///
/// The stream x is float32 from the patches to the taps: in deep models single values of it grow to thousands while the
/// rest stays near one, which is beyond what float16 resolves and near what it holds. (A PyTorch model under autocast
/// has it so too.) The norms read it as it is; what is narrow begins behind them and ends before the sums.
struct Block<'a> {
    vit: &'a Vit,
    /// Tokens of a tile.
    tokens: usize,
    weights: Weights<'a>,
    name: String,
    /// Only the class token leaves the block; the other tokens serve as keys and values.
    class_only: bool,
}

impl Block<'_> {
    fn compose(&self, graph: &mut Graph, tokens: &str) -> Result<String, BundleError> {
        let at = |part: &str| format!("{}.{part}", self.name);
        let a = self.vit;
        let normed = graph.layer_norm(&at("norm1"), tokens, &self.weights.norm("norm1")?);
        let normed = graph.narrowed(&normed);
        let attended = self.attention(graph, &normed)?;
        let tokens = self.read_tokens(graph, "residual", tokens);
        let gamma = |name| a.layer_scale.then_some(name);
        let proj = self.weights.linear("attn.proj", a.embed_dim, gamma("ls1.gamma"))?;
        let branch = graph.linear(&at("attn.proj"), &attended, &proj)?;
        let branch = graph.widened(&branch);
        let tokens = graph.op(&at("attn.sum"), "Add", &[&tokens, &branch]);

        let normed = graph.layer_norm(&at("norm2"), &tokens, &self.weights.norm("norm2")?);
        let normed = graph.narrowed(&normed);
        let active = match a.mlp {
            Mlp::Gelu => self.gelu(graph, &normed)?,
            Mlp::SwiGlu => self.swiglu(graph, &normed)?,
        };
        let fc2 = self.weights.linear("mlp.fc2", a.mlp_dim, gamma("ls2.gamma"))?;
        let branch = graph.linear(&at("mlp.fc2"), &active, &fc2)?;
        let branch = graph.widened(&branch);
        Ok(graph.op(&at("out"), "Add", &[&tokens, &branch]))
    }

    /// GELU(fc1 x).
    fn gelu(&self, graph: &mut Graph, normed: &str) -> Result<String, BundleError> {
        let at = |part: &str| format!("{}.mlp.{part}", self.name);
        let fc1 = self.weights.linear("mlp.fc1", self.vit.embed_dim, None)?;
        let hidden = graph.linear(&at("fc1"), normed, &fc1)?;
        let exact = ("approximate", Attribute::Text("none"));
        Ok(graph.op_with(&at("gelu"), "Gelu", &[&hidden], &[exact]))
    }

    /// SiLU(g)·v, g and v from separate products: no copies of a split.
    fn swiglu(&self, graph: &mut Graph, normed: &str) -> Result<String, BundleError> {
        let at = |part: &str| format!("{}.mlp.{part}", self.name);
        let (d, hidden) = (self.vit.embed_dim, self.vit.mlp_dim);
        let weight = self.weights.get("mlp.fc1.weight")?;
        let bias = self.weights.get("mlp.fc1.bias")?;
        let half = |part: usize| {
            let rows = part * hidden..(part + 1) * hidden;
            Linear::from_rows(&weight[rows.start * d..rows.end * d], Some(&bias[rows]), d, |_| 1.0)
        };
        let gate = graph.linear(&at("gate"), normed, &half(0))?;
        let value = graph.linear(&at("value"), normed, &half(1))?;
        let sigmoid = graph.op(&at("sigmoid"), "Sigmoid", &[&gate]);
        let silu = graph.op(&at("silu"), "Mul", &[&gate, &sigmoid]);
        Ok(graph.op(&at("gated"), "Mul", &[&silu, &value]))
    }

    /// softmax(q·kᵀ/√w)·v per head of width w. Queries, keys and values come from separate products:
    /// that saves the copies of a split, and head-major order is only a view for the products.
    fn attention(&self, graph: &mut Graph, normed: &str) -> Result<String, BundleError> {
        let at = |part: &str| format!("{}.attn.{part}", self.name);
        let a = self.vit;
        let (heads, width) = (a.heads as i64, (a.embed_dim / a.heads) as i64);
        let tokens = self.tokens as i64;
        let queries = if self.class_only { 1 } else { tokens };
        let [q, k, v] = self.qkv()?;
        let asking = self.read_tokens(graph, "asking", normed);
        let q = graph.linear(&at("q"), &asking, &q)?;
        let k = graph.linear(&at("k"), normed, &k)?;
        let v = graph.linear(&at("v"), normed, &v)?;
        let q = graph.reshape(&at("q.heads"), &q, &[-1, queries, heads, width]);
        let k = graph.reshape(&at("k.heads"), &k, &[-1, tokens, heads, width]);
        let v = graph.reshape(&at("v.heads"), &v, &[-1, tokens, heads, width]);
        let q = graph.transpose(&at("q.major"), &q, &[0, 2, 1, 3]);
        let k = graph.transpose(&at("k.major"), &k, &[0, 2, 3, 1]);
        let v = graph.transpose(&at("v.major"), &v, &[0, 2, 1, 3]);
        let scores = graph.op(&at("scores"), "MatMul", &[&q, &k]);
        let scores = graph.widened(&scores);
        let last = ("axis", Attribute::Int(-1));
        let scores = graph.op_with(&at("softmax"), "Softmax", &[&scores], &[last]);
        let scores = graph.narrowed(&scores);
        let mixed = graph.op(&at("mixed"), "MatMul", &[&scores, &v]);
        let mixed = graph.transpose(&at("mixed.tokens"), &mixed, &[0, 2, 1, 3]);
        Ok(graph.reshape(&at("mixed.flat"), &mixed, &[-1, queries, a.embed_dim as i64]))
    }

    /// The fused qkv layer as three, 1/√(head width) folded into the queries.
    fn qkv(&self) -> Result<[Linear; 3], BundleError> {
        let a = self.vit;
        let d = a.embed_dim;
        let weight = self.weights.get("attn.qkv.weight")?;
        let bias = self.weights.find("attn.qkv.bias")?;
        let head_scale = 1.0 / ((d / a.heads) as f64).sqrt();
        Ok([0, 1, 2].map(|part| {
            let rows = &weight[part * d * d..(part + 1) * d * d];
            let bias = bias.as_ref().map(|bias| &bias[part * d..(part + 1) * d]);
            let scale = if part == 0 { head_scale } else { 1.0 };
            Linear::from_rows(rows, bias, d, |_| scale)
        }))
    }

    /// The tokens that the block's output keeps: all, or the class token alone (`[B, 1, embed_dim]`).
    fn read_tokens(&self, graph: &mut Graph, part: &str, tokens: &str) -> String {
        if !self.class_only {
            return tokens.to_owned();
        }
        let name = format!("{}.{part}.class", self.name);
        graph.slice(&name, tokens, 1, 0, 1)
    }
}

/// The blocks that the graph needs: none after the last tap.
pub(super) fn composed_depth(taps: &[Tap]) -> usize {
    taps.iter().filter_map(Tap::after_block).map(|block| block + 1).max().unwrap_or(0)
}
