//! PathoROB's clustering score: do clusters follow the biology or the centre?

use faer::{Mat, MatRef};
use rand::RngExt;

use super::{Labels, Undefined, normalised, seeded};

const RESTARTS: usize = 10;
const MOST_STEPS: usize = 100;

/// k-means clusters against both labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Clustering {
    /// Clusters: as many as there are kinds of biology.
    pub k: usize,
    /// Mean adjusted Rand index with the biology over the restarts.
    pub biology: f64,
    /// Mean adjusted Rand index with the centre.
    pub centre: f64,
}

impl Clustering {
    /// −1 (clusters are centres) to 1 (clusters are biology).
    pub fn score(&self) -> f64 {
        self.biology - self.centre
    }
}

/// Clusters normalised rows by k-means (k-means++ starts, ten restarts, all of them counted).
///
/// # Errors
/// With one kind of biology or of centre.
pub fn clustering_score(
    rows: MatRef<'_, f64>,
    biology: &Labels,
    centre: &Labels,
    seed: u64,
) -> Result<Clustering, Undefined> {
    if biology.kinds() < 2 || centre.kinds() < 2 || rows.nrows() <= biology.kinds() {
        return Err(Undefined(format!(
            "the clustering score: expected two kinds of biology and two centres, found {} and {} on {} tiles",
            biology.kinds(),
            centre.kinds(),
            rows.nrows()
        )));
    }
    let rows = normalised(rows);
    // Tiles as columns: each lies in one piece.
    let tiles = rows.transpose().to_owned();
    let (mut with_biology, mut with_centre) = (0.0, 0.0);
    for restart in 0..RESTARTS {
        let clusters = k_means(&tiles, biology.kinds(), seed.wrapping_add(restart as u64));
        with_biology += adjusted_rand_index(&clusters, biology.codes());
        with_centre += adjusted_rand_index(&clusters, centre.codes());
    }
    let count = RESTARTS as f64;
    Ok(Clustering { k: biology.kinds(), biology: with_biology / count, centre: with_centre / count })
}

/// The cluster of each column of `tiles` (d × n).
fn k_means(tiles: &Mat<f64>, k: usize, seed: u64) -> Vec<usize> {
    let mut means = start(tiles, k, &mut seeded(seed));
    let mut clusters = vec![usize::MAX; tiles.ncols()];
    for _ in 0..MOST_STEPS {
        let products = means.transpose() * tiles;
        let lengths: Vec<f64> = (0..k).map(|cluster| means.col(cluster).squared_norm_l2()).collect();
        let mut changed = false;
        for (tile, cluster) in clusters.iter_mut().enumerate() {
            let products = products.col_as_slice(tile);
            let distance = |cluster: usize| lengths[cluster] - 2.0 * products[cluster];
            let best = (0..k).min_by(|&a, &b| distance(a).total_cmp(&distance(b))).unwrap_or(0);
            changed |= best != *cluster;
            *cluster = best;
        }
        if !changed {
            break;
        }
        let mut counts = vec![0.0; k];
        let mut sums = Mat::<f64>::zeros(tiles.nrows(), k);
        for (tile, &cluster) in clusters.iter().enumerate() {
            counts[cluster] += 1.0;
            let from = tiles.col_as_slice(tile);
            sums.col_as_slice_mut(cluster).iter_mut().zip(from).for_each(|(sum, value)| *sum += value);
        }
        for (cluster, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0.0) {
            let sum = sums.col_as_slice(cluster);
            means.col_as_slice_mut(cluster).iter_mut().zip(sum).for_each(|(mean, sum)| *mean = sum / count);
        }
    }
    clusters
}

/// k-means++: each further centre is a tile, drawn in proportion to the squared distance from those there are.
fn start(tiles: &Mat<f64>, k: usize, random: &mut rand_pcg::Pcg64) -> Mat<f64> {
    let n = tiles.ncols();
    let mut chosen = vec![random.random_range(0..n)];
    let mut distances = vec![f64::INFINITY; n];
    while chosen.len() < k {
        let last = tiles.col_as_slice(chosen[chosen.len() - 1]);
        for (tile, distance) in distances.iter_mut().enumerate() {
            let values = tiles.col_as_slice(tile).iter().zip(last);
            *distance = distance.min(values.map(|(a, b)| (a - b).powi(2)).sum());
        }
        let mut left = random.random::<f64>() * distances.iter().sum::<f64>();
        let drawn = distances.iter().position(|distance| {
            left -= distance;
            left < 0.0
        });
        chosen.push(drawn.unwrap_or(n - 1));
    }
    Mat::from_fn(tiles.nrows(), k, |row, cluster| tiles[(row, chosen[cluster])])
}

/// Hubert & Arabie's adjusted Rand index of two partitions: 1 where they are the same, 0 on average by chance.
pub fn adjusted_rand_index(first: &[usize], second: &[usize]) -> f64 {
    let mut both = std::collections::HashMap::<(usize, usize), f64>::new();
    let (mut rows, mut columns) = (std::collections::HashMap::new(), std::collections::HashMap::new());
    for (&a, &b) in first.iter().zip(second) {
        *both.entry((a, b)).or_default() += 1.0;
        *rows.entry(a).or_insert(0.0) += 1.0;
        *columns.entry(b).or_insert(0.0) += 1.0;
    }
    let pairs = |count: &f64| count * (count - 1.0) / 2.0;
    let together: f64 = both.values().map(pairs).sum();
    let (in_first, in_second): (f64, f64) = (rows.values().map(pairs).sum(), columns.values().map(pairs).sum());
    let expected = in_first * in_second / pairs(&(first.len() as f64)).max(1.0);
    let most = 0.5 * (in_first + in_second);
    if most == expected { 1.0 } else { (together - expected) / (most - expected) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_scikit_learns() {
        assert_eq!(adjusted_rand_index(&[0, 0, 1, 1], &[1, 1, 0, 0]), 1.0);
        // sklearn.metrics.adjusted_rand_score([0, 0, 1, 2], [0, 0, 1, 1]) and ([0, 0, 1, 1], [0, 1, 0, 1]).
        assert!((adjusted_rand_index(&[0, 0, 1, 2], &[0, 0, 1, 1]) - 0.571_428_571_428_571_4).abs() < 1e-12);
        assert!((adjusted_rand_index(&[0, 0, 1, 1], &[0, 1, 0, 1]) + 0.5).abs() < 1e-12);
    }

    #[test]
    fn clusters_follow_what_lies_apart() {
        // Biology turns the row by 90 degrees, the centre by 5.
        let rows = Mat::from_fn(80, 2, |row, column| {
            let angle = (90 * (row % 2) + 5 * (row / 2 % 2) + row / 20) as f64;
            if column == 0 { angle.to_radians().cos() } else { angle.to_radians().sin() }
        });
        let biology = Labels::new(&(0..80).map(|row| (row % 2).to_string()).collect::<Vec<_>>());
        let centre = Labels::new(&(0..80).map(|row| (row / 2 % 2).to_string()).collect::<Vec<_>>());
        let found = clustering_score(rows.as_ref(), &biology, &centre, 1).unwrap();
        assert!(found.score() > 0.9, "{found:?}");
        let turned = clustering_score(rows.as_ref(), &centre, &biology, 1).unwrap();
        assert!(turned.score() < -0.9, "{turned:?}");
        assert!(clustering_score(rows.as_ref(), &biology, &Labels::new(&["a"; 80]), 1).is_err());
    }
}
