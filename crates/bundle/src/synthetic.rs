//! Random bundles for tests and benches. They are valid and deterministic; their weights are scaled as in timm's
//! initialisation, which keeps activations in a normal range. Their outputs have no meaning.

use std::collections::BTreeMap;

use coverslip_files::IntoClaim;
use coverslip_numerics::SplitMix64;

use crate::build::{Calibration, LoadResult, Recipe, check_place, write_bundle};
use crate::layout;
use crate::tensors::{Tensor, TensorMap};
use crate::{
    Architecture, Bundle, BundleError, ComposedGraph, FORMAT, InputStep, Manifest, Mlp, Pooling, Sae, SaeArchitecture,
    SaeReference, Tap, TapSource, Vit,
};

/// The shape of a random bundle. `SyntheticSpec::default()` is tiny (side 32, 2 blocks of width 32);
/// [`SyntheticSpec::vit_small`] has the size of a ViT-S/16 with an 8× SAE.
#[derive(Clone, Debug)]
pub struct SyntheticSpec {
    /// Width and height of the model's input, px.
    pub side: usize,
    /// Width and height of a patch, px.
    pub patch: usize,
    /// Width of a token.
    pub embed_dim: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// The kind of MLP.
    pub mlp: Mlp,
    /// Whether there is a class token.
    pub class_token: bool,
    /// Number of register tokens.
    pub registers: usize,
    /// timm's `no_embed_class`.
    pub no_embed_class: bool,
    /// Whether `attn.qkv` has a bias.
    pub qkv_bias: bool,
    /// Whether the residual branches are scaled.
    pub layer_scale: bool,
    /// The taps; the SAE reads the last one.
    pub taps: Vec<Tap>,
    /// The SAE's activation.
    pub sae_arch: SaeArchitecture,
    /// Steps before the SAE.
    pub input: Vec<InputStep>,
    /// Whether `b_dec` is subtracted from the SAE's input.
    pub apply_b_dec_to_input: bool,
    /// Whether pre-activations are scaled by the decoder's row norms (`topk` only).
    pub rescale_acts_by_decoder_norm: bool,
    /// Number of features.
    pub d_sae: usize,
    /// Features reported per tile, and `k` of `topk`.
    pub k: usize,
    /// Seed of weights and reference tiles.
    pub seed: u64,
    /// Size of the model's input pixels, µm/px.
    pub mpp: f64,
    /// Whether weights are stored as float16.
    pub half: bool,
    /// Number of reference tiles.
    pub reference_tiles: usize,
}

impl Default for SyntheticSpec {
    fn default() -> Self {
        Self {
            side: 32,
            patch: 8,
            embed_dim: 32,
            depth: 2,
            heads: 4,
            mlp: Mlp::Gelu,
            class_token: true,
            registers: 0,
            no_embed_class: false,
            qkv_bias: true,
            layer_scale: false,
            taps: vec![tap("early", 0, false, Pooling::MeanPatchTokens), tap("last", 1, true, Pooling::ClassToken)],
            sae_arch: SaeArchitecture::TopK,
            input: Vec::new(),
            apply_b_dec_to_input: true,
            rescale_acts_by_decoder_norm: false,
            d_sae: 128,
            k: 8,
            seed: 1,
            mpp: 0.5,
            half: false,
            reference_tiles: 2,
        }
    }
}

impl SyntheticSpec {
    /// A ViT-S/16 at 224 px (width 384, 12 blocks, 6 heads) with taps after blocks 3, 7 and 11 and a TopK
    /// SAE of 3072 features, k = 32, at 0.5 µm/px.
    pub fn vit_small() -> Self {
        Self {
            side: 224,
            patch: 16,
            embed_dim: 384,
            depth: 12,
            heads: 6,
            taps: vec![
                tap("block3", 3, false, Pooling::MeanPatchTokens),
                tap("block7", 7, false, Pooling::MeanPatchTokens),
                tap("last", 11, true, Pooling::ClassAndMean),
            ],
            d_sae: 3072,
            k: 32,
            half: true,
            ..Self::default()
        }
    }

    /// A ViT-B/16 (width 768, 12 blocks, 12 heads) with an SAE of 6144 features, else as [`Self::vit_small`].
    pub fn vit_base() -> Self {
        Self::wider(768, 12, 12, 6144)
    }

    /// A ViT-L/16 (width 1024, 24 blocks, 16 heads) with an SAE of 8192 features, else as [`Self::vit_small`].
    pub fn vit_large() -> Self {
        Self::wider(1024, 24, 16, 8192)
    }

    /// The taps lie after a third, two thirds and all of the blocks.
    fn wider(embed_dim: usize, depth: usize, heads: usize, d_sae: usize) -> Self {
        let (first, second) = (depth / 3 - 1, 2 * depth / 3 - 1);
        let taps = vec![
            tap(&format!("block{first}"), first, false, Pooling::MeanPatchTokens),
            tap(&format!("block{second}"), second, false, Pooling::MeanPatchTokens),
            tap("last", depth - 1, true, Pooling::ClassAndMean),
        ];
        Self { embed_dim, depth, heads, d_sae, taps, ..Self::vit_small() }
    }
}

fn tap(name: &str, after_block: usize, final_norm: bool, pooling: Pooling) -> Tap {
    Tap { name: name.to_owned(), source: TapSource::Block { after_block, final_norm }, pooling }
}

/// Writes a random bundle to `out`, a path or a claim of one, which must not exist, and opens it. `load` is the caller's engine.
///
/// # Errors
/// As [`crate::build::write_bundle`].
pub fn write(
    out: impl IntoClaim,
    spec: &SyntheticSpec,
    load: impl FnMut(ComposedGraph) -> LoadResult,
) -> Result<Bundle, BundleError> {
    let claim = out.into_claim()?;
    check_place(claim.place(), false)?;
    write_bundle(claim, recipe(spec), false, load)
}

/// An engine that returns zeros in the right shapes, for tests of the format alone. A bundle written with it fails
/// every self-check.
///
/// # Errors
/// None.
pub fn zeros(graph: ComposedGraph) -> LoadResult {
    Ok(Box::new(move |_tiles, n| {
        Ok(crate::ReferenceOutputs {
            tiles: Vec::new(),
            count: n,
            embeddings: graph.taps.iter().map(|tap| vec![0.0; n * tap.width]).collect(),
            feature_index: vec![0; n * graph.features],
            feature_value: vec![0.0; n * graph.features],
            active_count: vec![0; n],
            reconstruction_error: vec![0.0; n],
        })
    }))
}

/// The parts of the bundle that [`write()`] writes.
pub fn recipe(spec: &SyntheticSpec) -> Recipe {
    let manifest = manifest(spec);
    let mut random = Random::new(spec.seed);
    let mut store = |tensors: Vec<layout::Shape>, width: usize| -> TensorMap {
        let filled = tensors.into_iter().map(|(name, shape)| {
            let values = fill(&mut random, &name, &shape, width);
            let tensor = if spec.half { Tensor::f16(&shape, &values) } else { Tensor::f32(&shape, &values) };
            (name, tensor)
        });
        filled.collect()
    };
    let vit = vit(spec);
    let mut model = layout::vit_tensors(&vit, spec.side);
    model.extend(layout::final_norm_tensors(&vit));
    let model = store(model, spec.embed_dim);
    let sae = store(layout::sae_tensors(&manifest.sae), manifest.sae.d_in);
    let d = manifest.sae.d_in;
    Recipe {
        manifest,
        model: model.into(),
        topology: None,
        sae,
        calibration: Calibration {
            mean: Some(vec![0.0; d]),
            mean_square_deviation: Some(d as f64),
            // Random features explain nothing, so the relative reconstruction error is about 1.
            error_quantiles: BTreeMap::from([("0.5".to_owned(), 2.0), ("0.99".to_owned(), 10.0)]),
            stated_tiles: 0,
            tiles: Vec::new(),
        },
        reference_tiles: tiles(spec, spec.reference_tiles),
        documents: BTreeMap::from([("CARD.md".to_owned(), b"# Random weights, for tests only\n".to_vec())]),
    }
}

/// `n` random tiles, u8 `[n, side, side, 3]`: blocks of one colour with noise, so that patches and tiles differ.
pub fn tiles(spec: &SyntheticSpec, n: usize) -> Vec<u8> {
    let mut random = Random::new(spec.seed ^ 0x7469_6c65);
    let cell = (spec.patch / 2).max(1);
    let across = spec.side.div_ceil(cell);
    let mut tiles = Vec::with_capacity(n * spec.side * spec.side * 3);
    for _ in 0..n {
        let colours: Vec<[u8; 3]> = (0..across * across).map(|_| random.colour()).collect();
        for y in 0..spec.side {
            for x in 0..spec.side {
                let noise = (random.0.bits() % 17) as u8;
                let colour = colours[(y / cell) * across + x / cell];
                tiles.extend(colour.map(|value| value.saturating_add(noise)));
            }
        }
    }
    tiles
}

fn vit(spec: &SyntheticSpec) -> Vit {
    Vit {
        embed_dim: spec.embed_dim,
        depth: spec.depth,
        heads: spec.heads,
        patch: spec.patch,
        mlp_dim: 4 * spec.embed_dim,
        mlp: spec.mlp,
        class_token: spec.class_token,
        register_tokens: spec.registers,
        no_embed_class: spec.no_embed_class,
        qkv_bias: spec.qkv_bias,
        layer_scale: spec.layer_scale,
        layer_norm_eps: 1e-6,
    }
}

fn manifest(spec: &SyntheticSpec) -> Manifest {
    let mut manifest = Manifest {
        format: FORMAT.to_owned(),
        name: format!("synthetic-{}", spec.seed),
        description: "Random weights, for tests and benches only.".to_owned(),
        licence: "CC0-1.0".to_owned(),
        source: "generated by coverslip_bundle::synthetic".to_owned(),
        side: spec.side,
        mpp: spec.mpp,
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
        architecture: Architecture::Vit(vit(spec)),
        taps: spec.taps.clone(),
        sae: Sae {
            tap: spec.taps.last().map(|tap| tap.name.clone()).unwrap_or_default(),
            architecture: Some(spec.sae_arch),
            d_in: 0,
            d_sae: spec.d_sae,
            k: matches!(spec.sae_arch, SaeArchitecture::TopK | SaeArchitecture::SignedTopK | SaeArchitecture::GroupMax)
                .then_some(spec.k),
            outputs: spec.k,
            input: spec.input.clone(),
            apply_b_dec_to_input: spec.apply_b_dec_to_input,
            pruned: false,
            rescale_acts_by_decoder_norm: spec.rescale_acts_by_decoder_norm,
            reference: SaeReference { mean_square_deviation: 1.0, error_quantiles: BTreeMap::new(), tiles: 0 },
            labels: Vec::new(),
        },
        int8: None,
        files: BTreeMap::new(),
        annotations: BTreeMap::new(),
    };
    manifest.sae.d_in = spec.taps.last().map_or(0, |tap| manifest.tap_width(tap));
    manifest
}

/// Values of one tensor. Weights are drawn as timm draws them (the patch embedding by its fan-in). Biases, norms and
/// gains differ from their neutral values, so that tests notice a composer that drops one.
fn fill(random: &mut Random, name: &str, shape: &[usize], width: usize) -> Vec<f32> {
    let n: usize = shape.iter().product();
    let (centre, sigma) = if name.contains("norm") && name.ends_with("weight") {
        (1.0, 0.1)
    } else if name.ends_with("gamma") {
        (0.5, 0.2)
    } else if name == "W_enc" || name == "W_dec" {
        (0.0, (1.0 / width as f64).sqrt())
    } else if name == "threshold" {
        (0.5, 0.2)
    } else if name == "input_std" {
        (1.0, 0.1)
    } else if name == "patch_embed.proj.weight" {
        (0.0, (1.0 / (n / shape[0]) as f64).sqrt())
    } else {
        // More than timm's 0.02, so that attention and MLP matter beside the residual stream.
        (0.0, 0.04)
    };
    (0..n).map(|_| (centre + sigma * random.normal()) as f32).collect()
}

/// The random numbers from which weights and tiles are drawn.
struct Random(SplitMix64);

impl Random {
    fn new(seed: u64) -> Random {
        Random(SplitMix64::new(seed))
    }

    /// An approximately normal number: the sum of four uniform ones, σ = 1, within ±3.5. It needs no logarithm, so
    /// every platform gives the same bits.
    fn normal(&mut self) -> f64 {
        let sum = self.0.unit() + self.0.unit() + self.0.unit() + self.0.unit();
        (sum - 2.0) * 3f64.sqrt()
    }

    fn colour(&mut self) -> [u8; 3] {
        [(); 3].map(|()| (self.0.bits() % 224) as u8)
    }
}
