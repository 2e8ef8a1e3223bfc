//! Plan files: a plan that TensorRT built, together with the key of what it was built from.
//!
//! The file has `coverslip.plan/1` and a line feed, the header's length as u32 (little-endian), the header as JSON
//! (`key`, a [`PlanKey`]; `plan_bytes`; `sha256` of key and plan), and the plan. A plan must be trusted as code is: the
//! digest detects damage only. A host that must know the origin compares the sha256 of the whole file.

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::bundle::Bundle;
use crate::compose::COMPOSER;
use crate::digest::Digest;
use crate::error::{BundleError, fail};
use crate::manifest::Architecture;
use crate::precision::Precision;

const MAGIC: &[u8] = b"coverslip.plan/1\n";
/// The start of every version's magic number.
const FAMILY: &[u8] = b"coverslip.plan/";
const MAX_HEADER_BYTES: u32 = 64 * 1024;
/// The library whose plans fit every GPU of a compute capability.
const RTX: &str = "TensorRT-RTX";
/// The compute capability on which that library has no float32 products.
const TURING: &str = "sm75";

/// What a plan was built from and for. A plan is used only where the whole key fits: see [`PlanKey::misfit`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PlanKey {
    /// The bundle's digest.
    pub bundle: Digest,
    /// The composer's revision, [`crate::COMPOSER`].
    pub composer: u32,
    /// The graph's precision.
    pub precision: Precision,
    /// The library that built the plan: `TensorRT-RTX` or `TensorRT`.
    pub flavor: String,
    /// The library's version, all four numbers: the plan runs with no other.
    pub version: String,
    /// The smallest batch, tiles.
    pub min_batch: u32,
    /// The batch for which the plan is optimised, tiles.
    pub opt_batch: u32,
    /// The largest batch, tiles.
    pub max_batch: u32,
    /// Compute capabilities that the plan supports, such as `sm86`.
    pub targets: Vec<String>,
    /// Name of the one GPU that the plan supports; `None` if it runs on every GPU of `targets` (TensorRT-RTX).
    pub gpu: Option<String>,
}

/// The library that builds a plan, and the GPUs that it builds for.
#[derive(Clone, Debug)]
pub struct PlanTarget {
    /// `TensorRT-RTX` or `TensorRT`.
    pub flavor: String,
    /// All four numbers.
    pub version: String,
    /// Compute capabilities, such as `sm86`.
    pub capabilities: Vec<String>,
    /// The GPU of this machine, by name; none where the plan is built for others.
    pub gpu: Option<String>,
}

impl PlanKey {
    /// The key of a plan for batches of one to `max_batch` tiles, fastest at `opt_batch` (none: at the largest). Where
    /// the model takes one tile at a time, so does the plan. On Turing, where TensorRT-RTX has no float32 products,
    /// another precision takes the place of the one that is `asked` for. TensorRT builds for one GPU alone, TensorRT-RTX
    /// for all of a compute capability.
    pub fn new(
        bundle: &Bundle,
        target: &PlanTarget,
        asked: Precision,
        max_batch: u32,
        opt_batch: Option<u32>,
    ) -> PlanKey {
        let single = matches!(&bundle.manifest().architecture, Architecture::Onnx(onnx) if onnx.single_tile);
        let max_batch = if single { 1 } else { max_batch };
        let rtx = target.flavor == RTX;
        let turing = target.capabilities.iter().any(|capability| capability == TURING);
        PlanKey {
            bundle: bundle.digest(),
            composer: COMPOSER,
            precision: if rtx && turing { asked.without_float32_products() } else { asked },
            flavor: target.flavor.clone(),
            version: target.version.clone(),
            min_batch: 1,
            opt_batch: opt_batch.unwrap_or(max_batch).clamp(1, max_batch),
            max_batch,
            targets: target.capabilities.clone(),
            gpu: target.gpu.clone().filter(|_| !rtx),
        }
    }

    /// The plan's name in a cache: different keys have different digests.
    pub fn digest(&self) -> Digest {
        self.digest_with(&[])
    }

    /// The digest of the key followed by `plan`.
    fn digest_with(&self, plan: &[u8]) -> Digest {
        let mut digest = Sha256::new();
        // Serialising text and numbers cannot fail.
        digest.update(serde_json::to_vec(self).unwrap_or_default());
        digest.update(plan);
        Digest(digest.finalize().into())
    }

    /// Why a plan with this key cannot serve `wanted`; `None` if it can. A plan may support more compute capabilities
    /// and a wider range of batches than wanted.
    pub fn misfit(&self, wanted: &PlanKey) -> Option<String> {
        let differs = |what: &str, found: &dyn fmt::Display, wanted: &dyn fmt::Display| {
            Some(format!("it is for {what} {found}, wanted is {wanted}"))
        };
        let gpu = |gpu: &Option<String>| gpu.clone().unwrap_or_else(|| "any".to_owned());
        if self.bundle != wanted.bundle {
            return differs("the bundle", &self.bundle, &wanted.bundle);
        }
        if self.composer != wanted.composer {
            return differs("the composer's revision", &self.composer, &wanted.composer);
        }
        if self.precision != wanted.precision {
            return differs("precision", &self.precision, &wanted.precision);
        }
        if (&self.flavor, &self.version) != (&wanted.flavor, &wanted.version) {
            let library = |key: &PlanKey| format!("{} {}", key.flavor, key.version);
            return differs("the library", &library(self), &library(wanted));
        }
        if self.min_batch > wanted.min_batch || self.max_batch < wanted.max_batch {
            let batches = |key: &PlanKey| format!("{} to {}", key.min_batch, key.max_batch);
            return differs("batches of", &batches(self), &batches(wanted));
        }
        if let Some(missing) = wanted.targets.iter().find(|target| !self.targets.contains(target)) {
            return differs("compute capabilities", &self.targets.join(", "), missing);
        }
        if self.gpu != wanted.gpu {
            return differs("the GPU", &gpu(&self.gpu), &gpu(&wanted.gpu));
        }
        None
    }
}

/// The header in front of the plan.
#[derive(Deserialize, Serialize)]
struct Header {
    key: PlanKey,
    plan_bytes: u64,
    sha256: Digest,
}

/// A plan and its key.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanFile {
    /// What the plan was built from and for.
    pub key: PlanKey,
    /// The plan as TensorRT wrote it.
    pub plan: Vec<u8>,
}

impl PlanFile {
    /// Reads and verifies the file at `path`. Also returns the sha256 of the whole file, by which a host names the plan
    /// that it expects.
    ///
    /// # Errors
    /// `Missing` if there is no file, `Io`; `UnsupportedVersion`, `Invalid`, `Truncated` or `DigestMismatch` if it is
    /// not a whole plan file; `OutOfMemory` when memory is short.
    pub fn read(path: &Path) -> Result<(Self, Digest), BundleError> {
        read(&mut open(path)?).map_err(|error| error.within(path.display()))
    }

    /// Reads only the key of the file at `path`, without verifying the digest.
    ///
    /// # Errors
    /// As [`PlanFile::read`], without `DigestMismatch`.
    pub fn read_key(path: &Path) -> Result<PlanKey, BundleError> {
        let header = header(&mut open(path)?, &mut Sha256::new()).map_err(|error| error.within(path.display()))?;
        Ok(header.key)
    }

    /// Writes a plan to `path` and returns the sha256 of the file. The file is written beside its place and renamed
    /// when complete, so a reader never sees a part of it.
    ///
    /// # Errors
    /// `Io`.
    pub fn write(path: &Path, key: &PlanKey, plan: &[u8]) -> Result<Digest, BundleError> {
        coverslip_files::whole(path, |file| write_to(file, key, plan))
            .map_err(|error| BundleError::io(path.display(), &error))
    }
}

fn write_to(file: &mut File, key: &PlanKey, plan: &[u8]) -> std::io::Result<Digest> {
    let header = Header { key: key.clone(), plan_bytes: plan.len() as u64, sha256: key.digest_with(plan) };
    let header = serde_json::to_vec(&header)?;
    let length = (header.len() as u32).to_le_bytes();
    let mut digest = Sha256::new();
    for part in [MAGIC, &length, &header, plan] {
        file.write_all(part)?;
        digest.update(part);
    }
    Ok(Digest(digest.finalize().into()))
}

fn open(path: &Path) -> Result<File, BundleError> {
    match coverslip_files::open(path) {
        Ok(file) => Ok(file),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            fail!(Missing, "plan file {} does not exist", path.display())
        }
        Err(error) => Err(BundleError::io(path.display(), &error)),
    }
}

fn header(file: &mut File, digest: &mut Sha256) -> Result<Header, BundleError> {
    let magic = part(file, MAGIC.len() as u64, "magic number", digest)?;
    if magic != MAGIC {
        if magic.starts_with(FAMILY) {
            fail!(
                UnsupportedVersion,
                "it is a plan file of another version; build it again with this version of Coverslip"
            );
        }
        fail!(Invalid, "it is not a plan file of Coverslip; make one with `coverslip engine build`");
    }
    let length = part(file, 4, "header's length", digest)?;
    let length = length.try_into().map_or(u32::MAX, u32::from_le_bytes);
    if length > MAX_HEADER_BYTES {
        fail!(
            Invalid,
            "its header has {length} bytes, expected at most {MAX_HEADER_BYTES}: the file is damaged, build it again"
        );
    }
    let header = part(file, u64::from(length), "header", digest)?;
    match serde_json::from_slice(&header) {
        Ok(header) => Ok(header),
        Err(error) => fail!(Invalid, "its header cannot be read ({error}): the file is damaged, build it again"),
    }
}

fn read(file: &mut File) -> Result<(PlanFile, Digest), BundleError> {
    let mut digest = Sha256::new();
    let header = header(file, &mut digest)?;
    let plan = part(file, header.plan_bytes, "plan", &mut digest)?;
    if header.key.digest_with(&plan) != header.sha256 {
        fail!(
            DigestMismatch,
            "the sha256 of key and plan is not {}: the file is damaged, build it again",
            header.sha256
        );
    }
    if file.read(&mut [0]).map_err(|error| BundleError::io("the plan", &error))? != 0 {
        fail!(Invalid, "it has more bytes after the plan's {}: the file is damaged, build it again", header.plan_bytes);
    }
    Ok((PlanFile { key: header.key, plan }, Digest(digest.finalize().into())))
}

/// Reads the next `length` bytes into memory that is reserved first.
fn part(file: &mut File, length: u64, what: &str, digest: &mut Sha256) -> Result<Vec<u8>, BundleError> {
    let failed = |error: std::io::Error| BundleError::io(what, &error);
    // A damaged header may state any length; the file's own size bounds the allocation.
    let there = file.metadata().map_err(failed)?.len();
    let mut bytes = Vec::new();
    if bytes.try_reserve_exact(usize::try_from(length.min(there)).unwrap_or(usize::MAX)).is_err() {
        fail!(OutOfMemory, "no memory for the {what} ({length} bytes)");
    }
    file.take(length).read_to_end(&mut bytes).map_err(failed)?;
    if (bytes.len() as u64) < length {
        fail!(Truncated, "its {what} has {} of {length} bytes: the file is damaged, build it again", bytes.len());
    }
    digest.update(&bytes);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use coverslip_testkit::Scratch;

    use super::*;
    use crate::error::BundleErrorKind;
    use crate::synthetic::{SyntheticSpec, zeros};

    fn key() -> PlanKey {
        PlanKey {
            bundle: Digest([7; 32]),
            composer: 1,
            precision: Precision::Float16,
            flavor: "TensorRT-RTX".into(),
            version: "1.7.1.116".into(),
            min_batch: 1,
            opt_batch: 16,
            max_batch: 64,
            targets: vec!["sm86".into(), "sm89".into()],
            gpu: None,
        }
    }

    #[test]
    fn a_plan_round_trips_with_its_key_and_the_files_digest() {
        let folder = Scratch::new("plan");
        let path = folder.path().join("model.plan");
        let file = PlanFile { key: key(), plan: (0..=255).cycle().take(100_000).collect() };
        let digest = PlanFile::write(&path, &file.key, &file.plan).unwrap();
        assert_eq!(digest, Digest::of(&fs::read(&path).unwrap()));
        assert_eq!(PlanFile::read(&path).unwrap(), (file.clone(), digest));
        assert_eq!(PlanFile::read_key(&path).unwrap(), file.key);
        let other = PlanFile { plan: b"another".to_vec(), ..file };
        assert_ne!(PlanFile::write(&path, &other.key, &other.plan).unwrap(), digest, "it is replaced");
        assert_eq!(PlanFile::read(&path).unwrap().0, other);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn files_that_are_not_whole_plans_are_refused() {
        use BundleErrorKind::{DigestMismatch, Invalid, Missing, Truncated, UnsupportedVersion};
        let folder = Scratch::new("plan");
        let path = folder.path().join("model.plan");
        let refused = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            PlanFile::read(&path).unwrap_err()
        };
        let missing = PlanFile::read(&path).unwrap_err();
        assert_eq!(missing.kind(), Missing);
        PlanFile::write(&path, &key(), &[1; 60]).unwrap();
        let whole = fs::read(&path).unwrap();
        for cut in (0..whole.len()).step_by(7) {
            assert_eq!(refused(&whole[..cut]).kind(), Truncated, "{cut}");
        }
        for at in (0..whole.len()).step_by(5) {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            refused(&flipped);
        }
        let mut damaged = whole.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert_eq!(refused(&damaged).kind(), DigestMismatch);
        assert_eq!(refused(&[&whole[..], b"x"].concat()).kind(), Invalid);
        assert_eq!(refused(b"ftrt this is TensorRT's own file").kind(), Invalid);
        let later = [b"coverslip.plan/2\n", &whole[17..]].concat();
        let error = refused(&later);
        assert_eq!(error.kind(), UnsupportedVersion);
        assert!(error.to_string().contains("model.plan") && error.to_string().contains("build it again"), "{error}");
        let mut huge = whole;
        huge[17..21].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(refused(&huge).kind(), Invalid);
    }

    #[test]
    fn the_library_and_the_gpu_decide_about_precision_and_reach() {
        let folder = Scratch::new("plan-key");
        let bundle = crate::synthetic::write(&folder.join("bundle"), &SyntheticSpec::default(), zeros).unwrap();
        let key = |flavor: &str, capability: &str, asked, opt_batch| {
            let target = PlanTarget {
                flavor: flavor.into(),
                version: "1.7.1.116".into(),
                capabilities: vec![capability.into()],
                gpu: Some("A card".into()),
            };
            PlanKey::new(&bundle, &target, asked, 32, opt_batch)
        };
        let (rtx, trt) = (
            key("TensorRT-RTX", "sm86", Precision::Float16, None),
            key("TensorRT", "sm75", Precision::Float16, Some(64)),
        );
        assert_eq!((rtx.precision, rtx.gpu, rtx.opt_batch), (Precision::Float16, None, 32));
        assert_eq!((trt.precision, trt.gpu.as_deref(), trt.opt_batch), (Precision::Float16, Some("A card"), 32));
        assert_eq!(key("TensorRT-RTX", "sm75", Precision::Float16, None).precision, Precision::Float16Sae);
        assert_eq!(key("TensorRT-RTX", "sm75", Precision::BFloat16, None).precision, Precision::BFloat16);
        assert_eq!((rtx.bundle, rtx.composer), (bundle.digest(), COMPOSER));
    }

    #[test]
    fn a_plan_fits_what_it_covers() {
        let wanted = PlanKey { targets: vec!["sm89".into()], max_batch: 32, opt_batch: 8, ..key() };
        assert_eq!(key().misfit(&wanted), None);
        assert_ne!(key().digest(), wanted.digest());
        let cases = [
            (PlanKey { bundle: Digest([8; 32]), ..key() }, "bundle"),
            (PlanKey { composer: 2, ..key() }, "composer"),
            (PlanKey { precision: Precision::Float32, ..key() }, "float16, wanted is float32"),
            (PlanKey { version: "1.7.0.0".into(), ..key() }, "1.7.1.116"),
            (PlanKey { flavor: "TensorRT".into(), ..key() }, "TensorRT 1.7.1.116"),
            (PlanKey { max_batch: 128, ..key() }, "1 to 64, wanted is 1 to 128"),
            (PlanKey { targets: vec!["sm120".into()], ..key() }, "sm86, sm89, wanted is sm120"),
            (PlanKey { gpu: Some("A card".into()), ..key() }, "wanted is A card"),
        ];
        for (wanted, part) in cases {
            let misfit = key().misfit(&wanted).unwrap();
            assert!(misfit.contains(part), "{misfit}");
        }
    }
}
