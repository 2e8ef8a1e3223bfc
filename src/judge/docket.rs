//! The judge's book on one slide: which tiles are on their way, and which have ended and wait for room in the outbox.

use std::collections::VecDeque;
use std::time::Instant;

use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::{Alert, TileResult};

use super::alerts::{AlertState, Scene};
use super::flags::{self, Flags};
use super::latency::Latencies;
use crate::error::Result;
use crate::fault;
use crate::memory::reserve;
use crate::slide::state::Slide;
use crate::tiles::grid::{Place, Rect};
use crate::tiles::slot::{Evidence, Identity, Outcome, Slot};

/// A tile that has left the assembler and has no result yet.
struct Moving {
    identity: Identity,
    since: Instant,
    /// Decided without its slot: expired, cancelled or failed.
    verdict: Option<Outcome>,
    /// It has come back and waits for room.
    parked: bool,
}

/// See the module's text. Only the judge changes it.
pub(crate) struct Docket {
    /// By slot number.
    moving: Vec<Option<Moving>>,
    /// Tiles that have their outcome, in the order in which they came back, kept with their slots until there is room.
    parked: VecDeque<Box<Slot>>,
    sequence: u64,
    pub(crate) alerts: AlertState,
    pub(crate) latencies: Latencies,
    pub(crate) flags_checked: [u64; 16],
    pub(crate) flags_raised: [u64; 16],
}

impl Docket {
    pub(crate) fn new(slots: usize, scene: &Scene<'_>) -> Result<Docket> {
        let mut moving = reserve(slots)?;
        moving.resize_with(slots, || None);
        Ok(Docket {
            moving,
            parked: VecDeque::from(reserve(slots)?),
            sequence: 0,
            alerts: AlertState::new(scene)?,
            latencies: Latencies::default(),
            flags_checked: [0; 16],
            flags_raised: [0; 16],
        })
    }

    /// A tile has left the assembler.
    pub(crate) fn departed(&mut self, slot: u32, identity: Identity, now: Instant) {
        self.moving[slot as usize] = Some(Moving { identity, since: now, verdict: None, parked: false });
    }

    /// A tile comes back. Gives its slot when it can be used again now.
    pub(crate) fn returned(&mut self, slide: &Slide, mut slot: Box<Slot>, now: Instant) -> Option<Box<Slot>> {
        let Some(moving) = self.moving[slot.id as usize].as_mut() else {
            return Some(slot); // it has ended without its slot
        };
        // Decided, but not given yet: the slot must not be used again before it is.
        slot.outcome = moving.verdict.take().unwrap_or(slot.outcome);
        if self.parked.is_empty() && self.settle_slot(slide, &slot, now) {
            return Some(slot);
        }
        self.set_parked(&slot, true);
        self.parked.push_back(slot);
        None
    }

    /// A tile is parked while its slot lies here, and not while it is settled: one that is lost in a panic there is decided
    /// like one that never came back.
    fn set_parked(&mut self, slot: &Slot, parked: bool) {
        if let Some(moving) = self.moving[slot.id as usize].as_mut() {
            moving.parked = parked;
        }
    }

    /// Puts the result of a tile that came back into the outbox; false when there is no room.
    fn settle_slot(&mut self, slide: &Slide, slot: &Slot, now: Instant) -> bool {
        fault::point("judge");
        let seen = (&slot.features[..], &slot.embedding[..]);
        let judged = flags::judge(&slot.evidence, seen, (slot.outcome, slot.identity.place), &slide.config.judged_by);
        let record = self.record(slide, &slot.identity, slot.outcome, &slot.evidence, &judged, now);
        let (features, embedding) = if slot.outcome == Outcome::Done { seen } else { (&[][..], &[][..]) };
        if !slide.put(record, features, if slide.config.embeddings { embedding } else { &[] }) {
            return false;
        }
        self.moving[slot.id as usize] = None;
        self.count(slide, record, now);
        true
    }

    fn record(
        &self,
        slide: &Slide,
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
            engine_epoch: evidence.epoch.unwrap_or(slide.config.engine_epoch),
            p_values: flags.p_values,
            measurements: evidence.measurements,
            ..Default::default()
        }
    }

    fn count(&mut self, slide: &Slide, record: TileResult, now: Instant) {
        self.sequence += 1;
        for bit in 0..16 {
            self.flags_checked[bit] += u64::from(record.flags_checked >> bit & 1);
            self.flags_raised[bit] += u64::from(record.flags_raised >> bit & 1);
        }
        if record.status == abi::TILE_DONE {
            self.latencies.add(record.latency_ns);
        }
        let alerts = self.alerts.observe(&record, slide.is_paced(), slide.age_ns(now));
        alerts.into_iter().flatten().for_each(|alert| self.announce(slide, alert));
    }

    /// Hands an alert to the host.
    pub(crate) fn announce(&mut self, slide: &Slide, alert: Alert) {
        slide.announce(alert);
    }

    /// Frames that were refused since the last look.
    pub(crate) fn note_overrun(&mut self, slide: &Slide, overrun: &crate::tiles::assembler::Overrun, now: Instant) {
        if let Some(alert) = self.alerts.refused(overrun, self.sequence, slide.age_ns(now)) {
            self.announce(slide, alert);
        }
    }

    /// Every tile has its result: what can be said of the slide as a whole. Said once.
    pub(crate) fn conclude(&mut self, slide: &Slide, now: Instant) {
        if let Some(alert) = self.alerts.conclude(slide.age_ns(now)) {
            self.announce(slide, alert);
        }
    }

    /// Decides the tiles that will not be waited for: past the deadline, or of a slide that is over.
    pub(crate) fn decide(&mut self, slide: &Slide, now: Instant) {
        let over = slide.verdict_when_over();
        let deadline = slide.config.result_deadline;
        if let Some(verdict) = over {
            self.parked.iter_mut().for_each(|slot| slot.outcome = verdict);
        }
        if over.is_none() && deadline.is_none() {
            return;
        }
        for moving in self.moving.iter_mut().flatten().filter(|moving| !moving.parked) {
            let late = deadline.is_some_and(|deadline| now.saturating_duration_since(moving.since) >= deadline);
            if moving.verdict.is_none() {
                moving.verdict = over.or(late.then_some(Outcome::Expired));
            }
        }
    }

    /// Gives out what waits, as far as the outbox has room; slots that become free go to `free`.
    pub(crate) fn flush(&mut self, slide: &Slide, now: Instant, free: &mut dyn FnMut(Box<Slot>)) {
        while let Some(slot) = self.parked.pop_front() {
            self.set_parked(&slot, false);
            if !self.settle_slot(slide, &slot, now) {
                self.set_parked(&slot, true);
                self.parked.push_front(slot);
                return;
            }
            free(slot);
        }
        for id in 0..self.moving.len() {
            let decided = self.moving[id].as_ref().and_then(|m| m.verdict.map(|verdict| (m.identity, verdict)));
            let Some((identity, verdict)) = decided else { continue };
            if !self.settle_without_slot(slide, &identity, verdict, now) {
                return;
            }
            self.moving[id] = None;
        }
    }

    fn settle_without_slot(&mut self, slide: &Slide, identity: &Identity, outcome: Outcome, now: Instant) -> bool {
        let nothing = Evidence::default();
        let judged = flags::judge(&nothing, (&[], &[]), (outcome, identity.place), &slide.config.judged_by);
        let record = self.record(slide, identity, outcome, &nothing, &judged, now);
        let put = slide.put(record, &[], &[]);
        if put {
            self.count(slide, record, now);
        }
        put
    }

    /// The result of a tile that a refused frame would have touched and that never got a pixel.
    pub(crate) fn settle_refused(&mut self, slide: &Slide, place: Place, area: Rect, now: Instant) -> bool {
        let identity = Identity {
            place,
            area,
            first: Default::default(),
            last: Default::default(),
            last_pixel: now,
            coverage: 0.0,
        };
        let outcome = slide.verdict_when_over().unwrap_or(Outcome::Refused);
        self.settle_without_slot(slide, &identity, outcome, now)
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
