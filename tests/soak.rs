//! A month of a scanning site in simulated time: 100 slides an hour, 10⁸ tiles, on a model that is nearly nothing. Each
//! tile must end once, and memory, threads and open files must stay where they are. It takes hours and is run by hand or
//! by `.ci/nightly soak`; docs/measured/reliability.md has the figures:
//!
//!     cargo test --release --test soak -- --ignored --nocapture
//!
//! `COVERSLIP_SOAK_TILES` sets another number of tiles, `COVERSLIP_SOAK_DAY` another number of slides between two nights.
#![cfg(target_os = "linux")]
#![allow(clippy::print_stdout, reason = "figures for the documentation")]

mod support {
    pub(crate) mod host;
}

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant};

use coverslip_bundle::synthetic::SyntheticSpec;
use coverslip_bundle::{Pooling, Tap, TapSource};
use coverslip_plugin_abi::*;
use coverslip_testkit::Counting;
use support::host::{Answer, Picture, TestRuntime, TestSlide, call, open_with};

/// Tiles of the month, unless `COVERSLIP_SOAK_TILES` says otherwise.
const MONTH: u64 = 100_000_000;
/// Slides of a simulated day, unless `COVERSLIP_SOAK_DAY` says otherwise: 100 an hour. The runtime is opened in the morning
/// and closed in the evening.
const DAY: u64 = 2400;
/// Nanoseconds from one slide's beginning to the next in simulated time.
const EVERY: i64 = 36_000_000_000;
/// The first slide begins at this capture time.
const START: i64 = 1_800_000_000_000_000_000;
/// Bytes in use that two nights may differ by: what the C library keeps for threads that were joined.
const LEFT: u64 = 64 << 10;
/// Bytes asked for that two nights may differ by, and two moments between slides of an open runtime: what a thread or a list
/// takes once may come late.
const ASKED: u64 = 1 << 10;
/// Samples of a day.
const SAMPLES: u64 = 20;
const SIDE: u32 = 16;
const COLUMNS: u32 = 34;
const MOST_ROWS: u32 = 49;
const SCANNERS: u64 = 2;

/// A repeatable source of choices.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) % sides
    }
}

/// glibc's `struct mallinfo2`.
#[repr(C)]
struct Malloc {
    before: [usize; 7],
    in_use: usize,
    _after: [usize; 2],
}

unsafe extern "C" {
    fn mallinfo2() -> Malloc;
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What a process holds at one moment.
#[derive(Clone, Copy)]
struct Sample {
    tiles: u64,
    /// Bytes of pages in memory, with those that the allocator keeps for later.
    resident: u64,
    /// Bytes that were allocated and not freed, as they were asked for: by the library, what it links and this test.
    asked: i64,
    /// The same as the C library counts them: with its own of each, those of C code, and those that it keeps at hand for
    /// a thread.
    in_use: u64,
    threads: usize,
    files: usize,
}

fn sample(tiles: u64) -> Sample {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("/proc is mounted");
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).expect("resident pages");
    let entries = |folder: &str| std::fs::read_dir(folder).expect("/proc is mounted").count();
    // SAFETY: it only counts, and glibc has it since 2.33.
    let malloc = unsafe { mallinfo2() };
    let in_use = (malloc.in_use + malloc.before[4]) as u64;
    Sample {
        tiles,
        resident: pages * 4096,
        asked: Counting::in_use(),
        in_use,
        threads: entries("/proc/self/task"),
        files: entries("/proc/self/fd"),
    }
}

/// A sample after the runtime was closed. The kernel lists a joined thread for a moment.
fn at_night(tiles: u64, before: Option<&Sample>) -> Sample {
    let mut now = sample(tiles);
    for _ in 0..200 {
        if before.is_some_and(|before| now.threads <= before.threads) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
        now = sample(tiles);
    }
    now
}

/// A sample while the runtime is open and no slide is. The judge lets go of the last one a moment after its end.
fn between_slides(runtime: &TestRuntime, tiles: u64) -> Sample {
    let start = Instant::now();
    let (mut now, mut alike) = (sample(tiles), 0);
    while alike < 10 {
        assert!(start.elapsed().as_secs() < 60, "memory does not come to rest while nothing is scanned");
        std::thread::sleep(Duration::from_millis(1));
        let next = sample(tiles);
        alike = if next.asked == now.asked && runtime.stats().slots == 0 { alike + 1 } else { 0 };
        now = next;
    }
    now
}

/// The month so far.
#[derive(Default)]
struct Month {
    /// Each slide is scanned with it. Who takes it alone sees the runtime between slides.
    scanning: RwLock<()>,
    slides: AtomicU64,
    tiles: AtomicU64,
    by_status: Mutex<[u64; 8]>,
    samples: Mutex<Vec<Sample>>,
}

/// Which tiles of a slide owe a result, by pass, row and column.
struct Debts(Vec<bool>);

impl Debts {
    fn place(pass: u32, row: u32, column: u32) -> usize {
        ((pass * MOST_ROWS + row) * COLUMNS + column) as usize
    }

    fn new() -> Debts {
        Debts(vec![false; Debts::place(2, 0, 0)])
    }

    fn owe_row(&mut self, pass: u32, row: u32) {
        let start = Debts::place(pass, row, 0);
        self.0[start..start + COLUMNS as usize].fill(true);
    }

    fn pay(&mut self, record: &TileResult) {
        let place = Debts::place(record.pass, record.row as u32, record.column as u32);
        assert!(std::mem::take(&mut self.0[place]), "a result that nobody owes, or a second one: {record:?}");
    }

    fn open(&self) -> usize {
        self.0.iter().filter(|owed| **owed).count()
    }
}

/// One scanner: its buffers live as long as it, as a host's do.
struct Scanner {
    dice: Dice,
    records: Vec<TileResult>,
    features: Vec<Feature>,
    tissue: Picture,
    glass: Picture,
    counts: [u64; 8],
}

impl Scanner {
    fn new(seed: u64) -> Scanner {
        let (width, height) = (COLUMNS * SIDE, SIDE);
        Scanner {
            dice: Dice(seed),
            records: vec![TileResult::default(); 256],
            features: vec![Feature::default(); 4096],
            tissue: Picture::tissue(width, height, seed),
            glass: Picture::glass(width, height),
            counts: [0; 8],
        }
    }

    /// Takes what is there; false at the end of the results.
    fn poll(&mut self, slide: &TestSlide, wait_ms: Option<u32>, debts: &mut Debts) -> bool {
        loop {
            let mut batch = ResultBatch {
                record_size: size_of::<TileResult>() as u32,
                records: self.records.as_mut_ptr(),
                record_capacity: self.records.len() as u32,
                features: self.features.as_mut_ptr(),
                feature_capacity: self.features.len() as u32,
                ..ResultBatch::init()
            };
            // SAFETY: the buffers are as long as stated.
            let answer = call(|error| unsafe {
                match wait_ms {
                    None => (slide.api.slide_poll)(slide.handle, &mut batch, error),
                    Some(ms) => (slide.api.slide_wait)(slide.handle, &mut batch, ms, error),
                }
            });
            match answer {
                Err(refusal) if refusal.code == END_OF_RESULTS => return false,
                Err(refusal) if refusal.code == INTERRUPTED => return true,
                answer => answer.expect("results"),
            }
            for record in &self.records[..batch.record_count as usize] {
                debts.pay(record);
                self.counts[record.status as usize] += 1;
            }
            if (batch.record_count as usize) < self.records.len() {
                return true;
            }
        }
    }

    /// Scans the slide of this number and gives the number of its tiles.
    fn scan(&mut self, runtime: &TestRuntime, number: u64) -> u64 {
        let rows = 33 + self.dice.roll(u64::from(MOST_ROWS - 32)) as u32;
        let deadline = if self.dice.roll(20) == 0 { 1 } else { 0 };
        let slide = runtime.begin(|desc| {
            (desc.extent_width, desc.extent_height) = (u64::from(COLUMNS * SIDE), u64::from(rows * SIDE));
            (desc.max_frame_width, desc.max_frame_height) = (COLUMNS * SIDE, SIDE);
            (desc.max_unpolled, desc.result_deadline_ms) = (500, deadline);
        });
        let mut debts = Debts::new();
        let end_after = if self.dice.roll(50) == 0 { self.dice.roll(u64::from(rows)) as u32 } else { rows };
        for row in 0..end_after {
            self.row(&slide, number, (rows, row), &mut debts);
            self.poll(&slide, None, &mut debts);
        }
        self.end(&slide, end_after == rows, &mut debts);
        let summary = slide.summary();
        assert_eq!(summary.results[0], summary.results[1..].iter().sum::<u64>(), "the parts and their sum");
        assert_eq!(summary.poisoned, 0);
        summary.results[0] + summary.in_flight
    }

    /// One row of tiles as one frame. One in a hundred is lost, one is scanned twice, one again as a second pass, one comes
    /// cut, and one is offered without waiting for room.
    fn row(&mut self, slide: &TestSlide, number: u64, (rows, row): (u32, u32), debts: &mut Debts) {
        let chance = self.dice.roll(100);
        if chance == 0 {
            return;
        }
        let picture = if self.dice.roll(10) == 0 { &self.tissue } else { &self.glass };
        let mut frame = picture.frame(0, 0, COLUMNS * SIDE, if chance == 1 { SIDE / 4 } else { SIDE });
        frame.y = i64::from(row * SIDE);
        frame.frame_id = u64::from(row) + 1;
        frame.capture_time_ns = START + number as i64 * EVERY + EVERY / i64::from(rows) * i64::from(row);
        debts.owe_row(0, row);
        expect(if chance == 2 { slide.submit(&frame) } else { slide.submit_wait(&frame, 60_000) });
        if chance == 3 {
            expect(slide.submit_wait(&frame, 60_000));
        }
        if chance == 4 {
            frame.pass = 1;
            debts.owe_row(1, row);
            expect(slide.submit_wait(&frame, 60_000));
        }
    }

    /// Ends the slide as hosts do: nearly always by `slide_finish`, and now and then in another way.
    fn end(&mut self, slide: &TestSlide, whole: bool, debts: &mut Debts) {
        match self.dice.roll(100) {
            // Ended with everything open: nobody hears of what is left.
            0 => return,
            1 => slide.cancel().expect("cancel"),
            2 => slide.interrupt().expect("interrupt"),
            _ if !whole => slide.cancel().expect("cancel"),
            _ => {}
        }
        while let Err(refusal) = slide.finish(60_000) {
            assert!([TIMEOUT, INTERRUPTED].contains(&refusal.code), "{refusal:?}");
            self.poll(slide, None, debts);
        }
        while self.poll(slide, Some(60_000), debts) {}
        assert_eq!(debts.open(), 0, "tiles without a result");
    }
}

/// Only a call that does not wait may be refused for want of room.
fn expect(answer: Answer<()>) {
    if let Err(refusal) = answer {
        assert_eq!(refusal.code, BUSY, "{refusal:?}");
    }
}

/// A model of one block and one patch, which costs little more than handing its tiles on.
fn bundle() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("soak");
    let source = TapSource::Block { after_block: 0, final_norm: true };
    let spec = SyntheticSpec {
        side: SIDE as usize,
        patch: SIDE as usize,
        embed_dim: 8,
        depth: 1,
        heads: 1,
        taps: vec![Tap { name: "last".into(), source, pooling: Pooling::MeanPatchTokens }],
        d_sae: 16,
        k: 4,
        ..SyntheticSpec::default()
    };
    coverslip_testkit::bundle_of(&folder, &spec);
    folder
}

fn day(runtime: &TestRuntime, (first, last): (u64, u64), tiles: u64, month: &Month) {
    let every = ((last - first) / SAMPLES).max(1);
    let at_work = &AtomicU64::new(SCANNERS);
    let new = |scanner| Scanner::new(1 + 7919 * (last * SCANNERS + scanner));
    let mut scanners: Vec<Scanner> = (0..SCANNERS).map(new).collect();
    std::thread::scope(|scope| {
        for scanner in &mut scanners {
            scope.spawn(move || {
                while month.tiles.load(Ordering::Relaxed) < tiles {
                    let number = month.slides.fetch_add(1, Ordering::Relaxed);
                    if number >= last {
                        month.slides.fetch_sub(1, Ordering::Relaxed);
                        break;
                    }
                    let one = month.scanning.read().expect("no panic");
                    let scanned = scanner.scan(runtime, number);
                    drop(one);
                    let so_far = month.tiles.fetch_add(scanned, Ordering::Relaxed) + scanned;
                    if number % every == every / 2 {
                        let _alone = month.scanning.write().expect("no panic");
                        // In the evening a scanner's thread may be gone, and what it held.
                        if at_work.load(Ordering::Relaxed) == SCANNERS {
                            month.samples.lock().expect("no panic").push(between_slides(runtime, so_far));
                        }
                    }
                }
                let _one = month.scanning.read().expect("no panic");
                at_work.fetch_sub(1, Ordering::Relaxed);
                let mut all = month.by_status.lock().expect("no panic");
                all.iter_mut().zip(scanner.counts).for_each(|(all, count)| *all += count);
            });
        }
    });
}

/// The slope of a line through the samples, per 10⁶ tiles, and the half width of its 95 % interval.
fn slope(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> (f64, f64) {
    let n = samples.len() as f64;
    let x: Vec<f64> = samples.iter().map(|sample| sample.tiles as f64 / 1e6).collect();
    let y: Vec<f64> = samples.iter().map(of).collect();
    let (mean_x, mean_y) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let spread: f64 = x.iter().map(|x| (x - mean_x).powi(2)).sum();
    let slope = x.iter().zip(&y).map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>() / spread;
    let rest: f64 = x.iter().zip(&y).map(|(x, y)| (y - mean_y - slope * (x - mean_x)).powi(2)).sum();
    (slope, 1.96 * (rest / (n - 2.0) / spread).sqrt())
}

fn report(what: &str, samples: &[Sample], of: impl Fn(&Sample) -> f64) {
    let (slope, bound) = slope(samples, of);
    println!("{what}: {slope:+.1} ± {bound:.1} bytes per million tiles, {} samples", samples.len());
}

#[test]
#[ignore = "takes hours: .ci/nightly soak"]
fn a_month_of_slides_leaves_nothing_behind() {
    let asked = |name: &str, usual| std::env::var(name).map_or(usual, |text| text.parse().expect("a number"));
    let (tiles, length) = (asked("COVERSLIP_SOAK_TILES", MONTH), asked("COVERSLIP_SOAK_DAY", DAY));
    let (bundle, month, start) = (bundle(), Month::default(), Instant::now());
    // Room for all of it: what the test itself keeps does not grow.
    let days = 2 + (tiles / (length * 800)) as usize;
    let mut evenings = Vec::with_capacity(days);
    month.samples.lock().expect("no panic").reserve(2 * days * SAMPLES as usize);
    for today in 1.. {
        let runtime = open_with(&bundle, |desc| desc.flags = RUNTIME_NORMAL_PRIORITY).expect("the bundle opens");
        day(&runtime, ((today - 1) * length, today * length), tiles, &month);
        let stats = runtime.stats();
        assert_eq!(stats.results[0], stats.results[1..].iter().sum::<u64>());
        runtime.close(60_000).expect("every thread joins");
        let now = at_night(month.tiles.load(Ordering::Relaxed), evenings.last());
        println!(
            "day {today}: {} slides, {} tiles, {:.0} tiles/s, {} KiB resident, {} bytes asked for, {} in use, {} threads, \
             {} files",
            month.slides.load(Ordering::Relaxed),
            now.tiles,
            now.tiles as f64 / start.elapsed().as_secs_f64(),
            now.resident >> 10,
            now.asked,
            now.in_use,
            now.threads,
            now.files
        );
        evenings.push(now);
        if now.tiles >= tiles {
            break;
        }
    }
    println!("results by status: {:?}", month.by_status.lock().expect("no panic"));
    let mut samples = month.samples.into_inner().expect("no panic");
    samples.sort_by_key(|sample| sample.tiles);
    // The allocator settles first.
    let settled = &samples[samples.len() / 4..];
    assert!(
        evenings.len() >= 5,
        "{} nights are too few: raise COVERSLIP_SOAK_TILES, or lower COVERSLIP_SOAK_DAY",
        evenings.len()
    );
    report("resident between slides", settled, |sample| sample.resident as f64);
    report("asked for between slides", settled, |sample| sample.asked as f64);
    let range = |of: fn(&Sample) -> usize| (settled.iter().map(of).min(), settled.iter().map(of).max());
    let (threads, files) = (range(|sample| sample.threads), range(|sample| sample.files));
    println!("threads: {threads:?}; files: {files:?}");
    assert_eq!((threads.0, files.0), (threads.1, files.1), "threads and files while scanning");
    let asked = range(|sample| sample.asked as usize);
    println!("asked for between slides: {asked:?}");
    let spread = asked.1.zip(asked.0).map_or(0, |(most, least)| (most - least) as u64);
    assert!(spread < ASKED, "an open runtime keeps something of its slides: {spread} bytes between two of its moments");
    // The first night has what is allocated once; what the test itself keeps is allocated before.
    let nights = &evenings[1..];
    report("in use at night", nights, |night| night.in_use as f64);
    let all = |of: fn(&Sample) -> u64| nights.iter().map(of).collect::<std::collections::BTreeSet<_>>();
    let (threads, files) = (all(|night| night.threads as u64), all(|night| night.files as u64));
    assert!(threads.len() <= 1 && files.len() <= 1, "threads and files at night: {threads:?}, {files:?}");
    for (seen, left) in [(all(|night| night.asked as u64), ASKED), (all(|night| night.in_use), LEFT)] {
        let spread = seen.last().zip(seen.first()).map_or(0, |(most, least)| most - least);
        assert!(spread < left, "{spread} bytes between the nights: {seen:?}");
    }
}
