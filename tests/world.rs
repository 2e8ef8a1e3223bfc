//! Faults of the world around a slide: capture times that jump, frames that are lost, doubled or late, and neighbours that
//! take the processors. No time is measured: what is checked is what became of each tile.

mod support {
    pub(crate) mod host;
}

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use coverslip_plugin_abi::*;
use support::host::{Picture, TestRuntime, TestSlide, Tile, open};

const TILE: u32 = 32;
const ACROSS: u32 = 30;
const DOWN: u32 = 20;
/// Frames that end within tiles.
const FRAME: u32 = 48;
/// LAGGING is about results that are later than this.
const LATE_NS: u64 = 2_000_000_000;

fn runtime(name: &str) -> TestRuntime {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("world-{name}"));
    coverslip_testkit::bundle(&folder);
    open(&folder)
}

/// A slide of which any tile may be partial at any time.
fn begin(runtime: &TestRuntime, change: impl FnOnce(&mut SlideDesc)) -> TestSlide {
    runtime.begin(|desc| {
        (desc.extent_width, desc.extent_height) = (u64::from(ACROSS * TILE), u64::from(DOWN * TILE));
        (desc.spread_width, desc.spread_height) = (desc.extent_width, desc.extent_height);
        desc.flags = SLIDE_EMBEDDINGS;
        change(desc);
    })
}

/// The frames of a scan, row by row.
fn frames(picture: &Picture) -> Vec<Frame> {
    let corners = (0..picture.height).step_by(FRAME as usize);
    let corners = corners.flat_map(|y| (0..picture.width).step_by(FRAME as usize).map(move |x| (x, y)));
    corners.map(|(x, y)| picture.frame(x, y, FRAME, FRAME)).collect()
}

fn by_place(tiles: Vec<Tile>) -> BTreeMap<(i32, i32), Tile> {
    let count = tiles.len();
    let places: BTreeMap<_, _> = tiles.into_iter().map(|t| ((t.record.column, t.record.row), t)).collect();
    assert_eq!(places.len(), count, "a tile has two results");
    places
}

/// What each tile is, whatever the time.
fn content(tile: &Tile) -> (i32, u32, u32, Vec<u32>, Vec<u32>) {
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let record = &tile.record;
    (record.status, record.flags_checked, record.flags_raised, bits(&tile.embedding), bits(&record.measurements))
}

fn says_lagging(slide: &TestSlide) -> bool {
    slide.alerts().iter().any(|alert| alert.code == ALERT_LAGGING)
}

fn latest(tiles: &BTreeMap<(i32, i32), Tile>) -> u64 {
    tiles.values().map(|tile| tile.record.latency_ns).max().unwrap_or(0)
}

#[test]
fn capture_times_may_jump() {
    let runtime = runtime("times");
    let picture = Picture::tissue(ACROSS * TILE, DOWN * TILE, 1);
    let scan = |time: &dyn Fn(usize) -> i64| {
        let slide = begin(&runtime, |_| ());
        for (i, mut frame) in frames(&picture).into_iter().enumerate() {
            frame.capture_time_ns = time(i);
            slide.submit_wait(&frame, 60_000).expect("room");
        }
        let tiles = by_place(slide.results());
        assert!(latest(&tiles) > LATE_NS || !says_lagging(&slide), "nothing was late");
        tiles.iter().map(|(place, tile)| (*place, content(tile))).collect::<Vec<_>>()
    };
    let steady = scan(&|i| 1_000_000 * (i as i64 + 1));
    assert_eq!(steady.len(), (ACROSS * DOWN) as usize);
    assert!(steady.iter().all(|(_, tile)| tile.0 == TILE_DONE));
    // Set back, set forward, before 1970, the ends of the range, and stopped.
    let jumps = [5, -3_600_000_000_000, 3_600_000_000_000, -1, i64::MIN, i64::MAX, 0, 7, 7];
    assert!(scan(&|i| jumps[i % jumps.len()]) == steady, "a result depends on the host's clock");
}

#[test]
fn frames_may_be_lost_doubled_or_late() {
    let runtime = runtime("frames");
    let picture = Picture::tissue(ACROSS * TILE, DOWN * TILE, 2);
    let clean = begin(&runtime, |_| ());
    frames(&picture).iter().for_each(|frame| clean.submit_wait(frame, 60_000).expect("room"));
    let clean = by_place(clean.results());

    let mut state = 5u64;
    let mut roll = |sides: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % sides
    };
    let (mut lost, mut doubled, mut late) = (0, 0, Vec::new());
    for round in 0..6 {
        let slide = begin(&runtime, |_| ());
        let mut submitted = Vec::new();
        for frame in frames(&picture) {
            match roll(100) {
                0 => lost += 1,
                1 => {
                    doubled += 1;
                    submitted.extend([frame, frame]);
                }
                2 => late.push(frame),
                _ => submitted.push(frame),
            }
        }
        // Late: after all the others.
        submitted.append(&mut late.clone());
        let waiting = late.len();
        late.clear();
        for frame in &submitted {
            slide.submit_wait(frame, 60_000).expect("room");
        }
        let tiles = by_place(slide.results());
        let refusal = slide.submit(&submitted[0]).expect_err("after the end");
        assert_eq!(refusal.code, WRONG_STATE, "round {round}");

        // Pixel by pixel, what arrived of each tile.
        let mut arrived: BTreeMap<(i32, i32), u32> = BTreeMap::new();
        let mut seen = vec![false; (picture.width * picture.height) as usize];
        for frame in &submitted {
            for y in frame.y as u32..frame.y as u32 + frame.height {
                for x in frame.x as u32..frame.x as u32 + frame.width {
                    if !std::mem::replace(&mut seen[(y * picture.width + x) as usize], true) {
                        *arrived.entry(((x / TILE) as i32, (y / TILE) as i32)).or_default() += 1;
                    }
                }
            }
        }
        assert_eq!(
            tiles.keys().collect::<Vec<_>>(),
            arrived.keys().collect::<Vec<_>>(),
            "round {round}, {waiting} late"
        );
        for (place, tile) in &tiles {
            let share = f64::from(arrived[place]) / f64::from(TILE * TILE);
            assert_eq!(f64::from(tile.record.coverage), share, "{place:?}");
            let expected = if share < 0.5 { TILE_INCOMPLETE } else { TILE_DONE };
            assert_eq!(tile.record.status, expected, "{place:?}, {share} of it came");
            if share == 1.0 {
                assert!(content(tile) == content(&clean[place]), "{place:?} is whole and yet another");
            }
        }
        let summary = slide.summary();
        let area = submitted.iter().map(|frame| u64::from(frame.width * frame.height)).sum::<u64>();
        assert_eq!(summary.pixels_used, seen.iter().filter(|seen| **seen).count() as u64);
        assert_eq!(summary.pixels_used + summary.pixels_duplicate + summary.pixels_late, area);
        assert_eq!((summary.opened, summary.results[0]), (tiles.len() as u64, tiles.len() as u64));
    }
    assert!(lost > 5 && doubled > 5, "{lost} lost, {doubled} doubled");
}

/// The workers are nicer than these threads, which leave them next to nothing.
#[test]
fn neighbours_may_take_the_processors() {
    let runtime = runtime("neighbours");
    let picture = Picture::tissue(ACROSS * TILE, DOWN * TILE, 3);
    let over = AtomicBool::new(false);
    let processors = std::thread::available_parallelism().map_or(2, |n| n.get());
    let (calm, (late, tiles)) = std::thread::scope(|scope| {
        for _ in 0..2 * processors {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let _ends = Ends(&over);
        let scan = |deadline_ms: u32| {
            let slide = begin(&runtime, |desc| desc.result_deadline_ms = deadline_ms);
            for (i, mut frame) in frames(&picture).into_iter().enumerate() {
                frame.capture_time_ns = i as i64 + 1;
                slide.submit_wait(&frame, 600_000).expect("room");
            }
            let tiles = by_place(slide.results());
            assert!(latest(&tiles) > LATE_NS || !says_lagging(&slide), "nothing was late");
            tiles
        };
        (scan(0), (50, scan(50)))
    });
    assert_eq!((calm.len(), tiles.len()), ((ACROSS * DOWN) as usize, (ACROSS * DOWN) as usize));
    assert!(calm.values().all(|tile| tile.record.status == TILE_DONE), "without a deadline nothing is lost");
    for (place, tile) in &tiles {
        match tile.record.status {
            TILE_DONE => assert!(content(tile) == content(&calm[place]), "{place:?}"),
            status => {
                assert_eq!(status, TILE_EXPIRED, "{place:?}");
                assert!(tile.record.latency_ns >= late * 1_000_000, "{place:?} expired too early");
            }
        }
    }
}

/// Ends the neighbours, also when a check fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
