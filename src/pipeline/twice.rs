//! UNSTABLE: some tiles are run a second time with their colours changed as another scanner would change them, and the
//! features of both runs are compared.

use coverslip_profile::instability;

use crate::slide::state::Work;
use coverslip_base::memory::{grow, reserve};
use coverslip_engine::{Failure, Lane, TileOutput};

/// What one lane keeps between batches.
#[derive(Default)]
pub(super) struct Twice {
    /// Indices into the batch.
    chosen: Vec<usize>,
    pixels: Vec<Vec<u8>>,
    outputs: Vec<TileOutput>,
}

impl Twice {
    /// Runs the chosen ones of `works` again on `lane`, compares them with their first `outputs`, and notes the
    /// instability of each.
    pub(super) fn run(
        &mut self,
        lane: &mut dyn Lane,
        works: &mut [Work],
        outputs: &[TileOutput],
    ) -> Result<(), Failure> {
        self.choose(works)?;
        let count = self.chosen.len();
        if count == 0 {
            return Ok(());
        }
        grow(&mut self.outputs, count)?;
        self.outputs.resize_with(count.max(self.outputs.len()), TileOutput::default);
        self.outputs.iter_mut().for_each(|output| output.failed = false);
        let mut tiles: Vec<&[u8]> = reserve(count)?;
        tiles.extend(self.pixels[..count].iter().map(Vec::as_slice));
        lane.run(&tiles, &mut self.outputs[..count])?;
        for (&i, again) in self.chosen.iter().zip(&self.outputs).filter(|(_, again)| !again.failed) {
            let instability = instability(pairs(&outputs[i]), pairs(again));
            works[i].slot.evidence.instability = Some(instability);
        }
        Ok(())
    }

    /// Fills `chosen`, and `pixels` with their tiles in other colours.
    fn choose(&mut self, works: &[Work]) -> Result<(), Failure> {
        self.chosen.clear();
        grow(&mut self.chosen, works.len())?;
        for (i, work) in works.iter().enumerate() {
            // Grey has no colours that could change.
            let stability = work.slide.config.stability.as_ref().filter(|_| !work.slot.is_grey);
            let Some(perturbation) = stability.and_then(|stability| stability.of(work.slot.identity.place)) else {
                continue;
            };
            let (place, tile) = (self.chosen.len(), work.slot.input());
            if self.pixels.len() == place {
                grow(&mut self.pixels, place + 1)?;
                self.pixels.push(Vec::new());
            }
            grow(&mut self.pixels[place], tile.len())?;
            self.pixels[place].resize(tile.len(), 0);
            perturbation.apply(tile, &mut self.pixels[place]);
            self.chosen.push(i);
        }
        Ok(())
    }
}

/// The features of a tile and their values.
fn pairs(output: &TileOutput) -> impl Iterator<Item = (u32, f32)> + Clone {
    output.features.iter().map(|feature| (feature.index, feature.value))
}
