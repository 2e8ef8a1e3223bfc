//! A slide that was scanned: everything that the outputs are made from.

use coverslip_slides::{Mpp, SourceInfo};

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
    pub(in crate::scan) settings: Settings,
    pub(in crate::scan) field: FieldOfView,
    pub(in crate::scan) thumbnail: Thumbnail,
    pub(in crate::scan) strongest: Vec<StrongFeature>,
    pub(in crate::scan) played: Played,
}

/// One of the features that vary most over the slide.
#[derive(Debug, Clone)]
pub(in crate::scan) struct StrongFeature {
    pub(super) index: u32,
    pub(super) deviation: f64,
    pub(super) label: String,
}

/// The features that vary most, with the bundle's labels.
///
/// # Errors
/// Whatever the library answers.
pub(in crate::scan) fn strongest(collected: &Collected, session: &Session) -> Result<Vec<StrongFeature>, HostError> {
    let labelled = |(index, deviation)| {
        let meaning = session.runtime.feature_info(index)?;
        Ok(StrongFeature { index, deviation, label: text(&meaning.label) })
    };
    collected.strongest(MAPS).into_iter().map(labelled).collect()
}
