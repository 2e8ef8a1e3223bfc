//! PathoROB's average performance drop: how much worse does a classifier of the biology become on balanced data when
//! its training data tie the biology to the centre?

use faer::MatRef;

use super::nipd::nipd;
use super::probe::linear;
use crate::categories::Categories;
use crate::random::{seeded, shuffled};
use crate::rows::select;
use crate::undefined::Undefined;

/// Steps from balanced training data to data where the centre tells the biology.
const SPLITS: usize = 6;

/// The drop.
#[derive(Debug, Clone, PartialEq)]
pub struct Apd {
    /// Mean over trials and splits s ≥ 1 of acc_s / acc_0 − 1: 0 for a robust model, negative for one that takes the
    /// centre for the biology.
    pub drop: f64,
    /// Mean accuracy by split, from balanced to fully confounded training data.
    pub accuracy: Vec<f64>,
    /// Cramér's V of biology and centre in the training data of each split, from 0 to 1.
    pub association: Vec<f64>,
    /// The accuracy of guessing: the test data are balanced.
    pub chance: f64,
    /// The share of what is known above chance that is lost, over the association ([`nipd`]).
    pub degradation: Result<f64, Undefined>,
    /// The two kinds of biology.
    pub biology: [String; 2],
    /// The two centres.
    pub centres: [String; 2],
    /// Tiles that a classifier is trained on.
    pub train: usize,
}

/// Trains linear classifiers on two kinds of biology and two centres, those with the most slides in the poorest of the
/// four cells; each trial halves every cell's slides into training and test.
///
/// # Errors
/// Where no two kinds of biology and two centres have two slides in each of the four cells.
pub fn average_performance_drop(
    rows: MatRef<'_, f64>,
    biology: &Categories,
    centre: &Categories,
    slide: &Categories,
    trials: usize,
    seed: u64,
) -> Result<Apd, Undefined> {
    let cells = cells(biology, centre, slide);
    let (kinds, centres) = best(&cells).ok_or_else(|| {
        Undefined(
            "the average performance drop: expected two kinds of biology in the same two centres with two slides each, \
             found none"
                .into(),
        )
    })?;
    let quarters: Vec<&Vec<Vec<usize>>> = kinds.iter().flat_map(|&b| centres.map(|c| &cells[b][c])).collect();
    let mut random = seeded(seed);
    let (mut drop, mut accuracy, mut train) = (0.0, vec![0.0; SPLITS], 0);
    let mut association = vec![0.0; SPLITS];
    for _ in 0..trials {
        let mut halves = Vec::new();
        for slides in &quarters {
            let order = shuffled(slides.len(), &mut random);
            let half = slides.len() / 2;
            let tiles = |part: &[usize]| -> Vec<usize> {
                part.iter().flat_map(|&slide| slides[slide].iter().copied()).collect()
            };
            let (test, train) = (tiles(&order[..half]), tiles(&order[half..]));
            let mix = |tiles: Vec<usize>, random: &mut rand_pcg::Pcg64| -> Vec<usize> {
                shuffled(tiles.len(), random).into_iter().map(|place| tiles[place]).collect()
            };
            halves.push((mix(train, &mut random), mix(test, &mut random)));
        }
        let each = |of: fn(&(Vec<usize>, Vec<usize>)) -> usize| halves.iter().map(of).min().unwrap_or(0);
        let (most, tested) = (each(|half| half.0.len()), each(|half| half.1.len()));
        train = 2 * most;
        let test: Vec<usize> = halves.iter().flat_map(|half| half.1[..tested].iter().copied()).collect();
        let truth: Vec<usize> = (0..4).flat_map(|quarter| vec![quarter / 2; tested]).collect();
        let asked = select(rows, &test);
        let mut first = f64::NAN;
        for (split, mean) in accuracy.iter_mut().enumerate() {
            let aligned = 0.5 + 0.5 * split as f64 / (SPLITS - 1) as f64;
            // Cells on the diagonal (first biology in the first centre, second in the second) grow, the others shrink.
            let share = |quarter: usize| if quarter == 0 || quarter == 3 { aligned } else { 1.0 - aligned };
            let count = |quarter: usize| (share(quarter) * most as f64).round() as usize;
            association[split] += cramers_v(std::array::from_fn(count)) / trials as f64;
            let seen: Vec<usize> = (0..4).flat_map(|q| halves[q].0[..count(q)].iter().copied()).collect();
            let known: Vec<usize> = (0..4).flat_map(|quarter| vec![quarter / 2; count(quarter)]).collect();
            let read = linear(select(rows, &seen).as_ref(), &known, 2, asked.as_ref())?;
            let right = read.iter().zip(&truth).filter(|(a, b)| a == b).count() as f64 / truth.len() as f64;
            if split == 0 {
                first = right;
            } else {
                drop += (right / first - 1.0) / (trials * (SPLITS - 1)) as f64;
            }
            *mean += right / trials as f64;
        }
    }
    let named = |labels: &Categories, codes: [usize; 2]| codes.map(|code| labels.names()[code].clone());
    const CHANCE: f64 = 0.5;
    let degradation = degradation(&accuracy, &association, CHANCE);
    let (biology, centres) = (named(biology, kinds), named(centre, centres));
    Ok(Apd { drop, accuracy, association, chance: CHANCE, degradation, biology, centres, train })
}

/// nIPD, where steps of few tiles may have the same association: they count as one, with their mean accuracy.
fn degradation(accuracy: &[f64], association: &[f64], chance: f64) -> Result<f64, Undefined> {
    let mut steps: Vec<(f64, Vec<f64>)> = Vec::new();
    for (&accuracy, &v) in accuracy.iter().zip(association) {
        match steps.last_mut().filter(|last| (last.0 - v).abs() < 1e-9) {
            Some(last) => last.1.push(accuracy),
            None => steps.push((v, vec![accuracy])),
        }
    }
    let mean = |values: &Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
    let (v, accuracy): (Vec<f64>, Vec<f64>) = steps.iter().map(|(v, values)| (*v, mean(values))).unzip();
    nipd(&accuracy, &v, chance)
}

/// Cramér's V of a table of two by two.
fn cramers_v(cells: [usize; 4]) -> f64 {
    let [a, b, c, d] = cells.map(|count| count as f64);
    ((a * d - b * c) / ((a + b) * (c + d) * (a + c) * (b + d)).sqrt()).abs()
}

/// By biology and centre: the tiles of each slide.
fn cells(biology: &Categories, centre: &Categories, slide: &Categories) -> Vec<Vec<Vec<Vec<usize>>>> {
    let mut found = vec![vec![std::collections::BTreeMap::<usize, Vec<usize>>::new(); centre.kinds()]; biology.kinds()];
    for row in 0..biology.len() {
        let cell = &mut found[biology.codes()[row]][centre.codes()[row]];
        cell.entry(slide.codes()[row]).or_default().push(row);
    }
    let slides = |cell: std::collections::BTreeMap<usize, Vec<usize>>| cell.into_values().collect();
    found.into_iter().map(|row| row.into_iter().map(slides).collect()).collect()
}

/// The two kinds of biology and two centres whose poorest cell has the most slides, at least two.
fn best(cells: &[Vec<Vec<Vec<usize>>>]) -> Option<([usize; 2], [usize; 2])> {
    let centres = cells.first()?.len();
    let mut found = None;
    for b in 0..cells.len() {
        for other in b + 1..cells.len() {
            for c in 0..centres {
                for next in c + 1..centres {
                    let corners = [&cells[b][c], &cells[b][next], &cells[other][c], &cells[other][next]];
                    let poorest = corners.iter().map(|cell| cell.len()).min().unwrap_or(0);
                    if poorest >= 2 && found.is_none_or(|(most, _)| poorest > most) {
                        found = Some((poorest, ([b, other], [c, next])));
                    }
                }
            }
        }
    }
    found.map(|(_, choice)| choice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use faer::Mat;
    use rand::RngExt;

    /// 16 slides of 20 tiles in a 2 × 2 design; column 0 carries the biology, column 1 the centre, each so strongly.
    fn drop(of_biology: f64, of_centre: f64) -> Result<Apd, Undefined> {
        let mut random = seeded(2);
        let rows = Mat::from_fn(320, 2, |row, column| {
            let slide = row / 20;
            let kind = [slide % 2, slide / 2 % 2][column] as f64;
            kind * [of_biology, of_centre][column] + random.random::<f64>()
        });
        let labels =
            |text: fn(usize) -> usize| Categories::new(&(0..320).map(|r| text(r).to_string()).collect::<Vec<_>>());
        let (biology, centre) = (labels(|row| row / 20 % 2), labels(|row| row / 40 % 2));
        average_performance_drop(rows.as_ref(), &biology, &centre, &labels(|row| row / 20), 5, 1)
    }

    #[test]
    fn a_loud_centre_costs_and_a_silent_one_does_not() {
        let robust = drop(2.0, 0.0).unwrap();
        assert!(robust.drop.abs() < 0.02 && robust.accuracy[0] > 0.95, "{robust:?}");
        // V of whole tiles: none where balanced, all where confounded.
        assert_eq!((robust.association[0], robust.association[SPLITS - 1], robust.chance), (0.0, 1.0, 0.5));
        assert!((robust.association[2] - 0.4).abs() < 0.01 && robust.degradation.as_ref().unwrap().abs() < 0.02);
        let fragile = drop(0.3, 2.0).unwrap();
        assert!(fragile.degradation.clone().unwrap() < 2.0 * fragile.drop, "skill is less than accuracy: {fragile:?}");
        assert!(fragile.drop < -0.05 && fragile.accuracy[SPLITS - 1] < 0.6, "{fragile:?}");
    }

    #[test]
    fn steps_of_few_tiles_with_the_same_association_count_once() {
        let found = degradation(&[0.9, 0.7, 0.6, 0.6], &[0.0, 0.0, 0.5, 1.0], 0.5).unwrap();
        assert!((found - nipd(&[0.8, 0.6, 0.6], &[0.0, 0.5, 1.0], 0.5).unwrap()).abs() < 1e-12);
    }

    #[test]
    fn without_a_full_square_there_is_none() {
        let one = Categories::new(&["a", "a", "b", "b"]);
        let slide = Categories::new(&["1", "2", "3", "4"]);
        let rows = Mat::from_fn(4, 2, |row, column| (row * column) as f64);
        let error = average_performance_drop(rows.as_ref(), &one, &one, &slide, 3, 1).unwrap_err();
        assert!(error.0.contains("two slides each, found none"), "{error}");
    }
}
