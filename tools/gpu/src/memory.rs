//! What the plugin takes of the card's memory at open, whether it asks for more in the middle of a slide, and whether it
//! gives it back.

use std::fs;

use coverslip_bundle::PlanFile;
use coverslip_plugin_abi::*;

use crate::cuda::Card;
use crate::host::TestRuntime;
use crate::outcome::{Outcome, failed};
use crate::page::{Rows, bytes};
use crate::play::play;
use crate::site::{MOST, On};

/// What the driver may keep or take by itself between two looks.
const SLACK: u64 = 64 << 20;
/// Rounds of open and close.
const ROUNDS: usize = 5;

pub(crate) fn run(on: &On) -> Outcome {
    on.tensorrt()?;
    let on = on.with(on.plan()?);
    let card = Card::open()?;
    let plan = PlanFile::read(&on.plans)?.0.plan.len() as u64;
    // The first round takes what libraries take once per process.
    on.open(|_| ())?.close(10_000)?;
    let taken = |before: u64| card.memory().map(|(free, _)| before.saturating_sub(free));
    let before = card.memory()?.0;
    let mut rows = Rows::begin("memory", "found");
    rows.say("the plan", bytes(plan));
    let runtime = on.open(|_| ())?;
    let open = taken(before)?;
    rows.say("of the card, two lanes", bytes(open));
    rows.row(
        "of the card, more after a slide",
        slide(&runtime).and_then(|()| {
            let more = taken(before)?.saturating_sub(open);
            if more > SLACK { failed(bytes(more)) } else { Ok(bytes(more)) }
        }),
    );
    rows.say("of the host, resident", resident());
    rows.row("closing", runtime.close(10_000).map(|()| "done"));
    rows.row(format_args!("of the card, after {ROUNDS} more rounds of open and close"), {
        let rounds: Outcome = (0..ROUNDS).try_for_each(|_| Ok(on.open(|_| ())?.close(10_000)?));
        rounds.and_then(|()| {
            let left = taken(before)?;
            if left > SLACK { failed(bytes(left)) } else { Ok(bytes(left)) }
        })
    });
    // The plan and one lane, not two.
    let tight = plan + open.saturating_sub(plan) * 3 / 4;
    rows.row(format_args!("with gpu_memory_limit = {}", bytes(tight)), limited(&on, tight));
    rows.row("with gpu_memory_limit = 64 kB", limited(&on, 64 << 10));
    rows.end()
}

fn slide(runtime: &TestRuntime) -> Outcome {
    play(runtime, 4 * MOST, None).map(drop)
}

/// Fewer lanes, or a refusal that says why.
fn limited(on: &On, limit: u64) -> Outcome<String> {
    match on.open(|desc| desc.gpu_memory_limit = limit) {
        Ok(runtime) => {
            slide(&runtime)?;
            Ok(format!("{} of 2 lanes, a slide is done", runtime.info().lanes))
        }
        Err(refusal) if refusal.code == OUT_OF_MEMORY => Ok("refused as out of memory".into()),
        Err(refusal) => Err(refusal.into()),
    }
}

/// This process's memory, as the kernel counts it.
fn resident() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.map_or("-".into(), |kilobytes| bytes(1024 * kilobytes))
}
