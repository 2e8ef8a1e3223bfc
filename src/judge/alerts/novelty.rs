//! Whether a slide looks like slides of any scanner that the profile knows. SCANNER_MISMATCH sees the directions in which
//! the known scanners differ; another scanner, stain or tissue moves a slide in others, which is what NOVEL measures. So the
//! slide's mean NOVEL score is ranked among the calibration slides of every scanner.

use coverslip_plugin_abi::TileResult;
use coverslip_profile::{Check, Scanner};

use super::super::rules::{Calibrated, MISMATCH_FEWEST_SLIDES, MISMATCH_FEWEST_TILES};
use crate::slide::counts::NoveltyVerdict;

pub(super) struct Novelty {
    known: Calibrated,
    sum: f64,
    tiles: u64,
}

impl Novelty {
    pub(super) fn new(known: &Calibrated) -> Novelty {
        Novelty { known: known.clone(), sum: 0.0, tiles: 0 }
    }

    pub(super) fn observe(&mut self, record: &TileResult) {
        let score = record.scores[Check::Novel.index()];
        if record.pass == 0 && score.is_finite() {
            self.sum += f64::from(score);
            self.tiles += 1;
        }
    }

    pub(super) fn verdict(&self) -> NoveltyVerdict {
        if self.tiles < MISMATCH_FEWEST_TILES || self.known.scanner().slide_novel.len() < MISMATCH_FEWEST_SLIDES {
            return NoveltyVerdict::Unknown;
        }
        let mean = (self.sum / self.tiles as f64) as f32;
        // Scanners share the length, and each has its unit.
        let length = self.known.scanner().novel_length(mean);
        let enough = self.known.profile.scanners.iter().enumerate();
        let enough = enough.filter(|(_, scanner)| scanner.slide_novel.len() >= MISMATCH_FEWEST_SLIDES);
        let ranked = enough.map(|(place, scanner): (usize, &Scanner)| {
            let draw = self.known.draw.of(place as u64);
            let p = scanner.slide_novel.p_value(scanner.novel_score(length), draw);
            (p, p > scanner.slide_novel.supported(self.known.alpha))
        });
        match ranked.max_by(|a, b| a.1.cmp(&b.1).then(a.0.total_cmp(&b.0))) {
            None => NoveltyVerdict::Unknown,
            Some((p, true)) => NoveltyVerdict::Known(p),
            Some((p, false)) => NoveltyVerdict::None(p),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use coverslip_profile::{Calibration, NovelScale};

    use super::super::finding::tests::tile;
    use super::*;
    use crate::judge::rules::tests::calibrated;

    /// Scanner A is known, B too; their slides' mean lengths lie around 20 and 40.
    fn run(tiles: u64, score: f32, slides: usize) -> NoveltyVerdict {
        let mut known = calibrated(0.01);
        let mut profile = (*known.profile).clone();
        let mut other = profile.scanners[0].clone();
        other.id = "B".into();
        profile.scanners.push(other);
        for (scanner, middle) in profile.scanners.iter_mut().zip([20.0, 40.0]) {
            scanner.novel = Some(NovelScale { middle, spread: 2.0 });
            scanner.slide_novel = Calibration::new((0..slides).map(|i| (i as f32 - 49.0) / 50.0).collect());
        }
        known.profile = Arc::new(profile);
        let mut novelty = Novelty::new(&known);
        for i in 0..tiles {
            let mut record = tile(i, i as i64);
            record.scores[7] = score;
            novelty.observe(&record);
        }
        novelty.verdict()
    }

    #[test]
    fn a_slide_may_be_like_none_of_the_known_scanners() {
        assert!(matches!(run(100, 0.1, 99), NoveltyVerdict::Known(p) if p > 0.1));
        // As B's slides are: ten of A's units of 2 above 20.
        assert!(matches!(run(100, 10.0, 99), NoveltyVerdict::Known(p) if p > 0.1));
        assert_eq!(run(100, 30.0, 99), NoveltyVerdict::None(0.01));
        assert_eq!((run(29, 30.0, 99), run(100, 30.0, 18)), (NoveltyVerdict::Unknown, NoveltyVerdict::Unknown));
    }
}
