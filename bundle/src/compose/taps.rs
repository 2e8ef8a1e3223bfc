//! Taps: tokens after a block, normed or not, pooled into one vector per tile.

use super::graph::Graph;
use super::vit::Weights;
use crate::error::BundleError;
use crate::manifest::{Manifest, Pooling, Tap};
use crate::tensors::TensorFile;

/// Writes `embedding_<tap>` for each tap.
pub(super) fn compose(
    graph: &mut Graph,
    manifest: &Manifest,
    file: &TensorFile,
    after_block: &[String],
) -> Result<(), BundleError> {
    for tap in &manifest.taps {
        let pooler =
            Pooler { manifest, weights: Weights::new(manifest, file), tap, tokens: &after_block[tap.after_block] };
        pooler.compose(graph)?;
    }
    Ok(())
}

struct Pooler<'a> {
    manifest: &'a Manifest,
    weights: Weights<'a>,
    tap: &'a Tap,
    tokens: &'a str,
}

impl Pooler<'_> {
    fn compose(&self, graph: &mut Graph) -> Result<(), BundleError> {
        let output = format!("embedding_{}", self.tap.name);
        match self.tap.pooling {
            Pooling::ClassToken => self.class_token(graph, &output)?,
            Pooling::MeanPatchTokens => self.mean(graph, &output)?,
            Pooling::ClassAndMean => {
                let class = self.class_token(graph, &format!("{output}.class"))?;
                let mean = self.mean(graph, &format!("{output}.mean"))?;
                graph.concat(&output, &[&class, &mean])
            }
        };
        Ok(())
    }

    /// The class token is picked first and normed alone: LayerNorm works per token.
    fn class_token(&self, graph: &mut Graph, output: &str) -> Result<String, BundleError> {
        let width = self.manifest.architecture.embed_dim as i64;
        let picked = graph.slice(&format!("{output}.token"), self.tokens, 1, 0, 1);
        if !self.tap.final_norm {
            return Ok(graph.reshape(output, &picked, &[-1, width]));
        }
        let flat = graph.reshape(&format!("{output}.flat"), &picked, &[-1, width]);
        Ok(graph.layer_norm(output, &flat, &self.weights.norm("norm")?))
    }

    fn mean(&self, graph: &mut Graph, output: &str) -> Result<String, BundleError> {
        let mut tokens = self.tokens.to_owned();
        let prefix = self.manifest.architecture.prefix_tokens() as i64;
        if prefix > 0 {
            let end = self.manifest.tokens() as i64;
            tokens = graph.slice(&format!("{output}.patches"), &tokens, 1, prefix, end);
        }
        if self.tap.final_norm {
            let norm = self.weights.norm("norm")?;
            tokens = graph.layer_norm(&format!("{output}.normed"), &tokens, &norm);
        }
        Ok(graph.reduce(output, "ReduceMean", &tokens, 1, false))
    }
}
