//! Banding: periodic stripes across or down a tile, as scan lanes and interlaced sensors leave them.
//!
//! A stripe multiplies a row by a gain, so the logarithm of the row means holds it as a sum. Tissue's own spectrum falls
//! with the frequency; the difference of neighbours makes it about level (a high-pass), a Hann window keeps a line
//! narrow. The score is the highest line over the mean of its neighbourhood, in dB: noise alone reaches about 8.
//!
//! Periods up to 8 px are not looked at: JPEG puts lines there, at its blocks' 8 px and at the 2 px of its halved colour
//! (19 dB on tiles without a fault, where a band of 5 % makes 12).

use super::spectrum::Spectrum;
use coverslip_base::error::Result;
use coverslip_base::memory::grow;

/// Shorter rows (px) have too few frequencies to judge.
const SHORTEST: usize = 64;
/// Periods per tile from which on a change is a stripe and not tissue.
const FEWEST_PERIODS: usize = 6;
/// The shortest period, px, beyond the reach of JPEG's 8 px through the window.
const SHORTEST_PERIOD: usize = 9;
/// Frequencies on either side whose mean a line is compared with, ...
const NEIGHBOURS: usize = 16;
/// ... without those that its own window reaches.
const OWN: usize = 3;

/// The lines found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Banding {
    /// In the row means, dB: stripes across.
    pub(crate) rows: f32,
    /// In the column means, dB: stripes down.
    pub(crate) columns: f32,
    /// Of the stronger, pixels.
    pub(crate) period: f32,
}

/// Gathers the row and column sums of a tile as its strips go by. Each worker has one, because it keeps its memory.
#[derive(Debug, Default)]
pub(crate) struct BandingMeter {
    rows: Vec<f32>,
    columns: Vec<u32>,
    line: [Vec<f32>; 2],
    powers: [Vec<f32>; 2],
    window: Vec<f32>,
    spectrum: Spectrum,
}

impl BandingMeter {
    /// Room for tiles of this size.
    pub(super) fn fit(&mut self, width: usize, height: usize) -> Result<()> {
        let n = height.max(width).next_power_of_two();
        grow(&mut self.rows, height)?;
        grow(&mut self.columns, 3 * width)?;
        for line in self.line.iter_mut().chain(&mut self.powers).chain([&mut self.window]) {
            grow(line, n)?;
        }
        self.spectrum.fit(n)
    }

    pub(crate) fn start(&mut self, width: usize) {
        self.rows.clear();
        self.columns.clear();
        self.columns.resize(3 * width, 0);
    }

    /// Adds a strip of packed RGB rows, the sums down whose columns are known. Inlined for a
    /// [`Task`](coverslip_pixels::avx2).
    #[inline(always)]
    pub(crate) fn add(&mut self, rows: &[u8], column_sums: &[u16]) {
        for row in rows.chunks_exact(self.columns.len()) {
            self.rows.push(total(row) as f32);
        }
        for (total, &sum) in self.columns.iter_mut().zip(column_sums) {
            *total += u32::from(sum);
        }
    }

    /// What the tile's sums hold; None where it is too small.
    pub(crate) fn lines(&mut self) -> Option<Banding> {
        let (height, width) = (self.rows.len(), self.columns.len() / 3);
        if height.min(width) < SHORTEST {
            return None;
        }
        let columns = self.columns.as_chunks::<3>().0.iter().map(|c| (c[0] + c[1] + c[2]) as f32);
        high_pass(self.rows.iter().copied(), &mut self.window, &mut self.line[0]);
        high_pass(columns, &mut self.window, &mut self.line[1]);
        let n = height.max(width).next_power_of_two();
        let [rows, columns] = &mut self.powers;
        self.spectrum.powers(&self.line[0], &self.line[1], n, [&mut *rows, &mut *columns]);
        let powers = ..=n / SHORTEST_PERIOD;
        let rows = strongest(&rows[powers], FEWEST_PERIODS * n / height);
        let columns = strongest(&columns[powers], FEWEST_PERIODS * n / width);
        let stronger = if rows.0 > columns.0 { rows.1 } else { columns.1 };
        Some(Banding { rows: rows.0, columns: columns.0, period: n as f32 / stronger as f32 })
    }
}

/// Bytes added side by side.
const LANES: usize = 32;
/// So many of them fit a sum of 16 bits.
const MOST: usize = 257;

/// The sum of a row.
#[inline(always)]
fn total(row: &[u8]) -> u32 {
    let mut total = 0;
    for run in row.chunks(LANES * MOST) {
        let (whole, rest) = run.as_chunks::<LANES>();
        let mut sums = [0u16; LANES];
        for bytes in whole {
            for lane in 0..LANES {
                sums[lane] += u16::from(bytes[lane]);
            }
        }
        for lane in sums {
            total += u32::from(lane);
        }
        for &byte in rest {
            total += u32::from(byte);
        }
    }
    total
}

/// Differences of the logarithms, their mean taken off, under a Hann window.
fn high_pass(sums: impl ExactSizeIterator<Item = f32>, window: &mut Vec<f32>, out: &mut Vec<f32>) {
    let count = sums.len() - 1;
    if window.len() != count {
        let angle = |i: usize| 2.0 * std::f32::consts::PI * (i as f32 + 0.5) / count as f32;
        window.clear();
        window.extend((0..count).map(|i| 0.5 - 0.5 * angle(i).cos()));
    }
    out.clear();
    let mut before = None;
    for sum in sums {
        // One keeps black finite: a sum of a whole row. In f64: blurred rows differ by little.
        let log = (f64::from(sum) + 1.0).ln();
        out.extend(before.map(|before: f64| (log - before) as f32));
        before = Some(log);
    }
    let mean = out.iter().sum::<f32>() / count as f32;
    out.iter_mut().zip(window).for_each(|(value, window)| *value = (*value - mean) * *window);
}

/// The highest line from frequency `first` on: dB over its neighbourhood, and the frequency.
fn strongest(powers: &[f32], first: usize) -> (f32, usize) {
    // Below this (relative amplitudes of 10⁻⁵) there is nothing but rounding: a tile of one colour.
    const NOTHING: f32 = 1e-8;
    let mut best = (0.0f32, first.max(1));
    for k in first.max(1)..powers.len() {
        let sum = |range: std::ops::Range<usize>| {
            let range = range.start.max(first)..range.end.min(powers.len());
            (powers[range.start.min(range.end)..range.end].iter().sum::<f32>(), range.len())
        };
        let (below, above) =
            (sum(k.saturating_sub(NEIGHBOURS)..(k + 1).saturating_sub(OWN)), sum(k + OWN..k + NEIGHBOURS + 1));
        let around = (below.0 + above.0) / (below.1 + above.1).max(1) as f32;
        let ratio = (powers[k] + NOTHING) / (around + NOTHING);
        if ratio > best.0 {
            best = (ratio, k);
        }
    }
    (10.0 * best.0.log10(), best.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::blocks::{Blocks, strips};

    #[test]
    fn a_row_of_any_length_has_its_sum() {
        let longest = 2 * LANES * MOST + 5;
        let waves: Vec<u8> = (0..longest).map(|i| (i * i / 7 % 256) as u8).collect();
        for bytes in [vec![255; longest], waves] {
            for length in [0, 1, LANES - 1, LANES, LANES + 1, 672, LANES * MOST, LANES * MOST + 1, longest] {
                let row = &bytes[..length];
                assert_eq!(total(row), row.iter().map(|&byte| u32::from(byte)).sum::<u32>(), "{length} bytes");
            }
        }
    }

    fn measure(rgb: &[u8], width: usize, height: usize) -> Option<Banding> {
        let mut meter = BandingMeter::default();
        let mut blocks = Blocks::default();
        meter.start(width);
        blocks.start(width);
        for rows in strips(rgb, width, height) {
            blocks.push(rows);
            meter.add(rows, blocks.columns());
        }
        meter.lines()
    }

    /// Noise of ± 30 grey levels about 170, the rows (or columns) multiplied by 1 + `amplitude` · cos.
    fn striped(width: usize, height: usize, amplitude: f32, period: f32, across: bool) -> Vec<u8> {
        let mut state = 7u32;
        (0..width * height)
            .flat_map(|i| {
                let along = if across { i / width } else { i % width } as f32;
                let gain = 1.0 + amplitude * (2.0 * std::f32::consts::PI * along / period).cos();
                [(); 3].map(|()| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    ((170.0 + (state >> 16) as f32 / 65536.0 * 60.0 - 30.0) * gain) as u8
                })
            })
            .collect()
    }

    #[test]
    fn stripes_of_one_percent_stand_out_in_their_direction_and_period() {
        for (width, height) in [(224, 224), (448, 300), (241, 239)] {
            let none = measure(&striped(width, height, 0.0, 12.0, true), width, height).unwrap();
            assert!(none.rows < 13.0 && none.columns < 13.0, "{none:?}");
            let across = measure(&striped(width, height, 0.01, 12.0, true), width, height).unwrap();
            assert!(across.rows > 20.0 && across.columns < 13.0, "{across:?}");
            assert!((across.period - 12.0).abs() < 0.6, "{across:?}");
            let down = measure(&striped(width, height, 0.01, 23.0, false), width, height).unwrap();
            assert!(down.columns > 16.0 && down.rows < 13.0, "{down:?}");
            assert!((down.period - 23.0).abs() < 2.0, "{down:?}");
        }
    }

    /// What JPEG leaves: a line of any height at 8 px and at 2 px.
    #[test]
    fn periods_of_eight_pixels_and_less_are_not_looked_at() {
        let quiet = measure(&striped(448, 448, 0.0, 9.0, true), 448, 448).unwrap();
        for period in [2.0, 4.0, 8.0] {
            let jpeg = measure(&striped(448, 448, 0.02, period, true), 448, 448).unwrap();
            assert!((jpeg.rows - quiet.rows).abs() < 3.0 && jpeg.period > 8.9, "{period}: {jpeg:?} {quiet:?}");
        }
    }

    #[test]
    fn one_colour_an_edge_and_small_tiles_are_no_banding() {
        let flat = measure(&[90; 3 * 224 * 224], 224, 224).unwrap();
        assert!(flat.rows < 1.0 && flat.columns < 1.0, "{flat:?}");
        let edge: Vec<u8> =
            (0..224 * 224).flat_map(|i| if i / 224 < 100 { [240; 3] } else { [150, 90, 140] }).collect();
        let edge = measure(&edge, 224, 224).unwrap();
        assert!(edge.rows < 6.0 && edge.columns < 1.0, "{edge:?}");
        assert_eq!(measure(&[90; 3 * 40 * 40], 40, 40), None);
        let black = measure(&[0; 3 * 224 * 224], 224, 224).unwrap();
        assert!(black.rows.is_finite() && black.columns.is_finite());
    }
}
