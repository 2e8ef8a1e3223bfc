//! CRoMa, the cross-confounder robustness margin: for every tile, how much nearer is its biology on other scanners than
//! other biology on its own scanner? (Grisi et al., A distributional robustness margin for pathology foundation models,
//! arXiv:2607.25497.)

use faer::MatRef;

use super::neighbours::{nearest, normalised};
use crate::categories::Categories;
use crate::quantile::quantile;
use crate::resampled::intervals;
use crate::undefined::Undefined;

/// The share of tiles that are the lower tail.
const TAIL: f64 = 0.1;

/// The distribution of the margins (d(OS) − d(SO)) / (d(OS) + d(SO)) over tiles. d(SO) is the mean cosine distance to the
/// m nearest tiles with the same biology and another centre, d(OS) that to the m nearest with another biology and the
/// same centre; tiles of the same slide are no neighbours. Intervals are the 2.5 and 97.5 % points over bootstraps of slides.
#[derive(Debug, Clone, PartialEq)]
pub struct Margin {
    /// Neighbours of each kind.
    pub m: usize,
    /// The median of the margins: above 0 where the biology is nearer, below 0 where the centre is.
    pub median: f64,
    pub interval: (f64, f64),
    /// The 10 % point of the margins.
    pub quantile: f64,
    /// The mean of the margins up to that point: how bad the worst tenth is.
    pub tail: f64,
    pub tail_interval: (f64, f64),
    /// The share of margins that are not above 0: F(0), how common failures are.
    pub fragile: f64,
    pub fragile_interval: (f64, f64),
    /// Tiles with a margin.
    pub scored: usize,
    /// All tiles.
    pub tiles: usize,
    /// Tiles without m neighbours of either kind.
    pub without_neighbours: usize,
    /// Tiles with neighbours of both kinds at distance 0: copies, or a collapsed embedding.
    pub without_distance: usize,
}

/// The margins of rows (n × d) with `m` neighbours of each kind.
///
/// # Errors
/// Where no tile has m neighbours of both kinds.
pub fn robustness_margin(
    rows: MatRef<'_, f64>,
    biology: &Categories,
    centre: &Categories,
    slide: &Categories,
    m: usize,
    bootstraps: usize,
    seed: u64,
) -> Result<Margin, Undefined> {
    let rows = normalised(rows);
    let rows = rows.as_ref();
    let (kind, place, slides) = (biology.codes(), centre.codes(), slide.codes());
    let matches = nearest(rows, rows, m, |a, b| slides[a] != slides[b] && kind[a] == kind[b] && place[a] != place[b]);
    let impostors = nearest(rows, rows, m, |a, b| slides[a] != slides[b] && kind[a] != kind[b] && place[a] == place[b]);
    let far = |query: usize, found: &[usize]| {
        let distance = |&row: &usize| (1.0 - rows.row(query) * rows.row(row).transpose()).max(0.0);
        found.iter().map(distance).sum::<f64>() / m as f64
    };
    let (mut by_slide, mut without_neighbours, mut without_distance) = (vec![Vec::new(); slide.kinds()], 0, 0);
    for (query, (so, os)) in matches.iter().zip(&impostors).enumerate() {
        if so.len() < m || os.len() < m {
            without_neighbours += 1;
            continue;
        }
        let (so, os) = (far(query, so), far(query, os));
        if so + os > 0.0 {
            by_slide[slides[query]].push((os - so) / (os + so));
        } else {
            without_distance += 1;
        }
    }
    let mut all = by_slide.concat();
    if all.is_empty() {
        return Err(Undefined(format!(
            "CRoMa: expected tiles with {m} neighbours of the same biology and another scanner, and {m} of another biology \
             and the same scanner, on other slides; found none among {}",
            rows.nrows()
        )));
    }
    let [median, quantile, tail, fragile] = summary(&mut all);
    let found = intervals(by_slide.len(), bootstraps, seed, |drawn| {
        let mut values: Vec<f64> = drawn.iter().flat_map(|&slide| by_slide[slide].iter().copied()).collect();
        summary(&mut values)
    });
    Ok(Margin {
        m,
        median,
        interval: found[0],
        quantile,
        tail,
        tail_interval: found[2],
        fragile,
        fragile_interval: found[3],
        scored: all.len(),
        tiles: rows.nrows(),
        without_neighbours,
        without_distance,
    })
}

/// The median, the point of the tail, the mean up to it, and the share not above 0; NaN without values.
fn summary(values: &mut [f64]) -> [f64; 4] {
    if values.is_empty() {
        return [f64::NAN; 4];
    }
    values.sort_by(f64::total_cmp);
    let point = quantile(values, TAIL);
    let tail = &values[..values.partition_point(|value| *value <= point)];
    let fragile = values.partition_point(|value| *value <= 0.0);
    [quantile(values, 0.5), point, tail.iter().sum::<f64>() / tail.len() as f64, fragile as f64 / values.len() as f64]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Categories {
        Categories::new(&text.split(' ').collect::<Vec<_>>())
    }

    #[test]
    fn a_case_worked_by_hand() {
        // Slides are single tiles; distances are 1 − cos of the angle between.
        let angles = [0.0_f64, 60.0, 90.0].map(f64::to_radians);
        let rows = faer::Mat::from_fn(3, 2, |row, column| [angles[row].cos(), angles[row].sin()][column]);
        let found =
            robustness_margin(rows.as_ref(), &labels("t t n"), &labels("A B A"), &labels("1 2 3"), 1, 50, 1).unwrap();
        // Tile 0: its biology at B lies at 60° (d 0.5), other biology at A at 90° (d 1): (1 − 0.5) / 1.5. Tile 1 has no
        // other biology at B, tile 2 no match elsewhere.
        assert!((found.median - 1.0 / 3.0).abs() < 1e-12, "{found:?}");
        assert_eq!((found.scored, found.tiles, found.without_neighbours, found.without_distance), (1, 3, 2, 0));
        assert!(found.fragile == 0.0 && found.quantile == found.median);
        let two = robustness_margin(rows.as_ref(), &labels("t t n"), &labels("A B A"), &labels("1 2 3"), 2, 50, 1)
            .unwrap_err();
        assert!(two.0.contains("found none among 3"), "{two}");
    }

    #[test]
    fn the_tail_is_the_worst_tenth_and_zero_is_fragile() {
        let mut values: Vec<f64> = (0..21).map(|place| f64::from(place) / 10.0 - 1.0).rev().collect();
        let [median, point, tail, fragile] = summary(&mut values);
        // The 10 % point of −1.0, −0.9 … 1.0 is −0.8.
        assert!(median.abs() < 1e-12 && (point + 0.8).abs() < 1e-12 && (tail + 0.9).abs() < 1e-12);
        assert!((fragile - 11.0 / 21.0).abs() < 1e-12);
    }

    #[test]
    fn copies_have_no_distance() {
        let rows = faer::Mat::from_fn(4, 2, |_, column| column as f64);
        let slide = labels("1 2 3 4");
        let found = robustness_margin(rows.as_ref(), &labels("t t n n"), &labels("A B A B"), &slide, 1, 10, 1);
        assert!(found.is_err(), "every tile is a copy: {found:?}");
    }
}
