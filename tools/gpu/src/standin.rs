//! The whole plugin on the driver without TensorRT: a stand-in takes its place, copies each batch through the driver as
//! TensorRT would, and computes it on the CPU. Every tile must come out as on the plugin's own CPU engine, to the last bit.

use coverslip_plugin_abi::*;

use crate::computed;
use crate::cuda::Card;
use crate::host::{Tile, open_with};
use crate::outcome::{Outcome, failed};
use crate::page::{Rows, bytes};
use crate::play::row_of_tiles;
use crate::site::{On, text};

pub(crate) fn run(on: &On) -> Outcome {
    let card = Card::open()?;
    let library = coverslip_tensorrt::Library::load(&on.library)?;
    if !computed::stand_in_at(&on.library, &on.bundle)? {
        return failed(format_args!("{}: expected a stand-in, found another library", on.library.display()));
    }
    println!("A stand-in for {} {}:\n", library.flavor(), library.version());
    let (before, _) = card.memory()?;
    let expected = row_of_tiles(&open_with(&on.bundle, |_| ())?)?;
    let mut rows = Rows::begin("the plugin on the driver", "result");
    rows.row("opens, checks itself, runs two lanes", opened(on));
    rows.row("a slide, tile by tile as on the CPU", same(on, &expected, 0));
    // Batches of one repeat, so that the lanes record them.
    rows.row("the same in batches of 1, recorded where the plugin records", same(on, &expected, 1));
    rows.row("at most 64 kB of the card's memory", limited(on));
    rows.row("a GPU that is not there", stranger(on));
    let (after, _) = card.memory()?;
    let left = before.saturating_sub(after);
    // The driver keeps some of what it gave; every round would keep as much if it leaked.
    rows.row(
        "memory of the card that is gone afterwards",
        if left < 64 << 20 { Ok(bytes(left)) } else { failed(bytes(left)) },
    );
    rows.end()
}

fn opened(on: &On) -> Outcome<String> {
    let runtime = on.open(|_| ())?;
    let info = runtime.info();
    runtime.close(10_000)?;
    if (info.engine, info.lanes) != (ENGINE_TENSORRT, 2) {
        return failed(format_args!("engine {}, {} lanes", info.engine, info.lanes));
    }
    Ok(format!("{}, {}, self-check {:.1e}", text(&info.driver_version), text(&info.gpu_uuid), info.self_check_error))
}

fn same(on: &On, expected: &[Tile], max_batch: u32) -> Outcome<String> {
    let runtime = on.open(|desc| desc.max_batch = max_batch)?;
    let found = row_of_tiles(&runtime)?;
    runtime.close(10_000)?;
    let bits = |tile: &Tile| {
        let features: Vec<_> = tile.features.iter().map(|f| (f.index, f.value.to_bits())).collect();
        let embedding: Vec<_> = tile.embedding.iter().map(|value| value.to_bits()).collect();
        (embedding, features, tile.record.active_count, tile.record.reconstruction_error.to_bits())
    };
    let others = found.iter().zip(expected).filter(|(found, expected)| bits(found) != bits(expected)).count();
    if others > 0 || found.len() != expected.len() {
        return failed(format_args!("{others} of {} tiles are otherwise", found.len()));
    }
    Ok(format!("{} tiles, every bit", found.len()))
}

fn limited(on: &On) -> Outcome<String> {
    match on.open(|desc| desc.gpu_memory_limit = 64 << 10) {
        Err(refusal) if refusal.code == OUT_OF_MEMORY => Ok("refused".into()),
        Err(refusal) => Err(refusal.into()),
        Ok(_) => failed("it opens"),
    }
}

fn stranger(on: &On) -> Outcome<String> {
    let uuid = c"GPU-00000000-0000-0000-0000-000000000000";
    match on.open(|desc| desc.gpu_uuid = uuid.as_ptr()) {
        Err(refusal) if refusal.code == ENGINE_UNAVAILABLE => Ok("refused".into()),
        Err(refusal) => Err(refusal.into()),
        Ok(_) => failed("it opens"),
    }
}
