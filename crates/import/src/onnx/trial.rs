//! A trial run of a graph: the engine's optimised graph must compute what the original does, and a tile's results must
//! not depend on its batch.

use std::collections::HashMap;

use super::probe::{Front, Probe, Probed, Prober, Rewrite};
use super::source::Source;
use crate::Checkpoint;
use coverslip_bundle::{BundleError, fail};

/// Largest difference between values that ought to be the same, relative to the largest of them.
const TOLERANCE: f32 = 1e-3;

/// Runs the graph on two `tiles`. Returns whether it takes only one tile at a time.
pub(super) fn single_tile(
    source: &Source,
    checkpoint: &Checkpoint,
    front: &Front,
    wanted: &[String],
    tiles: &[u8],
    engine: &mut Prober,
    notes: &mut Vec<String>,
) -> Result<bool, BundleError> {
    let (first, second) = tiles.split_at(tiles.len() / 2);
    let mut alone = |rewrite| -> Result<(Probe, [HashMap<String, Probed>; 2]), BundleError> {
        let mut probe = Probe::load(source, checkpoint, front, wanted, rewrite, engine)?;
        let found = [probe.run(first, 1)?, probe.run(second, 1)?];
        Ok((probe, found))
    };
    let (_, expected) = alone(Rewrite::No)?;
    let (mut probe, found) = alone(Rewrite::Yes)?;
    for name in wanted {
        if !expected.iter().all(|tile| tile[name].values.iter().all(|value| value.is_finite())) {
            fail!(
                NotFinite,
                "`{name}` is NaN or infinite on a tile of noise; expected a graph that is finite on any tile"
            );
        }
        if !agree(values(&expected, name), values(&found, name)) {
            fail!(
                Unsupported,
                "the engine's optimisation of this graph changes `{name}`: not supported in this version; simplify the \
                 graph first (onnxsim, onnxruntime's basic optimisations), and report it"
            );
        }
    }
    if source.image.batch == Some(1) {
        return Ok(true);
    }
    let together = match probe.run(tiles, 2) {
        Ok(together) => together,
        Err(error) => {
            notes.push(format!(
                "the graph declares a dynamic batch, but fails with two tiles ({error}): it will run one at a time"
            ));
            return Ok(true);
        }
    };
    for name in wanted {
        let (alone, together) = (values(&expected, name), &together[name]);
        if together.values.len() != alone.clone().count() {
            notes.push(format!(
                "with two tiles `{name}` has the shape {:?}: its batch is fixed, so it will run one at a time",
                together.shape
            ));
            return Ok(true);
        }
        if !agree(alone, together.values.iter().copied()) {
            fail!(
                Unsupported,
                "`{name}` of a tile depends on the other tiles of the batch: not supported; expected the graph in \
                 evaluation mode"
            );
        }
    }
    Ok(false)
}

/// The values of both tiles, one after the other. They are not copied: a tap may have any size that the budget holds.
fn values<'a>(tiles: &'a [HashMap<String, Probed>; 2], name: &'a str) -> impl Iterator<Item = f32> + Clone {
    tiles.iter().flat_map(move |tile| tile[name].values.iter().copied())
}

fn agree(expected: impl Iterator<Item = f32> + Clone, found: impl Iterator<Item = f32> + Clone) -> bool {
    let largest = expected.clone().fold(0f32, |most, value| most.max(value.abs()));
    let close = |(a, b): (f32, f32)| (a - b).abs() <= TOLERANCE * largest;
    expected.clone().count() == found.clone().count() && expected.zip(found).all(close)
}
