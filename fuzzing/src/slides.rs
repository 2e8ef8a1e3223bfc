//! Slides of every format, and the texts in them that state the size of a pixel.

use std::fs;
use std::io::Cursor;

use coverslip_slides::{ReaderKind, Rect, Selection};
use coverslip_testkit::{Scratch, root};
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ExtendedColorType, ImageFormat, RgbImage, RgbaImage};

use crate::input::{Input, Seeds, file};
use crate::tiff::{DESCRIPTION, Form, RESOLUTION_UNIT, Value, X_RESOLUTION, Y_RESOLUTION, image as tiff_image};

/// Width and height of a part that is read, px.
const PART: u32 = 64;
/// Width and height of the seeds, px.
const SIDE: u32 = 24;

/// A TIFF.
pub(crate) fn tiff(data: &[u8]) -> bool {
    read("slide.tif", data)
}

/// A JPEG as a slide and, in a folder, as a tile. The start is that of a JPEG whatever the input says.
pub(crate) fn jpeg(data: &[u8]) -> bool {
    read("slide.jpg", &with_start(b"\xff\xd8\xff", data))
}

/// A PNG as a slide and, in a folder, as a tile. The start is that of a PNG whatever the input says.
pub(crate) fn png(data: &[u8]) -> bool {
    read("slide.png", &with_start(b"\x89PNG\r\n\x1a\n", data))
}

/// An ImageDescription, with resolution tags before it: two numerators, two denominators and the unit.
pub(crate) fn mpp(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let mut number = || u32::from_le_bytes(input.take());
    let [x, y] = [[number(), number()], [number(), number()]];
    let unit = u16::from(input.byte());
    let tags = [
        (DESCRIPTION, Value::Text(input.rest().to_vec())),
        (X_RESOLUTION, Value::Rational(x)),
        (Y_RESOLUTION, Value::Rational(y)),
        (RESOLUTION_UNIT, Value::Short(vec![unit])),
    ];
    read("slide.tif", &strips(&tags))
}

fn with_start(start: &[u8], data: &[u8]) -> Vec<u8> {
    [start, data.get(start.len()..).unwrap_or_default()].concat()
}

/// Opens a slide and a folder of it, and reads the corners.
fn read(name: &str, bytes: &[u8]) -> bool {
    let scratch = Scratch::new("fuzz");
    let path = scratch.join(name);
    fs::write(&path, bytes).expect("a scratch file");
    let taken = corners(&path);
    if !name.ends_with(".tif") {
        assert_eq!(corners(scratch.path()), taken, "a picture and a folder of it are both read or both refused");
    }
    taken
}

fn corners(path: &std::path::Path) -> bool {
    // A library that is found at run time reads with code of its own.
    let selection = Selection { reader: Some(ReaderKind::Own), scene: None };
    let Ok(mut slide) = coverslip_slides::open(path, &selection) else { return false };
    let (width, height) = (slide.info().width, slide.info().height);
    let mut pixels = Vec::new();
    let mut whole = width > 0 && height > 0;
    if whole {
        let (across, down) = (PART.min(width), PART.min(height));
        for (x, y) in [(0, 0), (width - across, height - down)] {
            let part = Rect { x, y, width: across, height: down };
            whole &= slide.read(part, &mut pixels).is_ok();
            assert!(!whole || pixels.len() == part.bytes(), "a part has its own size");
        }
    }
    whole
}

fn picture() -> RgbImage {
    RgbImage::from_fn(SIDE, SIDE, |x, y| image::Rgb([(60 + 5 * x) as u8, (220 - 4 * y) as u8, (90 + x + y) as u8]))
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).expect("a small picture");
    bytes.into_inner()
}

fn jpeg_of(side: u32, x: u32, y: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let part = image::imageops::crop_imm(&picture(), x, y, side, side).to_image();
    JpegEncoder::new_with_quality(&mut bytes, 80)
        .encode(part.as_raw(), side, side, ExtendedColorType::Rgb8)
        .expect("a small picture");
    bytes
}

fn strips(tags: &[(u16, Value)]) -> Vec<u8> {
    let form = Form { compression: 1, photometric: 2, tiled: false, chunk: SIDE };
    tiff_image(SIDE, form, &[picture().into_raw()], tags)
}

pub(crate) fn tiff_seeds() -> Seeds {
    let jpegs = [(0, 0), (16, 0), (0, 16), (16, 16)].map(|(x, y)| {
        let mut whole = RgbImage::new(2 * SIDE, 2 * SIDE);
        image::imageops::replace(&mut whole, &picture(), 0, 0);
        let part = image::imageops::crop_imm(&whole, x, y, 16, 16).to_image();
        let mut bytes = Vec::new();
        let encoder = JpegEncoder::new_with_quality(&mut bytes, 80);
        image::ImageEncoder::write_image(encoder, part.as_raw(), 16, 16, ExtendedColorType::Rgb8).expect("a picture");
        bytes
    });
    let packed: Vec<u8> =
        picture().into_raw().chunks(64).flat_map(|run| [&[run.len() as u8 - 1], run].concat()).collect();
    let form = |compression, photometric, tiled, chunk| Form { compression, photometric, tiled, chunk };
    let aperio = Value::Text(b"Aperio Image Library v1|AppMag = 20|MPP = 0.4990".to_vec());
    let mut seeds: Seeds = vec![
        ("strips".to_owned(), strips(&[])),
        ("packbits".to_owned(), tiff_image(SIDE, form(32773, 2, false, SIDE), &[packed], &[])),
        ("jpeg".to_owned(), tiff_image(SIDE, form(7, 6, true, 16), &jpegs, &[(DESCRIPTION, aperio)])),
        (
            "old".to_owned(),
            tiff_image(
                SIDE,
                form(1, 2, false, 8),
                &picture().into_raw().chunks(8 * 72).map(<[u8]>::to_vec).collect::<Vec<_>>(),
                &[(339, Value::Short(vec![1; 3])), (700, Value::Bytes(vec![1, 2, 3, 4, 5]))],
            ),
        ),
    ];
    let committed = ["jpeg_jfif_under_rgb_tag", "jpeg_rgb_tiles", "jpeg_tables_rgb_strips", "jpeg_tables_ycbcr_strips"];
    let path = |name: &str| root().join("crates/slides/tests/data").join(name).with_extension("tif");
    seeds.extend(committed.map(|name| (name.to_owned(), file(&path(name)))));
    seeds
}

pub(crate) fn jpeg_seeds() -> Seeds {
    let grey = encoded(&DynamicImage::ImageLuma8(DynamicImage::from(picture()).into_luma8()), ImageFormat::Jpeg);
    vec![("rgb".to_owned(), jpeg_of(SIDE, 0, 0)), ("small".to_owned(), jpeg_of(8, 3, 4)), ("grey".to_owned(), grey)]
}

pub(crate) fn png_seeds() -> Seeds {
    let rgb = DynamicImage::from(picture());
    let clear = RgbaImage::from_fn(9, 7, |x, y| image::Rgba([200, (x * 20) as u8, (y * 30) as u8, (x * y * 4) as u8]));
    let kinds = [("rgb", rgb.clone()), ("grey", rgb.into_luma8().into()), ("alpha", clear.into())];
    kinds.map(|(name, picture)| (name.to_owned(), encoded(&picture, ImageFormat::Png))).to_vec()
}

pub(crate) fn mpp_seeds() -> Seeds {
    let ome = "<?xml version=\"1.0\"?><OME><Image><Pixels PhysicalSizeX=\"0.5\" PhysicalSizeXUnit=\"µm\" \
               PhysicalSizeY=\"500\" PhysicalSizeYUnit=\"nm\"/></Image></OME>";
    let texts =
        [("aperio", "Aperio Image Library v11|AppMag = 20|MPP = 0.4990|Left = 25"), ("ome", ome), ("plain", "a slide")];
    let resolution = [20_000u32, 1, 20_000, 1].map(u32::to_le_bytes).concat();
    texts.map(|(name, text)| (name.to_owned(), [&resolution, &[3][..], text.as_bytes()].concat())).to_vec()
}
