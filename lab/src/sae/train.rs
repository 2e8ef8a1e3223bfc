//! `coverslip sae train`.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use coverslip_analysis::sae::{Architecture, Evaluation, Moments, Report, Settings, Trainer};
use serde_json::json;

use super::checkpoint::{self, Meta};
use super::data::{Data, Split, Stream};
use super::files;
use crate::scan::Line;
use coverslip_files::put;

/// What `coverslip sae train` takes.
#[derive(clap::Args, Debug, Clone)]
pub(crate) struct Args {
    /// Embeddings, as `coverslip embed` writes them
    #[arg(long, value_name = "FILE")]
    embeddings: PathBuf,
    /// The tap [default: the only one]
    #[arg(long)]
    tap: Option<String>,
    /// The objective
    #[arg(long, value_enum, default_value_t = Kind::Topk)]
    arch: Kind,
    /// Features as a multiple of the embedding's width
    #[arg(long, default_value_t = 8)]
    expansion: usize,
    /// topk, batchtopk: features active at once
    #[arg(long, default_value_t = 32)]
    k: usize,
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
    /// Chooses the held-out slides
    #[arg(long, default_value_t = 0)]
    split_seed: u64,
    /// Of weights and order: the same seed gives the same weights
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// A feature that was not active for this many tiles is dead, and is helped
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
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    threads: usize,
    /// Begin again where an earlier run left its files
    #[arg(long)]
    restart: bool,
    /// The directory for the SAE. A run that was cut off goes on from its checkpoint
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// The objectives.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The k largest features of each tile
    Topk,
    /// k features per tile on average over a batch
    Batchtopk,
    /// ReLU and an L1 penalty
    Relu,
    /// A trained threshold per feature
    Jumprelu,
}

/// Held-out rows that are looked at during training.
const WATCHED: usize = 8192;
/// Rows that give the scale and the start of b_dec.
const SAMPLE: usize = 8192;

/// Trains; the exit code is 130 after Ctrl-C.
pub(super) fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    check(&args)?;
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    // Fails only where a handler exists already; then Ctrl-C ends the process, and the last checkpoint is intact.
    let _ = ctrlc::set_handler(move || flag.store(true, Ordering::SeqCst));
    if args.threads > 0 {
        rayon::ThreadPoolBuilder::new().num_threads(args.threads).build_global()?;
    }
    let draw = |slides: &[String]| Split::draw(slides, args.held_out, args.split_seed);
    let data = Data::open(&args.embeddings, args.tap.as_deref(), draw)?;
    let mut out = std::io::stdout().lock();
    let outcome = train(&args, &data, &stop, &mut out)?;
    Ok(outcome)
}

pub(super) fn check(args: &Args) -> Result<(), Box<dyn Error>> {
    let positive = [("--expansion", args.expansion as u64), ("--steps", args.steps), ("--batch", args.batch as u64)];
    for (name, value) in positive.into_iter().chain([("--checkpoint-every", args.checkpoint_every)]) {
        if value == 0 {
            return Err(format!("{name}: expected 1 or more, found 0").into());
        }
    }
    if !(0.0..1.0).contains(&args.held_out) {
        return Err(format!("--held-out: expected a share from 0 to below 1, found {}", args.held_out).into());
    }
    if args.patience > 0 && args.held_out == 0.0 {
        return Err(format!(
            "--patience {}: expected held-out slides to watch, found --held-out 0; leave one of the two out",
            args.patience
        )
        .into());
    }
    let rate = args.learning_rate.map(|rate| ("--learning-rate", rate));
    let weights = [("--l1", args.l1), ("--l0", args.l0), ("--bandwidth", args.bandwidth)];
    for (name, value) in weights.into_iter().chain(rate) {
        if !(value.is_finite() && value > 0.0) {
            return Err(format!("{name}: expected a number above 0, found {value}").into());
        }
    }
    Ok(())
}

/// Features at most: 2^20 of 1536 values are 12 GB of weights.
const MOST_FEATURES: usize = 1 << 20;

fn settings(args: &Args, width: usize) -> Result<Settings, Box<dyn Error>> {
    let features = args.expansion.checked_mul(width).filter(|features| *features <= MOST_FEATURES).ok_or_else(|| {
        format!(
            "--expansion: expected {MOST_FEATURES} features or fewer, found {} times the embedding's {width} values; give {} \
             or less",
            args.expansion,
            MOST_FEATURES / width.max(1)
        )
    })?;
    let architecture = match args.arch {
        Kind::Topk => Architecture::TopK { k: args.k },
        Kind::Batchtopk => Architecture::BatchTopK { k: args.k },
        Kind::Relu => Architecture::Relu { l1: args.l1 },
        Kind::Jumprelu => Architecture::JumpRelu { l0: args.l0, bandwidth: args.bandwidth },
    };
    let mut settings = Settings::new(architecture, features, args.steps);
    settings.seed = args.seed;
    settings.dead_after = args.dead_after;
    settings.learning_rate = args.learning_rate.unwrap_or(settings.learning_rate);
    Ok(settings)
}

/// A run from its beginning or its checkpoint to its end.
pub(super) fn train(
    args: &Args,
    data: &Data,
    stop: &AtomicBool,
    out: &mut impl Write,
) -> Result<ExitCode, Box<dyn Error>> {
    let settings = settings(args, data.width)?;
    let (mut trainer, mut meta) = begin(args, data, &settings)?;
    let watched = data.held_out(WATCHED)?;
    let mut stream = Stream::new(data, args.seed, trainer.state().step * args.batch as u64)?;
    let (mut batch, mut line) = (Vec::new(), Line::new());
    let mut last = None;
    let every = args.eval_every.unwrap_or(args.steps / 20).max(1);
    let (begun, first) = (Instant::now(), trainer.state().step);
    let mut held_out = None;
    while trainer.state().step < settings.steps && !stop.load(Ordering::SeqCst) {
        stream.batch(args.batch, &mut batch)?;
        let started = Instant::now();
        let report = trainer.step(&batch);
        meta.seconds += started.elapsed().as_secs_f64();
        let step = trainer.state().step;
        if !report.loss.is_finite() {
            return Err(format!(
                "the loss is {} at step {step}: expected a number. Lower --learning-rate (now {:e}); the last checkpoint is \
                 intact",
                report.loss, settings.learning_rate
            )
            .into());
        }
        if step.is_multiple_of(every) && !watched.is_empty() {
            let fvu = watch(&trainer, &watched);
            held_out = Some(fvu);
            let better = meta.best.is_none_or(|best| fvu < best * 0.999);
            meta.stale = if better { 0 } else { meta.stale + 1 };
            meta.best = Some(meta.best.map_or(fvu, |best: f64| best.min(fvu)));
        }
        line.show(&live(&report, step, first, held_out, begun.elapsed(), &settings));
        last = Some(report);
        if args.patience > 0 && meta.stale >= args.patience {
            break;
        }
        if step.is_multiple_of(args.checkpoint_every) && step < settings.steps {
            save(args, &mut meta, &trainer)?;
        }
    }
    line.clear();
    if stop.load(Ordering::SeqCst) {
        save(args, &mut meta, &trainer)?;
        writeln!(out, "stopped at step {}; the same command goes on from there", trainer.state().step)?;
        return Ok(ExitCode::from(130));
    }
    finish(args, data, &trainer, &meta, last, out)?;
    Ok(ExitCode::SUCCESS)
}

/// A new trainer, or the one of the checkpoint.
fn begin(args: &Args, data: &Data, settings: &Settings) -> Result<(Trainer, Meta), Box<dyn Error>> {
    std::fs::create_dir_all(&args.out).map_err(|error| format!("{}: {error}", args.out.display()))?;
    let key = format!(
        "{}, tap {}, {} tiles, held out {:?}, batch {}, {settings:?}",
        args.embeddings.display(),
        data.tap,
        data.file.len(),
        data.split.held_out,
        args.batch
    );
    let path = args.out.join(checkpoint::FILE);
    if !args.restart && path.exists() {
        let (meta, state) = checkpoint::load(&path)?;
        if meta.key != key {
            return Err(format!(
                "{}: expected a checkpoint of this run ({key}), found one of {}. Give another --out, or --restart",
                path.display(),
                meta.key
            )
            .into());
        }
        return Ok((Trainer::resume(settings.clone(), state)?, meta));
    }
    if !args.restart && args.out.join("cfg.json").exists() {
        return Err(format!("{}: an SAE is there already. Give another --out, or --restart", args.out.display()).into());
    }
    let mut sample = Vec::new();
    let rows = data.train.iter().filter(|train| **train).count();
    Stream::new(data, args.seed, 0)?.batch(SAMPLE.min(rows), &mut sample)?;
    let trainer = Trainer::new(settings.clone(), &sample, data.width)
        .map_err(|error| format!("{}, tap {}: {error}", args.embeddings.display(), data.tap))?;
    let (width, features) = (data.width, settings.features);
    let scale = trainer.state().scale;
    Ok((trainer, Meta { key, step: 0, scale, width, features, best: None, stale: 0, seconds: 0.0 }))
}

fn save(args: &Args, meta: &mut Meta, trainer: &Trainer) -> Result<(), String> {
    meta.step = trainer.state().step;
    checkpoint::save(&args.out.join(checkpoint::FILE), meta, trainer.state())
}

/// FVU on held-out rows.
fn watch(trainer: &Trainer, rows: &[f32]) -> f64 {
    let sae = trainer.sae();
    let active = sae.encode(trainer.settings().architecture, rows);
    let (mut moments, mut evaluation) = (Moments::new(sae.width), Evaluation::new(sae.features));
    moments.add(rows);
    evaluation.add(rows, &active, &sae.decode(&active));
    evaluation.fvu(&moments)
}

fn live(
    report: &Report,
    step: u64,
    first: u64,
    held_out: Option<f64>,
    elapsed: Duration,
    settings: &Settings,
) -> String {
    let per_step = elapsed.as_secs_f64() / (step - first) as f64;
    let left = (settings.steps - step) as f64 * per_step;
    let held_out = held_out.map_or_else(|| "-".into(), |fvu| format!("{fvu:.4}"));
    format!(
        "{step}/{} loss {:.4} FVU {:.4} (held out {held_out}) L0 {:.1} dead {} {left:.0} s left",
        settings.steps, report.loss, report.fvu, report.l0, report.dead
    )
}

/// Writes the SAE, the split and how it went; then the checkpoint is of no more use.
fn finish(
    args: &Args,
    data: &Data,
    trainer: &Trainer,
    meta: &Meta,
    last: Option<Report>,
    out: &mut impl Write,
) -> Result<(), Box<dyn Error>> {
    let (settings, step) = (trainer.settings(), trainer.state().step);
    let details = json!({
        "steps": step, "batch": args.batch, "learning_rate": settings.learning_rate, "seed": settings.seed,
        "objective": format!("{:?}", settings.architecture), "tiles": data.file.len(), "slides": data.slides,
        "held_out_slides": data.split.held_out.len(), "activation_scale": trainer.state().scale,
        "seconds_per_step": meta.seconds / step.max(1) as f64, "trained_by": concat!("coverslip ", env!("CARGO_PKG_VERSION")),
    });
    let split = serde_json::to_vec_pretty(&data.split)?;
    put(&args.out.join(super::eval::SPLIT), &split)?;
    files::write(&args.out, &trainer.sae(), settings.architecture, &data.tap, details)?;
    // An old checkpoint would only be in the way of the next run here.
    let _ = std::fs::remove_file(args.out.join(checkpoint::FILE));
    if let Some(report) = last {
        writeln!(
            out,
            "{}: {step} steps of {:.1} ms, loss {:.4}, FVU {:.4}, L0 {:.1}, {} dead of {} features",
            args.out.display(),
            1e3 * meta.seconds / step.max(1) as f64,
            report.loss,
            report.fvu,
            report.l0,
            report.dead,
            settings.features
        )?;
    }
    Ok(())
}
