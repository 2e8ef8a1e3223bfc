//! A batch must be its tiles: that a graph says so is not enough.

use super::probe::{Front, Probe, Prober};
use super::source::Source;
use crate::error::{BundleError, fail};
use crate::import::Checkpoint;

/// How far a tile's outputs may be from themselves in a batch, relative to their largest value.
const BATCH_TOLERANCE: f32 = 1e-3;

/// Whether the graph takes one tile at a time only. A batch must give what its tiles give.
pub(super) fn single_tile(
    source: &Source,
    checkpoint: &Checkpoint,
    front: &Front,
    wanted: &[String],
    tiles: &[u8],
    engine: &mut Prober,
    notes: &mut Vec<String>,
) -> Result<bool, BundleError> {
    match source.image.batch {
        Some(1) => return Ok(true),
        Some(n) => fail!(
            Unsupported,
            "the graph's batch is fixed at {n}: not supported in this version; expected a dynamic batch, or 1"
        ),
        None => {}
    }
    let mut probe = Probe::load(source, checkpoint, front, wanted, engine)?;
    let (first, second) = tiles.split_at(tiles.len() / 2);
    let alone = [first, second].map(|tile| probe.run(tile, 1));
    let [first, second] = [alone[0].clone()?, alone[1].clone()?];
    let together = match probe.run(tiles, 2) {
        Ok(together) => together,
        Err(error) => {
            notes.push(format!(
                "the graph says that it takes batches, but fails with two tiles ({error}): it will run one at a time"
            ));
            return Ok(true);
        }
    };
    for name in wanted {
        let expected: Vec<f32> = [&first, &second].iter().flat_map(|tile| tile[name].values.clone()).collect();
        let found = &together[name].values;
        let largest = expected.iter().fold(0f32, |most, v| most.max(v.abs()));
        let close = |(a, b): (&f32, &f32)| (a - b).abs() <= BATCH_TOLERANCE * largest;
        if found.len() != expected.len() {
            notes.push(format!(
                "with two tiles `{name}` has the shape {:?}: its batch is fixed, so it will run one at a time",
                together[name].shape
            ));
            return Ok(true);
        }
        if !expected.iter().zip(found).all(close) {
            fail!(
                Unsupported,
                "`{name}` of a tile depends on the other tiles of the batch: not supported; expected the graph in \
                 evaluation mode"
            );
        }
    }
    Ok(false)
}
