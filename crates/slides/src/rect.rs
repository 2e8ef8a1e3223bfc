//! Rectangles of a slide, and copying their pixels.

/// A rectangle of a slide, in level-0 pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rect {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
}

impl Rect {
    /// Size of the rectangle's RGB pixels, bytes.
    pub fn bytes(&self) -> usize {
        self.pixels().saturating_mul(3)
    }

    /// Number of the rectangle's pixels.
    pub fn pixels(&self) -> usize {
        self.width as usize * self.height as usize
    }

    /// What both rectangles have, if they have anything in common.
    pub(crate) fn common(&self, other: &Rect) -> Option<Rect> {
        let (x, y) = (self.x.max(other.x), self.y.max(other.y));
        let right = (self.x + self.width).min(other.x + other.width);
        let bottom = (self.y + self.height).min(other.y + other.height);
        (x < right && y < bottom).then(|| Rect { x, y, width: right - x, height: bottom - y })
    }
}

/// Copies the intersection of `source`, RGB pixels of the rectangle `place`, with `rect` into `out`, which has the
/// pixels of `rect`.
pub(crate) fn paste(source: &[u8], place: Rect, rect: Rect, out: &mut [u8]) {
    let Some(both) = place.common(&rect) else { return };
    let bytes = both.width as usize * 3;
    for y in both.y..both.y + both.height {
        let from = ((y - place.y) as usize * place.width as usize + (both.x - place.x) as usize) * 3;
        let to = ((y - rect.y) as usize * rect.width as usize + (both.x - rect.x) as usize) * 3;
        out[to..to + bytes].copy_from_slice(&source[from..from + bytes]);
    }
}

/// The RGB pixels of `part` out of `source`, which has those of `rect`.
pub fn cut_out(source: &[u8], rect: Rect, part: Rect) -> Vec<u8> {
    let mut out = vec![0; part.bytes()];
    paste(source, rect, part, &mut out);
    out
}
