//! Workers killed at random moments of running slides: one result for each tile, none twice, and nothing left over in the
//! host. `COVERSLIP_KILLS` says how many; .ci/nightly asks for 1,000.

use std::time::Duration;

use coverslip_plugin_abi::*;
use coverslip_testkit::Counting;

use crate::support::host::{Picture, TestRuntime, by_status};
use crate::system::{Held, crash, held, kill, stop};
use crate::{TILES, apart, bundle, by_column, child, folder, row};

/// Kills of a runtime: the third within a minute would be the last.
const KILLS: u32 = 2;
/// Rounds before the host is measured for the first time.
const WARM: u32 = 6;
/// Bytes in use that two moments may differ by: what a thread or a list takes once may come late.
const ONCE: i64 = 4 << 10;

#[test]
fn workers_killed_at_random_moments_cost_no_tile() {
    let file = folder("kill");
    let _ = std::fs::remove_file(&file);
    child("kills::at_random", &[("COVERSLIP_WORKER_SABOTAGE", file.to_str().unwrap())]);
}

struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % sides
    }
}

#[test]
#[ignore = "run by workers_killed_at_random_moments_cost_no_tile"]
#[allow(clippy::print_stdout, reason = "says what was done")]
fn at_random() {
    let number = |name: &str, or| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(or);
    let (kills, seed) = (number("COVERSLIP_KILLS", 40) as u32, number("COVERSLIP_RANDOM_SEED", 1));
    let file = std::env::var("COVERSLIP_WORKER_SABOTAGE").unwrap();
    let mut dice = Dice(seed);
    let (mut before, mut done) = (None, [0u32; 6]);
    let (mut restarts, mut retried, mut failed, mut handed_over) = (0, 0, 0, 0);
    for round in 0..kills.div_ceil(KILLS) + WARM {
        if round == WARM {
            before = Some((settled(), Counting::in_use()));
        }
        let runtime = apart(bundle(), |desc| desc.worker_timeout_ms = 1_500).expect("a worker");
        let tiles = play(&runtime, &mut dice, &file, &mut done);
        let stats = runtime.stats();
        let counts = by_status(&tiles);
        (restarts, retried) = (restarts + stats.worker_restarts, retried + stats.batches_retried);
        failed += counts[TILE_FAILED as usize];
        // A busy machine can make a worker hang that nobody has stopped: then there were three.
        let lost = runtime.info().fallback_reason != REASON_NONE;
        handed_over += usize::from(lost);
        assert!(lost || counts[TILE_DONE as usize] == 2 * TILES as usize, "seed {seed}, round {round}: {counts:?}");
        runtime.close(20_000).expect("every thread ends");
        let _ = std::fs::remove_file(&file);
    }
    let (before, in_use_before) = before.expect("rounds after the first");
    let (after, in_use) = (settled(), Counting::in_use());
    println!(
        "seed {seed}: {done:?} of killed, crashed, stopped, closed, garbage, abort; {restarts} restarts, {retried} batches \
         run again, {failed} tiles failed; {after:?}, and {in_use_before} to {in_use} bytes"
    );
    assert_eq!(after, before);
    // Pages are no measure: how many an allocator keeps depends on which threads ran at once.
    assert!(in_use <= in_use_before + ONCE, "{in_use_before} bytes before, {in_use} after, {handed_over} handed over");
    assert!(u64::from(kills) / 2 < restarts && failed < kills as usize / 10, "{restarts} restarts, {failed} failed");
}

/// What this process holds. The system lists a thread for a moment after it is joined: the least of some looks counts.
fn settled() -> Held {
    let looks = (0..20).map(|_| {
        std::thread::sleep(Duration::from_millis(5));
        held()
    });
    looks.min_by_key(|held| held.threads).expect("looks")
}

/// Two slides during each of which the worker is killed once, some time after its first tile.
fn play(runtime: &TestRuntime, dice: &mut Dice, file: &str, done: &mut [u32; 6]) -> Vec<crate::Tile> {
    let picture = Picture::tissue(TILES * crate::SIDE, crate::SIDE, 1);
    let mut all = Vec::new();
    for _ in 0..KILLS {
        let slide = row(runtime);
        slide.submit(&picture.frame(0, 0, picture.width, picture.height)).expect("room");
        std::thread::sleep(Duration::from_micros(dice.throw(6_000)));
        // A stopped worker costs its time limit.
        let how = match dice.throw(20) {
            0..6 => 0,
            6..10 => 1,
            10 => 2,
            11..14 => 3,
            14..17 => 4,
            _ => 5,
        };
        done[how] += 1;
        let process = runtime.info().worker_process_id;
        match how {
            _ if process == 0 => {}
            0 => kill(process),
            1 => crash(process),
            2 => stop(process),
            3 => std::fs::write(file, "close").unwrap(),
            4 => std::fs::write(file, "garbage").unwrap(),
            _ => std::fs::write(file, "abort").unwrap(),
        }
        all.extend(by_column(slide.results()));
        let summary = slide.summary();
        assert_eq!((summary.opened, summary.in_flight), (u64::from(TILES), 0));
    }
    all
}
