//! The engine in a process of its own, on the card: what a fault there costs the host, and what the way there costs.

use std::path::Path;
use std::time::{Duration, Instant};

use coverslip_plugin_abi::*;
use rustix::process::{Pid, Signal, kill_process};

use crate::computed;
use crate::cuda::{Card, Kernels, Memory};
use crate::figure::quantile;
use crate::host::{Picture, TestRuntime, Tile, open_with};
use crate::outcome::{Outcome, failed};
use crate::page::Rows;
use crate::play::{Played, TILES, play, row_of_tiles, row_picture, tiles_for};
use crate::site::{MOST, On, c_path, text};

/// The files by which the stand-in in the worker is told what to compute, and what to do once.
const TABLE: &str = "COVERSLIP_FAKE_TABLE";
const SABOTAGE: &str = "COVERSLIP_FAKE_SABOTAGE";

/// Opens with TensorRT in a worker.
fn open(on: &On, worker: &Path, change: impl FnOnce(&mut RuntimeDesc)) -> Outcome<TestRuntime> {
    let program = c_path(worker);
    Ok(on.open(|desc| {
        (desc.isolation, desc.worker_path, desc.worker_timeout_ms) = (ISOLATION_ALWAYS, program.as_ptr(), 5_000);
        change(desc);
    })?)
}

pub(crate) fn run(on: &On, worker: &Path) -> Outcome {
    let (Some(table), Some(sabotage)) = (std::env::var_os(TABLE), std::env::var_os(SABOTAGE)) else {
        return failed(format_args!("expected the names of two files in {TABLE} and {SABOTAGE}"));
    };
    let sabotage = Path::new(&sabotage);
    // The host's own work on the card.
    let card = Card::open()?;
    let (kernels, stream, out) = (Kernels::load()?, card.stream(0)?, Memory::new(4)?);
    let own = || {
        kernels.spin(&stream, &out, 1, 1000)?;
        stream.wait()?;
        Ok::<_, crate::outcome::Stop>("they run")
    };
    own()?;
    let expected = row_of_tiles(&open_with(&on.bundle, |_| ())?)?;
    let side = on.bundle()?.manifest().side as u32;
    let picture = row_picture(side);
    let tiles: Vec<Vec<u8>> = (0..TILES).map(|tile| cut(&picture, tile, side)).collect();
    std::fs::write(&table, computed::table_with(&on.bundle, &tiles))?;
    let mut rows = Rows::begin("the engine in a process of its own", "result");
    let began = Instant::now();
    rows.row("opens", open(on, worker, |_| ()).and_then(|runtime| opened(runtime, began)));
    let whole = || same(&row_of_tiles(&open(on, worker, |_| ())?)?, &expected);
    rows.row("a slide through a worker, tile by tile as on the CPU", whole());
    rows.row("killed in the middle", recovered(on, worker, &expected, &kill));
    for (name, what) in [("segv", "a crash in the driver"), ("fault", "a kernel that faults in it"), ("hang", "a hang")]
    {
        let once = |_: &TestRuntime| Ok(std::fs::write(sabotage, name)?);
        rows.row(what, recovered(on, worker, &expected, &once));
    }
    rows.row("the host's own kernels, afterwards", own());
    rows.end()?;
    println!(
        "Of a stand-in that looks its outputs up: what is left is the plugin, the driver's copies and the way there.\n"
    );
    beside(on, on.open(|_| ())?, open(on, worker, |_| ())?)
}

fn cut(picture: &Picture, tile: u32, side: u32) -> Vec<u8> {
    let row = |y: u32| {
        let start = 3 * (y * picture.width + tile * side) as usize;
        &picture.rgb[start..start + 3 * side as usize]
    };
    (0..side).flat_map(row).copied().collect()
}

fn opened(runtime: TestRuntime, began: Instant) -> Outcome<String> {
    let (info, took) = (runtime.info(), began.elapsed());
    runtime.close(10_000)?;
    if (info.engine, info.worker_process_id == 0) != (ENGINE_TENSORRT, false) {
        return failed(format_args!("engine {}, process {}", info.engine, info.worker_process_id));
    }
    Ok(format!("{}, {}, after {} ms", text(&info.driver_version), text(&info.gpu_uuid), took.as_millis()))
}

/// Ends the worker while it runs the slide.
fn kill(runtime: &TestRuntime) -> Outcome {
    let process = runtime.info().worker_process_id as i32;
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(1));
        Pid::from_raw(process).map(|process| kill_process(process, Signal::KILL))
    });
    Ok(())
}

/// A slide during which the worker is lost once.
fn recovered(on: &On, worker: &Path, expected: &[Tile], injure: &dyn Fn(&TestRuntime) -> Outcome) -> Outcome<String> {
    let runtime = open(on, worker, |desc| desc.max_batch = 8)?;
    injure(&runtime)?;
    // A kill may come too late for one slide: then it is the next that meets it.
    let mut alerts = Vec::new();
    let mut found = String::new();
    for _ in 0..3 {
        let (tiles, mut said) = crate::play::row_with_alerts(&runtime)?;
        found = same(&tiles, expected)?;
        alerts.append(&mut said);
        if runtime.stats().worker_restarts > 0 {
            break;
        }
    }
    let stats = runtime.stats();
    runtime.close(10_000)?;
    let reasons: Vec<i32> = alerts.iter().filter(|a| a.code == ALERT_WORKER_RESTARTED).map(|a| a.reason).collect();
    match (stats.worker_restarts, &reasons[..]) {
        (1, [reason]) => Ok(format!("{found}; restarted once, for reason {reason}")),
        (restarts, reasons) => failed(format_args!("{restarts} restarts, alerts for the reasons {reasons:?}")),
    }
}

fn same(found: &[Tile], expected: &[Tile]) -> Outcome<String> {
    let others = found.iter().zip(expected).filter(|(found, expected)| bits(found) != bits(expected)).count();
    if others > 0 || found.len() != expected.len() {
        return failed(format_args!("{others} of {} tiles are otherwise", found.len()));
    }
    Ok(format!("{} tiles, every bit", found.len()))
}

/// All that the engine says of a tile.
fn bits(tile: &Tile) -> (Vec<u32>, Vec<(u32, u32)>, u32, u32) {
    let features = tile.features.iter().map(|f| (f.index, f.value.to_bits())).collect();
    let embedding = tile.embedding.iter().map(|value| value.to_bits()).collect();
    (embedding, features, tile.record.active_count, tile.record.reconstruction_error.to_bits())
}

/// With TensorRT itself.
pub(crate) fn speed(on: &On, worker: &Path) -> Outcome {
    on.tensorrt()?;
    let on = on.with(on.plan()?);
    // A stand-in computes in this process alone: what is shown then is that the step runs.
    let apart = if computed::is_stand_in(&on.library)? { on.open(|_| ())? } else { open(&on, worker, |_| ())? };
    beside(&on, on.open(|_| ())?, apart)
}

/// Pairs of slides, here and in a worker, one after the other, so that a drift of the machine affects both.
const PAIRS: usize = 7;

fn beside(on: &On, here: TestRuntime, apart: TestRuntime) -> Outcome {
    let time = on.pace.of_a_figure();
    let guess = play(&here, 4 * MOST, None)?.rate;
    play(&apart, 4 * MOST, None)?;
    let tiles = tiles_for(guess, time, MOST);
    let (mut ratios, mut best) = (Vec::new(), 0f64);
    for _ in 0..PAIRS {
        let (a, b) = (play(&here, tiles, None)?.rate, play(&apart, tiles, None)?.rate);
        best = best.max(a);
        ratios.push(b / a);
    }
    let share = quantile(&mut ratios, 0.5);
    println!(
        "{best:.1} tiles/s here at best; a worker has {share:.3} of the same in this process, the median of {PAIRS} pairs of \
         {tiles} tiles, {:.3} to {:.3}.\n",
        ratios[0],
        ratios[PAIRS - 1]
    );
    println!("| at 80 % | p50, ms | p99, ms | submit p99, ms |\n|---|---|---|---|");
    let rate = 0.8 * best * share.min(1.0);
    for (name, runtime) in [("here", &here), ("in a worker", &apart), ("here", &here), ("in a worker", &apart)] {
        let Played { summary, submit_p99, .. } = play(runtime, tiles_for(rate, 2 * time, MOST), Some(rate))?;
        let (p50, p99) = (summary.latency_p50_ns as f64 / 1e6, summary.latency_p99_ns as f64 / 1e6);
        println!("| {name} | {p50:.2} | {p99:.2} | {submit_p99:.3} |");
    }
    println!();
    apart.close(10_000)?;
    Ok(here.close(10_000)?)
}
