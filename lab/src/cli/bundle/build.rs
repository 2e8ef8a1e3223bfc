//! `coverslip bundle build`.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;

use coverslip_import::{SaeOptions, StoreAs};

use super::pooling::PoolingName;
use crate::bundle::{self, BuildRequest, Stated};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The model: a directory as downloaded from a hub, .safetensors, .bin, .pt, .pth, or .onnx
    #[arg(long, value_name = "PATH")]
    weights: PathBuf,
    /// The model's config.json [default: the one beside the weights]
    #[arg(long, value_name = "JSON")]
    config: Option<PathBuf>,
    /// What neither of the two says: mpp, mean, std, taps (docs/reference/import.md)
    #[arg(long, value_name = "JSON")]
    model: Option<PathBuf>,
    /// The SAE's directory or file: SAELens, sparsify, dictionary_learning, OpenAI, overcomplete [default: none; the bundle
    /// then gives embeddings only, to train an SAE on]
    #[arg(long, value_name = "PATH")]
    sae: Option<PathBuf>,
    /// Tiles for self-check and calibration: images, directories of images, or safetensors
    #[arg(long, required = true, num_args = 1..)]
    tiles: Vec<PathBuf>,
    /// The trainer's figures: mean, mean_squared_distance and error quantiles of the SAE's data
    #[arg(long, value_name = "JSON")]
    metrics: Option<PathBuf>,
    /// Feature names: [{"index": 3, "label": "…", "evidence": "…"}]
    #[arg(long, value_name = "JSON")]
    labels: Option<PathBuf>,
    /// Further files to put into the bundle (CARD.md, LICENSE)
    #[arg(long, num_args = 1..)]
    document: Vec<PathBuf>,
    /// The directory to write
    #[arg(long)]
    out: PathBuf,
    /// Replace an existing bundle
    #[arg(long)]
    force: bool,
    /// How to store the weights
    #[arg(long, value_enum, default_value = "keep")]
    precision: StoredAs,
    /// Features reported per tile (ReLU and JumpReLU; TopK reports its k)
    #[arg(long, default_value_t = 32)]
    outputs: usize,
    /// Scale of activations, for SAEs normalised by expected_average_only_in
    #[arg(long)]
    activation_scale: Option<f64>,
    /// k, for an overcomplete TopK SAE of which only the tensors were saved
    #[arg(long = "sae-k")]
    k: Option<usize>,
    /// Tiles kept for the self-check
    #[arg(long, default_value_t = 4)]
    reference_tiles: usize,
    /// The bundle's name [default: from model.json, else the directory's name]
    #[arg(long)]
    name: Option<String>,
    /// What the bundle is and is for
    #[arg(long)]
    description: Option<String>,
    /// Licence of the weights, an SPDX expression
    #[arg(long, visible_alias = "license")]
    licence: Option<String>,
    /// Where weights and data come from, with the attribution that their licences require
    #[arg(long)]
    source: Option<String>,
    /// Size of the model's input pixels, µm/px
    #[arg(long)]
    mpp: Option<f64>,
    /// Attention heads
    #[arg(long)]
    heads: Option<usize>,
    /// Pooling of the one tap after the final norm, where no taps are stated
    #[arg(long, value_enum)]
    pooling: Option<PoolingName>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum StoredAs {
    /// As in the files
    Keep,
    /// float16
    F16,
    /// float32
    F32,
}

impl From<StoredAs> for StoreAs {
    fn from(stored: StoredAs) -> Self {
        match stored {
            StoredAs::Keep => Self::Keep,
            StoredAs::F16 => Self::Half,
            StoredAs::F32 => Self::Single,
        }
    }
}

pub(super) fn run(args: Args, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let request = BuildRequest {
        weights: args.weights,
        config: args.config,
        model: args.model,
        heads: args.heads,
        pooling: args.pooling.map(Into::into),
        stated: Stated {
            name: args.name,
            description: args.description,
            licence: args.licence,
            source: args.source,
            mpp: args.mpp,
            ..Stated::default()
        },
        sae: args.sae,
        sae_options: SaeOptions {
            activation_scale: args.activation_scale,
            k: args.k,
            precision: args.precision.into(),
        },
        outputs: args.outputs,
        tiles: args.tiles,
        reference_tiles: args.reference_tiles,
        metrics: args.metrics,
        labels: args.labels,
        documents: args.document,
        out: args.out,
        force: args.force,
    };
    bundle::build(&request, out)
}
