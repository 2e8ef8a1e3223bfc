//! What the frames of a slide carry: colour, grey, or one channel at a time. The first frame decides; a camera that changes
//! in the middle is refused.

use coverslip_pixels::format::{PixelFormat, Samples};
use coverslip_pixels::tone::Tone;

use super::frame::Frame;
use coverslip_base::error::{Result, error};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Color,
    Grey,
    Channels,
}

/// Which pixels the slide says were not scanned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NotScanned {
    /// Those with alpha 0.
    pub(crate) alpha: bool,
    /// Those of these levels.
    pub(crate) value: Option<[u32; 3]>,
}

/// The levels of pixels that were not scanned, as a frame of one channel or of all has them.
pub(crate) fn value_of(value: [u32; 3], channel: Option<usize>) -> [u32; 3] {
    channel.map_or(value, |channel| [value[channel]; 3])
}

impl Content {
    fn of(frame: &Frame<'_>) -> Content {
        match (frame.image.format.samples, frame.channel) {
            (Samples::Mono, None) => Content::Grey,
            (Samples::Mono, Some(_)) => Content::Channels,
            _ => Content::Color,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Content::Color => "colour",
            Content::Grey => "grey",
            Content::Channels => "one channel at a time",
        }
    }

    /// What a frame carries, if it goes with the slide's frames before and with its tone.
    pub(crate) fn expect(frame: &Frame<'_>, before: Option<Content>, tone: &Tone) -> Result<Content> {
        let PixelFormat { bits, .. } = frame.image.format;
        if !tone.takes(bits) {
            return Err(error!(
                UNSUPPORTED_FORMAT,
                "the tone_black and tone_white of slide_begin do not lie within the {} levels of this frame's {bits} \
                 bits: begin a slide with the tone of this format",
                1u32 << bits
            ));
        }
        let content = Content::of(frame);
        if content == Content::Channels && tone.mixes() {
            return Err(error!(
                UNSUPPORTED,
                "slide_desc.color_matrix needs a pixel's three channels at once, found a frame of one channel: leave \
                 the matrix 0"
            ));
        }
        match before {
            Some(before) if before != content => Err(error!(
                UNSUPPORTED_FORMAT,
                "the frames of this slide are {}, found one that is {}: the camera has changed its format; set it back, \
                 or begin another slide",
                before.name(),
                content.name()
            )),
            _ => Ok(content),
        }
    }
}
