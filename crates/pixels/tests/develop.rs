//! Rows as they are developed against the definitions, pixel by pixel in float64, however a frame is cut into parts and
//! strips.

use std::sync::Arc;

use coverslip_pixels::developer::{Developer, KeptRows, Row, Source};
use coverslip_pixels::format::{PixelFormat, Samples};
use coverslip_pixels::image::{Image, Plane};
use coverslip_pixels::tone::{Tone, ToneSpec};
use coverslip_pixels::validity::{Mask, Validity};

/// Repeatable numbers.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }

    /// Levels with flat parts, edges and noise up to the ends of the range.
    fn levels(&mut self, count: usize, highest: u16) -> Vec<u16> {
        let top = usize::from(highest);
        let level = |dice: &mut Dice| match dice.below(9) {
            0 => dice.below(top + 1),
            1 => [0, top][dice.below(2)],
            _ => top / 3 + dice.below(1 + top / 40),
        };
        (0..count).map(|_| level(self) as u16).collect()
    }
}

/// One 16-bit or 8-bit plane of levels.
fn bytes(format: PixelFormat, levels: &[u16]) -> Vec<u8> {
    match format.bits {
        8 => levels.iter().map(|&level| level as u8).collect(),
        _ => levels.iter().flat_map(|level| level.to_le_bytes()).collect(),
    }
}

fn image(format: PixelFormat, bytes: &[u8], width: usize) -> Image<'_> {
    let stride = format.row_bytes(width as u64) as usize;
    let plane = Plane { bytes, stride };
    Image { format, width, height: bytes.len() / stride, planes: [plane; 3] }
}

fn source(image: Image<'_>) -> Source<'_> {
    Source {
        image: Some(image),
        kept: None,
        format: image.format,
        width: image.width,
        validity: Validity::default(),
        channel: None,
    }
}

fn developer(width: usize) -> Developer {
    Developer::new(Arc::new(Tone::new(&ToneSpec::default()).unwrap()), width).unwrap()
}

/// Rows of a source, developed in parts of random widths.
fn develop(source: &Source<'_>, rows: std::ops::Range<isize>, dice: &mut Dice) -> Vec<u8> {
    let mut developer = developer(source.width);
    let height = (rows.end - rows.start) as usize;
    let mut rgb = vec![0; 3 * source.width * height];
    let mut x = 0;
    while x < source.width {
        let end = (x + 1 + dice.below(source.width)).min(source.width);
        developer.begin(x, end);
        for (at, y) in rows.clone().enumerate() {
            let row: Row<'_> = developer.row(source, y);
            row.copy(0, end - x, &mut rgb[3 * (at * source.width + x)..3 * (at * source.width + end)]);
        }
        x = end;
    }
    rgb
}

/// The filters of the paper, 5 x 5 and in eighths, at the pixel (0, 0).
fn filter(of: impl Fn(isize, isize) -> f64, own: usize, wanted: usize, red_or_blue_in_row: usize) -> f64 {
    if own == wanted {
        return of(0, 0);
    }
    let cross = |r: isize| of(r, 0) + of(-r, 0) + of(0, r) + of(0, -r);
    let corners = of(1, 1) + of(1, -1) + of(-1, 1) + of(-1, -1);
    if wanted == 1 {
        return (4.0 * of(0, 0) + 2.0 * cross(1) - cross(2)) / 8.0;
    }
    if own != 1 {
        return (6.0 * of(0, 0) + 2.0 * corners - 1.5 * cross(2)) / 8.0;
    }
    // At green: the colour of the row is to the left and right, the other above and below.
    let turned = |x: isize, y: isize| if wanted == red_or_blue_in_row { of(x, y) } else { of(y, x) };
    let near = turned(1, 0) + turned(-1, 0);
    let along = turned(2, 0) + turned(-2, 0);
    let across = turned(0, 2) + turned(0, -2);
    (5.0 * of(0, 0) + 4.0 * near - corners - along + 0.5 * across) / 8.0
}

fn colours(name: &str) -> [usize; 4] {
    match &name[5..7] {
        "GR" => [1, 0, 2, 1],
        "RG" => [0, 1, 1, 2],
        "GB" => [1, 2, 0, 1],
        _ => [2, 1, 1, 0],
    }
}

/// Without the library's arithmetic: a pixel of the demosaiced frame, rounded and clipped to levels, as 8 bits.
fn expected(name: &str, format: PixelFormat, levels: &[u16], width: usize, x: usize, y: usize) -> [u8; 3] {
    let height = levels.len() / width;
    let cell = colours(name);
    let mirror = |at: isize, n: usize| {
        let last = n as isize - 1;
        let at = at.abs();
        if n == 2 {
            at.rem_euclid(2)
        } else if at > last {
            2 * last - at
        } else {
            at
        }
    };
    let of = |dx: isize, dy: isize| {
        let (x, y) = (mirror(x as isize + dx, width), mirror(y as isize + dy, height));
        f64::from(levels[y as usize * width + x as usize])
    };
    let own = cell[y % 2 * 2 + x % 2];
    let in_row = cell[y % 2 * 2] + cell[y % 2 * 2 + 1] - 1;
    std::array::from_fn(|wanted| {
        let highest = f64::from(format.highest());
        let level = (filter(of, own, wanted, in_row) + 0.5).floor().clamp(0.0, highest);
        (255.0 * level / highest).round() as u8
    })
}

fn mosaics() -> impl Iterator<Item = (&'static str, PixelFormat)> {
    let wide = |format: &PixelFormat| format.bits == 8 || format.row_bytes(2) == 4;
    PixelFormat::all().filter(move |(_, _, f)| f.is_mosaic() && wide(f)).map(|(_, name, format)| (name, format))
}

#[test]
fn a_mosaic_is_interpolated_by_the_papers_filters_in_every_part() {
    let mut dice = Dice(11);
    for (name, format) in mosaics() {
        for (width, height) in [(2, 2), (4, 2), (2, 6), (6, 4), (38, 22)] {
            let levels = dice.levels(width * height, format.highest());
            let bytes = bytes(format, &levels);
            let rgb = develop(&source(image(format, &bytes, width)), 0..height as isize, &mut dice);
            for (at, pixel) in rgb.chunks_exact(3).enumerate() {
                let want = expected(name, format, &levels, width, at % width, at / width);
                assert_eq!(pixel, want, "{name}, {width} x {height}: {}, {}", at % width, at / width);
            }
        }
    }
}

#[test]
fn strips_that_follow_each_other_are_the_whole() {
    let mut dice = Dice(5);
    for (_, format) in mosaics() {
        let (width, height) = (24, 40);
        let levels = dice.levels(width * height, format.highest());
        let all = bytes(format, &levels);
        let whole = develop(&source(image(format, &all, width)), 0..height as isize, &mut dice);
        let row = format.row_bytes(width as u64) as usize;
        let mut kept = KeptRows::new(width).unwrap();
        let (mut rgb, mut y) = (Vec::new(), 0);
        while y < height {
            let end = (y + 2 * (1 + dice.below(4))).min(height);
            let strip = image(format, &all[y * row..end * row], width);
            let follows = y > 0;
            let mut source = source(strip);
            source.kept = follows.then_some(&kept);
            // The two rows before it are finished with it, its own last two with the next.
            let first = if follows { -2 } else { 0 };
            rgb.extend(develop(&source, first..(end - y) as isize - 2, &mut dice));
            kept.keep(&strip, &Validity::default(), follows);
            y = end;
        }
        let last =
            Source { image: None, kept: Some(&kept), format, width, validity: Validity::default(), channel: None };
        rgb.extend(develop(&last, -2..0, &mut dice));
        assert!(rgb == whole, "{format:?}");
    }
}

#[test]
fn mirrored_pixels_do_not_shift_the_phase_and_flat_colour_stays_flat() {
    for (name, format) in mosaics() {
        let colour = [200, 90, 30].map(|level: u16| level << (format.bits - 8));
        let cell = colours(name).map(|c| colour[c]);
        let levels: Vec<u16> = (0..16 * 12).map(|at| cell[at / 16 % 2 * 2 + at % 2]).collect();
        let bytes = bytes(format, &levels);
        let rgb = develop(&source(image(format, &bytes, 16)), 0..12, &mut Dice(1));
        let want = colour.map(|level| (255.0 * f64::from(level) / f64::from(format.highest())).round() as u8);
        assert!(rgb.chunks_exact(3).all(|pixel| pixel == want), "{name}");
    }
}

#[test]
fn a_pixel_that_needs_one_that_was_not_captured_was_not_captured() {
    let format = PixelFormat::from_pfnc(0x0108_0009).unwrap();
    let (width, height) = (12, 10);
    let bytes = vec![100; width * height];
    let mut mask = vec![1; width * height];
    mask[4 * width + 6] = 0;
    let mut source = source(image(format, &bytes, width));
    source.validity.mask = Mask::Bytes(Plane { bytes: &mask, stride: width });
    let mut developer = developer(width);
    developer.begin(1, 11);
    for y in 0..height {
        let missing = developer.missing(&source, y as isize).expect("a mask");
        let want: Vec<u8> = (1..11).map(|x: usize| u8::from(x.abs_diff(6) <= 2 && y.abs_diff(4) <= 2)).collect();
        assert_eq!(missing, want, "row {y}");
    }
}

#[test]
fn what_was_not_captured_is_said_alike_by_bytes_bits_alpha_and_value() {
    let mut dice = Dice(3);
    for (_, name, format) in PixelFormat::all() {
        if format.is_mosaic() || format.bits != 8 {
            continue;
        }
        let (width, height) = (19, 3);
        let samples = format.samples_per_pixel();
        let mut data = vec![7; width * height * samples];
        let missing: Vec<bool> = (0..width * height).map(|_| dice.below(3) == 0).collect();
        let mut planes = [data.clone(), data.clone(), data.clone()];
        for (at, _) in missing.iter().enumerate().filter(|(_, missing)| **missing) {
            data[at * samples..(at + 1) * samples].fill(0);
            planes.iter_mut().for_each(|plane| plane[at.min(width * height - 1)] = 0);
        }
        let view = |bytes| Plane { bytes, stride: width * samples };
        let picture = match format.samples {
            Samples::Planar => {
                Image { format, width, height, planes: [view(&planes[0]), view(&planes[1]), view(&planes[2])] }
            }
            _ => Image { format, width, height, planes: [view(&data); 3] },
        };
        let bytes: Vec<u8> = missing.iter().map(|&missing| u8::from(!missing) * 3).collect();
        let mut bits = vec![0; 3 * height];
        (0..width * height)
            .filter(|at| !missing[*at])
            .for_each(|at| bits[at / width * 3 + at % width / 8] |= 1 << (at % width % 8));
        let ways = [
            Validity { mask: Mask::Bytes(Plane { bytes: &bytes, stride: width }), ..Validity::default() },
            Validity { mask: Mask::Bits(Plane { bytes: &bits, stride: 3 }), ..Validity::default() },
            Validity { value: Some([0; 3]), ..Validity::default() },
            Validity { alpha: true, ..Validity::default() },
        ];
        for (way, validity) in ways.into_iter().enumerate() {
            let source = Source { validity, ..source(picture) };
            let mut developer = developer(width);
            developer.begin(3, 17);
            for y in 0..height {
                let found = developer.missing(&source, y as isize).map(<[u8]>::to_vec);
                if way == 3 && !format.has_alpha() {
                    assert_eq!(found, None, "{name}");
                    continue;
                }
                let want: Vec<u8> = (3..17).map(|x| u8::from(missing[y * width + x])).collect();
                assert_eq!(found, Some(want), "{name}, row {y}, way {way}");
            }
        }
    }
}
