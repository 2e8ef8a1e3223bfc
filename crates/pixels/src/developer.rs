//! Rows of a frame as 8-bit channels.
//!
//! A frame is developed part by part (a part is what one tile takes of it), and a part row by row from above. What a
//! mosaic's row needs of its neighbours is kept between rows.

use std::collections::TryReserveError;
use std::sync::Arc;

use crate::ahead;
use crate::copy::{Order, copy_row};
use crate::format::{Packing, PixelFormat, Samples};
use crate::image::{Image, Plane};
use crate::memory::room;
use crate::mosaic::{REACH, Window, mirrored};
use crate::tone::Tone;
use crate::unpack::unpack;
use crate::validity::Validity;

/// The most rows that are kept of a mosaic: those that are not finished, and those that these reach.
const KEPT: usize = 2 * REACH;

/// The last rows of a mosaic, for the frame whose rows follow them.
pub struct KeptRows {
    /// Of the frame that they are of.
    format: Option<PixelFormat>,
    width: usize,
    rows: usize,
    levels: Vec<u16>,
    missing: Vec<u8>,
}

impl KeptRows {
    /// For frames of at most `width` columns.
    pub fn new(width: usize) -> Result<KeptRows, TryReserveError> {
        let mut kept =
            KeptRows { format: None, width: 0, rows: 0, levels: room(KEPT * width)?, missing: room(KEPT * width)? };
        kept.levels.resize(KEPT * width, 0);
        kept.missing.resize(KEPT * width, 0);
        Ok(kept)
    }

    pub fn bytes(width: u64) -> u64 {
        KEPT as u64 * width * 3
    }

    /// Whether a frame of this format and width can follow.
    pub fn fits(&self, format: PixelFormat, width: usize) -> bool {
        self.format == Some(format) && self.width == width
    }

    fn place(&self, y: isize) -> std::ops::Range<usize> {
        let row = (self.rows as isize + y) as usize;
        row * self.width..(row + 1) * self.width
    }

    /// Keeps the last rows of a frame; `follows`: after the rows that are there.
    pub fn keep(&mut self, image: &Image<'_>, validity: &Validity<'_>, follows: bool) {
        let before = if follows { self.rows.min(KEPT - image.height.min(KEPT)) } else { 0 };
        let old = (self.rows - before) * image.width..self.rows * image.width;
        if before > 0 {
            self.levels.copy_within(old.clone(), 0);
            self.missing.copy_within(old, 0);
        }
        let new = image.height.min(KEPT - before);
        (self.format, self.width, self.rows) = (Some(image.format), image.width, before + new);
        for row in 0..new {
            let y = image.height - new + row;
            let place = (before + row) * image.width..(before + row + 1) * image.width;
            validity.missing(image, y, 0, &mut [], &mut self.missing[place.clone()]);
            let bytes = image.planes[0].row(y);
            unpack(image.format.packing, image.format.bits, bytes, 0, &mut self.levels[place]);
        }
    }
}

/// What is developed: a frame, the rows kept before it, or these alone. The frame's rows are 0 and more, those kept are
/// below 0.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    pub image: Option<Image<'a>>,
    pub kept: Option<&'a KeptRows>,
    pub format: PixelFormat,
    pub width: usize,
    pub validity: Validity<'a>,
    /// A Mono frame is this channel: 0 to 2, red, green, blue; None: grey.
    pub channel: Option<usize>,
}

impl Source<'_> {
    /// The first row and the one after the last.
    fn rows(&self) -> (isize, isize) {
        let height = self.image.map_or(0, |image| image.height);
        (-(self.kept.map_or(0, |kept| kept.rows) as isize), height as isize)
    }

    fn levels(&self, y: isize, x: usize, to: &mut [u16]) {
        match (self.image, self.kept) {
            (Some(image), _) if y >= 0 => {
                unpack(self.format.packing, self.format.bits, image.planes[0].row(y as usize), x, to);
            }
            (_, Some(kept)) if y < 0 => to.copy_from_slice(&kept.levels[kept.place(y)][x..x + to.len()]),
            _ => to.fill(0),
        }
    }

    /// The levels of a row of a mosaic from column `x` - 2 on, beyond whose edges it is mirrored.
    fn levels_around(&self, y: isize, x: usize, to: &mut [u16]) {
        let (start, width) = (x as isize - REACH as isize, self.width as isize);
        let end = start + to.len() as isize;
        let (from, until) = (start.max(0), end.min(width));
        self.levels(y, from as usize, &mut to[(from - start) as usize..(until - start) as usize]);
        for column in (start..from).chain(until..end) {
            to[(column - start) as usize] = to[(mirrored(column, 0, width) - start) as usize];
        }
    }

    fn missing(&self, y: isize, x: usize, levels: &mut [u16], to: &mut [u8]) {
        match (self.image, self.kept) {
            (Some(image), _) if y >= 0 => self.validity.missing(&image, y as usize, x, levels, to),
            (_, Some(kept)) if y < 0 => to.copy_from_slice(&kept.missing[kept.place(y)][x..x + to.len()]),
            _ => to.fill(0),
        }
    }

    /// Whether all of its pixels were captured.
    fn is_whole(&self) -> bool {
        let kept = self.kept.is_some_and(|kept| kept.missing[..kept.rows * kept.width].contains(&1));
        !kept && self.validity.is_whole(self.format.samples)
    }
}

/// A part of a row, developed.
pub enum Row<'r> {
    /// As the camera delivered it.
    Interleaved(Interleaved<'r>),
    /// Packed RGB.
    Rgb(&'r [u8]),
    /// One channel, and which.
    Channel(usize, &'r [u8]),
}

/// Bytes of pixels whose channels stand in some order.
pub struct Interleaved<'r> {
    order: Order,
    bytes: &'r [u8],
}

/// Columns of a frame whose rows are used as the camera delivered them.
#[derive(Clone, Copy)]
pub struct Delivered<'a> {
    order: Order,
    plane: Plane<'a>,
    /// Their first byte of a row, and the one after their last.
    part: (usize, usize),
}

impl<'a> Delivered<'a> {
    /// Row `y` of these columns.
    pub fn row(&self, y: usize) -> Row<'a> {
        Row::Interleaved(Interleaved { order: self.order, bytes: &self.plane.row(y)[self.part.0..self.part.1] })
    }

    /// Calls pixels `from` to `to` of these columns' row `y` into the cache.
    pub fn call_ahead(&self, y: usize, from: usize, to: usize) {
        let width = self.order.bytes_per_pixel();
        ahead::call(&self.plane.row(y)[self.part.0 + width * from..self.part.0 + width * to]);
    }
}

impl Row<'_> {
    /// Copies pixels `from` to `to` of the part into packed RGB; of a channel, only that one.
    pub fn copy(&self, from: usize, to: usize, target: &mut [u8]) {
        match self {
            Row::Interleaved(Interleaved { order, bytes }) => {
                let width = order.bytes_per_pixel();
                copy_row(*order, &bytes[width * from..width * to], target);
            }
            Row::Rgb(bytes) => target.copy_from_slice(&bytes[3 * from..3 * to]),
            Row::Channel(channel, bytes) => {
                let pixels = target.chunks_exact_mut(3).zip(&bytes[from..to]);
                pixels.for_each(|(pixel, &level)| pixel[*channel] = level);
            }
        }
    }
}

/// Develops rows, with memory of its own.
pub struct Developer {
    tone: Arc<Tone>,
    window: Window,
    levels: Vec<u16>,
    line: Vec<u8>,
    missing: Vec<u8>,
    near: Vec<u8>,
    /// The part: its first column and its end.
    part: (usize, usize),
}

impl Developer {
    /// For parts of at most `width` columns.
    pub fn new(tone: Arc<Tone>, width: usize) -> Result<Developer, TryReserveError> {
        let around = width + 2 * REACH + 4;
        let mut developer = Developer {
            tone,
            window: Window::new(width)?,
            levels: room(4 * around)?,
            line: room(3 * around)?,
            missing: room(around)?,
            near: room(2 * around)?,
            part: (0, 0),
        };
        developer.levels.resize(4 * around, 0);
        developer.line.resize(3 * around, 0);
        developer.missing.resize(around, 0);
        developer.near.resize(2 * around, 0);
        Ok(developer)
    }

    /// Bytes that it takes beside the tone's.
    pub fn bytes(width: u64) -> u64 {
        Window::bytes(width) + (width + 8) * (8 + 3 + 1 + 2)
    }

    pub fn tone(&self) -> &Tone {
        &self.tone
    }

    /// Begins a part: columns `from` to `to` of a frame.
    pub fn begin(&mut self, from: usize, to: usize) {
        self.part = (from, to);
        self.window.begin((to.next_multiple_of(2) - from / 2 * 2) / 2);
    }

    /// Columns `from` to `to` of a frame as they were delivered, where nothing of it is to be developed and nothing is
    /// missing: then its rows can be had without [`Developer::missing`] and [`Developer::row`], at any width.
    pub fn delivered<'a>(&self, source: &Source<'a>, from: usize, to: usize) -> Option<Delivered<'a>> {
        self.plain(source, from, to).filter(|_| source.is_whole())
    }

    /// The same, whatever is missing.
    fn plain<'a>(&self, source: &Source<'a>, from: usize, to: usize) -> Option<Delivered<'a>> {
        let order = interleaved(source.format).filter(|_| self.tone.is_plain(8))?;
        let width = order.bytes_per_pixel();
        Some(Delivered { order, plane: source.image?.planes[0], part: (width * from, width * to) })
    }

    /// The part's row `y`.
    pub fn row<'r>(&'r mut self, source: &Source<'r>, y: isize) -> Row<'r> {
        let (x, end) = self.part;
        let Source { format, image, .. } = *source;
        if format.is_mosaic() {
            return Row::Rgb(self.demosaiced(source, y));
        }
        if let Some(plain) = self.plain(source, x, end) {
            return plain.row(y as usize);
        }
        let Some(image) = image else { return Row::Rgb(&[]) };
        let (count, width) = (end - x, format.samples_per_pixel());
        let read = |plane: usize, to: &mut [u16]| {
            unpack(format.packing, format.bits, image.planes[plane].row(y as usize), width * x, to);
        };
        let line = &mut self.line[..3 * count];
        match format.samples {
            Samples::Mono => {
                let levels = &mut self.levels[..count];
                read(0, levels);
                if let Some(channel) = source.channel {
                    self.tone.channel(format.bits, channel, levels, &mut line[..count]);
                    return Row::Channel(channel, &line[..count]);
                }
                self.tone.grey(format.bits, levels, line);
            }
            Samples::Planar => {
                let (red, rest) = self.levels.split_at_mut(count);
                let (green, blue) = rest.split_at_mut(count);
                let blue = &mut blue[..count];
                read(0, red);
                read(1, green);
                read(2, blue);
                self.tone.colours(format.bits, |at| [red[at], green[at], blue[at]], line);
            }
            samples => {
                let levels = &mut self.levels[..width * count];
                read(0, levels);
                let levels = &levels[..];
                match matches!(samples, Samples::Bgr | Samples::Bgra) {
                    false => self.tone.colours(format.bits, |at| triple(levels, width * at), line),
                    true => self.tone.colours(format.bits, |at| reversed(levels, width * at), line),
                }
            }
        }
        Row::Rgb(line)
    }

    fn demosaiced(&mut self, source: &Source<'_>, y: isize) -> &[u8] {
        let Samples::Bayer(phase) = source.format.samples else { return &[] };
        let (x, end) = self.part;
        let start = x / 2 * 2;
        let pairs = (end.next_multiple_of(2) - start) / 2;
        let (low, high) = source.rows();
        for row in y - REACH as isize..=y + REACH as isize {
            if !self.window.holds(row) {
                let levels = &mut self.levels[..2 * pairs + 2 * REACH];
                source.levels_around(mirrored(row, low, high), start, levels);
                self.window.put(row, levels);
            }
        }
        self.window.interpolate(y, phase, source.format.highest());
        let (even, odd) = (&self.window.even, &self.window.odd);
        let line = &mut self.line[..6 * pairs];
        self.tone.pairs(source.format.bits, (even, odd), line);
        &line[3 * (x - start)..3 * (end - start)]
    }

    /// 1 for each pixel of the part's row `y` that was not captured or, of a mosaic, needs one that was not; 0 for the
    /// others. None: all were.
    pub fn missing(&mut self, source: &Source<'_>, y: isize) -> Option<&[u8]> {
        if source.is_whole() {
            return None;
        }
        let (x, end) = self.part;
        let missing = &mut self.missing[..end - x];
        if !source.format.is_mosaic() {
            source.missing(y, x, &mut self.levels, missing);
            return Some(missing);
        }
        let (from, until) = (x.saturating_sub(REACH), (end + REACH).min(source.width));
        let half = self.near.len() / 2;
        let (row, all) = self.near.split_at_mut(half);
        let (row, all) = (&mut row[..until - from], &mut all[..until - from]);
        let (low, high) = source.rows();
        all.fill(0);
        for near in y - REACH as isize..=y + REACH as isize {
            source.missing(mirrored(near, low, high), from, &mut self.levels, row);
            all.iter_mut().zip(&*row).for_each(|(all, &one)| *all |= one);
        }
        for (at, out) in missing.iter_mut().enumerate() {
            let column = x + at - from;
            let reached = &all[column.saturating_sub(REACH)..(column + REACH + 1).min(all.len())];
            *out = reached.iter().fold(0, |any, &one| any | one);
        }
        Some(missing)
    }
}

/// The order of 8-bit channels that stand side by side.
fn interleaved(format: PixelFormat) -> Option<Order> {
    match (format.packing, format.samples) {
        (Packing::Bytes, Samples::Rgb) => Some(Order::Rgb),
        (Packing::Bytes, Samples::Bgr) => Some(Order::Bgr),
        (Packing::Bytes, Samples::Rgba) => Some(Order::Rgba),
        (Packing::Bytes, Samples::Bgra) => Some(Order::Bgra),
        _ => None,
    }
}

fn triple(levels: &[u16], at: usize) -> [u16; 3] {
    [levels[at], levels[at + 1], levels[at + 2]]
}

fn reversed(levels: &[u16], at: usize) -> [u16; 3] {
    [levels[at + 2], levels[at + 1], levels[at]]
}
