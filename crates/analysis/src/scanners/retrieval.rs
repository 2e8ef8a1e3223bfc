//! Retrieval across scanners on registered pairs, as PLISM does it: among all tiles of the other scanner, is the nearest
//! the same place? Cosine alone does not tell: a model whose tiles are all alike has a high one and retrieves nothing.

use faer::MatRef;

use super::{Undefined, normalised};

/// How often a tile finds its own place in the other scanner's tiles, both ways together.
#[derive(Debug, Clone, PartialEq)]
pub struct Retrieval {
    /// Pairs.
    pub pairs: usize,
    /// For each depth asked for: (k, queries from the first scanner whose mate is among the k nearest, from the second).
    pub hits: Vec<(usize, usize, usize)>,
    /// Mean cosine of the pairs.
    pub pair_cosine: f64,
    /// Mean cosine of tiles that are no pair.
    pub other_cosine: f64,
}

impl Retrieval {
    /// The share of queries, both ways, whose mate is among the k nearest; chance is k / pairs.
    pub fn accuracy(&self, k: usize) -> Option<f64> {
        let found = self.hits.iter().find(|hits| hits.0 == k)?;
        Some((found.1 + found.2) as f64 / (2 * self.pairs) as f64)
    }
}

/// Row i of `first` and row i of `second` are the same place by two scanners. A tie counts against the mate.
///
/// # Errors
/// With fewer than two pairs, or when the two differ in their number of rows.
pub fn retrieve(first: MatRef<'_, f64>, second: MatRef<'_, f64>, ks: &[usize]) -> Result<Retrieval, Undefined> {
    let pairs = first.nrows();
    if pairs < 2 || second.nrows() != pairs {
        return Err(Undefined(format!(
            "retrieval: expected two pairs or more, found {pairs} and {} tiles",
            second.nrows()
        )));
    }
    let similar = normalised(first) * normalised(second).transpose();
    let rank = |own: f64, others: &mut dyn Iterator<Item = f64>| others.filter(|value| *value >= own).count();
    let ranks = |forward: bool| -> Vec<usize> {
        let at = |query: usize, other: usize| if forward { similar[(query, other)] } else { similar[(other, query)] };
        let one =
            |q: usize| rank(similar[(q, q)], &mut (0..pairs).filter(|&other| other != q).map(|other| at(q, other)));
        (0..pairs).map(one).collect()
    };
    let (forward, back) = (ranks(true), ranks(false));
    let within = |ranks: &[usize], k: usize| ranks.iter().filter(|rank| **rank < k).count();
    let all: f64 = (0..pairs).flat_map(|column| similar.col_as_slice(column)).sum();
    let own: f64 = (0..pairs).map(|pair| similar[(pair, pair)]).sum();
    Ok(Retrieval {
        pairs,
        hits: ks.iter().map(|&k| (k, within(&forward, k), within(&back, k))).collect(),
        pair_cosine: own / pairs as f64,
        other_cosine: (all - own) / (pairs * (pairs - 1)) as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use faer::{Mat, mat};

    #[test]
    fn a_case_worked_by_hand() {
        let first = mat![[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]];
        // The second scanner turns everything toward the first axis.
        let second = mat![[1.0, 0.0], [1.0, 1.0], [1.0, 0.5]];
        let found = retrieve(first.as_ref(), second.as_ref(), &[1, 2]).unwrap();
        // From the first: 0→0; 1→1; 2→1 then 2. From the second: 0→0; 1→2 then 0 and 1 equally (a tie counts
        // against); 2→2.
        assert_eq!(found.hits, [(1, 2, 2), (2, 3, 2)]);
        assert_eq!(found.accuracy(1), Some(4.0 / 6.0));
        assert_eq!(found.accuracy(5), None);
    }

    #[test]
    fn a_model_that_sees_nothing_retrieves_nothing() {
        let same = Mat::from_fn(5, 3, |_, column| column as f64 + 1.0);
        let found = retrieve(same.as_ref(), same.as_ref(), &[1]).unwrap();
        assert_eq!(found.hits, [(1, 0, 0)]);
        assert!((found.pair_cosine - 1.0).abs() < 1e-12);
        assert!(retrieve(same.as_ref(), same.subrows(0, 4), &[1]).is_err());
    }
}
