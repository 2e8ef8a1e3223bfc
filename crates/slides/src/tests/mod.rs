//! The readers: known pixels come back, and unsupported or damaged files are refused.

mod containers;
mod drawn;
mod strict;
mod which;

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use ::tiff::encoder::colortype::{Gray8, RGB8, RGB16, RGBA8};
use ::tiff::encoder::{
    Compression, DeflateLevel, DirectoryEncoder, ImageEncoder, Rational, TiffEncoder, TiffKind, TiffKindStandard,
};
use ::tiff::tags::{Predictor, ResolutionUnit, Tag};

use super::*;

const WIDTH: u32 = 130;
const HEIGHT: u32 = 90;

/// The pixels of every test picture, including the committed JPEG files.
fn pixel(x: u32, y: u32) -> [u8; 3] {
    [(60 + x) as u8, (220 - y) as u8, (90 + (x + y) / 2) as u8]
}

fn pixels(rect: Rect) -> Vec<u8> {
    let lines = rect.y..rect.y + rect.height;
    lines.flat_map(|y| (rect.x..rect.x + rect.width).flat_map(move |x| pixel(x, y))).collect()
}

const ALL: Rect = Rect { x: 0, y: 0, width: WIDTH, height: HEIGHT };
const PART: Rect = Rect { x: 37, y: 29, width: 61, height: 50 };

/// A file that is removed at the end of the test.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Temporary {
        Temporary(std::env::temp_dir().join(format!("coverslip-slide-{}-{name}", std::process::id())))
    }

    fn create(&self) -> BufWriter<File> {
        BufWriter::new(File::create(&self.0).unwrap())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn committed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn read(path: &Path, rect: Rect) -> Result<Vec<u8>, String> {
    let mut out = vec![9; 5];
    open(path, &Selection::default())
        .and_then(|mut slide| slide.read(rect, &mut out))
        .map_err(|error| error.to_string())?;
    Ok(out)
}

fn refusal(path: &Path) -> String {
    read(path, ALL).expect_err("the file is refused")
}

/// Writes a file of strips; `edit` adds to its directory.
fn stripped(
    name: &str,
    edit: impl FnOnce(&mut ImageEncoder<'_, BufWriter<File>, RGB8, TiffKindStandard>),
) -> Temporary {
    let file = Temporary::new(name);
    let mut encoder = TiffEncoder::new(file.create()).unwrap();
    let mut image = encoder.new_image::<RGB8>(WIDTH, HEIGHT).unwrap();
    edit(&mut image);
    image.write_data(&pixels(ALL)).unwrap();
    file
}

/// Writes a file of tiles, which the encoder does not support by itself: `planes` is 1 for interleaved RGB, 3 for
/// planes.
fn tiled(directory: &mut DirectoryEncoder<'_, BufWriter<File>, impl TiffKind>, planes: u32) {
    const SIDE: u32 = 48;
    let (mut offsets, mut lengths) = (Vec::new(), Vec::new());
    for plane in 0..planes {
        for y in (0..HEIGHT).step_by(SIDE as usize) {
            for x in (0..WIDTH).step_by(SIDE as usize) {
                let tile = pixels(Rect { x, y, width: SIDE, height: SIDE });
                let tile = if planes == 1 { tile } else { tile.chunks(3).map(|p| p[plane as usize]).collect() };
                lengths.push(tile.len() as u32);
                offsets.push(directory.write_data(tile.as_slice()).unwrap() as u32);
            }
        }
    }
    directory.write_tag(Tag::ImageWidth, WIDTH).unwrap();
    directory.write_tag(Tag::ImageLength, HEIGHT).unwrap();
    directory.write_tag(Tag::BitsPerSample, &[8_u16, 8, 8][..]).unwrap();
    directory.write_tag(Tag::Compression, 1_u16).unwrap();
    directory.write_tag(Tag::PhotometricInterpretation, 2_u16).unwrap();
    directory.write_tag(Tag::SamplesPerPixel, 3_u16).unwrap();
    directory.write_tag(Tag::PlanarConfiguration, if planes == 1 { 1_u16 } else { 2 }).unwrap();
    directory.write_tag(Tag::TileWidth, SIDE).unwrap();
    directory.write_tag(Tag::TileLength, SIDE).unwrap();
    directory.write_tag(Tag::TileOffsets, offsets.as_slice()).unwrap();
    directory.write_tag(Tag::TileByteCounts, lengths.as_slice()).unwrap();
}

#[test]
fn strips_of_every_lossless_compression() {
    let deflate = Compression::Deflate(DeflateLevel::Balanced);
    let kinds = [Compression::Uncompressed, Compression::Lzw, deflate, Compression::Packbits];
    for (index, compression) in kinds.into_iter().enumerate() {
        for predictor in [Predictor::None, Predictor::Horizontal] {
            let file = Temporary::new(&format!("strips-{index}-{}.tif", predictor.to_u16()));
            let encoder = TiffEncoder::new(file.create()).unwrap();
            let mut encoder = encoder.with_compression(compression).with_predictor(predictor);
            let mut image = encoder.new_image::<RGB8>(WIDTH, HEIGHT).unwrap();
            image.rows_per_strip(17).unwrap();
            image.write_data(&pixels(ALL)).unwrap();
            drop(encoder);
            assert_eq!(read(&file.0, ALL).unwrap(), pixels(ALL), "compression {index}, {predictor:?}");
            assert_eq!(read(&file.0, PART).unwrap(), pixels(PART), "compression {index}, {predictor:?}");
        }
    }
}

#[test]
fn big_tiff() {
    let file = Temporary::new("big.tif");
    let mut encoder = TiffEncoder::new_big(file.create()).unwrap();
    encoder.write_image::<RGB8>(WIDTH, HEIGHT, &pixels(ALL)).unwrap();
    drop(encoder);
    assert_eq!(fs::read(&file.0).unwrap()[2], 43);
    assert_eq!(read(&file.0, PART).unwrap(), pixels(PART));
}

#[test]
fn tiles_and_planes() {
    for planes in [1, 3] {
        let file = Temporary::new(&format!("tiles-{planes}.tif"));
        let mut encoder = TiffEncoder::new(file.create()).unwrap();
        let mut directory = encoder.image_directory().unwrap();
        tiled(&mut directory, planes);
        directory.finish().unwrap();
        drop(encoder);
        assert_eq!(read(&file.0, ALL).unwrap(), pixels(ALL), "{planes} planes");
        assert_eq!(read(&file.0, PART).unwrap(), pixels(PART), "{planes} planes");
    }
}

#[test]
fn jpeg_in_tiff_in_every_colour() {
    for name in [
        "jpeg_tables_rgb_strips.tif",
        "jpeg_tables_ycbcr_strips.tif",
        "jpeg_rgb_tiles.tif",
        "jpeg_ycbcr_tiles.tif",
        "jpeg_jfif_under_rgb_tag.tif",
    ] {
        for rect in [ALL, PART] {
            let found = read(&committed(name), rect).unwrap();
            let worst = found.iter().zip(pixels(rect)).map(|(a, b)| a.abs_diff(b)).max().unwrap();
            assert!(worst <= 6, "{name}: {worst} levels off");
        }
    }
}

#[test]
fn rgba_loses_its_alpha_and_the_largest_image_is_the_slide() {
    let file = Temporary::new("rgba.tif");
    let mut encoder = TiffEncoder::new(file.create()).unwrap();
    encoder.write_image::<RGB8>(4, 4, &[7; 48]).unwrap();
    let rgba: Vec<u8> = pixels(ALL).chunks(3).flat_map(|p| [p[0], p[1], p[2], 128]).collect();
    encoder.write_image::<RGBA8>(WIDTH, HEIGHT, &rgba).unwrap();
    drop(encoder);
    assert_eq!(read(&file.0, PART).unwrap(), pixels(PART));
}

#[test]
fn resolution_of_tags_svs_and_ome() {
    let tags = stripped("resolution.tif", |image| {
        image.resolution(ResolutionUnit::Centimeter, Rational { n: 40_000, d: 1 });
    });
    let mpp = open(&tags.0, &Selection::default()).unwrap().info().mpp.clone().unwrap();
    assert_eq!((mpp.x, mpp.y, mpp.source.as_str()), (0.25, 0.25, "XResolution and YResolution"));
    let describe = |name: &str, text: &str| {
        stripped(name, |image| image.encoder().write_tag(Tag::ImageDescription, text).unwrap())
    };
    let svs = describe("svs.tif", "Aperio Image Library v11\r\n130x90 |AppMag = 20|MPP = 0.4990|Left = 1");
    let slide = open(&svs.0, &Selection::default()).unwrap();
    assert_eq!(slide.info().mpp.as_ref().unwrap().x, 0.499);
    assert!(slide.info().kind.starts_with("SVS (Aperio), strips"), "{}", slide.info().kind);
    let ome =
        describe("ome.tif", "<OME><Image><Pixels PhysicalSizeX=\"345.7\" PhysicalSizeXUnit=\"nm\"/></Image></OME>");
    assert!((open(&ome.0, &Selection::default()).unwrap().info().mpp.as_ref().unwrap().x - 0.3457).abs() < 1e-9);
    let silent = describe("silent.tif", "a picture");
    let slide = open(&silent.0, &Selection::default()).unwrap();
    assert_eq!(slide.info().mpp, None);
    assert!(slide.info().mpp_missing.is_some());
}

#[test]
fn a_truncated_file_names_the_tile() {
    let file = Temporary::new("cut.tif");
    let mut encoder = TiffEncoder::new(file.create()).unwrap();
    let mut directory = encoder.image_directory().unwrap();
    tiled(&mut directory, 1);
    directory.finish().unwrap();
    drop(encoder);
    // Move the directory before the cut, as in files for the web, which have it first.
    let whole = fs::read(&file.0).unwrap();
    let directory = u32::from_le_bytes(whole[4..8].try_into().unwrap());
    fs::write(&file.0, &whole[..directory as usize - 20]).unwrap();
    let error = refusal(&file.0);
    assert!(error.contains("the end of the file inside its directory: the file is truncated"), "{error}");

    // A byte count beyond the end looks like a cut inside the pixels.
    let mut longer = whole.clone();
    let last = longer.windows(4).rposition(|bytes| bytes == (48_u32 * 48 * 3).to_le_bytes()).unwrap();
    longer[last..last + 4].copy_from_slice(&9_000_000_u32.to_le_bytes());
    fs::write(&file.0, &longer).unwrap();
    let error = refusal(&file.0);
    assert!(error.contains("tile (column 2, row 1): expected 9000000 bytes"), "{error}");
    assert!(error.contains("the file is truncated. Copy the slide again"), "{error}");
    let first = Rect { width: 48, height: 48, ..ALL };
    assert_eq!(read(&file.0, first).unwrap(), pixels(first), "whole tiles can still be read");
}

#[test]
fn a_damaged_jpeg_names_the_tile() {
    let whole = fs::read(committed("jpeg_rgb_tiles.tif")).unwrap();
    let starts: Vec<usize> =
        (0..whole.len() - 3).filter(|&place| whole[place..place + 3] == [0xff, 0xd8, 0xff]).collect();
    let file = Temporary::new("damaged.tif");
    let mut damaged = whole.clone();
    // The second half of the second tile is missing.
    damaged[(starts[1] + starts[2]) / 2..starts[2]].fill(0);
    fs::write(&file.0, damaged).unwrap();
    let error = refusal(&file.0);
    assert!(error.contains("tile (column 1, row 0)") && error.contains("damaged or truncated"), "{error}");
}

#[test]
fn unsupported_files_are_refused_by_name() {
    let grey = Temporary::new("grey.tif");
    let mut encoder = TiffEncoder::new(grey.create()).unwrap();
    encoder.write_image::<Gray8>(2, 2, &[0; 4]).unwrap();
    drop(encoder);
    let error = refusal(&grey.0);
    assert!(error.contains("expected RGB with 8 bits per channel, found one grey channel of 8 bits"), "{error}");
    let deep = Temporary::new("deep.tif");
    let mut encoder = TiffEncoder::new(deep.create()).unwrap();
    encoder.write_image::<RGB16>(2, 2, &[0; 12]).unwrap();
    drop(encoder);
    let error = refusal(&deep.0);
    assert!(error.contains("found RGB with 16 bits per channel") && error.contains("vips tiffsave"), "{error}");

    let file = Temporary::new("jp2k.tif");
    let mut encoder = TiffEncoder::new(file.create()).unwrap();
    let mut directory = encoder.image_directory().unwrap();
    tiled(&mut directory, 1);
    directory.write_tag(Tag::Compression, 33_005_u16).unwrap();
    directory.finish().unwrap();
    drop(encoder);
    let error = refusal(&file.0);
    assert!(error.contains("found Aperio's JPEG 2000 (compression 33005), which is not read"), "{error}");

    // Whichever reader is here, the one command leads to a file that opens: tried with libvips 8.14, and with tifffile
    // where libtiff knows no decoder.
    for (code, aperio, name, command) in [
        (50_000_u16, false, "Zstandard (compression 50000)", "`vips tiffsave in.tif out.tif"),
        (50_001, false, "WebP (compression 50001)", "`vips tiffsave in.tif out.tif"),
        (33_004, false, "JPEG 2000 (compression 33004)", "`vips tiffsave in.tif out.tif"),
        (33_005, false, "Aperio's JPEG 2000 (compression 33005)", "`vips tiffsave in.tif out.tif"),
        (34_712, false, "JPEG 2000 (compression 34712)", "`pip install tifffile imagecodecs`"),
        (50_002, false, "JPEG XL (compression 50002)", "`pip install tifffile imagecodecs`"),
        (33_005, true, "Aperio's JPEG 2000 (compression 33005)", "openslide"),
    ] {
        let file = Temporary::new(&format!("compression_{code}_{aperio}.tif"));
        let mut encoder = TiffEncoder::new(file.create()).unwrap();
        let mut directory = encoder.image_directory().unwrap();
        tiled(&mut directory, 1);
        directory.write_tag(Tag::Compression, code).unwrap();
        if aperio {
            directory.write_tag(Tag::ImageDescription, "Aperio Image Library v1").unwrap();
        }
        directory.finish().unwrap();
        drop(encoder);
        let error = refusal(&file.0);
        // OpenSlide, where it is here, opens some of these files and decodes none.
        assert!(error.contains(&format!("found {name}, which is not read")), "{error}");
        assert!(error.to_lowercase().contains(command), "{error}");
    }

    for (name, bytes, words) in [
        ("jp2", &b"\0\0\0\x0cjP  \r\n\x87\n"[..], "JPEG 2000"),
        ("zip", b"PK\x03\x04", "a zip archive"),
        ("empty", b"", "an empty file"),
        ("text", b"hello", "a file that begins with [68, 65, 6c, 6c]"),
        ("tiff-head", b"II*\0", "truncated"),
        ("png-head", b"\x89PNG\r\n\x1a\n", "damaged, truncated or unsupported"),
    ] {
        let file = Temporary::new(name);
        fs::write(&file.0, bytes).unwrap();
        let error = refusal(&file.0);
        assert!(error.contains(words), "{name}: {error}");
    }
    let error = refusal(Path::new("/nowhere/slide.svs"));
    assert!(error.contains("expected a slide (a file or a directory of tiles), found"), "{error}");
}

#[test]
fn pictures_and_directories_of_tiles() {
    let png = Temporary::new("picture.png");
    image::save_buffer(&png.0, &pixels(ALL), WIDTH, HEIGHT, image::ColorType::Rgb8).unwrap();
    assert_eq!(read(&png.0, PART).unwrap(), pixels(PART));
    assert_eq!(open(&png.0, &Selection::default()).unwrap().info().mpp, None);

    let folder = Temporary::new("folder");
    fs::create_dir_all(&folder.0).unwrap();
    assert!(refusal(&folder.0).contains("expected a directory of PNG or JPEG tiles, found none"));
    for index in 0..5_u8 {
        let side = if index == 4 { 20 } else { 32 };
        let tile = vec![index * 10; side as usize * side as usize * 3];
        let path = folder.0.join(format!("tile_{index}.png"));
        image::save_buffer(path, &tile, side, side, image::ColorType::Rgb8).unwrap();
    }
    fs::write(folder.0.join("notes.txt"), "not a tile").unwrap();
    let mut slide = open(&folder.0, &Selection::default()).unwrap();
    assert_eq!((slide.info().width, slide.info().height), (96, 64));
    assert_eq!(slide.info().natural_tile, Some((32, 32)));
    let mut out = Vec::new();
    slide.read(Rect { x: 0, y: 0, width: 96, height: 64 }, &mut out).unwrap();
    let at = |x: usize, y: usize| out[(y * 96 + x) * 3];
    assert_eq!([at(0, 0), at(40, 5), at(95, 31), at(3, 40)], [0, 10, 20, 30]);
    assert_eq!([at(33, 33), at(60, 33), at(80, 50)], [40, 255, 255], "uncovered pixels are white");
}

/// A tile that was left out without a word would count as never scanned.
#[cfg(unix)]
#[test]
fn the_name_of_an_image_where_there_is_none_is_an_error_but_a_folder_is_not() {
    let folder = Temporary::new("dangling");
    fs::create_dir_all(folder.0.join("thumbnails.png")).unwrap();
    image::save_buffer(folder.0.join("a.png"), &[9; 16 * 16 * 3], 16, 16, image::ColorType::Rgb8).unwrap();
    assert!(open(&folder.0, &Selection::default()).is_ok());
    let tile = folder.0.join("b.JPEG");
    for (target, found) in [
        ("nowhere.jpeg", "found: a link to a file that is not there"),
        ("b.JPEG", "found: Too many levels of symbolic links"),
        ("/dev/null", "found: it is not a file but a device"),
    ] {
        std::os::unix::fs::symlink(target, &tile).unwrap();
        let said = refusal(&folder.0);
        let name = tile.display().to_string();
        assert!(said.contains(&name) && said.contains(found) && said.contains("Bring the image back"), "{said}");
        fs::remove_file(&tile).unwrap();
    }
}

/// Sorted as text, x10 comes before x2: neighbours would be strangers.
#[test]
fn tiles_lie_where_their_names_say() {
    let folder = Temporary::new("places");
    fs::create_dir_all(&folder.0).unwrap();
    let save = |name: &str, level: u8| {
        image::save_buffer(folder.0.join(name), &[level; 16 * 16 * 3], 16, 16, image::ColorType::Rgb8).unwrap();
    };
    (1..=12).filter(|x| *x != 5).for_each(|x| save(&format!("tile_x{x}_y7.png"), x * 10));
    let mut slide = open(&folder.0, &Selection::default()).unwrap();
    assert_eq!((slide.info().width, slide.info().height), (192, 16));
    let said = slide.info().image.clone();
    assert_eq!(said.as_deref(), Some("11 images placed by x and y in their names, 12 in a row"));
    let mut out = Vec::new();
    let scanned = slide.read(Rect { x: 0, y: 0, width: 192, height: 16 }, &mut out).unwrap();
    let levels: Vec<u8> = (0..12).map(|x| out[x * 16 * 3]).collect();
    assert_eq!(levels, [10, 20, 30, 40, 255, 60, 70, 80, 90, 100, 110, 120]);
    let part = |x, width| Rect { x, y: 0, width, height: 16 };
    assert_eq!(scanned, Scanned::Parts(vec![part(0, 64), part(80, 112)]));

    // A name without a place: then all lie in the order of their names, and it is said.
    save("overview.png", 200);
    let slide = open(&folder.0, &Selection::default()).unwrap();
    assert_eq!(slide.info().image.as_deref(), Some("12 images in the order of their names, 4 in a row"));
    assert_eq!((slide.info().width, slide.info().height), (64, 48));
}

#[test]
fn real_slides_decode_if_they_are_there() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    for (name, width, height, mpp) in [
        ("wsi/CMU-1-Small-Region.svs", 2220, 2967, 0.499),
        ("scanner_pair/OS-2-ndpi.ome.tif", 2202, 2202, 0.2271),
        ("scanner_pair/OS-2-vsi.ome.tif", 1445, 1445, 0.346),
    ] {
        let path = folder.join(name);
        if !path.is_file() {
            let _ = std::io::Write::write_fmt(
                &mut std::io::stderr(),
                format_args!("skipped: {} does not exist\n", path.display()),
            );
            continue;
        }
        let mut slide = open(&path, &Selection::default()).unwrap();
        let info = slide.info().clone();
        assert_eq!((info.width, info.height), (width, height), "{name}");
        assert!((info.mpp.unwrap().x - mpp).abs() < 1e-4, "{name}");
        let mut out = Vec::new();
        slide.read(Rect { x: 0, y: 0, width, height }, &mut out).unwrap();
        // Glass and pale tissue are bright with about as much red as blue; confused channels would not be.
        let mean = |channel| {
            let values = out.iter().skip(channel).step_by(3);
            values.map(|&value| f64::from(value)).sum::<f64>() / (out.len() / 3) as f64
        };
        let (red, blue) = (mean(0), mean(2));
        assert!(red > 150.0 && (red - blue).abs() < 25.0, "{name}: {red} {blue}");
        // The pixels can be written out for a comparison with other readers.
        if let Some(folder) = std::env::var_os("COVERSLIP_DECODED") {
            fs::write(Path::new(&folder).join(path.with_extension("rgb").file_name().unwrap()), &out).unwrap();
        }
    }
}
