//! How many frames of each kind were accepted. What the driver no longer reaches is named, so that it cannot go unnoticed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use coverslip_pixels::format::PixelFormat;
use coverslip_plugin_abi::*;

/// How a mosaic's frame stands to those before it.
#[derive(Clone, Copy)]
pub(crate) enum Strip {
    /// It belongs to no group.
    Alone,
    /// Its group goes on from here.
    Begins,
    /// Its rows follow those of its group.
    Follows,
    /// It says so, and they do not.
    Misfits,
}

const STRIPS: [&str; 4] =
    ["a mosaic alone", "a strip that begins", "a strip that follows", "a strip that does not fit"];
const MASKS: [&str; 3] = ["no mask", "a mask of bytes", "a mask of bits"];
const CHANNELS: [&str; 4] = ["every channel", "red alone", "green alone", "blue alone"];

/// What a slide states for its frames, by the bits of [`super::camera::Camera::traits`].
pub(crate) const TRAITS: [&str; 11] = [
    "levels of 8 bits",
    "levels of 12 bits",
    "a gamma",
    "a tone table",
    "a white balance",
    "a colour matrix",
    "a white reference",
    "a value that was not scanned",
    "alpha is validity",
    "a stain",
    "a profile",
];

pub(crate) struct Tally(BTreeMap<&'static str, AtomicU64>);

impl Tally {
    pub(crate) fn new() -> Tally {
        let formats = PixelFormat::all().map(|(_, name, _)| name);
        let kinds = STRIPS.into_iter().chain(MASKS).chain(CHANNELS).chain(TRAITS);
        Tally(formats.chain(kinds).map(|name| (name, AtomicU64::new(0))).collect())
    }

    /// A frame was accepted.
    pub(crate) fn add(&self, frame: &Frame, strip: Strip, traits: u64) {
        let format = PixelFormat::all().find(|(code, ..)| *code == frame.pixel_format);
        let (_, name, format) = format.expect("a format of the contract");
        self.count(name);
        self.count(MASKS[frame.mask_format as usize]);
        self.count(CHANNELS[frame.channel as usize]);
        if format.is_mosaic() {
            self.count(STRIPS[strip as usize]);
        }
        let stated = TRAITS.iter().enumerate().filter(|(bit, _)| traits >> bit & 1 != 0);
        stated.for_each(|(_, name)| self.count(name));
    }

    /// The frames of a format.
    pub(crate) fn of(&self, code: u32) -> u64 {
        let name = PixelFormat::all().find(|(each, ..)| *each == code).map(|(_, name, _)| name);
        name.map_or(0, |name| self.0[name].load(Ordering::Relaxed))
    }

    fn count(&self, name: &str) {
        self.0[name].fetch_add(1, Ordering::Relaxed);
    }

    /// Every kind with its number.
    pub(crate) fn text(&self) -> String {
        let each = self.0.iter().map(|(name, count)| format!("{name}: {}", count.load(Ordering::Relaxed)));
        each.collect::<Vec<_>>().join(", ")
    }

    /// The kinds of which there was none.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        self.0.iter().filter(|(_, count)| count.load(Ordering::Relaxed) == 0).map(|(name, _)| *name).collect()
    }
}
