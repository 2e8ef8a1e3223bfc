//! A small picture of the slide, gathered from the frames as they pass: the slide is decoded once.

use coverslip_slides::Rect;

/// Pixels of the thumbnail at most, wide and high.
const LARGEST: u32 = 1400;

/// Mean colours of square blocks of level-0 pixels.
pub(crate) struct Thumbnail {
    /// Level-0 pixels per thumbnail pixel.
    pub(crate) scale: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Every so manieth pixel counts: four per block and axis are enough.
    stride: u32,
    sums: Vec<[u32; 4]>,
}

impl Thumbnail {
    pub(crate) fn new(width: u32, height: u32) -> Thumbnail {
        let scale = width.max(height).div_ceil(LARGEST).max(1);
        let (width, height) = (width.div_ceil(scale), height.div_ceil(scale));
        let sums = vec![[0; 4]; width as usize * height as usize];
        Thumbnail { scale, width, height, stride: (scale / 4).max(1), sums }
    }

    /// Adds a frame's pixels.
    pub(crate) fn add(&mut self, rect: Rect, pixels: &[u8]) {
        let first = |start: u32| start.next_multiple_of(self.stride);
        for y in (first(rect.y)..rect.y + rect.height).step_by(self.stride as usize) {
            let line = &pixels[(y - rect.y) as usize * rect.width as usize * 3..][..rect.width as usize * 3];
            let row = &mut self.sums[(y / self.scale * self.width) as usize..][..self.width as usize];
            for x in (first(rect.x)..rect.x + rect.width).step_by(self.stride as usize) {
                let pixel = &line[(x - rect.x) as usize * 3..][..3];
                let sum = &mut row[(x / self.scale) as usize];
                for channel in 0..3 {
                    sum[channel] += u32::from(pixel[channel]);
                }
                sum[3] += 1;
            }
        }
    }

    /// RGB pixels; what no frame has covered is light grey.
    pub(crate) fn pixels(&self) -> Vec<u8> {
        let mean = |[r, g, b, count]: &[u32; 4]| match count {
            0 => [225, 225, 228],
            count => [r, g, b].map(|sum| ((sum + count / 2) / count) as u8),
        };
        self.sums.iter().flat_map(mean).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cut_into_frames_does_not_matter() {
        let (width, height) = (3000, 2000);
        let pixel = |x: u32, y: u32| [(x / 20) as u8, (y / 10) as u8, 7];
        let cut = |frame: u32| {
            let mut thumbnail = Thumbnail::new(width, height);
            for y in (0..height).step_by(frame as usize) {
                for x in (0..width).step_by(frame as usize) {
                    let rect = Rect { x, y, width: frame.min(width - x), height: frame.min(height - y) };
                    let pixels: Vec<u8> = (rect.y..rect.y + rect.height)
                        .flat_map(|y| (rect.x..rect.x + rect.width).flat_map(move |x| pixel(x, y)))
                        .collect();
                    thumbnail.add(rect, &pixels);
                }
            }
            thumbnail.pixels()
        };
        assert_eq!(cut(512), cut(241));
        let pixels = cut(700);
        assert_eq!(pixels.len(), 1000 * 667 * 3);
        assert_eq!(pixels[(100 * 1000 + 500) * 3..][..3], [75, 30, 7]);
    }
}
