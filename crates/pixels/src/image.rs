//! A frame's memory, checked: rows of planes.

use crate::format::PixelFormat;

/// One memory plane: rows at a distance.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plane<'a> {
    pub bytes: &'a [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
}

impl<'a> Plane<'a> {
    /// The plane from row `y` on.
    pub(crate) fn row(&self, y: usize) -> &'a [u8] {
        &self.bytes[y * self.stride..]
    }
}

/// A frame's pixels. Each plane that its format has holds all rows.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    pub format: PixelFormat,
    pub width: usize,
    pub height: usize,
    pub planes: [Plane<'a>; 3],
}
