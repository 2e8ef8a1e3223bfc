//! How much of the variance is the scanner's, the slide's and the rest: variance components by the method of fitted
//! constants (Henderson's method 3; Searle, Casella & McCulloch, Variance Components, 1992, chapter 5), summed over
//! dimensions. It serves slides of one scanner each (nested), the same slides on several scanners (crossed), and any
//! unevenness.

use faer::{Mat, MatRef};

use super::{Labels, Undefined};

/// Variances, summed over dimensions. An estimate below zero is zero: the data cannot tell it from none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Components {
    /// Between scanners.
    pub scanner: f64,
    /// Between slides, the scanner apart; NaN where every scanner has one slide and the two cannot be told apart.
    pub slide: f64,
    /// Between tiles of a slide on one scanner.
    pub rest: f64,
}

impl Components {
    /// The three as shares of their sum.
    pub fn shares(&self) -> [f64; 3] {
        let known = |value: f64| if value.is_nan() { 0.0 } else { value };
        let sum = self.scanner + known(self.slide) + self.rest;
        [self.scanner / sum, self.slide / sum, self.rest / sum]
    }
}

/// Components of rows (n × d). A slide that several scanners took has one label.
///
/// # Errors
/// With one scanner, or with one tile per slide and scanner (nothing is left for the rest).
pub fn variance_components(rows: MatRef<'_, f64>, scanners: &Labels, slides: &Labels) -> Result<Components, Undefined> {
    if scanners.kinds() < 2 {
        return Err(Undefined(format!(
            "variance components: expected tiles of two scanners or more, found {}",
            scanners.kinds()
        )));
    }
    let cells = Cells::new(rows, scanners, slides);
    let total: f64 = (0..rows.ncols()).map(|c| rows.col(c).squared_norm_l2()).sum();
    let mut basis = Basis::default();
    let mean = basis.extend(&cells, |_| 0, 1);
    let of_scanner = basis.extend(&cells, |cell| cells.scanner[cell], scanners.kinds());
    let of_slide = basis.extend(&cells, |cell| cells.slide[cell], slides.kinds());
    let left = rows.nrows() - basis.vectors.len();
    if left == 0 {
        return Err(Undefined(
            "variance components: expected several tiles per slide and scanner, found one each".into(),
        ));
    }
    let rest = (total - mean.squares - of_scanner.squares - of_slide.squares).max(0.0) / left as f64;
    // E[SS] = scanner part · σ²(scanner) + slide part · σ²(slide) + dimensions · σ²(rest), for each step of the basis.
    let slide = if of_slide.dimensions == 0 {
        f64::NAN
    } else {
        ((of_slide.squares - of_slide.dimensions as f64 * rest) / of_slide.slide).max(0.0)
    };
    let from_slides = if slide.is_nan() { 0.0 } else { of_scanner.slide * slide };
    let scanner = (of_scanner.squares - of_scanner.dimensions as f64 * rest - from_slides) / of_scanner.scanner;
    Ok(Components { scanner: scanner.max(0.0), slide, rest })
}

/// Tiles of one slide on one scanner, as their weighted mean: √n · mean.
struct Cells {
    scanner: Vec<usize>,
    slide: Vec<usize>,
    root: Vec<f64>,
    weighted: Mat<f64>,
}

impl Cells {
    fn new(rows: MatRef<'_, f64>, scanners: &Labels, slides: &Labels) -> Cells {
        let keys: Vec<(usize, usize)> = scanners.codes().iter().copied().zip(slides.codes().iter().copied()).collect();
        let mut order: Vec<(usize, usize)> = keys.clone();
        order.sort_unstable();
        order.dedup();
        let place: Vec<usize> = keys.iter().map(|key| order.partition_point(|other| other < key)).collect();
        let mut counts = vec![0.0_f64; order.len()];
        place.iter().for_each(|&cell| counts[cell] += 1.0);
        let root: Vec<f64> = counts.iter().map(|count| count.sqrt()).collect();
        let mut weighted = Mat::<f64>::zeros(order.len(), rows.ncols());
        for column in 0..rows.ncols() {
            let sums = weighted.col_as_slice_mut(column);
            place.iter().enumerate().for_each(|(row, &cell)| sums[cell] += rows[(row, column)]);
            sums.iter_mut().zip(&root).for_each(|(sum, root)| *sum /= root);
        }
        let (scanner, slide) = order.into_iter().unzip();
        Cells { scanner, slide, root, weighted }
    }
}

/// An orthonormal basis of the design, built step by step.
#[derive(Default)]
struct Basis {
    vectors: Vec<Vec<f64>>,
}

/// What a step of the basis explains: of the data, and of indicators of each factor.
#[derive(Debug, Default)]
struct Step {
    dimensions: usize,
    squares: f64,
    scanner: f64,
    slide: f64,
}

impl Basis {
    /// Adds the indicator columns of a factor, weighted by √n, as far as they are new (Gram–Schmidt, twice).
    fn extend(&mut self, cells: &Cells, level: impl Fn(usize) -> usize, levels: usize) -> Step {
        let mut step = Step::default();
        for wanted in 0..levels {
            let indicator = |(cell, &root): (usize, &f64)| if level(cell) == wanted { root } else { 0.0 };
            let mut vector: Vec<f64> = cells.root.iter().enumerate().map(indicator).collect();
            let before = length(&vector);
            for _ in 0..2 {
                for other in &self.vectors {
                    let along = dot(&vector, other);
                    vector.iter_mut().zip(other).for_each(|(value, base)| *value -= along * base);
                }
            }
            let left = length(&vector);
            if left <= 1e-9 * before {
                continue;
            }
            vector.iter_mut().for_each(|value| *value /= left);
            step.dimensions += 1;
            step.squares +=
                (0..cells.weighted.ncols()).map(|c| dot(&vector, cells.weighted.col_as_slice(c)).powi(2)).sum::<f64>();
            step.scanner += explained(&vector, &cells.scanner, &cells.root);
            step.slide += explained(&vector, &cells.slide, &cells.root);
            self.vectors.push(vector);
        }
        step
    }
}

/// The squared length of a factor's indicators along `vector`.
fn explained(vector: &[f64], level: &[usize], root: &[f64]) -> f64 {
    let mut along = vec![0.0; level.iter().max().map_or(0, |most| most + 1)];
    vector.iter().zip(level).zip(root).for_each(|((value, &level), root)| along[level] += value * root);
    along.iter().map(|value| value * value).sum()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn length(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scanners::seeded;
    use faer::mat;
    use rand::RngExt;

    fn labels(text: &str) -> Labels {
        Labels::new(&text.split(' ').collect::<Vec<_>>())
    }

    #[test]
    fn nested_by_hand() {
        // Two scanners, two slides each, two tiles each: 1 3 | 5 7 || 11 13 | 15 17.
        let rows = mat![[1.0], [3.0], [5.0], [7.0], [11.0], [13.0], [15.0], [17.0_f64]];
        let (scanners, slides) = (labels("a a a a b b b b"), labels("1 1 2 2 3 3 4 4"));
        let found = variance_components(rows.as_ref(), &scanners, &slides).unwrap();
        // MS rest = 2; MS slide = 16 = 2 + 2 σ²; MS scanner = 200 = 2 + 2 · 7 + 4 σ².
        assert!((found.rest - 2.0).abs() < 1e-9 && (found.slide - 7.0).abs() < 1e-9, "{found:?}");
        assert!((found.scanner - 46.0).abs() < 1e-9, "{found:?}");
        assert!((found.shares()[0] - 46.0 / 55.0).abs() < 1e-9);
    }

    #[test]
    fn crossed_by_hand() {
        // Two slides on two scanners, two tiles each, no interaction.
        let rows = mat![[1.0], [3.0], [11.0], [13.0], [5.0], [7.0], [15.0], [17.0_f64]];
        let (scanners, slides) = (labels("a a a a b b b b"), labels("1 1 2 2 1 1 2 2"));
        let found = variance_components(rows.as_ref(), &scanners, &slides).unwrap();
        // SS rest = 8 on 5; scanner: SS 32 = 1 · rest + 4 σ²; slide: SS 200 = rest + 4 σ².
        assert!((found.rest - 1.6).abs() < 1e-9, "{found:?}");
        assert!((found.scanner - 7.6).abs() < 1e-9 && (found.slide - 49.6).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn uneven_slides_give_what_was_put_in() {
        let mut random = seeded(8);
        let mut normal = move || (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
        let (mut values, mut scanners, mut slides) = (Vec::new(), Vec::new(), Vec::new());
        for scanner in 0..30 {
            let of_scanner = 2.0 * normal();
            for slide in 0..3 + scanner % 4 {
                let of_slide = normal();
                for _ in 0..2 + (slide * 7) % 5 {
                    values.push(of_scanner + of_slide + 0.5 * normal());
                    scanners.push(format!("{scanner}"));
                    slides.push(format!("{scanner} {slide}"));
                }
            }
        }
        let rows = Mat::from_fn(values.len(), 1, |row, _| values[row]);
        let found = variance_components(rows.as_ref(), &Labels::new(&scanners), &Labels::new(&slides)).unwrap();
        // Standard errors: about a quarter of 4, a sixth of 1, a fifteenth of 0.25.
        assert!((found.rest - 0.25).abs() < 0.05 && (found.slide - 1.0).abs() < 0.5, "{found:?}");
        assert!((found.scanner - 4.0).abs() < 2.5, "{found:?}");
    }

    #[test]
    fn one_slide_per_scanner_cannot_be_told_from_the_scanner() {
        let rows = mat![[1.0], [3.0], [11.0], [13.0_f64]];
        let found = variance_components(rows.as_ref(), &labels("a a b b"), &labels("1 1 2 2")).unwrap();
        assert!(found.slide.is_nan() && found.scanner > 0.0);
        assert!(variance_components(rows.as_ref(), &labels("a a a a"), &labels("1 1 2 2")).is_err());
        assert!(variance_components(rows.as_ref(), &labels("a a b b"), &labels("1 2 3 4")).is_err());
    }
}
