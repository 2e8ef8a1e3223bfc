//! Another process on the same card: one that takes its memory, one that takes its time. The plugin may be slower or run on
//! the CPU with a reason; no tile may be lost.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coverslip_plugin_abi::*;

use crate::cuda::{Card, Kernels, Memory};
use crate::outcome::{Outcome, Stop, failed};
use crate::page::{Rows, bytes};
use crate::play::{Played, play, tiles_for};
use crate::site::{MOST, On, text};

/// The other process
#[derive(clap::Args, Debug)]
pub(crate) struct Hog {
    /// Take the card's memory but for so many MiB; without it: take the card's time
    #[arg(long, value_name = "MIB")]
    leave: Option<u64>,
}

pub(crate) fn run(on: &On) -> Outcome {
    on.tensorrt()?;
    let on = on.with(on.plan()?);
    let mut rows = Rows::begin("another process", "the plugin");
    // In this order: this process has no context of its own as long as memory is short.
    for leave in [16, 700] {
        let what = format!("takes the card's memory before `runtime_open` but for {leave} MiB");
        rows.row(what, short_of_memory(&on, leave));
    }
    let runtime = on.open(|_| ())?;
    let time = on.pace.of_a_figure();
    let guess = play(&runtime, 4 * MOST, None)?.rate;
    let alone = play(&runtime, tiles_for(guess, time, MOST), None)?;
    let tiles = tiles_for(alone.rate, time, MOST);
    rows.say("none", figures(&alone, &alone));
    let beside = |hog: Outcome<Other>| {
        let _hog = hog?;
        Ok::<_, Stop>(figures(&play(&runtime, tiles, None)?, &alone))
    };
    rows.row("takes the card's memory before a slide but for 16 MiB", beside(Other::start(Some(16))));
    rows.row("takes the card's time", beside(Other::start(None)));
    rows.row("none again", play(&runtime, tiles, None).map(|played| figures(&played, &alone)));
    let halved = || {
        runtime.set_budget(50)?;
        Ok::<_, Stop>(figures(&play(&runtime, tiles, None)?, &alone))
    };
    rows.row("none, the plugin's budget at 50 %", halved());
    rows.row("closing", runtime.close(10_000).map(|()| "done"));
    rows.end()
}

fn figures(played: &Played, alone: &Played) -> String {
    format!("{:.1} tiles/s, {:.2} of alone, every tile done", played.rate, played.rate / alone.rate)
}

/// Opens with AUTO while the card's memory is taken, and plays a slide on what there is.
fn short_of_memory(on: &On, leave: u64) -> Outcome<String> {
    let hog = Other::start(Some(leave))?;
    let runtime = on.open(|desc| desc.engine = ENGINE_AUTO)?;
    let info = runtime.info();
    play(&runtime, MOST, None)?;
    runtime.close(10_000)?;
    drop(hog);
    let why = text(&info.fallback_message);
    match (info.engine, info.fallback_reason) {
        (ENGINE_TENSORRT, _) => Ok(format!("runs on the card, {} of 2 lanes, every tile done", info.lanes)),
        (_, REASON_OUT_OF_MEMORY) => Ok(format!("runs on the CPU, every tile done: {why}")),
        (_, reason) => failed(format_args!("runs on the CPU for another reason ({reason}): {why}")),
    }
}

/// The other process, until this is dropped.
struct Other(Child);

impl Other {
    /// Started, and in possession of what it takes.
    fn start(leave: Option<u64>) -> Outcome<Other> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("hog").stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(leave) = leave {
            command.args(["--leave", &leave.to_string()]);
        }
        let mut other = Other(command.spawn()?);
        let mut line = String::new();
        if let Some(output) = other.0.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        if line.starts_with("ready") { Ok(other) } else { failed(format_args!("the other process: {}", line.trim())) }
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// As that other process.
pub(crate) fn hog(hog: &Hog) -> Outcome {
    let card = Card::open()?;
    match hog.leave {
        Some(leave) => {
            let taken = take(&card, leave << 20)?;
            ready(&format!("{} taken", bytes(taken.1)))?;
            end_of_input();
        }
        None => spin(&card)?,
    }
    Ok(())
}

fn ready(what: &str) -> Outcome {
    println!("ready: {what}");
    Ok(std::io::stdout().flush()?)
}

/// Waits for the end of the standard input.
fn end_of_input() {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// All memory but for `leave` bytes, in pieces that get smaller where a large one does not fit.
fn take(card: &Card, leave: u64) -> Outcome<(Vec<Arc<Memory>>, u64)> {
    let (mut taken, mut bytes, mut piece) = (Vec::new(), 0, 1u64 << 30);
    while piece >= 2 << 20 {
        let free = card.memory()?.0;
        match (free > leave + piece).then(|| Memory::new(piece as usize)) {
            Some(Ok(memory)) => {
                taken.push(memory);
                bytes += piece;
            }
            _ => piece /= 2,
        }
    }
    Ok((taken, bytes))
}

/// Keeps every multiprocessor busy.
fn spin(card: &Card) -> Outcome {
    let (kernels, stream, out) = (Kernels::load()?, card.stream(0)?, Memory::new(4)?);
    let over = Arc::new(AtomicBool::new(false));
    let flag = over.clone();
    std::thread::spawn(move || {
        end_of_input();
        flag.store(true, Ordering::Release);
    });
    kernels.spin(&stream, &out, 1, 1)?;
    stream.wait()?;
    ready("spinning")?;
    while !over.load(Ordering::Acquire) {
        (0..4).try_for_each(|_| kernels.spin(&stream, &out, 4096, 20_000))?;
        stream.wait()?;
    }
    Ok(())
}
