//! A bundle's model, packed once for a family of kernels and shared by all lanes.

use std::ops::Range;

use coverslip_bundle::fold::{BlockWeights, Linear, Norm, VitWeights};
use coverslip_bundle::{Architecture, Bundle, BundleError, BundleErrorKind, Manifest, Pooling, Vit};

use crate::aligned::Aligned;
use crate::features::Family;
use crate::kernels::Kernels;
use crate::layer::{Layer, rows};
use crate::panels::{Layout, Panels, padded};
use crate::sae::Sae;

/// Hidden values of an MLP that are computed, and used, before the next: with the tokens of a tile they fit the
/// second-level cache.
pub(crate) const HIDDEN: usize = 384;

/// A model and its SAE, packed.
pub struct Model {
    pub(crate) family: Family,
    /// The kernels of the model's products.
    pub(crate) kernels: Box<dyn Kernels>,
    /// The kernels of the SAE's products, in float32.
    pub(crate) exact: Box<dyn Kernels>,
    pub(crate) shape: Shape,
    pub(crate) patch_embedding: Panels,
    /// What is added to the patches, and the tokens before them: `[tokens, row]`.
    pub(crate) table: Aligned<f32>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) taps: Vec<Tap>,
    pub(crate) final_norm: Option<Norm>,
    pub(crate) sae: Sae,
}

/// Sizes of a forward.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Width and height of a tile, px.
    pub(crate) side: usize,
    /// Width and height of a patch, px.
    pub(crate) patch: usize,
    pub(crate) tokens: usize,
    /// Tokens before the patches.
    pub(crate) prefix: usize,
    /// Values of a token.
    pub(crate) width: usize,
    /// Values of a token in whole lines.
    pub(crate) row: usize,
    pub(crate) heads: usize,
    /// Values of a head in whole lines.
    pub(crate) head: usize,
    pub(crate) gated: bool,
}

impl Shape {
    fn new(vit: &Vit, side: usize) -> Self {
        Self {
            side,
            patch: vit.patch,
            tokens: vit.tokens(side),
            prefix: vit.prefix_tokens(),
            width: vit.embed_dim,
            row: padded(vit.embed_dim),
            heads: vit.heads,
            head: padded(vit.embed_dim / vit.heads),
            gated: vit.mlp == coverslip_bundle::Mlp::SwiGlu,
        }
    }

    /// Values of all heads, each in whole lines.
    pub(crate) fn mixed(&self) -> usize {
        self.heads * self.head
    }

    /// Values of a patch.
    pub(crate) fn pixels(&self) -> usize {
        3 * self.patch * self.patch
    }
}

/// A transformer block.
pub(crate) struct Block {
    pub(crate) norm1: Norm,
    pub(crate) queries: Layer,
    pub(crate) keys: Layer,
    pub(crate) values: Layer,
    pub(crate) proj: Layer,
    pub(crate) norm2: Norm,
    /// The hidden layer, part by part.
    pub(crate) hidden: Vec<HiddenPart>,
    pub(crate) fc2_bias: Aligned<f32>,
    /// The block outputs only the class token; the others serve as keys and values.
    pub(crate) class_only: bool,
}

/// [`HIDDEN`] values of an MLP's hidden layer, or what is left of it.
pub(crate) struct HiddenPart {
    /// The first half of fc1, where the hidden layer has a gate.
    pub(crate) gate: Option<Layer>,
    pub(crate) fc1: Layer,
    /// The rows of fc2 that read this part.
    pub(crate) fc2: Panels,
}

impl Block {
    /// The weights that the MLP needs first.
    pub(crate) fn first_of_mlp(&self) -> &Panels {
        self.hidden.first().map_or(&self.proj.panels, HiddenPart::first)
    }
}

impl HiddenPart {
    /// The weights that the part needs first.
    pub(crate) fn first(&self) -> &Panels {
        &self.gate.as_ref().unwrap_or(&self.fc1).panels
    }
}

/// A tap: which part of the embeddings it writes, and how.
pub(crate) struct Tap {
    pub(crate) after_block: usize,
    pub(crate) final_norm: bool,
    pub(crate) pooling: Pooling,
    pub(crate) place: Range<usize>,
}

impl Model {
    /// Packs the weights of a bundle whose model is a ViT.
    ///
    /// # Errors
    /// `Unsupported` if the model is not a ViT or this processor does not run the family; `TooLarge` when memory is
    /// short; `NotFinite` if the family's precision cannot hold a weight.
    pub fn open(bundle: &Bundle, family: Family) -> Result<Model, BundleError> {
        let manifest = bundle.manifest();
        let Architecture::Vit(vit) = &manifest.architecture else {
            return Err(unsupported("the bundle's model is an ONNX graph, not a ViT: an engine for graphs runs it"));
        };
        let (Some(kernels), Some(exact)) = (family.kernels(), family.exact().kernels()) else {
            return Err(unsupported(&format!(
                "this processor lacks instructions of {}: choose another",
                family.name()
            )));
        };
        let layout = kernels.layout();
        let shape = Shape::new(vit, manifest.side);
        let weights = VitWeights::new(manifest, vit, bundle.model_tensors());
        let (embedding, bias) = weights.patch_embedding(family.precision())?;
        let table = rows(&weights.token_table(&bias)?, shape.width, shape.row)?;
        let block = |index: usize| {
            let packer = Packer { layout, shape, weights: weights.block(index) };
            packer.block(vit.mlp_dim, weights.class_only(index))
        };
        let taps = taps(manifest);
        let final_norm = if taps.iter().any(|tap| tap.final_norm) { Some(weights.final_norm()?) } else { None };
        Ok(Model {
            family,
            patch_embedding: Panels::pack(layout, &embedding)?,
            table,
            blocks: (0..weights.depth()).map(block).collect::<Result<_, _>>()?,
            taps,
            final_norm,
            sae: Sae::pack(manifest, bundle.sae_tensors(), &*exact)?,
            shape,
            kernels,
            exact,
        })
    }

    /// The kernels that run.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Bytes of the packed weights.
    pub fn bytes(&self) -> usize {
        let layers = |block: &Block| {
            let parts = block
                .hidden
                .iter()
                .map(|part| part.fc1.bytes() + part.fc2.bytes() + part.gate.as_ref().map_or(0, Layer::bytes));
            let attention = [&block.queries, &block.keys, &block.values, &block.proj];
            parts.sum::<usize>() + attention.into_iter().map(Layer::bytes).sum::<usize>()
        };
        let blocks: usize = self.blocks.iter().map(layers).sum();
        blocks + self.patch_embedding.bytes() + self.table.bytes() + self.sae.bytes()
    }
}

fn unsupported(what: &str) -> BundleError {
    BundleError::new(BundleErrorKind::Unsupported, what)
}

fn taps(manifest: &Manifest) -> Vec<Tap> {
    let mut end = 0;
    let tap = |tap: &coverslip_bundle::Tap| {
        let start = end;
        end += manifest.tap_width(tap);
        Tap {
            after_block: tap.after_block().unwrap_or_default(),
            final_norm: tap.final_norm(),
            pooling: tap.pooling,
            place: start..end,
        }
    };
    manifest.taps.iter().map(tap).collect()
}

/// Packs one block.
struct Packer<'a> {
    layout: Layout,
    shape: Shape,
    weights: BlockWeights<'a>,
}

impl Packer<'_> {
    fn block(&self, hidden: usize, class_only: bool) -> Result<Block, BundleError> {
        let (layout, weights) = (self.layout, &self.weights);
        let [queries, keys, values] = weights.qkv()?;
        let heads = |layer| Layer::pack(layout, &self.outputs_in_heads(layer)?);
        let fc1 = weights.fc1()?;
        let fc2 = weights.fc2()?;
        let part = |first: usize| {
            let span = first..(first + HIDDEN).min(hidden);
            let (gate, value) = match &fc1[..] {
                [gate, value] => (Some(Layer::part(layout, gate, span.clone())?), value),
                parts => (None, &parts[0]),
            };
            Ok(HiddenPart {
                gate,
                fc1: Layer::part(layout, value, span.clone())?,
                fc2: Panels::pack_part(
                    layout,
                    &fc2.weight[span.start * fc2.outputs..span.end * fc2.outputs],
                    span.len(),
                    fc2.outputs,
                    0..fc2.outputs,
                )?,
            })
        };
        Ok(Block {
            norm1: weights.norm("norm1")?,
            queries: heads(queries)?,
            keys: heads(keys)?,
            values: heads(values)?,
            proj: Layer::pack(layout, &self.inputs_in_heads(weights.proj()?)?)?,
            norm2: weights.norm("norm2")?,
            hidden: (0..hidden).step_by(HIDDEN).map(part).collect::<Result<_, BundleError>>()?,
            fc2_bias: match &fc2.bias {
                Some(bias) => rows(bias, bias.len(), padded(bias.len()))?,
                None => Aligned::zeroed(0)?,
            },
            class_only,
        })
    }

    /// Values of a head.
    fn head(&self) -> usize {
        self.shape.width / self.shape.heads
    }

    /// A layer whose outputs are heads, each in whole lines.
    fn outputs_in_heads(&self, layer: Linear) -> Result<Linear, BundleError> {
        if self.head() == self.shape.head {
            return Ok(layer);
        }
        let spread = |values: &[f32]| Ok::<_, BundleError>(rows(values, self.head(), self.shape.head)?.to_vec());
        Ok(Linear {
            inputs: layer.inputs,
            outputs: self.shape.mixed(),
            weight: spread(&layer.weight)?,
            bias: layer.bias.map(|bias| spread(&bias)).transpose()?,
        })
    }

    /// A layer whose inputs are heads, each in whole lines.
    fn inputs_in_heads(&self, layer: Linear) -> Result<Linear, BundleError> {
        if self.head() == self.shape.head {
            return Ok(layer);
        }
        let weight = rows(&layer.weight, self.head() * layer.outputs, self.shape.head * layer.outputs)?.to_vec();
        Ok(Linear { inputs: self.shape.mixed(), weight, ..layer })
    }
}
