//! SAE features that follow the scanner: effect sizes, and whether they hold whichever slide is left out.

use crate::categories::Categories;
use crate::rows::SparseRows;
use crate::undefined::Undefined;

/// One feature on one scanner against the mean of the others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effect {
    /// The feature.
    pub feature: u32,
    /// The scanner.
    pub scanner: usize,
    /// (mean on this scanner − mean of the other scanners' means) / pooled standard deviation within scanners.
    pub size: f64,
    /// The smallest |size| over all ways to leave one slide out; 0 where the sign turns.
    pub least: f64,
}

/// Moments of one feature on one slide of one scanner.
#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    sum: f64,
    squares: f64,
}

/// Effects of every feature that is active anywhere, the surest first.
///
/// # Errors
/// With one scanner.
pub fn scanner_effects(
    rows: SparseRows<'_>,
    scanners: &Categories,
    slides: &Categories,
) -> Result<Vec<Effect>, Undefined> {
    if scanners.kinds() < 2 {
        return Err(Undefined(format!(
            "scanner-sensitive features: expected tiles of two scanners or more, found {}",
            scanners.kinds()
        )));
    }
    // Cells: a slide on a scanner.
    let texts: Vec<String> =
        (0..scanners.len()).map(|row| format!("{:08} {}", scanners.codes()[row], slides.codes()[row])).collect();
    let cells = Categories::new(&texts);
    let mut tiles = vec![0.0; cells.kinds()];
    let mut scanner_of = vec![0; cells.kinds()];
    for (row, &cell) in cells.codes().iter().enumerate() {
        tiles[cell] += 1.0;
        scanner_of[cell] = scanners.codes()[row];
    }
    let mut moments = std::collections::BTreeMap::<u32, Vec<Moments>>::new();
    let mut start = 0;
    for (row, &end) in rows.ends.iter().enumerate() {
        for entry in start..end {
            let cell = cells.codes()[row];
            let of = moments.entry(rows.index[entry]).or_insert_with(|| vec![Moments::default(); cells.kinds()]);
            of[cell].sum += f64::from(rows.value[entry]);
            of[cell].squares += f64::from(rows.value[entry]).powi(2);
        }
        start = end;
    }
    let design = Design { tiles, scanner_of, scanners: scanners.kinds() };
    let mut effects: Vec<Effect> = moments.iter().flat_map(|(&feature, of)| design.effects(feature, of)).collect();
    effects.sort_by(|a, b| {
        b.least.total_cmp(&a.least).then(b.size.abs().total_cmp(&a.size.abs())).then(a.feature.cmp(&b.feature))
    });
    Ok(effects)
}

struct Design {
    tiles: Vec<f64>,
    scanner_of: Vec<usize>,
    scanners: usize,
}

impl Design {
    fn effects(&self, feature: u32, of: &[Moments]) -> Vec<Effect> {
        let whole = self.sizes(of, None);
        let without: Vec<Vec<f64>> = (0..of.len()).map(|cell| self.sizes(of, Some(cell))).collect();
        let least = |scanner: usize| {
            let size = whole[scanner];
            let one = |sizes: &Vec<f64>| {
                // A scanner without a slide has no mean, and the effect is undefined.
                let kept = sizes[scanner];
                if kept.is_nan() || kept * size <= 0.0 { 0.0 } else { kept.abs() }
            };
            without.iter().map(one).fold(size.abs(), f64::min)
        };
        (0..self.scanners)
            .filter(|&scanner| whole[scanner].is_finite())
            .map(|scanner| Effect { feature, scanner, size: whole[scanner], least: least(scanner) })
            .collect()
    }

    /// The effect on each scanner, with one cell left out.
    fn sizes(&self, of: &[Moments], left_out: Option<usize>) -> Vec<f64> {
        let mut by_scanner = vec![(0.0, 0.0, 0.0); self.scanners];
        for (cell, moments) in of.iter().enumerate().filter(|(cell, _)| Some(*cell) != left_out) {
            let sums = &mut by_scanner[self.scanner_of[cell]];
            sums.0 += self.tiles[cell];
            sums.1 += moments.sum;
            sums.2 += moments.squares;
        }
        let count: f64 = by_scanner.iter().map(|sums| sums.0).sum();
        let within: f64 = by_scanner.iter().filter(|s| s.0 > 0.0).map(|s| (s.2 - s.1 * s.1 / s.0).max(0.0)).sum();
        let deviation = (within / (count - self.scanners as f64).max(1.0)).sqrt();
        let means: Vec<f64> = by_scanner.iter().map(|sums| sums.1 / sums.0).collect();
        let size = |scanner: usize| {
            let others = (0..self.scanners).filter(|&other| other != scanner).map(|other| means[other]);
            let apart = means[scanner] - others.sum::<f64>() / (self.scanners - 1) as f64;
            // A feature that is constant within scanners and differs between them is infinitely sensitive: cap it.
            if apart == 0.0 { 0.0 } else { (apart / deviation).clamp(-100.0, 100.0) }
        };
        (0..self.scanners).map(size).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_worked_by_hand() {
        // Feature 7: 1, 3 on slide p of a; 2, 2 on q of a; 5, 7 on p of b; 6 on q of b, and one tile without it.
        let index = [7, 7, 7, 7, 7, 7, 7, 2];
        let value = [1.0, 3.0, 2.0, 2.0, 5.0, 7.0, 6.0, 4.0];
        let ends = [1, 2, 3, 4, 5, 6, 7, 8];
        let rows = SparseRows { ends: &ends, index: &index, value: &value };
        let scanners = Categories::new(&["a", "a", "a", "a", "b", "b", "b", "b"]);
        let slides = Categories::new(&["p", "p", "q", "q", "p", "p", "q", "q"]);
        let found = scanner_effects(rows, &scanners, &slides).unwrap();
        let of = |feature, scanner| found.iter().find(|e| (e.feature, e.scanner) == (feature, scanner)).unwrap();
        // Means 2 and 4.5; squares within: 2 and 29; deviation √(31/6).
        let size = 2.5 / (31.0_f64 / 6.0).sqrt();
        assert!((of(7, 1).size - size).abs() < 1e-12 && (of(7, 0).size + size).abs() < 1e-12, "{found:?}");
        // Without p of b its mean is 3: the least of four; squares within 2 + 18 on 6 − 2.
        assert!((of(7, 1).least - 1.0 / 5.0_f64.sqrt()).abs() < 1e-12, "{:?}", of(7, 1));
        // Feature 2 is on one slide only: without it there is no effect.
        assert_eq!(of(2, 1).least, 0.0);
        assert_eq!(found[0].feature, 7, "the surest first");
        assert!(scanner_effects(rows, &Categories::new(&["a"; 8]), &slides).is_err());
    }
}
