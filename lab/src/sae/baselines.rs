//! What an SAE has to beat, with as many features, as many of them active, on the same tiles.

use std::error::Error;

use coverslip_analysis::sae::{Evaluation, Moments, Objective, RawDimensions, Sae, Settings, Trainer};

use super::data::{Data, Stream};
use crate::findings::sae::BaselineFigures;

/// Training tiles that a decoder is refitted on, at most.
const REFITTED_ON: usize = 8192;
/// Tiles per step of the baseline that is trained.
const BATCH: usize = 256;

/// A dictionary that nobody trained, or only in part.
pub(super) struct Baseline {
    pub(super) name: &'static str,
    pub(super) sae: Sae,
    pub(super) objective: Objective,
}

/// A random SAE with the decoder that fits it best, and one whose decoder stays random while its encoder is trained for
/// `steps` (0: none). Both choose the round(`l0`) largest features of a tile.
///
/// # Errors
/// When the embeddings cannot be read.
pub(super) fn dictionaries(
    features: usize,
    l0: f64,
    data: &Data,
    steps: u64,
    seed: u64,
) -> Result<Vec<Baseline>, Box<dyn Error>> {
    let objective = Objective::TopK { k: (l0.round() as usize).clamp(1, features) };
    let sample = data.sample(true, REFITTED_ON, seed)?.rows;
    let settings = Settings { seed, frozen_decoder: true, ..Settings::new(objective, features, steps.max(1)) };
    let mut trainer = Trainer::new(settings, &sample, data.width)?;
    let refitted = trainer.sae().refitted(objective, &sample);
    let mut found = vec![Baseline { name: "random, decoder refitted", sae: refitted, objective }];
    if steps > 0 {
        let (mut stream, mut batch) = (Stream::new(data, seed, 0)?, Vec::new());
        for _ in 0..steps {
            stream.batch(BATCH, &mut batch)?;
            trainer.step(&batch);
        }
        found.push(Baseline { name: "random decoder, frozen", sae: trainer.sae(), objective });
    }
    Ok(found)
}

/// FVU and L0 of each on the held-out tiles, and of the largest raw dimensions.
///
/// # Errors
/// When the embeddings cannot be read.
pub(super) fn figures(
    dictionaries: &[Baseline],
    l0: f64,
    data: &Data,
    train: &Moments,
    held_out: &Moments,
) -> Result<Vec<BaselineFigures>, Box<dyn Error>> {
    let mut found = Vec::new();
    for one in dictionaries {
        let mut evaluation = Evaluation::new(one.sae.features);
        data.blocks(false, |block| {
            let active = one.sae.encode(one.objective, block);
            evaluation.add(block, &active, &one.sae.decode(&active));
        })?;
        found.push(BaselineFigures { name: one.name.into(), fvu: evaluation.fvu(held_out), l0: evaluation.l0() });
    }
    let mut raw = RawDimensions::new(train, l0);
    data.blocks(false, |block| raw.add(block))?;
    found.push(BaselineFigures { name: "raw dimensions".into(), fvu: raw.fvu(held_out), l0 });
    Ok(found)
}
