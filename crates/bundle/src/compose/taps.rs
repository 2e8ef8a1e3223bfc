//! Taps: tokens, optionally normalised, are pooled into one vector per tile.

use super::graph::Graph;
use crate::fold::Norm;
use crate::manifest::Pooling;

/// The tokens that a tap reads.
pub(super) struct Tokens {
    /// Name of the value: `[B, tokens, width]`, or `[B, width]` with [`Pooling::None`].
    pub(super) value: String,
    /// Tokens before the patches: class token and registers.
    pub(super) prefix: usize,
    /// Values per token.
    pub(super) width: usize,
    /// Patches of a tile; 0 where no tap has them one by one.
    pub(super) patches: usize,
    /// The norm applied to each token before pooling.
    pub(super) norm: Option<Norm>,
}

impl Tokens {
    /// Writes the pooled vector as `output`.
    pub(super) fn pool(&self, graph: &mut Graph, pooling: Pooling, output: &str) {
        match pooling {
            Pooling::ClassToken => self.class_token(graph, output),
            Pooling::MeanPatchTokens => self.mean(graph, output),
            Pooling::ClassAndMean => {
                let class = self.class_token(graph, &format!("{output}.class"));
                let mean = self.mean(graph, &format!("{output}.mean"));
                graph.concat(output, &[&class, &mean])
            }
            Pooling::PatchTokens => {
                let tokens = self.patch_tokens(graph, output);
                graph.reshape(output, &tokens, &[-1, (self.patches * self.width) as i64])
            }
            Pooling::None => graph.reshape(output, &self.value, &[-1, self.width as i64]),
        };
    }

    /// The class token, taken before the norm, since LayerNorm works per token.
    fn class_token(&self, graph: &mut Graph, output: &str) -> String {
        let width = self.width as i64;
        let picked = graph.slice(&format!("{output}.token"), &self.value, 1, 0, 1);
        let Some(norm) = &self.norm else {
            return graph.reshape(output, &picked, &[-1, width]);
        };
        let flat = graph.reshape(&format!("{output}.flat"), &picked, &[-1, width]);
        graph.layer_norm(output, &flat, norm)
    }

    fn mean(&self, graph: &mut Graph, output: &str) -> String {
        let tokens = self.patch_tokens(graph, output);
        graph.reduce(output, "ReduceMean", &tokens, 1, false)
    }

    /// The tokens without class token and registers, normed.
    fn patch_tokens(&self, graph: &mut Graph, output: &str) -> String {
        let mut tokens = self.value.clone();
        if self.prefix > 0 {
            // ONNX clamps an end beyond the axis.
            tokens = graph.slice(&format!("{output}.patches"), &tokens, 1, self.prefix as i64, i64::from(i32::MAX));
        }
        if let Some(norm) = &self.norm {
            tokens = graph.layer_norm(&format!("{output}.normed"), &tokens, norm);
        }
        tokens
    }
}
