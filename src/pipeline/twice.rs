//! UNSTABLE: some tiles are run a second time with their colours changed as another scanner would change them, and the
//! features of both runs are compared.

use coverslip_profile::instability;

use crate::engine::{Failure, Lane, TileOutput};
use crate::slide::state::Work;

/// What one lane keeps between batches.
#[derive(Default)]
pub(super) struct Twice {
    /// Indices into the batch.
    chosen: Vec<usize>,
    pixels: Vec<Vec<u8>>,
    outputs: Vec<TileOutput>,
}

impl Twice {
    /// Runs the chosen ones of `works` again on `lane` and compares them with their first `outputs`. Gives index and
    /// instability of each.
    pub(super) fn run(
        &mut self,
        lane: &mut dyn Lane,
        works: &[Work],
        outputs: &[TileOutput],
    ) -> Result<impl Iterator<Item = (usize, f32)>, Failure> {
        self.chosen.clear();
        for (i, work) in works.iter().enumerate() {
            let stability = work.slide.config.stability.as_ref();
            let Some(perturbation) = stability.and_then(|stability| stability.of(work.slot.identity.place)) else {
                continue;
            };
            let (place, tile) = (self.chosen.len(), work.slot.input());
            if self.pixels.len() == place {
                self.pixels.push(Vec::new());
            }
            self.pixels[place].resize(tile.len(), 0);
            perturbation.apply(tile, &mut self.pixels[place]);
            self.chosen.push(i);
        }
        let count = self.chosen.len();
        if count > 0 {
            self.outputs.resize_with(count.max(self.outputs.len()), TileOutput::default);
            let tiles: Vec<&[u8]> = self.pixels[..count].iter().map(Vec::as_slice).collect();
            lane.run(&tiles, &mut self.outputs[..count])?;
        }
        let pairs = |output: &TileOutput| output.features.iter().map(|f| (f.index, f.value)).collect::<Vec<_>>();
        Ok(self.chosen.iter().zip(&self.outputs).map(move |(&i, again)| {
            let (before, after) = (pairs(&outputs[i]), pairs(again));
            (i, instability(before.iter().copied(), after.iter().copied()))
        }))
    }
}
