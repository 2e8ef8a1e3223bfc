//! `coverslip sae eval`: how much an SAE keeps of slides that it has not seen, what of that others would keep, whether its
//! features come again with another seed, and which labels can be read from few of them.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};

use coverslip_analysis::sae::{Evaluation, Moments, Objective, PcaBaseline, Sae, agreement};

use super::data::Data;
use super::probes::Probing;
use super::split::Split;
use super::{baselines, files, objective, page};
use crate::claim;
use crate::embeddings::names::SLIDE;
use crate::embeddings::{EmbeddingError, SlideColumn};
use crate::findings::file::Findings;
use crate::findings::sae::{AgreementFigures, SaeFigures, SaeFindings};

pub(crate) struct Options {
    pub(crate) saes: Vec<PathBuf>,
    pub(crate) embeddings: PathBuf,
    pub(crate) tap: Option<String>,
    /// The column of the embeddings' table that names the slide.
    pub(crate) slides: SlideColumn,
    /// The column whose equal values are held out together; `None`: as the SAEs were trained.
    pub(crate) group: Option<String>,
    /// The column of labels that are read from few features.
    pub(crate) probe: Option<String>,
    /// Steps in which the encoder of a frozen random decoder is trained; 0: no such baseline.
    pub(crate) baseline_steps: u64,
    /// The held-out slides; `None`: those beside the SAEs.
    pub(crate) split: Option<PathBuf>,
    /// The folder of the findings.
    pub(crate) out: PathBuf,
}

/// Measures, prints a table and writes sae-eval.json.
pub(crate) fn run(options: &Options, out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    let _claim = claim::within(&options.out)?;
    let beside = split_file(options)?;
    let split = Split::read(&beside)?;
    let grouped_by = options.group.clone().or_else(|| split.grouped_by.clone());
    let column =
        grouped_by.as_ref().map_or_else(|| options.slides.clone(), |name| SlideColumn::new(Some(name.clone())));
    let data = Data::open(&options.embeddings, options.tap.as_deref(), &column, |_| Ok(split))?;
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
    let grouped_by = grouped_by.unwrap_or_else(|| SLIDE.into());
    let probing = options.probe.as_ref().map(|label| Probing::open(&data, label, &column, &grouped_by)).transpose()?;
    let (mut saes, mut probed, mut dictionaries) = (Vec::new(), Vec::new(), Vec::new());
    for path in &options.saes {
        let own = Dictionary::read(path, &data)?;
        let evaluation = own.evaluated(&data)?;
        let others = baselines::dictionaries(own.sae.features, evaluation.l0(), &data, options.baseline_steps, 0)?;
        if let Some(probing) = &probing {
            probed.push(probing.dictionary(&own.name, &own.sae, own.objective));
            let named = |other: &baselines::Baseline| probing.dictionary(other.name, &other.sae, other.objective);
            probed.extend(others.iter().map(named));
        }
        let beside = baselines::figures(&others, evaluation.l0(), &data, &train, &held_out)?;
        saes.push(SaeFigures { baselines: beside, ..own.figures(&evaluation, &held_out, &pca) });
        dictionaries.push((own, evaluation.living()));
    }
    let probes = probing.map(|probing| probing.findings(&data, probed)).transpose()?;
    let counts = (0..).map(|power| 1_usize << power).take_while(|count| *count < data.width);
    let found = SaeFindings {
        embeddings: options.embeddings.display().to_string(),
        tap: data.tap.clone(),
        rows: data.file.rows_are()?.to_owned(),
        width: data.width,
        train_tiles: train.rows(),
        held_out_tiles: held_out.rows(),
        held_out_slides: data.split.held_out.len(),
        grouped_by,
        agreement: agreements(&dictionaries),
        probes,
        pca: counts.map(|count| (count as f64, pca.fvu(&held_out, count as f64))).collect(),
        saes,
    };
    found.save(&options.out)?;
    Ok(page::print(&found, out)?)
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

/// An SAE as it was read.
struct Dictionary {
    name: String,
    sae: Sae,
    objective: Objective,
}

impl Dictionary {
    fn read(path: &Path, data: &Data) -> Result<Self, Box<dyn Error>> {
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
        Ok(Self { name: path.display().to_string(), sae, objective })
    }

    fn evaluated(&self, data: &Data) -> Result<Evaluation, EmbeddingError> {
        let mut evaluation = Evaluation::new(self.sae.features);
        data.blocks(false, |block| {
            let active = self.sae.encode(self.objective, block);
            evaluation.add(block, &active, &self.sae.decode(&active));
        })?;
        Ok(evaluation)
    }

    fn figures(&self, evaluation: &Evaluation, held_out: &Moments, pca: &PcaBaseline) -> SaeFigures {
        SaeFigures {
            sae: self.name.clone(),
            architecture: objective::activation(self.objective).to_owned(),
            features: self.sae.features,
            fvu: evaluation.fvu(held_out),
            l0: evaluation.l0(),
            dead: evaluation.dead(),
            dense: evaluation.dense(),
            pca_fvu: pca.fvu(held_out, evaluation.l0()),
            baselines: Vec::new(),
            histogram: evaluation.histogram(),
        }
    }
}

/// Every two dictionaries, by the features that fire on the held-out tiles.
fn agreements(dictionaries: &[(Dictionary, Vec<usize>)]) -> Vec<AgreementFigures> {
    let mut found = Vec::new();
    for (place, (first, alive)) in dictionaries.iter().enumerate() {
        for (second, living) in &dictionaries[place + 1..] {
            found.extend(agreement([&first.sae, &second.sae], [alive, living], 0).map(|found| AgreementFigures {
                saes: [first.name.clone(), second.name.clone()],
                median: found.median,
                chance: found.chance,
                found_again: found.found_again,
                features: found.features,
            }));
        }
    }
    found
}
