//! `coverslip profile build`: plays good slides of each scanner, fits on some, calibrates on the others.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::path::PathBuf;

use coverslip_bundle::Bundle;
use coverslip_profile::{self, Perturbation, Profile, Provenance, Scanner};
use serde_json::json;

use super::calibrate::{calibrate, separation};
use super::fit::{Fit, Fitted, check, fit};
use super::given::{self, Given};
use super::sample::{Reader, Sample, Source, Tile};
use super::{Outcome, inspect, single};
use crate::host::Library;
use crate::locate;

/// Options of `coverslip profile build`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// A scanner's id and its slides, as in --scanner A=a1.svs a2.svs --scanner B=b1.svs b2.svs; a directory is one
    /// slide of tiles
    #[arg(long = "scanner", value_name = "ID=SLIDE", required = true, num_args = 1..)]
    scanners: Vec<String>,
    /// The directory to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The scanners' slides are the same, in the same order, registered to each other
    #[arg(long, conflicts_with = "single")]
    paired: bool,
    /// There is one scanner: simulate what others would do to its slides; the profile says so
    #[arg(long)]
    single: bool,
    /// Shown to people: site, stain, date [default: the scanners' ids]
    #[arg(long)]
    name: Option<String>,
    /// Leave UNSTABLE uncalibrated: saves playing the calibration slides a second time
    #[arg(long)]
    skip_unstable: bool,
    /// Replace a profile that is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    source: Source,
}

/// Builds, writes and shows the profile.
///
/// # Errors
/// Where slides cannot be read, or say too little.
pub(super) fn run(args: &Args, out: &mut dyn Write) -> Outcome {
    let given = given::scanners(&args.scanners)?;
    given::distinct(&given)?;
    agree(args, &given)?;
    let halves = given
        .iter()
        .map(|one| given::calibrating(&one.id, one.slides.len(), args.source.seed))
        .collect::<Result<Vec<_>, _>>()?;
    let library = Library::load(&locate::library(args.source.library.as_deref())?)?;
    let bundle = Bundle::open(&args.source.bundle)?;
    let reader = Reader::open(&library, &args.source, None)?;
    let builder = Builder { args, reader, given: &given, halves: &halves };
    let fitted = builder.fitted()?;
    let taps: Vec<(String, usize)> =
        bundle.manifest().taps.iter().map(|tap| (tap.name.clone(), bundle.manifest().tap_width(tap))).collect();
    let parts = fit(&fitted, &taps, args.paired || args.single)?;
    let mut profile = builder.uncalibrated(&bundle, parts, &fitted)?;
    builder.calibrate(&mut profile)?;
    let digest = coverslip_profile::write(&profile, &args.out, args.force)?;
    inspect::print(out, &profile, digest)?;
    Ok(writeln!(out, "{}", args.out.display())?)
}

/// Whether the options and the scanners fit together.
fn agree(args: &Args, given: &[Given]) -> Outcome {
    if given.len() == 1 && !args.single {
        return Err("expected two scanners or more, found one. Give slides of another with a second --scanner, or \
                    --single to simulate what others would do"
            .into());
    }
    if given.len() > 1 && args.single {
        return Err(format!("--single: expected one scanner, found {}", given.len()).into());
    }
    if let Some(other) = given.iter().find(|one| args.paired && one.slides.len() != given[0].slides.len()) {
        return Err(format!(
            "--paired: expected the same slides by every scanner, found {} of {} and {} of {}",
            given[0].slides.len(),
            given[0].id,
            other.slides.len(),
            other.id
        )
        .into());
    }
    Ok(())
}

struct Builder<'a> {
    args: &'a Args,
    reader: Reader<'a>,
    given: &'a [Given],
    halves: &'a [Vec<bool>],
}

impl Builder<'_> {
    /// The slides that fit: of each scanner, and of each simulated one.
    fn fitted(&self) -> Result<Vec<Fitted>, Box<dyn Error>> {
        let mut fitted = Vec::new();
        for (one, half) in self.given.iter().zip(self.halves) {
            let paths: Vec<&PathBuf> =
                one.slides.iter().zip(half).filter(|(_, held)| !**held).map(|(path, _)| path).collect();
            let samples = |change: &dyn Fn(f64) -> Option<coverslip_slides::simulated::Change>| {
                let one_slide = |path: &&PathBuf| -> Result<Sample, Box<dyn Error>> {
                    let mpp = self.reader.resolution(coverslip_slides::open(path)?.as_ref())?;
                    self.reader.sample(path, &one.id, change(mpp.x))
                };
                paths.iter().map(one_slide).collect::<Result<Vec<_>, _>>()
            };
            let own = samples(&|_| None)?;
            check(&one.id, &own)?;
            fitted.push(Fitted { id: one.id.clone(), simulated: false, samples: own });
            if self.args.single {
                for (place, (name, _)) in single::changes(1.0, 1.0).into_iter().enumerate() {
                    let model = self.reader.info.mpp;
                    let changed =
                        samples(&|mpp| single::changes(model, mpp).into_iter().nth(place).map(|change| change.1))?;
                    fitted.push(Fitted { id: name.into(), simulated: true, samples: changed });
                }
            }
        }
        Ok(fitted)
    }

    /// The profile without scores.
    fn uncalibrated(&self, bundle: &Bundle, parts: Fit, fitted: &[Fitted]) -> Result<Profile, Box<dyn Error>> {
        let named = |keep: bool, scanner: usize| -> Vec<String> {
            let slides = self.given[scanner].slides.iter().zip(&self.halves[scanner]);
            slides.filter(|(_, held)| **held == keep).map(|(path, _)| path.display().to_string()).collect()
        };
        let real = fitted.iter().enumerate().filter(|(_, one)| !one.simulated);
        let scanners: Vec<Scanner> = real
            .enumerate()
            .map(|(order, (place, one))| Scanner {
                id: one.id.clone(),
                fitted_slides: named(false, order),
                fitted_tiles: parts.tiles[place],
                calibration_slides: named(true, order),
                means: parts.means[place].clone(),
                effects: parts.effects[place].clone(),
                color: parts.colors[place],
                ..Scanner::default()
            })
            .collect();
        let ids: Vec<&str> = self.given.iter().map(|one| one.id.as_str()).collect();
        let spread: BTreeMap<&str, &Vec<f64>> =
            parts.taps.iter().map(|tap| tap.name.as_str()).zip(&parts.spread).collect();
        let annotations = BTreeMap::from([
            ("built_by".into(), json!(concat!("coverslip ", env!("CARGO_PKG_VERSION")))),
            ("scanner_spread".into(), json!(spread)),
            ("seed".into(), json!(self.args.source.seed)),
        ]);
        Ok(Profile {
            name: self.args.name.clone().unwrap_or_else(|| ids.join(", ")),
            bundle: bundle.digest(),
            provenance: Provenance { paired: self.args.paired, simulated: self.args.single },
            judged_tap: parts.taps.len().saturating_sub(1),
            taps: parts.taps,
            features: parts.features,
            perturbation: Some(Perturbation::MILD),
            scanners,
            annotations,
        })
    }

    /// Plays the other slides and puts their scores into the profile.
    fn calibrate(&self, profile: &mut Profile) -> Outcome {
        let perturbation =
            profile.perturbation.as_ref().and_then(single::perturbed).filter(|_| !self.args.skip_unstable);
        let mut held: Vec<Vec<(Sample, Option<Sample>)>> = Vec::new();
        for (one, half) in self.given.iter().zip(self.halves) {
            let mut slides = Vec::new();
            for path in one.slides.iter().zip(half).filter(|(_, held)| **held).map(|(path, _)| path) {
                let sample = self.reader.sample(path, &one.id, None)?;
                let perturbed =
                    perturbation.map(|change| self.reader.sample(path, &one.id, Some(change))).transpose()?;
                slides.push((sample, perturbed));
            }
            check(&one.id, &slides.iter().map(|(sample, _)| sample.clone()).collect::<Vec<_>>())?;
            held.push(slides);
        }
        let calibrated: Vec<Scanner> =
            profile.scanners.iter().zip(&held).map(|(scanner, slides)| calibrate(profile, scanner, slides)).collect();
        profile.scanners = calibrated;
        let tiles = |place: usize| held[place].iter().flat_map(|(sample, _)| &sample.tiles).collect::<Vec<&Tile>>();
        let mut told = BTreeMap::new();
        for (place, scanner) in profile.scanners.iter().enumerate().filter(|_| held.len() > 1) {
            let others: Vec<&Tile> = (0..held.len()).filter(|&other| other != place).flat_map(tiles).collect();
            told.insert(scanner.id.clone(), separation(profile, scanner, &tiles(place), &others));
        }
        if !told.is_empty() {
            profile.annotations.insert("scanner_shift_auroc_on_held_out_slides".into(), json!(told));
        }
        Ok(())
    }
}
