//! Frames in, complete tiles out. Pixels go straight into the slots of the tiles that they cover; a tile goes on when
//! all of it has arrived. Nothing here blocks or allocates.
//!
//! A frame is taken as a whole or not at all: the slots it needs are counted first. Where there are too few it is
//! refused with BUSY, and remembered tile by tile: a tile that never gets those pixels ends as REFUSED. When every slot
//! is held by a partial tile nothing would ever become free, so the oldest partial tile is retired as it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use super::frame::{Frame, FrameTag};
use super::grid::{Grid, Place, Rect, Span};
use super::ledger::{Ledger, State};
use super::slot::{Hole, Outcome, Slot};
use crate::error::{Error, Result, error};
use crate::memory::reserve;

/// What the intake counts; read by the summary at any time.
#[derive(Default)]
pub(crate) struct IntakeCounters {
    /// Tiles per pass that got a pixel or that a refused frame would have touched.
    pub(crate) opened: AtomicU64,
    pub(crate) frames_accepted: AtomicU64,
    pub(crate) frames_refused: AtomicU64,
    pub(crate) pixels_used: AtomicU64,
    pub(crate) pixels_duplicate: AtomicU64,
    pub(crate) pixels_late: AtomicU64,
    pub(crate) pixels_outside: AtomicU64,
    pub(crate) retired_early: AtomicU64,
    /// Frames were refused since the judge last looked.
    pub(crate) overrun: AtomicBool,
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Release);
}

/// When a tile goes on although it is not complete, and what it needs to be analysed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AssemblyRules {
    /// From a tile's last pixel; None: until finish.
    pub(crate) timeout: Option<Duration>,
    /// Share of the square's pixels, 0..=1.
    pub(crate) min_coverage: f32,
}

/// A frame that was refused: what an OVERRUN alert tells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Overrun {
    pub(crate) area: Rect,
    pub(crate) first: FrameTag,
    pub(crate) frames: u64,
}

/// Cuts one slide's frames into tiles.
pub(crate) struct Assembler {
    grid: Grid,
    rules: AssemblyRules,
    ledger: Ledger,
    /// By slot number: the tiles that wait for pixels.
    partial: Vec<Option<Box<Slot>>>,
    partial_count: usize,
    /// Room for `make_room` to put the partial tiles in order: touched by the frame, order of opening, slot.
    by_age: Vec<(bool, u64, u32)>,
    free: Receiver<Box<Slot>>,
    opened: u64,
    overrun: Option<Overrun>,
    counters: Arc<IntakeCounters>,
}

/// What a frame asks of the slide's memory.
#[derive(Default)]
struct Need {
    slots: usize,
    tiles: usize,
    passes: usize,
}

impl Assembler {
    /// `slots` is how many slots there are in all; they come through `free` again and again.
    pub(crate) fn new(
        grid: Grid,
        rules: AssemblyRules,
        max_tiles: usize,
        slots: usize,
        free: Receiver<Box<Slot>>,
        counters: Arc<IntakeCounters>,
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
            opened: 0,
            overrun: None,
            counters,
        })
    }

    /// Takes a frame, or says why not; tiles that go on are given to `on`.
    pub(crate) fn submit(&mut self, frame: &Frame<'_>, now: Instant, on: &mut dyn FnMut(Box<Slot>)) -> Result<()> {
        self.retire_stale(now, on);
        let (area, span) = self.locate(frame)?;
        let need = self.need(frame, span);
        if !self.ledger.has_room(need.tiles, need.passes) {
            add(&self.counters.frames_refused, 1);
            return Err(error!(
                LIMIT_REACHED,
                "the slide has reached its max_tiles and this frame opens {} more: announce the extent or more tiles",
                need.tiles + need.passes
            ));
        }
        if need.slots > self.free.len() {
            self.make_room(need.slots, span, on);
            return Err(error!(
                BUSY,
                "no free slots for this frame now: submit it again later, use slide_submit_wait, or go on without it"
            ));
        }
        self.take(frame, &area, span, now, on);
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

    fn take(&mut self, frame: &Frame<'_>, area: &Rect, span: Span, now: Instant, on: &mut dyn FnMut(Box<Slot>)) {
        for (column, row) in span.places() {
            let part = self.grid.tile(column, row).intersection(area);
            let place = Place { column, row, pass: frame.pass };
            let Some(slot) = self.slot_for(place, frame, now, on) else {
                add(&self.counters.pixels_late, part.area());
                continue;
            };
            let Some(tile) = self.partial[slot as usize].as_mut() else { continue };
            let copied = tile.receive(frame, &part, now);
            add(&self.counters.pixels_used, copied.used);
            add(&self.counters.pixels_duplicate, copied.duplicate);
            if tile.is_complete() {
                self.retire(slot, on);
            }
        }
        add(&self.counters.frames_accepted, 1);
        add(&self.counters.pixels_outside, frame.area.area() - area.area());
    }

    /// The slot of a tile, opened where need be; None when the tile has gone on.
    fn slot_for(
        &mut self,
        place: Place,
        frame: &Frame<'_>,
        now: Instant,
        on: &mut dyn FnMut(Box<Slot>),
    ) -> Option<u32> {
        let known = self.ledger.get(place.column, place.row);
        match known {
            Some(entry) if entry.place.pass == place.pass => match entry.state {
                State::Partial(slot) => return Some(slot),
                State::Gone => return None,
                State::Refused(_) => {}
            },
            Some(entry) if entry.place.pass > place.pass => return None,
            Some(entry) => {
                if let State::Partial(slot) = entry.state {
                    self.retire(slot, on);
                }
                add(&self.counters.opened, 1);
            }
            None => add(&self.counters.opened, 1),
        }
        let hole = known.filter(|entry| entry.place == place).and_then(|entry| match entry.state {
            State::Refused(hole) => Some(hole),
            _ => None,
        });
        self.open(place, frame.tag, hole, now)
    }

    fn open(&mut self, place: Place, tag: FrameTag, hole: Option<Hole>, now: Instant) -> Option<u32> {
        // `submit` has counted the free slots, and only this assembler takes from them.
        let mut slot = self.free.try_recv().ok()?;
        let area = self.grid.tile(place.column, place.row);
        slot.open(place, area, self.grid.clip(&area).area(), tag, self.opened, now);
        slot.hole = hole;
        self.opened += 1;
        let id = slot.id;
        self.partial[id as usize] = Some(slot);
        self.partial_count += 1;
        self.ledger.set(place, State::Partial(id));
        Some(id)
    }

    /// Sends a partial tile on as it is.
    fn retire(&mut self, slot: u32, on: &mut dyn FnMut(Box<Slot>)) {
        let Some(mut tile) = self.partial[slot as usize].take() else { return };
        self.partial_count -= 1;
        self.ledger.set(tile.identity.place, State::Gone);
        tile.outcome = if !tile.is_complete() && tile.has_hole() {
            Outcome::Refused
        } else if tile.identity.coverage < self.rules.min_coverage {
            Outcome::Incomplete
        } else {
            Outcome::Pending
        };
        on(tile);
    }

    /// No slot is free. Where all are held by partial tiles, the oldest go on, those the frame does not touch first.
    fn make_room(&mut self, slots: usize, span: Span, on: &mut dyn FnMut(Box<Slot>)) {
        if self.partial_count + self.free.len() < self.partial.len() {
            return; // something is on its way and will free its slot
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
        add(&self.counters.retired_early, needed as u64);
        for at in 0..needed {
            self.retire(self.by_age[at].2, on);
        }
    }

    /// Remembers a frame that was refused with BUSY: every tile it would have given pixels to owes a result.
    pub(crate) fn remember_refused(&mut self, frame: &Frame<'_>, on: &mut dyn FnMut(Box<Slot>)) {
        add(&self.counters.frames_refused, 1);
        let Ok((area, span)) = self.locate(frame) else { return };
        for (column, row) in span.places() {
            let tile = self.grid.tile(column, row);
            let hole = Hole::new(&tile, &tile.intersection(&area));
            self.refuse_tile(Place { column, row, pass: frame.pass }, hole, on);
        }
        self.counters.overrun.store(true, Ordering::Release);
        self.overrun = Some(match self.overrun {
            None => Overrun { area, first: frame.tag, frames: 1 },
            Some(seen) => Overrun { area: seen.area.union(&area), frames: seen.frames + 1, ..seen },
        });
    }

    fn refuse_tile(&mut self, place: Place, hole: Hole, on: &mut dyn FnMut(Box<Slot>)) {
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
                    self.retire(slot, on);
                }
            }
            None => {}
        }
        add(&self.counters.opened, 1);
        self.ledger.set(place, State::Refused(hole));
    }

    /// The refused frames since the last call.
    pub(crate) fn take_overrun(&mut self) -> Option<Overrun> {
        self.counters.overrun.store(false, Ordering::Release);
        self.overrun.take()
    }

    /// Sends on every tile whose assembly has timed out.
    pub(crate) fn retire_stale(&mut self, now: Instant, on: &mut dyn FnMut(Box<Slot>)) {
        let Some(timeout) = self.rules.timeout else { return };
        for id in 0..self.partial.len() {
            let stale = |tile: &Slot| now.saturating_duration_since(tile.identity.last_pixel) >= timeout;
            if self.partial[id].as_deref().is_some_and(stale) {
                self.retire(id as u32, on);
            }
        }
    }

    /// Sends on every partial tile: no more frames come.
    pub(crate) fn retire_all(&mut self, on: &mut dyn FnMut(Box<Slot>)) {
        for id in 0..self.partial.len() {
            self.retire(id as u32, on);
        }
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

/// Whether a refusal is one that [`Assembler::remember_refused`] is for.
pub(crate) fn is_busy(error: &Error) -> bool {
    error.code == coverslip_plugin_abi::BUSY
}
