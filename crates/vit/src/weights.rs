//! A bundle's model, packed once for a family of kernels and shared by all lanes.

use std::ops::Range;

use coverslip_bundle::fold::{BlockWeights, Linear, Norm, VitWeights, smooth};
use coverslip_bundle::{
    Architecture, Bundle, BundleError, BundleErrorKind, Int8Block, Int8Layer, Int8Mix, Int8Rest, Manifest, Pooling, Vit,
};

use crate::aligned::Aligned;
use crate::choice::Choice;
use crate::kernels::{Int8Kernels, Kernels, Out, Right};
use crate::layer::{Layer, rows};
use crate::maxima::{Maxima, factors};
use crate::panels::{Layout, Panels, Rows, Scale, padded};
use crate::sae::Sae;

/// Hidden values of an MLP that are computed, and used, before the next: with the tokens of a tile they fit the
/// second-level cache.
pub(crate) const HIDDEN: usize = 384;

/// A model and its SAE, packed.
pub struct Model {
    choice: Choice,
    /// The kernels of the model's products in floats.
    pub(crate) kernels: Box<dyn Kernels>,
    /// Those of its products in int8.
    int8: Option<Box<dyn Int8Kernels>>,
    /// The kernels of the SAE's products, in float32.
    pub(crate) exact: Box<dyn Kernels>,
    pub(crate) shape: Shape,
    pub(crate) patch_embedding: Layer,
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
    /// The rows of fc2 that read this part, without its bias.
    pub(crate) fc2: Layer,
}

impl Block {
    /// The weights that the MLP needs first.
    pub(crate) fn first_of_mlp(&self) -> &Panels {
        self.hidden.first().map_or(&self.proj.panels, HiddenPart::first)
    }

    pub(crate) fn has_int8_fc1(&self) -> bool {
        self.hidden.first().is_some_and(|part| part.fc1.is_int8())
    }

    pub(crate) fn has_int8_fc2(&self) -> bool {
        self.hidden.first().is_some_and(|part| part.fc2.is_int8())
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
    /// Packs the weights of a bundle whose model is a ViT. With kernels for int8 it packs the bundle's mix.
    ///
    /// # Errors
    /// `Unsupported` if the model is not a ViT, this processor does not run the choice, or the bundle has no mix that
    /// passes its gate; `OutOfMemory` when memory is short; `NotFinite` if a precision cannot hold a weight.
    pub fn open(bundle: &Bundle, choice: impl Into<Choice>) -> Result<Model, BundleError> {
        let choice = choice.into();
        if choice.int8.is_none() {
            return Self::pack(bundle, choice, None);
        }
        let (Some(int8), Some(mix)) = (&bundle.manifest().int8, bundle.int8()) else {
            return Err(unsupported(
                "the bundle has no layers in int8: choose them with `coverslip bundle quantise`, or another cpu_precision",
            ));
        };
        if let Some(reason) = int8.gate.refusal() {
            return Err(unsupported(&format!(
                "the bundle is not offered in int8: {reason}; choose another cpu_precision"
            )));
        }
        match Self::pack(bundle, choice, Some(mix)) {
            // A layer beside int8 may have weights that the half precision cannot hold.
            Err(e) if e.kind() == BundleErrorKind::NotFinite && choice != choice.exact() => {
                Self::pack(bundle, choice.exact(), Some(mix))
            }
            packed => packed,
        }
    }

    /// Packs a mix, whether it passes a gate or not: for whoever measures it.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn of_mix(bundle: &Bundle, choice: Choice, mix: &Int8Mix) -> Result<Model, BundleError> {
        Self::pack(bundle, choice, Some(mix))
    }

    fn pack(bundle: &Bundle, choice: Choice, mix: Option<&Int8Mix>) -> Result<Model, BundleError> {
        let manifest = bundle.manifest();
        let Architecture::Vit(vit) = &manifest.architecture else {
            return Err(unsupported("the bundle's model is an ONNX graph, not a ViT: an engine for graphs runs it"));
        };
        let in_float32 = mix.is_some_and(|mix| mix.rest == Int8Rest::Float32);
        let choice = if in_float32 { choice.exact() } else { choice };
        let lacking = || unsupported(&format!("this processor lacks instructions of {choice}: choose another"));
        let (Some(kernels), Some(exact)) = (choice.floats.kernels(), choice.floats.exact().kernels()) else {
            return Err(lacking());
        };
        let int8 = choice.int8.map(|int8| int8.kernels(choice.floats).ok_or_else(lacking)).transpose()?;
        let layout = kernels.layout();
        let shape = Shape::new(vit, manifest.side);
        let weights = VitWeights::new(manifest, vit, bundle.model_tensors());
        let (embedding, bias) = weights.patch_embedding(choice.floats.precision())?;
        let table = rows(&weights.token_table(&bias)?, shape.width, shape.row)?;
        let block = |index: usize| {
            let mix = mix.and_then(|mix| mix.blocks.get(index)).zip(int8.as_ref().map(|int8| int8.layout()));
            let packer = Packer { layout, shape, weights: weights.block(index), mix };
            packer.block(vit.mlp_dim, weights.class_only(index))
        };
        let taps = taps(manifest);
        let final_norm = if taps.iter().any(|tap| tap.final_norm) { Some(weights.final_norm()?) } else { None };
        Ok(Model {
            choice,
            patch_embedding: Layer::pack(layout, &embedding)?,
            table,
            blocks: (0..weights.depth()).map(block).collect::<Result<_, _>>()?,
            taps,
            final_norm,
            sae: Sae::pack(manifest, bundle.sae_tensors(), &*exact)?,
            shape,
            kernels,
            int8,
            exact,
        })
    }

    /// The kernels that run.
    pub fn choice(&self) -> Choice {
        self.choice
    }

    /// A product with a layer, in floats or in int8.
    pub(crate) fn product(&self, a: Rows<'_>, b: Right<'_>, out: Out<'_>) {
        match &self.int8 {
            Some(int8) if !b.columns.sizes.is_empty() => int8.product(a, b, out),
            _ => self.kernels.product(a, b, out),
        }
    }

    /// The first `width` of rows of values as rows of u8, one for each of `scales`.
    pub(crate) fn quantise(
        &self,
        (values, stride, width): (&[f32], usize, usize),
        (words, words_stride): (&mut [u32], usize),
        scales: &mut [Scale],
    ) {
        let Some(int8) = &self.int8 else { return };
        let rows = values.chunks(stride).zip(words.chunks_mut(words_stride));
        for ((values, words), scale) in rows.zip(scales) {
            *scale = int8.quantise(&values[..width], words);
        }
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

/// The factors that even out what the norms put out on some tiles, block by block.
///
/// # Errors
/// As [`Model::open`].
pub fn smoothing(bundle: &Bundle, maxima: &Maxima) -> Result<Vec<[Vec<f32>; 2]>, BundleError> {
    let manifest = bundle.manifest();
    let Architecture::Vit(vit) = &manifest.architecture else {
        return Err(unsupported("the bundle's model is an ONNX graph: only a ViT has layers in int8"));
    };
    let weights = VitWeights::new(manifest, vit, bundle.model_tensors());
    let block = |(index, [attention, mlp]): (usize, &[Vec<f32>; 2])| {
        let weights = weights.block(index);
        Ok([factors(attention, &weights.qkv()?), factors(mlp, &weights.fc1()?)])
    };
    maxima.blocks.iter().enumerate().map(block).collect()
}

/// Packs one block.
struct Packer<'a> {
    layout: Layout,
    shape: Shape,
    weights: BlockWeights<'a>,
    /// The block's layers in int8, and the layout of their weights.
    mix: Option<(&'a Int8Block, Layout)>,
}

impl Packer<'_> {
    fn block(&self, hidden: usize, class_only: bool) -> Result<Block, BundleError> {
        let weights = &self.weights;
        let (mut norm1, mut norm2) = (weights.norm("norm1")?, weights.norm("norm2")?);
        let (mut qkv, mut fc1, fc2) = (weights.qkv()?, weights.fc1()?, weights.fc2()?);
        if let Some((mix, _)) = self.mix {
            if mix.layers.contains(&Int8Layer::Qkv) {
                smooth(&mut norm1, &mut qkv, &mix.norm1);
            }
            if mix.layers.contains(&Int8Layer::Fc1) {
                smooth(&mut norm2, &mut fc1, &mix.norm2);
            }
        }
        let [queries, keys, values] = qkv;
        let heads = |layer| Layer::pack(self.layout_of(Int8Layer::Qkv), &self.outputs_in_heads(layer)?);
        let layout = self.layout_of(Int8Layer::Fc1);
        let part = |first: usize| {
            let span = first..(first + HIDDEN).min(hidden);
            let (gate, value) = match &fc1[..] {
                [gate, value] => (Some(Layer::part(layout, gate, span.clone())?), value),
                parts => (None, &parts[0]),
            };
            Ok(HiddenPart {
                gate,
                fc1: Layer::part(layout, value, span.clone())?,
                fc2: Layer::rows(self.layout_of(Int8Layer::Fc2), &fc2, span)?,
            })
        };
        Ok(Block {
            norm1,
            queries: heads(queries)?,
            keys: heads(keys)?,
            values: heads(values)?,
            proj: Layer::pack(self.layout_of(Int8Layer::Proj), &self.inputs_in_heads(weights.proj()?)?)?,
            norm2,
            hidden: (0..hidden).step_by(HIDDEN).map(part).collect::<Result<_, BundleError>>()?,
            fc2_bias: match &fc2.bias {
                Some(bias) => rows(bias, bias.len(), padded(bias.len()))?,
                None => Aligned::zeroed(0)?,
            },
            class_only,
        })
    }

    /// The layout of a layer's weights: that of int8 where the mix has it there.
    fn layout_of(&self, layer: Int8Layer) -> Layout {
        match self.mix {
            Some((mix, layout)) if mix.layers.contains(&layer) => layout,
            _ => self.layout,
        }
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
