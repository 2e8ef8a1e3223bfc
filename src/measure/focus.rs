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
///
/// Up to half of plane c a smoothed value is a whole number of 1/2ⁿ, which 16 or 32 bits hold: its sums are exact in any
/// order, and more of them fit a register than of float32.
#[derive(Debug, Default)]
pub(crate) struct FocusMeter {
    /// The green channel, and what is between two passes.
    green: Vec<u16>,
    scratch: Vec<u16>,
    /// 16 · plane a.
    a: Vec<u16>,
    /// 2^12 · plane b.
    b: Vec<i32>,
    /// What plane c is summed from, exact in float32.
    wide: Vec<f32>,
    c: Vec<f32>,
    /// A row of each of planes a and b.
    rows: [Vec<f32>; 2],
}

/// One over what [`FocusMeter`]'s planes hold for a level.
const A: f32 = 1.0 / 16.0;
const B: f32 = 1.0 / 4096.0;
const WIDE: f32 = 1.0 / 65536.0;

impl FocusMeter {
    /// Room for inputs of `side` × `side` pixels, so that nothing is allocated later.
    pub(crate) fn fit(&mut self, side: usize) -> Result<()> {
        let all = side * side;
        [&mut self.green, &mut self.scratch, &mut self.a].into_iter().try_for_each(|plane| grow(plane, all))?;
        [&mut self.wide, &mut self.c].into_iter().try_for_each(|plane| grow(plane, all))?;
        grow(&mut self.b, all)?;
        self.rows.iter_mut().try_for_each(|row| grow(row, side))
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
        let Self { a, b, c, rows: [row_a, row_b], .. } = self;
        for row in rows() {
            row_a.clear();
            row_a.extend(a[row.clone()].iter().map(|&value| f32::from(value) * A));
            row_b.clear();
            row_b.extend(b[row.clone()].iter().map(|&value| value as f32 * B));
            sums.add(row_a, row_b, &c[row], brightest * TISSUE_BELOW);
        }
        let tissue = sums.pixels / (inside * inside) as f64;
        if tissue < f64::from(MIN_TISSUE) || sums.coarse == 0.0 {
            return f32::NAN;
        }
        (10.0 * (sums.fine / sums.coarse).log10()) as f32
    }

    /// Fills the three planes.
    fn smooth(&mut self, rgb: &[u8], side: usize) {
        let Self { green, scratch, a, b, wide, c, .. } = self;
        green.clear();
        green.extend(rgb.as_chunks::<3>().0.iter().map(|pixel| u16::from(pixel[1])));
        // Its ends have the wider sums of the tile before, too large for the first ones.
        scratch.clear();
        for plane in [&mut *scratch, &mut *a] {
            plane.resize(side * side, 0);
        }
        b.resize(side * side, 0);
        for plane in [&mut *wide, &mut *c] {
            plane.resize(side * side, 0.0);
        }
        three_taps(green, scratch, 1, |l, m, r| l + 2 * m + r);
        three_taps(scratch, a, side, |l, m, r| l + 2 * m + r);
        // At most 255 · 4 · 4 · 16.
        five_taps(a, scratch, 1, |ll, l, m, r, rr| ll + rr + 4 * (l + r) + 6 * m);
        five_taps(scratch, b, side, |ll, l, m, r, rr| five(ll.into(), l.into(), m.into(), r.into(), rr.into()));
        five_taps(b, wide, 2, |ll, l, m, r, rr| five(ll, l, m, r, rr) as f32 * WIDE);
        // Here float32 rounds, in this order.
        five_taps(wide, c, 2 * side, |ll, l, m, r, rr| 0.0625 * (ll + rr) + 0.25 * (l + r) + 0.375 * m);
    }
}

/// 1 4 6 4 1
fn five(ll: i32, l: i32, m: i32, r: i32, rr: i32) -> i32 {
    ll + rr + 4 * (l + r + m) + 2 * m
}

/// Makes each value of `to` from the three values of `from` around it, at a distance of `step`. The plane is taken as one
/// line: what runs over a border stays in the margin, and the ends are left as they were.
fn three_taps<T: Copy, U>(from: &[T], to: &mut [U], step: usize, make: impl Fn(T, T, T) -> U) {
    let [l, m, r] = shifted(from, step);
    let n = m.len();
    // Of one length, so that no index is checked and the loop runs on whole registers. An array of taps would be filled by
    // a call for each pixel.
    let (l, r, to) = (&l[..n], &r[..n], &mut to[step..][..n]);
    for i in 0..n {
        to[i] = make(l[i], m[i], r[i]);
    }
}

/// The same of five values.
fn five_taps<T: Copy, U>(from: &[T], to: &mut [U], step: usize, make: impl Fn(T, T, T, T, T) -> U) {
    let [ll, l, m, r, rr] = shifted(from, step);
    let n = m.len();
    let (ll, l, r, rr, to) = (&ll[..n], &l[..n], &r[..n], &rr[..n], &mut to[2 * step..][..n]);
    for i in 0..n {
        to[i] = make(ll[i], l[i], m[i], r[i], rr[i]);
    }
}

/// The line from each tap on, as long as there is room for all.
fn shifted<T, const N: usize>(line: &[T], step: usize) -> [&[T]; N] {
    let n = line.len() - (N - 1) * step;
    std::array::from_fn(|tap| &line[tap * step..][..n])
}

fn greatest(row: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (whole, rest) = row.as_chunks::<LANES>();
    for chunk in whole {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = if value > *lane { value } else { *lane };
        }
    }
    lanes.iter().chain(rest).copied().fold(0.0, f32::max)
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
        let planes = (a, b, c);
        self.fine += energy(planes, bright, |a, b, _| a - b);
        self.coarse += energy(planes, bright, |_, b, c| b - c);
        self.pixels += energy(planes, bright, |_, _, _| 1.0);
    }
}

/// The sum of the squares of `of` where c is below `bright`. One sum in a loop: the compiler does not vectorise three.
fn energy((a, b, c): (&[f32], &[f32], &[f32]), bright: f32, of: impl Fn(f32, f32, f32) -> f32) -> f64 {
    let square = |a: f32, b: f32, c: f32| {
        let value = of(a, b, c);
        let tissue = if c < bright { 1.0 } else { 0.0 };
        tissue * value * value
    };
    let mut lanes = [0.0f32; LANES];
    let ((a, last_a), (b, last_b), (c, last_c)) =
        (a.as_chunks::<LANES>(), b.as_chunks::<LANES>(), c.as_chunks::<LANES>());
    for ((a, b), c) in a.iter().zip(b).zip(c) {
        for lane in 0..LANES {
            lanes[lane] += square(a[lane], b[lane], c[lane]);
        }
    }
    for (lane, ((&a, &b), &c)) in lanes.iter_mut().zip(last_a.iter().zip(last_b).zip(last_c)) {
        *lane += square(a, b, c);
    }
    lanes.into_iter().map(f64::from).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: usize = 224;

    fn smoothed([l, m, r]: [f32; 3]) -> f32 {
        0.25 * (l + r) + 0.5 * m
    }

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
            taps(&green, &mut across, 1, smoothed);
            taps(&across, &mut green, SIDE, smoothed);
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
