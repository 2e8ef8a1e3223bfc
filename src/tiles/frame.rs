//! A frame as the assembler sees it: checked, and with its rows as slices.

use super::grid::Rect;
use super::pixels::PixelFormat;
use coverslip_base::error::{Result, error};

/// What the host says of a frame, not checked yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameHeader {
    pub(crate) format: u32,
    pub(crate) bit_depth: u32,
    pub(crate) planes: u32,
    pub(crate) x: i64,
    pub(crate) y: i64,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) stride: u64,
    pub(crate) size: u64,
    pub(crate) pass: u32,
    pub(crate) focal_plane: i32,
    pub(crate) tag: FrameTag,
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

/// A frame whose header was checked, with its pixels.
#[derive(Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) area: Rect,
    pub(crate) pass: u16,
    pub(crate) tag: FrameTag,
    pub(crate) format: PixelFormat,
    stride: usize,
    pixels: &'a [u8],
}

impl FrameHeader {
    /// Checks the header. Gives the bytes that must be readable.
    pub(crate) fn check(&self, limits: FrameLimits) -> Result<usize> {
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
        Rect::checked(self.x, self.y, u64::from(self.width), u64::from(self.height))?;
        self.bytes(format)
    }

    fn pixel_format(&self) -> Result<PixelFormat> {
        let format = PixelFormat::from_pfnc(self.format);
        match format {
            Some(format) if self.planes == 1 && (self.bit_depth == 0 || self.bit_depth == 8) => Ok(format),
            _ => Err(error!(
                UNSUPPORTED_FORMAT,
                "version 1 takes 8-bit RGB, BGR, RGBA and BGRA in one plane, found PFNC {:#010x}, {} bits, {} planes: \
                 convert before submit",
                self.format,
                self.bit_depth,
                self.planes
            )),
        }
    }

    fn bytes(&self, format: PixelFormat) -> Result<usize> {
        let row = u64::from(self.width) * format.bytes_per_pixel() as u64;
        if self.stride < row {
            return Err(error!(
                INVALID_ARGUMENT,
                "expected a stride of at least a row ({row} bytes), found {}", self.stride
            ));
        }
        let needed = (u64::from(self.height) - 1).checked_mul(self.stride).and_then(|rows| rows.checked_add(row));
        match needed.map(usize::try_from) {
            Some(Ok(needed)) if needed as u64 <= self.size && needed <= isize::MAX as usize => Ok(needed),
            _ => Err(error!(
                INVALID_ARGUMENT,
                "a frame of {} x {} with stride {} is larger than the plane's size of {} bytes",
                self.width,
                self.height,
                self.stride,
                self.size
            )),
        }
    }

    /// The frame over its pixels: the bytes that [`FrameHeader::check`] asked for.
    pub(crate) fn over<'a>(&self, pixels: &'a [u8]) -> Result<Frame<'a>> {
        let format = self.pixel_format()?;
        let area = Rect::checked(self.x, self.y, u64::from(self.width), u64::from(self.height))?;
        Ok(Frame { area, pass: self.pass as u16, tag: self.tag, format, stride: self.stride as usize, pixels })
    }
}

impl<'a> Frame<'a> {
    /// Row `y` of the acquisition plane from column `x` on, in the frame's own format, to the frame's right edge.
    pub(crate) fn row_from(&self, x: i64, y: i64) -> &'a [u8] {
        let bytes = self.format.bytes_per_pixel();
        let start = (y - self.area.y0) as usize * self.stride;
        let width = (self.area.x1 - self.area.x0) as usize * bytes;
        &self.pixels[start + (x - self.area.x0) as usize * bytes..start + width]
    }
}
