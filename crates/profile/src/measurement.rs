//! Measurements of a tile's pixels, by their index in `coverslip_result.measurements`. NaN means not measured. Hosts
//! collect them from good slides to build a profile.

/// Number of measurements.
pub const MEASUREMENTS: usize = 32;

/// A tile's measurements.
pub type Measurements = [f32; MEASUREMENTS];

/// Fraction of the tile that is tissue, 0..1.
pub const TISSUE: usize = 0;
/// Sharpness along the direction that has least detail, dB; lower is blurrier.
pub const SHARPNESS: usize = 1;
/// Fraction of pixels with every channel black, 0..1.
pub const BLACK: usize = 2;
/// Fraction of pixels with any channel clipped, 0..1.
pub const CLIPPED: usize = 3;
/// White point, grey levels 0..255: red, green, blue.
pub const WHITE_POINT: usize = 4;
/// Mean optical density of tissue, −log10(level / 255) ≥ 0: red, green, blue.
pub const DENSITY_MEAN: usize = 7;
/// Standard deviation of the optical density between blocks of 8 × 8 px: red, green, blue.
pub const DENSITY_SPREAD: usize = 10;
/// The strongest line in the spectrum of the row means, dB over its neighbourhood: horizontal bands.
pub const BANDING_ROWS: usize = 13;
/// The strongest line in the spectrum of the column means, dB over its neighbourhood: vertical bands.
pub const BANDING_COLUMNS: usize = 14;
/// Period of the stronger of the two lines, px.
pub const BANDING_PERIOD: usize = 15;
/// Distance of the farthest 2 % of blocks from tissue's colours, in optical density; negative inside them.
pub const FOREIGN: usize = 16;
/// Fraction of the tile outside tissue's colours, 0..1.
pub const FOREIGN_SHARE: usize = 17;
/// Sharpness along 0, 45, 90 and 135 degrees, dB.
pub const SHARPNESS_ACROSS: usize = 18;

/// The score of OVEREXPOSED: fraction of clipped pixels + the brightest channel's white point / 255 − 1. A negative
/// score means headroom. NaN if not measured.
pub(crate) fn overexposure(m: &Measurements) -> f32 {
    m[CLIPPED] + brightest(m) / 255.0 - 1.0
}

/// The score of UNDEREXPOSED: fraction of black pixels + 1 − the brightest channel's white point / 255. NaN if not
/// measured.
pub(crate) fn underexposure(m: &Measurements) -> f32 {
    m[BLACK] + 1.0 - brightest(m) / 255.0
}

/// The score of BANDING: the stronger of rows and columns, dB. NaN in either gives NaN.
pub(crate) fn banding(m: &Measurements) -> f32 {
    let (rows, columns) = (m[BANDING_ROWS], m[BANDING_COLUMNS]);
    if rows > columns || rows.is_nan() { rows } else { columns }
}

fn brightest(m: &Measurements) -> f32 {
    let white = &m[WHITE_POINT..WHITE_POINT + 3];
    white.iter().copied().fold(f32::NEG_INFINITY, |a, b| if b > a || b.is_nan() { b } else { a })
}
