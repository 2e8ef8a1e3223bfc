//! How far a slide's mean SCANNER_SHIFT has risen at most while it was scanned: what SCANNER_DRIFT ranks.

/// Tiles at the scanner's middle that a slide is begun with: a few high tiles at its beginning are no shift.
const BEGUN_WITH: f64 = 200.0;
/// With fewer tiles there is no peak.
const FEWEST_TILES: f64 = 30.0;

/// The running mean of a slide's scores above the scanner's middle, drawn towards it by as if 200 tiles had lain there, and
/// the highest that it has been.
#[derive(Clone, Copy, Debug)]
pub struct Peak {
    middle: f64,
    sum: f64,
    tiles: f64,
    highest: f64,
}

impl Peak {
    /// Of a slide of which nothing is known. `middle`: the median of the calibration slides' means.
    pub fn new(middle: f32) -> Peak {
        Peak { middle: f64::from(middle), sum: 0.0, tiles: 0.0, highest: f64::NEG_INFINITY }
    }

    /// The next tile, which stands for so many.
    pub fn add(&mut self, score: f32, tiles: f64) {
        if score.is_finite() {
            self.sum += tiles * (f64::from(score) - self.middle);
            self.tiles += tiles;
            if self.tiles >= FEWEST_TILES {
                self.highest = self.highest.max(self.sum / (self.tiles + BEGUN_WITH));
            }
        }
    }

    /// The highest so far; None before there are enough tiles.
    pub fn highest(&self) -> Option<f32> {
        (self.tiles >= FEWEST_TILES).then_some(self.highest as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_never_falls_and_a_few_tiles_make_none() {
        let mut peak = Peak::new(2.0);
        (0..29).for_each(|_| peak.add(12.0, 1.0));
        peak.add(f32::NAN, 1.0);
        assert_eq!(peak.highest(), None);
        peak.add(12.0, 1.0);
        assert_eq!(peak.highest(), Some((300.0 / 230.0) as f32));
        let before = peak.highest();
        (0..500).for_each(|_| peak.add(0.0, 1.0));
        assert_eq!(peak.highest(), before);
        // A tenth of the tiles, each of which stands for ten, rises alike.
        let risen = |tiles: usize, each: f64| {
            let mut peak = Peak::new(0.0);
            (0..tiles).for_each(|_| peak.add(1.0, each));
            peak.highest().unwrap()
        };
        assert_eq!(risen(1000, 1.0), risen(100, 10.0));
    }
}
