//! What is measured on a tile's pixels: the array that `coverslip_result.measurements` carries, by index. NaN: not
//! measured. A host that collects them from good slides has what a profile is built from.

/// Length of the array.
pub const MEASUREMENTS: usize = 32;

/// A tile's measurements.
pub type Measurements = [f32; MEASUREMENTS];

/// Share of the tile that is tissue, 0..1.
pub const TISSUE: usize = 0;
/// Sharpness, dB; lower is blurrier.
pub const SHARPNESS: usize = 1;
/// Share of pixels with every channel black, 0..1.
pub const BLACK: usize = 2;
/// Share of pixels with any channel clipped, 0..1.
pub const CLIPPED: usize = 3;
/// White point, red, green, blue: grey levels 0..255.
pub const WHITE_POINT: usize = 4;
/// Mean optical density of tissue, red, green, blue: −log10(level / 255), ≥ 0.
pub const DENSITY_MEAN: usize = 7;
/// Standard deviation of the same between blocks of 8 × 8 px.
pub const DENSITY_SPREAD: usize = 10;
/// The strongest line in the spectrum of the row means, dB over its neighbourhood: bands across.
pub const BANDING_ROWS: usize = 13;
/// The same of the column means: bands down.
pub const BANDING_COLUMNS: usize = 14;
/// Period of the stronger of the two, in pixels.
pub const BANDING_PERIOD: usize = 15;
/// How far the farthest 2 % of blocks lie outside tissue's colours, in optical density; below 0: inside.
pub const FOREIGN: usize = 16;
/// Share of the tile outside tissue's colours, 0..1.
pub const FOREIGN_SHARE: usize = 17;

/// The score of OVEREXPOSED: share of clipped pixels plus the brightest channel's white point, both as shares, less one.
/// Below 0 there is headroom. NaN where it was not measured.
pub(crate) fn overexposure(m: &Measurements) -> f32 {
    m[CLIPPED] + brightest(m) / 255.0 - 1.0
}

/// The score of UNDEREXPOSED: share of black pixels plus how far the brightest channel's white point is below 255.
pub(crate) fn underexposure(m: &Measurements) -> f32 {
    m[BLACK] + 1.0 - brightest(m) / 255.0
}

/// The score of BANDING: the stronger of rows and columns, dB.
pub(crate) fn banding(m: &Measurements) -> f32 {
    let (rows, columns) = (m[BANDING_ROWS], m[BANDING_COLUMNS]);
    // NaN in one is NaN.
    if rows > columns || rows.is_nan() { rows } else { columns }
}

fn brightest(m: &Measurements) -> f32 {
    let white = &m[WHITE_POINT..WHITE_POINT + 3];
    white.iter().copied().fold(f32::NEG_INFINITY, |a, b| if b > a || b.is_nan() { b } else { a })
}
