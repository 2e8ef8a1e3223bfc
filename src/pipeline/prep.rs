//! From native pixels to the model's input: image QC, background gate, resampling.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use coverslip_profile::measurement;

use super::queues::Job;
use super::shared::Shared;
use crate::fault;
use crate::judge::rules::is_background;
use crate::measure::focus::FocusMeter;
use crate::measure::meter::PixelMeter;
use crate::resample::Resampler;
use crate::slide::state::Work;
use crate::sync::Ordering;
use crate::tiles::slot::Outcome;

/// The loop of one prep worker.
pub(crate) fn run(shared: &Shared) {
    let mut bench = Bench::new(shared.side);
    while let Ok(Job::Tile(mut work)) = shared.wakes.next(&shared.queues.prep.1, None) {
        let start = Instant::now();
        fenced(shared, &mut work, |work| bench.prepare(work));
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

/// A worker's memory, kept between tiles.
struct Bench {
    side: usize,
    meter: PixelMeter,
    focus: FocusMeter,
    /// For slots of this native size.
    resampler: Option<(usize, usize, Resampler)>,
}

impl Bench {
    fn new(side: usize) -> Bench {
        Bench { side, meter: PixelMeter::new(side), focus: FocusMeter::new(side), resampler: None }
    }

    fn prepare(&mut self, work: &mut Work) {
        fault::point("prep");
        work.end_if_over();
        let slot = &mut work.slot;
        if slot.outcome != Outcome::Pending {
            return;
        }
        slot.whiten();
        let missing = slot.missing();
        let (width, height, pixels) = slot.native();
        // Exposure comes before the gate: overexposed tissue must not pass as background.
        slot.evidence.measurements = self.meter.measure(pixels, width, height, missing);
        let glass = is_background(slot.evidence.measurements[measurement::TISSUE]);
        if glass && !work.slide.config.analyse_background {
            slot.outcome = Outcome::Background;
            return;
        }
        if let Some((native, input)) = slot.native_and_input() {
            self.resampler(width, height).resample(native, input);
        }
        // The edge of what never arrived would look sharp.
        if missing == 0 {
            slot.evidence.measurements[measurement::SHARPNESS] = self.focus.sharpness(slot.input(), self.side);
        }
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
