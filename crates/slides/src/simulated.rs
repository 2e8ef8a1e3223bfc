//! A slide as another scanner, or a faulty one, would have scanned it: the changed pixels of a real slide.
//!
//! Each change is a simple model, stated at its definition. It replaces scanners and faults that are not available, and
//! results measured with it say so. The same slide and change give the same pixels however the slide is cut for
//! reading, except that JPEG compresses each rectangle by itself.

use coverslip_numerics::Draw;

use super::description::SourceInfo;
use super::error::SourceError;
use super::rect::Rect;
use super::scanned::Scanned;
use super::source::SlideSource;

/// A change of a slide. Lengths are in pixels of the slide.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    /// Defocus as a Gaussian of this standard deviation.
    Gaussian(f64),
    /// Defocus as a disk of this radius.
    Disk(f64),
    /// Intensity multiplied by a factor.
    Gain(f64),
    /// `255 · (v / 255)^γ`.
    Gamma(f64),
    /// RGB multiplied by a matrix, which has a row for each output channel.
    Matrix([[f64; 3]; 3]),
    /// Intensity multiplied by 1 + amplitude · sin(2π y / period), as between scan lanes.
    Banding { amplitude: f64, period: f64 },
    /// Gaussian noise of this standard deviation, in grey levels.
    Noise(f64),
    /// JPEG compression at this quality, 1 to 100.
    Jpeg(u8),
    /// This many opaque specks of 4 to 9 px radius per megapixel.
    Dust(f64),
    /// Strokes of blue ink that cover this fraction of the slide.
    Pen(f64),
}

/// A changed slide.
pub struct Simulated<'s> {
    inner: &'s mut dyn SlideSource,
    change: Change,
    /// The first changed row.
    from: u32,
    buffer: Vec<u8>,
}

impl<'s> Simulated<'s> {
    /// Applies `change` to `inner`.
    pub fn new(inner: &'s mut dyn SlideSource, change: Change) -> Simulated<'s> {
        Simulated { inner, change, from: 0, buffer: Vec::new() }
    }

    /// Applies the change from row `from` on, as for a fault that begins during the scan.
    pub fn starting_at(self, from: u32) -> Simulated<'s> {
        Simulated { from, ..self }
    }

    /// The changed pixels of `rect`, and which of its pixels were scanned.
    fn changed(&mut self, rect: Rect, out: &mut Vec<u8>) -> Result<Scanned, SourceError> {
        let kernel = match self.change {
            Change::Gaussian(sigma) => Kernel::Rows(gaussian(sigma)),
            Change::Disk(radius) => Kernel::Disk(radius),
            _ => {
                let scanned = self.inner.read(rect, out)?;
                pointwise(self.change, rect, out)?;
                return Ok(scanned);
            }
        };
        let info = self.inner.info();
        let reach = kernel.reach();
        let (x, y) = (rect.x.saturating_sub(reach), rect.y.saturating_sub(reach));
        let (right, bottom) = (rect.x + rect.width + reach, rect.y + rect.height + reach);
        let wide = Rect { x, y, width: right.min(info.width) - x, height: bottom.min(info.height) - y };
        let scanned = self.inner.read(wide, &mut self.buffer)?;
        *out = kernel.blur(&self.buffer, wide, rect);
        Ok(scanned.within(rect))
    }
}

impl SlideSource for Simulated<'_> {
    fn info(&self) -> &SourceInfo {
        self.inner.info()
    }

    fn read(&mut self, rect: Rect, out: &mut Vec<u8>) -> Result<Scanned, SourceError> {
        if rect.y + rect.height <= self.from {
            return self.inner.read(rect, out);
        }
        let scanned = self.changed(rect, out)?;
        let above = Rect { height: self.from.saturating_sub(rect.y), ..rect };
        if above.height > 0 {
            self.inner.read(above, &mut self.buffer)?;
            out[..above.bytes()].copy_from_slice(&self.buffer);
        }
        Ok(scanned)
    }
}

/// A point spread function.
enum Kernel {
    /// A separable kernel: the weights from −reach to reach.
    Rows(Vec<f64>),
    /// A disk of this radius.
    Disk(f64),
}

impl Kernel {
    fn reach(&self) -> u32 {
        match self {
            Kernel::Rows(weights) => weights.len() as u32 / 2,
            Kernel::Disk(radius) => (radius + 0.5).ceil() as u32,
        }
    }

    /// Blurs the pixels of `wide`. Beyond the slide's edge the outermost pixel is repeated.
    fn blur(&self, pixels: &[u8], wide: Rect, rect: Rect) -> Vec<u8> {
        let at = |x: i64, y: i64, channel: usize| -> f64 {
            let column = (x - i64::from(wide.x)).clamp(0, i64::from(wide.width) - 1) as usize;
            let row = (y - i64::from(wide.y)).clamp(0, i64::from(wide.height) - 1) as usize;
            f64::from(pixels[(row * wide.width as usize + column) * 3 + channel])
        };
        let mut out = vec![0; rect.bytes()];
        match self {
            Kernel::Rows(weights) => {
                let reach = weights.len() as i64 / 2;
                let (left, columns) = (i64::from(wide.x), wide.width as usize);
                for channel in 0..3 {
                    // Columns first: all that the rows need.
                    let mut down = vec![0.0; columns * rect.height as usize];
                    for (place, value) in down.iter_mut().enumerate() {
                        let (x, y) = (left + (place % columns) as i64, i64::from(rect.y) + (place / columns) as i64);
                        *value = (-reach..=reach).zip(weights).map(|(step, w)| w * at(x, y + step, channel)).sum();
                    }
                    for place in 0..(rect.width * rect.height) as usize {
                        let (column, row) = (place % rect.width as usize, place / rect.width as usize);
                        let middle = column as i64 + i64::from(rect.x - wide.x);
                        let value = |step: i64| {
                            let column = (middle + step).clamp(0, columns as i64 - 1) as usize;
                            down[row * columns + column]
                        };
                        out[place * 3 + channel] =
                            level((-reach..=reach).zip(weights).map(|(step, w)| w * value(step)).sum());
                    }
                }
            }
            Kernel::Disk(radius) => {
                let taps = disk(*radius);
                for (place, value) in out.iter_mut().enumerate() {
                    let (pixel, channel) = (place / 3, place % 3);
                    let x = i64::from(rect.x) + (pixel % rect.width as usize) as i64;
                    let y = i64::from(rect.y) + (pixel / rect.width as usize) as i64;
                    *value = level(taps.iter().map(|(dx, dy, weight)| weight * at(x + dx, y + dy, channel)).sum());
                }
            }
        }
        out
    }
}

fn gaussian(sigma: f64) -> Vec<f64> {
    let reach = (4.0 * sigma).ceil().max(1.0) as i64;
    let weights: Vec<f64> = (-reach..=reach).map(|x| (-0.5 * (x as f64 / sigma).powi(2)).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// The pixels of a disk with their weights. A pixel on the rim is weighted by the distance of its centre from the rim.
fn disk(radius: f64) -> Vec<(i64, i64, f64)> {
    let reach = (radius + 0.5).ceil() as i64;
    let square = (-reach..=reach).flat_map(|y| (-reach..=reach).map(move |x| (x, y)));
    let weight = |x: i64, y: i64| (radius + 0.5 - (x as f64).hypot(y as f64)).clamp(0.0, 1.0);
    let taps: Vec<(i64, i64, f64)> = square.map(|(x, y)| (x, y, weight(x, y))).filter(|tap| tap.2 > 0.0).collect();
    let sum: f64 = taps.iter().map(|tap| tap.2).sum();
    taps.into_iter().map(|(x, y, weight)| (x, y, weight / sum)).collect()
}

/// Applies the changes that need no neighbouring pixels.
fn pointwise(change: Change, rect: Rect, pixels: &mut Vec<u8>) -> Result<(), SourceError> {
    if let Change::Jpeg(quality) = change {
        return compress(quality, rect, pixels);
    }
    let (triples, _) = pixels.as_chunks_mut::<3>();
    for (index, pixel) in triples.iter_mut().enumerate() {
        let x = u64::from(rect.x) + index as u64 % u64::from(rect.width);
        let y = u64::from(rect.y) + index as u64 / u64::from(rect.width);
        let before = pixel.map(f64::from);
        *pixel = match change {
            Change::Gain(factor) => before.map(|value| value * factor),
            Change::Gamma(gamma) => before.map(|value| 255.0 * (value / 255.0).powf(gamma)),
            Change::Matrix(matrix) => {
                matrix.map(|row| row.iter().zip(before).map(|(weight, value)| weight * value).sum())
            }
            Change::Banding { amplitude, period } => {
                let wave = 1.0 + amplitude * (std::f64::consts::TAU * y as f64 / period).sin();
                before.map(|value| value * wave)
            }
            Change::Noise(deviation) => {
                let place = (y << 32 | x) * 3;
                std::array::from_fn(|channel| before[channel] + deviation * normal(place + channel as u64))
            }
            Change::Dust(per_megapixel) => before.map(|value| value * speck(x, y, per_megapixel)),
            Change::Pen(share) => {
                ink(x, y, share).map_or(before, |light| std::array::from_fn(|c| before[c] * light[c]))
            }
            Change::Gaussian(_) | Change::Disk(_) | Change::Jpeg(_) => before,
        }
        .map(level);
    }
    Ok(())
}

fn level(value: f64) -> u8 {
    // The cast from float saturates.
    (value + 0.5) as u8
}

fn compress(quality: u8, rect: Rect, pixels: &mut Vec<u8>) -> Result<(), SourceError> {
    let failed = |error: image::ImageError| SourceError(format!("simulated JPEG: {error}"));
    let mut bytes = Vec::new();
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, quality)
        .encode(pixels, rect.width, rect.height, image::ExtendedColorType::Rgb8)
        .map_err(failed)?;
    *pixels =
        image::load_from_memory_with_format(&bytes, image::ImageFormat::Jpeg).map_err(failed)?.into_rgb8().into_raw();
    Ok(())
}

/// A uniform number in `[0, 1)` that depends only on the place.
fn uniform(place: u64) -> f64 {
    Draw::new(0).of(place).unit()
}

/// A standard normal number by Box and Muller's method.
fn normal(place: u64) -> f64 {
    let (a, b) = (uniform(2 * place), uniform(2 * place + 1));
    (-2.0 * (1.0 - a).ln()).sqrt() * (std::f64::consts::TAU * b).cos()
}

/// Transmission through specks at a place. Each cell of 64 px has a speck with the probability that gives the density.
fn speck(x: u64, y: u64, per_megapixel: f64) -> f64 {
    const CELL: u64 = 64;
    let cell = (y / CELL) << 32 | (x / CELL);
    if uniform(4 * cell) >= per_megapixel * (CELL * CELL) as f64 / 1e6 {
        return 1.0;
    }
    let radius = 4.0 + 5.0 * uniform(4 * cell + 1);
    let inside = |place: u64| 10.0 + (CELL as f64 - 20.0) * uniform(place);
    let (dx, dy) = ((x % CELL) as f64 - inside(4 * cell + 2), (y % CELL) as f64 - inside(4 * cell + 3));
    let edge = (dx.hypot(dy) - radius).clamp(0.0, 1.0);
    0.15 + 0.85 * edge
}

/// Transmission through blue ink, if there is a stroke. Strokes are diagonal, 900 px apart.
fn ink(x: u64, y: u64, share: f64) -> Option<[f64; 3]> {
    const APART: f64 = 900.0;
    let along = (x as f64 + 0.6 * y as f64) % APART;
    (along < share * APART).then_some([0.25, 0.35, 0.75])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A white slide of 100 x 80 px with a black square of 20 px at (40, 30).
    struct Square(SourceInfo);

    impl Square {
        fn new() -> Square {
            Square(SourceInfo::plain("square".into(), "test".into(), 100, 80))
        }
    }

    impl SlideSource for Square {
        fn info(&self) -> &SourceInfo {
            &self.0
        }

        fn read(&mut self, rect: Rect, out: &mut Vec<u8>) -> Result<Scanned, SourceError> {
            out.clear();
            for y in rect.y..rect.y + rect.height {
                for x in rect.x..rect.x + rect.width {
                    let inside = (40..60).contains(&x) && (30..50).contains(&y);
                    out.extend([if inside { 0 } else { 200 }; 3]);
                }
            }
            Ok(Scanned::All)
        }
    }

    const ALL: Rect = Rect { x: 0, y: 0, width: 100, height: 80 };

    fn read(change: Change, rect: Rect) -> Vec<u8> {
        let mut out = Vec::new();
        Simulated::new(&mut Square::new(), change).read(rect, &mut out).unwrap();
        assert_eq!(out.len(), rect.bytes());
        out
    }

    #[test]
    fn pixels_do_not_depend_on_the_cut() {
        let changes = [
            Change::Gaussian(1.5),
            Change::Disk(2.5),
            Change::Banding { amplitude: 0.05, period: 16.0 },
            Change::Noise(4.0),
            Change::Dust(200.0),
            Change::Pen(0.05),
        ];
        for change in changes {
            let whole = read(change, ALL);
            let cut = Rect { x: 37, y: 21, width: 30, height: 17 };
            for (row, line) in read(change, cut).chunks(90).enumerate() {
                let from = ((row + 21) * 100 + 37) * 3;
                assert_eq!(line, &whole[from..from + 90], "{change:?}");
            }
        }
    }

    #[test]
    fn a_fault_begins_at_its_row() {
        let mut square = Square::new();
        let mut late = Simulated::new(&mut square, Change::Gain(0.5)).starting_at(10);
        let mut out = Vec::new();
        late.read(Rect { x: 0, y: 9, width: 1, height: 3 }, &mut out).unwrap();
        assert_eq!(out, [[200; 3], [100; 3], [100; 3]].concat());
        late.read(Rect { x: 0, y: 0, width: 1, height: 10 }, &mut out).unwrap();
        assert_eq!(out, [200; 30]);
    }

    #[test]
    fn a_blurred_edge_is_the_normal_integral() {
        // The edge is between columns 39 and 40; k + ½ px inside the square, Φ(−(k + ½) / σ) of the white remains.
        let sigma = 2.0;
        let row = read(Change::Gaussian(sigma), Rect { x: 40, y: 40, width: 3, height: 1 });
        for (k, want) in [(0, 0.4013), (1, 0.2266), (2, 0.1056)] {
            let found = f64::from(row[3 * k]) / 200.0;
            assert!((found - want).abs() < 0.012, "{k}: {found}, not {want}");
        }
    }

    #[test]
    fn a_disk_keeps_the_light() {
        let sum = |pixels: Vec<u8>| pixels.into_iter().map(f64::from).sum::<f64>();
        let (before, after) = (sum(read(Change::Gain(1.0), ALL)), sum(read(Change::Disk(3.0), ALL)));
        assert!((after / before - 1.0).abs() < 2e-3, "{after} of {before}");
    }

    #[test]
    fn pixels_by_hand() {
        let one = Rect { x: 5, y: 4, width: 1, height: 1 };
        assert_eq!(read(Change::Gain(1.5), one), [255; 3]);
        assert_eq!(read(Change::Gamma(2.0), one), [157; 3]);
        assert_eq!(read(Change::Matrix([[0.0, 0.0, 0.5], [0.0, 1.0, 0.0], [0.0, 0.1, 0.0]]), one), [100, 200, 20]);
        // sin(2π 4 / 16) = 1.
        assert_eq!(read(Change::Banding { amplitude: 0.05, period: 16.0 }, one), [210; 3]);
        let inked = read(Change::Pen(1.0), one);
        assert_eq!(inked, [50, 70, 150]);
    }

    #[test]
    fn noise_has_its_deviation() {
        let noisy = read(Change::Noise(4.0), Rect { x: 0, y: 0, width: 100, height: 30 });
        let n = noisy.len() as f64;
        let mean = noisy.iter().map(|&value| f64::from(value)).sum::<f64>() / n;
        let variance = noisy.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / n;
        // For 9,000 values the deviation's standard error is 0.03; rounding adds 0.01.
        assert!((mean - 200.0).abs() < 0.2 && (variance.sqrt() - 4.0).abs() < 0.15, "{mean} {}", variance.sqrt());
    }

    #[test]
    fn jpeg_changes_little_and_dust_covers_its_fraction() {
        let squeezed = read(Change::Jpeg(60), ALL);
        let plain = read(Change::Gain(1.0), ALL);
        let changed = squeezed.iter().zip(&plain).filter(|(a, b)| a != b).count();
        assert!(changed > 0 && changed < plain.len() / 2);
        let covered = (0..640).flat_map(|y| (0..640).map(move |x| (x, y))).filter(|&(x, y)| speck(x, y, 100.0) < 0.5);
        // 100 specks per megapixel with a mean area of about 135 px cover 1.35 %; here there are 41 cells.
        let share = covered.count() as f64 / 640.0 / 640.0;
        assert!((0.005..0.025).contains(&share), "{share}");
    }
}
