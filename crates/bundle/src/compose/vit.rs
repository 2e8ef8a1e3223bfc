//! The vision transformer, as timm's `VisionTransformer` computes it in evaluation mode.

use super::composed::ComposedGraph;
use super::graph::Graph;
use crate::error::BundleError;
use crate::fold::{BlockWeights, Linear, VitWeights};
use crate::manifest::{Manifest, Vit};
use crate::onnx::Attribute;

/// Writes the model up to the last tap. Returns the tokens after each block, by the block's index.
pub(super) fn compose(
    graph: &mut Graph,
    manifest: &Manifest,
    vit: &Vit,
    weights: &VitWeights<'_>,
) -> Result<Vec<String>, BundleError> {
    let mut tokens = embed(graph, manifest, vit, weights)?;
    let depth = weights.depth();
    let mut after_block = Vec::with_capacity(depth);
    for index in 0..depth {
        let block = Block {
            vit,
            tokens: vit.tokens(manifest.side),
            weights: weights.block(index),
            name: format!("block{index}"),
            class_only: weights.class_only(index),
        };
        tokens = block.compose(graph, &tokens)?;
        after_block.push(tokens.clone());
    }
    Ok(after_block)
}

/// Pixels to tokens: `[B, side, side, 3]` u8 to `[B, tokens, embed_dim]`.
///
/// The strided convolution is written as a matrix product of flattened patches in (row, column, channel) order, the
/// order of the pixels. The preprocessing (p/255 − mean)/std is folded into its weights. A pixel is exact in every
/// precision.
fn embed(graph: &mut Graph, manifest: &Manifest, a: &Vit, weights: &VitWeights<'_>) -> Result<String, BundleError> {
    let (patch, grid, d) = (a.patch as i64, (manifest.side / a.patch) as i64, a.embed_dim);
    let pixels = graph.narrow("pixels.float", ComposedGraph::PIXELS);
    let rows = graph.reshape("patches.rows", &pixels, &[-1, grid, patch, grid, patch * 3]);
    let patches = graph.transpose("patches.grid", &rows, &[0, 1, 3, 2, 4]);
    let flat = graph.reshape("patches", &patches, &[-1, grid * grid, patch * patch * 3]);
    let (linear, bias) = weights.patch_embedding(graph.precision())?;
    let mut tokens = graph.linear("patch_embed", &flat, &linear)?;
    tokens = graph.widened(&tokens);
    let prefix = a.prefix_tokens();
    if prefix > 0 {
        // Class token and registers start as zero rows; the table below adds their values.
        let pads = graph.ints("tokens.pads", &[0, prefix as i64, 0, 0, 0, 0]);
        tokens = graph.op("tokens.padded", "Pad", &[&tokens, &pads]);
    }
    let table = weights.token_table(&bias)?;
    let table = graph.floats("tokens.table", &[1, a.tokens(manifest.side), d], &table);
    Ok(graph.op("tokens", "Add", &[&tokens, &table]))
}

/// One pre-norm block: x + ls1·attn(norm1 x), then x + ls2·mlp(norm2 x).
///
/// The residual stream x is float32 from the patches to the taps, as in a PyTorch model under autocast. In deep models
/// some of its values grow to thousands while the rest stays near one; float16 cannot resolve both, and its range is
/// nearly exhausted. Narrow values begin after the norms and end before the sums.
struct Block<'a> {
    vit: &'a Vit,
    /// Tokens of a tile.
    tokens: usize,
    weights: BlockWeights<'a>,
    name: String,
    /// Whether the block outputs only the class token; the other tokens then serve only as keys and values.
    class_only: bool,
}

impl Block<'_> {
    fn compose(&self, graph: &mut Graph, tokens: &str) -> Result<String, BundleError> {
        let at = |part: &str| format!("{}.{part}", self.name);
        let normed = graph.layer_norm(&at("norm1"), tokens, &self.weights.norm("norm1")?);
        let normed = graph.narrowed(&normed);
        let attended = self.attention(graph, &normed)?;
        let tokens = self.read_tokens(graph, "residual", tokens);
        let proj = self.weights.proj()?;
        let branch = graph.linear(&at("attn.proj"), &attended, &proj)?;
        let branch = graph.widened(&branch);
        let tokens = graph.op(&at("attn.sum"), "Add", &[&tokens, &branch]);

        let normed = graph.layer_norm(&at("norm2"), &tokens, &self.weights.norm("norm2")?);
        let normed = graph.narrowed(&normed);
        let active = match &self.weights.fc1()?[..] {
            [gate, value] => self.swiglu(graph, &normed, gate, value)?,
            parts => self.gelu(graph, &normed, &parts[0])?,
        };
        let fc2 = self.weights.fc2()?;
        let branch = graph.linear(&at("mlp.fc2"), &active, &fc2)?;
        let branch = graph.widened(&branch);
        Ok(graph.op(&at("out"), "Add", &[&tokens, &branch]))
    }

    /// GELU(fc1 x).
    fn gelu(&self, graph: &mut Graph, normed: &str, fc1: &Linear) -> Result<String, BundleError> {
        let at = |part: &str| format!("{}.mlp.{part}", self.name);
        let hidden = graph.linear(&at("fc1"), normed, fc1)?;
        let exact = ("approximate", Attribute::Text("none"));
        Ok(graph.op_with(&at("gelu"), "Gelu", &[&hidden], &[exact]))
    }

    /// SiLU(g)·v. Separate products give g and v, which saves the copies of a split.
    fn swiglu(&self, graph: &mut Graph, normed: &str, g: &Linear, v: &Linear) -> Result<String, BundleError> {
        let at = |part: &str| format!("{}.mlp.{part}", self.name);
        let gate = graph.linear(&at("gate"), normed, g)?;
        let value = graph.linear(&at("value"), normed, v)?;
        let sigmoid = graph.op(&at("sigmoid"), "Sigmoid", &[&gate]);
        let silu = graph.op(&at("silu"), "Mul", &[&gate, &sigmoid]);
        Ok(graph.op(&at("gated"), "Mul", &[&silu, &value]))
    }

    /// softmax(q·kᵀ/√w)·v per head of width w. Separate products give queries, keys and values: this saves the copies
    /// of a split, and head-major order is then only a view.
    fn attention(&self, graph: &mut Graph, normed: &str) -> Result<String, BundleError> {
        let at = |part: &str| format!("{}.attn.{part}", self.name);
        let a = self.vit;
        let (heads, width) = (a.heads as i64, (a.embed_dim / a.heads) as i64);
        let tokens = self.tokens as i64;
        let queries = if self.class_only { 1 } else { tokens };
        let [q, k, v] = self.weights.qkv()?;
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

    /// The tokens that the block outputs: all, or only the class token (`[B, 1, embed_dim]`).
    fn read_tokens(&self, graph: &mut Graph, part: &str, tokens: &str) -> String {
        if !self.class_only {
            return tokens.to_owned();
        }
        let name = format!("{}.{part}.class", self.name);
        graph.slice(&name, tokens, 1, 0, 1)
    }
}
