//! A slide that was scanned: everything that the outputs are made from.

use coverslip_slides::{Mpp, SourceInfo};
use serde::Serialize;

use super::thumbnail::Thumbnail;
use crate::host::{HostError, Session, text};
use crate::play::{Collected, FieldOfView, Played, Settings};

/// Features that get a map in the overview.
const MAPS: usize = 8;

pub(in crate::scan) struct Scanned {
    pub(in crate::scan) source: SourceInfo,
    pub(in crate::scan) mpp: Mpp,
    /// The bundle's name.
    pub(in crate::scan) bundle: String,
    /// What the tiles were held against; None: general rules.
    pub(in crate::scan) profile: Option<UsedProfile>,
    pub(in crate::scan) settings: Settings,
    pub(in crate::scan) field: FieldOfView,
    pub(in crate::scan) thumbnail: Thumbnail,
    pub(in crate::scan) strongest: Vec<StrongFeature>,
    pub(in crate::scan) played: Played,
}

/// A profile that a slide is held against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::scan) struct UsedProfile {
    pub(in crate::scan) path: String,
    pub(in crate::scan) name: String,
    pub(in crate::scan) scanner: String,
    /// Slides that calibrate it; 0 where the profile does not know the scanner.
    pub(in crate::scan) calibration_slides: usize,
    /// Whether other scanners were simulated from this one's slides.
    pub(in crate::scan) simulated: bool,
}

impl UsedProfile {
    /// The line that says so.
    pub(super) fn line(&self) -> String {
        let UsedProfile { path, scanner, simulated, .. } = self;
        let slides = counted(self.calibration_slides, "calibration slide");
        let how = if *simulated { "; other scanners are simulated" } else { "" };
        format!("profile: {path}, scanner {scanner}, {slides}{how}")
    }

    /// The lines of the overview that say so; none where the profile does not know the scanner.
    pub(super) fn legend(&self) -> Vec<String> {
        if self.calibration_slides == 0 {
            return Vec::new();
        }
        let known = format!("profile of {} by {}", self.scanner, counted(self.calibration_slides, "slide"));
        let how = self.simulated.then(|| "other scanners are simulated".to_owned());
        [known].into_iter().chain(how).collect()
    }
}

/// "1 slide", "2 slides".
pub(super) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A feature that gets a map.
#[derive(Debug, Clone)]
pub(in crate::scan) struct StrongFeature {
    pub(super) index: u32,
    pub(super) deviation: f64,
    pub(super) label: String,
}

/// The features that get a map: those that the bundle labels first, each kind by how much it varies over the slide.
///
/// # Errors
/// Whatever the library answers.
pub(in crate::scan) fn strongest(collected: &Collected, session: &Session) -> Result<Vec<StrongFeature>, HostError> {
    let labelled = |(index, deviation)| {
        let meaning = session.runtime.feature_info(index)?;
        Ok(StrongFeature { index, deviation, label: text(&meaning.label) })
    };
    let all = collected.strongest(usize::MAX).into_iter().map(labelled).collect::<Result<_, HostError>>()?;
    Ok(labelled_first(all))
}

fn labelled_first(by_deviation: Vec<StrongFeature>) -> Vec<StrongFeature> {
    let (mut first, others): (Vec<_>, Vec<_>) =
        by_deviation.into_iter().partition(|feature| !feature.label.is_empty() && feature.deviation > 0.0);
    first.extend(others);
    first.truncate(MAPS);
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_said_with_the_number_of_its_slides() {
        let used = |calibration_slides, simulated| UsedProfile {
            path: "p".into(),
            name: "site".into(),
            scanner: "G".into(),
            calibration_slides,
            simulated,
        };
        assert_eq!(used(1, false).line(), "profile: p, scanner G, 1 calibration slide");
        assert_eq!(used(2, true).line(), "profile: p, scanner G, 2 calibration slides; other scanners are simulated");
        assert_eq!(used(1, false).legend(), ["profile of G by 1 slide"]);
        assert_eq!(used(30, true).legend(), ["profile of G by 30 slides", "other scanners are simulated"]);
        assert!(used(0, true).legend().is_empty(), "a scanner that the profile does not know");
    }

    #[test]
    fn a_labelled_feature_that_varies_comes_before_stronger_ones_without_a_label() {
        let feature = |index, deviation, label: &str| StrongFeature { index, deviation, label: label.into() };
        let mut all: Vec<StrongFeature> = (0..10).map(|i| feature(i, f64::from(20 - i), "")).collect();
        all.extend([feature(10, 3.0, "adipose"), feature(11, 2.0, "mucosa"), feature(12, 0.0, "everywhere alike")]);
        let indices: Vec<u32> = labelled_first(all).iter().map(|feature| feature.index).collect();
        assert_eq!(indices, [10, 11, 0, 1, 2, 3, 4, 5]);
    }
}
