//! From native pixels to the model's input: image QC, background gate, resampling.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use coverslip_plugin_abi::LOG_ERROR;
use coverslip_profile::{Measurements, measurement};

use super::queues::Job;
use super::shared::Shared;
use crate::judge::rules::is_background;
use crate::measure::focus::FocusMeter;
use crate::measure::meter::PixelMeter;
use crate::resample::Resampler;
use crate::slide::state::Work;
use crate::tiles::slot::Outcome;
use coverslip_base::error::Result;
use coverslip_base::fault;
use coverslip_base::sync::Ordering;

/// The loop of one prep worker.
pub(crate) fn run(shared: &Shared) {
    let mut bench = Bench { side: shared.side, ..Bench::default() };
    // Ahead, for tiles of the model's size. Where there is no memory yet the first tile asks again.
    let _ = bench.fit(shared.side, shared.side);
    while let Ok(Job::Tile(mut work)) = shared.wakes.next(&shared.queues.prep.1, None) {
        let start = Instant::now();
        fenced(shared, &mut work, |work| {
            if let Err(refusal) = bench.prepare(work) {
                work.slot.outcome = Outcome::Failed;
                shared.log.write(LOG_ERROR, format_args!("a tile could not be prepared: {}", refusal.text()));
            }
        });
        shared.times.prep.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        if work.slot.outcome == Outcome::Pending {
            shared.queues.make_ready(work);
        } else {
            shared.queues.give_back(work);
        }
    }
}

/// Runs one step on a tile. A panic in it fails the tile and poisons its slide; the worker goes on.
fn fenced(shared: &Shared, work: &mut Work, step: impl FnOnce(&mut Work)) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| step(work))) {
        shared.log.defect("prep", &*panic);
        work.slot.outcome = Outcome::Failed;
        work.slide.poison();
    }
}

/// Of a grey tile, what only colours show was not measured.
fn forget_colour(m: &mut Measurements) {
    m[measurement::DENSITY_MEAN..][..3].fill(f32::NAN);
    m[measurement::DENSITY_SPREAD..][..3].fill(f32::NAN);
    (m[measurement::FOREIGN], m[measurement::FOREIGN_SHARE]) = (f32::NAN, f32::NAN);
}

/// A worker's memory, kept between tiles.
#[derive(Default)]
struct Bench {
    side: usize,
    meter: PixelMeter,
    focus: FocusMeter,
    /// For slots of this native size.
    resampler: Option<(usize, usize, Resampler)>,
}

impl Bench {
    /// Room for tiles of this native size.
    fn fit(&mut self, width: usize, height: usize) -> Result<()> {
        self.meter.fit(width, height)?;
        self.focus.fit(self.side)
    }

    fn prepare(&mut self, work: &mut Work) -> Result<()> {
        fault::point("prep");
        work.end_if_over();
        let slot = &mut work.slot;
        if slot.outcome != Outcome::Pending {
            return Ok(());
        }
        slot.whiten();
        let missing = slot.missing();
        let (width, height, pixels) = slot.native();
        self.fit(width, height)?;
        // Exposure comes before the gate: overexposed tissue must not pass as background.
        slot.evidence.measurements = self.meter.measure(pixels, width, height, missing);
        if let Some(white) = slot.white {
            slot.evidence.measurements[measurement::GLASS..][..3].copy_from_slice(&white);
        }
        if slot.is_grey {
            forget_colour(&mut slot.evidence.measurements);
        }
        let glass = is_background(slot.evidence.measurements[measurement::TISSUE]);
        if glass && !work.slide.config.analyse_background {
            slot.outcome = Outcome::Background;
            return Ok(());
        }
        if let Some((native, input)) = slot.native_and_input() {
            self.resampler(width, height).resample(native, input)?;
        }
        // The edge of what never arrived would look sharp.
        if missing == 0 {
            self.focus.sharpness(slot.input(), self.side).write(&mut slot.evidence.measurements);
        }
        Ok(())
    }

    fn resampler(&mut self, width: usize, height: usize) -> &mut Resampler {
        let fits = matches!(self.resampler, Some((w, h, _)) if (w, h) == (width, height));
        if !fits {
            self.resampler = None;
        }
        let side = self.side as u32;
        &mut self.resampler.get_or_insert_with(|| (width, height, Resampler::new(width as u32, height as u32, side))).2
    }
}
