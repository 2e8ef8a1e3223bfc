//! The contract is called at random from several threads: every function, with handles that are open, stale or made up,
//! with structs of other sizes, numbers from the edges, and memory that ends where it says. No call may crash, hang or
//! answer what its text does not allow, and at every summary the account of tiles must hold.
//!
//! `COVERSLIP_RANDOM_CALLS` sets the calls of each thread, `COVERSLIP_RANDOM_SEED` the seed. `.ci/nightly` runs it for
//! longer, and under the sanitizers.
#![cfg(target_os = "linux")]

mod caller;
mod camera;
mod dice;
mod frames;
mod guarded;
mod slides;
mod tally;
#[path = "../support"]
mod support {
    pub(crate) mod host;
}

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use coverslip_bundle::Bundle;
use coverslip_plugin_abi::*;
use coverslip_profile::{synthetic, write};

use caller::Caller;
use frames::SWATHS;
use tally::Tally;

const THREADS: u64 = 4;
/// Each thread's, unless `COVERSLIP_RANDOM_CALLS` says otherwise; more where a kind of frame has not been taken by then.
const CALLS: u64 = 4_000;
const SEED: u64 = 1;
/// No call waits for so long: those without a timeout are interrupted all the time.
const HANGS_AFTER: Duration = Duration::from_secs(300);

/// What all threads share.
pub(crate) struct Shared {
    pub(crate) api: &'static Api,
    pub(crate) bundle: CString,
    pub(crate) profile: CString,
    /// Open handles, or 0.
    pub(crate) runtimes: [AtomicU64; 3],
    pub(crate) slides: [AtomicU64; 12],
    /// What is known of the slide of the same place: its camera, and where each of its swaths goes on (pass, y).
    pub(crate) cameras: [AtomicU64; 12],
    pub(crate) swaths: [[AtomicU64; SWATHS]; 12],
    /// Handles that have been closed.
    pub(crate) stale: [AtomicU64; 32],
    /// Calls by what they answered.
    pub(crate) codes: [AtomicU64; SIGNATURE_INVALID as usize + 1],
    pub(crate) frames: AtomicU64,
    pub(crate) tally: Tally,
    pub(crate) results: AtomicU64,
    pub(crate) summaries: AtomicU64,
    /// For each thread when its call began, in milliseconds after the start and not 0, and which call it is.
    pub(crate) since: [(AtomicU64, AtomicU64); THREADS as usize],
    pub(crate) start: Instant,
    /// A thread has found something.
    pub(crate) over: AtomicBool,
}

impl Shared {
    fn new() -> Shared {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("random-calls");
        let (bundle, profile) = (folder.join("bundle"), folder.join("profile"));
        coverslip_testkit::bundle(&bundle);
        let opened = Bundle::open(&bundle).expect("the bundle opens");
        let known = synthetic::profile(opened.manifest(), opened.digest(), &["scanner", "another"], 99);
        write(&known, &profile, true).expect("the profile is written");
        let text = |path: &Path| CString::new(path.to_str().expect("UTF-8")).expect("no NUL");
        Shared {
            api: support::host::api(),
            bundle: text(&bundle),
            profile: text(&profile),
            runtimes: Default::default(),
            slides: Default::default(),
            cameras: Default::default(),
            swaths: Default::default(),
            stale: Default::default(),
            codes: [(); SIGNATURE_INVALID as usize + 1].map(|()| AtomicU64::new(0)),
            frames: AtomicU64::new(0),
            tally: Tally::new(),
            results: AtomicU64::new(0),
            summaries: AtomicU64::new(0),
            since: Default::default(),
            start: Instant::now(),
            over: AtomicBool::new(false),
        }
    }

    fn interrupt_all(&self) {
        for slide in &self.slides {
            // SAFETY: null is allowed for the error.
            unsafe { (self.api.slide_interrupt)(slide.load(Ordering::Relaxed), std::ptr::null_mut()) };
        }
    }

    #[allow(clippy::print_stderr)]
    fn expect_no_hang(&self) {
        let now = self.start.elapsed();
        for (thread, (since, what)) in self.since.iter().enumerate() {
            let since = Duration::from_millis(since.load(Ordering::Relaxed));
            if !since.is_zero() && now.saturating_sub(since) > HANGS_AFTER {
                // A thread that hangs cannot be joined, so a panic would hang too.
                eprintln!("thread {thread} hangs in call {}", caller::NAMES[what.load(Ordering::Relaxed) as usize]);
                std::process::abort();
            }
        }
    }
}

fn asked(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[test]
fn random_calls_from_several_threads_hold_the_contract() {
    let (calls, seed) = (asked("COVERSLIP_RANDOM_CALLS", CALLS), asked("COVERSLIP_RANDOM_SEED", SEED));
    coverslip_testkit::note(&format!("COVERSLIP_RANDOM_SEED={seed} COVERSLIP_RANDOM_CALLS={calls}, {THREADS} threads"));
    let shared = Shared::new();
    // On a slow machine fewer calls submit a frame that is taken: there the usual run is up to three times as long.
    let goes_on = |done: u64| done < calls || calls == CALLS && done < 3 * calls && !shared.tally.missing().is_empty();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (shared, goes_on) = (&shared, &goes_on);
                scope.spawn(move || {
                    let mut caller = Caller::new(shared, thread, seed * THREADS + thread);
                    caller.open_all();
                    let more = |done: &u64| !shared.over.load(Ordering::Relaxed) && goes_on(*done);
                    (0..).take_while(more).for_each(|_| caller.call());
                })
            })
            .collect();
        while threads.iter().any(|thread| !thread.is_finished()) {
            std::thread::sleep(Duration::from_millis(10));
            shared.expect_no_hang();
            // Whoever waits without a timeout would wait for those who have ended.
            if threads.iter().any(|thread| thread.is_finished()) {
                shared.interrupt_all();
            }
        }
    });
    for runtime in &shared.runtimes {
        let runtime = runtime.load(Ordering::Relaxed);
        // SAFETY: null is allowed for the error.
        let code = unsafe { (shared.api.runtime_close)(runtime, 60_000, std::ptr::null_mut()) };
        assert_eq!(code, if runtime == 0 { INVALID_HANDLE } else { OK }, "every thread joins");
    }
    let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
    let codes: Vec<_> = shared.codes.iter().map(count).enumerate().filter(|(_, count)| *count > 0).collect();
    coverslip_testkit::note(&format!(
        "{} calls, {} frames taken, {} results, {} summaries; calls by code: {codes:?}",
        codes.iter().map(|(_, count)| count).sum::<u64>(),
        count(&shared.frames),
        count(&shared.results),
        count(&shared.summaries)
    ));
    coverslip_testkit::note(&format!("frames taken by kind: {}", shared.tally.text()));
    assert!(count(&shared.frames) > 0 && count(&shared.results) > 0 && count(&shared.summaries) > 0);
    // A shorter run may miss some by chance.
    let missing = shared.tally.missing();
    assert!(calls < CALLS || missing.is_empty(), "no frame of these was taken: {missing:?}");
}
