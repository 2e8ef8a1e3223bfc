//! The plan cache: plans are found by their key, verified, and built again when none fits.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use coverslip_bundle::{BundleErrorKind, Digest, PlanFile, PlanKey};
use coverslip_files::Claim;
use coverslip_plugin_abi as abi;

use super::device::unavailable;
use super::private::{private, private_file};
use crate::Loss;
use crate::config::GpuConfig;
use coverslip_base::error::{Error, error};
use coverslip_base::log::Log;

/// Longest file of timings or of compiled code that is read, bytes. A longer one is made again.
pub(super) const MOST_CACHE: u64 = 256 << 20;

/// The extension of the cache's files.
const PLAN: &str = "plan";

/// A plan that was found or built.
pub(super) struct Plan {
    pub(super) key: PlanKey,
    pub(super) bytes: Vec<u8>,
    /// sha256 of its file; None: it is kept nowhere.
    pub(super) digest: Option<Digest>,
    /// It was in the cache.
    pub(super) found: bool,
}

/// Where plans are kept, and which one is wanted.
pub(super) struct Plans<'c> {
    place: Option<PathBuf>,
    /// A file that others can change is not read, nor one that a link leads to.
    private: bool,
    /// One file that is the plan, not a folder of plans.
    single: bool,
    expected: Option<Digest>,
    may_build: bool,
    wanted: PlanKey,
    log: &'c Log,
}

impl<'c> Plans<'c> {
    /// Fails where plans must be private and are not.
    pub(super) fn new(config: &GpuConfig, wanted: PlanKey, log: &'c Log) -> Result<Plans<'c>, Loss> {
        let place = match &config.plans {
            Some(place) if config.private_plans => Some(private(place).map_err(exposed)?),
            place => place.clone(),
        };
        let single = place.as_deref().is_some_and(Path::is_file);
        let expected = config.plan_digest.map(Digest);
        // The digest of a plan that is yet to be built cannot be known.
        let may_build = !(config.prebuilt_only || single || expected.is_some());
        Ok(Plans { place, private: config.private_plans, single, expected, may_build, wanted, log })
    }

    /// A plan from the cache that fits. None: one must be built.
    pub(super) fn find(&self) -> Result<Option<Plan>, Loss> {
        let mut refusals = Vec::new();
        let mut other_digest = false;
        for path in self.candidates()? {
            if let Err(why) = self.expect_private(&path) {
                refusals.push(why.to_string());
                continue;
            }
            // A file with another key is not read to its end.
            let misfit = PlanFile::read_key(&path).ok().and_then(|key| key.misfit(&self.wanted));
            if let Some(why) = misfit {
                refusals.push(format!("{}: {why}", path.display()));
                continue;
            }
            match PlanFile::read(&path) {
                Ok((file, digest)) => {
                    let stranger = self.expected.as_ref().filter(|expected| expected.0 != digest.0);
                    let why = file.key.misfit(&self.wanted).or_else(|| {
                        other_digest |= stranger.is_some();
                        stranger.map(|expected| format!("its digest is {digest}, expected is {expected}"))
                    });
                    match why {
                        None => {
                            let (key, bytes) = (file.key, file.plan);
                            return Ok(Some(Plan { key, bytes, digest: Some(digest), found: true }));
                        }
                        Some(why) => refusals.push(format!("{}: {why}", path.display())),
                    }
                }
                Err(e) if e.kind() == BundleErrorKind::Missing => {}
                Err(e) => refusals.push(e.to_string()),
            }
        }
        if self.may_build {
            refusals.iter().for_each(|why| self.note(format_args!("a plan in the cache is built again: {why}")));
            return Ok(None);
        }
        Err(self.none(&refusals, other_digest))
    }

    /// Fails where plans must be private and this file is not.
    fn expect_private(&self, file: &Path) -> std::io::Result<()> {
        if self.private && file.is_file() { private_file(file) } else { Ok(()) }
    }

    /// The loss when there is no plan and none may be built.
    fn none(&self, refusals: &[String], other_digest: bool) -> Loss {
        let place = self.place.as_ref();
        let place = place.map_or("no plan_cache_path is set".into(), |place| place.display().to_string());
        let refusals = if refusals.is_empty() { "no plan is there".into() } else { refusals.join("; ") };
        let text = format!("no prebuilt plan fits ({place}: {refusals}): make one with `coverslip engine build`");
        let error = match other_digest {
            true => error!(DIGEST_MISMATCH, "{text}"),
            false => error!(ENGINE_UNAVAILABLE, "{text}"),
        };
        Loss { reason: abi::REASON_PLAN_REFUSED, error }
    }

    /// The files to look at: the one that the key names, or all when none may be built.
    fn candidates(&self) -> Result<Vec<PathBuf>, Loss> {
        let Some(place) = &self.place else { return Ok(Vec::new()) };
        if self.single {
            return Ok(vec![place.clone()]);
        }
        if self.may_build {
            return Ok(vec![self.path_in(place)]);
        }
        let unreadable = |e: std::io::Error| {
            let native = i64::from(e.raw_os_error().unwrap_or(0));
            let error = error!(IO, "the plans in {} cannot be listed: {e}", place.display()).with_native(native);
            Loss { reason: abi::REASON_PLAN_REFUSED, error }
        };
        let entries = match fs::read_dir(place) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(unreadable)?,
        };
        let mut paths = Vec::new();
        for entry in entries {
            paths.push(entry.map_err(unreadable)?.path());
        }
        paths.retain(|path| path.extension().is_some_and(|extension| extension == PLAN));
        paths.sort();
        Ok(paths)
    }

    /// Where a plan that is built here is stored.
    fn path_in(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.{PLAN}", self.name()))
    }

    fn name(&self) -> String {
        self.wanted.digest().to_string().chars().take(16).collect()
    }

    /// Claims the place in the cache where a plan that is built here will be. None where there is no cache, it cannot be
    /// written, or another process builds this plan: then this one is built too, and not kept. Nobody waits.
    pub(super) fn claim(&self) -> Option<Claim> {
        let folder = self.place.as_deref()?;
        let claimed = Claim::beside(&self.path_in(folder)).and_then(|mut claim| {
            claim.sweep(folder)?;
            Ok(claim)
        });
        let mut claim = claimed.map_err(|why| self.note(format_args!("the plan is not kept: {why}"))).ok()?;
        claim.notes().iter().for_each(|note| self.log.write(abi::LOG_INFO, format_args!("{note}")));
        Some(claim)
    }

    /// Keeps a plan that was built. If it cannot be written, the next start builds it again.
    pub(super) fn keep(&self, bytes: Vec<u8>, claim: Option<Claim>) -> Plan {
        let digest = claim.and_then(|claim| {
            let written = PlanFile::write(claim.place(), &self.wanted, &bytes);
            written.map_err(|why| self.note(format_args!("the plan is not kept: {why}"))).ok()
        });
        Plan { key: self.wanted.clone(), bytes, digest, found: false }
    }

    /// A plan that was found does not work. OK when another may be built instead.
    pub(super) fn give_up(&self, plan: &Plan, why: &str) -> Result<(), Loss> {
        if plan.found && self.may_build {
            self.note(format_args!("the plan in the cache is built again: {why}"));
            return Ok(());
        }
        Err(unavailable!(REASON_PLAN_REFUSED, "the plan does not work here: {why}"))
    }

    /// The path of what a library keeps beside its plans: one file per plan (`of_plan`), or one per GPU. None where
    /// others can change it.
    pub(super) fn beside(&self, extension: &str, of_plan: bool) -> Option<PathBuf> {
        let place = self.place.as_deref()?;
        let folder = if self.single { place.parent()? } else { place };
        let PlanKey { flavor, version, targets, .. } = &self.wanted;
        let name = if of_plan { self.name() } else { format!("{flavor}-{version}-{}", targets.join("-")) };
        let path = folder.join(format!("{name}.{extension}"));
        self.expect_private(&path).inspect_err(|why| self.note(format_args!("not used: {why}"))).ok()?;
        Some(path)
    }

    pub(super) fn wanted(&self) -> &PlanKey {
        &self.wanted
    }

    fn note(&self, text: std::fmt::Arguments<'_>) {
        self.log.write(abi::LOG_WARN, text);
    }
}

/// Others can change the plans, or it cannot be known.
fn exposed(e: std::io::Error) -> Loss {
    let error = error!(ENGINE_UNAVAILABLE, "{e}").with_native(i64::from(e.raw_os_error().unwrap_or(0)));
    Loss { reason: abi::REASON_PLAN_REFUSED, error }
}

/// Writes what a library keeps beside its plans, whole or not at all. A failure is not reported, because the library
/// makes the file again.
pub(super) fn write_beside(path: &Path, bytes: &[u8]) {
    let _ = coverslip_files::put(path, bytes);
}

/// Bundle or composer refuse this engine.
pub(super) fn no_graph(error: Error) -> Loss {
    Loss { reason: abi::REASON_PLAN_REFUSED, error }
}
