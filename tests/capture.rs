//! What cameras deliver, through the C ABI: formats, mosaics, tones, channels, and pixels that were never captured.

mod support {
    pub(crate) mod host;
}

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use coverslip_pixels::developer::{Developer, Source};
use coverslip_pixels::format::{PixelFormat, Samples};
use coverslip_pixels::image::Image;
use coverslip_pixels::tone::{Tone, ToneSpec};
use coverslip_plugin_abi::*;
use support::host::{Picture, TestRuntime, TestSlide, Tile, by_status, open};

const WIDTH: usize = 96;
const HEIGHT: usize = 64;

fn runtime(name: &str) -> TestRuntime {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("capture-{name}"));
    coverslip_testkit::bundle(&folder);
    open(&folder)
}

/// Status, what was measured, features and embeddings, to the bit.
type Essence = BTreeMap<(i32, i32), (i32, Vec<u32>, Vec<(u32, u32)>, Vec<u32>)>;

fn essence(tiles: &[Tile]) -> Essence {
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<u32>>();
    let one = |tile: &Tile| {
        let features = tile.features.iter().map(|f| (f.index, f.value.to_bits())).collect();
        let key = (tile.record.column, tile.record.row);
        (key, (tile.record.status, bits(&tile.record.measurements), features, bits(&tile.embedding)))
    };
    tiles.iter().map(one).collect()
}

fn begin(runtime: &TestRuntime, change: impl FnOnce(&mut SlideDesc)) -> TestSlide {
    runtime.begin(|desc| {
        (desc.extent_width, desc.extent_height) = (WIDTH as u64, HEIGHT as u64);
        (desc.max_frame_width, desc.max_frame_height) = (WIDTH as u32, HEIGHT as u32);
        (desc.spread_width, desc.spread_height) = (WIDTH as u64, HEIGHT as u64);
        desc.flags = SLIDE_EMBEDDINGS;
        change(desc);
    })
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

/// Writes a sample into a row, bit by bit as the standards draw it.
fn put(format: PixelFormat, code: u32, row: &mut [u8], at: usize, level: u16) {
    let bits = format.bits as usize;
    let gige = matches!(code & 0xffff, 0x04 | 0x06 | 0x26..=0x2d);
    let dense = matches!(code & 0xffff, 0x46..=0x49 | 0x52..=0x5d | 0x104);
    let places: Vec<usize> = match (gige, dense, bits) {
        (true, ..) => {
            let (low, high) = if at.is_multiple_of(2) { (8, 0) } else { (12, 16) };
            (low..low + bits - 8).chain(high..high + 8).map(|place| at / 2 * 24 + place).collect()
        }
        (_, true, _) => (at * bits..(at + 1) * bits).collect(),
        (.., 8) => (8 * at..8 * at + 8).collect(),
        _ => (16 * at..16 * at + bits).collect(),
    };
    for (power, place) in places.into_iter().enumerate() {
        row[place / 8] &= !(1 << (place % 8));
        row[place / 8] |= ((level >> power & 1) as u8) << (place % 8);
    }
}

/// A frame's memory, at a random offset and with a random stride.
struct Shot {
    memory: Vec<Vec<u8>>,
    frame: Frame,
}

/// Columns `x` to `x + width` and rows from `y` of a picture of levels as a frame of a format. `level` gives a sample of
/// a pixel: 0 to 2 are red, green, blue, 3 is alpha; of one sample a pixel, 0.
fn shot(
    code: u32,
    (x, y, width, height): (usize, usize, usize, usize),
    dice: &mut Dice,
    level: impl Fn(usize, usize, usize) -> u16,
) -> Shot {
    let format = PixelFormat::from_pfnc(code).unwrap();
    let order: &[usize] = match format.samples {
        Samples::Mono | Samples::Bayer(_) | Samples::Planar => &[0],
        Samples::Rgb => &[0, 1, 2],
        Samples::Bgr => &[2, 1, 0],
        Samples::Rgba => &[0, 1, 2, 3],
        Samples::Bgra => &[2, 1, 0, 3],
    };
    let mut frame = Frame {
        pixel_format: code,
        plane_count: format.planes(),
        x: x as i64,
        y: y as i64,
        width: width as u32,
        height: height as u32,
        ..Frame::init()
    };
    let mut memory = Vec::new();
    for plane in 0..format.planes() as usize {
        let row_bytes = format.row_bytes(width as u64) as usize;
        let (offset, stride) = (dice.below(9), row_bytes + dice.below(17));
        let size = offset + (height - 1) * stride + row_bytes;
        let mut bytes: Vec<u8> = (0..size).map(|_| dice.below(256) as u8).collect();
        for row in 0..height {
            let start = offset + row * stride;
            for column in 0..width {
                for (at, sample) in order.iter().enumerate() {
                    let sample = if format.planes() == 3 { plane } else { *sample };
                    let level = level(x + column, y + row, sample);
                    put(format, code, &mut bytes[start..start + row_bytes], column * order.len() + at, level);
                }
            }
        }
        frame.planes[plane] =
            Plane { data: bytes[offset..].as_ptr(), stride: stride as u64, size: (size - offset) as u64 };
        memory.push(bytes);
    }
    Shot { memory, frame }
}

impl Shot {
    fn submit(&self, slide: &TestSlide) {
        assert!(!self.memory.is_empty());
        slide.submit_wait(&self.frame, 60_000).expect("the frame is taken");
    }
}

/// Boxes that tile the picture, of random sizes.
fn cuts(dice: &mut Dice, even: bool) -> Vec<(usize, usize, usize, usize)> {
    let mut boxes = Vec::new();
    let mut y = 0;
    while y < HEIGHT {
        let step = |dice: &mut Dice, left: usize| {
            let length = (1 + dice.below(left)).min(left);
            if even { length.next_multiple_of(2) } else { length }
        };
        let height = step(dice, HEIGHT - y);
        let mut x = 0;
        while x < WIDTH {
            let width = step(dice, WIDTH - x);
            boxes.push((x, y, width, height));
            x += width;
        }
        y += height;
    }
    boxes
}

/// A level that becomes this channel.
fn deep(channel: u8, highest: u16) -> u16 {
    (f64::from(channel) * f64::from(highest) / 255.0).round() as u16
}

#[test]
fn every_format_without_a_mosaic_gives_the_bits_that_rgb8_gives_however_frames_are_cut() {
    let runtime = runtime("formats");
    let picture = Picture::tissue(WIDTH as u32, HEIGHT as u32, 3);
    let grey = Picture { rgb: picture.rgb.chunks_exact(3).flat_map(|p| [p[1]; 3]).collect(), ..picture.clone() };
    let of = |picture: &Picture| {
        let slide = begin(&runtime, |_| ());
        slide.submit(&picture.frame(0, 0, WIDTH as u32, HEIGHT as u32)).expect("room");
        essence(&slide.results())
    };
    let (colour, mut grey_reference) = (of(&picture), of(&grey));
    // What only colours show is not measured.
    for (_, measured, ..) in grey_reference.values_mut() {
        let colours = (MEASURE_DENSITY_MEAN..MEASURE_DENSITY_MEAN + 6).chain([MEASURE_FOREIGN, MEASURE_FOREIGN_SHARE]);
        colours.for_each(|at| measured[at] = f32::NAN.to_bits());
    }
    let mut dice = Dice(17);
    for (code, name, format) in PixelFormat::all().filter(|(.., format)| !format.is_mosaic()) {
        for cut in 0..2 {
            let slide = begin(&runtime, |_| ());
            let boxes = if cut == 0 { vec![(0, 0, WIDTH, HEIGHT)] } else { cuts(&mut dice, false) };
            for place in boxes {
                let level = |x: usize, y: usize, sample: usize| {
                    let at = if format.samples == Samples::Mono { 1 } else { sample };
                    let channel = if at == 3 { 0 } else { picture.rgb[3 * (y * WIDTH + x) + at] };
                    deep(channel, format.highest())
                };
                shot(code, place, &mut dice, level).submit(&slide);
            }
            let found = essence(&slide.results());
            let want = if format.samples == Samples::Mono { &grey_reference } else { &colour };
            assert!(found == *want, "{name}, cut {cut}");
        }
    }
}

/// What the crate makes of a whole mosaic, as a picture.
fn demosaiced(code: u32, level: impl Fn(usize, usize, usize) -> u16) -> Picture {
    let shot = shot(code, (0, 0, WIDTH, HEIGHT), &mut Dice(1), level);
    let format = PixelFormat::from_pfnc(code).unwrap();
    let offset = shot.frame.planes[0].data as usize - shot.memory[0].as_ptr() as usize;
    let plane = coverslip_pixels::image::Plane {
        bytes: &shot.memory[0][offset..],
        stride: shot.frame.planes[0].stride as usize,
    };
    let image = Image { format, width: WIDTH, height: HEIGHT, planes: [plane; 3] };
    let source =
        Source { image: Some(image), kept: None, format, width: WIDTH, validity: Default::default(), channel: None };
    let mut developer = Developer::new(Arc::new(Tone::new(&ToneSpec::default()).unwrap()), WIDTH).unwrap();
    developer.begin(0, WIDTH);
    let mut rgb = vec![0; 3 * WIDTH * HEIGHT];
    for (y, row) in rgb.chunks_exact_mut(3 * WIDTH).enumerate() {
        developer.row(&source, y as isize).copy(0, WIDTH, row);
    }
    Picture { width: WIDTH as u32, height: HEIGHT as u32, rgb }
}

/// A mosaic of a picture with soft noise, as levels of a format.
fn mosaic(code: u32) -> impl Fn(usize, usize, usize) -> u16 + Copy {
    let format = PixelFormat::from_pfnc(code).unwrap();
    move |x, y, _| {
        let wave = 150.0 + 60.0 * ((x * x + 3 * y) as f64 / 40.0).sin() + ((x * 7 + y * 13) % 11) as f64;
        (wave / 255.0 * f64::from(format.highest())) as u16
    }
}

#[test]
fn strips_of_one_group_show_no_seam() {
    let runtime = runtime("strips");
    for (code, ..) in PixelFormat::all().filter(|(.., format)| format.is_mosaic()) {
        let level = mosaic(code);
        let whole = begin(&runtime, |_| ());
        let picture = demosaiced(code, level);
        whole.submit(&picture.frame(0, 0, WIDTH as u32, HEIGHT as u32)).expect("room");
        let reference = essence(&whole.results());
        let mut dice = Dice(u64::from(code));
        for contiguous in [true, false] {
            let slide = begin(&runtime, |_| ());
            let mut y = 0;
            while y < HEIGHT {
                let height = (2 + 2 * dice.below(10)).min(HEIGHT - y);
                let mut strip = shot(code, (0, y, WIDTH, height), &mut dice, level);
                strip.frame.group_id = 4;
                strip.frame.flags = if contiguous && y > 0 { FRAME_CONTIGUOUS } else { 0 };
                strip.submit(&slide);
                y += height;
            }
            let found = essence(&slide.results());
            let summary = slide.summary();
            assert_eq!(summary.pixels_used, (WIDTH * HEIGHT) as u64);
            assert_eq!((summary.pixels_duplicate, summary.pixels_late, summary.in_flight), (0, 0, 0));
            assert_eq!(found == reference, contiguous, "{code:#x}: seams show where strips are not contiguous");
        }
    }
}

#[test]
fn two_swaths_in_turn_and_a_mosaic_without_a_group_end_every_tile_once() {
    let runtime = runtime("swaths");
    let code = PFNC_BAYER_RG8;
    let (level, half) = (mosaic(code), WIDTH / 2);
    let slide = begin(&runtime, |desc| desc.extent_height = 2 * HEIGHT as u64);
    let mut dice = Dice(9);
    for y in (0..HEIGHT).step_by(16) {
        for (swath, x) in [(1, 0), (2, half)] {
            let mut strip = shot(code, (x, y, half, 16), &mut dice, level);
            strip.frame.group_id = swath;
            strip.frame.flags = if y > 0 { FRAME_CONTIGUOUS } else { 0 };
            strip.submit(&slide);
        }
    }
    // The last rows of both wait for rows that never come: finish lets them go.
    let tiles = slide.results();
    assert_eq!(by_status(&tiles)[TILE_DONE as usize], 6, "{:?}", by_status(&tiles));
    assert!(tiles.iter().all(|tile| tile.record.coverage == 1.0));
    assert_eq!(slide.summary().pixels_used, (WIDTH * HEIGHT) as u64);
    // A new pass of a tile whose last rows wait.
    let slide = begin(&runtime, |desc| desc.extent_height = 2 * HEIGHT as u64);
    for pass in 0..2 {
        let mut strip = shot(code, (0, 0, WIDTH, 32), &mut dice, level);
        (strip.frame.group_id, strip.frame.pass) = (7, pass);
        strip.submit(&slide);
    }
    let tiles = slide.results();
    assert_eq!(by_status(&tiles)[TILE_DONE as usize], 6);
    assert_eq!(slide.summary().pixels_used, 2 * (WIDTH * 32) as u64);
}

#[test]
fn the_tone_of_a_slide_is_the_formula() {
    let runtime = runtime("tone");
    let spec = ToneSpec {
        black: 200.0,
        white: 3600.0,
        gamma: 1.8,
        balance: [1.4, 1.0, 1.2],
        matrix: [1.3, -0.2, -0.1, -0.1, 1.2, -0.1, 0.0, -0.2, 1.2],
        ..ToneSpec::default()
    };
    let level = |x: usize, y: usize, sample: usize| (1500 + (x * 37 + y * 91 + sample * 700) % 1700) as u16;
    let channel = |x: usize, y: usize, c: usize| {
        let v = |k: usize| ((f64::from(level(x, y, k)) - spec.black) / (spec.white - spec.black)) * spec.balance[k];
        let mixed: f64 = (0..3).map(|k| spec.matrix[3 * c + k] * v(k)).sum();
        (255.0 * mixed.clamp(0.0, 1.0).powf(1.0 / spec.gamma)).round() as u8
    };
    let rgb = (0..3 * WIDTH * HEIGHT).map(|at| channel(at / 3 % WIDTH, at / 3 / WIDTH, at % 3)).collect();
    let plain = begin(&runtime, |_| ());
    let picture = Picture { width: WIDTH as u32, height: HEIGHT as u32, rgb };
    plain.submit(&picture.frame(0, 0, WIDTH as u32, HEIGHT as u32)).expect("room");
    let toned = begin(&runtime, |desc| {
        (desc.tone_black, desc.tone_white, desc.tone_gamma) = (spec.black, spec.white, spec.gamma);
        (desc.white_balance, desc.color_matrix) = (spec.balance, spec.matrix);
    });
    shot(PFNC_RGB12P, (0, 0, WIDTH, HEIGHT), &mut Dice(2), level).submit(&toned);
    assert_ne!(plain.summary().configuration_digest, toned.summary().configuration_digest);
    assert!(essence(&plain.results()) == essence(&toned.results()));
}

#[test]
fn channels_come_one_after_the_other_and_one_that_never_comes_is_named() {
    let runtime = runtime("channels");
    let picture = Picture::tissue(WIDTH as u32, HEIGHT as u32, 5);
    let reference = begin(&runtime, |_| ());
    reference.submit(&picture.frame(0, 0, WIDTH as u32, HEIGHT as u32)).expect("room");
    let reference = essence(&reference.results());
    let mut dice = Dice(4);
    let pass = |slide: &TestSlide, channel: i32, number: u32, width: usize, dice: &mut Dice| {
        let level = |x: usize, y: usize, _: usize| {
            let channel = picture.rgb[3 * (y * WIDTH + x) + channel as usize - 1];
            deep(channel, 4095)
        };
        let mut frame = shot(PFNC_MONO12_PACKED, (0, 0, width, HEIGHT), dice, level);
        (frame.frame.channel, frame.frame.pass) = (channel, number);
        frame.submit(slide);
    };
    let slide = begin(&runtime, |_| ());
    for channel in [CHANNEL_GREEN, CHANNEL_BLUE, CHANNEL_RED] {
        assert_eq!(slide.summary().results[0], 0, "no tile is complete");
        pass(&slide, channel, 0, WIDTH, &mut dice);
    }
    assert!(essence(&slide.results()) == reference);
    // Green comes for the first column of tiles alone.
    let slide = begin(&runtime, |_| ());
    pass(&slide, CHANNEL_RED, 0, WIDTH, &mut dice);
    pass(&slide, CHANNEL_GREEN, 0, 32, &mut dice);
    pass(&slide, CHANNEL_BLUE, 0, WIDTH, &mut dice);
    let tiles = slide.results();
    for tile in &tiles {
        let want = if tile.record.column == 0 { (TILE_DONE, 0) } else { (TILE_REFUSED, 1 << CHANNEL_GREEN) };
        assert_eq!((tile.record.status, tile.record.channels_missing), want);
    }
    assert_eq!((tiles.len(), slide.summary().channel_refused), (6, [4, 0, 4, 0]));
    // A pass is a pass: the second one is judged again, and has no red yet.
    let slide = begin(&runtime, |_| ());
    [CHANNEL_RED, CHANNEL_GREEN, CHANNEL_BLUE].into_iter().for_each(|c| pass(&slide, c, 0, WIDTH, &mut dice));
    [CHANNEL_BLUE, CHANNEL_GREEN].into_iter().for_each(|c| pass(&slide, c, 1, WIDTH, &mut dice));
    let statuses = by_status(&slide.results());
    assert_eq!((statuses[TILE_DONE as usize], statuses[TILE_REFUSED as usize]), (6, 6));
    assert_eq!(slide.summary().channel_refused, [6, 6, 0, 0]);
}

/// The left `share` columns of each tile were captured.
fn captured(x: usize) -> bool {
    x % 32 < 20
}

#[test]
fn pixels_that_were_never_captured_count_as_not_arrived_however_it_is_said() {
    let runtime = runtime("holes");
    let mut picture = Picture::tissue(WIDTH as u32, HEIGHT as u32, 8);
    let pixels = WIDTH * HEIGHT;
    // Reference: only what was captured is submitted, in narrow frames.
    let slide = begin(&runtime, |_| ());
    for x in (0..WIDTH).step_by(32) {
        slide.submit(&picture.frame(x as u32, 0, 20, HEIGHT as u32)).expect("room");
    }
    let reference = essence(&slide.results());
    // What the camera has where it captured nothing: black would count in exposure, colour in tissue.
    let missing = |at: usize| !captured(at % WIDTH);
    (0..pixels).filter(|at| missing(*at)).for_each(|at| picture.rgb[3 * at..3 * at + 3].copy_from_slice(&[0, 0, 255]));
    let bytes: Vec<u8> = (0..pixels).map(|at| u8::from(!missing(at)) * 7).collect();
    let mut bits = vec![0xa5; 13 * HEIGHT];
    for at in 0..pixels {
        let (byte, bit) = (at / WIDTH * 13 + at % WIDTH / 8, at % WIDTH % 8);
        bits[byte] = bits[byte] & !(1 << bit) | u8::from(!missing(at)) << bit;
    }
    let rgba: Vec<u8> = (0..pixels)
        .flat_map(|at| {
            let pixel = &picture.rgb[3 * at..3 * at + 3];
            [pixel[0], pixel[1], pixel[2], u8::from(!missing(at))]
        })
        .collect();
    let whole = picture.frame(0, 0, WIDTH as u32, HEIGHT as u32);
    let plane =
        |data: &[u8], stride: usize| Plane { data: data.as_ptr(), stride: stride as u64, size: data.len() as u64 };
    for way in ["bytes", "bits", "alpha", "value"] {
        let slide = begin(&runtime, |desc| match way {
            "alpha" => desc.flags |= SLIDE_ALPHA_IS_VALIDITY,
            "value" => (desc.flags, desc.not_scanned) = (desc.flags | SLIDE_NOT_SCANNED_VALUE, [0, 0, 255]),
            _ => (),
        });
        let mut frame = whole;
        match way {
            "bytes" => (frame.mask, frame.mask_format) = (plane(&bytes, WIDTH), MASK_BYTES),
            "bits" => (frame.mask, frame.mask_format) = (plane(&bits, 13), MASK_BITS),
            "alpha" => (frame.pixel_format, frame.planes[0]) = (PFNC_RGBA8, plane(&rgba, 4 * WIDTH)),
            _ => (),
        }
        slide.submit(&frame).expect("room");
        let tiles = slide.results();
        assert!(essence(&tiles) == reference, "{way}");
        assert!(tiles.iter().all(|tile| (tile.record.coverage, tile.record.not_scanned) == (0.625, 0.375)));
        let summary = slide.summary();
        let holes = (0..pixels).filter(|at| missing(*at)).count() as u64;
        assert_eq!((summary.pixels_not_scanned, summary.pixels_used), (holes, pixels as u64 - holes), "{way}");
    }
}

#[test]
fn a_hole_is_filled_by_a_frame_that_has_it_and_stays_where_none_has() {
    let runtime = runtime("filled");
    let picture = Picture::tissue(WIDTH as u32, HEIGHT as u32, 8);
    let whole = picture.frame(0, 0, WIDTH as u32, HEIGHT as u32);
    let reference = begin(&runtime, |_| ());
    reference.submit(&whole).expect("room");
    let reference = essence(&reference.results());
    // A round field of view, twice, as two cameras would have it; together they have every pixel.
    let mask = |even: usize| (0..WIDTH * HEIGHT).map(|at| u8::from((at / 3) % 2 == even)).collect::<Vec<u8>>();
    let (first, second) = (mask(0), mask(1));
    let submit = |slide: &TestSlide, mask: &[u8]| {
        let mut frame = whole;
        frame.mask = Plane { data: mask.as_ptr(), stride: WIDTH as u64, size: mask.len() as u64 };
        frame.mask_format = MASK_BYTES;
        slide.submit(&frame).expect("room");
    };
    let slide = begin(&runtime, |_| ());
    submit(&slide, &first);
    submit(&slide, &second);
    let tiles = slide.results();
    assert!(essence(&tiles) == reference);
    assert!(tiles.iter().all(|tile| tile.record.not_scanned == 0.0));
    // A frame that brings none of a tile's pixels is not its first.
    let slide = begin(&runtime, |_| ());
    for (id, mask) in [(1, vec![0; WIDTH * HEIGHT]), (2, first.clone()), (3, second.clone())] {
        let mut frame = whole;
        (frame.frame_id, frame.group_id) = (id, 10 * id);
        frame.mask = Plane { data: mask.as_ptr(), stride: WIDTH as u64, size: mask.len() as u64 };
        frame.mask_format = MASK_BYTES;
        slide.submit(&frame).expect("room");
    }
    let frames = |tile: &Tile| (tile.record.first_frame_id, tile.record.last_frame_id, tile.record.group_id);
    assert!(slide.results().iter().all(|tile| frames(tile) == (2, 3, 20)));
    // Nothing at all was captured: one outcome per tile all the same.
    let slide = begin(&runtime, |_| ());
    submit(&slide, &vec![0; WIDTH * HEIGHT]);
    let tiles = slide.results();
    assert_eq!(by_status(&tiles)[TILE_INCOMPLETE as usize], 6);
    assert!(tiles.iter().all(|tile| (tile.record.coverage, tile.record.not_scanned) == (0.0, 1.0)));
}
