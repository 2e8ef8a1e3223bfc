//! Frames of every kind that a camera delivers, and now and then of a kind that none should.
#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "every call gets null or memory as long as it states, which is what this test is about"
)]

use std::ptr::null;
use std::sync::atomic::Ordering;

use coverslip_pixels::format::{PixelFormat, Samples};
use coverslip_plugin_abi::*;

use super::caller::Caller;
use super::camera::{Camera, Content, FILLS};
use super::dice::Dice;
use super::guarded::Guarded;
use super::tally::Strip;

/// The largest frame, wide and high, in pixels.
pub(crate) const FRAME: usize = 64;
/// Bytes that may lie between two rows, and behind the last.
const GAP: usize = 9;
/// The most bytes of one plane: of four 16-bit samples a pixel.
pub(crate) const ROOM: usize = FRAME * (8 * FRAME + GAP) + GAP;
/// The swaths of a slide's strips. The library remembers the last rows of two groups.
pub(crate) const SWATHS: usize = 3;
/// The height of the slides' extent.
pub(crate) const BOTTOM: u32 = 320;

/// A frame, and what it is.
struct Shot {
    frame: Frame,
    format: PixelFormat,
    strip: Strip,
    /// The swath that goes on from it.
    swath: Option<usize>,
}

impl Caller<'_> {
    pub(super) fn submit(&mut self, waits: bool) {
        let (slide, place) = self.slide_and_place();
        let camera = Camera(self.shared.cameras[place].load(Ordering::Relaxed));
        let mut shot = self.shot(place, camera);
        let fill = self.dice.pick(&FILLS);
        for plane in 0..shot.format.planes() as usize {
            let row = shot.format.row_bytes(shot.frame.width.into());
            shot.frame.planes[plane] = paint(&mut self.pixels[plane], row, shot.frame.height, fill, &mut self.dice);
        }
        self.cover(&mut shot.frame);
        self.spoil(&mut shot.frame);
        let dice = &mut self.dice;
        let (size, nothing, timeout) = (shot.frame.struct_size as usize, dice.odd(20), dice.roll(8) as u32);
        let frame: *const Frame = if nothing { null() } else { self.input.put(&shot.frame, size, 0) };
        let code = if waits {
            self.answer(8, |api, error| unsafe { (api.slide_submit_wait)(slide, frame, timeout, error) })
        } else {
            self.answer(7, |api, error| unsafe { (api.slide_submit)(slide, frame, error) })
        };
        // A frame that is stated shorter has not all that it has here.
        if code == OK && size >= size_of::<Frame>() {
            self.shared.tally.add(&shot.frame, shot.strip, camera.traits());
            self.go_on(place, &shot);
        }
        self.shared.frames.fetch_add(u64::from(code == OK), Ordering::Relaxed);
    }

    /// Mostly a frame that goes with the slide's camera.
    fn shot(&mut self, place: usize, camera: Camera) -> Shot {
        let dice = &mut self.dice;
        let content =
            if dice.odd(6) { dice.pick(&[Content::Color, Content::Grey, Content::Channels]) } else { camera.content() };
        if content == Content::Color && dice.once_in(3) {
            return self.strip(place, camera);
        }
        // Of three formats that of which fewest frames were taken, so that a short run has all of them.
        let mut formats = [(); 3].map(|()| camera.format(content, dice));
        formats.sort_by_key(|(code, _)| self.shared.tally.of(*code));
        let (code, format) = formats[0];
        let mut frame = blank(code, format, dice);
        (frame.width, frame.height) = (1 + dice.roll(FRAME as u64) as u32, 1 + dice.roll(FRAME as u64) as u32);
        if format.is_mosaic() && !dice.odd(6) {
            (frame.width, frame.height) = (frame.width.next_multiple_of(2), frame.height.next_multiple_of(2));
        }
        (frame.group_id, frame.pass) = (dice.roll(4), dice.number(20, 0) as u32);
        let (x, y) = (dice.roll(500) as i64 - 20, dice.roll(340) as i64 - 20);
        (frame.x, frame.y) = (dice.number(20, x as u64) as i64, dice.number(20, y as u64) as i64);
        if content == Content::Channels {
            frame.channel = dice.pick(&[CHANNEL_RED, CHANNEL_GREEN, CHANNEL_BLUE]);
        }
        frame.flags = if dice.odd(6) { FRAME_CONTIGUOUS } else { 0 };
        let strip = match (frame.group_id, frame.flags) {
            (0, _) => Strip::Alone,
            (_, 0) => Strip::Begins,
            _ => Strip::Misfits,
        };
        Shot { frame, format, strip, swath: None }
    }

    /// The next strip of a swath, of one mosaic. Each thread has a swath that it scans most often.
    fn strip(&mut self, place: usize, camera: Camera) -> Shot {
        let dice = &mut self.dice;
        let swath = (self.thread + usize::from(dice.once_in(8))) % SWATHS;
        let next = self.shared.swaths[place][swath].load(Ordering::Relaxed);
        let (pass, y) = ((next >> 32) as u32, next as u32);
        let (code, format) = camera.mosaic();
        let mut frame = blank(code, format, dice);
        (frame.x, frame.y) = (128 * swath as i64, i64::from(y));
        (frame.width, frame.height) = (FRAME as u32, (2 + 2 * dice.roll(8) as u32).min(BOTTOM - y));
        (frame.group_id, frame.pass) = (1 + swath as u64, pass);
        let (follows, strays) = (!dice.once_in(8), dice.odd(6));
        frame.flags = if y > 0 && follows || strays { FRAME_CONTIGUOUS } else { 0 };
        frame.x += i64::from(strays);
        let strip = match frame.flags {
            0 => Strip::Begins,
            _ if strays || y == 0 => Strip::Misfits,
            _ => Strip::Follows,
        };
        Shot { frame, format, strip, swath: Some(swath) }
    }

    /// The swath goes on below the frame, or with another pass at the top.
    fn go_on(&self, place: usize, shot: &Shot) {
        let Some(swath) = shot.swath else { return };
        let below = shot.frame.y as u32 + shot.frame.height / 2 * 2;
        let (pass, y) = if below >= BOTTOM { (shot.frame.pass + 1, 0) } else { (shot.frame.pass, below) };
        let next = u64::from(pass) << 32 | u64::from(y);
        self.shared.swaths[place][swath].store(next, Ordering::Relaxed);
    }

    /// Says of a third of the frames which of their pixels were captured.
    fn cover(&mut self, frame: &mut Frame) {
        if !self.dice.once_in(3) {
            return;
        }
        frame.mask_format = self.dice.pick(&[MASK_BYTES, MASK_BITS]);
        let pixels = u64::from(frame.width);
        let row = if frame.mask_format == MASK_BYTES { pixels } else { pixels.div_ceil(8) };
        let fill = self.dice.pick(&[0, 0x5a, 0xff, 0xff]);
        frame.mask = paint(&mut self.mask, row, frame.height, fill, &mut self.dice);
    }

    /// What no host should say: more or less than there is, and what does not go together. More pixels may be claimed, but
    /// never more memory than there is.
    fn spoil(&mut self, frame: &mut Frame) {
        let dice = &mut self.dice;
        for (plane, usual) in [(&mut frame.planes[0], true), (&mut frame.mask, frame.mask_format != MASK_NONE)] {
            if usual && dice.odd(8) {
                plane.stride = dice.number(1, plane.stride);
            }
            if usual && dice.odd(8) {
                plane.size = dice.roll(plane.size.max(1));
            }
            if dice.odd(20) {
                plane.data = null();
            }
        }
        if dice.odd(8) {
            (frame.width, frame.height) = (dice.number(2, 64) as u32, dice.number(2, 64) as u32);
        }
        frame.mask_format = dice.number(20, frame.mask_format as u64) as i32;
        frame.channel = dice.number(20, frame.channel as u64) as i32;
        frame.flags = dice.number(20, frame.flags.into()) as u32;
        frame.reserved = dice.number(40, 0) as u32;
    }
}

/// A frame of a format that is nowhere yet.
fn blank(code: u32, format: PixelFormat, dice: &mut Dice) -> Frame {
    let depth = if dice.once_in(2) { format.bits } else { 0 };
    let planes = if format.samples == Samples::Planar { 3 } else { 1 };
    Frame {
        struct_size: dice.size_of::<Frame>(6) as u32,
        pixel_format: dice.number(20, code.into()) as u32,
        bit_depth: dice.number(20, depth.into()) as u32,
        plane_count: dice.number(20, planes) as u32,
        frame_id: dice.bits(),
        capture_time_ns: dice.number(3, 1) as i64,
        focal_plane: dice.number(40, 0) as i32,
        ..Frame::init()
    }
}

/// Rows of `row` bytes at the edge of memory, nearly all of them `fill`. Sometimes bytes behind the last row are there, and
/// sometimes its last byte is the last of all.
fn paint(memory: &mut Guarded, row: u64, height: u32, fill: u8, dice: &mut Dice) -> Plane {
    let gap = |dice: &mut Dice| if dice.once_in(2) { 0 } else { dice.roll(GAP as u64) };
    let stride = row + gap(dice);
    let size = (u64::from(height) - 1) * stride + row + gap(dice);
    let data = memory.bytes(size as usize, fill);
    for _ in 0..if dice.once_in(4) { 64 } else { 0 } {
        let (at, value) = (dice.roll(size) as usize, dice.bits() as u8);
        // SAFETY: inside the plane.
        unsafe { data.add(at).write(if value % 4 == 0 { 0 } else { value }) };
    }
    Plane { data, stride, size }
}
