//! Slides in turn on several runtimes, which differ in where their engine runs.

use std::time::{Duration, Instant};

use coverslip_plugin_abi::*;
use rustix::time::{ClockId, clock_gettime};

use crate::figure::{all, difference, quantile, ratio};
use crate::host::{Picture, TestRuntime};

/// A runtime, and what it is called. The first one is what the others are compared with.
pub(crate) type Place = (&'static str, TestRuntime);

/// What one slide gives.
pub(crate) struct Played {
    /// Tiles a second.
    rate: f64,
    /// Milliseconds of each tile.
    latencies: Vec<f64>,
    /// Of each frame, in microseconds, on the clock.
    submits: Vec<f64>,
    /// And of the processor's time.
    spent: Vec<f64>,
}

/// The processor's time of this thread, us.
fn thread_time() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    1e6 * time.tv_sec as f64 + 1e-3 * time.tv_nsec as f64
}

/// A row of tissue tiles, one frame each, at this pace in tiles a second.
pub(crate) fn play(runtime: &TestRuntime, tiles: u32, pace: Option<f64>) -> Played {
    let side = runtime.info().side;
    let picture = Picture::tissue(side * 8, side, 1);
    let slide = runtime.begin(|desc| {
        (desc.extent_width, desc.extent_height) = (u64::from(tiles * side), u64::from(side));
        (desc.max_frame_width, desc.max_frame_height) = (side, side);
    });
    let (start, mut submits, mut spent) = (Instant::now(), Vec::new(), Vec::new());
    for i in 0..tiles {
        if let Some(rate) = pace {
            std::thread::sleep(Duration::from_secs_f64(f64::from(i) / rate).saturating_sub(start.elapsed()));
        }
        let mut frame = picture.frame(i % 8 * side, 0, side, side);
        frame.x = i64::from(i * side);
        let (began, before) = (Instant::now(), thread_time());
        slide.submit_wait(&frame, 60_000).expect("room");
        submits.push(1e6 * began.elapsed().as_secs_f64());
        spent.push(thread_time() - before);
    }
    slide.finish(120_000).expect("ends");
    let rate = f64::from(tiles) / start.elapsed().as_secs_f64();
    assert_eq!(slide.summary().results[TILE_DONE as usize], u64::from(tiles));
    let latencies = slide.drain().iter().map(|tile| tile.record.latency_ns as f64 / 1e6).collect();
    Played { rate, latencies, submits, spent }
}

/// Slides of `tiles` in turn, one after the other on each place, `rounds` times.
fn in_turn(places: &[Place], rounds: usize, tiles: u32, pace: Option<f64>) -> Vec<Vec<Played>> {
    let mut found: Vec<Vec<Played>> = places.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        for i in 0..places.len() {
            let at = (i + round) % places.len();
            found[at].push(play(&places[at].1, tiles, pace));
        }
    }
    found
}

/// How many slides of how much time.
pub(crate) struct Effort {
    pub(crate) pairs: usize,
    pub(crate) seconds: f64,
    pub(crate) slides: usize,
    pub(crate) slide_seconds: f64,
}

/// The rate of each place, and its latency at 80 % of the first one's best.
pub(crate) fn compare(places: &[Place], effort: &Effort) {
    let guess = places.iter().map(|(_, runtime)| play(runtime, 64, None).rate).fold(f64::INFINITY, f64::min);
    let rates: Vec<Vec<f64>> = in_turn(places, effort.pairs, (effort.seconds * guess).max(40.0) as u32, None)
        .into_iter()
        .map(|turns| turns.iter().map(|turn| turn.rate).collect())
        .collect();
    let best = rates[0].iter().copied().fold(0.0, f64::max);
    println!("{best:.0} tiles/s {} at best, of {} slides each in turn", places[0].0, effort.pairs);
    for (at, (name, _)) in places.iter().enumerate().skip(1) {
        println!("{name}: {} of it, the median of the turns", ratio(&rates[0], &rates[at]));
    }
    let pace = 0.8 * best;
    let tiles = (effort.slide_seconds * pace).max(40.0) as u32;
    println!("\nLatency at 80 %, {pace:.0} tiles/s, {} slides of {tiles} tiles each, in turn:\n", effort.slides);
    println!("| | p50, p99 ms | p50, less {first} | p99, less {first} | submit: CPU, p99 us |", first = places[0].0);
    println!("|---|---|---|---|---|");
    let found = in_turn(places, effort.slides, tiles, Some(pace));
    let latencies = |at: usize| found[at].iter().map(|slide| slide.latencies.clone()).collect::<Vec<_>>();
    let first = latencies(0);
    for (at, (name, _)) in places.iter().enumerate() {
        let own = latencies(at);
        let mut whole = all(&own);
        let less = |share: f64| if at == 0 { String::new() } else { difference(&first, &own, share) };
        let (mut spent, mut submits) = (Vec::new(), Vec::new());
        for slide in &found[at] {
            spent.extend_from_slice(&slide.spent);
            submits.extend_from_slice(&slide.submits);
        }
        println!(
            "| {name} | {:.2}, {:.2} | {} | {} | {:.0}, {:.0} |",
            quantile(&mut whole, 0.5),
            quantile(&mut whole, 0.99),
            less(0.5),
            less(0.99),
            quantile(&mut spent, 0.5),
            quantile(&mut submits, 0.99)
        );
    }
}
