//! The false-alarm levels that a scanner's checks run at.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use coverslip_bundle::signature::Trust;
use coverslip_profile::{Calibration, Check, Profile};

use super::outputs::UsedProfile;
use crate::host::SCANNER_ID;

/// The false-alarm levels that a scanner's checks run at.
pub(super) struct Levels {
    /// The name that the plugin is given.
    pub(super) scanner_id: String,
    /// What the slide is held against.
    pub(super) profile: Option<UsedProfile>,
    alpha: f64,
    calibration: Option<BTreeMap<Check, Calibration>>,
}

impl Levels {
    /// Of the scanner that `--scanner` names, or of the only one in the profile.
    ///
    /// # Errors
    /// Where the profile cannot be read, is signed by nobody in `trust`, or has several scanners and none is named.
    pub(super) fn of(
        profile: Option<&Path>,
        trust: &Trust,
        named: Option<&str>,
        alpha: f64,
    ) -> Result<Levels, Box<dyn Error>> {
        let named = named.map(str::to_owned);
        let Some(path) = profile else {
            let scanner_id = named.unwrap_or_else(|| SCANNER_ID.to_owned());
            return Ok(Levels { scanner_id, profile: None, alpha, calibration: None });
        };
        let (profile, ..) = Profile::open_trusted(path, trust)?;
        let ids: Vec<&str> = profile.scanners.iter().map(|scanner| scanner.id.as_str()).collect();
        let scanner_id = match (named, ids.as_slice()) {
            (Some(named), _) => named,
            (None, [only]) => (*only).to_owned(),
            (None, _) => {
                return Err(format!(
                    "--scanner: expected one of the profile's scanners ({}), found none",
                    ids.join(", ")
                )
                .into());
            }
        };
        let scanner = profile.scanner(&scanner_id);
        let calibration = scanner.map(|scanner| scanner.calibration.clone());
        let used = UsedProfile {
            path: path.display().to_string(),
            name: profile.name.clone(),
            scanner: scanner_id.clone(),
            calibration_slides: scanner.map_or(0, |scanner| scanner.calibration_slides.len()),
            simulated: profile.provenance.simulated,
        };
        Ok(Levels { scanner_id, profile: Some(used), alpha, calibration })
    }

    /// The level of the check with this bit: the one that was asked for, or a higher one where few tiles calibrate it.
    pub(super) fn at(&self, bit: usize) -> f64 {
        let check = Check::ALL.get(bit);
        let calibration = self.calibration.as_ref().zip(check).and_then(|(all, check)| all.get(check));
        calibration.map_or(self.alpha, |calibration| calibration.supported(self.alpha))
    }
}
