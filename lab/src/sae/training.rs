//! `coverslip sae train`: a run from its beginning or its checkpoint to its end.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use coverslip_analysis::sae::{Objective, Settings, StepFigures, Trainer};
use coverslip_files::{Claim, FileSet};
use coverslip_numerics::there_is;
use serde_json::json;

use super::checkpoint::{self, Meta};
use super::data::{Data, Stream};
use super::split::Split;
use super::verdict::{Verdict, fvu_and_l0};
use super::{files, objective};
use crate::claim;
use crate::embeddings::SlideColumn;
use crate::resume;
use crate::term::{Line, stop_flag};

pub(crate) struct Options {
    pub(crate) embeddings: PathBuf,
    pub(crate) tap: Option<String>,
    /// The column of the embeddings' table that names the slide.
    pub(crate) slides: SlideColumn,
    pub(crate) objective: Objective,
    /// Features as a multiple of the embedding's width.
    pub(crate) expansion: usize,
    pub(crate) steps: u64,
    /// Tiles per step.
    pub(crate) batch: usize,
    /// Adam's step size; `None`: by the number of features.
    pub(crate) learning_rate: Option<f32>,
    /// Share of the slides that are not trained on, 0 to below 1.
    pub(crate) held_out: f64,
    pub(crate) split_seed: u64,
    /// The column whose equal values are held out together; `None`: the slides.
    pub(crate) group: Option<String>,
    pub(crate) seed: u64,
    /// A feature that was not active for this many tiles is dead.
    pub(crate) dead_after: u64,
    /// Evaluations without a better FVU after which the run ends; 0: never.
    pub(crate) patience: usize,
    /// Steps between evaluations.
    pub(crate) eval_every: u64,
    /// Steps between checkpoints.
    pub(crate) checkpoint_every: u64,
    /// 0: one per CPU.
    pub(crate) threads: usize,
    /// Begins again where an earlier run left its files.
    pub(crate) restart: bool,
    /// The SAE's folder.
    pub(crate) out: PathBuf,
}

/// Held-out rows that are evaluated during training.
const WATCHED: usize = 8192;
/// Rows that give the scale and the start of b_dec.
const SAMPLE: usize = 8192;
/// Features at most: 2^20 of 1536 values are 12 GB of weights.
const MOST_FEATURES: usize = 1 << 20;

/// How a run ends that no error ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ending {
    /// The SAE is written.
    Whole,
    /// The SAE is written and worth nothing: the run diverged or died, which was said.
    Failed,
    /// Ctrl-C stopped the run, and the checkpoint is written.
    Stopped,
}

/// Trains.
///
/// # Errors
/// When the embeddings cannot be used or a file cannot be written, the loss is no number, or an earlier run's files are
/// there.
pub(crate) fn run(options: &Options, out: &mut dyn Write) -> Result<Ending, Box<dyn Error>> {
    let stop = stop_flag();
    if options.threads > 0 {
        rayon::ThreadPoolBuilder::new().num_threads(options.threads).build_global()?;
    }
    let group = options.group.clone();
    let column = group.as_ref().map_or_else(|| options.slides.clone(), |name| SlideColumn::new(Some(name.clone())));
    let draw = |groups: &[String]| {
        Ok(Split { grouped_by: group, ..Split::draw(groups, options.held_out, options.split_seed)? })
    };
    let claim = claim::within(&options.out)?;
    let data = Data::open(&options.embeddings, options.tap.as_deref(), &column, draw)?;
    let mut run = Run::begin(options, &claim, &data)?;
    let last = run.train(&stop)?;
    let step = run.trainer.state().step;
    if stop.load(Ordering::SeqCst) {
        run.save()?;
        writeln!(out, "stopped at step {step}; the same command goes on from there")?;
        return Ok(Ending::Stopped);
    }
    run.finish()?;
    // A checkpoint of a run that had all its steps leaves none to take.
    let Some(figures) = last else { return Ok(Ending::Whole) };
    let verdict = Verdict::of(&run.trainer, &run.watched, (figures.fvu, figures.l0), step * options.batch as u64);
    writeln!(
        out,
        "{}: {step} steps of {:.1} ms, loss {:.4}, {} FVU {:.4}, L0 {:.1}, {} of {} features not active in the last {} \
         tiles",
        options.out.display(),
        1e3 * run.meta.seconds / step.max(1) as f64,
        figures.loss,
        if run.watched.is_empty() { "last batch's" } else { "held-out" },
        verdict.fvu,
        verdict.l0,
        verdict.silent,
        verdict.features,
        verdict.tiles
    )?;
    match verdict.failure(run.trainer.settings().learning_rate) {
        None => Ok(Ending::Whole),
        Some(why) => {
            writeln!(out, "{why}")?;
            Ok(Ending::Failed)
        }
    }
}

fn features(expansion: usize, width: usize) -> Result<usize, String> {
    expansion.checked_mul(width).filter(|features| *features <= MOST_FEATURES).ok_or_else(|| {
        let give = match MOST_FEATURES / width.max(1) {
            0 => "no expansion is small enough: choose another --tap, or other embeddings".to_owned(),
            most => format!("give {most} or less"),
        };
        format!(
            "--expansion: expected {MOST_FEATURES} features or fewer, found {expansion} times the embedding's {width} values; \
             {give}"
        )
    })
}

fn settings(options: &Options, width: usize) -> Result<Settings, Box<dyn Error>> {
    let features = features(options.expansion, width)?;
    let mut settings = Settings::new(options.objective, features, options.steps);
    settings.seed = options.seed;
    settings.dead_after = options.dead_after;
    settings.learning_rate = options.learning_rate.unwrap_or(settings.learning_rate);
    Ok(settings)
}

/// Of the keys below. Earlier ones had the embeddings' path and not what was in the file.
const KEY_VERSION: u32 = 5;

/// The key of the run: a checkpoint with another key is refused. The embeddings are told apart by their content, so that a
/// file may be moved.
fn key(options: &Options, data: &Data, settings: &Settings) -> Result<String, Box<dyn Error>> {
    let mut fields = vec![
        ("embeddings", json!(data.digest()?)),
        ("tap", json!(data.tap)),
        ("held_out", json!(data.split.held_out)),
        ("batch", json!(options.batch)),
    ];
    fields.extend(objective::options(settings.objective));
    fields.extend([
        ("expansion", json!(options.expansion)),
        ("steps", json!(settings.steps)),
        ("learning_rate", json!(settings.learning_rate.to_string())),
        ("warmup", json!(settings.warmup)),
        ("decay", json!(settings.decay)),
        ("clip", json!(settings.clip)),
        ("sparsity_warmup", json!(settings.sparsity_warmup)),
        ("dead_after", json!(settings.dead_after)),
        ("auxiliary", json!(settings.auxiliary)),
        ("resample_every", json!(settings.resample_every)),
        ("seed", json!(settings.seed)),
    ]);
    Ok(resume::key(KEY_VERSION, &fields))
}

/// What a field of the key is called to the user; None: it follows from the options.
fn word(field: &str) -> Option<String> {
    match field {
        "embeddings" => Some("the content of --embeddings".into()),
        "held_out" => Some("the held-out slides, of --held-out, --split-seed and --group,".into()),
        "warmup" | "decay" | "clip" | "sparsity_warmup" | "auxiliary" | "resample_every" => None,
        option => resume::option(option),
    }
}

/// Refuses a batch that there is no memory for, before a step asks for it.
fn expect_room(batch: usize, width: usize, features: usize) -> Result<(), String> {
    // A step keeps a tile's values and what is left of them some times, and its features before and behind the activation
    // with their gradients.
    let values = (8 * width as u64).saturating_add(4 * features as u64);
    if there_is((batch as u64).saturating_mul(values).saturating_mul(size_of::<f32>() as u64)) {
        return Ok(());
    }
    Err(format!(
        "--batch: expected as many tiles per step as there is memory for, found {batch} of {width} values and {features} \
         features; give fewer"
    ))
}

/// A run on its way.
struct Run<'a> {
    options: &'a Options,
    claim: &'a Claim,
    data: &'a Data,
    trainer: Trainer,
    /// What the next checkpoint has beside the trainer's state.
    meta: Meta,
    /// Held-out rows, drawn at random.
    watched: Vec<f32>,
    /// The FVU of the last evaluation.
    held_out: Option<f64>,
}

impl<'a> Run<'a> {
    /// A new run, or the one of the checkpoint.
    fn begin(options: &'a Options, claim: &'a Claim, data: &'a Data) -> Result<Self, Box<dyn Error>> {
        let settings = settings(options, data.width)?;
        expect_room(options.batch, data.width, settings.features)?;
        let path = options.out.join(checkpoint::FILE);
        let goes_on = !options.restart && path.exists();
        // Before the embeddings are read for the key.
        if !options.restart && !goes_on && options.out.join(coverslip_import::CONFIGURATION_FILE).exists() {
            let out = options.out.display();
            return Err(format!("{out}: an SAE is there already. Give another --out, or --restart").into());
        }
        let key = key(options, data, &settings)?;
        let (trainer, meta) = if goes_on {
            let (meta, state) = checkpoint::load(&path, checkpoint::most(data.width, settings.features))?;
            if let Some(why) = resume::misfit(&key, &meta.key, word, "give another --out, or --restart") {
                return Err(format!("{}: {why}", path.display()).into());
            }
            (Trainer::resume(settings, state)?, meta)
        } else {
            let trainer = new_trainer(options, data, settings)?;
            let (width, features) = (data.width, trainer.settings().features);
            let scale = trainer.state().scale;
            (trainer, Meta { key, step: 0, scale, width, features, best: None, stale: 0, seconds: 0.0 })
        };
        Ok(Self {
            options,
            claim,
            data,
            trainer,
            meta,
            watched: data.sample(false, WATCHED, options.split_seed)?.rows,
            held_out: None,
        })
    }

    /// Steps until all are done, `stop` is set, or patience ends. Returns the last step's figures.
    fn train(&mut self, stop: &AtomicBool) -> Result<Option<StepFigures>, Box<dyn Error>> {
        let options = self.options;
        let first = self.trainer.state().step;
        let mut stream = Stream::new(self.data, options.seed, first * options.batch as u64)?;
        let (mut batch, mut line) = (Vec::new(), Line::new());
        let (begun, mut last) = (Instant::now(), None);
        while self.trainer.state().step < options.steps && !stop.load(Ordering::SeqCst) {
            stream.batch(options.batch, &mut batch)?;
            let figures = self.step(&batch)?;
            let step = self.trainer.state().step;
            if step.is_multiple_of(options.eval_every) && !self.watched.is_empty() {
                self.evaluate();
            }
            let per_step = begun.elapsed().as_secs_f64() / (step - first) as f64;
            line.show(&self.progress(&figures, per_step));
            last = Some(figures);
            if options.patience > 0 && self.meta.stale >= options.patience {
                break;
            }
            if step.is_multiple_of(options.checkpoint_every) && step < options.steps {
                self.save()?;
            }
        }
        line.clear();
        Ok(last)
    }

    fn step(&mut self, batch: &[f32]) -> Result<StepFigures, String> {
        let started = Instant::now();
        let figures = self.trainer.step(batch);
        self.meta.seconds += started.elapsed().as_secs_f64();
        if !figures.loss.is_finite() {
            return Err(format!(
                "the loss is {} at step {}: expected a number. Lower --learning-rate (now {:e}); the last checkpoint is \
                 intact",
                figures.loss,
                self.trainer.state().step,
                self.trainer.settings().learning_rate
            ));
        }
        Ok(figures)
    }

    /// The FVU on held-out rows, and whether it is better than before.
    fn evaluate(&mut self) {
        let (fvu, _) = fvu_and_l0(&self.trainer, &self.watched);
        let better = self.meta.best.is_none_or(|best| fvu < best * 0.999);
        self.meta.stale = if better { 0 } else { self.meta.stale + 1 };
        self.meta.best = Some(self.meta.best.map_or(fvu, |best: f64| best.min(fvu)));
        self.held_out = Some(fvu);
    }

    /// The line that is shown while it runs.
    fn progress(&self, figures: &StepFigures, per_step: f64) -> String {
        let (step, steps) = (self.trainer.state().step, self.options.steps);
        let left = (steps - step) as f64 * per_step;
        let held_out = self.held_out.map_or_else(|| "-".into(), |fvu| format!("{fvu:.4}"));
        format!(
            "{step}/{steps} loss {:.4} FVU {:.4} (held out {held_out}) L0 {:.1} dead {} {left:.0} s left",
            figures.loss, figures.fvu, figures.l0, figures.dead
        )
    }

    fn save(&mut self) -> Result<(), String> {
        self.meta.step = self.trainer.state().step;
        checkpoint::save(&self.options.out.join(checkpoint::FILE), &self.meta, self.trainer.state())
    }

    /// Writes the SAE, the split and how it went; then the checkpoint is of no more use.
    fn finish(&self) -> Result<(), Box<dyn Error>> {
        let (options, data) = (self.options, self.data);
        let (settings, step) = (self.trainer.settings(), self.trainer.state().step);
        let details = json!({
            "steps": step, "batch": options.batch, "learning_rate": settings.learning_rate, "seed": settings.seed,
            "objective": objective::text(settings.objective), "tiles": data.file.len(), "slides": data.slides,
            "held_out_slides": data.split.held_out.len(), "activation_scale": self.trainer.state().scale,
            "seconds_per_step": self.meta.seconds / step.max(1) as f64,
            "trained_by": concat!("coverslip ", env!("CARGO_PKG_VERSION")),
        });
        let [config, weights] = files::of(&self.trainer.sae(), settings.objective, &data.tap, details)?;
        let all = [(Split::FILE, serde_json::to_vec_pretty(&data.split)?), config, weights];
        let mut files = FileSet::prepare(self.claim, &all.each_ref().map(|(name, _)| *name))?;
        for (name, bytes) in &all {
            files.write(name, |file| file.write_all(bytes))?;
        }
        files.commit()?;
        // An old checkpoint would only be in the way of the next run here.
        let _ = std::fs::remove_file(options.out.join(checkpoint::FILE));
        Ok(())
    }
}

/// A trainer whose scale and b_dec are fitted on the first training rows.
fn new_trainer(options: &Options, data: &Data, settings: Settings) -> Result<Trainer, Box<dyn Error>> {
    let rows = data.train.iter().filter(|train| **train).count();
    let mut sample = Vec::new();
    Stream::new(data, options.seed, 0)?.batch(SAMPLE.min(rows), &mut sample)?;
    let trainer = Trainer::new(settings, &sample, data.width);
    Ok(trainer.map_err(|error| format!("{}, tap {}: {error}", options.embeddings.display(), data.tap))?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use coverslip_bundle::tensors::{Tensor, TensorMap, to_safetensors};
    use coverslip_testkit::Scratch;

    use super::*;

    #[test]
    fn an_expansion_that_is_too_large_is_refused_with_one_that_is_not() {
        assert_eq!(features(8, 1536), Ok(8 * 1536));
        let refused = features(1 << 12, 1 << 10).unwrap_err();
        assert!(refused.ends_with("; give 1024 or less"), "{refused}");
        let refused = features(1, MOST_FEATURES + 1).unwrap_err();
        assert!(
            refused.ends_with("; no expansion is small enough: choose another --tap, or other embeddings"),
            "{refused}"
        );
    }

    #[test]
    fn the_key_of_a_run_is_what_checkpoints_have() {
        let folder = Scratch::new("key");
        let path = folder.join("e.safetensors");
        let tensors = TensorMap::from([("embedding_last".to_owned(), Tensor::f32(&[2, 2], &[1.0, 2.0, 3.0, 4.0]))]);
        fs::write(&path, to_safetensors(&tensors).unwrap()).unwrap();
        fs::write(path.with_extension("csv"), "slide\na\nb\n").unwrap();
        let split = Split { held_out: vec!["b".into()], grouped_by: None };
        let data = Data::open(&path, None, &SlideColumn::default(), |_| Ok(split)).unwrap();
        let options = Options {
            embeddings: path,
            tap: None,
            slides: SlideColumn::default(),
            objective: Objective::JumpRelu { l0: 1.0, bandwidth: 0.5 },
            expansion: 8,
            steps: 5000,
            batch: 256,
            learning_rate: Some(0.5),
            held_out: 0.2,
            split_seed: 0,
            group: None,
            seed: 0,
            dead_after: 100_000,
            patience: 0,
            eval_every: 250,
            checkpoint_every: 1000,
            threads: 0,
            restart: false,
            out: "o".into(),
        };
        let settings = settings(&options, data.width).unwrap();
        let digest = data.digest().unwrap();
        assert_eq!(
            key(&options, &data, &settings).unwrap(),
            format!(
                "v5: embeddings=\"{digest}\", tap=\"last\", held_out=[\"b\"], batch=256, arch=\"jumprelu\", l0=\"1.0\", \
                 bandwidth=\"0.5\", expansion=8, steps=5000, learning_rate=\"0.5\", warmup=250, decay=1000, clip=1.0, \
                 sparsity_warmup=250, dead_after=100000, auxiliary=0.0, resample_every=1000, seed=0"
            )
        );
    }

    #[test]
    fn a_batch_that_there_is_no_memory_for_is_refused() {
        expect_room(256, 1536, 12_288).unwrap();
        let refused = expect_room(usize::MAX, 1536, 12_288).unwrap_err();
        assert!(refused.starts_with("--batch: ") && refused.ends_with("give fewer"), "{refused}");
    }
}
