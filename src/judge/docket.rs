//! The judge's book on one slide: which tiles are on their way, and which have ended and wait for room in the outbox.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::{Alert, TileResult};

use super::alerts::{AlertState, Scene};
use super::flags::{self, Flags};
use super::rules::{Calibrated, Rules};
use crate::restarts::Restarted;
use crate::slide::config::SlideConfig;
use crate::slide::state::Slide;
use crate::tiles::grid::{Place, Rect};
use crate::tiles::slot::{Evidence, Identity, Outcome, Slot};
use coverslip_base::error::Result;
use coverslip_base::fault;
use coverslip_base::memory::{Boxed, reserve};

/// How soon a docket is looked at again after a frame was being copied or a defect was caught.
const SOON: Duration = Duration::from_millis(10);

/// A tile that has left the assembler and has no result yet.
struct Moving {
    identity: Identity,
    since: Instant,
    /// Decided without its slot: expired, cancelled or failed.
    verdict: Option<Outcome>,
    /// It has come back and waits for room.
    parked: bool,
}

pub(crate) struct Docket {
    slide: Arc<Slide>,
    rules: Rules,
    /// By slot number.
    moving: Vec<Option<Moving>>,
    /// How many there are of them.
    moving_count: usize,
    /// When the first of them passes its deadline, at the earliest.
    deadline: Option<Instant>,
    /// When the docket wants a look for another reason.
    look_again: Option<Instant>,
    /// Tiles that have their outcome, in the order in which they came back, kept with their slots until there is room.
    parked: VecDeque<Boxed<Slot>>,
    sequence: u64,
    alerts: AlertState,
    /// Frames come with the time of their capture.
    paced: bool,
    /// The frames refused when the assembler was last tended.
    refused: u64,
    /// What can be said of the slide as a whole has been said.
    concluded: bool,
}

/// What the alerts of a slide need to know of it.
pub(crate) fn scene<'a>(config: &'a SlideConfig, rules: &'a Rules) -> Scene<'a> {
    Scene {
        calibrated: rules.calibrated.as_ref(),
        grid: &config.grid,
        max_tiles: config.max_tiles,
        tile_mm: config.tile_mm,
    }
}

/// Makes a slide finished, also when a panic cuts its conclusion short: `slide_finish` would wait for ever.
struct Conclusion<'s>(&'s Slide);

impl Drop for Conclusion<'_> {
    fn drop(&mut self) {
        self.0.standing.finish();
    }
}

impl Docket {
    /// Reserves what a docket needs, and says what is known of the slide when it begins. `fallback`: why not the engine
    /// that was asked for runs; `precision`: `COVERSLIP_PRECISION_*` of the one that does.
    pub(crate) fn new(slide: Arc<Slide>, rules: Rules, fallback: Option<i32>, precision: i32) -> Result<Docket> {
        let mut moving = reserve(slide.config.slots)?;
        moving.resize_with(slide.config.slots, || None);
        let mut docket = Docket {
            moving,
            moving_count: 0,
            deadline: None,
            look_again: None,
            parked: VecDeque::from(reserve(slide.config.slots)?),
            sequence: 0,
            alerts: AlertState::new(&scene(&slide.config, &rules))?,
            paced: false,
            refused: 0,
            concluded: false,
            rules,
            slide,
        };
        if docket.slide.config.unknown_scanner {
            let alert = docket.alerts.unknown_scanner();
            docket.slide.announce(alert);
        }
        let calibrated_at = docket.rules.calibrated.as_ref().map_or(0, Calibrated::precision);
        if calibrated_at != 0 && calibrated_at != precision {
            let alert = docket.alerts.other_precision(calibrated_at, precision);
            docket.slide.announce(alert);
        }
        if let Some(reason) = fallback {
            docket.fallback(reason, Instant::now());
        }
        Ok(docket)
    }

    pub(super) fn slide(&self) -> &Slide {
        &self.slide
    }

    /// When the docket wants a look although nothing happens; None: until something does, there is nothing to see.
    pub(super) fn due(&self) -> Option<Instant> {
        let deadline = self.deadline.filter(|_| self.moving_count > 0);
        [deadline, self.look_again].into_iter().flatten().min()
    }

    /// Wants another look: a defect has cut a step short. Not at once, also where a deadline has passed: the next look may
    /// meet the same defect.
    pub(super) fn look_soon(&mut self, now: Instant) {
        self.deadline = None;
        self.look_again = Some(now + SOON);
    }

    // -- tiles --------------------------------------------------------------------------------------------------------

    /// A tile has left the assembler.
    pub(super) fn departed(&mut self, slot: u32, identity: Identity, now: Instant) {
        self.paced |= identity.first.captured_ns != 0 || identity.last.captured_ns != 0;
        let over = self.slide.verdict_when_over();
        let moving = Moving { identity, since: now, verdict: over, parked: false };
        self.moving_count += usize::from(self.moving[slot as usize].replace(moving).is_none());
        if over.is_some() {
            // The look that the end of the slide asked for may have been before this.
            self.give_decided(slot as usize, now);
            self.look_when_last(now);
        } else if let Some(after) = self.slide.config.result_deadline {
            let deadline = now + after;
            self.deadline = Some(self.deadline.map_or(deadline, |known| known.min(deadline)));
        }
    }

    /// A tile comes back. Its slot is free again once its result has room.
    pub(super) fn returned(&mut self, mut slot: Boxed<Slot>, now: Instant) {
        let settled = match self.moving[slot.id as usize].as_mut() {
            // It has ended without its slot.
            None => true,
            Some(moving) => {
                // Decided, but not given yet: the slot must not be used again before it is.
                slot.outcome = moving.verdict.take().unwrap_or(slot.outcome);
                self.parked.is_empty() && self.settle_slot(&slot, now)
            }
        };
        if settled {
            self.slide.release(slot);
        } else {
            self.set_parked(&slot, true);
            self.parked.push_back(slot);
        }
        self.look_when_last(now);
        self.slide.gate.notify();
    }

    /// The last result of a closed slide concludes it.
    fn look_when_last(&mut self, now: Instant) {
        if self.slide.standing.is_closed() && self.slide.published.in_flight() == 0 {
            self.look(now);
        }
    }

    fn forget(&mut self, id: usize) {
        self.moving_count -= usize::from(self.moving[id].take().is_some());
    }

    /// A tile is parked while its slot lies here, and not while it is settled: one that is lost in a panic there is decided
    /// like one that never came back.
    fn set_parked(&mut self, slot: &Slot, parked: bool) {
        if let Some(moving) = self.moving[slot.id as usize].as_mut() {
            moving.parked = parked;
        }
    }

    /// Puts the result of a tile that came back into the outbox; false when there is no room.
    fn settle_slot(&mut self, slot: &Slot, now: Instant) -> bool {
        fault::point("judge");
        let seen = (&slot.features[..], &slot.embedding[..]);
        let judged = flags::judge(&slot.evidence, seen, (slot.outcome, slot.identity.place), &self.rules);
        let record = self.record(&slot.identity, slot.outcome, &slot.evidence, &judged, now);
        let (features, embedding) = if slot.outcome == Outcome::Done { seen } else { (&[][..], &[][..]) };
        let embedding = if self.slide.config.embeddings { embedding } else { &[] };
        if !self.slide.put(record, features, embedding) {
            return false;
        }
        self.slide.published.add_retried(slot.evidence.retried);
        self.forget(slot.id as usize);
        self.note(record, now);
        true
    }

    fn settle_without_slot(&mut self, identity: &Identity, outcome: Outcome, now: Instant) -> bool {
        let nothing = Evidence::default();
        let judged = flags::judge(&nothing, (&[], &[]), (outcome, identity.place), &self.rules);
        let record = self.record(identity, outcome, &nothing, &judged, now);
        let put = self.slide.put(record, &[], &[]);
        if put {
            self.note(record, now);
        }
        put
    }

    /// The result of a tile that a refused frame would have touched and that never got a pixel.
    fn settle_refused(&mut self, place: Place, area: Rect, now: Instant) -> bool {
        let identity = Identity::new(place, area, Default::default(), now);
        let outcome = self.slide.verdict_when_over().unwrap_or(Outcome::Refused);
        self.settle_without_slot(&identity, outcome, now)
    }

    /// A result has been given: what it says of the slide.
    fn note(&mut self, record: TileResult, now: Instant) {
        self.sequence += 1;
        let alerts = self.alerts.observe(&record, self.paced, self.slide.age_ns(now));
        alerts.into_iter().flatten().for_each(|alert| self.slide.announce(alert));
    }

    fn record(
        &self,
        identity: &Identity,
        outcome: Outcome,
        evidence: &Evidence,
        flags: &Flags,
        now: Instant,
    ) -> TileResult {
        let done = outcome == Outcome::Done;
        TileResult {
            sequence: self.sequence,
            column: identity.place.column,
            row: identity.place.row,
            x: identity.area.x0,
            y: identity.area.y0,
            width: (identity.area.x1 - identity.area.x0) as u32,
            height: (identity.area.y1 - identity.area.y0) as u32,
            pass: u32::from(identity.place.pass),
            status: status(outcome),
            flags_checked: flags.checked,
            flags_raised: flags.raised,
            flags_calibrated: flags.calibrated,
            coverage: identity.coverage,
            scores: flags.scores,
            reconstruction_error: evidence.reconstruction_error.filter(|_| done).unwrap_or(f32::NAN),
            active_count: if done { evidence.active_count } else { 0 },
            first_frame_id: identity.first.id,
            last_frame_id: identity.last.id,
            group_id: identity.first.group,
            latency_ns: now.saturating_duration_since(identity.last_pixel).as_nanos() as u64,
            engine_epoch: evidence.epoch.unwrap_or(self.slide.config.engine_epoch),
            p_values: flags.p_values,
            measurements: evidence.measurements,
            channels_missing: if outcome == Outcome::Refused { identity.channels_missing } else { 0 },
            not_scanned: identity.not_scanned,
            ..Default::default()
        }
    }

    // -- the slide ----------------------------------------------------------------------------------------------------

    /// Another engine runs than the one asked for, or none any more.
    pub(super) fn fallback(&mut self, reason: i32, now: Instant) {
        let alert = self.alerts.fallback(reason, self.slide.age_ns(now));
        self.announce(alert);
        self.slide.gate.notify();
    }

    /// The engine's process was started again.
    pub(super) fn restarted(&mut self, restarted: &Restarted, now: Instant) {
        if self.slide.standing.is_finished() {
            return;
        }
        self.slide.published.add_restarts(restarted.count);
        let alert = self.alerts.restarted(restarted, self.slide.age_ns(now));
        self.slide.announce(alert);
        self.slide.gate.notify();
    }

    fn announce(&self, alert: Option<Alert>) {
        if let Some(alert) = alert {
            self.slide.announce(alert);
        }
    }

    /// Everything about a slide that is not the return of a tile.
    pub(super) fn look(&mut self, now: Instant) {
        if self.slide.verdict_when_over().is_some() {
            self.slide.close();
        }
        // Asked before the assembler is tended: what it refused is said before the slide is finished.
        let closed = self.slide.standing.is_closed();
        self.look_again = self.tend_assembly(now);
        self.decide(now);
        self.flush(now);
        if closed {
            let slide = self.slide.clone();
            slide.sweep_refused(&mut |place, area| self.settle_refused(place, area, now));
            if slide.published.in_flight() == 0 && !self.concluded {
                self.conclude(now);
            }
        }
        self.slide.gate.notify();
    }

    /// Timeouts and refusals of the assembler, left for later while a frame is being copied. Gives when to come again.
    fn tend_assembly(&mut self, now: Instant) -> Option<Instant> {
        let refused = self.slide.published.refused();
        if self.slide.config.rules.timeout.is_none() && refused == self.refused {
            return None;
        }
        let Some(tended) = self.slide.tend_assembly(now) else { return Some(now + SOON) };
        self.refused = refused;
        let time = self.slide.age_ns(now);
        let alert = tended.overrun.and_then(|overrun| self.alerts.refused(&overrun, self.sequence, time));
        self.announce(alert);
        tended.due
    }

    /// Decides the tiles that will not be waited for: past the deadline, or of a slide that is over.
    fn decide(&mut self, now: Instant) {
        let over = self.slide.verdict_when_over();
        let after = self.slide.config.result_deadline;
        if let Some(verdict) = over {
            self.parked.iter_mut().for_each(|slot| slot.outcome = verdict);
        }
        self.deadline = None;
        if over.is_none() && after.is_none() {
            return;
        }
        let waiting = |moving: &&mut Moving| !moving.parked && moving.verdict.is_none();
        for moving in self.moving.iter_mut().flatten().filter(waiting) {
            let deadline = after.map(|after| moving.since + after);
            moving.verdict = over.or(deadline.is_some_and(|deadline| now >= deadline).then_some(Outcome::Expired));
            if moving.verdict.is_none() {
                self.deadline = [self.deadline, deadline].into_iter().flatten().min();
            }
        }
    }

    /// Gives out what waits, as far as the outbox has room.
    fn flush(&mut self, now: Instant) {
        while let Some(slot) = self.parked.pop_front() {
            self.set_parked(&slot, false);
            if !self.settle_slot(&slot, now) {
                self.set_parked(&slot, true);
                self.parked.push_front(slot);
                return;
            }
            self.slide.release(slot);
        }
        for id in 0..self.moving.len() {
            if !self.give_decided(id, now) {
                return;
            }
        }
    }

    /// Gives out a tile that has been decided without its slot, if it has; false when there is no room.
    fn give_decided(&mut self, id: usize, now: Instant) -> bool {
        let decided = self.moving[id].as_ref().and_then(|m| m.verdict.map(|verdict| (m.identity, verdict)));
        let Some((identity, verdict)) = decided else { return true };
        let given = self.settle_without_slot(&identity, verdict, now);
        if given {
            self.forget(id);
        }
        given
    }

    /// Every tile has its result, and no more come: what can be said of the slide as a whole. Said once.
    fn conclude(&mut self, now: Instant) {
        self.concluded = true;
        let slide = self.slide.clone();
        let _finished = Conclusion(&slide);
        let alert = self.alerts.conclude(slide.verdict_when_over().is_none(), slide.age_ns(now));
        slide.published.set_verdicts(self.alerts.scanner(), self.alerts.novelty());
        self.announce(alert);
    }
}

fn status(outcome: Outcome) -> i32 {
    match outcome {
        Outcome::Done => abi::TILE_DONE,
        Outcome::Background => abi::TILE_BACKGROUND,
        Outcome::Incomplete => abi::TILE_INCOMPLETE,
        Outcome::Refused => abi::TILE_REFUSED,
        Outcome::Expired => abi::TILE_EXPIRED,
        Outcome::Cancelled => abi::TILE_CANCELLED,
        // A tile cannot come back pending; if it did, something has failed.
        Outcome::Failed | Outcome::Pending => abi::TILE_FAILED,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::sync::{Arc, Weak};
    use std::time::Duration;

    use super::*;
    use crate::slide::fixture;
    use crate::slide::state::{Downstream, Work};
    use crate::tiles::assembler::is_busy;

    struct Nowhere;

    impl Downstream for Nowhere {
        fn depart(&self, _: Work) {}
        fn look(&self, _: Arc<Slide>) {}
    }

    #[test]
    fn what_was_refused_is_said_before_the_slide_is_finished() {
        // A frame of four tiles does not fit one slot.
        let slide = fixture::slide(1, 100, Weak::<Nowhere>::new());
        let rules = Rules { reconstruction_error: None, he: false, calibrated: None };
        let mut docket = Docket::new(slide.clone(), rules, None, abi::PRECISION_FLOAT32).expect("memory");
        assert!(fixture::submit(&slide, 0, (2, 2)).is_err_and(|e| is_busy(&e)));
        slide.close();
        // The host's thread is still in the assembler, as in slide_finish.
        let (tell, held) = channel();
        let host = std::thread::spawn({
            let slide = slide.clone();
            move || {
                slide.sweep_refused(&mut |_, _| {
                    let _ = tell.send(());
                    std::thread::sleep(Duration::from_millis(50));
                    false
                });
            }
        });
        held.recv().expect("a refused tile");
        docket.look(Instant::now());
        host.join().expect("no panic");
        assert!(slide.standing.is_finished() && slide.published.snapshot().unpolled() == 4);
        let mut codes = Vec::new();
        slide.take_alerts(9, |alert| codes.push(alert.code));
        assert_eq!(codes, [abi::ALERT_OVERRUN]);
    }
}
