//! A slide through the C ABI: every tile once, and the same pixels give the same results however they are cut.

mod support {
    pub(crate) mod host;
}

use std::collections::BTreeMap;
use std::path::PathBuf;

use coverslip_plugin_abi::*;
use support::host::{Picture, TestRuntime, Tile, by_status, open};

fn runtime(name: &str) -> TestRuntime {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("acquisition-{name}"));
    coverslip_testkit::bundle(&folder);
    open(&folder)
}

/// What must not depend on how the pixels came: place → pixel scores, features, embeddings, to the bit.
type Essence = BTreeMap<(i32, i32), (i32, Vec<u32>, Vec<(u32, u32)>, Vec<u32>)>;

fn essence(tiles: &[Tile]) -> Essence {
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<u32>>();
    let one = |tile: &Tile| {
        let features = tile.features.iter().map(|f| (f.index, f.value.to_bits())).collect();
        let key = (tile.record.column, tile.record.row);
        (key, (tile.record.status, bits(&tile.record.scores), features, bits(&tile.embedding)))
    };
    let map: Essence = tiles.iter().map(one).collect();
    assert_eq!(map.len(), tiles.len(), "one result per tile");
    map
}

/// Submits the picture as these boxes, and gives all results.
fn play(runtime: &TestRuntime, picture: &Picture, scale: f64, frames: &[(u32, u32, u32, u32)]) -> Vec<Tile> {
    let slide = runtime.begin(|desc| {
        (desc.mpp_x, desc.mpp_y) = (desc.mpp_x / scale, desc.mpp_y / scale);
        (desc.extent_width, desc.extent_height) = (u64::from(picture.width), u64::from(picture.height));
        desc.max_frame_width = frames.iter().map(|f| f.2).max().unwrap_or(1);
        desc.max_frame_height = frames.iter().map(|f| f.3).max().unwrap_or(1);
        (desc.spread_width, desc.spread_height) = (u64::from(picture.width), u64::from(picture.height));
        desc.flags = SLIDE_EMBEDDINGS;
    });
    for &(x, y, width, height) in frames {
        slide.submit_wait(&picture.frame(x, y, width, height), 60_000).expect("room within a minute");
    }
    let tiles = slide.results();
    let summary = slide.summary();
    assert_eq!((summary.state, summary.in_flight, summary.unpolled), (SLIDE_FINISHED, 0, 0));
    assert_eq!(summary.results[0], tiles.len() as u64);
    tiles
}

/// Boxes of `width` × `height`, the next one `step` further.
fn cut(picture: &Picture, size: (u32, u32), step: (u32, u32)) -> Vec<(u32, u32, u32, u32)> {
    let rows = (0..picture.height).step_by(step.1 as usize);
    let boxes = rows.flat_map(|y| (0..picture.width).step_by(step.0 as usize).map(move |x| (x, y, size.0, size.1)));
    boxes.collect()
}

#[test]
fn the_same_pixels_give_the_same_results_however_they_are_cut() {
    let runtime = runtime("cuts");
    // Tiles of 32 px at the model's scale, of 70 when it is resampled; edges that no tile fits.
    for (scale, width, height) in [(1.0, 400, 333), (2.2, 700, 500)] {
        let picture = Picture::tissue(width, height, 7);
        let mut shuffled = cut(&picture, (24, 24), (24, 24));
        let mut state = 5u64;
        for i in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
            shuffled.swap(i, (state >> 33) as usize % (i + 1));
        }
        let reference = essence(&play(&runtime, &picture, scale, &cut(&picture, (24, 24), (24, 24))));
        let done = reference.values().filter(|(status, ..)| *status == TILE_DONE).count();
        assert!(done >= 30, "{done} tiles were analysed");
        for (what, frames) in [
            ("fields with overlap", cut(&picture, (205, 205), (184, 184))),
            ("strips", cut(&picture, (width, 13), (width, 13))),
            ("random order", shuffled),
            ("the whole", cut(&picture, (width, height), (width, height))),
        ] {
            assert!(essence(&play(&runtime, &picture, scale, &frames)) == reference, "{what} at scale {scale}");
        }
    }
}

#[test]
fn formats_and_strides_do_not_matter() {
    let runtime = runtime("formats");
    let picture = Picture::tissue(96, 64, 3);
    let whole = [(0, 0, 96, 64)];
    let reference = essence(&play(&runtime, &picture, 1.0, &whole));
    let orders: [(u32, &[usize]); 3] =
        [(PFNC_BGR8, &[2, 1, 0]), (PFNC_RGBA8, &[0, 1, 2, 3]), (PFNC_BGRA8, &[2, 1, 0, 3])];
    for (format, order) in orders {
        let bytes = order.len();
        let stride = 96 * bytes + 5;
        let mut data = vec![9u8; 64 * stride];
        for (at, pixel) in picture.rgb.chunks_exact(3).enumerate() {
            let start = at / 96 * stride + at % 96 * bytes;
            order.iter().enumerate().for_each(|(i, &c)| data[start + i] = *pixel.get(c).unwrap_or(&77));
        }
        let slide = runtime.begin(|desc| {
            (desc.extent_width, desc.extent_height) = (96, 64);
            (desc.max_frame_width, desc.max_frame_height) = (96, 64);
            desc.flags = SLIDE_EMBEDDINGS;
        });
        let mut frame = picture.frame(0, 0, 96, 64);
        frame.pixel_format = format;
        frame.planes[0] = Plane { data: data.as_ptr(), stride: stride as u64, size: data.len() as u64 };
        slide.submit(&frame).expect("room for the announced frame");
        assert!(essence(&slide.results()) == reference, "{format:#x}");
    }
}

#[test]
fn glass_is_background_and_negative_places_are_legal() {
    let runtime = runtime("glass");
    let slide = runtime.begin(|desc| {
        (desc.extent_x, desc.extent_y) = (-64, -32);
        (desc.extent_width, desc.extent_height) = (128, 64);
        (desc.max_frame_width, desc.max_frame_height) = (128, 64);
    });
    let mut picture = Picture::glass(128, 64);
    let tissue = Picture::tissue(32, 32, 1);
    for (row, source) in tissue.rgb.chunks_exact(96).enumerate() {
        picture.rgb[(row * 128 + 32) * 3..(row * 128 + 64) * 3].copy_from_slice(source);
    }
    let mut frame = picture.frame(0, 0, 128, 64);
    (frame.x, frame.y, frame.frame_id, frame.group_id) = (-64, -32, 41, 7);
    slide.submit(&frame).expect("room for the announced frame");
    let tiles = slide.results();
    let counts = by_status(&tiles);
    assert_eq!((counts[TILE_DONE as usize], counts[TILE_BACKGROUND as usize]), (1, 7));
    for tile in &tiles {
        let r = &tile.record;
        assert_eq!((r.x, r.y), (i64::from(r.column) * 32 - 64, i64::from(r.row) * 32 - 32));
        assert_eq!((r.first_frame_id, r.last_frame_id, r.group_id, r.coverage), (41, 41, 7, 1.0));
        assert_eq!(r.flags_calibrated, 0);
        let background = r.status == TILE_BACKGROUND;
        assert_eq!(r.flags_raised & FLAG_BACKGROUND != 0, background);
        assert!(!background || r.flags_checked & FLAG_OUT_OF_FOCUS == 0);
        assert_eq!(tile.features.is_empty(), background);
        assert_eq!(r.reconstruction_error.is_nan(), background);
    }
    // Where the host asks for it, the model sees glass too.
    let slide = runtime.begin(|desc| {
        (desc.extent_width, desc.extent_height) = (128, 64);
        (desc.max_frame_width, desc.max_frame_height) = (128, 64);
        desc.flags = SLIDE_EMBEDDINGS | SLIDE_ANALYSE_BACKGROUND;
    });
    slide.submit(&picture.frame(0, 0, 128, 64)).expect("room for the announced frame");
    let tiles = slide.results();
    assert_eq!(by_status(&tiles)[TILE_DONE as usize], 8);
    assert!(tiles.iter().all(|tile| !tile.embedding.is_empty()));
}

#[test]
fn a_region_scanned_again_is_judged_again_and_late_pixels_are_counted() {
    let runtime = runtime("passes");
    let slide = runtime.begin(|desc| (desc.extent_width, desc.extent_height) = (64, 64));
    let picture = Picture::tissue(64, 64, 2);
    slide.submit_wait(&picture.frame(0, 0, 64, 64), 10_000).expect("the first pass");
    slide.submit_wait(&picture.frame(0, 0, 64, 64), 10_000).expect("the same again");
    let mut again = picture.frame(0, 0, 40, 40);
    again.pass = 1;
    slide.submit_wait(&again, 10_000).expect("the second pass");
    slide.submit_wait(&picture.frame(0, 0, 64, 64), 10_000).expect("older than what is known");
    let tiles = slide.results();
    let passes = |pass: u32| tiles.iter().filter(|tile| tile.record.pass == pass).count();
    assert_eq!((passes(0), passes(1)), (4, 4));
    // Of the second pass one tile is whole, two have a quarter, one a sixteenth.
    let second: Vec<&Tile> = tiles.iter().filter(|tile| tile.record.pass == 1).collect();
    assert_eq!(second.iter().filter(|tile| tile.record.status == TILE_DONE).count(), 1);
    assert_eq!(second.iter().filter(|tile| tile.record.status == TILE_INCOMPLETE).count(), 3);
    let summary = slide.summary();
    assert_eq!((summary.opened, summary.pixels_used), (8, 64 * 64 + 40 * 40));
    assert_eq!(summary.pixels_late, 2 * 64 * 64);
}

#[test]
fn a_partial_tile_goes_on_when_its_time_is_over_and_white_fills_it() {
    let runtime = runtime("timeout");
    let slide = runtime.begin(|desc| {
        (desc.extent_width, desc.extent_height) = (64, 32);
        desc.assembly_timeout_ms = 30;
        desc.flags = SLIDE_EMBEDDINGS;
    });
    let picture = Picture::tissue(64, 32, 4);
    // Three quarters of the first tile, a quarter of the second.
    slide.submit(&picture.frame(0, 0, 24, 32)).expect("room");
    slide.submit(&picture.frame(32, 0, 8, 32)).expect("room");
    let mut tiles = Vec::new();
    while tiles.len() < 2 {
        tiles.extend(slide.take(Some(10_000)).expect("both end without finish"));
    }
    tiles.sort_by_key(|tile| tile.record.column);
    assert_eq!((tiles[0].record.status, tiles[0].record.coverage), (TILE_DONE, 0.75));
    assert_eq!((tiles[1].record.status, tiles[1].record.coverage), (TILE_INCOMPLETE, 0.25));
    // The same tile, whole, with white where nothing came: the same embedding.
    let mut white = Picture::tissue(64, 32, 4);
    white.rgb.chunks_exact_mut(192).for_each(|row| row[72..96].fill(255));
    let other = runtime.begin(|desc| {
        (desc.extent_width, desc.extent_height) = (64, 32);
        desc.flags = SLIDE_EMBEDDINGS;
    });
    other.submit(&white.frame(0, 0, 32, 32)).expect("room");
    assert_eq!(other.results()[0].embedding, tiles[0].embedding);
}
