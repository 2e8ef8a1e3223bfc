//! The features of SAEs whose decoder nobody trained: what an SAE's own have to beat. As in `sae eval`, but on a study's
//! tiles, and without its counts.

use coverslip_analysis::random::Random;
use coverslip_analysis::sae::{Objective, Sae, Untrained};
use faer::Mat;

use crate::analyze::Failure;
use crate::analyze::representation::Representation;
use crate::analyze::study::Study;
use crate::findings::reading::ColumnKind;

/// A random SAE, and one whose random decoder is frozen while its encoder is trained for `steps` (0: none), each with as
/// many features and as many of them active as `like` has. Which features of the first fire does not depend on its decoder,
/// so it is also a random SAE with a refitted one.
///
/// # Errors
/// When the embeddings cannot be read, or are all the same.
pub(super) fn untrained(
    study: &Study,
    tap: &str,
    like: &Representation,
    (steps, seed): (u64, u64),
) -> Result<Vec<Representation>, Failure> {
    let embedding = study.embedding(tap)?;
    let (tiles, width) = (embedding.nrows(), embedding.ncols());
    let rows: Vec<f32> =
        (0..tiles).flat_map(|row| (0..width).map(move |at| (row, at))).map(|at| embedding[at] as f32).collect();
    let active = like.values.col_iter().flat_map(|column| column.iter()).filter(|value| **value != 0.0).count();
    let features = like.columns.iter().filter_map(|name| name.parse::<usize>().ok()).max().map_or(1, |last| last + 1);
    let (mut order, mut draws) = (Vec::new(), Random::new(seed));
    let fill = |count: usize, batch: &mut Vec<f32>| -> Result<(), Failure> {
        batch.clear();
        while batch.len() < count.min(tiles) * width {
            if order.is_empty() {
                order.extend(0..tiles);
                draws.shuffle(&mut order);
            }
            let row: usize = order.pop().unwrap_or_default();
            batch.extend_from_slice(&rows[row * width..][..width]);
        }
        Ok(())
    };
    let size = (features, active / tiles.max(1));
    let Untrained { objective, random, frozen } = Untrained::new(size, (&rows, width), (steps, seed), fill)?;
    let columns = |kind, sae: &Sae| columns(kind, study, (sae, objective), &rows);
    let mut found = vec![columns(ColumnKind::Random, &random)];
    found.extend(frozen.map(|sae| columns(ColumnKind::FrozenDecoder, &sae)));
    Ok(found)
}

/// The features that fire on any tile.
fn columns(kind: ColumnKind, study: &Study, (sae, objective): (&Sae, Objective), rows: &[f32]) -> Representation {
    let (ends, index, value) = sae.encode(objective, rows).columns();
    let mut firing = index.clone();
    firing.sort_unstable();
    firing.dedup();
    let (mut values, mut start) = (Mat::zeros(ends.len(), firing.len()), 0);
    for (tile, &end) in ends.iter().enumerate() {
        for at in start..end {
            values[(tile, firing.partition_point(|feature| *feature < index[at]))] = f64::from(value[at]);
        }
        start = end;
    }
    let names = firing.iter().map(u32::to_string).collect();
    Representation::new(kind, names, values, &study.groups)
}
