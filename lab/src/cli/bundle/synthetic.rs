//! `coverslip bundle synthetic`: random weights, for tests, benches and comparisons with other engines.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;

use coverslip_bundle::synthetic::{self, SyntheticSpec};
use coverslip_bundle::{InputStep, Mlp, Pooling, SaeArchitecture, Tap, TapSource};

use crate::claim;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The directory to write
    #[arg(long)]
    out: PathBuf,
    /// Size of the model
    #[arg(long, value_enum, default_value = "tiny")]
    size: Size,
    /// Register tokens
    #[arg(long, default_value_t = 0)]
    registers: usize,
    /// SwiGLU in place of GELU
    #[arg(long)]
    swiglu: bool,
    /// Scale the residual branches
    #[arg(long)]
    layer_scale: bool,
    /// No class token (every tap becomes a mean)
    #[arg(long)]
    no_class_token: bool,
    /// Position embedding for the patches alone
    #[arg(long)]
    no_embed_class: bool,
    /// No bias in qkv
    #[arg(long)]
    no_qkv_bias: bool,
    /// Pooling of the last tap, which the SAE reads
    #[arg(long, value_enum)]
    pooling: Option<PooledName>,
    /// A tap `tokens` of the patch tokens after the first block
    #[arg(long)]
    patch_tokens: bool,
    /// The SAE's activation
    #[arg(long, value_enum, default_value = "topk")]
    sae: SaeName,
    /// Steps before the SAE, in their order
    #[arg(long, value_enum, num_args = 1..)]
    input: Vec<StepName>,
    /// Multiply pre-activations by the decoder's norms (topk)
    #[arg(long)]
    rescale: bool,
    /// Do not subtract b_dec from the SAE's input
    #[arg(long)]
    no_input_bias: bool,
    /// Store float16
    #[arg(long)]
    half: bool,
    /// Seed of weights and tiles
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Size {
    /// 32 px, 2 blocks of width 32
    Tiny,
    /// ViT-S/16 at 224 px, SAE of 3072 features
    #[value(alias = "vit-s")]
    VitSmall,
    /// ViT-B/16 at 224 px, SAE of 6144 features
    #[value(alias = "vit-b")]
    VitBase,
    /// ViT-L/16 at 224 px, SAE of 8192 features
    #[value(alias = "vit-l")]
    VitLarge,
}

/// One vector per tile: an SAE reads no patch tokens.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum PooledName {
    ClassToken,
    MeanPatchTokens,
    ClassAndMean,
}

impl PooledName {
    fn pooling(self) -> Pooling {
        match self {
            Self::ClassToken => Pooling::ClassToken,
            Self::MeanPatchTokens => Pooling::MeanPatchTokens,
            Self::ClassAndMean => Pooling::ClassAndMean,
        }
    }
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
#[value(rename_all = "lower")]
enum SaeName {
    Relu,
    TopK,
    SignedTopK,
    JumpRelu,
    Gated,
    GroupMax,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum StepName {
    Standardize,
    L2,
    ConstantNormRescale,
    LayerNorm,
}

impl StepName {
    fn step(self) -> InputStep {
        match self {
            Self::Standardize => InputStep::Standardize,
            Self::L2 => InputStep::L2,
            Self::ConstantNormRescale => InputStep::ConstantNormRescale,
            Self::LayerNorm => InputStep::LayerNorm,
        }
    }
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let bundle = synthetic::write(claim::beside(&args.out)?, &spec(args), coverslip_runner::load)?;
    Ok(writeln!(out, "{} {}", args.out.display(), bundle.digest())?)
}

fn spec(args: &Args) -> SyntheticSpec {
    let size = match args.size {
        Size::Tiny => SyntheticSpec::default(),
        Size::VitSmall => SyntheticSpec::vit_small(),
        Size::VitBase => SyntheticSpec::vit_base(),
        Size::VitLarge => SyntheticSpec::vit_large(),
    };
    let mut taps: Vec<Tap> = size.taps.clone();
    if let (Some(pooling), Some(last)) = (args.pooling, taps.last_mut()) {
        last.pooling = pooling.pooling();
    }
    if args.no_class_token {
        taps.iter_mut().for_each(|tap| tap.pooling = Pooling::MeanPatchTokens);
    }
    if args.patch_tokens {
        // The SAE reads the last tap.
        let source = TapSource::Block { after_block: 0, final_norm: true };
        taps.insert(0, Tap { name: "tokens".into(), source, pooling: Pooling::PatchTokens });
    }
    SyntheticSpec {
        taps,
        class_token: !args.no_class_token,
        registers: args.registers,
        no_embed_class: args.no_embed_class,
        qkv_bias: !args.no_qkv_bias,
        layer_scale: args.layer_scale,
        sae_arch: match args.sae {
            SaeName::Relu => SaeArchitecture::Relu,
            SaeName::TopK => SaeArchitecture::TopK,
            SaeName::SignedTopK => SaeArchitecture::SignedTopK,
            SaeName::Gated => SaeArchitecture::Gated,
            SaeName::GroupMax => SaeArchitecture::GroupMax,
            SaeName::JumpRelu => SaeArchitecture::JumpRelu,
        },
        input: args.input.iter().map(|step| step.step()).collect(),
        mlp: if args.swiglu { Mlp::SwiGlu } else { Mlp::Gelu },
        apply_b_dec_to_input: !args.no_input_bias,
        rescale_acts_by_decoder_norm: args.rescale,
        half: args.half,
        seed: args.seed,
        ..size
    }
}
