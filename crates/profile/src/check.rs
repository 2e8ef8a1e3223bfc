//! The checks of a tile, numbered like the contract's flag bits.

/// A check. Its number is its bit in `coverslip_result.flags_raised` and the index of its score.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Check {
    /// Too little tissue. Never calibrated: the limit is the same for every scanner.
    Background = 0,
    /// Score: the negative of sharpness in dB; higher is blurrier.
    OutOfFocus = 1,
    /// Score: share of black pixels plus how dim the white point is.
    Underexposed = 2,
    /// Score: share of clipped pixels less the headroom.
    Overexposed = 3,
    /// Score: squared Mahalanobis distance, [`super::ColorBaseline::score`].
    ColorShift = 4,
    /// Score: the strongest line of the row and column spectra, dB.
    Banding = 5,
    /// Score: distance of the farthest colours from tissue's, in optical density.
    Foreign = 6,
    /// Score: [`super::Scanner::novel_score`].
    Novel = 7,
    /// Score: [`super::Displacement::scanner_shift`].
    ScannerShift = 8,
    /// Score: [`super::scanner_mass`].
    ScannerFeatures = 9,
    /// Score: the SAE's reconstruction error (FVU scale).
    FeaturesUnreliable = 10,
    /// Score: [`super::instability`].
    Unstable = 11,
}

impl Check {
    /// Every check, in the order of the bits.
    pub const ALL: [Check; 12] = [
        Check::Background,
        Check::OutOfFocus,
        Check::Underexposed,
        Check::Overexposed,
        Check::ColorShift,
        Check::Banding,
        Check::Foreign,
        Check::Novel,
        Check::ScannerShift,
        Check::ScannerFeatures,
        Check::FeaturesUnreliable,
        Check::Unstable,
    ];

    /// The number of the check's bit.
    pub fn index(self) -> usize {
        self as usize
    }

    /// The check's flag, one bit.
    pub fn flag(self) -> u32 {
        1 << self as u32
    }

    /// The check's name in files: the header's name without prefix and in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Check::Background => "background",
            Check::OutOfFocus => "out_of_focus",
            Check::Underexposed => "underexposed",
            Check::Overexposed => "overexposed",
            Check::ColorShift => "color_shift",
            Check::Banding => "banding",
            Check::Foreign => "foreign",
            Check::Novel => "novel",
            Check::ScannerShift => "scanner_shift",
            Check::ScannerFeatures => "scanner_features",
            Check::FeaturesUnreliable => "features_unreliable",
            Check::Unstable => "unstable",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Check> {
        Check::ALL.into_iter().find(|check| check.name() == name)
    }
}
