//! Whole data are read, whatever is odd around them; half data and bombs are refused by name.

use super::drawn::{Drawn, FLAT, FlatJpeg, SIDE, Value, deflate, jpeg, write};
use super::*;

fn file(name: &str, image: &Drawn) -> Temporary {
    let file = Temporary::new(name);
    write(&file.0, std::slice::from_ref(image));
    file
}

fn lzw(rgb: Vec<u8>) -> Vec<u8> {
    weezl::encode::Encoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8).encode(&rgb).unwrap()
}

#[test]
fn padded_edge_tiles_of_every_lossless_compression() {
    let without_end = |rgb| {
        let mut stream = lzw(rgb);
        stream.pop();
        stream
    };
    for (name, drawn) in [
        ("lzw", Drawn::tiles(WIDTH, HEIGHT, 5, lzw)),
        ("endless", Drawn::tiles(WIDTH, HEIGHT, 5, without_end)),
        ("deflate", Drawn::tiles(WIDTH, HEIGHT, 8, deflate)),
        ("none", Drawn::tiles(WIDTH, HEIGHT, 1, |rgb| rgb)),
    ] {
        let file = file(&format!("edge-{name}.tif"), &drawn);
        assert_eq!(read(&file.0, ALL).unwrap(), pixels(ALL), "{name}");
    }
}

#[test]
fn lengths_that_are_0_or_too_long_do_not_hide_pixels() {
    // One strip of unknown length goes to the end of the file.
    let one = Drawn { lengths: Some(vec![0]), ..Drawn::strips(WIDTH, HEIGHT, HEIGHT) };
    assert_eq!(read(&file("zero.tif", &one).0, ALL).unwrap(), pixels(ALL));
    let several = Drawn { lengths: Some(vec![0; 3]), ..Drawn::strips(WIDTH, HEIGHT, 32) };
    assert_eq!(read(&file("zeroes.tif", &several).0, ALL).unwrap(), pixels(ALL));
    let silent = Drawn { lengths: Some(Vec::new()), ..Drawn::strips(WIDTH, HEIGHT, 32) };
    assert_eq!(read(&file("silent.tif", &silent).0, ALL).unwrap(), pixels(ALL));
    let packed = Drawn { lengths: Some(vec![0; 6]), ..Drawn::tiles(WIDTH, HEIGHT, 5, lzw) };
    assert_eq!(read(&file("packed.tif", &packed).0, ALL).unwrap(), pixels(ALL));
    // A last strip of the length of a whole one, as one writer has it, ends behind the file.
    let whole = WIDTH * 32 * 3;
    let mut last = Drawn { lengths: Some(vec![whole; 3]), ..Drawn::strips(WIDTH, HEIGHT, 32) };
    last.tags.remove(&270);
    let last = file("last.tif", &last);
    // The drawn file has its directory behind the pixels; one for the web has it before them.
    let end = fs::read(&last.0).unwrap();
    assert_eq!(read(&last.0, ALL).unwrap(), pixels(ALL));
    assert!(end.len() < (whole * 3) as usize + 8, "the length ends behind the file");
}

/// A tile that a scanner left out is no white glass.
#[test]
fn tiles_that_are_not_there_were_not_scanned() {
    let mut sparse = Drawn::jpeg(WIDTH, HEIGHT);
    sparse.chunks[0].clear();
    sparse.chunks[4].clear();
    let file = file("sparse.tif", &sparse);
    let mut slide = open(&file.0, &Selection::default()).unwrap();
    assert_eq!(slide.info().missing_tiles, Some((2, 6)));
    let mut out = Vec::new();
    let Scanned::Parts(parts) = slide.read(ALL, &mut out).unwrap() else { panic!("tiles are missing") };
    let scanned: usize = parts.iter().map(Rect::pixels).sum();
    assert_eq!(scanned, ALL.pixels() - (SIDE * SIDE + SIDE * (HEIGHT - SIDE)) as usize);
    assert!(parts.iter().all(|part| part.common(&Rect { x: 0, y: 0, width: SIDE, height: SIDE }).is_none()));
    assert_eq!(out[..3], [255; 3], "white where nothing was scanned");
    let there = Rect { x: SIDE, y: 0, width: 10, height: 10 };
    assert_eq!(slide.read(there, &mut out).unwrap(), Scanned::All);
    let gone = Rect { x: 3, y: 3, width: 10, height: 10 };
    assert_eq!(slide.read(gone, &mut out).unwrap(), Scanned::Parts(Vec::new()));
}

#[test]
fn what_is_transparent_was_not_scanned_in_every_format() {
    let hole = Rect { x: 10, y: 20, width: 30, height: 25 };
    let opacity = |x: u32, y: u32| {
        let inside = hole.common(&Rect { x, y, width: 1, height: 1 }).is_some();
        if inside { 0 } else { 255 }
    };
    let rgba: Vec<u8> = (0..HEIGHT)
        .flat_map(|y| (0..WIDTH).map(move |x| (x, y)))
        .flat_map(|(x, y)| {
            let [r, g, b] = if opacity(x, y) == 0 { [0; 3] } else { pixel(x, y) };
            [r, g, b, opacity(x, y)]
        })
        .collect();
    let png = Temporary::new("hole.png");
    image::save_buffer(&png.0, &rgba, WIDTH, HEIGHT, image::ColorType::Rgba8).unwrap();
    let with_alpha = |kind| {
        let mut drawn = Drawn::strips(WIDTH, HEIGHT, HEIGHT);
        drawn.chunks = vec![rgba.clone()];
        let shorts = |values: &[u16]| Value::Short(values.to_vec());
        drawn.with(277, shorts(&[4])).with(258, shorts(&[8; 4])).with(338, shorts(&[kind]))
    };
    let (straight, multiplied) = (file("straight.tif", &with_alpha(2)), file("multiplied.tif", &with_alpha(1)));
    let mut answers = Vec::new();
    for path in [&png.0, &straight.0, &multiplied.0] {
        let mut out = Vec::new();
        let scanned = open(path, &Selection::default()).unwrap().read(ALL, &mut out).unwrap();
        let Scanned::Parts(parts) = &scanned else { panic!("{}: a hole", path.display()) };
        assert_eq!(parts.iter().map(Rect::pixels).sum::<usize>(), ALL.pixels() - hole.pixels());
        answers.push((out, scanned));
    }
    assert!(answers.iter().all(|answer| answer == &answers[0]));
    // A fourth sample that is not opacity hides nothing.
    let other = file("other.tif", &with_alpha(0));
    let mut out = Vec::new();
    let scanned = open(&other.0, &Selection::default()).unwrap().read(ALL, &mut out).unwrap();
    assert_eq!(scanned, Scanned::All);
}

/// The scan's data of a stream, from its first byte to its end mark.
fn scan_of(jpeg: &[u8]) -> std::ops::Range<usize> {
    let header = jpeg.windows(2).position(|two| two == [0xff, 0xda]).unwrap();
    header + 2 + usize::from(u16::from_be_bytes([jpeg[header + 2], jpeg[header + 3]]))..jpeg.len() - 2
}

#[test]
fn a_jpeg_that_ends_early_is_named_wherever_it_is_cut() {
    let mut noise = 1_u32;
    let grains: Vec<u8> = (0..SIDE * SIDE * 3)
        .map(|_| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 24) as u8
        })
        .collect();
    let whole = jpeg(&grains, SIDE, SIDE);
    let scan = scan_of(&whole);
    for percent in (5..100).step_by(5) {
        let at = scan.start + scan.len() * percent / 100;
        for end in [&[][..], &[0xff, 0xd9]] {
            let cut = [&whole[..at], end].concat();
            let picture = Temporary::new(&format!("cut-{percent}-{}.jpg", end.len()));
            fs::write(&picture.0, &cut).unwrap();
            let error = read(&picture.0, Rect { x: 0, y: 0, width: 4, height: 4 }).unwrap_err();
            assert!(error.contains("damaged, truncated or unsupported"), "{percent} %: {error}");
            let mut tiles = Drawn::jpeg(WIDTH, HEIGHT);
            tiles.chunks[4] = cut;
            let error = refusal(&file(&format!("cut-{percent}.tif"), &tiles).0);
            assert!(error.contains("tile (column 1, row 1)") && error.contains("damaged or truncated"), "{error}");
        }
    }
    // All blocks are there: an end mark is nobody's pixels.
    let picture = Temporary::new("endless.jpg");
    fs::write(&picture.0, &whole[..whole.len() - 2]).unwrap();
    let tile = Rect { x: 0, y: 0, width: SIDE, height: SIDE };
    let plain = Temporary::new("whole.jpg");
    fs::write(&plain.0, &whole).unwrap();
    assert_eq!(read(&picture.0, tile).unwrap(), read(&plain.0, tile).unwrap());
}

/// A gradient of 40 × 24 px that Pillow wrote: several scans, no restart markers.
#[test]
fn a_progressive_jpeg_is_read_whole_and_refused_where_it_is_cut() {
    let whole = include_bytes!("../../tests/data/progressive.jpg");
    let all = Rect { x: 0, y: 0, width: 40, height: 24 };
    let picture = Temporary::new("progressive.jpg");
    fs::write(&picture.0, whole).unwrap();
    let found = read(&picture.0, all).unwrap();
    let corner = |x: usize, y: usize| &found[3 * (40 * y + x)..][..3];
    // As Pillow decodes it, within two levels.
    for (pixel, expected) in [(corner(5, 5), [34, 51, 41]), (corner(39, 23), [237, 229, 244])] {
        assert!(pixel.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 2), "{pixel:?}");
    }
    let scan = scan_of(whole);
    for at in (scan.start..scan.end - 8).step_by(17) {
        for end in [&[][..], &[0xff, 0xd9]] {
            fs::write(&picture.0, [&whole[..at], end].concat()).unwrap();
            let error = read(&picture.0, all).expect_err(&format!("cut at {at} of {}", whole.len()));
            assert!(error.contains("damaged, truncated or unsupported"), "{at}: {error}");
        }
    }
}

/// Whether all pixels are those of a [`FlatJpeg`], within a step of two decoders.
fn is_flat(rgb: &[u8]) -> bool {
    rgb.chunks(3).all(|pixel| pixel.iter().zip(FLAT).all(|(a, b)| a.abs_diff(b) <= 1))
}

/// The decoder goes on where a marker is missing, and what is filled with zeroes holds bits enough for every block.
#[test]
fn restart_markers_are_counted() {
    let picture = Temporary::new("restarts-counted.jpg");
    let all = Rect { x: 0, y: 0, width: SIDE, height: SIDE };
    // 36 units, or 9 of four blocks: an interval that divides them, and one that does not.
    for (sampling, interval) in [([(1, 1); 3], 6), ([(1, 1); 3], 5), ([(2, 2), (1, 1), (1, 1)], 2)] {
        let whole = FlatJpeg { sampling, interval, ..FlatJpeg::PLAIN }.write();
        fs::write(&picture.0, &whole).unwrap();
        assert!(is_flat(&read(&picture.0, all).unwrap()));
        let marker = |number: u8| whole.windows(2).position(|two| two == [0xff, 0xd0 | number]).unwrap();
        let last = whole.windows(2).rposition(|two| two[0] == 0xff && two[1] & 0xf8 == 0xd0).unwrap();
        let without = [&whole[..marker(1)], &whole[marker(1) + 2..]].concat();
        let zeroes = [&whole[..last], &vec![0; whole.len() - last], &[0xff, 0xd9]].concat();
        let mut exchanged = whole.clone();
        exchanged[marker(2) + 1] = 0xd5;
        for (what, jpeg) in [("one is missing", without), ("zeroes", zeroes), ("another number", exchanged)] {
            fs::write(&picture.0, jpeg).unwrap();
            let error = refusal(&picture.0);
            assert!(error.contains("its JPEG data are damaged") && error.contains("restart marker"), "{what}: {error}");
        }
    }
    // What stands behind the last unit is nobody's.
    let whole = FlatJpeg { interval: 5, ..FlatJpeg::PLAIN }.write();
    fs::write(&picture.0, [&whole[..whole.len() - 2], &[0xff, 0xd7, 0xff, 0xd0, 0xff, 0xd9]].concat()).unwrap();
    assert!(is_flat(&read(&picture.0, all).unwrap()));
    fs::write(&picture.0, [&whole[..whole.len() - 2], &[0xff, 0xd7, 0, 0, 0xff, 0xd9]].concat()).unwrap();
    assert!(refusal(&picture.0).contains("a restart marker where none is due"), "{}", refusal(&picture.0));
    let mut unasked = FlatJpeg { interval: 6, ..FlatJpeg::PLAIN }.write();
    let interval = unasked.windows(2).position(|two| two == [0xff, 0xdd]).unwrap();
    unasked[interval + 4..interval + 6].fill(0);
    fs::write(&picture.0, unasked).unwrap();
    assert!(refusal(&picture.0).contains("a restart marker where none is due"), "{}", refusal(&picture.0));
}

#[test]
fn a_scan_with_its_components_in_another_order_is_damage() {
    let picture = Temporary::new("order.jpg");
    fs::write(&picture.0, FlatJpeg { scans: &[&[2, 0, 1]], ..FlatJpeg::PLAIN }.write()).unwrap();
    assert!(refusal(&picture.0).contains("a scan header that does not fit its frame"), "{}", refusal(&picture.0));
}

/// Its last scan refines others: the end mark alone shows that it is whole.
#[test]
fn a_progressive_jpeg_without_an_end_mark_is_cut() {
    let whole = include_bytes!("../../tests/data/progressive.jpg");
    let picture = Temporary::new("endless-progressive.jpg");
    fs::write(&picture.0, &whole[..whole.len() - 2]).unwrap();
    assert!(refusal(&picture.0).contains("ends before the image does"), "{}", refusal(&picture.0));
}

/// The decoder makes another picture of some of these, so none may be taken.
#[test]
fn a_jpeg_with_a_scan_for_each_component_is_refused_by_name() {
    let picture = Temporary::new("scans.jpg");
    let all = Rect { x: 0, y: 0, width: SIDE, height: SIDE };
    let tiled = |tile: &[u8]| {
        let mut tiles = Drawn::jpeg(SIDE, SIDE);
        tiles.chunks = vec![tile.to_vec()];
        file("scans.tif", &tiles)
    };
    for sampling in [[(1, 1); 3], [(2, 1), (1, 1), (1, 1)], [(1, 2), (1, 1), (1, 1)], [(2, 2), (1, 1), (1, 1)]] {
        let together = FlatJpeg { sampling, ..FlatJpeg::PLAIN }.write();
        fs::write(&picture.0, &together).unwrap();
        for path in [&picture.0, &tiled(&together).0] {
            let found = read(path, all).unwrap();
            assert!(is_flat(&found), "{sampling:?}: {:?}", &found[..3]);
        }
        for scans in [&[&[0][..], &[1], &[2]][..], &[&[0], &[1, 2]]] {
            let apart = FlatJpeg { sampling, scans, ..FlatJpeg::PLAIN }.write();
            fs::write(&picture.0, &apart).unwrap();
            for path in [&picture.0, &tiled(&apart).0] {
                let error = read(path, all).expect_err(&format!("{sampling:?} {scans:?}"));
                assert!(error.contains("found a scan for each, which is not read. Convert"), "{error}");
            }
        }
    }
}

#[test]
fn a_second_scan_of_the_same_components_is_damage() {
    let picture = Temporary::new("twice.jpg");
    fs::write(&picture.0, FlatJpeg { scans: &[&[0, 1, 2], &[0, 1, 2]], ..FlatJpeg::PLAIN }.write()).unwrap();
    let error = refusal(&picture.0);
    assert!(error.contains("damaged") && error.contains("a second scan of the same components"), "{error}");
}

/// The end of a scan need not be where a restart marker would stand.
#[test]
fn a_progressive_jpeg_whose_restarts_are_longer_than_a_scan_is_read() {
    let whole = include_bytes!("../../tests/data/progressive.jpg");
    let all = Rect { x: 0, y: 0, width: 40, height: 24 };
    let picture = Temporary::new("restarts.jpg");
    let scan = whole.windows(2).position(|two| two == [0xff, 0xda]).unwrap();
    fs::write(&picture.0, [&whole[..scan], &[0xff, 0xdd, 0, 4, 3, 0xe8], &whole[scan..]].concat()).unwrap();
    let found = read(&picture.0, all).unwrap();
    fs::write(&picture.0, whole).unwrap();
    assert_eq!(found, read(&picture.0, all).unwrap());
}

#[test]
fn a_jpeg_of_a_kind_that_is_not_read_is_not_called_damaged() {
    let picture = Temporary::new("kinds.jpg");
    let whole = FlatJpeg::PLAIN.write();
    let at = |marker| whole.windows(2).position(|two| two == [0xff, marker]).unwrap();
    let with = |place: usize, byte: u8| {
        let mut changed = whole.clone();
        changed[place] = byte;
        changed
    };
    for (name, jpeg) in [
        ("found one without, as in Motion JPEG", FlatJpeg { tables: false, ..FlatJpeg::PLAIN }.write()),
        ("found 12 bits", with(at(0xc0) + 4, 12)),
        ("found a lossless, hierarchical or arithmetic one", with(at(0xc0) + 1, 0xc9)),
    ] {
        fs::write(&picture.0, &jpeg).unwrap();
        let error = refusal(&picture.0);
        assert!(error.contains(name) && error.contains("which is not read. Convert it"), "{error}");
        assert!(!error.contains("damaged"), "{error}");
    }
}

/// Before TIFF 6 the places of tiles stood where those of strips stand.
#[test]
fn tiles_under_the_tags_of_strips_are_read() {
    let old = Drawn { tiled: false, ..Drawn::tiles(WIDTH, HEIGHT, 5, lzw) };
    assert_eq!(read(&file("old-tiles.tif", &old).0, ALL).unwrap(), pixels(ALL));
}

/// The segment says that it has no bytes, not even those of its length.
#[test]
fn tables_that_end_inside_a_segment_are_passed() {
    let plain = Drawn::jpeg(WIDTH, HEIGHT);
    let tables = Value::Short([0xffd8_u16, 0xffdd, 0].map(u16::from_be).to_vec());
    let with_tables = plain.clone().with(347, tables);
    let expected = read(&file("no-tables.tif", &plain).0, ALL).unwrap();
    assert_eq!(read(&file("short-tables.tif", &with_tables).0, ALL).unwrap(), expected);
}

#[test]
fn a_cut_jpeg_of_a_directory_is_named() {
    let folder = Temporary::new("cut-folder");
    fs::create_dir_all(&folder.0).unwrap();
    let whole = jpeg(&pixels(Rect { x: 0, y: 0, width: SIDE, height: SIDE }), SIDE, SIDE);
    fs::write(folder.0.join("a.jpg"), &whole).unwrap();
    let scan = scan_of(&whole);
    fs::write(folder.0.join("b.jpg"), [&whole[..scan.start + scan.len() / 2], &[0xff, 0xd9]].concat()).unwrap();
    let error = read(&folder.0, Rect { x: 0, y: 0, width: 2 * SIDE, height: SIDE }).unwrap_err();
    assert!(error.contains("b.jpg") && error.contains("truncated"), "{error}");
}

/// Writes a size into a JPEG's frame header.
fn sized(jpeg: &[u8], width: u16, height: u16) -> Vec<u8> {
    let mut out = jpeg.to_vec();
    let frame = out.windows(2).position(|two| two == [0xff, 0xc0]).unwrap();
    out[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
    out[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
    out
}

#[test]
fn sizes_of_headers_are_held_against_the_file_before_memory_is_asked_for() {
    let tile = jpeg(&pixels(Rect { x: 0, y: 0, width: SIDE, height: SIDE }), SIDE, SIDE);
    let bomb = sized(&tile, 65500, 65500);
    let picture = Temporary::new("bomb.jpg");
    fs::write(&picture.0, &bomb).unwrap();
    let error = refusal(&picture.0);
    assert!(error.contains("at most 65536 x 65536 pixels in 768 MB") && error.contains("65500 x 65500"), "{error}");
    let mut tiles = Drawn::jpeg(WIDTH, HEIGHT);
    tiles.chunks[0] = bomb;
    assert!(refusal(&file("bomb.tif", &tiles).0).contains("tile (column 0, row 0)"));
    // Data enough, but not for this tile.
    let large = jpeg(&pixels(Rect { x: 0, y: 0, width: 200, height: 200 }), 200, 200);
    tiles.chunks[0] = large;
    let error = refusal(&file("large.tif", &tiles).0);
    assert!(error.contains("expected a JPEG of at most 64 x 64 pixels") && error.contains("200 x 200"), "{error}");

    // A PNG of 74 bytes that states 37 GB.
    let mut png = Vec::new();
    let encoder = image::codecs::png::PngEncoder::new(&mut png);
    image::ImageEncoder::write_image(encoder, &[0; 12], 2, 2, image::ExtendedColorType::Rgb8).unwrap();
    png[16..24].copy_from_slice(&[0, 1, 0x86, 0xa0, 0, 1, 0xe8, 0x48]);
    let crc = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&crc.to_be_bytes());
    let picture = Temporary::new("bomb.png");
    fs::write(&picture.0, &png).unwrap();
    assert!(refusal(&picture.0).contains("damaged, truncated or unsupported"), "{}", refusal(&picture.0));

    // Lists that are longer than the file.
    let mut many = Drawn::tiles(WIDTH, HEIGHT, 1, |rgb| rgb);
    many.tags.insert(256, Value::Long(vec![4_000_000_000]));
    many.tags.insert(257, Value::Long(vec![4_000_000_000]));
    assert!(refusal(&file("many.tif", &many).0).contains("the file's directory is damaged"));
    let huge = Drawn::tiles(WIDTH, HEIGHT, 1, |rgb| rgb).with(322, Value::Long(vec![u32::MAX]));
    assert!(refusal(&file("huge.tif", &huge).0).contains("expected tiles or strips of at most 256 MB"));
    let attributes: String = (0..90_000).map(|index| format!(" a{index}=\"0\"")).collect();
    let xml = format!("<OME><Image><Pixels PhysicalSizeX=\"0.5\"{attributes}/></Image></OME>");
    let quadratic = file("quadratic.ome.tif", &Drawn::jpeg(WIDTH, HEIGHT).described(&xml));
    let slide = open(&quadratic.0, &Selection::default()).unwrap();
    assert!(slide.info().mpp_missing.as_ref().unwrap().contains("larger than any scanner's"));
}

/// 2³¹ × 2³¹ × 4 is 0 in 64 bits.
#[test]
fn tiles_whose_bytes_no_number_holds_are_too_large() {
    for (side, samples) in [(u32::MAX, 3), (1 << 31, 4)] {
        let image = Drawn::tiles(64, 48, 1, |rgb| rgb)
            .with(277, Value::Short(vec![samples]))
            .with(322, Value::Long(vec![side]))
            .with(323, Value::Long(vec![side]));
        let said = refusal(&file("wide-tiles.tif", &image).0);
        assert!(said.contains("expected tiles or strips of at most 256 MB"), "{said}");
    }
}

/// CRC of a PNG chunk, as its specification states it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 })
    })
}

/// A damaged file ends with an answer. Where the test passes by luck, fuzzing looks further.
#[test]
fn damaged_files_end_with_an_answer() {
    let file = Temporary::new("mutant");
    let seeds = [
        {
            write(&file.0, &[Drawn::jpeg(WIDTH, HEIGHT).described("Aperio|MPP = 0.5"), Drawn::strips(20, 20, 7)]);
            fs::read(&file.0).unwrap()
        },
        {
            write(&file.0, &[Drawn::tiles(WIDTH, HEIGHT, 5, lzw).resolution(40_000)]);
            fs::read(&file.0).unwrap()
        },
        jpeg(&pixels(ALL), WIDTH, HEIGHT),
    ];
    let mut state = 3_u64;
    let mut draw = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for round in 0..600 {
        let mut bytes = seeds[round % seeds.len()].clone();
        for _ in 0..1 + draw(6) {
            // Headers and directories are at the ends.
            let at = match draw(3) {
                0 => draw(bytes.len()),
                1 => draw(bytes.len().min(700)),
                _ => bytes.len() - 1 - draw(bytes.len().min(400)),
            };
            bytes[at] = [0, 1, 0x7f, 0xff, draw(256) as u8][draw(5)];
        }
        if draw(4) == 0 {
            bytes.truncate(draw(bytes.len()));
        }
        fs::write(&file.0, bytes).unwrap();
        let Ok(mut slide) = open(&file.0, &Selection::default()) else { continue };
        let (width, height) = (slide.info().width.min(200), slide.info().height.min(200));
        let _ = slide.read(Rect { x: 0, y: 0, width, height }, &mut Vec::new());
    }
}
