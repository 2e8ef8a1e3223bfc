//! `coverslip sae eval`: what an SAE keeps of slides that it has not seen, beside as many principal components.

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};

use coverslip_analysis::sae::{Architecture, Evaluation, Moments, PcaBaseline};
use serde::{Deserialize, Serialize};

use super::data::{Data, Split};
use super::files;
use crate::embeddings::EmbeddingError;
use coverslip_files::put;

/// The slides that `sae train` held out, beside the SAE.
pub(super) const SPLIT: &str = "split.json";

/// What `coverslip sae eval` takes.
#[derive(clap::Args, Debug, Clone)]
pub(crate) struct Args {
    /// SAEs in any format that `bundle build --sae` takes; of `sae train`, the slides it held out are used
    #[arg(required = true)]
    saes: Vec<PathBuf>,
    /// Embeddings, as `coverslip embed` writes them
    #[arg(long, value_name = "FILE")]
    embeddings: PathBuf,
    /// The tap [default: the only one]
    #[arg(long)]
    tap: Option<String>,
    /// Slides to measure on [default: split.json beside the SAEs, which has to say the same]
    #[arg(long, value_name = "FILE")]
    split: Option<PathBuf>,
    /// Where sae-eval.json goes
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// sae-eval.json.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct EvalReport {
    pub(crate) embeddings: String,
    pub(crate) tap: String,
    pub(crate) width: usize,
    pub(crate) train_tiles: u64,
    pub(crate) held_out_tiles: u64,
    pub(crate) held_out_slides: usize,
    /// FVU of 1, 2, 4 … principal components, fitted on the training tiles.
    pub(crate) pca: Vec<(f64, f64)>,
    pub(crate) saes: Vec<EvalRow>,
}

/// One SAE.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct EvalRow {
    pub(crate) sae: String,
    pub(crate) architecture: String,
    pub(crate) features: usize,
    pub(crate) fvu: f64,
    pub(crate) l0: f64,
    /// Never active on the held-out tiles.
    pub(crate) dead: usize,
    /// Active on more than a tenth of them.
    pub(crate) dense: usize,
    /// FVU of as many principal components as L0.
    pub(crate) pca_fvu: f64,
    /// (log10 of the frequency at the bin's lower end, features); bins of half a decade.
    pub(crate) histogram: Vec<(f64, usize)>,
}

/// Measures, prints a table and writes sae-eval.json.
pub(super) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let beside = split_file(args)?;
    let data = Data::open(&args.embeddings, args.tap.as_deref(), |_| read_split(&beside))?;
    if data.split.held_out.is_empty() {
        return Err(format!("{}: expected held-out slides to measure on, found none", beside.display()).into());
    }
    let (mut train, mut held_out) = (Moments::new(data.width), Moments::new(data.width));
    data.blocks(true, |block| train.add(block))?;
    data.blocks(false, |block| held_out.add(block))?;
    if train.rows() == 0 || held_out.deviation() <= 0.0 {
        return Err(format!(
            "{}: expected training tiles, and held-out tiles that differ, found {} and {} with mean ||x - mean||^2 = {}",
            args.embeddings.display(),
            train.rows(),
            held_out.rows(),
            held_out.deviation()
        )
        .into());
    }
    let pca = PcaBaseline::fit(&train).ok_or("the principal components did not converge; check the embeddings")?;
    let mut saes = Vec::new();
    for path in &args.saes {
        saes.push(measure(path, &data, &held_out, &pca)?);
    }
    let counts = (0..).map(|power| 1_usize << power).take_while(|count| *count < data.width);
    let report = EvalReport {
        embeddings: args.embeddings.display().to_string(),
        tap: data.tap.clone(),
        width: data.width,
        train_tiles: train.rows(),
        held_out_tiles: held_out.rows(),
        held_out_slides: data.split.held_out.len(),
        pca: counts.map(|count| (count as f64, pca.fvu(&held_out, count as f64))).collect(),
        saes,
    };
    let text = serde_json::to_vec_pretty(&report)?;
    std::fs::create_dir_all(&args.out).map_err(|error| format!("{}: {error}", args.out.display()))?;
    put(&args.out.join("sae-eval.json"), &text)?;
    table(&report, &mut std::io::stdout().lock())?;
    Ok(())
}

/// The slides to measure on: stated, or those that every SAE was trained without.
///
/// # Errors
/// When the SAEs held out different slides: then one of them has seen what the other is measured on.
fn split_file(args: &Args) -> Result<PathBuf, EmbeddingError> {
    if let Some(stated) = &args.split {
        return Ok(stated.clone());
    }
    // An SAE from elsewhere has none.
    let known: Vec<PathBuf> = args.saes.iter().map(|sae| sae.join(SPLIT)).filter(|path| path.exists()).collect();
    let Some(first) = known.first() else { return Ok(args.saes[0].join(SPLIT)) };
    let held_out = |path: &Path| {
        read_split(path).map(|split| split.held_out.into_iter().collect::<std::collections::BTreeSet<String>>())
    };
    let own = held_out(first)?;
    for other in &known[1..] {
        let found = held_out(other)?;
        if found != own {
            return Err(EmbeddingError(format!(
                "expected SAEs that held out the same slides, found {} held out in {} and {} in {}, {} of them in both: one \
                 SAE was trained on what the other is measured on. Train with one --held-out and --split-seed, or name \
                 slides that none has seen with --split",
                own.len(),
                first.display(),
                found.len(),
                other.display(),
                own.intersection(&found).count()
            )));
        }
    }
    Ok(first.clone())
}

fn read_split(path: &Path) -> Result<Split, EmbeddingError> {
    let refused = |error: &dyn std::fmt::Display| {
        EmbeddingError(format!(
            "{}: expected the held-out slides as `sae train` writes them ({{\"held_out\": [...]}}), found: {error}",
            path.display()
        ))
    };
    let bytes = std::fs::read(path).map_err(|error| refused(&error))?;
    serde_json::from_slice(&bytes).map_err(|error| refused(&error))
}

fn measure(path: &Path, data: &Data, held_out: &Moments, pca: &PcaBaseline) -> Result<EvalRow, Box<dyn Error>> {
    let (sae, architecture) = files::read(path)?;
    if sae.width != data.width {
        return Err(format!(
            "{}: the SAE reads {} values, tap {} has {}; expected the tap that it was trained on",
            path.display(),
            sae.width,
            data.tap,
            data.width
        )
        .into());
    }
    let mut evaluation = Evaluation::new(sae.features);
    data.blocks(false, |block| {
        let active = sae.encode(architecture, block);
        evaluation.add(block, &active, &sae.decode(&active));
    })?;
    Ok(EvalRow {
        sae: path.display().to_string(),
        architecture: match architecture {
            Architecture::TopK { .. } => "topk",
            Architecture::Relu { .. } => "relu",
            Architecture::BatchTopK { .. } | Architecture::JumpRelu { .. } => "jumprelu",
        }
        .to_owned(),
        features: sae.features,
        fvu: evaluation.fvu(held_out),
        l0: evaluation.l0(),
        dead: evaluation.dead(),
        dense: evaluation.dense(),
        pca_fvu: pca.fvu(held_out, evaluation.l0()),
        histogram: evaluation.histogram(),
    })
}

/// At most 80 columns.
fn table(report: &EvalReport, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(
        out,
        "tap {}, {} held-out tiles of {} slides, {} to train on",
        report.tap, report.held_out_tiles, report.held_out_slides, report.train_tiles
    )?;
    writeln!(
        out,
        "{:<26} {:<8} {:>7} {:>6} {:>7} {:>6} {:>5} {:>7}",
        "SAE", "", "features", "L0", "FVU", "dead", "dense", "PCA FVU"
    )?;
    for line in &report.saes {
        let name: String = line.sae.chars().rev().take(26).collect::<Vec<char>>().into_iter().rev().collect();
        writeln!(
            out,
            "{name:<26} {:<8} {:>7} {:>6.1} {:>7.4} {:>6} {:>5} {:>7.4}",
            line.architecture, line.features, line.l0, line.fvu, line.dead, line.dense, line.pca_fvu
        )?;
    }
    Ok(())
}
