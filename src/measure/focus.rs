//! Focus: how much fine detail there is, along the direction that has least, for the coarse contrast that there is.
//!
//! The green channel, which both stains of H&E darken and which JPEG keeps best, is smoothed three times:
//!
//! | plane | kernel, both ways | variance | at 0.5 µm/px |
//! |---|---|---|---|
//! | a | 1 2 1 | 0.5 px² | 0.35 µm |
//! | b | of a: 1 4 6 4 1 | 1.5 px² | 0.61 µm |
//! | c | of b: 1 4 6 4 1, every second pixel | 5.5 px² | 1.17 µm |
//!
//! a − b is a band of fine detail without the finest, which is the camera's noise; b − c is the octave below; c is all
//! that is coarser. (The bands are those of the à trous wavelet transform, Starck & Murtagh, Astronomical Image and Data
//! Analysis, 2006, from a plane smoothed once.) The gradients of each over tissue make a tensor, the mean of g·gᵀ, whose
//! two eigenvalues are the energies along the directions that have least and most (Bigün & Granlund, ICCV 1987): a stage
//! that moves during the exposure leaves the detail across its way and takes the detail along it.
//!
//! Sharpness is 10 · log10(f / (m₁ m₂)^⅓ (w₁ w₂)^⅙): the least energy f of the fine band over the geometric mean of both
//! energies of the octave below, twice, and of what is coarser. All scale with stain and light, so that pale stroma is
//! not called blurry; defocus takes the finer first.
//!
//! Ratios alone call sharp what has hardly any detail of any size: then the fine band is rounding and noise, and the
//! coarser ones are no more. Both therefore have a floor. It is low (a contrast of half a grey level to one), but where less than
//! a tenth of the light comes through, as in a thick fold, it is about a third of the energy that tissue usually has.

use coverslip_base::error::Result;
use coverslip_base::memory::grow;
use coverslip_pixels::avx2;
use coverslip_profile::{Measurements, measurement as at};

/// Tissue is where plane c is below this share of its brightest place.
const TISSUE_BELOW: f32 = 0.93;
/// With a smaller share of tissue there is nothing to judge.
const MIN_TISSUE: f64 = 0.02;
/// Pixels at the border that are not judged: the reach of the kernels and of the widest gradient is 9.
const MARGIN: usize = 10;
/// What is always added to the energies of the octave below and of what is coarser, grey levels².
const LEAST_CONTRAST: [f64; 2] = [0.25, 1.0];
/// Tissue is dense where plane c is below a tenth of the range.
const DENSE_BELOW: f32 = 25.5;
/// What is added besides if all tissue is dense. Tissue of ordinary slides has 100 and 280 (medians of sources).
const DENSE_CONTRAST: [f64; 2] = [24.0, 150.0];
/// No energy is less: about what the rounding to whole grey levels leaves, grey levels².
const FAINTEST_DETAIL: f64 = 0.01;
/// Sums run in so many lanes, in a fixed order: the same bits on any machine.
const LANES: usize = 8;

/// The sharpness of a tile in decibels; lower is blurrier.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sharpness {
    /// Along the direction that has least detail.
    pub(crate) worst: f32,
    /// Along 0, 45, 90 and 135 degrees, from along a row towards down a column: the contract has them as measurements.
    pub(crate) across: [f32; 4],
}

impl Sharpness {
    const UNKNOWN: Sharpness = Sharpness { worst: f32::NAN, across: [f32::NAN; 4] };

    pub(crate) fn write(&self, m: &mut Measurements) {
        m[at::SHARPNESS] = self.worst;
        m[at::SHARPNESS_ACROSS..][..4].copy_from_slice(&self.across);
    }
}

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
    /// What plane c is summed from, exact in float32; of every second row, like c.
    wide: Vec<f32>,
    c: Vec<f32>,
    row: Row,
}

/// What one row is judged by.
#[derive(Debug, Default)]
struct Row {
    /// 1 on tissue, 0 elsewhere.
    tissue: Vec<f32>,
    /// Central differences along the row and down the columns, 0 where there is no tissue.
    x: Vec<f32>,
    y: Vec<f32>,
}

/// One over what [`FocusMeter`]'s planes hold for a level.
const B: f32 = 1.0 / 4096.0;
const WIDE: f32 = 1.0 / 65536.0;
/// What plane a lacks to plane b's scale.
const A_TO_B: i32 = 256;

impl FocusMeter {
    /// Room for inputs of `side` × `side` pixels, so that nothing is allocated later.
    pub(crate) fn fit(&mut self, side: usize) -> Result<()> {
        let all = side * side;
        let half = side.div_ceil(2) * side;
        [&mut self.green, &mut self.scratch, &mut self.a].into_iter().try_for_each(|plane| grow(plane, all))?;
        [&mut self.wide, &mut self.c].into_iter().try_for_each(|plane| grow(plane, half))?;
        grow(&mut self.b, all)?;
        let Row { tissue, x, y } = &mut self.row;
        [tissue, x, y].into_iter().try_for_each(|row| grow(row, side))
    }

    /// The sharpness of `side` × `side` packed RGB at 0.5 µm/px. NaN where there is nothing to judge: less than 2 %
    /// tissue, or a side below 21.
    ///
    /// Ask for whole tiles only: white in place of pixels that never arrived makes an edge, which looks sharp.
    pub(crate) fn sharpness(&mut self, rgb: &[u8], side: usize) -> Sharpness {
        if side <= 2 * MARGIN {
            return Sharpness::UNKNOWN;
        }
        avx2::run(Whole { meter: self, rgb: &rgb[..3 * side * side], side })
    }

    /// The same of an input that is large enough.
    #[inline(always)]
    fn judge(&mut self, rgb: &[u8], side: usize) -> Sharpness {
        self.smooth(rgb, side);
        let inside = side - 2 * MARGIN;
        let rows = || (MARGIN..side - MARGIN).step_by(2);
        let level = |y: usize| y / 2 * side + MARGIN;
        let bright = TISSUE_BELOW * rows().map(|y| greatest(&self.c[level(y)..][..inside])).fold(0.0, f32::max);
        let [mut fine, mut middle, mut wide] = [Tensor::default(); 3];
        let (mut dense, mut seen) = (0.0, 0.0);
        for y in rows() {
            let Self { a, b, c, row, .. } = self;
            let c_row = &c[level(y)..][..inside];
            row.mark(c_row, bright);
            row.fine(a, b, y * side + MARGIN, side);
            fine.add(row);
            if (y - MARGIN).is_multiple_of(4) {
                row.wide(c, level(y), side);
                wide.add(row);
                row.middle(b, y * side + MARGIN, side);
                middle.add(row);
                dense += sum(&row.tissue, c_row, |tissue, c| if c < DENSE_BELOW { tissue } else { 0.0 });
                seen += inside as f64;
            }
        }
        if wide.pixels < MIN_TISSUE * seen || wide.xx + wide.yy == 0.0 {
            return Sharpness::UNKNOWN;
        }
        let dense = dense / wide.pixels;
        let [middle, wide] = [(middle, 0), (wide, 1)].map(|(tensor, octave)| {
            let [least, most] = tensor.principal();
            let floor = LEAST_CONTRAST[octave] + dense * DENSE_CONTRAST[octave];
            (least + floor) * (most + floor)
        });
        let contrast = middle.cbrt() * wide.cbrt().sqrt();
        let decibels = |energy: f64| (10.0 * (energy.max(FAINTEST_DETAIL) / contrast).log10()) as f32;
        Sharpness { worst: decibels(fine.principal()[0]), across: fine.across().map(decibels) }
    }

    /// Fills the three planes.
    #[inline(always)]
    fn smooth(&mut self, rgb: &[u8], side: usize) {
        let Self { green, scratch, a, b, wide, c, .. } = self;
        green.resize(side * side, 0);
        for (green, pixel) in green.iter_mut().zip(rgb.as_chunks::<3>().0) {
            *green = u16::from(pixel[1]);
        }
        // Its ends have the wider sums of the tile before, too large for the first ones.
        scratch.clear();
        for plane in [&mut *scratch, &mut *a] {
            plane.resize(side * side, 0);
        }
        b.resize(side * side, 0);
        for plane in [&mut *wide, &mut *c] {
            plane.resize(side.div_ceil(2) * side, 0.0);
        }
        three_taps(green, scratch, 1, |l, m, r| l + 2 * m + r);
        three_taps(scratch, a, side, |l, m, r| l + 2 * m + r);
        // At most 255 · 4 · 4 · 16.
        five_taps(a, scratch, 1, |ll, l, m, r, rr| ll + rr + 4 * (l + r) + 6 * m);
        five_taps(scratch, b, side, |ll, l, m, r, rr| five(ll.into(), l.into(), m.into(), r.into(), rr.into()));
        for (from, to) in b.chunks_exact(side).step_by(2).zip(wide.chunks_exact_mut(side)) {
            five_taps(from, to, 2, |ll, l, m, r, rr| five(ll, l, m, r, rr) as f32 * WIDE);
        }
        // Here float32 rounds, in this order.
        five_taps(wide, c, side, |ll, l, m, r, rr| 0.0625 * (ll + rr) + 0.25 * (l + r) + 0.375 * m);
    }
}

/// One measurement, every loop of which is inlined.
struct Whole<'t> {
    meter: &'t mut FocusMeter,
    rgb: &'t [u8],
    side: usize,
}

impl avx2::Task for Whole<'_> {
    type Output = Sharpness;

    #[inline(always)]
    fn run(self) -> Sharpness {
        self.meter.judge(self.rgb, self.side)
    }
}

impl Row {
    /// Marks where `c` is below `bright`.
    #[inline(always)]
    fn mark(&mut self, c: &[f32], bright: f32) {
        self.tissue.resize(c.len(), 0.0);
        for (tissue, &c) in self.tissue.iter_mut().zip(c) {
            *tissue = if c < bright { 1.0 } else { 0.0 };
        }
    }

    /// The gradient of a − b over the pixels beside, from `at` on.
    #[inline(always)]
    fn fine(&mut self, a: &[u16], b: &[i32], at: usize, side: usize) {
        let n = self.tissue.len();
        for (to, step) in [(&mut self.x, 1), (&mut self.y, side)] {
            let ([a1, a0], [b1, b0]) = (around(a, at, step, n), around(b, at, step, n));
            to.resize(n, 0.0);
            for (i, (to, tissue)) in to.iter_mut().zip(&self.tissue).enumerate() {
                let of_a = i32::from(a1[i]) - i32::from(a0[i]);
                *to = tissue * ((A_TO_B * of_a - (b1[i] - b0[i])) as f32 * B);
            }
        }
    }

    /// The gradient of c over the second pixels beside, of which the plane has every second row.
    #[inline(always)]
    fn wide(&mut self, c: &[f32], at: usize, side: usize) {
        let n = self.tissue.len();
        for (to, step) in [(&mut self.x, 2), (&mut self.y, side)] {
            let [c1, c0] = around(c, at, step, n);
            to.resize(n, 0.0);
            for (i, (to, tissue)) in to.iter_mut().zip(&self.tissue).enumerate() {
                *to = tissue * (c1[i] - c0[i]);
            }
        }
    }

    /// The gradient of b − c over the second pixels beside; after [`Row::wide`], whose it starts from.
    #[inline(always)]
    fn middle(&mut self, b: &[i32], at: usize, side: usize) {
        let n = self.tissue.len();
        for (to, step) in [(&mut self.x, 2), (&mut self.y, 2 * side)] {
            let [b1, b0] = around(b, at, step, n);
            for (i, (of_c, tissue)) in to.iter_mut().zip(&self.tissue).enumerate() {
                *of_c = tissue * ((b1[i] - b0[i]) as f32 * B) - *of_c;
            }
        }
    }
}

/// The `n` values `step` after those from `at` on, and the `n` values `step` before.
#[inline(always)]
fn around<T>(plane: &[T], at: usize, step: usize, n: usize) -> [&[T]; 2] {
    [&plane[at + step..][..n], &plane[at - step..][..n]]
}

/// Sums of the products of a gradient over tissue.
#[derive(Clone, Copy, Debug, Default)]
struct Tensor {
    xx: f64,
    yy: f64,
    xy: f64,
    pixels: f64,
}

impl Tensor {
    #[inline(always)]
    fn add(&mut self, row: &Row) {
        let Row { tissue, x, y } = row;
        self.xx += sum(x, x, |a, b| a * b);
        self.yy += sum(y, y, |a, b| a * b);
        self.xy += sum(x, y, |a, b| a * b);
        self.pixels += sum(tissue, tissue, |a, _| a);
    }

    /// The eigenvalues of the mean, the lesser first.
    fn principal(&self) -> [f64; 2] {
        let (middle, half) = ((self.xx + self.yy) / 2.0, ((self.xx - self.yy) / 2.0).hypot(self.xy));
        [middle - half, middle + half].map(|sum| (sum / self.pixels).max(FAINTEST_DETAIL))
    }

    /// The mean along 0, 45, 90 and 135 degrees.
    fn across(&self) -> [f64; 4] {
        let middle = (self.xx + self.yy) / 2.0;
        [self.xx, middle + self.xy, self.yy, middle - self.xy].map(|sum| sum / self.pixels)
    }
}

/// The sum of `of` over the pairs of two rows. One sum in a loop: the compiler does not vectorise three.
#[inline(always)]
fn sum(a: &[f32], b: &[f32], of: impl Fn(f32, f32) -> f32) -> f64 {
    let mut lanes = [0.0f32; LANES];
    let ((a, last_a), (b, last_b)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            lanes[lane] += of(a[lane], b[lane]);
        }
    }
    for (lane, (&a, &b)) in lanes.iter_mut().zip(last_a.iter().zip(last_b)) {
        *lane += of(a, b);
    }
    lanes.into_iter().map(f64::from).sum()
}

/// 1 4 6 4 1
#[inline(always)]
fn five(ll: i32, l: i32, m: i32, r: i32, rr: i32) -> i32 {
    ll + rr + 4 * (l + r + m) + 2 * m
}

/// Makes each value of `to` from the three values of `from` around it, at a distance of `step`. The plane is taken as one
/// line: what runs over a border stays in the margin, and the ends are left as they were.
#[inline(always)]
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
#[inline(always)]
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

#[inline(always)]
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

#[cfg(test)]
mod tests {
    use coverslip_pixels::avx2::Task;

    use super::super::optics::{SIDE, defocus, smear, spread};
    use super::*;

    /// Of the general rule, which `judge/rules` owns.
    const SHARP_ABOVE: f32 = -12.5;

    fn smoothed(l: f32, m: f32, r: f32) -> f32 {
        0.25 * (l + r) + 0.5 * m
    }

    fn worst(tile: &[u8]) -> f32 {
        FocusMeter::default().sharpness(tile, SIDE).worst
    }

    /// The green light through round nuclei on pale stroma under a strip of glass, stained `stain` (0..1) strong.
    fn light(stain: f32) -> Vec<f32> {
        let level = |i: usize| {
            let (x, y) = ((i % SIDE) as f32, (i / SIDE) as f32);
            let inside = (x % 28.0 - 14.0).hypot(y % 28.0 - 14.0) < 8.0;
            let tissue = if y < 28.0 { 0.0 } else { stain };
            235.0 - tissue * if inside { 150.0 } else { 40.0 }
        };
        (0..SIDE * SIDE).map(level).collect()
    }

    fn photograph(green: &[f32]) -> Vec<u8> {
        green.iter().flat_map(|v| [230, v.round_ties_even() as u8, 225]).collect()
    }

    /// Smoothed to a standard deviation of sqrt(`passes` / 2) px.
    fn nuclei(stain: f32, passes: usize) -> Vec<u8> {
        let mut green = light(stain);
        for _ in 0..passes {
            let mut across = green.clone();
            three_taps(&green, &mut across, 1, smoothed);
            three_taps(&across, &mut green, SIDE, smoothed);
        }
        photograph(&green)
    }

    #[test]
    fn blur_lowers_it_step_by_step() {
        let falling: Vec<f32> = [0, 2, 5, 18].iter().map(|&n| worst(&nuclei(1.0, n))).collect();
        assert!(falling.windows(2).all(|w| w[1] < w[0] - 0.5), "{falling:?}");
        assert!(falling[0] > SHARP_ABOVE && falling[3] < SHARP_ABOVE, "{falling:?}");
    }

    #[test]
    fn a_smear_along_any_direction_lowers_the_worst() {
        let sharp = light(1.0);
        for length in [5.0, 15.0, 30.0] {
            for degrees in [0.0, 22.5, 45.0, 90.0, 120.0, 135.0] {
                let got = worst(&photograph(&spread(&sharp, &smear(length, degrees))));
                assert!(got < SHARP_ABOVE - 1.0, "{length} px along {degrees} degrees: {got} dB");
            }
        }
    }

    #[test]
    fn a_smear_is_seen_along_its_own_direction() {
        for (direction, degrees) in [0.0, 45.0, 90.0, 135.0].into_iter().enumerate() {
            let tile = photograph(&spread(&light(1.0), &smear(15.0, degrees)));
            let Sharpness { worst, across } = FocusMeter::default().sharpness(&tile, SIDE);
            assert!((across[direction] - worst).abs() < 0.05, "along {degrees} degrees: {across:?}, worst {worst}");
            let beside = across[(direction + 2) % 4];
            assert!(beside > SHARP_ABOVE + 1.0, "the detail across {degrees} degrees is left: {across:?}");
        }
    }

    #[test]
    fn defocus_by_fourier_optics_lowers_it() {
        let falling: Vec<f32> = [0.0, 1.0, 2.0, 3.0, 5.0]
            .iter()
            .map(|&um| worst(&photograph(&spread(&light(1.0), &defocus(um)))))
            .collect();
        assert!(falling.windows(2).all(|w| w[1] < w[0] - 0.5), "{falling:?}");
        // A depth of field of 1 µm each way is sharp, 3 µm are not.
        assert!(falling[1] > SHARP_ABOVE + 1.0 && falling[3] < SHARP_ABOVE - 1.0, "{falling:?}");
    }

    #[test]
    fn decibels_are_those_of_the_float64_oracle() {
        let mut meter = FocusMeter::default();
        // `tools/qc/formulas.py` on the same tiles.
        let oracle = [
            (0, [-7.0009, -7.0009, -6.6984, -6.4174, -6.7004]),
            (1, [-9.8534, -9.8534, -9.7022, -9.5594, -9.7056]),
            (2, [-11.7457, -11.7457, -11.6311, -11.5230, -11.6347]),
        ];
        for (passes, want) in oracle {
            let Sharpness { worst, across } = meter.sharpness(&nuclei(1.0, passes), SIDE);
            for (got, want) in [worst].into_iter().chain(across).zip(want) {
                assert!((got - want).abs() < 0.005, "{passes} passes: {got} dB, not {want}");
            }
        }
    }

    #[test]
    fn with_and_without_avx2_it_is_the_same() {
        let bits = |Sharpness { worst, across }| [worst, across[0], across[1], across[2], across[3]].map(f32::to_bits);
        let (mut plain, mut quick) = (FocusMeter::default(), FocusMeter::default());
        for side in [21, 33, 97, 98, SIDE, 225] {
            let noise: Vec<u8> = (0..3 * side * side).map(|i| (i * i / 7 % 256) as u8).collect();
            let plain = Whole { meter: &mut plain, rgb: &noise, side }.run();
            let quick = avx2::run(Whole { meter: &mut quick, rgb: &noise, side });
            assert_eq!(bits(plain), bits(quick), "{side}");
        }
    }

    #[test]
    fn pale_stain_is_not_blur() {
        let (strong, pale) = (worst(&nuclei(1.0, 1)), worst(&nuclei(0.4, 1)));
        assert!((strong - pale).abs() < 0.2, "{strong} dB, pale {pale} dB");
    }

    #[test]
    fn little_detail_in_dense_tissue_is_not_sharp() {
        let through = |share: f32| {
            let dimmed: Vec<f32> = light(1.0).into_iter().map(|v| share * v).collect();
            worst(&photograph(&dimmed))
        };
        // The same picture in a half of the light, and in a tenth: the nuclei are left at 20 and 8 of 255 levels.
        let (bright, half, dense) = (through(1.0), through(0.5), through(0.1));
        assert!((bright - half).abs() < 0.2, "{bright} dB, in half of the light {half} dB");
        assert!(bright > SHARP_ABOVE + 2.0 && dense < SHARP_ABOVE - 2.0, "{bright} dB, dense {dense} dB");
    }

    #[test]
    fn what_is_left_of_a_strong_blur_is_not_sharp_because_it_is_little() {
        // Nuclei of 8 grey levels on a ground that brightens, smoothed to a tenth of that: what is finer is rounding.
        let ground = |i: usize| 120.0 + 0.4 * (i % SIDE) as f32;
        let sharp: Vec<f32> = light(1.0).iter().enumerate().map(|(i, v)| ground(i) + (v - 195.0) / 15.0).collect();
        let blurred = worst(&photograph(&spread(&sharp, &defocus(12.0))));
        let sharp = worst(&photograph(&sharp));
        assert!(sharp > SHARP_ABOVE + 1.0 && blurred < SHARP_ABOVE - 1.0, "{sharp} dB, blurred {blurred} dB");
    }

    #[test]
    fn it_leaves_glass_out() {
        let tile = nuclei(0.5, 5);
        let mut dusty = tile.clone();
        // Fine and sharp dust on the glass: on the whole 3 % below its level.
        for y in 0..20 {
            for x in (y % 4..SIDE).step_by(4) {
                dusty[3 * (y * SIDE + x) + 1] -= 25;
            }
        }
        let (clean, dusty) = (worst(&tile), worst(&dusty));
        assert!((clean - dusty).abs() < 0.1, "{clean} dB, with dust {dusty} dB");
    }

    #[test]
    fn blank_and_tiny_inputs_are_not_judged() {
        assert!(worst(&vec![240; 3 * SIDE * SIDE]).is_nan());
        assert!(FocusMeter::default().sharpness(&[0; 3 * 16 * 16], 16).worst.is_nan());
        assert!(FocusMeter::default().sharpness(&[0; 3 * 20 * 20], 20).worst.is_nan());
        assert!(worst(&vec![0; 3 * SIDE * SIDE]).is_nan());
    }

    #[test]
    fn a_side_need_not_be_even() {
        let stripes = |side: usize| -> Vec<u8> {
            (0..3 * side * side).map(|i| if (i / 3 % side / 8).is_multiple_of(2) { 60 } else { 180 }).collect()
        };
        let judged = |side: usize| FocusMeter::default().sharpness(&stripes(side), side);
        // Of the smallest, one pixel is judged, which is as bright as the brightest.
        assert!(judged(21).worst.is_nan());
        for side in [47, 48, 97, 98] {
            let Sharpness { worst, across } = judged(side);
            assert!(worst.is_finite() && across[0] > worst + 10.0, "{side}: {worst} dB, {across:?}");
        }
    }

    #[test]
    fn the_tile_before_leaves_no_trace() {
        let mut meter = FocusMeter::default();
        let fresh = meter.sharpness(&nuclei(1.0, 1), SIDE).worst;
        meter.sharpness(&nuclei(0.7, 9), SIDE);
        meter.sharpness(&nuclei(0.7, 9)[..3 * 64 * 64], 64);
        assert_eq!(meter.sharpness(&nuclei(1.0, 1), SIDE).worst.to_bits(), fresh.to_bits());
    }
}
