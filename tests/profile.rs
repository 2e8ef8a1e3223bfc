//! Profiles through the C ABI: their effect on flags, p-values, alerts and the summary, and which ones are refused.
#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "each is a call of the C ABI, with live pointers or with what it must refuse"
)]

mod support {
    pub(crate) mod host;
}

use std::ffi::CString;
use std::path::PathBuf;

use coverslip_bundle::synthetic::SyntheticSpec;
use coverslip_bundle::{Bundle, Digest};
use coverslip_plugin_abi::*;
use coverslip_profile::{Calibration, Check, Profile, synthetic, write};
use support::host::{Answer, Picture, TestRuntime, TestSlide, Tile, open_with};

/// Tiles of 96 px: large enough for every pixel check.
const SIDE: u32 = 96;

struct Case {
    bundle: PathBuf,
    profile: PathBuf,
    digest: Digest,
}

/// A bundle and a synthetic profile for it, changed by `change`.
fn case(name: &str, change: impl FnOnce(&mut Profile)) -> Case {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("profile-{name}"));
    let (bundle, at) = (folder.join("bundle"), folder.join("profile"));
    coverslip_testkit::bundle_of(&bundle, &SyntheticSpec { side: SIDE as usize, ..SyntheticSpec::default() });
    let opened = Bundle::open(&bundle).expect("the bundle opens");
    let mut profile = synthetic::profile(opened.manifest(), opened.digest(), &["A", "B"], 999);
    change(&mut profile);
    let digest = write(&profile, &at, true).expect("the profile is written");
    Case { bundle, profile: at, digest }
}

impl Case {
    fn open(&self, change: impl FnOnce(&mut RuntimeDesc)) -> Answer<TestRuntime> {
        let path = CString::new(self.profile.to_str().expect("UTF-8")).expect("no NUL");
        open_with(&self.bundle, |desc| {
            desc.profile_path = path.as_ptr();
            change(desc);
        })
    }
}

/// A slide of `scanner` with `picture`, finished.
fn scan(
    runtime: &TestRuntime,
    scanner: &std::ffi::CStr,
    picture: &Picture,
    change: impl FnOnce(&mut SlideDesc),
) -> (TestSlide, Vec<Tile>) {
    let slide = runtime.begin(|desc| {
        desc.scanner_id = scanner.as_ptr();
        (desc.extent_width, desc.extent_height) = (picture.width.into(), picture.height.into());
        (desc.max_frame_width, desc.max_frame_height) = (picture.width, picture.height);
        change(desc);
    });
    slide.submit(&picture.frame(0, 0, picture.width, picture.height)).expect("room");
    let tiles = slide.results();
    (slide, tiles)
}

#[test]
fn what_only_colours_show_is_not_checked_on_grey_tissue() {
    let case = case("grey", |_| ());
    let runtime = case.open(|_| ()).expect("opens");
    // With darker squares: grey tissue is told from glass by its brightness alone.
    let mut picture = Picture::tissue(2 * SIDE, SIDE, 1);
    let width = picture.width as usize;
    for (at, pixel) in picture.rgb.chunks_exact_mut(3).enumerate() {
        if (at % width / 16 + at / width / 16).is_multiple_of(2) {
            pixel.iter_mut().for_each(|level| *level /= 2);
        }
    }
    let grey: Vec<u8> = picture.rgb.chunks_exact(3).map(|pixel| pixel[1]).collect();
    let slide = runtime.begin(|desc| {
        (desc.scanner_id, desc.stability_interval) = (c"A".as_ptr(), 1);
        (desc.max_frame_width, desc.max_frame_height) = (picture.width, picture.height);
    });
    let mut frame = picture.frame(0, 0, picture.width, picture.height);
    frame.pixel_format = PFNC_MONO8;
    frame.planes[0] = Plane { data: grey.as_ptr(), stride: picture.width.into(), size: grey.len() as u64 };
    slide.submit(&frame).expect("room");
    let tiles = slide.results();
    assert_eq!(tiles.len(), 2);
    let (_, colour) = scan(&runtime, c"A", &picture, |desc| desc.stability_interval = 1);
    let needs_colour = FLAG_COLOR_SHIFT | FLAG_FOREIGN | FLAG_UNSTABLE;
    for (grey, colour) in tiles.iter().zip(&colour) {
        assert_eq!((grey.record.status, colour.record.status), (TILE_DONE, TILE_DONE));
        assert_eq!(colour.record.flags_checked & needs_colour, needs_colour);
        assert_eq!(grey.record.flags_checked, colour.record.flags_checked & !needs_colour);
        assert!(grey.record.flags_calibrated & FLAG_NOVEL != 0 && grey.record.p_values[4].is_nan());
    }
}

/// Dense tissue is dark by itself; once the slide has shown glass, it is tissue. Which tiles that is, the frames decide.
#[test]
fn light_is_judged_by_the_glass_that_was_shown_whichever_lane_is_quicker() {
    let case = case("glass", |_| ());
    let columns = 40;
    let mut picture = Picture::tissue(columns * SIDE, SIDE, 3);
    let width = picture.width as usize;
    for (at, pixel) in picture.rgb.chunks_exact_mut(3).enumerate() {
        let glass = at % width / SIDE as usize == 3;
        pixel.iter_mut().for_each(|level| *level = if glass { 243 } else { *level / 2 });
    }
    let run = |threads: u32, white: [f64; 3]| {
        let runtime = open_with(&case.bundle, |desc| desc.max_threads = threads).expect("opens");
        let slide = runtime.begin(|desc| {
            (desc.extent_width, desc.extent_height) = (picture.width.into(), picture.height.into());
            (desc.max_frame_width, desc.max_frame_height) = (SIDE, SIDE);
            desc.white_reference = white;
        });
        for column in 0..columns {
            slide.submit_wait(&picture.frame(column * SIDE, 0, SIDE, SIDE), 60_000).expect("room");
        }
        let mut tiles = slide.results();
        tiles.sort_by_key(|tile| tile.record.column);
        let dark: Vec<bool> = tiles.iter().map(|tile| tile.record.flags_raised & FLAG_UNDEREXPOSED != 0).collect();
        let glass: Vec<u32> = tiles.iter().map(|tile| tile.record.measurements[MEASURE_GLASS].to_bits()).collect();
        (dark, glass, slide.summary().white_point)
    };
    let one = run(1, [0.0; 3]);
    assert_eq!(one.0, (0..columns).map(|column| column < 3).collect::<Vec<_>>());
    assert!(one.1.iter().take(3).all(|&level| f32::from_bits(level).is_nan()));
    assert!(one.1[3..].iter().all(|&level| f32::from_bits(level) == 243.0) && one.2 == [243.0; 3]);
    for _ in 0..3 {
        assert_eq!(run(4, [0.0; 3]), one);
    }
    let stated = run(2, [240.0, 238.0, 236.0]);
    assert!(stated.0.iter().all(|&dark| !dark) && stated.2 == [240.0, 238.0, 236.0], "{stated:?}");
}

#[test]
fn tiles_of_a_known_scanner_have_p_values_and_the_summary_names_the_profile() {
    let case = case("known", |_| ());
    let runtime = case.open(|desc| desc.profile_digest = case.digest.0.as_ptr()).expect("opens");
    assert_eq!(runtime.info().profile_digest, case.digest.0);
    let picture = Picture::tissue(6 * SIDE, 2 * SIDE, 1);
    let (slide, tiles) = scan(&runtime, c"A", &picture, |desc| desc.stability_interval = 1);
    assert_eq!(tiles.len(), 12);
    let summary = slide.summary();
    for Tile { record, .. } in &tiles {
        assert_eq!(record.status, TILE_DONE);
        // Smoothed noise is evenly bright: on some tiles there is no tissue by which to judge the focus.
        assert_eq!(record.flags_calibrated | FLAG_OUT_OF_FOCUS, 0xffe, "every check but the gate");
        assert_eq!(record.flags_checked, record.flags_calibrated | FLAG_BACKGROUND);
        for bit in 2..FLAG_COUNT {
            let (p, raised) = (record.p_values[bit], record.flags_raised >> bit & 1 != 0);
            let decided = f64::from(p) <= summary.flag_alpha[bit];
            assert!(p > 0.000_999 && p <= 1.0 && raised == decided, "flag {bit}: p {p}, raised {raised}");
            assert!(record.scores[bit].is_finite(), "flag {bit}");
        }
        assert!(record.p_values[0].is_nan() && record.p_values[12..].iter().all(|p| p.is_nan()));
        assert!(record.measurements[2..18].iter().all(|m| m.is_finite()), "{:?}", record.measurements);
        assert!(record.measurements[18..22].iter().all(|m| m.is_nan() == record.measurements[1].is_nan()));
        assert!(record.measurements[22..].iter().all(|m| m.is_nan()));
        assert!((0.0..=1.0).contains(&record.scores[11]));
    }
    assert!(tiles.iter().any(|tile| tile.record.scores[11] > 0.0), "the colours changed");
    assert_eq!(summary.profile_digest, case.digest.0);
    assert_eq!((summary.flag_alpha[0], summary.flag_alpha[7], summary.flag_alpha[12]), (0.0, 0.01, 0.0));
    assert_eq!((summary.flags_checked[7], summary.scanner_verdict), (12, SCANNER_UNKNOWN));
    // Judging the same slide again gives the same results, including the draws.
    let (_, again) = scan(&runtime, c"A", &picture, |desc| desc.stability_interval = STABILITY_NEVER);
    for tile in &tiles {
        let twin =
            again.iter().find(|other| other.record.column == tile.record.column && other.record.row == tile.record.row);
        let twin = twin.expect("the same tiles");
        assert_eq!(
            tile.record.p_values[..11].iter().map(|p| p.to_bits()).collect::<Vec<_>>(),
            twin.record.p_values[..11].iter().map(|p| p.to_bits()).collect::<Vec<_>>()
        );
        assert_eq!(twin.record.flags_checked | FLAG_OUT_OF_FOCUS, 0x7ff, "run once: not checked for UNSTABLE");
    }
}

#[test]
fn an_unknown_scanner_is_reported_and_nothing_is_calibrated() {
    let case = case("unknown", |_| ());
    let runtime = case.open(|_| ()).expect("opens");
    let (slide, tiles) = scan(&runtime, c"C", &Picture::tissue(2 * SIDE, SIDE, 1), |_| ());
    assert_eq!(slide.alerts().iter().map(|alert| alert.code).collect::<Vec<_>>(), [ALERT_UNKNOWN_SCANNER]);
    for Tile { record, .. } in &tiles {
        // Evenly bright noise may have no tissue by which to judge the focus.
        let unjudged = if record.measurements[1].is_nan() { FLAG_OUT_OF_FOCUS } else { 0 };
        assert_eq!((record.flags_calibrated, record.flags_checked), (0, 0x40f & !unjudged));
        assert!(record.p_values.iter().all(|p| p.is_nan()));
    }
    let summary = slide.summary();
    assert_eq!((summary.flag_alpha, summary.scanner_verdict), ([0.0; 16], SCANNER_UNKNOWN));
    assert!(summary.scanner_p_value.is_nan());
}

#[test]
fn profiles_of_another_digest_or_bundle_are_refused() {
    let (one, other) = (case("one", |_| ()), case("other", |profile| profile.name = "another".into()));
    let refused = one.open(|desc| desc.profile_digest = other.digest.0.as_ptr()).err().expect("another digest");
    assert_eq!(refused.code, DIGEST_MISMATCH);
    assert!(refused.message.contains("profile"), "{}", refused.message);
    let stranger = case("stranger", |profile| profile.bundle = Digest([7; 32]));
    let refused = stranger.open(|_| ()).err().expect("another bundle");
    assert_eq!(refused.code, BUNDLE_INVALID);
    assert!(refused.message.contains("0707") && refused.message.contains("build a profile"), "{}", refused.message);
}

#[test]
fn few_and_missing_calibration_tiles_are_reported() {
    let case = case("few", |profile| {
        for scanner in &mut profile.scanners {
            scanner.calibration.insert(Check::Novel, Calibration::new(vec![1.0; 39]));
            scanner.calibration.remove(&Check::Foreign);
        }
    });
    let runtime = case.open(|_| ()).expect("opens");
    let (slide, tiles) = scan(&runtime, c"B", &Picture::tissue(2 * SIDE, SIDE, 1), |_| ());
    let alphas = slide.summary().flag_alpha;
    assert_eq!((alphas[7], alphas[6]), (1.0 / 40.0, 0.0));
    for Tile { record, .. } in &tiles {
        assert_eq!(record.flags_checked & FLAG_FOREIGN, 0);
        assert!(record.scores[6].is_finite() && record.p_values[6].is_nan(), "measured, not judged");
        // Random tissue is about 5 from the mean, and all calibration scores are 1.
        assert_eq!(record.flags_raised & FLAG_NOVEL != 0, record.scores[7] > 1.0);
    }
}

/// With another mean of the scanner, every tile is displaced along the scanner's axis.
#[test]
fn a_slide_of_another_scanner_ends_with_a_mismatch() {
    let case = case("mismatch", |profile| profile.scanners[0].means.iter_mut().for_each(|mean| mean[0] = 50.0));
    let runtime = case.open(|_| ()).expect("opens");
    let (slide, tiles) = scan(&runtime, c"A", &Picture::tissue(8 * SIDE, 5 * SIDE, 1), |_| ());
    assert!(tiles.iter().all(|tile| tile.record.flags_raised & FLAG_SCANNER_SHIFT != 0));
    let alerts = slide.alerts();
    let alert = alerts.iter().find(|alert| alert.code == ALERT_SCANNER_MISMATCH).expect("said when the slide is over");
    assert!(alert.strength > 40.0 && alert.threshold < 1.0 && alert.calibrated == 1 && alert.width == 0);
    let summary = slide.summary();
    assert_eq!((summary.scanner_verdict, summary.scanner_p_value), (SCANNER_MISMATCHES, 0.01));
    assert_eq!(summary.alerts, alerts.len() as u64);
}

#[test]
fn slides_of_one_colour_without_tissue_raise_no_calibrated_flag() {
    let case = case("blank", |_| ());
    let runtime = case.open(|_| ()).expect("opens");
    for level in [0u8, 128, 243, 255] {
        let mut picture = Picture::glass(4 * SIDE, 2 * SIDE);
        picture.rgb.fill(level);
        let (slide, tiles) = scan(&runtime, c"A", &picture, |_| ());
        assert_eq!(tiles.len(), 8);
        for Tile { record, .. } in &tiles {
            assert_eq!((record.status, record.flags_calibrated), (TILE_BACKGROUND, 0), "level {level}");
        }
        assert!(slide.alerts().is_empty(), "level {level}");
        assert_eq!(slide.summary().scanner_verdict, SCANNER_UNKNOWN);
    }
}
