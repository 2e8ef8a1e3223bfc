//! Builds a profile: plays good slides of each scanner, fits on some and calibrates on the others.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::path::PathBuf;

use coverslip_bundle::Bundle;
use coverslip_profile::{Perturbation, Profile, Provenance, Scanner};
use coverslip_slides::simulated::Change;
use serde_json::json;

use super::calibration::{calibrate, separation};
use super::fit::{Fit, Fitted, check, fit};
use super::other_scanners::{changes, perturbed};
use super::page;
use super::sampler::{Sample, SampleTile, Sampler, Sampling};
use super::scanner_slides::{self, ScannerSlides};
use crate::claim;
use crate::host::Setup;

/// A profile to build.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Scanners and their slides, as `ID=SLIDE SLIDE…`.
    pub(crate) scanners: Vec<String>,
    /// The folder to write.
    pub(crate) out: PathBuf,
    /// Whether the scanners' slides are the same, registered to each other.
    pub(crate) paired: bool,
    /// Whether there is one scanner, and others are simulated from its slides.
    pub(crate) single: bool,
    /// None: the scanners' ids.
    pub(crate) name: Option<String>,
    pub(crate) skip_unstable: bool,
    /// Whether a profile that is there is replaced.
    pub(crate) force: bool,
    pub(crate) setup: Setup,
    pub(crate) sampling: Sampling,
}

/// Builds, writes and shows the profile.
///
/// # Errors
/// Where slides cannot be read, or say too little.
pub(crate) fn run(request: &Request, out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    let given = scanner_slides::read(&request.scanners)?;
    scanner_slides::distinct(&given)?;
    agree(request, &given)?;
    let halves = given
        .iter()
        .map(|one| scanner_slides::calibrating(&one.id, one.slides.len(), request.sampling.seed))
        .collect::<Result<Vec<_>, _>>()?;
    let claim = claim::beside(&request.out)?;
    let sampler = Sampler::open(&request.setup, &request.sampling)?;
    let bundle = Bundle::open_trusted(sampler.bundle(), &request.setup.trust)?;
    let builder = Builder { request, sampler, given: &given, halves: &halves };
    let fitted = builder.fitted()?;
    let taps: Vec<(String, usize)> =
        bundle.manifest().taps.iter().map(|tap| (tap.name.clone(), bundle.manifest().tap_width(tap))).collect();
    let parts = fit(&fitted, &taps, request.paired || request.single)?;
    let mut profile = builder.uncalibrated(&bundle, parts, &fitted)?;
    builder.calibrate(&mut profile)?;
    let digest = coverslip_profile::write(&profile, claim, request.force)?;
    page::print(out, &profile, digest, "none")?;
    Ok(writeln!(out, "{}", request.out.display())?)
}

/// Checks that the options and the scanners fit together.
fn agree(request: &Request, given: &[ScannerSlides]) -> Result<(), Box<dyn Error>> {
    if given.len() == 1 && !request.single {
        return Err("expected two scanners or more, found one. Give slides of another with a second --scanner, or \
                    --single to simulate what others would do"
            .into());
    }
    if given.len() > 1 && request.single {
        return Err(format!("--single: expected one scanner, found {}", given.len()).into());
    }
    if let Some(other) = given.iter().find(|one| request.paired && one.slides.len() != given[0].slides.len()) {
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
    request: &'a Request,
    sampler: Sampler,
    given: &'a [ScannerSlides],
    halves: &'a [Vec<bool>],
}

impl Builder<'_> {
    /// The slides that fit, of each scanner and of each simulated one.
    fn fitted(&self) -> Result<Vec<Fitted>, Box<dyn Error>> {
        let mut fitted = Vec::new();
        for (one, half) in self.given.iter().zip(self.halves) {
            let paths: Vec<&PathBuf> =
                one.slides.iter().zip(half).filter(|(_, held)| !**held).map(|(path, _)| path).collect();
            let samples = |change: &dyn Fn(f64) -> Option<Change>| {
                let one_slide = |path: &&PathBuf| -> Result<Sample, Box<dyn Error>> {
                    let mpp = self.sampler.slide_mpp(path)?;
                    self.sampler.sample(path, &one.id, change(mpp))
                };
                paths.iter().map(one_slide).collect::<Result<Vec<_>, _>>()
            };
            let own = samples(&|_| None)?;
            check(&one.id, &own)?;
            fitted.push(Fitted { id: one.id.clone(), simulated: false, samples: own });
            if self.request.single {
                for (place, (name, _)) in changes(1.0, 1.0).into_iter().enumerate() {
                    let model = self.sampler.model_mpp();
                    let changed = samples(&|mpp| changes(model, mpp).into_iter().nth(place).map(|change| change.1))?;
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
            ("seed".into(), json!(self.request.sampling.seed)),
        ]);
        Ok(Profile {
            name: self.request.name.clone().unwrap_or_else(|| ids.join(", ")),
            bundle: bundle.digest(),
            provenance: Provenance {
                paired: self.request.paired,
                simulated: self.request.single,
                precision: self.sampler.precision(),
            },
            judged_tap: parts.taps.len().saturating_sub(1),
            taps: parts.taps,
            features: parts.features,
            perturbation: Some(Perturbation::MILD),
            scanners,
            annotations,
        })
    }

    /// Plays the slides that did not fit, and puts their scores into the profile.
    fn calibrate(&self, profile: &mut Profile) -> Result<(), Box<dyn Error>> {
        let perturbation = profile.perturbation.as_ref().and_then(perturbed).filter(|_| !self.request.skip_unstable);
        let mut held: Vec<Vec<(Sample, Option<Sample>)>> = Vec::new();
        for (one, half) in self.given.iter().zip(self.halves) {
            let mut slides = Vec::new();
            for path in one.slides.iter().zip(half).filter(|(_, held)| **held).map(|(path, _)| path) {
                let sample = self.sampler.sample(path, &one.id, None)?;
                let copy = perturbation.map(|change| self.sampler.sample(path, &one.id, Some(change))).transpose()?;
                slides.push((sample, copy));
            }
            check(&one.id, &slides.iter().map(|(sample, _)| sample.clone()).collect::<Vec<_>>())?;
            held.push(slides);
        }
        let calibrated: Vec<Scanner> =
            profile.scanners.iter().zip(&held).map(|(scanner, slides)| calibrate(profile, scanner, slides)).collect();
        profile.scanners = calibrated;
        let tiles =
            |place: usize| held[place].iter().flat_map(|(sample, _)| &sample.tiles).collect::<Vec<&SampleTile>>();
        let mut told = BTreeMap::new();
        for (place, scanner) in profile.scanners.iter().enumerate().filter(|_| held.len() > 1) {
            let others: Vec<&SampleTile> = (0..held.len()).filter(|&other| other != place).flat_map(tiles).collect();
            told.insert(scanner.id.clone(), separation(profile, scanner, &tiles(place), &others));
        }
        if !told.is_empty() {
            profile.annotations.insert("scanner_shift_auroc_on_held_out_slides".into(), json!(told));
        }
        Ok(())
    }
}
