//! Bundle, engine and threads: opened once, shared by slides.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use coverslip_bundle::profile::Profile;
use coverslip_bundle::{Bundle, Digest, Manifest};
use coverslip_plugin_abi as abi;
use sha2::{Digest as _, Sha256};

use crate::engine::config::EngineConfig;
use crate::engine::duty::Duty;
use crate::engine::open::{Opened, Report, open};
use crate::error::{Result, error, from_bundle};
use crate::fault;
use crate::judge;
use crate::log::Log;
use crate::pipeline::queues::{Job, MAX_SLOTS, Notice, Pipes};
use crate::pipeline::{lane, prep};
use crate::slide::state::{Slide, SlideConfig};
use crate::thread::spawn;

/// What the host asks for, with every default filled in.
#[derive(Clone, Debug)]
pub(crate) struct RuntimeConfig {
    pub(crate) bundle: PathBuf,
    pub(crate) bundle_digest: Option<[u8; 32]>,
    pub(crate) profile: Option<ProfileConfig>,
    pub(crate) engine: EngineConfig,
    pub(crate) max_slides: usize,
    pub(crate) memory_limit: u64,
}

/// The profile that the host asks for.
#[derive(Clone, Debug)]
pub(crate) struct ProfileConfig {
    /// Its folder.
    pub(crate) path: PathBuf,
    /// What the host expects it to be.
    pub(crate) digest: Option<[u8; 32]>,
}

/// Nanoseconds spent, by part.
#[derive(Default)]
pub(crate) struct Times {
    pub(crate) prep: AtomicU64,
    pub(crate) lane: AtomicU64,
    pub(crate) judge: AtomicU64,
    pub(crate) batches: AtomicU64,
}

/// Totals of slides that have ended.
#[derive(Clone, Copy, Default)]
pub(crate) struct Totals {
    pub(crate) frames_accepted: u64,
    pub(crate) frames_refused: u64,
    pub(crate) results: [u64; 8],
    pub(crate) submit_ns: u64,
}

impl Totals {
    pub(crate) fn add(&mut self, slide: &Slide) {
        self.frames_accepted += slide.counters.frames_accepted.load(Ordering::Acquire);
        self.frames_refused += slide.counters.frames_refused.load(Ordering::Acquire);
        self.submit_ns += slide.submit_ns.load(Ordering::Relaxed);
        for (total, count) in self.results.iter_mut().zip(slide.tally.read()) {
            *total += count;
        }
    }
}

#[derive(Default)]
struct Slides {
    /// Those that are open, and those that have ended but still have tiles on their way.
    all: Vec<Arc<Slide>>,
    past: Totals,
}

/// What the threads share.
pub(crate) struct Shared {
    pub(crate) pipes: Arc<Pipes>,
    pub(crate) duty: Duty,
    /// Pixels of the model's input.
    pub(crate) side: usize,
    pub(crate) log: Arc<Log>,
    pub(crate) times: Times,
    /// Percent of the lanes' time.
    pub(crate) budget: AtomicU32,
    /// Whose turn it is on a device that lanes share, while a budget is set.
    pub(crate) turn: Mutex<()>,
    pub(crate) stopping: AtomicBool,
    slides: Mutex<Slides>,
}

impl Shared {
    fn lock_slides(&self) -> MutexGuard<'_, Slides> {
        self.slides.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn slides(&self) -> Vec<Arc<Slide>> {
        self.lock_slides().all.clone()
    }

    /// Lets go of the slides that have ended and have nothing on its way.
    pub(crate) fn forget_ended(&self) {
        let mut slides = self.lock_slides();
        // A lane or a queue may still hold one of its slots: its memory is taken until then.
        let over = |slide: &mut Arc<Slide>| slide.is_ended() && slide.is_finished() && Arc::strong_count(slide) == 1;
        let ended: Vec<Arc<Slide>> = slides.all.extract_if(.., over).collect();
        ended.iter().for_each(|slide| slides.past.add(slide));
        drop(slides);
        // Freed here, outside the lock.
        drop(ended);
    }

    /// The totals of all slides, the open ones among them.
    pub(crate) fn totals(&self) -> (Totals, Vec<Arc<Slide>>) {
        let slides = self.lock_slides();
        let mut totals = slides.past;
        slides.all.iter().for_each(|slide| totals.add(slide));
        (totals, slides.all.clone())
    }
}

/// An opened runtime.
pub(crate) struct Runtime {
    pub(crate) shared: Arc<Shared>,
    pub(crate) config: RuntimeConfig,
    pub(crate) manifest: Arc<Manifest>,
    /// The features' numbers before some were removed, where that was done.
    pub(crate) original_features: Option<Vec<i32>>,
    pub(crate) bundle_digest: Digest,
    pub(crate) profile: Option<Arc<Profile>>,
    /// Zero without a profile.
    pub(crate) profile_digest: [u8; 32],
    /// sha256 of the configuration as understood.
    pub(crate) digest: [u8; 32],
    /// The largest 1 − cosine of the self-check.
    pub(crate) self_check_error: f64,
    workers: Mutex<Workers>,
}

#[derive(Default)]
struct Workers {
    prep: Vec<JoinHandle<()>>,
    lanes: Vec<JoinHandle<()>>,
    judge: Option<JoinHandle<()>>,
}

impl Runtime {
    /// Loads and verifies the bundle, loads the engine, checks it, starts the threads.
    pub(crate) fn open(config: RuntimeConfig, log: Arc<Log>, report: &mut Report<'_>) -> Result<Runtime> {
        fault::point("open");
        report(abi::STAGE_VERIFY, 0.0)?;
        let bundle = Arc::new(Bundle::open(&config.bundle).map_err(from_bundle)?);
        expect_digest("bundle", config.bundle_digest, bundle.digest())?;
        let profile = config.profile.as_ref().map(|asked| open_profile(asked, &bundle)).transpose()?;
        let (profile, profile_digest) = profile.map_or((None, [0; 32]), |(profile, digest)| (Some(profile), digest));
        let original_features = bundle.index_map().map_err(from_bundle)?;
        // From here on nothing fails before `close` can end the engine on a thread of ours.
        let Opened { duty, self_check_error } = open(&config.engine, &bundle, &log, report)?;

        let shared = Arc::new(Shared {
            pipes: Arc::new(Pipes::new()),
            duty,
            side: bundle.manifest().side,
            log,
            times: Times::default(),
            budget: AtomicU32::new(100),
            turn: Mutex::new(()),
            stopping: AtomicBool::new(false),
            slides: Mutex::default(),
        });
        let digest = Sha256::digest(format!("{config:?}").as_bytes()).into();
        let runtime = Runtime {
            workers: Mutex::default(),
            manifest: Arc::new(bundle.manifest().clone()),
            original_features,
            bundle_digest: bundle.digest(),
            profile,
            profile_digest,
            digest,
            self_check_error,
            shared,
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
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        let started = (|| {
            for i in 0..self.prep_workers() {
                let shared = self.shared.clone();
                workers.prep.push(spawn(format!("prep{i}"), &placement, move || prep::run(&shared))?);
            }
            for i in 0..self.shared.duty.threads() {
                let shared = self.shared.clone();
                workers.lanes.push(spawn(format!("lane{i}"), &placement, move || lane::run(&shared, i))?);
            }
            let shared = self.shared.clone();
            workers.judge = Some(spawn("judge".into(), &placement, move || judge::run(&shared))?);
            Ok(())
        })();
        drop(workers);
        if started.is_err() {
            let _ = self.close(Some(Duration::from_secs(1)));
        }
        started
    }

    // -- slides -----------------------------------------------------------------------------------------------

    /// Tiles between the assembler and the outbox that keep every worker busy.
    pub(crate) fn tiles_on_the_way(&self) -> usize {
        let about = self.shared.duty.about();
        2 * about.lanes * about.max_batch + 2 * self.prep_workers() + 4
    }

    /// Bytes that one slide may take.
    pub(crate) fn slide_quota(&self) -> u64 {
        self.config.memory_limit / self.config.max_slides as u64
    }

    /// Begins a slide.
    pub(crate) fn begin(&self, config: SlideConfig) -> Result<Arc<Slide>> {
        fault::point("begin");
        let quota = self.slide_quota();
        if config.memory_bytes > quota {
            return Err(error!(
                OUT_OF_MEMORY,
                "the slide needs {} MiB ({} slots), its share of memory_limit is {} MiB: announce smaller frames, a \
                 smaller spread or fewer tiles, or raise memory_limit",
                config.memory_bytes >> 20,
                config.slots,
                quota >> 20
            ));
        }
        self.expect_place(&self.shared.lock_slides(), &config)?;
        if let Err(loss) = self.shared.duty.expect_manned() {
            let why = loss.map(|loss| loss.error);
            let why = why.as_ref().map_or("the runtime is being closed", |why| why.text());
            return Err(error!(ENGINE_UNAVAILABLE, "no engine runs any more: {why}; close this runtime, open another"));
        }
        let slide = Slide::begin(config, Arc::downgrade(&self.shared.pipes))?;
        if slide.config.unknown_scanner {
            let alert = slide.docket().alerts.unknown_scanner();
            slide.announce(alert);
        }
        let mut slides = self.shared.lock_slides();
        // Under the lock: `close` sets it before it looks for slides to end.
        if self.is_closing() {
            return Err(error!(INVALID_HANDLE, "the runtime is being closed"));
        }
        // Again: another thread may have begun one meanwhile.
        self.expect_place(&slides, &slide.config)?;
        slides.all.push(slide.clone());
        drop(slides);
        // After it is among those that hear of a loss: one that comes meanwhile is heard twice and said once.
        if let Some(loss) = self.shared.duty.loss() {
            slide.note_fallback(loss.reason, Instant::now());
        }
        Ok(slide)
    }

    fn expect_place(&self, slides: &Slides, config: &SlideConfig) -> Result<()> {
        let open = slides.all.iter().filter(|slide| !slide.is_ended()).count();
        if open >= self.config.max_slides {
            return Err(error!(
                LIMIT_REACHED,
                "{open} slides are open and max_slides is {}: end one first, or raise max_slides",
                self.config.max_slides
            ));
        }
        let slots: usize = slides.all.iter().map(|slide| slide.config.slots).sum();
        let bytes: u64 = slides.all.iter().map(|slide| slide.config.memory_bytes).sum();
        if slots + config.slots > MAX_SLOTS || bytes + config.memory_bytes > self.config.memory_limit {
            return Err(error!(
                OUT_OF_MEMORY,
                "the slide needs {} slots and {} MiB; of {MAX_SLOTS} slots {slots} and of {} MiB {} are taken: end a \
                 slide first (one that has ended keeps its memory while the engine still works on it) or announce less",
                config.slots,
                config.memory_bytes >> 20,
                self.config.memory_limit >> 20,
                bytes >> 20
            ));
        }
        Ok(())
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.shared.stopping.load(Ordering::Acquire)
    }

    // -- the end ----------------------------------------------------------------------------------------------

    /// Ends every slide and joins every thread; a lane that does not return in time is left behind.
    pub(crate) fn close(&self, timeout: Option<Duration>) -> Result<()> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.slides().iter().for_each(Slide::end);
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        let pipes = &self.shared.pipes;
        // The queues have room for these: see Pipes::new.
        workers.prep.iter().for_each(|_| drop(pipes.prep.0.try_send(Job::Stop)));
        let prep = join_all(&mut workers.prep, deadline);
        self.shared.duty.end();
        workers.lanes.iter().for_each(|_| drop(pipes.ready.0.try_send(Job::Stop)));
        let lanes = join_all(&mut workers.lanes, deadline);
        let _ = pipes.judge.0.try_send(Notice::Stop);
        let judge = join_all(&mut workers.judge.take().into_iter().collect(), deadline);
        // A lane that hangs still has its engine, which then ends with it.
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
}

impl Runtime {
    /// Ends the engines on a thread of ours: a GPU's engine must not touch the host's.
    fn unload(&self, deadline: Option<Instant>) -> usize {
        let engines = self.shared.duty.retire();
        if engines.is_empty() {
            return 0;
        }
        let placement = Arc::new(self.config.engine.placement.clone());
        match spawn("unload".into(), &placement, move || drop(engines)) {
            Ok(thread) => join_all(&mut vec![thread], deadline),
            // No thread is to be had; the engines have ended on this one.
            Err(_) => 0,
        }
    }
}

impl Drop for Runtime {
    /// Runs after `close`; only a runtime that could not be handed to the host gets here with threads.
    fn drop(&mut self) {
        let _ = self.close(Some(Duration::from_secs(1)));
    }
}

/// Joins what ends before the deadline; gives how many did not.
fn join_all(threads: &mut Vec<JoinHandle<()>>, deadline: Option<Instant>) -> usize {
    let mut hung = 0;
    for thread in threads.drain(..) {
        while !thread.is_finished() && deadline.is_none_or(|deadline| Instant::now() < deadline) {
            std::thread::sleep(Duration::from_millis(1));
        }
        if thread.is_finished() {
            // A worker's panics are caught in its loop; what is left to say is nothing.
            let _ = thread.join();
        } else {
            hung += 1;
        }
    }
    hung
}

/// The profile, if it belongs to the bundle and is the one that the host expects.
fn open_profile(asked: &ProfileConfig, bundle: &Bundle) -> Result<(Arc<Profile>, [u8; 32])> {
    let (profile, digest) = Profile::open(&asked.path).map_err(from_bundle)?;
    expect_digest("profile", asked.digest, digest)?;
    profile.check_bundle(bundle.manifest(), bundle.digest()).map_err(from_bundle)?;
    Ok((Arc::new(profile), digest.0))
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
