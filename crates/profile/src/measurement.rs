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

/// The slide's glass, grey levels 0..255: red, green, blue; as the host states it, or as tiles up to this one showed it.
pub const GLASS: usize = 24;

/// Glass is neutral: beside the slide's, its channels differ by at most this share.
const NEUTRAL: f32 = 0.912;

/// The brightest channel (0..255) of the white by which a tile's light is judged: of its own white point where that is
/// glass, which is as neutral as the slide's; else of the slide's glass where that is brighter, since the white point of a
/// tile of dense tissue is tissue. NaN if not measured.
pub fn white(m: &Measurements) -> f32 {
    let own = brightest(m);
    let glass = &m[GLASS..GLASS + 3];
    if !glass.iter().all(|level| *level > 0.0) {
        return own;
    }
    let relative: [f32; 3] = std::array::from_fn(|channel| m[WHITE_POINT + channel] / glass[channel]);
    let (least, most) = relative.iter().fold((f32::INFINITY, 0.0f32), |(a, b), &value| (a.min(value), b.max(value)));
    if least >= NEUTRAL * most { own } else { glass.iter().copied().fold(own, f32::max) }
}

/// The score of OVEREXPOSED: fraction of clipped pixels + the brightest channel's white point / 255 − 1. A negative
/// score means headroom. NaN if not measured.
pub(crate) fn overexposure(m: &Measurements) -> f32 {
    m[CLIPPED] + brightest(m) / 255.0 - 1.0
}

/// The score of UNDEREXPOSED: fraction of black pixels + 1 − [`white`] / 255. NaN if not measured.
pub(crate) fn underexposure(m: &Measurements) -> f32 {
    m[BLACK] + 1.0 - white(m) / 255.0
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

#[cfg(test)]
mod tests {
    use super::*;

    fn of(own: [f32; 3], glass: [f32; 3]) -> f32 {
        let mut m = [f32::NAN; MEASUREMENTS];
        m[BLACK] = 0.0;
        m[WHITE_POINT..][..3].copy_from_slice(&own);
        m[GLASS..][..3].copy_from_slice(&glass);
        white(&m)
    }

    #[test]
    fn light_is_judged_by_glass_and_not_by_dense_tissue() {
        let (tissue, glass) = ([175.0, 140.0, 180.0], [242.0, 241.0, 240.0]);
        assert_eq!(of(tissue, glass), 242.0);
        assert_eq!(of(tissue, [f32::NAN; 3]), 180.0, "no glass was seen");
        // Glass in a tile is glass, also where the lamp has become dim.
        assert_eq!(of([120.0, 119.0, 121.0], glass), 121.0);
        // A scanner whose glass is warm.
        assert_eq!(of([236.0, 222.0, 203.0], [240.0, 228.0, 206.0]), 236.0);
        assert!(of([f32::NAN; 3], glass).is_nan());
    }
}
