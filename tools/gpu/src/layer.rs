//! CUDA alone, as the plugin's lanes use it: contexts, streams, pinned memory, copies, events, recorded graphs, limits.

use std::time::{Duration, Instant};

use crate::cuda::{Card, Event, Kernels, Memory, OUT_OF_MEMORY, Pinned};
use crate::figure::{quantile, seconds};
use crate::outcome::{Outcome, Stop, failed};
use crate::page::{Rows, bytes};
use crate::site::Pace;

/// The largest buffer.
const LARGE: usize = 64 << 20;
/// A tile of 224 px, a batch of 32 of them, and a buffer whose rate is the bus's.
const SIZES: [usize; 3] = [3 * 224 * 224, 32 * 3 * 224 * 224, LARGE];
/// Copies in a recorded graph.
const RECORDED: usize = 8;

pub(crate) fn run(pace: Pace) -> Outcome {
    let began = Instant::now();
    let card = Card::open()?;
    let opened = began.elapsed();
    let time = pace.of_a_figure();
    let before = card.memory()?.0;
    let mut rows = Rows::begin("CUDA without TensorRT", "result");
    rows.row("the card's context: first, and once more", context(opened));
    rows.row("a stream of the lowest priority", priority(&card));
    rows.row("an empty stream, waited for by an event: median, p99", event(&card, time / 2));
    rows.row("what goes up comes down", round_trip(&card));
    for (what, found) in fills(time / 4) {
        rows.row(what, found);
    }
    for (what, found) in copies(&card, time / 4) {
        rows.row(what, found);
    }
    rows.row("up and down at once, on two streams", both_ways(&card, time / 2));
    rows.row(format_args!("{RECORDED} copies of a tile, recorded and one by one"), recorded(&card, time / 2));
    rows.row("more of the card's memory than is free", too_much(&card));
    rows.row("a kernel of high priority, while the lowest keeps the card busy", preemption(&card, time));
    let left = card.memory().map(|(free, _)| before.saturating_sub(free));
    rows.row("memory of the card that is gone afterwards", left.map(bytes));
    rows.end()
}

fn context(first: Duration) -> Outcome<String> {
    let began = Instant::now();
    drop(Card::open()?);
    Ok(format!("{:.1} ms, {:.3} ms", 1e3 * first.as_secs_f64(), 1e3 * began.elapsed().as_secs_f64()))
}

fn priority(card: &Card) -> Outcome<String> {
    let (least, greatest) = card.priorities()?;
    let found = card.stream(least)?.priority()?;
    if found != least {
        return failed(format_args!("asked for {least}, found {found}"));
    }
    Ok(format!("{least}, of {least} to {greatest}"))
}

fn event(card: &Card, time: Duration) -> Outcome<String> {
    let (stream, event) = (card.stream(card.priorities()?.0)?, Event::new()?);
    let (start, mut waits) = (Instant::now(), Vec::new());
    while start.elapsed() < time {
        let began = Instant::now();
        event.wait(&stream)?;
        waits.push(1e6 * began.elapsed().as_secs_f64());
    }
    let (median, p99) = (quantile(&mut waits, 0.5), quantile(&mut waits, 0.99));
    Ok(format!("{median:.1} µs, {p99:.1} µs"))
}

fn round_trip(card: &Card) -> Outcome<String> {
    let stream = card.stream(card.priorities()?.0)?;
    let (mut up, mut down, memory) = (Pinned::new(LARGE, true)?, Pinned::new(LARGE, false)?, Memory::new(LARGE)?);
    let pattern: Vec<u8> = (0..LARGE).map(|i| (i.wrapping_mul(0x9e37_79b1) >> 13) as u8).collect();
    up.bytes().copy_from_slice(&pattern);
    stream.upload(&memory, up.bytes())?;
    stream.download(down.bytes(), &memory)?;
    stream.wait()?;
    let wrong = down.bytes().iter().zip(&pattern).filter(|(a, b)| a != b).count();
    if wrong > 0 {
        return failed(format_args!("{wrong} of {LARGE} bytes are otherwise"));
    }
    Ok(format!("{} through write-combined memory", bytes(LARGE as u64)))
}

/// How fast one thread fills each kind of memory.
fn fills(time: Duration) -> Vec<(String, Outcome<String>)> {
    let source = vec![1u8; LARGE];
    let mut fill = |target: &mut [u8]| {
        let once = || {
            target.copy_from_slice(&source);
            Ok(())
        };
        rate(time, LARGE, once, || Ok(()))
    };
    let pinned = |write_combined, fill: &mut dyn FnMut(&mut [u8]) -> Outcome<String>| {
        fill(Pinned::new(LARGE, write_combined)?.bytes())
    };
    vec![
        ("one thread fills write-combined memory".into(), pinned(true, &mut fill)),
        ("one thread fills pinned memory".into(), pinned(false, &mut fill)),
        ("one thread fills ordinary memory".into(), fill(&mut vec![0; LARGE])),
    ]
}

fn copies(card: &Card, time: Duration) -> Vec<(String, Outcome<String>)> {
    type Copy<'c> = &'c dyn Fn(usize) -> Outcome<String>;
    let up = |mut from: Pinned, size| {
        let (stream, memory) = (card.stream(card.priorities()?.0)?, Memory::new(size)?);
        let from = &*from.bytes();
        rate(time, size, || Ok(stream.upload(&memory, from)?), || Ok(stream.wait()?))
    };
    let ordinary = |size| {
        let (stream, memory, from) = (card.stream(card.priorities()?.0)?, Memory::new(size)?, vec![1; size]);
        rate(time, size, || Ok(stream.upload(&memory, &from)?), || Ok(stream.wait()?))
    };
    let down = |size| {
        let (stream, memory, mut to) =
            (card.stream(card.priorities()?.0)?, Memory::new(size)?, Pinned::new(size, false)?);
        rate(time, size, || Ok(stream.download(to.bytes(), &memory)?), || Ok(stream.wait()?))
    };
    let kinds: [(&str, Copy<'_>); 4] = [
        ("write-combined memory to the card", &|size| up(Pinned::new(size, true)?, size)),
        ("pinned memory to the card", &|size| up(Pinned::new(size, false)?, size)),
        ("ordinary memory to the card", &ordinary),
        ("the card to pinned memory", &down),
    ];
    let sizes = SIZES.map(|size| bytes(size as u64)).join(", ");
    let row = |(what, copy): (&str, Copy<'_>)| {
        let found: Outcome<Vec<String>> = SIZES.iter().map(|&size| copy(size)).collect();
        (format!("{what}: {sizes}"), found.map(|found| found.join(", ")))
    };
    kinds.into_iter().map(row).collect()
}

fn both_ways(card: &Card, time: Duration) -> Outcome<String> {
    let least = card.priorities()?.0;
    let (above, below) = (card.stream(least)?, card.stream(least)?);
    let (mut up, mut down) = (Pinned::new(LARGE, true)?, Pinned::new(LARGE, false)?);
    let (to, from) = (Memory::new(LARGE)?, Memory::new(LARGE)?);
    let begin = || {
        above.upload(&to, up.bytes())?;
        Ok(below.download(down.bytes(), &from)?)
    };
    let wait = || {
        above.wait()?;
        Ok(below.wait()?)
    };
    rate(time, 2 * LARGE, begin, wait)
}

fn recorded(card: &Card, time: Duration) -> Outcome<String> {
    let size = SIZES[0];
    let stream = card.stream(card.priorities()?.0)?;
    let (mut up, mut down, memory) = (Pinned::new(size, true)?, Pinned::new(size, false)?, Memory::new(size)?);
    let mut copies = || {
        for _ in 0..RECORDED {
            stream.upload(&memory, up.bytes())?;
        }
        stream.download(down.bytes(), &memory)
    };
    let single = seconds(time, || Ok(copies()?), || Ok(stream.wait()?))?;
    let graph = stream.record(&mut copies)?;
    let whole = seconds(time, || Ok(graph.launch()?), || Ok(stream.wait()?))?;
    up.bytes().fill(77);
    graph.launch()?;
    stream.wait()?;
    if down.bytes().iter().any(|&byte| byte != 77) {
        return failed("the recorded copies bring something else");
    }
    Ok(format!("{:.1} µs, {:.1} µs", 1e6 * whole, 1e6 * single))
}

/// Refused for want of memory, and the context goes on.
fn too_much(card: &Card) -> Outcome<String> {
    let free = card.memory()?.0 as usize;
    match Memory::new(free + LARGE) {
        Ok(_) => return failed("it is given"),
        Err(error) if error.code != OUT_OF_MEMORY => return Err(error.into()),
        Err(_) => {}
    }
    round_trip(card).map(|_| "refused as out of memory; the context goes on".into())
}

/// What a scanner's own kernel waits for while the plugin's streams are full.
fn preemption(card: &Card, time: Duration) -> Outcome<String> {
    let kernels = Kernels::load()?;
    let (least, greatest) = card.priorities()?;
    let (ours, high, low, out) = (card.stream(least)?, card.stream(greatest)?, card.stream(least)?, Memory::new(4)?);
    let blocks = 64 * u32::try_from(card.attribute(PROCESSORS)?.max(1)).unwrap_or(1);
    let median = |stream: &crate::cuda::Stream, busy: bool| {
        let (start, mut waits) = (Instant::now(), Vec::new());
        while start.elapsed() < time / 3 || waits.is_empty() {
            if busy {
                (0..4).try_for_each(|_| kernels.spin(&ours, &out, blocks, 4000))?;
            }
            let began = Instant::now();
            kernels.spin(stream, &out, 1, 1)?;
            stream.wait()?;
            waits.push(1e6 * began.elapsed().as_secs_f64());
            ours.wait()?;
        }
        Ok::<f64, Stop>(quantile(&mut waits, 0.5))
    };
    let (alone, first, same) = (median(&high, false)?, median(&high, true)?, median(&low, true)?);
    Ok(format!("{first:.0} µs ({alone:.0} µs alone; {same:.0} µs at the same priority)"))
}

const PROCESSORS: cudarc::driver::sys::CUdevice_attribute =
    cudarc::driver::sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;

fn rate(time: Duration, size: usize, begin: impl FnMut() -> Outcome, wait: impl FnMut() -> Outcome) -> Outcome<String> {
    Ok(format!("{:.1} GB/s", size as f64 / seconds(time, begin, wait)? / 1e9))
}
