//! Opening a profile. Sizes are checked before memory is allocated, digests before content is used, and every number
//! must be one that can be measured.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::Path;

use super::bounds::{self, all_within};
use super::manifest::{
    EARLIER_FORMAT, PROFILE_FILE, PROFILE_FORMAT, ProfileManifest, ScannerEntry, TENSORS_FILE, TapEntry,
};
use super::{Calibration, Check, MAX_SCORES, Profile, Scanner, TapGeometry};
use coverslip_bundle::Digest;
use coverslip_bundle::Manifest;
use coverslip_bundle::limits::{MAX_D_SAE, MAX_EMBED_DIM, MAX_TAPS};
use coverslip_bundle::signature::{Signed, Trust};
use coverslip_bundle::tensors::TensorFile;
use coverslip_bundle::verified::{read_file, read_verified};
use coverslip_bundle::{BundleError, BundleErrorKind, fail};

/// Most scanners of a profile.
pub const MAX_SCANNERS: usize = 64;
/// Most axes of a tap's geometry. The cost of scoring a tile grows with them.
pub const MAX_RANK: usize = 512;
/// Most marked SAE features.
pub const MAX_FEATURES: usize = 4096;
/// Most slides named per scanner.
pub const MAX_SLIDES: usize = 4096;
/// Largest `profile.json`, bytes.
const MAX_JSON_BYTES: u64 = 16 << 20;
/// Largest tensor file, bytes.
const MAX_TENSOR_BYTES: u64 = 512 << 20;

impl Profile {
    /// Reads and verifies the profile in `dir`, whoever made it. Also returns its digest, the sha256 of `profile.json`.
    ///
    /// # Errors
    /// Any [`BundleErrorKind`]; the message names the file or field.
    pub fn open(dir: &Path) -> Result<(Profile, Digest), BundleError> {
        let (profile, digest, _) = Profile::open_trusted(dir, &Trust::default())?;
        Ok((profile, digest))
    }

    /// Reads and verifies the profile in `dir`, and its signature before anything else is read from it. Also returns
    /// whose signature was accepted.
    ///
    /// # Errors
    /// As [`Profile::open`]; `SignatureInvalid` as [`Trust::check`].
    pub fn open_trusted(dir: &Path, trust: &Trust) -> Result<(Profile, Digest, Option<Signed>), BundleError> {
        let path = dir.join(PROFILE_FILE);
        let bytes = read_file(&path, MAX_JSON_BYTES)?;
        let signed = trust.check(dir, PROFILE_FILE, &bytes)?;
        let manifest = parse(&bytes).map_err(|e| e.within(path.display()))?;
        check(&manifest).map_err(|e| e.within(path.display()))?;
        let Some(entry) = manifest.files.get(TENSORS_FILE).filter(|_| manifest.files.len() == 1) else {
            fail!(
                Invalid,
                "{}: `files` lists {}, expected only `{TENSORS_FILE}`",
                path.display(),
                manifest.files.len()
            );
        };
        if entry.bytes > MAX_TENSOR_BYTES {
            fail!(TooLarge, "{}: the tensors have {} bytes, at most {MAX_TENSOR_BYTES}", path.display(), entry.bytes);
        }
        let tensors = TensorFile::parse(read_verified(dir, TENSORS_FILE, entry)?);
        let tensors = tensors.map_err(|e| e.within(dir.join(TENSORS_FILE).display()))?;
        let profile = assemble(manifest, &tensors).map_err(|e| e.within(dir.display()))?;
        Ok((profile, Digest::of(&bytes), signed))
    }

    /// Checks that the profile was made with this bundle, by its digest, taps and features.
    ///
    /// # Errors
    /// `Invalid`, naming both.
    pub fn check_bundle(&self, manifest: &Manifest, digest: Digest) -> Result<(), BundleError> {
        if self.bundle != digest {
            fail!(
                Invalid,
                "the profile `{}` was made for the bundle {}, but the open bundle is {digest} (`{}`), for which its \
                 scores mean nothing; build a profile with this bundle, or open the profile's bundle",
                self.name,
                self.bundle,
                manifest.name
            );
        }
        for tap in &self.taps {
            let width = manifest.taps.iter().find(|t| t.name == tap.name).map(|t| manifest.tap_width(t));
            if width != Some(tap.width) {
                fail!(Invalid, "the profile's tap `{}` of {} values is not the bundle's", tap.name, tap.width);
            }
        }
        Ok(())
    }
}

fn parse(bytes: &[u8]) -> Result<ProfileManifest, BundleError> {
    let invalid =
        |e: serde_json::Error| BundleError::new(BundleErrorKind::Invalid, format!("not a profile: {e}; copy it again"));
    let value: serde_json::Value = coverslip_bundle::json::parse(bytes).map_err(invalid)?;
    let format = value.get("format").and_then(serde_json::Value::as_str).unwrap_or_default();
    if ![PROFILE_FORMAT, EARLIER_FORMAT].contains(&format) {
        fail!(
            UnsupportedVersion,
            "the profile's format is `{}`; this version reads `{PROFILE_FORMAT}` and `{EARLIER_FORMAT}`; build it again \
             with this version's `coverslip profile build`, or open it with the version that built it",
            format.escape_default()
        );
    }
    let manifest: ProfileManifest = serde_json::from_value(value).map_err(invalid)?;
    if manifest.format == EARLIER_FORMAT && manifest.scanners.iter().any(|scanner| scanner.novel.is_some()) {
        fail!(Invalid, "a scanner has `novel`, which `{EARLIER_FORMAT}` does not have");
    }
    Ok(manifest)
}

/// Makes the checks that do not need the tensors, before memory is allocated for these.
fn check(manifest: &ProfileManifest) -> Result<(), BundleError> {
    at_most("taps", manifest.taps.len(), MAX_TAPS)?;
    if manifest.judged_tap >= manifest.taps.len().max(1) {
        fail!(Invalid, "`judged_tap` is {}, but there are {} taps", manifest.judged_tap, manifest.taps.len());
    }
    let mut names = BTreeSet::new();
    for tap in &manifest.taps {
        at_most("taps.width", tap.width, 2 * MAX_EMBED_DIM)?;
        at_most("taps.rank", tap.rank, MAX_RANK.min(tap.width))?;
        at_most("taps.scanner_rank", tap.scanner_rank, MAX_SCANNERS.min(tap.width))?;
        if tap.width == 0 || !names.insert(&tap.name) {
            fail!(Invalid, "tap `{}` occurs twice or has no width", tap.name.escape_default());
        }
        all_within("taps.floor", &[tap.floor], &bounds::VARIANCE)?;
    }
    if manifest.scanners.is_empty() {
        fail!(Invalid, "`scanners` is empty; expected at least one");
    }
    at_most("scanners", manifest.scanners.len(), MAX_SCANNERS)?;
    let mut ids = BTreeSet::new();
    for scanner in &manifest.scanners {
        if scanner.id.is_empty() || !ids.insert(&scanner.id) {
            fail!(Invalid, "scanner `{}` occurs twice or has no id", scanner.id.escape_default());
        }
        check_scanner(scanner).map_err(|e| e.within(format!("scanner `{}`", scanner.id.escape_default())))?;
    }
    manifest.perturbation.as_ref().map_or(Ok(()), bounds::check_perturbation)
}

fn check_scanner(scanner: &ScannerEntry) -> Result<(), BundleError> {
    at_most("fitted_slides", scanner.fitted_slides.len(), MAX_SLIDES)?;
    at_most("calibration_slides", scanner.calibration_slides.len(), MAX_SLIDES)?;
    let fitted: BTreeSet<&String> = scanner.fitted_slides.iter().collect();
    if let Some(both) = scanner.calibration_slides.iter().find(|slide| fitted.contains(slide)) {
        fail!(
            Invalid,
            "slide `{}` was used to fit the profile and to calibrate it, so its tiles would look too usual; calibrate \
             with other slides",
            both.escape_default()
        );
    }
    for (name, &count) in &scanner.calibration {
        match Check::from_name(name) {
            None | Some(Check::Background) => {
                fail!(Invalid, "`{}` is not a check that is calibrated", name.escape_default())
            }
            Some(_) => at_most("calibration scores", count, MAX_SCORES)?,
        }
    }
    scanner.novel.as_ref().map_or(Ok(()), bounds::check_novel)?;
    scanner.color.as_ref().map_or(Ok(()), bounds::check_color)
}

fn at_most(field: &str, found: usize, most: usize) -> Result<(), BundleError> {
    if found > most {
        fail!(TooLarge, "`{field}`: {found}, at most {most}");
    }
    Ok(())
}

fn assemble(manifest: ProfileManifest, file: &TensorFile) -> Result<Profile, BundleError> {
    let taps = manifest.taps.iter().map(|tap| geometry(tap, file)).collect::<Result<Vec<_>, _>>()?;
    let features = features(file)?;
    let scanners = manifest.scanners.iter().enumerate();
    let scanners = scanners.map(|(i, entry)| scanner(i, entry, &taps, features.len(), file));
    let mut scanners = scanners.collect::<Result<Vec<_>, _>>()?;
    if manifest.format == EARLIER_FORMAT {
        // Its sharpness was another measure.
        scanners.iter_mut().for_each(|scanner| drop(scanner.calibration.remove(&Check::OutOfFocus)));
    }
    Ok(Profile {
        scanners,
        name: manifest.name,
        bundle: manifest.bundle,
        provenance: manifest.provenance,
        taps,
        judged_tap: manifest.judged_tap,
        features,
        perturbation: manifest.perturbation,
        annotations: manifest.annotations,
    })
}

/// The values of a tensor, which must have this shape, be finite and lie in this range.
fn values(
    file: &TensorFile,
    name: &str,
    shape: &[usize],
    range: &RangeInclusive<f64>,
) -> Result<Vec<f32>, BundleError> {
    let stored = file.expect(name, shape)?;
    stored.check_finite()?;
    let values = stored.to_f32()?;
    all_within(name, &values, range)?;
    Ok(values)
}

fn geometry(tap: &TapEntry, file: &TensorFile) -> Result<TapGeometry, BundleError> {
    let name = |part: &str| format!("tap.{}.{part}", tap.name);
    let tensor = |part: &str, shape: &[usize], range| values(file, &name(part), shape, range);
    let axes = tensor("axes", &[tap.rank, tap.width], &bounds::EMBEDDING)?;
    bounds::check_axes(&name("axes"), &axes, tap.width)?;
    Ok(TapGeometry {
        name: tap.name.clone(),
        width: tap.width,
        variances: tensor("variances", &[tap.rank], &bounds::VARIANCE)?,
        axes,
        floor: tap.floor,
        scanner_axes: tensor("scanner_axes", &[tap.scanner_rank, tap.width], &bounds::SCANNER_AXIS)?,
    })
}

fn features(file: &TensorFile) -> Result<Vec<u32>, BundleError> {
    let Some(stored) = file.get("features") else { fail!(Missing, "tensor `features` is missing") };
    let indices = stored.to_i32()?;
    at_most("features", indices.len(), MAX_FEATURES)?;
    let ascending = indices.windows(2).all(|pair| pair[0] < pair[1]);
    if !ascending || indices.iter().any(|&index| index < 0 || index as usize >= MAX_D_SAE) {
        fail!(Invalid, "`features` must ascend within 0..{MAX_D_SAE}");
    }
    Ok(indices.into_iter().map(|index| index as u32).collect())
}

fn scanner(
    i: usize,
    entry: &ScannerEntry,
    taps: &[TapGeometry],
    features: usize,
    file: &TensorFile,
) -> Result<Scanner, BundleError> {
    let mean =
        |tap: &TapGeometry| values(file, &format!("scanner.{i}.mean.{}", tap.name), &[tap.width], &bounds::EMBEDDING);
    let calibrated = entry.calibration.iter().filter_map(|(name, &count)| Some((Check::from_name(name)?, count)));
    let calibration = calibrated
        .map(|(check, count)| Ok((check, sorted(file, &format!("scanner.{i}.calibration.{}", check.name()), count)?)));
    let of_slides = |part: &str| {
        let name = format!("scanner.{i}.{part}");
        let count = file.get(&name).map_or(0, |stored| stored.shape.iter().product());
        at_most(&name, count, MAX_SLIDES)?;
        sorted(file, &name, count)
    };
    // The earlier format has none.
    let since_2 = |part: &str| match file.get(&format!("scanner.{i}.{part}")) {
        Some(_) => of_slides(part),
        None => Ok(Calibration::default()),
    };
    Ok(Scanner {
        id: entry.id.clone(),
        fitted_slides: entry.fitted_slides.clone(),
        fitted_tiles: entry.fitted_tiles,
        calibration_slides: entry.calibration_slides.clone(),
        means: taps.iter().map(mean).collect::<Result<_, _>>()?,
        effects: values(file, &format!("scanner.{i}.effects"), &[features], &bounds::EFFECT)?,
        color: entry.color,
        calibration: calibration.collect::<Result<_, BundleError>>()?,
        slide_shift: of_slides("slide_shift")?,
        novel: entry.novel,
        slide_novel: since_2("slide_novel")?,
        slide_peak: since_2("slide_peak")?,
    })
}

fn sorted(file: &TensorFile, name: &str, count: usize) -> Result<Calibration, BundleError> {
    let scores = values(file, name, &[count], &bounds::SCORE)?;
    if !scores.is_sorted() {
        fail!(Invalid, "tensor `{name}` is not in ascending order");
    }
    Ok(Calibration::new(scores))
}
