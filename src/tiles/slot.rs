//! The preallocated place of one tile: its pixels, which of them have arrived, and what becomes known about it.
//!
//! A slot is owned by one part of the pipeline at a time: it moves from the assembler through prep, lane and judge
//! back to the slide's free slots, and nothing else holds it.

use std::ops::Range;
use std::time::Instant;

use coverslip_pixels::ahead;
use coverslip_pixels::developer::{Developer, Row, Source};
use coverslip_pixels::format::Samples;
use coverslip_plugin_abi::Feature;
use coverslip_profile::{MEASUREMENTS, Measurements};

use super::bits::{Bits, Unscanned, for_each_clear_run, run_length};
use super::frame::FrameTag;
use super::grid::{Place, Rect};
use coverslip_base::error::Result;
use coverslip_base::memory::{Boxed, filled, reserve};

/// Red, green, blue of glass, 0..255.
pub(crate) type White = [f32; 3];
/// The white of pixels that never arrived.
pub(crate) const WHITE: u8 = 255;
/// Bit masks of a slot: arrival by channel, and what was not scanned.
const MASKS: usize = 4;

/// What the slots of one slide hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlotShape {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Pixels of the model's input, wide and high.
    pub(crate) side: u32,
    /// Features reported per tile.
    pub(crate) features: usize,
    /// Floats of all taps together.
    pub(crate) embedding: usize,
}

impl SlotShape {
    /// Whether the tile's pixels are the model's input as they are.
    pub(crate) fn is_native(&self) -> bool {
        self.width == self.side && self.height == self.side
    }

    /// Bytes that one slot takes.
    pub(crate) fn bytes(&self) -> u64 {
        let pixels = u64::from(self.width) * u64::from(self.height);
        let input = if self.is_native() { 0 } else { 3 * u64::from(self.side) * u64::from(self.side) };
        let results = self.features * size_of::<Feature>() + self.embedding * 4;
        3 * pixels + (MASKS * self.mask_words()) as u64 * 8 + input + results as u64 + size_of::<Slot>() as u64
    }

    fn mask_words_per_row(&self) -> usize {
        self.width.div_ceil(64) as usize
    }

    fn mask_words(&self) -> usize {
        self.mask_words_per_row() * self.height as usize
    }
}

/// How a tile leaves the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Not decided yet.
    Pending,
    Done,
    Background,
    Incomplete,
    Refused,
    Expired,
    Cancelled,
    Failed,
}

/// What was measured on a tile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evidence {
    /// On its pixels; NaN: not measured.
    pub(crate) measurements: Measurements,
    pub(crate) reconstruction_error: Option<f32>,
    /// How much its features change when its colours do, 0..=1; None: the tile was not run twice.
    pub(crate) instability: Option<f32>,
    pub(crate) active_count: u32,
    /// Which engine analysed it.
    pub(crate) epoch: Option<u64>,
    /// It was run again on another worker.
    pub(crate) retried: bool,
}

impl Default for Evidence {
    fn default() -> Evidence {
        let measurements = [f32::NAN; MEASUREMENTS];
        Evidence {
            measurements,
            reconstruction_error: None,
            instability: None,
            active_count: 0,
            epoch: None,
            retried: false,
        }
    }
}

/// Which tile a slot holds, and when its pixels came: what a result repeats of the assembly.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    pub(crate) place: Place,
    /// The whole square in the acquisition plane.
    pub(crate) area: Rect,
    pub(crate) first: FrameTag,
    pub(crate) last: FrameTag,
    pub(crate) last_pixel: Instant,
    /// Share of the square's pixels that arrived, 0..=1.
    pub(crate) coverage: f32,
    /// Share of its pixels that the host said were not scanned, and that no other frame had.
    pub(crate) not_scanned: f32,
    /// Bit c: the channel `COVERSLIP_CHANNEL_*` = c never came, but another did.
    pub(crate) channels_missing: u32,
}

impl Identity {
    /// A tile of which nothing has come.
    pub(crate) fn new(place: Place, area: Rect, tag: FrameTag, now: Instant) -> Identity {
        Identity {
            place,
            area,
            first: tag,
            last: tag,
            last_pixel: now,
            coverage: 0.0,
            not_scanned: 0.0,
            channels_missing: 0,
        }
    }
}

/// The box within a tile that refused frames would have covered, in pixels from the tile's corner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hole {
    x: (u16, u16),
    y: (u16, u16),
}

impl Hole {
    /// `part` lies within `tile`, whose sides are at most 8192 (see `TILE_PIXELS`).
    pub(crate) fn new(tile: &Rect, part: &Rect) -> Hole {
        let along = |a: i64, b: i64, corner: i64| ((a - corner) as u16, (b - corner) as u16);
        Hole { x: along(part.x0, part.x1, tile.x0), y: along(part.y0, part.y1, tile.y0) }
    }

    /// The smallest box around both.
    pub(crate) fn union(self, other: Option<Hole>) -> Hole {
        let Some(other) = other else { return self };
        let along = |a: (u16, u16), b: (u16, u16)| (a.0.min(b.0), a.1.max(b.1));
        Hole { x: along(self.x, other.x), y: along(self.y, other.y) }
    }
}

pub(crate) struct Slot {
    pub(crate) id: u32,
    pub(crate) identity: Identity,
    pub(crate) outcome: Outcome,
    pub(crate) evidence: Evidence,
    pub(crate) features: Vec<Feature>,
    pub(crate) embedding: Vec<f32>,
    /// The slide's glass when it departed.
    pub(crate) white: Option<White>,
    /// Where frames were refused that had pixels for it.
    pub(crate) hole: Option<Hole>,
    /// The order in which slots were opened.
    pub(crate) opened: u64,
    shape: SlotShape,
    expected: u64,
    /// Pixels by channel; of frames with all channels the first counts.
    arrived: [u64; 3],
    pixels: Vec<u8>,
    input: Vec<u8>,
    masks: [Vec<u64>; 3],
    unscanned: Vec<u64>,
    /// Its frames are single channels.
    by_channel: bool,
    /// Its frames are grey.
    pub(crate) is_grey: bool,
    /// A bit of `unscanned` is set.
    some_unscanned: bool,
    /// No mask has a bit set.
    is_vacant: bool,
}

/// What one frame gives to a tile.
pub(crate) struct Delivery<'s, 'f> {
    pub(crate) source: &'s Source<'f>,
    /// Where the source's column 0 and row 0 lie.
    pub(crate) origin: (i64, i64),
    pub(crate) tag: FrameTag,
    pub(crate) at: Instant,
}

/// A part of a frame that a slot receives.
pub(super) struct Arrival {
    part: Rect,
    bits: Bits,
    channel: usize,
    used: u64,
    not_scanned: u64,
}

/// Counts of a frame's pixels in one tile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Copied {
    pub(crate) used: u64,
    pub(crate) duplicate: u64,
    pub(crate) not_scanned: u64,
}

impl Slot {
    /// Reserves a slot and touches its memory, so that the first submit pays no page faults.
    pub(crate) fn new(id: u32, shape: SlotShape) -> Result<Boxed<Slot>> {
        let nowhere = Rect { x0: 0, y0: 0, x1: 0, y1: 0 };
        let side = shape.side as usize;
        let input = if shape.is_native() { 0 } else { 3 * side * side };
        let mask = || filled(shape.mask_words(), 0);
        Boxed::new(Slot {
            id,
            identity: Identity::new(Place { column: 0, row: 0, pass: 0 }, nowhere, FrameTag::default(), Instant::now()),
            outcome: Outcome::Pending,
            evidence: Evidence::default(),
            features: reserve(shape.features)?,
            embedding: reserve(shape.embedding)?,
            white: None,
            hole: None,
            opened: 0,
            shape,
            expected: 0,
            arrived: [0; 3],
            pixels: filled(3 * shape.width as usize * shape.height as usize, WHITE)?,
            input: filled(input, WHITE)?,
            masks: [mask()?, mask()?, mask()?],
            unscanned: mask()?,
            by_channel: false,
            is_grey: false,
            some_unscanned: false,
            is_vacant: true,
        })
    }

    /// Forgets what has arrived. Who gives a slot back does so on a thread of the library's own, so that `open`, on the
    /// host's, finds it done.
    pub(crate) fn vacate(&mut self) {
        if self.is_vacant {
            return;
        }
        let channels = if self.by_channel { 3 } else { 1 };
        self.masks[..channels].iter_mut().for_each(|mask| mask.fill(0));
        if self.some_unscanned {
            self.unscanned.fill(0);
        }
        (self.by_channel, self.is_grey) = (false, false);
        (self.some_unscanned, self.is_vacant) = (false, true);
    }

    /// Assigns a tile to the slot; `expected` of the tile's pixels lie on the slide.
    pub(crate) fn open(&mut self, place: Place, area: Rect, expected: u64, tag: FrameTag, opened: u64, now: Instant) {
        self.identity = Identity::new(place, area, tag, now);
        self.outcome = Outcome::Pending;
        self.evidence = Evidence::default();
        self.features.clear();
        self.embedding.clear();
        self.white = None;
        self.hole = None;
        self.opened = opened;
        self.expected = expected;
        self.arrived = [0; 3];
        self.vacate();
        self.is_vacant = false;
    }

    /// Begins to receive those pixels of a frame that lie in `part`, which lies within this tile, the frame and the slide.
    pub(super) fn begin(&mut self, source: &Source<'_>, part: Rect) -> Arrival {
        self.by_channel |= source.channel.is_some();
        self.is_grey |= source.format.samples == Samples::Mono && source.channel.is_none();
        let column = |x: i64| (x - self.identity.area.x0) as usize;
        Arrival {
            part,
            bits: Bits { from: column(part.x0), to: column(part.x1) },
            channel: source.channel.unwrap_or(0),
            used: 0,
            not_scanned: 0,
        }
    }

    /// Copies what has not arrived yet of the part's row `y`, all of which was captured. `line` gives that row; the part
    /// begins at its pixel `at`.
    pub(super) fn receive_row<'r>(&mut self, part: &mut Arrival, y: i64, at: usize, line: impl FnOnce() -> Row<'r>) {
        let row = (y - self.identity.area.y0) as usize;
        let (width, words) = (self.shape.width as usize, self.row_of_masks(row));
        let mask = &mut self.masks[part.channel][words];
        let target = &mut self.pixels[3 * row * width..3 * (row + 1) * width];
        let Bits { from, to } = part.bits;
        if part.bits.are_clear(mask) {
            line().copy(at, at + to - from, &mut target[3 * from..3 * to]);
            part.bits.set(mask);
            part.used += (to - from) as u64;
        } else if run_length(mask, from, to, true) < to - from {
            let line = line();
            for_each_clear_run(mask, from, to, |start, end| {
                line.copy(at + start - from, at + end - from, &mut target[3 * start..3 * end]);
                part.used += (end - start) as u64;
            });
        }
    }

    /// The part's rows that have to be developed, or of which something may be missing.
    pub(super) fn receive_developed(
        &mut self,
        part: &mut Arrival,
        delivery: &Delivery<'_, '_>,
        developer: &mut Developer,
    ) {
        let Delivery { source, origin, .. } = *delivery;
        developer.begin((part.part.x0 - origin.0) as usize, (part.part.x1 - origin.0) as usize);
        for y in part.part.y0..part.part.y1 {
            let of_frame = (y - origin.1) as isize;
            let unscanned = developer.missing(source, of_frame).and_then(|flags| Unscanned::of(flags, &part.bits));
            part.not_scanned += unscanned.as_ref().map_or(0, |unscanned| unscanned.count);
            let row = (y - self.identity.area.y0) as usize;
            let hidden = unscanned.map(|unscanned| self.hide(row, part.channel, unscanned));
            self.receive_row(part, y, 0, || developer.row(source, of_frame));
            hidden.inspect(|hidden| self.show(row, part.channel, hidden));
        }
    }

    /// Calls the place of the part's row `y`, if it has such a row, into the cache.
    pub(super) fn call_ahead(&self, part: &Arrival, y: i64) {
        if y < part.part.y1 {
            let start = (y - self.identity.area.y0) as usize * self.shape.width as usize;
            ahead::call(&self.pixels[3 * (start + part.bits.from)..3 * (start + part.bits.to)]);
        }
    }

    /// All rows of the part have been received.
    pub(super) fn end(&mut self, part: &Arrival, delivery: &Delivery<'_, '_>) -> Copied {
        let Arrival { used, not_scanned, .. } = *part;
        if used > 0 {
            // The frame that opened the tile may have brought none of its pixels.
            if self.arrived.iter().all(|arrived| *arrived == 0) {
                self.identity.first = delivery.tag;
            }
            (self.identity.last, self.identity.last_pixel) = (delivery.tag, delivery.at);
        }
        self.arrived[part.channel] += used;
        Copied { used, duplicate: part.part.area() - used - not_scanned, not_scanned }
    }

    /// Remembers which pixels of a row were not captured, and lets them pass for arrived while the row is copied. Gives
    /// those that had not arrived before.
    fn hide(&mut self, row: usize, channel: usize, mut unscanned: Unscanned) -> Unscanned {
        let row = self.row_of_masks(row);
        self.some_unscanned = true;
        self.unscanned[row.clone()].iter_mut().zip(&unscanned.words).for_each(|(all, new)| *all |= new);
        self.masks[channel][row].iter_mut().zip(&mut unscanned.words).for_each(|(mask, new)| {
            *new &= !*mask;
            *mask |= *new;
        });
        unscanned
    }

    /// What was let pass for arrived has not.
    fn show(&mut self, row: usize, channel: usize, hidden: &Unscanned) {
        let row = self.row_of_masks(row);
        self.masks[channel][row].iter_mut().zip(&hidden.words).for_each(|(mask, hidden)| *mask &= !hidden);
    }

    fn row_of_masks(&self, row: usize) -> Range<usize> {
        let words = self.shape.mask_words_per_row();
        row * words..(row + 1) * words
    }

    /// No more of it comes: what can be said of its pixels as a whole.
    pub(crate) fn close(&mut self) {
        if self.by_channel {
            let none = self.arrived.map(|count| count == 0);
            let some = none.contains(&false);
            let missing = |channel: usize| u32::from(none[channel] && some) << (channel + 1);
            self.identity.channels_missing = missing(0) | missing(1) | missing(2);
            let [all, green, blue] = &mut self.masks;
            all.iter_mut().zip(green.iter().zip(&*blue)).for_each(|(all, (green, blue))| *all &= green & blue);
            self.arrived[0] = all.iter().map(|word| u64::from(word.count_ones())).sum();
        }
        if self.some_unscanned {
            let both = self.unscanned.iter().zip(&self.masks[0]);
            let holes: u32 = both.map(|(unscanned, mask)| (unscanned & !mask).count_ones()).sum();
            self.identity.not_scanned = (f64::from(holes) / self.square()) as f32;
        }
        self.identity.coverage = (self.arrived[0] as f64 / self.square()) as f32;
    }

    fn square(&self) -> f64 {
        f64::from(self.shape.width) * f64::from(self.shape.height)
    }

    /// Every pixel that lies on the slide has arrived, in every channel.
    pub(crate) fn is_complete(&self) -> bool {
        let channels = if self.by_channel { 3 } else { 1 };
        self.arrived[..channels].iter().all(|&count| count >= self.expected)
    }

    /// Some pixels of a refused frame never arrived.
    pub(crate) fn has_hole(&self) -> bool {
        let Some(Hole { x, y }) = self.hole else { return false };
        let (words, length) = (self.shape.mask_words_per_row(), usize::from(x.1 - x.0));
        let mut rows = self.masks[0].chunks_exact(words).take(y.1.into()).skip(y.0.into());
        rows.any(|row| run_length(row, x.0.into(), x.1.into(), true) < length)
    }

    /// Pixels of the square that have not arrived; they are white after [`Slot::whiten`].
    pub(crate) fn missing(&self) -> usize {
        (u64::from(self.shape.width) * u64::from(self.shape.height) - self.arrived[0]) as usize
    }

    /// Fills what never arrived with white, so that no pixel of an earlier tile can show.
    pub(crate) fn whiten(&mut self) {
        if self.missing() == 0 {
            return;
        }
        let (width, words) = (self.shape.width as usize, self.shape.mask_words_per_row());
        for (row, mask) in self.masks[0].chunks_exact_mut(words).enumerate() {
            let target = &mut self.pixels[3 * row * width..3 * (row + 1) * width];
            for_each_clear_run(mask, 0, width, |start, end| target[3 * start..3 * end].fill(WHITE));
        }
    }

    /// The tile's own pixels: width, height, packed RGB rows.
    pub(crate) fn native(&self) -> (usize, usize, &[u8]) {
        (self.shape.width as usize, self.shape.height as usize, &self.pixels)
    }

    /// The tile's own pixels and the buffer of the model's input, for the resampler; None where they are the same.
    pub(crate) fn native_and_input(&mut self) -> Option<(&[u8], &mut [u8])> {
        (!self.shape.is_native()).then_some((&self.pixels[..], &mut self.input[..]))
    }

    /// The model's input, `side` × `side` packed RGB.
    pub(crate) fn input(&self) -> &[u8] {
        if self.shape.is_native() { &self.pixels } else { &self.input }
    }
}
