//! Writing a profile: its two files are written beside the target, opened to verify them, and renamed into place.

use std::collections::BTreeMap;
use std::path::Path;

use coverslip_files::{Folder, IntoClaim, Replace, check_target};

use super::{Profile, Scanner};
use crate::manifest::{PROFILE_FILE, PROFILE_FORMAT, ProfileManifest, ScannerEntry, TENSORS_FILE, TapEntry};
use coverslip_bundle::Digest;
use coverslip_bundle::build::entry;
use coverslip_bundle::tensors::{Tensor, TensorMap, to_safetensors};
use coverslip_bundle::{BundleError, BundleErrorKind};

/// Writes `profile` to the directory `out`, a path or a claim of one, and returns its digest. `force` replaces an existing profile, and nothing
/// else.
///
/// # Errors
/// As [`Profile::open`], which verifies the result; `Io`.
pub fn write(profile: &Profile, out: impl IntoClaim, force: bool) -> Result<Digest, BundleError> {
    write_with(profile, &[], out, force)
}

/// As [`write()`], with files by name that go into the same directory and that no digest covers: what people read.
///
/// # Errors
/// As [`write()`].
pub fn write_with(
    profile: &Profile,
    beside: &[(&str, &[u8])],
    out: impl IntoClaim,
    force: bool,
) -> Result<Digest, BundleError> {
    let tensors = to_safetensors(&tensors(profile))?;
    let manifest = manifest(profile, &tensors);
    let mut bytes = serde_json::to_vec_pretty(&manifest)
        .map_err(|e| BundleError::new(BundleErrorKind::Invalid, format!("the profile cannot be written: {e}")))?;
    bytes.push(b'\n');
    let claim = out.into_claim()?;
    let folder = Folder::beside(&claim)?;
    folder.write(TENSORS_FILE, &tensors)?;
    folder.write(PROFILE_FILE, &bytes)?;
    beside.iter().try_for_each(|(name, bytes)| folder.write(name, bytes))?;
    let (_, digest) = Profile::open(folder.path())?;
    folder.settle(replace(force))?;
    Ok(digest)
}

/// Refuses a place where [`write()`] would write no profile: for those who work long before they call it.
///
/// # Errors
/// `Invalid`; the text says what to do.
pub fn check_place(out: &Path, force: bool) -> Result<(), BundleError> {
    Ok(check_target(out, replace(force))?)
}

fn replace(force: bool) -> Replace<'static> {
    Replace { marker: PROFILE_FILE, kind: "profile", force }
}

fn manifest(profile: &Profile, tensors: &[u8]) -> ProfileManifest {
    let tap = |tap: &super::TapGeometry| TapEntry {
        name: tap.name.clone(),
        width: tap.width,
        rank: tap.variances.len(),
        scanner_rank: tap.scanner_rank(),
        floor: tap.floor,
    };
    let scanner = |scanner: &Scanner| ScannerEntry {
        id: scanner.id.clone(),
        fitted_slides: scanner.fitted_slides.clone(),
        fitted_tiles: scanner.fitted_tiles,
        calibration_slides: scanner.calibration_slides.clone(),
        color: scanner.color,
        novel: scanner.novel,
        calibration: scanner.calibration.iter().map(|(check, c)| (check.name().to_owned(), c.len())).collect(),
    };
    ProfileManifest {
        format: PROFILE_FORMAT.to_owned(),
        name: profile.name.clone(),
        bundle: profile.bundle,
        provenance: profile.provenance,
        taps: profile.taps.iter().map(tap).collect(),
        judged_tap: profile.judged_tap,
        perturbation: profile.perturbation,
        scanners: profile.scanners.iter().map(scanner).collect(),
        files: BTreeMap::from([(TENSORS_FILE.to_owned(), entry(tensors))]),
        annotations: profile.annotations.clone(),
    }
}

fn tensors(profile: &Profile) -> TensorMap {
    let mut all = TensorMap::new();
    let line = |values: &[f32]| Tensor::f32(&[values.len()], values);
    let features: Vec<i32> = profile.features.iter().map(|&index| index as i32).collect();
    all.insert("features".to_owned(), Tensor::i32(&[features.len()], &features));
    for tap in &profile.taps {
        let rows = |values: &[f32]| Tensor::f32(&[values.len() / tap.width.max(1), tap.width], values);
        all.insert(format!("tap.{}.variances", tap.name), line(&tap.variances));
        all.insert(format!("tap.{}.axes", tap.name), rows(&tap.axes));
        all.insert(format!("tap.{}.scanner_axes", tap.name), rows(&tap.scanner_axes));
    }
    for (i, scanner) in profile.scanners.iter().enumerate() {
        for (tap, mean) in profile.taps.iter().zip(&scanner.means) {
            all.insert(format!("scanner.{i}.mean.{}", tap.name), line(mean));
        }
        all.insert(format!("scanner.{i}.effects"), line(&scanner.effects));
        all.insert(format!("scanner.{i}.slide_shift"), line(scanner.slide_shift.scores()));
        all.insert(format!("scanner.{i}.slide_novel"), line(scanner.slide_novel.scores()));
        all.insert(format!("scanner.{i}.slide_peak"), line(scanner.slide_peak.scores()));
        for (check, calibration) in &scanner.calibration {
            all.insert(format!("scanner.{i}.calibration.{}", check.name()), line(calibration.scores()));
        }
    }
    all
}
