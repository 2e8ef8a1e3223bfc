//! Frames in, complete tiles out. Pixels go straight into the slots of the tiles that they cover; a tile departs when all
//! of it has arrived. Nothing here blocks or allocates.
//!
//! A frame is taken as a whole or not at all: the slots it needs are counted first. Where there are too few it is
//! refused with BUSY, and remembered tile by tile: a tile that never gets those pixels ends as REFUSED. When partial
//! tiles hold every slot, none would ever become free, so the oldest partial tile is retired as it is.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use coverslip_pixels::developer::{Developer, KeptRows, Source};
use crossbeam_channel::Receiver;

use super::abreast::{self, ABREAST};
use super::content::{Content, NotScanned, value_of};
use super::frame::{Frame, FrameTag};
use super::glass::Glass;
use super::grid::{Grid, Place, Rect, Span};
use super::ledger::{Entry, Ledger, State};
use super::slot::{Delivery, Hole, Outcome, Slot, White};
use super::strips::{Ends, GROUPS, HELD, Strips};
use coverslip_base::error::{Error, Result, error};
use coverslip_base::memory::{Boxed, reserve};

/// What the assembler counts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct IntakeCounts {
    /// Tiles per pass that got a pixel or that a refused frame would have touched.
    pub(crate) opened: u64,
    pub(crate) frames_accepted: u64,
    pub(crate) frames_refused: u64,
    pub(crate) pixels_used: u64,
    pub(crate) pixels_duplicate: u64,
    pub(crate) pixels_late: u64,
    pub(crate) pixels_outside: u64,
    pub(crate) pixels_not_scanned: u64,
    pub(crate) retired_early: u64,
    /// Red, green, blue of the slide's glass, as stated or as seen.
    pub(crate) white: Option<White>,
}

/// Where tiles and counts go. A tile that departs has been published as opened.
pub(crate) trait Outlet {
    fn publish(&mut self, counts: &IntakeCounts);
    fn depart(&mut self, slot: Boxed<Slot>);
}

/// When a tile departs although it is not complete, and what it needs to be analysed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AssemblyRules {
    /// From a tile's last pixel; None: until finish.
    pub(crate) timeout: Option<Duration>,
    /// Share of the square's pixels, 0..=1.
    pub(crate) min_coverage: f32,
    /// Which pixels count as not arrived.
    pub(crate) not_scanned: NotScanned,
    /// The slide's glass, where the host states it.
    pub(crate) white: Option<White>,
}

/// Refused frames: what an OVERRUN alert reports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Overrun {
    pub(crate) area: Rect,
    pub(crate) first: FrameTag,
    pub(crate) frames: u64,
}

/// What tending the assembly came to.
pub(crate) struct Tended {
    /// The frames that were refused since the last time.
    pub(crate) overrun: Option<Overrun>,
    /// When the next tile times out; None: no tile waits for that.
    pub(crate) due: Option<Instant>,
}

pub(crate) struct Assembler {
    grid: Grid,
    rules: AssemblyRules,
    ledger: Ledger,
    /// By slot number: the tiles that wait for pixels.
    partial: Vec<Option<Boxed<Slot>>>,
    partial_count: usize,
    /// Scratch memory in which `make_room` sorts the partial tiles: touched by the frame, order of opening, slot.
    by_age: Vec<(bool, u64, u32)>,
    free: Receiver<Boxed<Slot>>,
    developer: Developer,
    strips: Strips,
    glass: Glass,
    /// Of the slide's frames; None: there was none.
    content: Option<Content>,
    opened: u64,
    overrun: Option<Overrun>,
    /// Frames remembered as refused, in all.
    overruns: u64,
    /// Who tends the assembly knows of partial tiles, and comes when one times out.
    tended: bool,
    /// What `wants_care` has to say.
    wants_care: bool,
    counts: IntakeCounts,
}

/// What a frame needs of the slide's memory.
#[derive(Default)]
struct Need {
    slots: usize,
    tiles: usize,
    passes: usize,
}

impl Assembler {
    /// `slots` is the number of slots; free ones come through `free`.
    pub(crate) fn new(
        grid: Grid,
        rules: AssemblyRules,
        max_tiles: usize,
        slots: usize,
        free: Receiver<Boxed<Slot>>,
        developing: (Developer, Strips),
    ) -> Result<Assembler> {
        let mut partial = reserve(slots)?;
        partial.resize_with(slots, || None);
        let ledger = Ledger::new(max_tiles)?;
        Ok(Assembler {
            grid,
            rules,
            ledger,
            partial,
            partial_count: 0,
            by_age: reserve(slots)?,
            free,
            developer: developing.0,
            strips: developing.1,
            glass: Glass::new(rules.white),
            content: None,
            opened: 0,
            overrun: None,
            overruns: 0,
            tended: false,
            wants_care: false,
            counts: IntakeCounts { white: rules.white, ..IntakeCounts::default() },
        })
    }

    /// Takes a frame, or says why not.
    pub(crate) fn submit(&mut self, frame: &Frame<'_>, now: Instant, out: &mut dyn Outlet) -> Result<()> {
        self.retire_stale(now, out);
        let content = Content::expect(frame, self.content, self.developer.tone())?;
        let (area, span) = self.locate(frame)?;
        let need = self.need(frame, span);
        if !self.ledger.has_room(need.tiles, need.passes) {
            self.counts.frames_refused += 1;
            out.publish(&self.counts);
            return Err(error!(
                LIMIT_REACHED,
                "the slide has reached its max_tiles and this frame opens {} more: announce the extent or more tiles",
                need.tiles + need.passes
            ));
        }
        if need.slots > self.free.len() {
            self.make_room(need.slots, span, out);
            return Err(error!(
                BUSY,
                "no free slots for this frame now: submit it again later, use slide_submit_wait, or go on without it"
            ));
        }
        for (column, row) in span.places() {
            self.open_for(Place { column, row, pass: frame.pass }, frame.tag, now, out);
        }
        self.counts.frames_accepted += 1;
        self.counts.pixels_outside += frame.area.area() - area.area();
        // Before any of its tiles departs, and all at once: a snapshot has the frame with all its tiles, or has neither.
        out.publish(&self.counts);
        self.content = Some(content);
        self.develop(frame, now, out);
        out.publish(&self.counts);
        Ok(())
    }

    /// The part of the frame on the slide, and the tiles it touches.
    fn locate(&self, frame: &Frame<'_>) -> Result<(Rect, Span)> {
        let area = self.grid.clip(&frame.area);
        if area.is_empty() {
            let Rect { x0, y0, x1, y1 } = frame.area;
            return Err(error!(
                OUT_OF_EXTENT,
                "the frame ({x0}, {y0})..({x1}, {y1}) lies outside the extent given to slide_begin: check the stage \
                 coordinates or declare the extent unknown"
            ));
        }
        Ok((area, self.grid.span(&area)))
    }

    fn need(&self, frame: &Frame<'_>, span: Span) -> Need {
        let mut need = Need::default();
        for (column, row) in span.places() {
            match self.ledger.get(column, row) {
                None => (need.slots, need.tiles) = (need.slots + 1, need.tiles + 1),
                Some(entry) if frame.pass > entry.place.pass => {
                    need.slots += 1;
                    need.passes += usize::from(matches!(entry.state, State::Refused(_)));
                }
                Some(entry) if frame.pass == entry.place.pass && matches!(entry.state, State::Refused(_)) => {
                    need.slots += 1;
                }
                Some(_) => {}
            }
        }
        need
    }

    /// Opens a tile, unless it is partial already or has departed.
    fn open_for(&mut self, place: Place, tag: FrameTag, now: Instant, out: &mut dyn Outlet) {
        let mut hole = None;
        match self.ledger.get(place.column, place.row) {
            Some(entry) if entry.place.pass > place.pass => return,
            Some(entry) if entry.place.pass == place.pass => match entry.state {
                State::Partial(_) | State::Gone => return,
                // It was opened when the frame was refused.
                State::Refused(refused) => hole = Some(refused),
            },
            Some(entry) => {
                if let State::Partial(slot) = entry.state {
                    self.retire(slot, out);
                }
                self.counts.opened += 1;
            }
            None => self.counts.opened += 1,
        }
        self.open(place, tag, hole, now);
    }

    /// Gives the frame's pixels to its tiles; of a mosaic's strip, the two rows before it too, and without its last two.
    fn develop(&mut self, frame: &Frame<'_>, now: Instant, out: &mut dyn Outlet) {
        let mut frame = *frame;
        frame.validity.alpha = self.rules.not_scanned.alpha;
        frame.validity.value = self.rules.not_scanned.value.map(|value| value_of(value, frame.channel));
        let mut area = frame.area;
        if !frame.image.format.is_mosaic() || frame.tag.group == 0 {
            self.deliver(&frame, None, area, now, out);
            return;
        }
        let follows = self.strips.followed_by(&frame);
        let place = self.strips.place_for(&frame);
        if follows.is_none() {
            self.finish_strip(place, out);
        } else if self.strips.is_held(place) {
            area.y0 -= HELD;
        }
        // Below the slide's edge nothing follows.
        let is_held = self.grid.extent.is_none_or(|extent| frame.area.y1 < extent.y1);
        area.y1 -= if is_held { HELD } else { 0 };
        let strip = self.strips.take(place);
        self.deliver(&frame, strip.rows().filter(|_| follows.is_some()), area, now, out);
        self.strips.put_last(place, strip, &frame, now, Ends { follows: follows.is_some(), is_held });
    }

    fn deliver(&mut self, frame: &Frame<'_>, kept: Option<&KeptRows>, area: Rect, now: Instant, out: &mut dyn Outlet) {
        let source = Source {
            image: Some(frame.image),
            kept,
            format: frame.image.format,
            width: frame.image.width,
            validity: frame.validity,
            channel: frame.channel,
        };
        let origin = (frame.area.x0, frame.area.y0);
        self.copy(&Delivery { source: &source, origin, tag: frame.tag, at: now }, area, frame.pass, out);
    }

    /// The last rows of a strip that nothing follows.
    fn finish_strip(&mut self, place: usize, out: &mut dyn Outlet) {
        let Some(alone) = self.strips.take_alone(place) else { return };
        let origin = (alone.area.x0, alone.area.y1);
        let source = alone.source();
        self.copy(&Delivery { source: &source, origin, tag: alone.tag, at: alone.at }, alone.area, alone.pass, out);
        self.strips.put(place, alone.strip);
    }

    fn copy(&mut self, delivery: &Delivery<'_, '_>, area: Rect, pass: u16, out: &mut dyn Outlet) {
        let area = self.grid.clip(&area);
        if area.is_empty() {
            return;
        }
        let Span { columns, rows } = self.grid.span(&area);
        for row in rows.0..=rows.1 {
            for first in (columns.0..=columns.1).step_by(ABREAST) {
                let last = columns.1.min(first + ABREAST as i32 - 1);
                self.copy_abreast(delivery, &area, (first..=last, row), pass, out);
            }
        }
    }

    /// Into tiles side by side, at most [`ABREAST`].
    fn copy_abreast(
        &mut self,
        delivery: &Delivery<'_, '_>,
        area: &Rect,
        (columns, row): (RangeInclusive<i32>, i32),
        pass: u16,
        out: &mut dyn Outlet,
    ) {
        let mut parts = [(0, *area); ABREAST];
        let mut count = 0;
        for column in columns {
            let part = self.grid.tile(column, row).intersection(area);
            match self.ledger.get(column, row) {
                Some(Entry { place, state: State::Partial(slot) }) if place.pass == pass => {
                    parts[count] = (slot, part);
                    count += 1;
                }
                _ => self.counts.pixels_late += part.area(),
            }
        }
        let parts = &parts[..count];
        let copied = abreast::receive(&mut self.partial, parts, delivery, &mut self.developer);
        for (&(slot, _), copied) in parts.iter().zip(copied) {
            self.counts.pixels_used += copied.used;
            self.counts.pixels_duplicate += copied.duplicate;
            self.counts.pixels_not_scanned += copied.not_scanned;
            if self.partial[slot as usize].as_ref().is_some_and(|tile| tile.is_complete()) {
                self.retire(slot, out);
            }
        }
    }

    fn open(&mut self, place: Place, tag: FrameTag, hole: Option<Hole>, now: Instant) {
        // `submit` has counted the free slots, and only this assembler takes from them.
        let Ok(mut slot) = self.free.try_recv() else { return };
        let area = self.grid.tile(place.column, place.row);
        slot.open(place, area, self.grid.clip(&area).area(), tag, self.opened, now);
        slot.hole = hole;
        self.opened += 1;
        let id = slot.id;
        self.partial[id as usize] = Some(slot);
        self.partial_count += 1;
        self.ledger.set(place, State::Partial(id));
    }

    /// Lets a partial tile depart as it is.
    fn retire(&mut self, slot: u32, out: &mut dyn Outlet) {
        self.finish_strips_of(slot, out);
        let Some(mut tile) = self.partial[slot as usize].take() else { return };
        self.partial_count -= 1;
        self.ledger.set(tile.identity.place, State::Gone);
        tile.close();
        let channel_missing = tile.identity.channels_missing != 0;
        tile.outcome = if channel_missing || !tile.is_complete() && tile.has_hole() {
            Outcome::Refused
        } else if tile.identity.coverage < self.rules.min_coverage {
            Outcome::Incomplete
        } else {
            Outcome::Pending
        };
        self.glass.look(&tile);
        (tile.white, self.counts.white) = (self.glass.white(), self.glass.white());
        out.depart(tile);
    }

    /// Rows that were held back for the frame that follows go into a tile that departs before it comes.
    fn finish_strips_of(&mut self, slot: u32, out: &mut dyn Outlet) {
        while let Some(tile) = self.partial[slot as usize].as_ref().filter(|tile| !tile.is_complete()) {
            let (area, pass) = (tile.identity.area, tile.identity.place.pass);
            let Some(place) = self.strips.held_in(pass, &area) else { return };
            self.finish_strip(place, out);
        }
    }

    /// Too few slots are free. If partial tiles hold all others, the oldest depart, first those that the frame does not
    /// touch.
    fn make_room(&mut self, slots: usize, span: Span, out: &mut dyn Outlet) {
        if self.partial_count + self.free.len() < self.partial.len() {
            return; // a tile on its way will free its slot
        }
        let touched = |place: Place| {
            (span.columns.0..=span.columns.1).contains(&place.column)
                && (span.rows.0..=span.rows.1).contains(&place.row)
        };
        let tiles = self.partial.iter().flatten();
        self.by_age.clear();
        self.by_age.extend(tiles.map(|tile| (touched(tile.identity.place), tile.opened, tile.id)));
        self.by_age.sort_unstable();
        let needed = slots.saturating_sub(self.free.len()).min(self.by_age.len());
        self.counts.retired_early += needed as u64;
        out.publish(&self.counts);
        for at in 0..needed {
            self.retire(self.by_age[at].2, out);
        }
    }

    /// Remembers a frame that was refused with BUSY: every tile it would have given pixels to owes a result.
    pub(crate) fn remember_refused(&mut self, frame: &Frame<'_>, out: &mut dyn Outlet) {
        let Ok((area, span)) = self.locate(frame) else { return };
        self.counts.frames_refused += 1;
        for (column, row) in span.places() {
            let tile = self.grid.tile(column, row);
            let hole = Hole::new(&tile, &tile.intersection(&area));
            self.refuse_tile(Place { column, row, pass: frame.pass }, hole, out);
        }
        out.publish(&self.counts);
        self.overrun = Some(match self.overrun {
            None => Overrun { area, first: frame.tag, frames: 1 },
            Some(seen) => Overrun { area: seen.area.union(&area), frames: seen.frames + 1, ..seen },
        });
        self.overruns += 1;
        self.wants_care |= is_power_of_ten(self.overruns);
    }

    fn refuse_tile(&mut self, place: Place, hole: Hole, out: &mut dyn Outlet) {
        match self.ledger.get(place.column, place.row) {
            Some(entry) if entry.place.pass > place.pass => return,
            Some(entry) if entry.place.pass == place.pass => {
                if let State::Partial(slot) = entry.state
                    && let Some(tile) = self.partial[slot as usize].as_mut()
                {
                    tile.hole = Some(hole.union(tile.hole));
                }
                if let State::Refused(known) = entry.state {
                    self.ledger.set(place, State::Refused(hole.union(Some(known))));
                }
                return;
            }
            Some(entry) => {
                if let State::Partial(slot) = entry.state {
                    self.retire(slot, out);
                }
            }
            None => {}
        }
        self.counts.opened += 1;
        self.ledger.set(place, State::Refused(hole));
    }

    /// Whether the assembly wants to be tended: the number of refused frames has reached another power of ten, which is
    /// when an alert is due, or tiles have begun to wait of which [`Assembler::tend`] does not know. Said once.
    pub(crate) fn wants_care(&mut self) -> bool {
        if self.rules.timeout.is_some() && self.partial_count > 0 && !self.tended {
            self.tended = true;
            self.wants_care = true;
        }
        std::mem::take(&mut self.wants_care)
    }

    /// Lets every tile depart whose assembly has timed out. The caller comes again when it is due.
    pub(crate) fn tend(&mut self, now: Instant, out: &mut dyn Outlet) -> Tended {
        self.retire_stale(now, out);
        let oldest = self.partial.iter().flatten().map(|tile| tile.identity.last_pixel).min();
        let due = self.rules.timeout.zip(oldest).and_then(|(timeout, oldest)| oldest.checked_add(timeout));
        self.tended = due.is_some();
        Tended { overrun: self.overrun.take(), due }
    }

    /// Lets every tile depart whose assembly has timed out.
    fn retire_stale(&mut self, now: Instant, out: &mut dyn Outlet) {
        let Some(timeout) = self.rules.timeout else { return };
        for id in 0..self.partial.len() {
            let stale = |tile: &Slot| now.saturating_duration_since(tile.identity.last_pixel) >= timeout;
            if self.partial[id].as_deref().is_some_and(stale) {
                self.retire(id as u32, out);
                out.publish(&self.counts);
            }
        }
    }

    /// Lets every partial tile depart, because no more frames come.
    pub(crate) fn retire_all(&mut self, out: &mut dyn Outlet) {
        // A panic while a frame was taken may have left tiles that were not published.
        out.publish(&self.counts);
        for id in 0..self.partial.len() {
            self.retire(id as u32, out);
        }
        // With them went the last rows of strips. What is left came too late for its tiles.
        (0..GROUPS).for_each(|place| self.finish_strip(place, out));
        out.publish(&self.counts);
    }

    /// Settles the refused tiles that still owe a result: each is given to `settle`, until it returns false.
    pub(crate) fn sweep_refused(&mut self, settle: &mut dyn FnMut(Place, Rect) -> bool) {
        while let Some(place) = self.ledger.sweep() {
            if !settle(place, self.grid.tile(place.column, place.row)) {
                return;
            }
            self.ledger.swept();
        }
    }
}

fn is_power_of_ten(n: u64) -> bool {
    n.checked_ilog10().is_some_and(|digits| 10u64.pow(digits) == n)
}

/// Whether a refusal is one that [`Assembler::remember_refused`] is for.
pub(crate) fn is_busy(error: &Error) -> bool {
    error.code == coverslip_plugin_abi::BUSY
}

#[cfg(test)]
mod tests;
