//! PathoROB's robustness index: are a tile's neighbours of the same biology, or from the same centre? (Kömen et al.,
//! Towards Robust Foundation Models for Digital Pathology, arXiv:2507.17845.)

use faer::MatRef;

use super::neighbours::{nearest, normalised};
use crate::categories::Categories;
use crate::resampled::intervals;
use crate::undefined::Undefined;

/// The index, with the numbers that put it into context.
#[derive(Debug, Clone, PartialEq)]
pub struct Robustness {
    /// Neighbours that were looked at.
    pub k: usize,
    /// ΣSO / (ΣSO + ΣOS): 1 where neighbours share the biology across centres, 0 where they share the centre across
    /// biologies.
    pub index: f64,
    /// The 2.5 and 97.5 % points over bootstraps of slides.
    pub interval: (f64, f64),
    /// The share of tiles with such a neighbour: the index rests on these.
    pub support: f64,
    /// The index of neighbours drawn at random from the tiles that could be neighbours.
    pub random: f64,
    /// Neighbours with the same biology and another centre.
    pub same_biology_other_centre: u64,
    /// Neighbours with another biology and the same centre.
    pub other_biology_same_centre: u64,
}

/// The index of rows (n × d) at `k` neighbours by cosine, tiles of the same slide left out, with the interval of
/// `bootstraps` samples of slides. Slides are drawn as queries; who may be a neighbour stays.
///
/// # Errors
/// Where it is vacuous: no centre has two kinds of biology (nothing can pull a tile to its centre), or no biology is in
/// two centres.
pub fn robustness_index(
    rows: MatRef<'_, f64>,
    biology: &Categories,
    centre: &Categories,
    slide: &Categories,
    k: usize,
    bootstraps: usize,
    seed: u64,
) -> Result<Robustness, Undefined> {
    if centre.kinds_within(biology).into_iter().max().unwrap_or(0) < 2 {
        return Err(Undefined(
            "the robustness index: expected a centre with two kinds of biology, found none; it would be 1 whatever the \
             model does"
                .into(),
        ));
    }
    if biology.kinds_within(centre).into_iter().max().unwrap_or(0) < 2 {
        return Err(Undefined(
            "the robustness index: expected a kind of biology in two centres, found none; it would be 0 whatever the \
             model does"
                .into(),
        ));
    }
    let rows = normalised(rows);
    let slides = slide.codes();
    let neighbours = nearest(rows.as_ref(), rows.as_ref(), k, |query, row| slides[query] != slides[row]);
    let kind = |query: usize, row: usize| {
        let same_biology = biology.codes()[query] == biology.codes()[row];
        let same_centre = centre.codes()[query] == centre.codes()[row];
        (u64::from(same_biology && !same_centre), u64::from(!same_biology && same_centre))
    };
    let (mut by_slide, mut telling) = (vec![(0_u64, 0_u64); slide.kinds()], 0_usize);
    for (query, found) in neighbours.iter().enumerate() {
        let kinds = found.iter().map(|&row| kind(query, row));
        let (so, os) = kinds.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        by_slide[slides[query]].0 += so;
        by_slide[slides[query]].1 += os;
        telling += usize::from(so + os > 0);
    }
    let (so, os) = by_slide.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let index = share(so as f64, os as f64).ok_or_else(|| {
        Undefined(format!(
            "the robustness index: expected neighbours that tell biology from centre among {k}, found none"
        ))
    })?;
    Ok(Robustness {
        k,
        index,
        interval: interval(&by_slide, bootstraps, seed),
        support: telling as f64 / neighbours.len() as f64,
        random: random_level(biology, centre, slide, k),
        same_biology_other_centre: so,
        other_biology_same_centre: os,
    })
}

fn share(so: f64, os: f64) -> Option<f64> {
    (so + os > 0.0).then(|| so / (so + os))
}

fn interval(by_slide: &[(u64, u64)], bootstraps: usize, seed: u64) -> (f64, f64) {
    let [found] = intervals(by_slide.len(), bootstraps, seed, |drawn| {
        let (so, os) = drawn.iter().map(|&one| by_slide[one]).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        [share(so as f64, os as f64).unwrap_or(f64::NAN)]
    });
    found
}

/// Each tile draws `k` of the tiles of other slides: counted by (biology, centre, slide), not by pairs.
fn random_level(biology: &Categories, centre: &Categories, slide: &Categories, k: usize) -> f64 {
    let mut of_both = vec![vec![0.0; centre.kinds()]; biology.kinds()];
    let mut of_slide = vec![std::collections::BTreeMap::<(usize, usize), f64>::new(); slide.kinds()];
    for ((&b, &c), &s) in biology.codes().iter().zip(centre.codes()).zip(slide.codes()) {
        of_both[b][c] += 1.0;
        *of_slide[s].entry((b, c)).or_default() += 1.0;
    }
    let of_biology: Vec<f64> = of_both.iter().map(|row| row.iter().sum()).collect();
    let of_centre: Vec<f64> = (0..centre.kinds()).map(|c| of_both.iter().map(|row| row[c]).sum()).collect();
    let (mut so, mut os) = (0.0, 0.0);
    for mix in &of_slide {
        let own: f64 = mix.values().sum();
        let others = biology.len() as f64 - own;
        for (&(b, c), &tiles) in mix {
            let in_slide = |of: fn((usize, usize), (usize, usize)) -> bool| -> f64 {
                mix.iter().filter(|(kind, _)| of(**kind, (b, c))).map(|(_, count)| count).sum()
            };
            let same = of_biology[b] - of_both[b][c] - in_slide(|kind, query| kind.0 == query.0 && kind.1 != query.1);
            let other = of_centre[c] - of_both[b][c] - in_slide(|kind, query| kind.0 != query.0 && kind.1 == query.1);
            if others > 0.0 {
                let drawn = tiles * (k as f64).min(others) / others;
                so += drawn * same;
                os += drawn * other;
            }
        }
    }
    share(so, os).unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use faer::mat;

    fn labels(text: &str) -> Categories {
        Categories::new(&text.split(' ').collect::<Vec<_>>())
    }

    #[test]
    fn a_case_worked_by_hand() {
        // Slides are single tiles.
        let angles = [0.0_f64, 9.0, 20.0, 90.0, 110.0].map(f64::to_radians);
        let rows = faer::Mat::from_fn(5, 2, |row, column| [angles[row].cos(), angles[row].sin()][column]);
        let (biology, centre) = (labels("t t n n n"), labels("A B A A B"));
        let slide = labels("1 2 3 4 5");
        // Nearest: 0→1 SO, 1→0 SO, 2→1 neither (both differ), 3→4 SO, 4→3 SO.
        let found = robustness_index(rows.as_ref(), &biology, &centre, &slide, 1, 200, 1).unwrap();
        assert_eq!((found.same_biology_other_centre, found.other_biology_same_centre), (4, 0));
        assert!((found.support - 0.8).abs() < 1e-12, "2 has none that tells");
        // Second: 0→2 OS, 1→2 neither (both differ), 2→0 OS, 3→2 neither (both the same), 4→2 SO.
        let found = robustness_index(rows.as_ref(), &biology, &centre, &slide, 2, 200, 1).unwrap();
        assert_eq!((found.same_biology_other_centre, found.other_biology_same_centre), (5, 2));
        assert!((found.index - 5.0 / 7.0).abs() < 1e-12);
        assert!(found.interval.0 <= found.index && found.index <= found.interval.1);
        // By hand over ordered pairs: SO = {0,1} both ways, {2,4}, {3,4} both ways: 6; OS = {0,2}, {0,3}, {1,4}: 6.
        assert!((found.random - 0.5).abs() < 1e-12, "{}", found.random);
    }

    #[test]
    fn neighbours_of_the_same_slide_do_not_count() {
        let rows = mat![[1.0, 0.0], [1.0, 0.01], [0.0, 1.0], [0.1, 1.0]];
        let (biology, centre) = (labels("t n t n"), labels("A A B B"));
        let apart = robustness_index(rows.as_ref(), &biology, &centre, &labels("1 2 3 4"), 1, 10, 1).unwrap();
        assert!(apart.index.abs() < 1e-12, "each lies beside the other biology of its centre");
        let together = robustness_index(rows.as_ref(), &biology, &centre, &labels("1 1 2 2"), 1, 10, 1);
        // 0→3 both differ, 1→3 SO, 2→1 both differ, 3→1 SO.
        assert!((together.unwrap().index - 1.0).abs() < 1e-12);
    }

    #[test]
    fn where_it_says_nothing_it_says_so() {
        let rows = mat![[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]];
        let slide = labels("1 2 3");
        let error = robustness_index(rows.as_ref(), &labels("t t n"), &labels("A A B"), &slide, 1, 10, 1).unwrap_err();
        assert!(error.0.contains("a centre with two kinds of biology"), "{error}");
        let error = robustness_index(rows.as_ref(), &labels("t n r"), &labels("A A B"), &slide, 1, 10, 1).unwrap_err();
        assert!(error.0.contains("a kind of biology in two centres"), "{error}");
    }
}
