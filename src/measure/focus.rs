//! Focus: how much fine detail there is for the coarse contrast that there is, on tissue.
//!
//! The green channel, which both stains of H&E darken and which JPEG keeps best, is smoothed three times:
//!
//! | plane | kernel, both ways | variance | at 0.5 µm/px |
//! |---|---|---|---|
//! | a | 1 2 1 | 0.5 px² | 0.35 µm |
//! | b | of a: 1 4 6 4 1 | 1.5 px² | 0.61 µm |
//! | c | of b: 1 4 6 4 1, every second pixel | 5.5 px² | 1.17 µm |
//!
//! a − b is a band of fine detail without the finest, which is the camera's noise; b − c is the octave below. Sharpness
//! is 10 · log10(Σ(a − b)² / Σ(b − c)²) over tissue. Both bands scale with stain and light, so that pale stroma is
//! not called blurry; defocus takes the finer first. (The bands are those of the à trous wavelet transform, Starck &
//! Murtagh, Astronomical Image and Data Analysis, 2006, from a plane smoothed once.)

use coverslip_base::error::Result;
use coverslip_base::memory::grow;

/// Tissue is where plane c is below this share of its brightest place.
const TISSUE_BELOW: f32 = 0.93;
/// With a smaller share of tissue there is nothing to judge.
const MIN_TISSUE: f32 = 0.02;
/// Pixels at the border that are not judged: the reach of the three kernels is 7.
const MARGIN: usize = 8;
/// Sums run in so many lanes, in a fixed order: the same bits on any machine.
const LANES: usize = 8;

/// Measures the sharpness of model inputs. Each worker has one, because it keeps its buffers.
#[derive(Debug, Default)]
pub(crate) struct FocusMeter {
    a: Vec<f32>,
    b: Vec<f32>,
    c: Vec<f32>,
    scratch: Vec<f32>,
}

impl FocusMeter {
    /// Room for inputs of `side` × `side` pixels, so that nothing is allocated later.
    pub(crate) fn fit(&mut self, side: usize) -> Result<()> {
        let planes = [&mut self.a, &mut self.b, &mut self.c, &mut self.scratch];
        planes.into_iter().try_for_each(|plane| grow(plane, side * side))
    }

    /// Sharpness in decibels (lower is blurrier; sharp tissue −6.5 to −0.4, see the docs) of `side` × `side` packed RGB at
    /// 0.5 µm/px. NaN where there is nothing to judge: less than 2 % tissue, or a side below 17.
    ///
    /// Ask for whole tiles only: white in place of pixels that never arrived makes an edge, which looks sharp.
    pub(crate) fn sharpness(&mut self, rgb: &[u8], side: usize) -> f32 {
        if side <= 2 * MARGIN {
            return f32::NAN;
        }
        self.smooth(&rgb[..3 * side * side], side);
        let inside = side - 2 * MARGIN;
        let rows = || (MARGIN..side - MARGIN).map(|y| y * side + MARGIN..y * side + MARGIN + inside);
        let brightest = rows().map(|row| greatest(&self.c[row])).fold(0.0, f32::max);
        let mut sums = Sums::default();
        for row in rows() {
            sums.add(&self.a[row.clone()], &self.b[row.clone()], &self.c[row], brightest * TISSUE_BELOW);
        }
        let tissue = sums.pixels / (inside * inside) as f64;
        if tissue < f64::from(MIN_TISSUE) || sums.coarse == 0.0 {
            return f32::NAN;
        }
        (10.0 * (sums.fine / sums.coarse).log10()) as f32
    }

    /// Fills the three planes.
    fn smooth(&mut self, rgb: &[u8], side: usize) {
        let Self { a, b, c, scratch } = self;
        c.clear();
        c.extend(rgb.chunks_exact(3).map(|pixel| f32::from(pixel[1])));
        for plane in [&mut *a, &mut *b, &mut *scratch] {
            plane.resize(side * side, 0.0);
        }
        three_taps(c, scratch, 1);
        three_taps(scratch, a, side);
        five_taps(a, scratch, 1);
        five_taps(scratch, b, side);
        five_taps(b, scratch, 2);
        five_taps(scratch, c, 2 * side);
    }
}

/// (1 2 1) / 4 at a distance of `step`. The plane is taken as one line: what runs over a border stays in the margin, and
/// the ends are left as they were.
fn three_taps(from: &[f32], to: &mut [f32], step: usize) {
    let n = from.len() - 2 * step;
    let (l, m, r) = (&from[..n], &from[step..][..n], &from[2 * step..][..n]);
    for (i, out) in to[step..][..n].iter_mut().enumerate() {
        *out = 0.25 * (l[i] + r[i]) + 0.5 * m[i];
    }
}

/// (1 4 6 4 1) / 16 at a distance of `step`; as [`three_taps`].
fn five_taps(from: &[f32], to: &mut [f32], step: usize) {
    let n = from.len() - 4 * step;
    let (ll, l, m) = (&from[..n], &from[step..][..n], &from[2 * step..][..n]);
    let (r, rr) = (&from[3 * step..][..n], &from[4 * step..][..n]);
    for (i, out) in to[2 * step..][..n].iter_mut().enumerate() {
        *out = 0.0625 * (ll[i] + rr[i]) + 0.25 * (l[i] + r[i]) + 0.375 * m[i];
    }
}

fn greatest(row: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    for chunk in row.chunks(LANES) {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = if value > *lane { value } else { *lane };
        }
    }
    lanes.into_iter().fold(0.0, f32::max)
}

/// Energies over tissue.
#[derive(Debug, Default)]
struct Sums {
    fine: f64,
    coarse: f64,
    pixels: f64,
}

impl Sums {
    /// Adds one row of the three planes, where `c` is below `bright`.
    fn add(&mut self, a: &[f32], b: &[f32], c: &[f32], bright: f32) {
        let (mut fine, mut coarse, mut pixels) = ([0.0f32; LANES], [0.0f32; LANES], [0.0f32; LANES]);
        for ((a, b), c) in a.chunks(LANES).zip(b.chunks(LANES)).zip(c.chunks(LANES)) {
            for lane in 0..c.len() {
                let tissue = if c[lane] < bright { 1.0 } else { 0.0 };
                let (high, low) = (a[lane] - b[lane], b[lane] - c[lane]);
                fine[lane] += tissue * high * high;
                coarse[lane] += tissue * low * low;
                pixels[lane] += tissue;
            }
        }
        let total = |lanes: [f32; LANES]| lanes.into_iter().map(f64::from).sum::<f64>();
        self.fine += total(fine);
        self.coarse += total(coarse);
        self.pixels += total(pixels);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: usize = 224;

    /// Round nuclei on pale stroma under a strip of glass, stained `stain` (0..1) strong, then smoothed to a standard
    /// deviation of sqrt(`passes` / 2) px.
    fn nuclei(stain: f32, passes: usize) -> Vec<u8> {
        let mut green: Vec<f32> = (0..SIDE * SIDE)
            .map(|i| {
                let (x, y) = ((i % SIDE) as f32, (i / SIDE) as f32);
                let inside = (x % 28.0 - 14.0).hypot(y % 28.0 - 14.0) < 8.0;
                let tissue = if y < 28.0 { 0.0 } else { stain };
                235.0 - tissue * if inside { 150.0 } else { 40.0 }
            })
            .collect();
        for _ in 0..passes {
            let mut across = green.clone();
            three_taps(&green, &mut across, 1);
            three_taps(&across, &mut green, SIDE);
        }
        green.into_iter().flat_map(|v| [230, v.round_ties_even() as u8, 225]).collect()
    }

    #[test]
    fn blur_lowers_it_step_by_step() {
        let mut meter = FocusMeter::default();
        let falling: Vec<f32> = [0, 2, 5, 18].iter().map(|&n| meter.sharpness(&nuclei(1.0, n), SIDE)).collect();
        assert!(falling.windows(2).all(|w| w[1] < w[0] - 0.5), "{falling:?}");
        assert!(falling[0] > -6.9 && falling[3] < -6.9, "{falling:?}");
    }

    #[test]
    fn decibels_are_those_of_the_float64_oracle() {
        let mut meter = FocusMeter::default();
        // `tools/qc/formulas.py` on the same tiles.
        for (passes, want) in [(0, -4.2204), (1, -6.1576), (2, -7.2602)] {
            let got = meter.sharpness(&nuclei(1.0, passes), SIDE);
            assert!((got - want).abs() < 0.005, "{passes} passes: {got} dB, not {want}");
        }
    }

    #[test]
    fn pale_stain_is_not_blur() {
        let mut meter = FocusMeter::default();
        let (strong, pale) = (meter.sharpness(&nuclei(1.0, 1), SIDE), meter.sharpness(&nuclei(0.4, 1), SIDE));
        assert!((strong - pale).abs() < 0.2, "{strong} dB, pale {pale} dB");
    }

    #[test]
    fn it_leaves_glass_out() {
        let mut meter = FocusMeter::default();
        let tile = nuclei(0.5, 5);
        let mut dusty = tile.clone();
        // Fine and sharp dust on the glass: on the whole 3 % below its level.
        for y in 0..20 {
            for x in (y % 4..SIDE).step_by(4) {
                dusty[3 * (y * SIDE + x) + 1] -= 25;
            }
        }
        let (clean, dusty) = (meter.sharpness(&tile, SIDE), meter.sharpness(&dusty, SIDE));
        assert!((clean - dusty).abs() < 0.1, "{clean} dB, with dust {dusty} dB");
    }

    #[test]
    fn blank_and_tiny_inputs_are_not_judged() {
        let mut meter = FocusMeter::default();
        assert!(meter.sharpness(&vec![240; 3 * SIDE * SIDE], SIDE).is_nan());
        assert!(meter.sharpness(&[0; 3 * 16 * 16], 16).is_nan());
        assert!(meter.sharpness(&vec![0; 3 * SIDE * SIDE], SIDE).is_nan());
    }

    #[test]
    fn the_tile_before_leaves_no_trace() {
        let mut meter = FocusMeter::default();
        let fresh = meter.sharpness(&nuclei(1.0, 1), SIDE);
        meter.sharpness(&nuclei(0.7, 9), SIDE);
        meter.sharpness(&nuclei(0.7, 9)[..3 * 64 * 64], 64);
        assert_eq!(meter.sharpness(&nuclei(1.0, 1), SIDE).to_bits(), fresh.to_bits());
    }
}
