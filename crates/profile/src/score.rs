//! The score of each check. The plugin judges tiles by it, the builder calibrates by it, and whoever reads the plugin's
//! records reads it back: one function, so that a score means the same everywhere.

use crate::{Check, Measurements, Profile, Scanner, measurement as at};

/// What one tile's checks are scored on: its pixels, and what model and profile add. A field is None where it was not
/// measured.
#[derive(Clone, Copy, Debug)]
pub struct TileScores<'m> {
    measurements: &'m Measurements,
    color_shift: Option<f32>,
    novel: Option<f32>,
    scanner_shift: Option<f32>,
    scanner_features: Option<f32>,
    reconstruction_error: Option<f32>,
    instability: Option<f32>,
}

/// What the model says of a tile.
#[derive(Clone, Debug)]
pub struct ModelOutputs<'t, F> {
    /// Of the profile's judged tap.
    pub embedding: Option<&'t [f32]>,
    /// Index and value of the active features.
    pub features: F,
    /// Of the SAE, on the FVU scale.
    pub reconstruction_error: Option<f32>,
    /// See [`crate::instability`].
    pub instability: Option<f32>,
}

impl<'m> TileScores<'m> {
    /// Scores a tile against one scanner of a profile.
    pub fn new<F: Iterator<Item = (u32, f32)>>(
        profile: &Profile,
        scanner: &Scanner,
        measurements: &'m Measurements,
        outputs: ModelOutputs<'_, F>,
    ) -> TileScores<'m> {
        let displacement = outputs.embedding.and_then(|embedding| profile.displacement(scanner, embedding));
        TileScores {
            measurements,
            color_shift: scanner.color.as_ref().and_then(|color| color.score(measurements)),
            novel: displacement.map(|d| scanner.novel_score(d.novel)),
            scanner_shift: displacement.map(|d| d.scanner_shift),
            scanner_features: profile.feature_score(scanner, outputs.features),
            reconstruction_error: outputs.reconstruction_error,
            instability: outputs.instability,
        }
    }

    /// Reads the scores of a result that the plugin gave: `scores` are the record's, by [`Check::index`].
    pub fn recorded(measurements: &'m Measurements, scores: &[f32]) -> TileScores<'m> {
        let of = |check: Check| scores.get(check.index()).copied().and_then(number);
        TileScores {
            measurements,
            color_shift: of(Check::ColorShift),
            novel: of(Check::Novel),
            scanner_shift: of(Check::ScannerShift),
            scanner_features: of(Check::ScannerFeatures),
            reconstruction_error: of(Check::FeaturesUnreliable),
            instability: of(Check::Unstable),
        }
    }

    /// The score of a check, higher is more unusual; None where it was not measured. BACKGROUND has none: its gate is
    /// the same for every scanner.
    pub fn score(&self, check: Check) -> Option<f32> {
        let m = self.measurements;
        match check {
            Check::Background => None,
            Check::OutOfFocus => number(-m[at::SHARPNESS]),
            Check::Underexposed => number(at::underexposure(m)),
            Check::Overexposed => number(at::overexposure(m)),
            Check::ColorShift => self.color_shift,
            Check::Banding => number(at::banding(m)),
            Check::Foreign => number(m[at::FOREIGN]),
            Check::Novel => self.novel,
            Check::ScannerShift => self.scanner_shift,
            Check::ScannerFeatures => self.scanner_features,
            Check::FeaturesUnreliable => self.reconstruction_error,
            Check::Unstable => self.instability,
        }
    }
}

/// NaN stands for "not measured".
fn number(value: f32) -> Option<f32> {
    (!value.is_nan()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MEASUREMENTS, synthetic};
    use coverslip_bundle::Digest;
    use coverslip_bundle::synthetic::{SyntheticSpec, recipe};

    #[test]
    fn a_record_gives_back_what_the_tile_scored() {
        let profile = synthetic::profile(&recipe(&SyntheticSpec::default()).manifest, Digest([0; 32]), &["A"], 9);
        let scanner = &profile.scanners[0];
        let mut measurements = [0.25; MEASUREMENTS];
        measurements[at::SHARPNESS] = -4.0;
        measurements[at::BANDING_COLUMNS] = 9.0;
        let embedding = vec![0.5; profile.taps[profile.judged_tap].width];
        let outputs = ModelOutputs {
            embedding: Some(&embedding[..]),
            features: [(0, 1.0), (1, 3.0)].into_iter(),
            reconstruction_error: Some(0.7),
            instability: Some(0.1),
        };
        let tile = TileScores::new(&profile, scanner, &measurements, outputs);
        assert_eq!([Check::OutOfFocus, Check::Banding].map(|check| tile.score(check)), [Some(4.0), Some(9.0)]);
        assert_eq!(tile.score(Check::ScannerFeatures), Some(0.25));
        assert_eq!(tile.score(Check::Background), None);
        let record: Vec<f32> = Check::ALL.iter().map(|&check| tile.score(check).unwrap_or(f32::NAN)).collect();
        let read = TileScores::recorded(&measurements, &record);
        for check in Check::ALL {
            assert_eq!(read.score(check), tile.score(check), "{}", check.name());
            assert!(check == Check::Background || tile.score(check).is_some(), "{}", check.name());
        }
    }

    #[test]
    fn what_was_not_measured_has_no_score() {
        let nothing = [f32::NAN; MEASUREMENTS];
        let empty = TileScores::recorded(&nothing, &[f32::NAN; 16]);
        assert!(Check::ALL.into_iter().all(|check| empty.score(check).is_none()));
    }
}
