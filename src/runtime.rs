//! Bundle, engine and threads: started once, shared by slides, and stopped.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use coverslip_bundle::signature::{KeyId, Signed, Trust};
use coverslip_bundle::{Bundle, Digest, Manifest};
use coverslip_plugin_abi as abi;
use coverslip_profile::Profile;
use crossbeam_channel::bounded;

use crate::config::digest;
use crate::config::range::in_range;
use crate::config::runtime::{ProfileConfig, RuntimeConfig};
use crate::config::slide::Site;
use crate::engine::open::{OnProgress, Opened, Wanted, open};
use crate::judge::Judge;
use crate::judge::event::Event;
use crate::judge::history::Histories;
use crate::pipeline::queues::{Job, Queues};
use crate::pipeline::shared::Shared;
use crate::pipeline::{lane, prep};
use crate::restarts::Restarts;
use crate::slide::registry::Registry;
use coverslip_base::error::{Result, error, from_bundle};
use coverslip_base::fault;
use coverslip_base::log::Log;
use coverslip_base::memory::expect_room;
use coverslip_base::sync::{Arc, Mutex, Ordering, PoisonError};
use coverslip_base::thread::{Placement, spawn};

/// Time for lanes to return whose engine was aborted.
const AFTER_ABORT: Duration = Duration::from_secs(1);
/// What a runtime takes beside its queues, its threads and its engine.
const SMALL: usize = 256 << 10;

pub(crate) struct Runtime {
    pub(crate) shared: Arc<Shared>,
    pub(crate) config: RuntimeConfig,
    pub(crate) manifest: Arc<Manifest>,
    /// The features' numbers before some were removed, where that was done.
    pub(crate) original_features: Option<Vec<i32>>,
    pub(crate) bundle_digest: Digest,
    /// With what its scanners' slides have come to.
    pub(crate) profile: Option<(Arc<Profile>, Arc<Histories>)>,
    /// Zero without a profile.
    pub(crate) profile_digest: [u8; 32],
    /// Whose signature of the bundle was accepted.
    pub(crate) bundle_key: Option<KeyId>,
    pub(crate) profile_key: Option<KeyId>,
    /// sha256 of the configuration as understood.
    pub(crate) digest: [u8; 32],
    /// The largest 1 − cosine of the self-check.
    pub(crate) self_check_error: f64,
    threads: Mutex<Threads>,
}

#[derive(Default)]
struct Threads {
    prep: Vec<JoinHandle<()>>,
    lanes: Vec<JoinHandle<()>>,
    judge: Option<JoinHandle<()>>,
}

impl Runtime {
    /// Loads and verifies the bundle, loads the engine, checks it, starts the threads.
    pub(crate) fn open(config: RuntimeConfig, log: Arc<Log>, report: &mut OnProgress<'_>) -> Result<Runtime> {
        fault::point("open");
        report(abi::STAGE_VERIFY, 0.0)?;
        let bundle = Arc::new(Bundle::open_trusted(&config.bundle, &config.trust).map_err(from_bundle)?);
        expect_digest("bundle", config.bundle_digest, bundle.digest())?;
        log_origin(&log, "bundle", bundle.signed(), &config.trust);
        let asked = config.profile.as_ref();
        let profile = asked.map(|asked| open_profile(asked, &config.trust, &bundle, &log)).transpose()?;
        let (profile, profile_digest, profile_key) =
            profile.map_or((None, [0; 32], None), |(profile, digest, key)| (Some(profile), digest, key));
        let profile = profile.map(|profile| {
            let histories = Arc::new(Histories::new(&profile));
            (profile, histories)
        });
        let original_features = bundle.index_map().map_err(from_bundle)?;
        // From here on nothing fails before `close` can drop the engine on a thread of the plugin.
        let restarts = Arc::new(Restarts::default());
        let wanted = Wanted {
            config: config.engine.clone(),
            isolation: config.isolation.clone(),
            bundle: bundle.clone(),
            folder: config.bundle.clone(),
            log: log.clone(),
            restarts: restarts.clone(),
        };
        let Opened { duty, self_check_error } = open(wanted, report)?;

        let slides = Registry::new(config.max_slides, config.memory_limit);
        let side = bundle.manifest().side;
        let shared = match expect_room("the queues", Queues::BYTES + SMALL) {
            Ok(()) => Arc::new(Shared::new(slides, duty, side, log, restarts)),
            Err(refusal) => {
                drop_elsewhere(duty, &config.engine.placement);
                return Err(refusal);
            }
        };
        let runtime = Runtime {
            shared,
            threads: Mutex::default(),
            manifest: Arc::new(bundle.manifest().clone()),
            original_features,
            bundle_digest: bundle.digest(),
            bundle_key: bundle.signed().map(|signed| signed.key),
            profile,
            profile_digest,
            profile_key,
            digest: digest::of_runtime(&config),
            self_check_error,
            config,
        };
        runtime.start()?;
        runtime.log_opened();
        Ok(runtime)
    }

    fn log_opened(&self) {
        let about = self.shared.duty.about();
        self.shared.log.write(
            abi::LOG_INFO,
            format_args!(
                "bundle {} on {} with {} lanes, self-check {:.1e}",
                self.manifest.name, about.version, about.lanes, self.self_check_error
            ),
        );
        if let Some(loss) = self.shared.duty.loss() {
            self.shared.log.write(abi::LOG_WARN, format_args!("the CPU engine runs instead: {}", loss.error.text()));
        }
    }

    /// Prep is a small share of a lane's work on the CPU, and all that the CPU has to do beside a GPU.
    fn prep_workers(&self) -> usize {
        let lanes = self.config.engine.cpu_lanes;
        if self.shared.duty.about().shared_device { lanes } else { lanes.div_ceil(4) }
    }

    fn start(&self) -> Result<()> {
        let placement = Arc::new(self.config.engine.placement.clone());
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let started: Result<()> = (|| {
            for i in 0..self.prep_workers() {
                let shared = self.shared.clone();
                threads.prep.push(spawn(format!("prep{i}"), &placement, move || prep::run(&shared))?);
            }
            let lanes = self.shared.duty.threads();
            let (begun, ready) = bounded(lanes);
            for i in 0..lanes {
                let (shared, begun) = (self.shared.clone(), begun.clone());
                threads.lanes.push(spawn(format!("lane{i}"), &placement, move || lane::run(&shared, i, begun))?);
            }
            drop(begun);
            let shared = self.shared.clone();
            let (events, slides) = (shared.queues.judge.1.clone(), shared.slides.clone());
            let judge = Judge::new(events, slides, shared.log.clone(), shared.restarts.clone());
            threads.judge =
                Some(spawn("judge".into(), &placement, move || judge.run(&shared.times.judge, &shared.wakes))?);
            // Until each lane has said whether it can run.
            ready.iter().collect()
        })();
        drop(threads);
        if started.is_err() {
            // It also runs while a panic in `close` unwinds, and a second one would end the process.
            let _ = catch_unwind(AssertUnwindSafe(|| self.close(Some(Duration::from_secs(1)))));
        }
        started
    }

    /// What a slide's configuration depends on.
    pub(crate) fn site(&self) -> Site<'_> {
        let about = self.shared.duty.about();
        Site {
            manifest: &self.manifest,
            profile: self.profile.as_ref(),
            runtime_digest: self.digest,
            on_the_way: 2 * about.lanes * about.max_batch + 2 * self.prep_workers() + 4,
            engine_epoch: self.shared.duty.epoch(),
        }
    }

    /// Lets the engine use at most this share of its time, from the next batch on.
    pub(crate) fn set_budget(&self, percent: u32) -> Result<()> {
        in_range("percent", percent, 1..=100)?;
        self.shared.budget.store(percent, Ordering::Relaxed);
        Ok(())
    }

    // -- the end ----------------------------------------------------------------------------------------------

    /// Ends every slide and joins every thread. A thread that does not return in time is left behind.
    pub(crate) fn close(&self, timeout: Option<Duration>) -> Result<()> {
        let mut deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        self.shared.stop();
        self.shared.slides.end_all();
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let queues = &self.shared.queues;
        // The queues have room for these.
        threads.prep.iter().for_each(|_| drop(queues.prep.0.try_send(Job::Stop)));
        let prep = join_all(&mut threads.prep, deadline);
        self.shared.duty.end();
        threads.lanes.iter().for_each(|_| drop(queues.ready.0.try_send(Job::Stop)));
        if !are_finished(&threads.lanes, deadline) && self.shared.duty.abort() {
            deadline = Some(Instant::now() + AFTER_ABORT);
        }
        let lanes = join_all(&mut threads.lanes, deadline);
        let judge = threads.judge.take().map_or(0, |judge| {
            queues.tell(Event::Stop);
            join_all(&mut vec![judge], deadline)
        });
        // A lane that hangs keeps its engine, which ends with it.
        let unload = if lanes == 0 { self.unload(deadline) } else { 0 };
        self.shared.log.silence();
        let hung = prep + lanes + judge + unload;
        if hung > 0 {
            return Err(error!(
                ENGINE_HUNG,
                "{hung} threads did not return in time; they and their memory are left behind until the process ends"
            ));
        }
        Ok(())
    }

    /// Drops the engines on a thread of the plugin: a GPU's engine must not touch the host's threads.
    fn unload(&self, deadline: Option<Instant>) -> usize {
        let engines = self.shared.duty.retire(deadline.map(|at| at.saturating_duration_since(Instant::now())));
        if engines.is_empty() {
            return 0;
        }
        match drop_elsewhere(engines, &self.config.engine.placement) {
            Some(thread) => join_all(&mut vec![thread], deadline),
            None => 0,
        }
    }
}

/// Drops what an engine is part of on a thread of the plugin. Where none can be started it is dropped on this one.
fn drop_elsewhere(engine: impl Send + 'static, placement: &Placement) -> Option<JoinHandle<()>> {
    spawn("unload".into(), &Arc::new(placement.clone()), move || drop(engine)).ok()
}

impl Drop for Runtime {
    /// Runs after `close`. Only a runtime that could not be handed to the host still has threads here.
    fn drop(&mut self) {
        let _ = self.close(Some(Duration::from_secs(1)));
    }
}

/// Whether the threads have ended before the deadline.
fn are_finished(threads: &[JoinHandle<()>], deadline: Option<Instant>) -> bool {
    threads.iter().all(|thread| {
        while !thread.is_finished() && deadline.is_none_or(|deadline| Instant::now() < deadline) {
            std::thread::sleep(Duration::from_millis(1));
        }
        thread.is_finished()
    })
}

/// Joins the threads that end before the deadline. Gives the number of the others.
fn join_all(threads: &mut Vec<JoinHandle<()>>, deadline: Option<Instant>) -> usize {
    let mut hung = 0;
    for thread in threads.drain(..) {
        while !thread.is_finished() && deadline.is_none_or(|deadline| Instant::now() < deadline) {
            std::thread::sleep(Duration::from_millis(1));
        }
        if thread.is_finished() {
            // A worker catches panics in its loop: there is nothing to report.
            let _ = thread.join();
        } else {
            hung += 1;
        }
    }
    hung
}

/// A profile that was opened, its digest, and whose signature of it was accepted.
type OpenedProfile = (Arc<Profile>, [u8; 32], Option<KeyId>);

/// Opens the profile, which must belong to the bundle and be the one that the host expects.
fn open_profile(asked: &ProfileConfig, trust: &Trust, bundle: &Bundle, log: &Log) -> Result<OpenedProfile> {
    let (profile, digest, signed) = Profile::open_trusted(&asked.path, trust).map_err(from_bundle)?;
    expect_digest("profile", asked.digest, digest)?;
    profile.check_bundle(bundle.manifest(), bundle.digest()).map_err(from_bundle)?;
    log_origin(log, "profile", signed.as_ref(), trust);
    Ok((Arc::new(profile), digest.0, signed.map(|signed| signed.key)))
}

/// Says who made what was opened, to a host that asked by naming keys.
fn log_origin(log: &Log, what: &str, signed: Option<&Signed>, trust: &Trust) {
    match signed {
        Some(Signed { key, comment }) => {
            log.write(abi::LOG_INFO, format_args!("the {what} is signed by the key {key}: {comment}"));
        }
        None if !trust.keys.is_empty() => {
            log.write(
                abi::LOG_WARN,
                format_args!("the {what} is not signed, and COVERSLIP_RUNTIME_REQUIRE_SIGNATURE is not set"),
            );
        }
        None => {}
    }
}

fn expect_digest(what: &str, expected: Option<[u8; 32]>, found: Digest) -> Result<()> {
    match expected.map(Digest) {
        Some(expected) if expected.0 != found.0 => Err(error!(
            DIGEST_MISMATCH,
            "expected the {what} {expected}, found {found}: install the {what} that this host was validated with"
        )),
        _ => Ok(()),
    }
}
