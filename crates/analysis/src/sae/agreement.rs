//! Do two dictionaries have the same features? A feature's number means nothing outside its own dictionary.

use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;
use rayon::prelude::*;

use super::forward::{Sae, normal, normalise};
use super::kernels::{matrix, product};

/// Features compared at a time: bounds the memory of cosines.
const BLOCK: usize = 256;

/// How near the nearest feature of another dictionary is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// The median, over the features of both, of the largest cosine with a decoder row of the other.
    pub median: f64,
    /// The same with as many random directions in the place of the other.
    pub chance: f64,
    /// The share of features with a cosine of 0.7 or more.
    pub found_again: f64,
    /// Features that were compared, of both.
    pub features: usize,
}

/// Compares the features `alive` of both; `None` where there are none, or the widths differ.
pub fn agreement(saes: [&Sae; 2], alive: [&[usize]; 2], seed: u64) -> Option<Agreement> {
    let width = saes[0].width;
    if saes[1].width != width || alive.iter().any(|features| features.is_empty()) {
        return None;
    }
    let [first, second] = [0, 1].map(|side| rows(saes[side], alive[side]));
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut drawn = |like: &[f32]| -> Vec<f32> {
        let mut rows: Vec<f32> = like.iter().map(|_| normal(&mut random)).collect();
        rows.chunks_exact_mut(width).for_each(normalise);
        rows
    };
    let (other_first, other_second) = (drawn(&first), drawn(&second));
    let mut found = [nearest(&first, &second, width), nearest(&second, &first, width)].concat();
    let mut by_chance = [nearest(&first, &other_second, width), nearest(&second, &other_first, width)].concat();
    let again = found.iter().filter(|cosine| **cosine >= 0.7).count();
    Some(Agreement {
        median: median(&mut found),
        chance: median(&mut by_chance),
        found_again: again as f64 / found.len() as f64,
        features: found.len(),
    })
}

/// Decoder rows of length 1.
fn rows(sae: &Sae, features: &[usize]) -> Vec<f32> {
    let mut rows: Vec<f32> = features.iter().flat_map(|&at| sae.decoder_row(at as u32).iter().copied()).collect();
    rows.chunks_exact_mut(sae.width).for_each(normalise);
    rows
}

/// Each row's largest cosine with a row of `pool`.
fn nearest(rows: &[f32], pool: &[f32], width: usize) -> Vec<f32> {
    let each = |block: &[f32]| {
        let others = pool.len() / width;
        let mut cosines = vec![0.0; block.len() / width * others];
        product(matrix(block, width), matrix(pool, width).transpose(), &mut cosines);
        cosines.chunks_exact(others).map(|row| row.iter().copied().fold(f32::NEG_INFINITY, f32::max)).collect()
    };
    rows.par_chunks(BLOCK * width).map(each).collect::<Vec<Vec<f32>>>().concat()
}

fn median(values: &mut [f32]) -> f64 {
    values.sort_by(f32::total_cmp);
    let half = values.len() / 2;
    let (low, high) = (values[half.saturating_sub(usize::from(values.len().is_multiple_of(2)))], values[half]);
    f64::from(low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sae(directions: &[[f32; 3]]) -> Sae {
        let m = directions.len();
        let w_dec: Vec<f32> = directions.concat();
        Sae {
            width: 3,
            features: m,
            w_enc: w_dec.clone(),
            b_enc: vec![0.0; m],
            w_dec,
            b_dec: vec![0.0; 3],
            threshold: vec![0.0; m],
        }
    }

    #[test]
    fn the_same_features_in_another_order_agree_and_others_do_not() {
        let a = sae(&[[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 1.0]]);
        let b = sae(&[[0.0, 0.0, 3.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]);
        let all = [0, 1, 2];
        let found = agreement([&a, &b], [&all, &all], 1).unwrap();
        assert_eq!((found.median, found.found_again, found.features), (1.0, 1.0, 6));
        assert!(found.chance < 1.0);
        // (1, 0, 0) with (0.6, 0.8, 0) is 0.6, both ways.
        let c = sae(&[[0.6, 0.8, 0.0]]);
        let found = agreement([&a, &c], [&all[..1], &all[..1]], 1).unwrap();
        assert!((found.median - 0.6).abs() < 1e-6 && found.found_again == 0.0);
        assert!(agreement([&a, &c], [&all, &[]], 1).is_none());
    }
}
