//! Opening a profile of which one file is a stranger's, and judging tiles by it.

use std::fs;

use coverslip_numerics::Draw;
use coverslip_profile::{Check, MEASUREMENTS, ModelOutputs, Profile, Scanner, TileScores};
use coverslip_testkit::Scratch;

use crate::bundle::{vit, written};
use crate::contract::judged;
use crate::input::{Input, Seeds, joined};
use crate::profile_files::{bundle, changed, files, put};

/// The bit of the first byte by which a runtime judges a slide by the profile, if it fits the bundle.
const RUNTIME: u8 = 0x40;
/// Values of measurements, embeddings and features: usual ones, and some that are not.
const VALUES: [f32; 5] = [0.5, 0.0, -40.0, 1e30, f32::NAN];
/// The level of the checks.
const ALPHA: f64 = 0.01;

/// A profile with a change, as [`changed`] says; whether it fits the bundle of our own.
pub(crate) fn profile(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let choice = input.byte();
    let Some(files) = changed(choice & 3, input.rest()) else { return false };
    let scratch = Scratch::new("fuzz");
    let [model, folder] = ["bundle", "profile"].map(|name| scratch.join(name));
    fs::create_dir(&folder).expect("a scratch folder");
    put(&files, &folder);
    let Ok((profile, _)) = Profile::open(&folder) else { return false };
    if profile.check_bundle(bundle().manifest(), bundle().digest()).is_err() {
        return false;
    }
    profile.scanners.iter().for_each(|scanner| score(&profile, scanner));
    if choice & RUNTIME == 0 {
        return true;
    }
    fs::create_dir(&model).expect("a scratch folder");
    written(vit(), &model);
    profile.scanners.first().is_some_and(|scanner| judged(&model, &folder, &scanner.id))
}

/// Scores tiles by every check of a scanner, as the judge does.
fn score(profile: &Profile, scanner: &Scanner) {
    for value in VALUES {
        let measurements = [value; MEASUREMENTS];
        let embedding = profile.taps.get(profile.judged_tap).map(|tap| vec![value; tap.width]);
        let outputs = ModelOutputs {
            embedding: embedding.as_deref(),
            features: (0..4).map(|index| (index * index, value)),
            reconstruction_error: Some(value),
            instability: Some(value),
        };
        let scores = TileScores::new(profile, scanner, &measurements, outputs);
        for check in Check::ALL {
            let (Some(score), Some(calibration)) = (scores.score(check), scanner.calibration.get(&check)) else {
                continue;
            };
            let p = calibration.p_value(score, Draw::new(1));
            assert!(p > 0.0 && p <= 1.0, "{}: a p-value of {p}", check.name());
            assert!((ALPHA..=1.0).contains(&calibration.supported(ALPHA)), "{}: a level", check.name());
        }
    }
}

pub(crate) fn seeds() -> Seeds {
    let [manifest, tensors] = files();
    let text: &[u8] = b"scanner.0.mean.last f32 8 0.5\n";
    let parts: [(&str, u8, &[u8]); 6] = [
        ("manifest", 0, manifest),
        ("sealed", 1, manifest),
        ("tensors", 2, tensors),
        ("text", 3, text),
        ("judged", RUNTIME | 1, manifest),
        ("judged-text", RUNTIME | 3, text),
    ];
    parts.map(|(name, choice, part)| (name.to_owned(), joined(choice, &[], part))).to_vec()
}
