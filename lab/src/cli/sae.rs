//! `coverslip sae`.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use coverslip_analysis::sae::Objective;

use super::options::SlideColumnArg;
use super::wrong_option::WrongOption;
use crate::sae::evaluation;
use crate::sae::training::{self, Ending};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train an SAE on the embeddings of a tap; writes SAELens' files
    Train(Box<Train>),
    /// FVU, L0, dead and dense features on held-out slides, beside random SAEs, raw dimensions and principal components
    Eval(Eval),
}

/// Trains or measures; the exit code of a training is 130 after Ctrl-C, and 3 where the run diverged or died.
///
/// # Errors
/// Says what was expected, what was found and what to do.
pub fn run(args: Args, out: &mut dyn Write) -> Result<ExitCode, Box<dyn Error>> {
    match args.command {
        Command::Train(args) => {
            args.check()?;
            Ok(match training::run(&args.options(), out)? {
                Ending::Whole => ExitCode::SUCCESS,
                Ending::Failed => ExitCode::from(3),
                Ending::Stopped => ExitCode::from(130),
            })
        }
        Command::Eval(args) => evaluation::run(&args.options(), out).map(|()| ExitCode::SUCCESS),
    }
}

#[derive(Debug, clap::Args)]
struct Train {
    /// Embeddings, as `coverslip embed` writes them
    #[arg(long, value_name = "FILE")]
    embeddings: PathBuf,
    /// The tap [default: the only one]
    #[arg(long)]
    tap: Option<String>,
    #[command(flatten)]
    slides: SlideColumnArg,
    /// The objective
    #[arg(long, value_enum, default_value_t = ObjectiveKind::Topk)]
    arch: ObjectiveKind,
    /// Features as a multiple of the embedding's width
    #[arg(long, default_value_t = 8)]
    expansion: usize,
    /// topk, batchtopk, matryoshka: features active at once
    #[arg(long, default_value_t = 32)]
    k: usize,
    /// matryoshka: prefixes of the features, each half as long as the next, that reconstruct on their own
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=20))]
    levels: u32,
    /// relu: weight of the L1 norm, where embeddings have mean ||x - mean||^2 = width
    #[arg(long, default_value_t = 1.0)]
    l1: f32,
    /// jumprelu: weight of the number of active features, in the same units
    #[arg(long, default_value_t = 1.0)]
    l0: f32,
    /// jumprelu: width of the kernel around the threshold, in the same units
    #[arg(long, default_value_t = 0.5)]
    bandwidth: f32,
    /// Steps
    #[arg(long, default_value_t = 5000)]
    steps: u64,
    /// Tiles per step
    #[arg(long, default_value_t = 256)]
    batch: usize,
    /// Adam's step size [default: 2e-4 sqrt(16384 / features)]
    #[arg(long)]
    learning_rate: Option<f32>,
    /// Share of the slides that are not trained on
    #[arg(long, default_value_t = 0.2)]
    held_out: f64,
    /// The column whose equal values are held out together: patients, where some have several slides [default: the slides]
    #[arg(long, value_name = "COLUMN")]
    group: Option<String>,
    /// Seed of the choice of held-out slides
    #[arg(long, default_value_t = 0)]
    split_seed: u64,
    /// Seed of weights and order: the same seed gives the same weights
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// A feature that was not active for this many tiles is dead, and is revived
    #[arg(long, default_value_t = 100_000)]
    dead_after: u64,
    /// End when the FVU on held-out slides has not improved for this many evaluations; 0: never
    #[arg(long, default_value_t = 0)]
    patience: usize,
    /// Steps between evaluations [default: a twentieth]
    #[arg(long)]
    eval_every: Option<u64>,
    /// Steps between checkpoints
    #[arg(long, default_value_t = 1000)]
    checkpoint_every: u64,
    /// Threads [default: one per CPU]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    threads: Option<u32>,
    /// Begin again where an earlier run left its files
    #[arg(long)]
    restart: bool,
    /// The directory for the SAE. A run that was cut off goes on from its checkpoint
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum ObjectiveKind {
    /// The k largest features of each tile
    Topk,
    /// k features per tile on average over a batch
    Batchtopk,
    /// As batchtopk, with nested prefixes of the features that reconstruct on their own
    Matryoshka,
    /// ReLU and an L1 penalty
    Relu,
    /// A trained threshold per feature
    Jumprelu,
}

/// Most tiles per step: sixteen times what others train with at most. A batch is in memory several times.
const MOST_BATCH: usize = 1 << 16;

impl Train {
    /// Refuses numbers with which no training begins.
    fn check(&self) -> Result<(), WrongOption> {
        let positive = [
            ("--expansion", self.expansion as u64),
            ("--steps", self.steps),
            ("--batch", self.batch as u64),
            ("--checkpoint-every", self.checkpoint_every),
        ];
        if let Some((name, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return Err(WrongOption(format!("{name}: expected 1 or more, found 0")));
        }
        if self.batch > MOST_BATCH {
            let found = self.batch;
            return Err(WrongOption(format!("--batch: expected 1 to {MOST_BATCH} tiles per step, found {found}")));
        }
        if !(0.0..1.0).contains(&self.held_out) {
            let found = self.held_out;
            return Err(WrongOption(format!("--held-out: expected a share from 0 to below 1, found {found}")));
        }
        if self.patience > 0 && self.held_out == 0.0 {
            return Err(WrongOption(format!(
                "--patience {}: expected held-out slides to watch, found --held-out 0; leave one of the two out",
                self.patience
            )));
        }
        let rate = self.learning_rate.map(|rate| ("--learning-rate", rate));
        let weights = [("--l1", self.l1), ("--l0", self.l0), ("--bandwidth", self.bandwidth)];
        match weights.into_iter().chain(rate).find(|(_, value)| !(value.is_finite() && *value > 0.0)) {
            Some((name, value)) => Err(WrongOption(format!("{name}: expected a number above 0, found {value}"))),
            None => Ok(()),
        }
    }

    fn options(self) -> training::Options {
        training::Options {
            embeddings: self.embeddings,
            tap: self.tap,
            slides: self.slides.column(),
            objective: match self.arch {
                ObjectiveKind::Topk => Objective::TopK { k: self.k },
                ObjectiveKind::Batchtopk => Objective::BatchTopK { k: self.k },
                ObjectiveKind::Matryoshka => Objective::Matryoshka { k: self.k, levels: self.levels },
                ObjectiveKind::Relu => Objective::Relu { l1: self.l1 },
                ObjectiveKind::Jumprelu => Objective::JumpRelu { l0: self.l0, bandwidth: self.bandwidth },
            },
            expansion: self.expansion,
            steps: self.steps,
            batch: self.batch,
            learning_rate: self.learning_rate,
            held_out: self.held_out,
            split_seed: self.split_seed,
            group: self.group,
            seed: self.seed,
            dead_after: self.dead_after,
            patience: self.patience,
            eval_every: self.eval_every.unwrap_or(self.steps / 20).max(1),
            checkpoint_every: self.checkpoint_every,
            threads: self.threads.map_or(0, |threads| threads as usize),
            restart: self.restart,
            out: self.out,
        }
    }
}

#[derive(Debug, clap::Args)]
struct Eval {
    /// SAEs in any format that `bundle build --sae` takes; of `sae train`, the slides it held out are used
    #[arg(required = true)]
    saes: Vec<PathBuf>,
    /// Embeddings, as `coverslip embed` writes them
    #[arg(long, value_name = "FILE")]
    embeddings: PathBuf,
    /// The tap [default: the only one]
    #[arg(long)]
    tap: Option<String>,
    #[command(flatten)]
    slides: SlideColumnArg,
    /// The column whose equal values are held out together [default: as the SAEs were trained]
    #[arg(long, value_name = "COLUMN")]
    group: Option<String>,
    /// A column that you added to the embeddings' table, with the name of a kind in each row: read from 1, 2, 5 and 16 features
    /// of held-out tiles, by whole groups
    #[arg(long, value_name = "COLUMN")]
    probe: Option<String>,
    /// Steps in which the encoder of a random, frozen decoder is trained, for comparison; 0: not at all
    #[arg(long, value_name = "N", default_value_t = 500)]
    baseline_steps: u64,
    /// Slides to measure on [default: split.json beside the SAEs, which has to say the same]
    #[arg(long, value_name = "FILE")]
    split: Option<PathBuf>,
    /// The folder to write sae-eval.json to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Eval {
    fn options(self) -> evaluation::Options {
        evaluation::Options {
            saes: self.saes,
            embeddings: self.embeddings,
            tap: self.tap,
            slides: self.slides.column(),
            group: self.group,
            probe: self.probe,
            baseline_steps: self.baseline_steps,
            split: self.split,
            out: self.out,
        }
    }
}
