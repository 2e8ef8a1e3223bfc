//! Builds a profile: plays good slides of each scanner, fits on some and calibrates on the others.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::path::PathBuf;

use coverslip_bundle::{Bundle, Manifest};
use coverslip_profile::{Check, Perturbation, Profile, Provenance, Scanner};
use serde_json::json;

use super::calibration::{calibrate, scores, separation};
use super::fit::{Fitted, check, fit};
use super::other_scanners::{changes, perturbed};
use super::page::{self, FALSE_ALARMS, KEPT, SET_ASIDE};
use super::sampler::{Sample, SampleTile, Sampler, Sampling};
use super::scanner_slides::{self, ScannerSlides};
use super::screening::{Screening, Told};
use super::set_aside;
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
    /// Whether tiles and slides that do not seem to belong are used all the same.
    pub(crate) keep_all: bool,
    /// Whether a profile that is there is replaced.
    pub(crate) force: bool,
    pub(crate) setup: Setup,
    pub(crate) sampling: Sampling,
}

/// Builds, writes and shows the profile.
///
/// # Errors
/// Where slides cannot be read, say too little, or too many of them do not belong.
pub(crate) fn run(request: &Request, out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    let given = scanner_slides::read(&request.scanners)?;
    scanner_slides::distinct(&given)?;
    agree(request, &given)?;
    let halves = given
        .iter()
        .map(|one| scanner_slides::calibrating(&one.id, one.slides.len(), request.sampling.seed))
        .collect::<Result<Vec<_>, _>>()?;
    let claim = claim::beside(&request.out)?;
    coverslip_profile::check_place(claim.place(), request.force)?;
    let sampler = Sampler::open(&request.setup, &request.sampling)?;
    let bundle = Bundle::open_trusted(sampler.bundle(), &request.setup.trust)?;
    one_vector_per_tile(bundle.manifest())?;
    let builder = Builder { request, sampler, bundle, given: &given, halves: &halves };
    let sampled = builder.sampled()?;
    let mut screenings: Vec<Screening> = sampled.iter().map(|samples| Screening::by_pixels(samples)).collect();
    let first = builder.fitted(&sampled, &mut screenings)?;
    let profile = builder.uncalibrated(&first, &screenings)?;
    let by_pixels: usize = screenings.iter().map(Screening::count).sum();
    for ((scanner, samples), (screening, half)) in
        profile.scanners.iter().zip(&sampled).zip(screenings.iter_mut().zip(&halves))
    {
        let kept = builder.kept(screening, samples);
        screening.add_novel(&kept, &novel(&profile, scanner, &kept), half);
    }
    let again = !request.keep_all && screenings.iter().map(Screening::count).sum::<usize>() > by_pixels;
    let mut profile = if again {
        let fitted = builder.fitted(&sampled, &mut screenings)?;
        builder.uncalibrated(&fitted, &screenings)?
    } else {
        profile
    };
    builder.calibrate(&mut profile, &sampled, &screenings)?;
    builder.say_what_was_set_aside(&mut profile, &screenings);
    let named: Vec<(&str, &Screening)> = given.iter().map(|one| one.id.as_str()).zip(&screenings).collect();
    let strange = set_aside::page(&profile.name, &named, request.keep_all);
    let beside = [(set_aside::PAGE, strange.as_bytes())];
    let digest = coverslip_profile::write_with(&profile, &beside, claim, request.force)?;
    page::print(out, &profile, digest, "none")?;
    Ok(writeln!(out, "{}", request.out.display())?)
}

/// The lengths of NOVEL's displacements, by slide.
fn novel(profile: &Profile, scanner: &Scanner, samples: &[Sample]) -> Vec<Vec<f64>> {
    let of = |sample: &Sample| -> Vec<f64> {
        let score = |tile| scores(profile, scanner, tile).score(Check::Novel).map(f64::from);
        sample.tiles.iter().map(|tile| score(tile).unwrap_or(f64::NAN)).collect()
    };
    samples.iter().map(of).collect()
}

/// Refuses a bundle of the lab: a profile has means and a covariance of all that a tap says of a tile.
fn one_vector_per_tile(manifest: &Manifest) -> Result<(), String> {
    match manifest.taps.iter().find(|tap| manifest.patch_tokens(tap).is_some()) {
        Some(tap) => Err(format!(
            "expected a bundle whose taps have one vector per tile, found patch tokens in tap {}; build the profile with the \
             bundle that goes to the scanner",
            tap.name
        )),
        None => Ok(()),
    }
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
    bundle: Bundle,
    given: &'a [ScannerSlides],
    halves: &'a [Vec<bool>],
}

impl Builder<'_> {
    /// Every slide of each scanner, as it is.
    fn sampled(&self) -> Result<Vec<Vec<Sample>>, Box<dyn Error>> {
        let mut sampled = Vec::new();
        for (one, half) in self.given.iter().zip(self.halves) {
            let own = one
                .slides
                .iter()
                .map(|path| self.sampler.sample(path, &one.id, None))
                .collect::<Result<Vec<Sample>, _>>()?;
            for calibrates in [false, true] {
                check(&one.id, &of_half(&own, half, calibrates))?;
            }
            sampled.push(own);
        }
        Ok(sampled)
    }

    /// The samples of a scanner that are used.
    fn kept(&self, screening: &Screening, samples: &[Sample]) -> Vec<Sample> {
        if self.request.keep_all { samples.to_vec() } else { screening.kept(samples) }
    }

    /// The slides that fit, of each scanner and of each simulated one, without what does not belong.
    fn fitted(&self, sampled: &[Vec<Sample>], screenings: &mut [Screening]) -> Result<Vec<Fitted>, Box<dyn Error>> {
        if self.request.paired {
            Screening::pair(screenings);
        }
        let mut fitted = Vec::new();
        for (place, one) in self.given.iter().enumerate() {
            let (screening, half) = (&screenings[place], &self.halves[place]);
            if !self.request.keep_all {
                screening.accept(&one.id)?;
            }
            let kept = self.kept(screening, &sampled[place]);
            for calibrates in [false, true] {
                check(&one.id, &of_half(&kept, half, calibrates))?;
            }
            let own = of_half(&kept, half, false);
            fitted.push(Fitted { id: one.id.clone(), simulated: false, samples: own });
            if self.request.single {
                fitted.extend(self.simulated(one, screening, half)?);
            }
        }
        Ok(fitted)
    }

    /// What other scanners would have made of the slides that fit.
    fn simulated(
        &self,
        one: &ScannerSlides,
        screening: &Screening,
        half: &[bool],
    ) -> Result<Vec<Fitted>, Box<dyn Error>> {
        let model = self.sampler.model_mpp();
        let mut fitted = Vec::new();
        for (place, (name, _)) in changes(1.0, 1.0).into_iter().enumerate() {
            let mut samples = Vec::new();
            for (slide, path) in one.slides.iter().enumerate().filter(|(slide, _)| !half[*slide]) {
                let mpp = self.sampler.slide_mpp(path)?;
                let change = changes(model, mpp).into_iter().nth(place).map(|change| change.1);
                let changed = self.sampler.sample(path, &one.id, change)?;
                samples.push(if self.request.keep_all { changed } else { screening.slides[slide].kept(&changed) });
            }
            fitted.push(Fitted { id: name.into(), simulated: true, samples });
        }
        Ok(fitted)
    }

    /// The profile without scores.
    fn uncalibrated(&self, fitted: &[Fitted], screenings: &[Screening]) -> Result<Profile, Box<dyn Error>> {
        let manifest = self.bundle.manifest();
        let taps: Vec<(String, usize)> =
            manifest.taps.iter().map(|tap| (tap.name.clone(), manifest.tap_width(tap))).collect();
        let parts = fit(fitted, &taps, self.request.paired || self.request.single)?;
        let named = |calibrates: bool, scanner: usize| -> Vec<String> {
            let slides = self.given[scanner].slides.iter().zip(&self.halves[scanner]).zip(&screenings[scanner].slides);
            slides
                .filter(|((_, held), found)| **held == calibrates && (found.whole.is_none() || self.request.keep_all))
                .map(|((path, _), _)| path.display().to_string())
                .collect()
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
            ("counting_less_when_fitted".into(), json!(parts.counting_less)),
            ("seed".into(), json!(self.request.sampling.seed)),
        ]);
        Ok(Profile {
            name: self.request.name.clone().unwrap_or_else(|| ids.join(", ")),
            bundle: self.bundle.digest(),
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

    /// Puts the scores of the slides that did not fit into the profile; for UNSTABLE they are played once more.
    fn calibrate(
        &self,
        profile: &mut Profile,
        sampled: &[Vec<Sample>],
        screenings: &[Screening],
    ) -> Result<(), Box<dyn Error>> {
        let perturbation = profile.perturbation.as_ref().and_then(perturbed).filter(|_| !self.request.skip_unstable);
        let mut held: Vec<Vec<(Sample, Option<Sample>)>> = Vec::new();
        for (place, one) in self.given.iter().enumerate() {
            let kept = self.kept(&screenings[place], &sampled[place]);
            let mut slides = Vec::new();
            for (slide, sample) in kept.into_iter().enumerate().filter(|(slide, _)| self.halves[place][*slide]) {
                let path = &one.slides[slide];
                let changed = perturbation.filter(|_| !sample.tiles.is_empty());
                let copy = changed.map(|change| self.sampler.sample(path, &one.id, Some(change))).transpose()?;
                slides.push((sample, copy));
            }
            held.push(slides);
        }
        let mut rates = BTreeMap::new();
        let mut calibrated = Vec::new();
        for (scanner, slides) in profile.scanners.iter().zip(&held) {
            let (scanner, of_slides) = calibrate(profile, scanner, slides);
            rates.insert(scanner.id.clone(), of_slides);
            calibrated.push(scanner);
        }
        profile.scanners = calibrated;
        profile.annotations.insert(FALSE_ALARMS.into(), json!(rates));
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

    /// Puts into the profile's notes what was set aside, by scanner.
    fn say_what_was_set_aside(&self, profile: &mut Profile, screenings: &[Screening]) {
        let told: BTreeMap<&str, Told> =
            self.given.iter().map(|one| one.id.as_str()).zip(screenings.iter().map(Screening::told)).collect();
        let note = if self.request.keep_all { KEPT } else { SET_ASIDE };
        profile.annotations.insert(note.into(), json!(told));
    }
}

/// The samples that fit, or that calibrate.
fn of_half(samples: &[Sample], half: &[bool], calibrates: bool) -> Vec<Sample> {
    samples.iter().zip(half).filter(|(_, held)| **held == calibrates).map(|(sample, _)| sample.clone()).collect()
}
