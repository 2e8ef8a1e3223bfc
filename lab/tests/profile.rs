//! `coverslip profile` as a user runs it: a synthetic bundle, made-up slides of two scanners.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use coverslip_bundle::synthetic::SyntheticSpec;
use coverslip_bundle::{Pooling, Tap, TapSource};
use coverslip_testkit::{Scratch, Signer, note};
use image::{Rgb, RgbImage};
use serde_json::Value;

const COMMAND: &str = env!("CARGO_BIN_EXE_coverslip");

fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("profile");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        folder
    })
}

/// A tiny bundle: 32 px at 0.5 µm/px.
fn bundle() -> &'static str {
    static BUNDLE: OnceLock<String> = OnceLock::new();
    BUNDLE.get_or_init(|| {
        let path = folder().join("bundle").display().to_string();
        let output = Command::new(COMMAND).args(["bundle", "synthetic", "--out", &path]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        path
    })
}

/// A slide of 400 x 320 px with grains of stain and a rim of glass; its own stain, and a scanner's light.
fn picture(name: &str, seed: u32, light: [f32; 3]) -> RgbImage {
    let mut state = seed.wrapping_mul(2_654_435_761).max(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 16) as f32 / 65_536.0
    };
    let grains: Vec<(f32, f32, f32)> =
        (0..2200).map(|_| (next() * 400.0, next() * 320.0, 1.5 + 3.0 * next())).collect();
    let depth = 0.9 + 0.2 * next();
    let mut density = vec![0.25_f32; 400 * 320];
    for (x, y, radius) in grains {
        let (x0, y0) = ((x - radius).max(0.0) as usize, (y - radius).max(0.0) as usize);
        for py in y0..((y + radius) as usize + 1).min(320) {
            for px in x0..((x + radius) as usize + 1).min(400) {
                if (px as f32 - x).hypot(py as f32 - y) < radius {
                    density[py * 400 + px] = 0.8;
                }
            }
        }
    }
    let picture = RgbImage::from_fn(400, 320, |x, y| {
        let glass = x >= 380;
        let own = if glass { 0.0 } else { depth * density[(y * 400 + x) as usize] };
        let noise = 6.0 * next();
        let level =
            |stain: f32, light: f32| (242.0 * light * 10_f32.powf(-own * stain) - noise).clamp(0.0, 255.0) as u8;
        Rgb([level(0.9, light[0]), level(1.4, light[1]), level(0.7, light[2])])
    });
    picture.save(folder().join(format!("{name}.png"))).unwrap();
    picture
}

fn path(name: &str) -> String {
    folder().join(format!("{name}.png")).display().to_string()
}

/// Six slides by each of two scanners; the second is warmer.
fn slides() -> &'static [Vec<String>; 2] {
    static SLIDES: OnceLock<[Vec<String>; 2]> = OnceLock::new();
    SLIDES.get_or_init(|| {
        [("a", [1.0, 1.0, 1.0]), ("b", [1.0, 0.95, 0.86])].map(|(scanner, light)| {
            (0..6)
                .map(|slide| {
                    let name = format!("{scanner}{slide}");
                    picture(&name, slide + 1, light);
                    path(&name)
                })
                .collect()
        })
    })
}

fn profile(arguments: &[&str]) -> Output {
    Command::new(COMMAND).arg("profile").args(arguments).output().unwrap()
}

fn build(out: &str, scanners: &[(&str, &[String])], more: &[&str]) -> (Output, String) {
    let out = folder().join(out).display().to_string();
    let mut command = Command::new(COMMAND);
    command.args(["profile", "build", "--bundle", bundle(), "--mpp", "0.5", "--out", &out]).args(more);
    for (id, slides) in scanners {
        command.arg("--scanner").arg(format!("{id}={}", slides[0])).args(&slides[1..]);
    }
    (command.output().unwrap(), out)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Where a signature is required, neither an unsigned bundle nor an unsigned profile is played.
#[test]
fn only_what_a_trusted_key_signed_is_measured() {
    let (folder, signer) = (Scratch::new("profile-trust"), Signer::new());
    let (model, key) = (folder.join("bundle"), signer.public());
    coverslip_testkit::bundle(&model);
    let opened = coverslip_bundle::Bundle::open(&model).unwrap();
    let known = coverslip_profile::synthetic::profile(opened.manifest(), opened.digest(), &["A"], 99);
    let place = folder.join("profile");
    coverslip_profile::write(&known, &place, false).unwrap();
    let [slides, _] = slides();
    let trusting = |command: &str, more: &[&str]| {
        let mut words = Command::new(COMMAND);
        words.args(["profile", command, "--mpp", "0.5", "--tiles-per-slide", "30", "--bundle"]).arg(&model).args(more);
        words.args(["--trusted-key", &key, "--require-signature", "--out"]).arg(folder.join(command));
        words.output().unwrap()
    };
    let first = format!("A={}", slides[0]);
    let scanner = ["--single", "--skip-unstable", "--scanner", &first];
    let words: Vec<&str> = scanner.into_iter().chain(slides[1..].iter().map(String::as_str)).collect();
    let unsigned = trusting("build", &words);
    let expected = "manifest.json.minisig";
    assert!(unsigned.status.code() == Some(1) && said(&unsigned).contains(expected), "{}", said(&unsigned));
    assert!(!folder.join("build").exists());

    signer.sign(&model.join("manifest.json"), "for the test");
    let signed = trusting("build", &words);
    assert!(signed.status.success(), "{}", said(&signed));

    let words = ["--profile", place.to_str().unwrap(), "--scanner", "A", "--fault", "gaussian", &slides[0]];
    let unsigned = trusting("challenge", &words);
    let expected = "profile.json.minisig";
    assert!(unsigned.status.code() == Some(1) && said(&unsigned).contains(expected), "{}", said(&unsigned));
}

#[test]
fn two_scanners_are_fitted_calibrated_and_told_apart() {
    let [a, b] = slides();
    let (output, out) = build("pair", &[("lab-a", a), ("lab-b", b)], &["--paired"]);
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.lines().all(|line| line.chars().count() <= 80 || line.contains(&out)), "{text}");
    assert!(text.contains("the scanners saw the same slides") && text.contains("unknown at 5 %"), "{text}");
    let manifest: Value = serde_json::from_slice(&fs::read(Path::new(&out).join("profile.json")).unwrap()).unwrap();
    let scanners = manifest["scanners"].as_array().unwrap();
    assert_eq!((scanners.len(), manifest["provenance"]["paired"].as_bool()), (2, Some(true)));
    for scanner in scanners {
        let names = |field: &str| scanner[field].as_array().unwrap().clone();
        assert_eq!((names("fitted_slides").len(), names("calibration_slides").len()), (3, 3));
        assert!(names("fitted_slides").iter().all(|slide| !names("calibration_slides").contains(slide)));
        let count = scanner["calibration"]["scanner_shift"].as_u64().unwrap();
        assert!(count > 200 && scanner["calibration"]["unstable"].as_u64() > Some(200), "{scanner}");
    }
    let told = &manifest["annotations"]["scanner_shift_auroc_on_held_out_slides"];
    assert!(told["lab-a"].as_f64() > Some(0.9), "{told}");

    let inspected = profile(&["inspect", &out]);
    assert_eq!(String::from_utf8_lossy(&inspected.stdout).lines().next(), text.lines().next());
    let verified = profile(&["verify", &out, "--bundle", bundle()]);
    assert!(verified.status.success(), "{}", said(&verified));
    let compared = profile(&["compare", &out, &out]);
    let text = String::from_utf8_lossy(&compared.stdout).into_owned();
    assert!(text.contains("lab-a against lab-a") && text.contains("0.00 sd along scanner directions"), "{text}");

    // A slide of the other scanner, taken for one of this: its own checks see it, and the last lines say so.
    let scan = |slide: &str, name: &str| {
        let mut command = Command::new(COMMAND);
        command.args(["scan", slide, "--mpp", "0.5", "--bundle", bundle(), "--profile", &out, "--scanner", "lab-a"]);
        command.args(["--exit-code", "--out"]).arg(folder().join(name)).output().unwrap()
    };
    picture("fresh", 77, [1.0; 3]);
    let good = scan(&path("fresh"), "good");
    let lines = String::from_utf8_lossy(&good.stdout).into_owned();
    assert!(matches!(good.status.code(), Some(0 | 4)), "{lines}{}", said(&good));
    picture("warm", 78, [1.0, 0.95, 0.86]);
    let foreign = scan(&path("warm"), "foreign");
    let lines = String::from_utf8_lossy(&foreign.stdout).into_owned();
    assert_eq!(foreign.status.code(), Some(3), "{lines}{}", said(&foreign));
    assert!(lines.contains("scanner shift") || lines.contains("color shift"), "{lines}");
}

#[test]
fn one_scanner_is_marked_as_simulated() {
    let (output, out) = build("single", &[("lab-a", &slides()[0])], &["--single", "--skip-unstable"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("SIMULATED"));
    let manifest: Value = serde_json::from_slice(&fs::read(Path::new(&out).join("profile.json")).unwrap()).unwrap();
    assert_eq!(manifest["provenance"]["simulated"], true);
    assert_eq!(manifest["scanners"].as_array().unwrap().len(), 1);
    assert!(manifest["taps"][0]["scanner_rank"].as_u64() > Some(2), "directions of several changes");
    assert!(manifest["scanners"][0]["calibration"].get("unstable").is_none());
}

/// A profile that is calibrated at the precision of the scanner's engine raises no PROFILE_PRECISION there; elsewhere the
/// alert is no fault of the slide.
#[test]
fn it_is_calibrated_at_the_precision_that_is_asked_for() {
    let half = ["--cpu-precision", "half"];
    let (output, out) =
        build("half", &[("lab-a", &slides()[0])], &[&["--single", "--skip-unstable"], &half[..]].concat());
    if !output.status.success() {
        assert!(said(&output).contains("cpu_precision"), "{}", said(&output));
        return note(&format!("skipped: this processor has no quick half precision: {}", said(&output)));
    }
    let manifest: Value = serde_json::from_slice(&fs::read(Path::new(&out).join("profile.json")).unwrap()).unwrap();
    let precision = manifest["provenance"]["precision"].as_str().unwrap();
    assert!(["float16", "bfloat16"].contains(&precision), "{precision}");
    let inspected = String::from_utf8_lossy(&profile(&["inspect", &out]).stdout).into_owned();
    assert!(inspected.contains(&format!("precision {precision}\n")), "{inspected}");
    picture("of-half", 79, [1.0; 3]);
    let scan = |more: &[&str]| {
        let mut command = Command::new(COMMAND);
        command.args(["scan", &path("of-half"), "--mpp", "0.5", "--bundle", bundle(), "--profile", &out]).args(more);
        let output = command.args(["--exit-code", "--out"]).arg(folder().join("of-half")).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned() + &said(&output))
    };
    let (code, text) = scan(&half);
    assert!(!text.contains("profile_precision") && matches!(code, Some(0 | 4)), "{code:?} {text}");
    let (code, text) = scan(&[]);
    assert!(text.contains("profile_precision") && matches!(code, Some(0 | 4)), "{code:?} {text}");
}

/// The same slide with green ink over its left part.
fn inked(name: &str, seed: u32) -> String {
    let mut picture = picture(name, seed, [1.0; 3]);
    for y in 0..320 {
        for x in 0..160 {
            let shade = (seed + 7 * x + 13 * y) % 9;
            picture.put_pixel(x, y, Rgb([55 + shade as u8, 165 + shade as u8, 135]));
        }
    }
    picture.save(folder().join(format!("{name}.png"))).unwrap();
    path(name)
}

/// The unit of NOVEL's scores, and the score from which FOREIGN is raised at 1 %.
fn novel_and_foreign(profile: &str) -> (coverslip_profile::NovelScale, f32) {
    let (profile, _) = coverslip_profile::Profile::open(Path::new(profile)).unwrap();
    let foreign = profile.scanners[0].calibration[&coverslip_profile::Check::Foreign].scores();
    (profile.scanners[0].novel.unwrap(), foreign[foreign.len() - 1 - foreign.len() / 100])
}

#[test]
fn one_inked_slide_among_24_changes_nothing_in_either_half() {
    let mut clean: Vec<String> = (0..24)
        .map(|slide| {
            let name = format!("many{slide}");
            picture(&name, 300 + slide, [1.0; 3]);
            path(&name)
        })
        .collect();
    let other = &slides()[1];
    let made = |name: &str, slides: &[String], more: &[&str]| {
        let more = [&["--skip-unstable"], more].concat();
        let (output, out) = build(name, &[("lab-a", slides), ("lab-b", other)], &more);
        assert!(output.status.success(), "{}", said(&output));
        (out, String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let (out, text) = made("many-clean", &clean, &[]);
    assert!(text.contains("set aside: 0 of 24 slides"), "{text}");
    assert!(text.contains("by leaving each of 12") && text.contains("so slides count and not tiles"), "{text}");
    let (novel, foreign) = novel_and_foreign(&out);
    assert!(foreign < 0.0, "{foreign}");
    let manifest: Value = serde_json::from_slice(&fs::read(Path::new(&out).join("profile.json")).unwrap()).unwrap();
    for half in ["fitted_slides", "calibration_slides"] {
        let first = manifest["scanners"][0][half][0].as_str().unwrap();
        let place = clean.iter().position(|slide| slide == first).unwrap();
        let whole = std::mem::replace(&mut clean[place], inked(&format!("inked-{half}"), 300 + place as u32));
        let (out, text) = made(&format!("many-{half}"), &clean, &[]);
        assert!(text.contains("set aside: 1 of 24 slides"), "{text}");
        assert!(text.contains(&format!("inked-{half}.png: ink, dirt or an edge on")), "{text}");
        let found = novel_and_foreign(&out);
        assert!(found.1 < 0.0, "FOREIGN finds no ink any more: {found:?}");
        for (found, clean) in [(found.0.middle, novel.middle), (found.0.spread, novel.spread)] {
            assert!((found / clean - 1.0).abs() < 0.15, "NOVEL's scale moves: {found} {clean}");
        }
        let page = fs::read_to_string(Path::new(&out).join("set-aside.html")).unwrap();
        assert!(page.contains("src=\"data:image/jpeg;base64,/9j/") && page.contains("all 120"), "{page}");
        // The same slides as they are: what the screen is for.
        let (kept, text) = made(&format!("many-kept-{half}"), &clean, &["--keep-all"]);
        assert!(text.contains("kept, although strange: 1 of 24"), "{text}");
        if half == "calibration_slides" {
            assert!(novel_and_foreign(&kept).1 > 0.0);
        }
        clean[place] = whole;
    }
    // Half of the slides inked: no profile.
    let many: Vec<String> = (0..4).map(|slide| inked(&format!("all-inked-{slide}"), slide)).collect();
    let mixed = [&many[..2], &clean[..4]].concat();
    let (output, out) = build("refused-ink", &[("lab-a", &mixed), ("lab-b", other)], &["--skip-unstable"]);
    assert!(output.status.code() == Some(1) && !Path::new(&out).exists());
    assert!(
        said(&output).contains("at most 25 % of the slides") && said(&output).contains("found 2 of 6"),
        "{}",
        said(&output)
    );
}

#[test]
fn what_says_too_little_is_refused() {
    let [a, b] = slides();
    let refused = |scanners: &[(&str, &[String])], more: &[&str], words: &str| {
        let (output, out) = build("refused", scanners, more);
        assert_eq!(output.status.code(), Some(1), "{words}");
        assert!(said(&output).contains(words), "{words}: {}", said(&output));
        assert!(!Path::new(&out).exists());
    };
    refused(&[("a", a)], &[], "expected two scanners or more, found one");
    refused(&[("a", a), ("b", &b[..1])], &[], "scanner b: expected two slides or more");
    refused(&[("a", a), ("b", &b[..3])], &["--paired"], "found 6 of a and 3 of b");
    let single_colour: Vec<String> = (0..2)
        .map(|i| {
            let name = format!("colour{i}");
            RgbImage::from_pixel(400, 320, Rgb([200, 120, 180])).save(folder().join(format!("{name}.png"))).unwrap();
            path(&name)
        })
        .collect();
    refused(&[("a", a), ("b", &single_colour)], &[], "tiles without any detail. A single colour");
    let glass: Vec<String> = (0..2)
        .map(|i| {
            let name = format!("glass{i}");
            RgbImage::from_pixel(400, 320, Rgb([243, 242, 244])).save(folder().join(format!("{name}.png"))).unwrap();
            path(&name)
        })
        .collect();
    refused(&[("a", a), ("b", &glass)], &[], "scanner b: expected 30 tiles with tissue or more, found 0");
    let blurry: Vec<String> = (0..2)
        .map(|i| {
            let name = format!("blurry{i}");
            let sharp = picture(&name, 50 + i, [1.0; 3]);
            image::imageops::blur(&sharp, 3.0).save(folder().join(format!("{name}.png"))).unwrap();
            path(&name)
        })
        .collect();
    refused(&[("a", a), ("b", &blurry)], &[], "tiles out of focus by the general rule");
    let output = profile(&["verify", &folder().join("nowhere").display().to_string()]);
    assert_eq!(output.status.code(), Some(1));
}

/// Playing the slides takes hours. The bundle that is not there would be the next thing to be refused.
#[test]
fn a_place_that_is_taken_is_refused_before_the_slides_are_played() {
    let taken = folder().join("taken");
    fs::create_dir_all(&taken).unwrap();
    fs::write(taken.join("notes.txt"), "mine").unwrap();
    let slides = slides()[0][..2].join(" ");
    let refused = |command: &str, words: &str| {
        let line = format!("{command} --out {}", taken.display());
        let output = Command::new(COMMAND).args(line.split(' ')).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{command}");
        assert!(said(&output).contains(words), "{command}: {}", said(&output));
        assert_eq!(fs::read_dir(&taken).unwrap().count(), 1, "{command}");
    };
    let build = format!("profile build --single --bundle no-bundle --mpp 0.5 --scanner a={slides}");
    refused(&build, "exists and is not empty; choose another place");
    refused(&format!("{build} --force"), "exists and is not a profile; it is not replaced, not even with --force");
    for command in ["bundle build --weights no-model --tiles no-tiles", "bundle quantise no-bundle --tiles no-tiles"] {
        refused(command, "exists and is not empty; choose another place");
    }
}

/// Such a bundle is for the lab: of a tile it says sixteen things, and a baseline is of one.
#[test]
fn a_bundle_of_patch_tokens_is_refused() {
    let [a, b] = slides();
    let bundle = folder().join("tokens");
    let tap = |name: &str, pooling, last| Tap {
        name: name.into(),
        source: TapSource::Block { after_block: usize::from(last), final_norm: last },
        pooling,
    };
    let taps = vec![tap("tokens", Pooling::PatchTokens, false), tap("last", Pooling::ClassToken, true)];
    coverslip_testkit::bundle_of(&bundle, &SyntheticSpec { taps, ..SyntheticSpec::default() });
    let (bundle, out) = (bundle.display().to_string(), folder().join("of-tokens"));
    let scanners = ["--scanner", &format!("a={}", a[0]), &a[1], "--scanner", &format!("b={}", b[0]), &b[1]];
    let place = out.display().to_string();
    let output = profile(&[&["build", "--bundle", &bundle, "--mpp", "0.5", "--out", &place], &scanners[..]].concat());
    let words = "expected a bundle whose taps have one vector per tile, found patch tokens in tap tokens";
    assert!(output.status.code() == Some(1) && said(&output).contains(words), "{}", said(&output));
    assert!(!out.exists());
}
