//! A context that is lost: a kernel writes where there is no memory. The process is given up to it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use coverslip_plugin_abi::*;

use crate::computed;
use crate::cuda::{Card, Cuda, Event, Kernels, Memory, Pinned};
use crate::host::{Picture, TestRuntime, TestSlide, by_status};
use crate::outcome::{Outcome, failed};
use crate::page::Rows;
use crate::site::{On, Pace, text};

/// Tiles before the fault, and after it.
const HALF: u32 = 40;

/// `plugin`: a library and a bundle that the plugin shall run on when the context goes.
pub(crate) fn run(plugin: Option<(&Path, &Path)>) -> Outcome {
    match plugin {
        None => of_the_driver(),
        Some((library, bundle)) => of_the_plugin(library, bundle),
    }
}

/// What each of the driver's functions answers afterwards.
fn of_the_driver() -> Outcome {
    let mut card = Card::open()?;
    let (stream, memory, mut pinned, event) =
        (card.stream(card.priorities()?.0)?, Memory::new(4096)?, Pinned::new(4096, true)?, Event::new()?);
    let kernels = Kernels::load()?;
    let mut rows = Rows::begin("after a kernel that faults", "the driver answers");
    kernels.fault(&stream)?;
    let began = Instant::now();
    let seen = event.wait(&stream);
    rows.row(
        "the event that waits for it",
        match &seen {
            Ok(()) => failed("nothing: the fault is not seen"),
            Err(error) => Ok(format!("{error}, after {:.1} ms", 1e3 * began.elapsed().as_secs_f64())),
        },
    );
    let answer = |done: Cuda<()>| done.map_or_else(|error| error.to_string(), |()| "OK".into());
    rows.say("the same stream, waited for again", answer(stream.wait()));
    rows.say("a copy to the card", answer(stream.upload(&memory, pinned.bytes())));
    rows.say("a new stream", answer(card.stream(0).map(drop)));
    rows.say("new memory", answer(Memory::new(4096).map(drop)));
    rows.say("how much memory is free", answer(card.memory().map(drop)));
    rows.say("the context, made current again", answer(card.enter()));
    rows.say("all of the context, waited for", answer(card.synchronize()));
    drop((stream, memory, pinned, event));
    let again = card.retain_again();
    rows.say("the context, released and taken again", answer(again));
    rows.say("new memory in that", answer(Memory::new(4096).map(drop)));
    rows.end()
}

/// The plugin is in the middle of a slide.
fn of_the_plugin(library: &Path, bundle: &Path) -> Outcome {
    let card = Card::open()?;
    computed::stand_in_at(library, bundle)?;
    let on = On { library: library.into(), bundle: bundle.into(), plans: PathBuf::new(), pace: Pace::default() };
    let kernels = Kernels::load()?;
    let stream = card.stream(0)?;
    let mut rows = Rows::begin("a kernel that faults in the middle of a slide", "result");
    let runtime = on.open(|desc| {
        desc.plan_cache_path = std::ptr::null();
        (desc.fallback, desc.max_batch) = (FALLBACK_ON_CPU, 8);
    })?;
    let fault = || {
        kernels.fault(&stream)?;
        // The context is lost when its error is seen.
        if stream.wait().is_ok() { failed("the fault is not seen") } else { Ok(()) }
    };
    rows.row("a slide whose engine is lost, with the CPU to go on", handed_over(&runtime, fault));
    let info = runtime.info();
    rows.row(
        "the runtime says",
        match (info.engine, info.fallback_reason) {
            (ENGINE_CPU, REASON_DEVICE_LOST) => Ok(text(&info.fallback_message)),
            (engine, reason) => {
                failed(format_args!("engine {engine}, reason {reason}: {}", text(&info.fallback_message)))
            }
        },
    );
    let began = Instant::now();
    let closed = runtime.close(10_000);
    rows.row("closing", closed.map(|()| format!("{:.0} ms", 1e3 * began.elapsed().as_secs_f64())));
    rows.end()
}

/// Submits half a slide, loses the context, submits the rest; every tile must be there.
fn handed_over(runtime: &TestRuntime, fault: impl FnOnce() -> Outcome) -> Outcome<String> {
    let side = runtime.info().side;
    let slide = runtime.begin_with(|desc| {
        (desc.extent_width, desc.extent_height) = (u64::from(2 * HALF * side), u64::from(side));
        (desc.max_frame_width, desc.max_frame_height) = (side, side);
    })?;
    let picture = Picture::tissue(8 * side, side, 1);
    submit(&slide, &picture, 0..HALF)?;
    // The first tiles come back from the card, so that the loss falls into the middle.
    let mut tiles = slide.take(Some(60_000))?;
    fault()?;
    submit(&slide, &picture, HALF..2 * HALF)?;
    tiles.extend(slide.results());
    let counts = by_status(&tiles);
    let epochs = [1, 2].map(|epoch| tiles.iter().filter(|tile| tile.record.engine_epoch == epoch).count());
    if counts[TILE_DONE as usize] != 2 * HALF as usize || epochs.contains(&0) {
        return failed(format_args!(
            "tiles by status: {counts:?}; {} by the card, {} by the CPU",
            epochs[0], epochs[1]
        ));
    }
    Ok(format!("all {} tiles done, {} by the card, {} by the CPU", 2 * HALF, epochs[0], epochs[1]))
}

fn submit(slide: &TestSlide, picture: &Picture, tiles: std::ops::Range<u32>) -> Outcome {
    for i in tiles {
        let side = picture.height;
        let mut frame = picture.frame(i % 8 * side, 0, side, side);
        frame.x = i64::from(i) * i64::from(side);
        slide.submit_wait(&frame, 60_000)?;
    }
    Ok(())
}
