//! A picture to draw on: rectangles, lines, other pictures, text.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

/// Ink for text and lines.
pub(super) const INK: [u8; 3] = [33, 37, 41];
/// Ink for minor text.
pub(super) const GREY: [u8; 3] = [110, 116, 124];

/// Sizes of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Title,
    Bold,
    Body,
}

impl Type {
    fn style(self) -> (FontWeight, RasterHeight) {
        match self {
            Type::Title => (FontWeight::Bold, RasterHeight::Size20),
            Type::Bold => (FontWeight::Bold, RasterHeight::Size16),
            Type::Body => (FontWeight::Regular, RasterHeight::Size16),
        }
    }

    /// Characters that fit into `width` pixels.
    pub(super) fn fits(self, width: u32) -> usize {
        let (weight, size) = self.style();
        width as usize / get_raster_width(weight, size)
    }
}

/// A rectangle of the canvas; it may lie partly outside.
#[derive(Debug, Clone, Copy)]
pub(super) struct Area {
    pub(super) x: i32,
    pub(super) y: i32,
    pub(super) width: i32,
    pub(super) height: i32,
}

/// RGB pixels on white.
pub(super) struct Canvas {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) pixels: Vec<u8>,
}

impl Canvas {
    pub(super) fn new(width: u32, height: u32) -> Canvas {
        Canvas { width, height, pixels: vec![255; width as usize * height as usize * 3] }
    }

    fn blend(&mut self, x: i32, y: i32, color: [u8; 3], opacity: f32) {
        if x < 0 || y < 0 || x >= self.width as i32 || y >= self.height as i32 {
            return;
        }
        let place = (y as usize * self.width as usize + x as usize) * 3;
        for (old, new) in self.pixels[place..place + 3].iter_mut().zip(color) {
            *old = (f32::from(*old) + (f32::from(new) - f32::from(*old)) * opacity).round() as u8;
        }
    }

    pub(super) fn fill(&mut self, area: Area, color: [u8; 3], opacity: f32) {
        for y in area.y.max(0)..(area.y + area.height).min(self.height as i32) {
            for x in area.x.max(0)..(area.x + area.width).min(self.width as i32) {
                self.blend(x, y, color, opacity);
            }
        }
    }

    /// The edge of `area`, `thickness` pixels wide, inside it.
    pub(super) fn frame(&mut self, area: Area, thickness: i32, color: [u8; 3], opacity: f32) {
        let Area { x, y, width, height } = area;
        let side = (height - 2 * thickness).max(0);
        self.fill(Area { x, y, width, height: thickness }, color, opacity);
        self.fill(Area { x, y: y + height - thickness, width, height: thickness }, color, opacity);
        self.fill(Area { x, y: y + thickness, width: thickness, height: side }, color, opacity);
        self.fill(Area { x: x + width - thickness, y: y + thickness, width: thickness, height: side }, color, opacity);
    }

    /// Puts RGB pixels, `width` of them in a row, with their upper left corner at (x, y).
    pub(super) fn put(&mut self, x: i32, y: i32, width: u32, pixels: &[u8]) {
        for (row, line) in pixels.chunks_exact(width as usize * 3).enumerate() {
            for (column, pixel) in line.chunks_exact(3).enumerate() {
                self.blend(x + column as i32, y + row as i32, [pixel[0], pixel[1], pixel[2]], 1.0);
            }
        }
    }

    /// Writes a line of text with its upper left corner at (x, y). Characters that the font lacks become question marks.
    pub(super) fn text(&mut self, x: i32, y: i32, kind: Type, color: [u8; 3], text: &str) {
        let (weight, size) = kind.style();
        let mut left = x;
        for character in text.chars() {
            let glyph = get_raster(character, weight, size).or_else(|| get_raster('?', weight, size));
            if let Some(glyph) = glyph {
                for (row, line) in glyph.raster().iter().enumerate() {
                    for (column, &ink) in line.iter().enumerate() {
                        if ink > 0 {
                            self.blend(left + column as i32, y + row as i32, color, f32::from(ink) / 255.0);
                        }
                    }
                }
            }
            left += get_raster_width(weight, size) as i32;
        }
    }
}

/// `text`, cut with dots where it is longer than `most` characters.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(2)).chain("..".chars()).collect()
}
