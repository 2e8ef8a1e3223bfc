//! A tile on a reduced grid: the mean colour of blocks of 8 × 8 native pixels.
//!
//! Averaging 64 pixels takes sensor noise of 4 grey levels to 0.5 and JPEG's own 8 × 8 noise to its mean.

use coverslip_base::error::Result;
use coverslip_base::memory::grow;

/// The side of a block in native pixels: 2 µm at 40×, 4 µm at 20×.
pub(crate) const SIDE: usize = 8;

/// Mean red, green and blue of each block of a tile. Each worker has one, because it keeps its memory.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    /// Sums down the columns of one row of blocks; at most 8 · 255.
    columns: Vec<u16>,
    means: Vec<[f32; 3]>,
    areas: Vec<u8>,
}

impl Blocks {
    /// How many blocks a tile of this size has.
    pub(super) fn count(width: usize, height: usize) -> usize {
        width.div_ceil(SIDE) * height.div_ceil(SIDE)
    }

    /// Room for tiles of this size, so that filling the grid allocates nothing.
    pub(crate) fn fit(&mut self, width: usize, height: usize) -> Result<()> {
        let count = Blocks::count(width, height);
        grow(&mut self.columns, 3 * width)?;
        grow(&mut self.means, count)?;
        grow(&mut self.areas, count)
    }

    /// The mean (0..255 per channel) and the area (1..64 pixels, less than 64 at the right and lower edge) of each
    /// block, in rows from the upper left.
    pub(crate) fn iter(&self) -> impl Iterator<Item = ([f32; 3], u8)> {
        self.means.iter().copied().zip(self.areas.iter().copied())
    }

    /// Replaces the grid by that of a tile of packed RGB.
    #[cfg(test)]
    pub(crate) fn fill(&mut self, rgb: &[u8], width: usize, height: usize) {
        self.start(width);
        for rows in strips(rgb, width, height) {
            self.push(rows);
        }
    }

    /// Sums down the columns (of each channel) of the row of blocks that was pushed last.
    pub(super) fn columns(&self) -> &[u16] {
        &self.columns
    }

    /// Empties the grid for a tile of `width` pixels.
    pub(super) fn start(&mut self, width: usize) {
        self.means.clear();
        self.areas.clear();
        self.columns.clear();
        self.columns.resize(3 * width, 0);
    }

    /// Appends one row of blocks from up to [`SIDE`] rows of packed RGB. Inlined for a [`Task`](coverslip_pixels::avx2).
    #[inline(always)]
    pub(super) fn push(&mut self, rows: &[u8]) {
        let height = rows.len() / self.columns.len();
        match height {
            SIDE => add_eight_rows(rows, &mut self.columns),
            _ => add_rows(rows, &mut self.columns),
        }
        let whole = self.columns.chunks_exact(3 * SIDE);
        let rest = whole.remainder();
        let area = SIDE * height;
        for block in whole {
            self.means.push(fold(block.try_into().expect("a block's columns")).map(|sum| f32::from(sum) / area as f32));
            self.areas.push(area as u8);
        }
        if !rest.is_empty() {
            let mut padded = [0; 3 * SIDE];
            padded[..rest.len()].copy_from_slice(rest);
            let area = rest.len() / 3 * height;
            self.means.push(fold(&padded).map(|sum| f32::from(sum) / area as f32));
            self.areas.push(area as u8);
        }
    }
}

/// The rows of blocks of a tile of packed RGB.
pub(super) fn strips(rgb: &[u8], width: usize, height: usize) -> impl Iterator<Item = &[u8]> {
    rgb[..3 * width * height].chunks((3 * width * SIDE).max(1))
}

/// Sums eight rows at once: each sum is written once.
#[inline(always)]
fn add_eight_rows(rows: &[u8], columns: &mut [u16]) {
    let stride = columns.len();
    let mut row = rows.chunks_exact(stride);
    let mut next = || row.next().expect("eight rows");
    let (a, b, c, d, e, f, g, h) = (next(), next(), next(), next(), next(), next(), next(), next());
    for (i, sum) in columns.iter_mut().enumerate() {
        let upper = u16::from(a[i]) + u16::from(b[i]) + u16::from(c[i]) + u16::from(d[i]);
        let lower = u16::from(e[i]) + u16::from(f[i]) + u16::from(g[i]) + u16::from(h[i]);
        *sum = upper + lower;
    }
}

/// Sums fewer than eight rows.
#[inline(always)]
fn add_rows(rows: &[u8], columns: &mut [u16]) {
    columns.fill(0);
    for row in rows.chunks_exact(columns.len()) {
        for (sum, &value) in columns.iter_mut().zip(row) {
            *sum += u16::from(value);
        }
    }
}

/// Sums the eight pixels of a block's columns per channel; 64 · 255 fits.
fn fold(block: &[u16; 3 * SIDE]) -> [u16; 3] {
    let twelve: [u16; 12] = std::array::from_fn(|i| block[i] + block[i + 12]);
    let six: [u16; 6] = std::array::from_fn(|i| twelve[i] + twelve[i + 6]);
    std::array::from_fn(|i| six[i] + six[i + 3])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_those_of_the_naive_loop_at_every_size() {
        let mut blocks = Blocks::default();
        for (width, height) in [(1, 1), (8, 8), (9, 7), (16, 24), (33, 17), (224, 224), (241, 239)] {
            let rgb: Vec<u8> = (0..3 * width * height).map(|i| (i * i / 7 % 256) as u8).collect();
            blocks.fill(&rgb, width, height);
            let mut got = blocks.iter();
            for top in (0..height).step_by(SIDE) {
                for left in (0..width).step_by(SIDE) {
                    let (mut sum, mut area) = ([0u32; 3], 0);
                    for y in top..height.min(top + SIDE) {
                        for x in left..width.min(left + SIDE) {
                            (0..3).for_each(|c| sum[c] += u32::from(rgb[3 * (y * width + x) + c]));
                            area += 1;
                        }
                    }
                    let want = (sum.map(|s| s as f32 / area as f32), area as u8);
                    assert_eq!(got.next(), Some(want), "{width} × {height} at {left}, {top}");
                }
            }
            assert_eq!(got.next(), None);
        }
    }

    #[test]
    fn memory_of_a_filled_grid_was_there_before() {
        let mut blocks = Blocks::default();
        blocks.fit(241, 239).unwrap();
        let before = (blocks.columns.as_ptr(), blocks.means.as_ptr(), blocks.areas.as_ptr());
        blocks.fill(&vec![7; 3 * 241 * 239], 241, 239);
        assert_eq!(before, (blocks.columns.as_ptr(), blocks.means.as_ptr(), blocks.areas.as_ptr()));
    }
}
