//! What an SAE has to beat, with as many features, as many of them active, on the same tiles.

use std::error::Error;

use coverslip_analysis::sae::{Evaluation, Moments, Objective, RawDimensions, Sae, Untrained};

use super::data::{Data, Stream};
use crate::findings::sae::BaselineFigures;

/// Training tiles that a decoder is refitted on, at most.
const REFITTED_ON: usize = 8192;

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
    let sample = data.sample(true, REFITTED_ON, seed)?.rows;
    let mut stream = Stream::new(data, seed, 0)?;
    let size = (features, l0.round() as usize);
    let fill = |count, batch: &mut Vec<f32>| stream.batch(count, batch).map_err(Box::<dyn Error>::from);
    let Untrained { objective, random, frozen } = Untrained::new(size, (&sample, data.width), (steps, seed), fill)?;
    let refitted = random.refitted(objective, &sample);
    let mut found = vec![Baseline { name: "random, decoder refitted", sae: refitted, objective }];
    found.extend(frozen.map(|sae| Baseline { name: "random decoder, frozen", sae, objective }));
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
