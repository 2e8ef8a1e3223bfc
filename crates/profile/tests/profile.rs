//! Profile files: they round-trip, and everything that can be wrong with one is refused by name.

use std::path::Path;

use coverslip_bundle::synthetic::{SyntheticSpec, recipe};
use coverslip_bundle::{BundleErrorKind, Digest};
use coverslip_profile::{Calibration, Check, NovelScale, PROFILE_FILE, Profile, TENSORS_FILE, synthetic, write};

fn profile() -> Profile {
    let manifest = recipe(&SyntheticSpec::default()).manifest;
    synthetic::profile(&manifest, Digest::of(b"bundle"), &["A", "B"], 500)
}

/// Writes a profile, changes it on disk, and returns the error of opening it.
fn refusal(change: impl FnOnce(&Path)) -> (BundleErrorKind, String) {
    let dir = coverslip_testkit::Scratch::new("test");
    let place = dir.path().join("profile");
    write(&profile(), &place, false).unwrap();
    change(&place);
    let error = Profile::open(&place).unwrap_err();
    (error.kind(), error.to_string())
}

fn edit_json(place: &Path, from: &str, to: &str) {
    let path = place.join(PROFILE_FILE);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from}");
    std::fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// The error of writing a changed profile, which is verified before it gets its name.
fn not_written(change: impl FnOnce(&mut Profile)) -> (BundleErrorKind, String) {
    let dir = coverslip_testkit::Scratch::new("test");
    let mut profile = profile();
    change(&mut profile);
    let error = write(&profile, &dir.path().join("profile"), false).unwrap_err();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
    (error.kind(), error.to_string())
}

#[test]
fn a_profile_round_trips_and_its_digest_is_its_manifest() {
    let dir = coverslip_testkit::Scratch::new("test");
    let place = dir.path().join("profile");
    let digest = write(&profile(), &place, false).unwrap();
    let (read, again) = Profile::open(&place).unwrap();
    assert_eq!(read, profile());
    assert_eq!(digest, again);
    assert_eq!(digest, Digest::of(&std::fs::read(place.join(PROFILE_FILE)).unwrap()));
    assert!(write(&profile(), &place, false).unwrap_err().to_string().contains("exists"));
    assert_eq!(write(&profile(), &place, true).unwrap(), digest);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    // A directory that has something else is not replaced; an empty one would be a free place.
    let other = dir.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("notes"), "").unwrap();
    assert!(write(&profile(), &other, true).unwrap_err().to_string().contains("not even with --force"));
}

#[test]
fn files_that_were_changed_are_refused() {
    use BundleErrorKind as Kind;
    assert_eq!(refusal(|at| std::fs::remove_file(at.join(PROFILE_FILE)).unwrap()).0, Kind::Missing);
    assert_eq!(refusal(|at| std::fs::remove_file(at.join(TENSORS_FILE)).unwrap()).0, Kind::Missing);
    let cut = |at: &Path| {
        let path = at.join(TENSORS_FILE);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
    };
    assert_eq!(refusal(cut).0, Kind::Truncated);
    let flip = |at: &Path| {
        let path = at.join(TENSORS_FILE);
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(path, bytes).unwrap();
    };
    assert_eq!(refusal(flip).0, Kind::DigestMismatch);
    assert_eq!(refusal(|at| edit_json(at, "coverslip.profile/2", "coverslip.profile/3")).0, Kind::UnsupportedVersion);
    assert_eq!(refusal(|at| edit_json(at, "\"judged_tap\"", "\"unknown\": 1, \"judged_tap\"")).0, Kind::Invalid);
    let (kind, text) = refusal(|at| edit_json(at, "\"rank\": 1", "\"rank\": 100000"));
    assert!(kind == Kind::TooLarge && text.contains("taps.rank"), "{text}");
    let (kind, text) = refusal(|at| edit_json(at, "\"novel\": 500", "\"novel\": 501"));
    assert!(kind == Kind::Invalid && text.contains("calibration.novel"), "{text}");
}

/// Profiles of the earlier format have no unit of NOVEL and another measure of sharpness: they open, NOVEL's score is the
/// length, and nothing calibrates OUT_OF_FOCUS.
#[test]
fn an_earlier_profile_opens_without_what_it_cannot_say() {
    let dir = coverslip_testkit::Scratch::new("test");
    let place = dir.path().join("profile");
    let mut profile = profile();
    write(&profile, &place, false).unwrap();
    edit_json(&place, "coverslip.profile/2", "coverslip.profile/1");
    let (earlier, _) = Profile::open(&place).unwrap();
    assert_eq!((earlier.scanners[0].novel_score(30.0), earlier.scanners[0].novel_length(30.0)), (30.0, 30.0));
    assert!(profile.scanners.iter().all(|scanner| scanner.calibration.contains_key(&Check::OutOfFocus)));
    assert!(earlier.scanners.iter().all(|scanner| !scanner.calibration.contains_key(&Check::OutOfFocus)));
    profile.scanners[0].novel = Some(NovelScale { middle: 20.0, spread: 4.0 });
    profile.scanners[0].slide_novel = Calibration::new(vec![-0.5, 0.1, 0.25]);
    profile.scanners[0].slide_peak = Calibration::new(vec![0.25]);
    write(&profile, &place, true).unwrap();
    let (read, _) = Profile::open(&place).unwrap();
    assert_eq!(read, profile);
    assert_eq!((read.scanners[0].novel_score(30.0), read.scanners[0].novel_length(2.5)), (2.5, 30.0));
    edit_json(&place, "coverslip.profile/2", "coverslip.profile/1");
    assert!(Profile::open(&place).unwrap_err().to_string().contains("`novel`"));
    let (kind, text) = not_written(|p| p.scanners[0].novel = Some(NovelScale { middle: 20.0, spread: 0.0 }));
    assert!(kind == BundleErrorKind::Invalid && text.contains("novel.spread"), "{text}");
}

#[test]
fn misleading_profiles_are_not_written() {
    use BundleErrorKind as Kind;
    assert_eq!(not_written(|p| p.taps[0].axes[0] = f32::NAN).0, Kind::NotFinite);
    assert_eq!(not_written(|p| p.scanners[0].means[1][0] = f32::INFINITY).0, Kind::NotFinite);
    assert_eq!(not_written(|p| p.taps[1].floor = 0.0).0, Kind::Invalid);
    assert_eq!(not_written(|p| p.taps[1].variances[0] = -1.0).0, Kind::Invalid);
    assert_eq!(not_written(|p| p.features[1] = 0).0, Kind::Invalid);
    assert_eq!(not_written(|p| p.scanners[1].id = "A".into()).0, Kind::Invalid);
    assert_eq!(not_written(|p| p.scanners.clear()).0, Kind::Invalid);
    let (kind, text) = not_written(|p| p.scanners[0].calibration_slides.push("A-fitted".into()));
    assert!(kind == Kind::Invalid && text.contains("A-fitted"), "{text}");
    let (kind, _) = not_written(|p| {
        let scores = p.scanners[0].calibration[&Check::Novel].clone();
        p.scanners[0].calibration.insert(Check::Background, scores);
    });
    assert_eq!(kind, Kind::Invalid);
}

/// Numbers that are finite and that nothing measures: with them a check is off, or scores nothing but infinity.
#[test]
fn numbers_that_nothing_measures_are_refused_by_their_field() {
    type Change = fn(&mut Profile);
    let changes: [(&str, Change); 19] = [
        ("color.whitening on its diagonal", |p| p.scanners[0].color.as_mut().unwrap().whitening = [[0.0; 9]; 9]),
        ("color.whitening on its diagonal", |p| p.scanners[1].color.as_mut().unwrap().whitening[8][8] = 0.0),
        ("color.whitening on its diagonal", |p| p.scanners[0].color.as_mut().unwrap().whitening[3][3] = -1.0),
        ("color.whitening above its diagonal", |p| p.scanners[0].color.as_mut().unwrap().whitening[0][1] = 1.0),
        ("`color.whitening`", |p| p.scanners[0].color.as_mut().unwrap().whitening[8][0] = 1e308),
        ("`color.mean`", |p| p.scanners[0].color.as_mut().unwrap().mean[4] = 1e308),
        ("perturbation.matrix", |p| p.perturbation.as_mut().unwrap().matrix[0][0] = 1e19),
        ("perturbation.offset", |p| p.perturbation.as_mut().unwrap().offset[2] = -256.0),
        ("novel.middle", |p| p.scanners[0].novel = Some(NovelScale { middle: -1.0, spread: 1.0 })),
        ("novel.spread", |p| p.scanners[0].novel = Some(NovelScale { middle: 1.0, spread: 1e-30 })),
        ("taps.floor", |p| p.taps[0].floor = 1e30),
        ("variances", |p| p.taps[0].variances[0] = 1e30),
        ("axes, squared length", |p| p.taps[0].axes.fill(0.0)),
        ("axes, squared length", |p| p.taps[0].axes[0] = 1e8),
        ("scanner_axes", |p| p.taps[0].scanner_axes[0] = 1e30),
        ("scanner.0.mean.", |p| p.scanners[0].means[0][0] = 1e30),
        ("effects", |p| p.scanners[0].effects[0] = -1e30),
        ("slide_shift", |p| p.scanners[0].slide_shift = Calibration::new(vec![1e38])),
        ("calibration.novel", |p| {
            drop(p.scanners[0].calibration.insert(Check::Novel, Calibration::new(vec![1e38; 500])))
        }),
    ];
    for (field, change) in changes {
        let (kind, text) = not_written(change);
        assert!(kind == BundleErrorKind::Invalid && text.contains(field), "{field}: {text}");
        assert!(text.len() < 400 && text.contains("expected"), "{field}: {text}");
    }
}

#[test]
fn a_profile_for_another_bundle_names_both() {
    let manifest = recipe(&SyntheticSpec::default()).manifest;
    let profile = profile();
    profile.check_bundle(&manifest, Digest::of(b"bundle")).unwrap();
    let text = profile.check_bundle(&manifest, Digest::of(b"other")).unwrap_err().to_string();
    assert!(text.contains(&Digest::of(b"other").to_string()) && text.contains(&Digest::of(b"bundle").to_string()));
    let wide = recipe(&SyntheticSpec { embed_dim: 64, ..SyntheticSpec::default() }).manifest;
    assert!(profile.check_bundle(&wide, Digest::of(b"bundle")).is_err());
}

/// At the judged tap, p-values are uniform in control and the smallest possible out of control.
#[test]
fn a_tile_is_scored_against_its_scanner() {
    let profile = profile();
    let scanner = profile.scanner("B").unwrap();
    assert!(profile.scanner("C").is_none());
    let width = profile.taps[profile.judged_tap].width;
    let mut embedding = vec![1.0; width];
    embedding[0] = 30.0;
    let found = profile.displacement(scanner, &embedding).unwrap();
    assert_eq!((found.scanner_shift, found.novel), (30.0, ((width - 1) as f32).sqrt()));
    let draw = coverslip_numerics::Draw::new(3);
    assert_eq!(scanner.calibration[&Check::ScannerShift].p_value(found.scanner_shift, draw), 1.0 / 501.0);
    assert!(scanner.calibration[&Check::Novel].p_value(found.novel, draw) > 0.05);
    assert_eq!(profile.feature_score(scanner, [(0, 1.0), (1, 1.0), (99, 2.0)].into_iter()), Some(0.25));
    assert_eq!(scanner.slide_shift.p_value(30.0, draw), 0.01);
}
