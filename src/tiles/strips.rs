//! Strips of a mosaic that follow each other. The last two rows of a strip need the first two of the next: they are held
//! back until it comes, or until it is known that it does not. So no seam shows where two strips meet.

use std::time::Instant;

use coverslip_pixels::developer::{KeptRows, Source};
use coverslip_pixels::format::PixelFormat;

use super::frame::{Frame, FrameTag};
use super::grid::Rect;
use coverslip_base::error::Result;
use coverslip_base::memory::refused;

/// Rows that are held back.
pub(crate) const HELD: i64 = 2;
/// Groups whose last rows are remembered. A scanner captures one strip after the other, or two at a time.
pub(crate) const GROUPS: usize = 2;

/// The last rows of the last strip of one group.
pub(crate) struct Strip {
    rows: Option<KeptRows>,
    last: Option<Last>,
}

/// What is known of that strip.
#[derive(Clone, Copy)]
struct Last {
    /// Its last two rows.
    area: Rect,
    pass: u16,
    tag: FrameTag,
    format: PixelFormat,
    /// When it came.
    at: Instant,
    /// The order in which strips came.
    order: u64,
    /// The two rows are not in their tiles yet.
    is_held: bool,
}

/// Two rows that are finished alone.
pub(crate) struct Alone {
    pub(crate) strip: Strip,
    pub(crate) area: Rect,
    pub(crate) pass: u16,
    pub(crate) tag: FrameTag,
    pub(crate) at: Instant,
    format: PixelFormat,
}

impl Alone {
    pub(crate) fn source(&self) -> Source<'_> {
        Source {
            image: None,
            kept: self.strip.rows.as_ref(),
            format: self.format,
            width: (self.area.x1 - self.area.x0) as usize,
            validity: Default::default(),
            channel: None,
        }
    }
}

pub(crate) struct Strips {
    strips: [Strip; GROUPS],
    came: u64,
}

impl Strips {
    /// For frames of at most `width` pixels.
    pub(crate) fn new(width: u32) -> Result<Strips> {
        let rows = || KeptRows::new(width as usize).map_err(refused);
        let strips = [rows()?, rows()?].map(|rows| Strip { rows: Some(rows), last: None });
        Ok(Strips { strips, came: 0 })
    }

    /// Bytes that they take.
    pub(crate) fn bytes(width: u32) -> u64 {
        GROUPS as u64 * KeptRows::bytes(u64::from(width))
    }

    fn of_group(&self, group: u64) -> Option<usize> {
        self.strips.iter().position(|strip| strip.last.is_some_and(|last| last.tag.group == group))
    }

    /// The strip whose rows those of a frame follow.
    pub(crate) fn followed_by(&self, frame: &Frame<'_>) -> Option<usize> {
        let at = self.of_group(frame.tag.group).filter(|_| frame.contiguous && frame.image.format.is_mosaic())?;
        let strip = &self.strips[at];
        let last = strip.last?;
        let fits = last.pass == frame.pass
            && (last.area.x0, last.area.y1) == (frame.area.x0, frame.area.y0)
            && strip.rows.as_ref()?.fits(frame.image.format, frame.image.width);
        fits.then_some(at)
    }

    /// Whether that strip's last rows wait for a frame that follows.
    pub(crate) fn is_held(&self, at: usize) -> bool {
        self.strips[at].last.is_some_and(|last| last.is_held)
    }

    /// The place for a frame's last rows: the group's own, or that which was used least recently.
    pub(crate) fn place_for(&self, frame: &Frame<'_>) -> usize {
        self.of_group(frame.tag.group).unwrap_or_else(|| {
            let age = |at: &usize| self.strips[*at].last.map_or(0, |last| last.order);
            (0..GROUPS).min_by_key(age).unwrap_or(0)
        })
    }

    /// Takes a strip out while a frame is developed after it.
    pub(crate) fn take(&mut self, at: usize) -> Strip {
        let strip = &mut self.strips[at];
        Strip { rows: strip.rows.take(), last: strip.last.take() }
    }

    /// Puts it back as it was.
    pub(crate) fn put(&mut self, at: usize, strip: Strip) {
        self.strips[at] = strip;
    }

    /// Puts it back with a frame's last rows. `follows`: after those that are there.
    pub(crate) fn put_last(&mut self, at: usize, mut strip: Strip, frame: &Frame<'_>, now: Instant, last: Ends) {
        self.came += 1;
        if let Some(rows) = strip.rows.as_mut() {
            rows.keep(&frame.image, &frame.validity, last.follows);
        }
        let Rect { x0, x1, y1, .. } = frame.area;
        strip.last = Some(Last {
            area: Rect { x0, x1, y0: y1 - HELD, y1 },
            pass: frame.pass,
            tag: frame.tag,
            format: frame.image.format,
            at: now,
            order: self.came,
            is_held: last.is_held,
        });
        self.strips[at] = strip;
    }

    /// A strip whose last rows wait in a box.
    pub(crate) fn held_in(&self, pass: u16, within: &Rect) -> Option<usize> {
        let waits = |last: Last| last.is_held && last.pass == pass && !last.area.intersection(within).is_empty();
        self.strips.iter().position(|strip| strip.last.is_some_and(waits))
    }

    /// Takes out a strip, to finish its last rows alone if they wait.
    pub(crate) fn take_alone(&mut self, at: usize) -> Option<Alone> {
        let last = self.strips[at].last.as_mut().filter(|last| last.is_held)?;
        last.is_held = false;
        let Last { area, pass, tag, at: time, format, .. } = *last;
        Some(Alone { strip: self.take(at), area, pass, tag, at: time, format })
    }
}

/// What is so at the two ends of a strip.
#[derive(Clone, Copy)]
pub(crate) struct Ends {
    /// It follows the strip before.
    pub(crate) follows: bool,
    /// Its last rows are held back.
    pub(crate) is_held: bool,
}

impl Strip {
    pub(crate) fn rows(&self) -> Option<&KeptRows> {
        self.rows.as_ref()
    }
}
