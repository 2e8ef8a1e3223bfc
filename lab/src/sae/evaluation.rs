//! `coverslip sae eval`: how much an SAE keeps of slides that it has not seen, compared with as many principal components.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};

use coverslip_analysis::sae::{Evaluation, Moments, PcaBaseline};

use super::data::Data;
use super::split::Split;
use super::{files, objective};
use crate::claim;
use crate::embeddings::{EmbeddingError, SlideColumn};
use crate::findings::file::Findings;
use crate::findings::sae::{SaeFigures, SaeFindings};

pub(crate) struct Options {
    pub(crate) saes: Vec<PathBuf>,
    pub(crate) embeddings: PathBuf,
    pub(crate) tap: Option<String>,
    /// The column of the embeddings' table that names the slide.
    pub(crate) slides: SlideColumn,
    /// The held-out slides; `None`: those beside the SAEs.
    pub(crate) split: Option<PathBuf>,
    /// The folder of the findings.
    pub(crate) out: PathBuf,
}

/// Measures, prints a table and writes sae-eval.json.
pub(crate) fn run(options: &Options, out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    let _claim = claim::within(&options.out)?;
    let beside = split_file(options)?;
    let data = Data::open(&options.embeddings, options.tap.as_deref(), &options.slides, |_| Split::read(&beside))?;
    if data.split.held_out.is_empty() {
        return Err(format!("{}: expected held-out slides to measure on, found none", beside.display()).into());
    }
    let (mut train, mut held_out) = (Moments::new(data.width), Moments::new(data.width));
    data.blocks(true, |block| train.add(block))?;
    data.blocks(false, |block| held_out.add(block))?;
    if train.rows() == 0 || held_out.deviation() <= 0.0 {
        return Err(format!(
            "{}: expected training tiles, and held-out tiles that differ, found {} and {} with mean ||x - mean||^2 = {}",
            options.embeddings.display(),
            train.rows(),
            held_out.rows(),
            held_out.deviation()
        )
        .into());
    }
    let pca = PcaBaseline::fit(&train).ok_or("the principal components did not converge; check the embeddings")?;
    let mut saes = Vec::new();
    for path in &options.saes {
        saes.push(measure(path, &data, &held_out, &pca)?);
    }
    let counts = (0..).map(|power| 1_usize << power).take_while(|count| *count < data.width);
    let found = SaeFindings {
        embeddings: options.embeddings.display().to_string(),
        tap: data.tap.clone(),
        width: data.width,
        train_tiles: train.rows(),
        held_out_tiles: held_out.rows(),
        held_out_slides: data.split.held_out.len(),
        pca: counts.map(|count| (count as f64, pca.fvu(&held_out, count as f64))).collect(),
        saes,
    };
    found.save(&options.out)?;
    Ok(table(&found, out)?)
}

/// The slides to measure on: stated, or those that every SAE was trained without.
///
/// # Errors
/// When the SAEs held out different slides: then one of them has seen what the other is measured on.
fn split_file(options: &Options) -> Result<PathBuf, EmbeddingError> {
    if let Some(stated) = &options.split {
        return Ok(stated.clone());
    }
    // An SAE from elsewhere has none.
    let known: Vec<PathBuf> =
        options.saes.iter().map(|sae| sae.join(Split::FILE)).filter(|path| path.exists()).collect();
    let Some(first) = known.first() else { return Ok(options.saes[0].join(Split::FILE)) };
    let held_out =
        |path: &Path| Split::read(path).map(|split| split.held_out.into_iter().collect::<BTreeSet<String>>());
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

fn measure(path: &Path, data: &Data, held_out: &Moments, pca: &PcaBaseline) -> Result<SaeFigures, Box<dyn Error>> {
    let (sae, objective) = files::read(path)?;
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
        let active = sae.encode(objective, block);
        evaluation.add(block, &active, &sae.decode(&active));
    })?;
    Ok(SaeFigures {
        sae: path.display().to_string(),
        architecture: objective::activation(objective).to_owned(),
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
fn table(found: &SaeFindings, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(
        out,
        "tap {}, {} held-out tiles of {} slides, {} to train on",
        found.tap, found.held_out_tiles, found.held_out_slides, found.train_tiles
    )?;
    writeln!(
        out,
        "{:<26} {:<8} {:>7} {:>6} {:>7} {:>6} {:>5} {:>7}",
        "SAE", "", "features", "L0", "FVU", "dead", "dense", "PCA FVU"
    )?;
    for line in &found.saes {
        let name: String = line.sae.chars().rev().take(26).collect::<Vec<char>>().into_iter().rev().collect();
        writeln!(
            out,
            "{name:<26} {:<8} {:>7} {:>6.1} {:>7.4} {:>6} {:>5} {:>7.4}",
            line.architecture, line.features, line.l0, line.fvu, line.dead, line.dense, line.pca_fvu
        )?;
    }
    Ok(())
}
