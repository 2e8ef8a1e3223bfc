//! A frame as the assembler sees it: checked, and with its rows as slices.

use coverslip_pixels::format::{PixelFormat, Samples};
use coverslip_pixels::image::{Image, Plane};
use coverslip_pixels::validity::{Mask, Validity};
use coverslip_plugin_abi as abi;

use super::grid::Rect;
use coverslip_base::error::{Result, error};

/// What the host says of a frame, not checked yet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FrameHeader {
    pub(crate) format: u32,
    pub(crate) bit_depth: u32,
    pub(crate) planes: u32,
    pub(crate) x: i64,
    pub(crate) y: i64,
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Of as many planes as a format can have.
    pub(crate) memory: [Memory; 3],
    pub(crate) pass: u32,
    pub(crate) focal_plane: i32,
    pub(crate) channel: i32,
    pub(crate) mask_format: i32,
    pub(crate) mask: Memory,
    pub(crate) contiguous: bool,
    pub(crate) tag: FrameTag,
}

/// How the rows of a plane lie in memory, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) stride: u64,
    pub(crate) size: u64,
}

/// What results repeat of a frame.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FrameTag {
    pub(crate) id: u64,
    pub(crate) group: u64,
    /// The host's clock; 0: unknown.
    pub(crate) captured_ns: i64,
}

/// The largest frame that a slide announced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameLimits {
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// Bytes that must be readable: of each plane, and of the mask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Readable {
    pub(crate) planes: [usize; 3],
    pub(crate) mask: usize,
}

/// The bytes of a frame: those that [`FrameHeader::check`] asked for.
#[derive(Clone, Copy, Default)]
pub(crate) struct FrameBytes<'a> {
    pub(crate) planes: [&'a [u8]; 3],
    pub(crate) mask: &'a [u8],
}

/// A frame whose header was checked, with its pixels.
#[derive(Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) area: Rect,
    pub(crate) pass: u16,
    pub(crate) tag: FrameTag,
    pub(crate) image: Image<'a>,
    /// By its mask; what the slide says of values is not in it.
    pub(crate) validity: Validity<'a>,
    /// A Mono frame is this channel: 0 to 2, red, green, blue.
    pub(crate) channel: Option<usize>,
    /// Its rows follow those of the last frame of its group.
    pub(crate) contiguous: bool,
}

impl FrameHeader {
    /// Checks the header. Gives the bytes that must be readable.
    pub(crate) fn check(&self, limits: FrameLimits) -> Result<Readable> {
        let format = self.pixel_format()?;
        if self.width == 0 || self.height == 0 {
            return Err(error!(
                INVALID_ARGUMENT,
                "expected a frame of at least 1 x 1, found {} x {}", self.width, self.height
            ));
        }
        if self.width > limits.width || self.height > limits.height {
            return Err(error!(
                FRAME_TOO_LARGE,
                "slide_begin announced frames of at most {} x {}, found {} x {}: announce the largest or cut it",
                limits.width,
                limits.height,
                self.width,
                self.height
            ));
        }
        if self.focal_plane != 0 {
            return Err(error!(UNSUPPORTED, "version 1 takes focal plane 0, found {}", self.focal_plane));
        }
        if self.pass > u32::from(u16::MAX) {
            return Err(error!(INVALID_ARGUMENT, "expected a pass of at most 65535, found {}", self.pass));
        }
        self.check_samples(format)?;
        Rect::checked(self.x, self.y, u64::from(self.width), u64::from(self.height))?;
        let mut readable = Readable::default();
        let row = format.row_bytes(u64::from(self.width));
        for (plane, bytes) in readable.planes.iter_mut().enumerate().take(format.planes() as usize) {
            *bytes = self.bytes(format_args!("planes[{plane}]"), self.memory[plane], row)?;
        }
        readable.mask = self.mask_bytes()?;
        Ok(readable)
    }

    fn pixel_format(&self) -> Result<PixelFormat> {
        let format = PixelFormat::from_pfnc(self.format);
        match format {
            Some(format)
                if self.planes == format.planes() && (self.bit_depth == 0 || self.bit_depth == format.bits) =>
            {
                Ok(format)
            }
            Some(format) => Err(error!(
                UNSUPPORTED_FORMAT,
                "PFNC {:#010x} has {} bits and {} planes, found {} bits, {} planes: state what the code says, or another \
                 code",
                self.format,
                format.bits,
                format.planes(),
                self.bit_depth,
                self.planes
            )),
            None => Err(error!(
                UNSUPPORTED_FORMAT,
                "expected a pixel format of coverslip.h (COVERSLIP_PFNC_*), found PFNC {:#010x}, {} bits, {} planes: \
                 convert before submit",
                self.format,
                self.bit_depth,
                self.planes
            )),
        }
    }

    fn check_samples(&self, format: PixelFormat) -> Result<()> {
        if format.is_mosaic() && (!self.width.is_multiple_of(2) || !self.height.is_multiple_of(2)) {
            return Err(error!(
                INVALID_ARGUMENT,
                "expected an even width and height of a Bayer frame, found {} x {}: cut it at whole cells of 2 x 2",
                self.width,
                self.height
            ));
        }
        if self.channel != abi::CHANNEL_ALL && format.samples != Samples::Mono {
            return Err(error!(
                INVALID_ARGUMENT,
                "frame.channel {} is for Mono formats, found PFNC {:#010x}: leave it at COVERSLIP_CHANNEL_ALL",
                self.channel,
                self.format
            ));
        }
        if self.contiguous && self.tag.group == 0 {
            return Err(error!(
                INVALID_ARGUMENT,
                "COVERSLIP_FRAME_CONTIGUOUS names the last frame of a group, found group_id 0: give the strip a group_id"
            ));
        }
        Ok(())
    }

    fn bytes(&self, what: std::fmt::Arguments<'_>, memory: Memory, row: u64) -> Result<usize> {
        let Memory { stride, size } = memory;
        if stride < row {
            return Err(error!(
                INVALID_ARGUMENT,
                "{what}: expected a stride of at least a row ({row} bytes, each row begins at a byte), found {stride}"
            ));
        }
        let needed = (u64::from(self.height) - 1).checked_mul(stride).and_then(|rows| rows.checked_add(row));
        match needed.map(usize::try_from) {
            Some(Ok(needed)) if needed as u64 <= size && needed <= isize::MAX as usize => Ok(needed),
            _ => Err(error!(
                INVALID_ARGUMENT,
                "{what}: a frame of {} x {} with stride {stride} is larger than the plane's size of {size} bytes",
                self.width,
                self.height
            )),
        }
    }

    fn mask_bytes(&self) -> Result<usize> {
        let row = match self.mask_format {
            abi::MASK_BYTES => u64::from(self.width),
            abi::MASK_BITS => u64::from(self.width).div_ceil(8),
            _ if self.mask.stride == 0 && self.mask.size == 0 => return Ok(0),
            _ => {
                return Err(error!(
                    INVALID_ARGUMENT,
                    "found a frame.mask with COVERSLIP_MASK_NONE: say its mask_format, or leave it 0"
                ));
            }
        };
        self.bytes(format_args!("mask"), self.mask, row)
    }

    /// The frame over its bytes.
    pub(crate) fn over<'a>(&self, bytes: FrameBytes<'a>) -> Result<Frame<'a>> {
        let format = self.pixel_format()?;
        let area = Rect::checked(self.x, self.y, u64::from(self.width), u64::from(self.height))?;
        let plane = |at: usize| Plane { bytes: bytes.planes[at], stride: self.memory[at].stride as usize };
        let mask = Plane { bytes: bytes.mask, stride: self.mask.stride as usize };
        let mask = match self.mask_format {
            abi::MASK_BYTES => Mask::Bytes(mask),
            abi::MASK_BITS => Mask::Bits(mask),
            _ => Mask::None,
        };
        Ok(Frame {
            area,
            pass: self.pass as u16,
            tag: self.tag,
            image: Image {
                format,
                width: self.width as usize,
                height: self.height as usize,
                planes: [plane(0), plane(1), plane(2)],
            },
            validity: Validity { mask, ..Validity::default() },
            channel: usize::try_from(self.channel - abi::CHANNEL_RED).ok(),
            contiguous: self.contiguous,
        })
    }
}
