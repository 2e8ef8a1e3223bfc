//! Every output of the plugin's TensorRT engine against its CPU engine, at each precision.

use std::time::Instant;

use coverslip_bundle::{Agreement, Bundle, Precision, ReferenceOutputs, Tolerance};
use coverslip_plugin_abi::*;

use crate::host::{TestRuntime, Tile, open_with};
use crate::outcome::{Outcome, Stop, failed};
use crate::page::cell;
use crate::play::row_of_tiles;
use crate::site::On;

const PRECISIONS: [(i32, Precision); 3] = [
    (PRECISION_FLOAT16, Precision::Float16),
    (PRECISION_BFLOAT16, Precision::BFloat16),
    (PRECISION_FLOAT32, Precision::Float32),
];

pub(crate) fn run(on: &On) -> Outcome {
    on.tensorrt()?;
    let bundle = on.bundle()?;
    let expected = outputs(&open_with(&on.bundle, |desc| desc.max_threads = 0)?, &bundle)?;
    println!("{}, {} tiles, the worst of them:\n", bundle.manifest().name, expected.count);
    println!(
        "| precision | opened in, s | 1 − cosine | ‖Δx‖² | features | the same features | once more | within limits |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut refused = Vec::new();
    for (code, precision) in PRECISIONS {
        let began = Instant::now();
        let row = compared(on, &bundle, &expected, code).map(|(once, again)| {
            let within = [&once.0, &again].iter().all(|agreement| agreement.is_within(Tolerance::of(precision)));
            println!(
                "| {precision} | {:.1} | {:.1e} | {:.1e} | {:.1e} | {:.3} | {:.1e} | {} |",
                once.1,
                once.0.worst_embedding(),
                once.0.displacement,
                once.0.features,
                once.0.overlap,
                again.worst_embedding(),
                if within { "yes" } else { "**no**" }
            );
            within
        });
        match row {
            Ok(true) => {}
            Ok(false) => refused.push(format!("{precision} is beyond its limits")),
            Err(Stop::LeftOut(why) | Stop::Failed(why)) => {
                println!(
                    "| {precision} | {:.1} | **failed**: {} | | | | | |",
                    began.elapsed().as_secs_f64(),
                    cell(why)
                );
                refused.push(format!("{precision} does not run"));
            }
        }
    }
    println!();
    if refused.is_empty() { Ok(()) } else { failed(refused.join("; ")) }
}

/// A slide against the CPU, with the seconds that opening took, and the same slide again against the first: a tile's outputs
/// do not depend on the batch that it was in.
fn compared(
    on: &On,
    bundle: &Bundle,
    expected: &ReferenceOutputs,
    precision: i32,
) -> Outcome<((Agreement, f64), Agreement)> {
    let began = Instant::now();
    let runtime = on.open(|desc| desc.precision = precision)?;
    let took = began.elapsed().as_secs_f64();
    if runtime.info().precision != precision {
        return failed(format_args!("it runs at precision {}", runtime.info().precision));
    }
    let found = outputs(&runtime, bundle)?;
    let once = Agreement::between(bundle.manifest(), expected, &found)?;
    let again = Agreement::between(bundle.manifest(), &found, &outputs(&runtime, bundle)?)?;
    runtime.close(10_000)?;
    Ok(((once, took), again))
}

/// A row of tissue tiles, in the bundle's shape.
fn outputs(runtime: &TestRuntime, bundle: &Bundle) -> Outcome<ReferenceOutputs> {
    let tiles = row_of_tiles(runtime)?;
    let manifest = bundle.manifest();
    let widths: Vec<usize> = manifest.taps.iter().map(|tap| manifest.tap_width(tap)).collect();
    let tap = |which: usize| {
        let start: usize = widths[..which].iter().sum();
        let part = |tile: &Tile| tile.embedding[start..start + widths[which]].to_vec();
        tiles.iter().flat_map(part).collect()
    };
    let pairs = |tile: &Tile| {
        let given = tile.features.iter().map(|feature| (feature.index as i32, feature.value));
        given.chain(std::iter::repeat((0, 0.0))).take(manifest.sae.outputs).collect::<Vec<_>>()
    };
    let pairs: Vec<(i32, f32)> = tiles.iter().flat_map(pairs).collect();
    Ok(ReferenceOutputs {
        tiles: Vec::new(),
        count: tiles.len(),
        embeddings: (0..widths.len()).map(tap).collect(),
        feature_index: pairs.iter().map(|pair| pair.0).collect(),
        feature_value: pairs.iter().map(|pair| pair.1).collect(),
        active_count: tiles.iter().map(|tile| tile.record.active_count as i32).collect(),
        reconstruction_error: tiles.iter().map(|tile| tile.record.reconstruction_error).collect(),
    })
}
