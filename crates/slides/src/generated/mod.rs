//! Generated slides: H&E-like specimens, computed on request.
//!
//! Every pixel depends only on its place, so every cut into frames shows the same slide. The first slide has two intended
//! faults, and `slide.json` states their places: three rows of tiles are out of focus, and the light drifts towards the lower
//! end, while the slide is scanned. The others are good slides of the same scanner, `generated:1` and on.

mod noise;
mod nuclei;
mod optics;
pub mod planted;
mod regions;
mod specimen;
mod stains;
mod tissue;

use std::path::Path;

use serde_json::json;

use crate::description::{Mpp, SourceInfo};
use crate::error::SourceError;
use crate::rect::Rect;
use crate::scanned::Scanned;
use crate::source::SlideSource;
use specimen::{DRIFT_FROM, DRIFT_GAINS, Specimen};

/// Micrometres per pixel.
pub(crate) const MPP: f64 = 0.5;
/// Width and height of the slide with faults, px: 28 x 20 tiles of 224 px.
const SIZE: (u32, u32) = (6272, 4480);
/// A good slide is one of so many parts, across and down, of a specimen.
const PARTS: (u32, u32) = (4, 2);
/// The most good slides.
const MOST: u32 = 1000;
/// Rows of pixels that are out of focus: tile rows 6, 7 and 8.
const BLURRED: std::ops::Range<u32> = 1344..2016;
const BLUR_SIGMA: f32 = 2.5;
/// Width and height of a frame of this scanner, px: two tiles, so that a line of frames ends two whole rows of tiles.
const FRAME: (u32, u32) = (448, 448);
/// What the name of a good slide begins with.
const PREFIX: &str = "generated:";

/// A generated slide.
pub struct GeneratedSlide {
    info: SourceInfo,
    specimen: Specimen,
    /// Rows that are out of focus; none of a good slide.
    blurred: std::ops::Range<u32>,
}

impl Default for GeneratedSlide {
    fn default() -> GeneratedSlide {
        GeneratedSlide::new()
    }
}

impl GeneratedSlide {
    /// The one with faults.
    pub fn new() -> GeneratedSlide {
        let (width, height) = SIZE;
        let truth = json!({
            "out_of_focus": { "x": 0, "y": BLURRED.start, "width": width, "height": BLURRED.len(),
                "gaussian_sigma_px": BLUR_SIGMA },
            "color_drift": { "x": 0, "y": DRIFT_FROM, "width": width, "height": height - DRIFT_FROM,
                "gains_rgb_at_the_lower_end": DRIFT_GAINS, "course": "linear in y, from 1 at the upper edge of the box" },
        });
        GeneratedSlide {
            info: SourceInfo { truth: Some(truth), ..described("generated", "generated H&E-like slide", SIZE) },
            specimen: Specimen::drifting(height),
            blurred: BLURRED,
        }
    }

    /// The good slide of a name as `generated:7`; None of any other name, which may be a file's.
    pub(crate) fn named(path: &Path) -> Option<Result<GeneratedSlide, SourceError>> {
        let name = path.to_str()?;
        let digits = name.strip_prefix(PREFIX)?;
        let number: u32 = digits.parse().ok().filter(|number: &u32| number.to_string() == digits)?;
        Some(match (1..=MOST).contains(&number) {
            true => Ok(GeneratedSlide::good(name, number)),
            false => Err(SourceError(format!(
                "{name}: expected a generated slide, {PREFIX}1 to {PREFIX}{MOST} (a file of this name: ./{name})"
            ))),
        })
    }

    /// The part of a specimen that all parts are taken from in turn.
    fn good(name: &str, number: u32) -> GeneratedSlide {
        let size = (SIZE.0 / PARTS.0, SIZE.1 / PARTS.1);
        let (across, down) = (number % PARTS.0, number / PARTS.0 % PARTS.1);
        let cell = 1 + number / (PARTS.0 * PARTS.1);
        let part = ((across * size.0) as i32, (down * size.1) as i32);
        GeneratedSlide {
            info: described(name, "generated H&E-like slide without a fault", size),
            specimen: Specimen::good(number, cell, part),
            blurred: 0..0,
        }
    }
}

fn described(name: &str, kind: &str, (width, height): (u32, u32)) -> SourceInfo {
    SourceInfo {
        mpp: Some(Mpp { x: MPP, y: MPP, source: "generated at this resolution".into() }),
        natural_tile: Some(FRAME),
        ..SourceInfo::plain(name.into(), kind.into(), width, height)
    }
}

impl SlideSource for GeneratedSlide {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn read(&mut self, rect: Rect, out: &mut Vec<u8>) -> Result<Scanned, SourceError> {
        out.clear();
        out.reserve(rect.bytes());
        let (blurred, end) = (&self.blurred, rect.y + rect.height);
        let cuts = [rect.y, blurred.start.clamp(rect.y, end), blurred.end.clamp(rect.y, end), end];
        for rows in cuts.windows(2) {
            if rows[0] < rows[1] {
                let part = Rect { y: rows[0], height: rows[1] - rows[0], ..rect };
                let sigma = if blurred.contains(&part.y) { BLUR_SIGMA } else { 0.0 };
                optics::photograph(&self.specimen, part, sigma, out);
            }
        }
        Ok(Scanned::All)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(x: u32, y: u32, width: u32, height: u32) -> Vec<u8> {
        let mut out = Vec::new();
        GeneratedSlide::new().read(Rect { x, y, width, height }, &mut out).unwrap();
        out
    }

    #[test]
    fn every_cut_shows_the_same_pixels() {
        // Tissue at the upper edge of the band that is out of focus.
        let whole = read(1400, 1276, 200, 140);
        for (x, y, width, height) in [(0, 0, 61, 140), (61, 0, 139, 33), (61, 33, 100, 107), (161, 33, 39, 107)] {
            let part = read(1400 + x, 1276 + y, width, height);
            for row in 0..height {
                let from = (((y + row) * 200 + x) * 3) as usize;
                let to = (row * width * 3) as usize;
                assert_eq!(
                    whole[from..][..width as usize * 3],
                    part[to..][..width as usize * 3],
                    "row {row} of {x}, {y}"
                );
            }
        }
    }

    #[test]
    fn the_faults_are_where_the_truth_states() {
        let sharpness = |y| {
            let pixels = read(1524, y, 448, 224);
            let green: Vec<i32> = pixels.chunks_exact(3).map(|p| i32::from(p[1])).collect();
            green.windows(2).map(|pair| f64::from((pair[1] - pair[0]).pow(2))).sum::<f64>()
        };
        let (sharp, blurred) = (sharpness(BLURRED.start - 224), sharpness(BLURRED.start));
        assert!(sharp > 4.0 * blurred, "{sharp} against {blurred}");
        let specimen = Specimen::drifting(SIZE.1);
        assert_eq!((specimen.light(0), specimen.light(BLURRED.end as i32)), ([1.0; 3], [1.0; 3]));
        assert_eq!(specimen.light(SIZE.1 as i32), DRIFT_GAINS.map(|gain| gain as f32));
        let glass = read(0, SIZE.1 - 32, 32, 32);
        let mean = |channel| glass.iter().skip(channel).step_by(3).map(|&value| f64::from(value)).sum::<f64>();
        let blue_over_red = mean(2) / mean(0);
        assert!((blue_over_red - DRIFT_GAINS[2]).abs() < 0.01, "{blue_over_red}");
    }

    #[test]
    fn good_slides_have_names_and_differ() {
        let open = |name: &str| GeneratedSlide::named(Path::new(name));
        assert!(open("slide.svs").is_none() && open("generated").is_none());
        for name in ["generated:0", "generated:1001"] {
            let refused = open(name).expect("a generated slide").map(|_| ()).unwrap_err().to_string();
            assert!(refused.contains("expected a generated slide, generated:1 to generated:1000"), "{refused}");
            assert!(refused.contains(&format!("(a file of this name: ./{name})")), "{refused}");
        }
        // Files may be called so.
        for name in ["generated:x", "generated:", "generated:+1", "generated:007", "generated:1 ", "./generated:1"] {
            assert!(open(name).is_none(), "{name}");
        }
        let read = |name: &str| {
            let mut slide = open(name).unwrap().unwrap();
            let SourceInfo { width, height, .. } = *slide.info();
            let (rect, mut out) = (Rect { x: 0, y: height / 2, width, height: 64 }, Vec::new());
            slide.read(rect, &mut out).unwrap();
            out
        };
        let [first, again, second] = ["generated:1", "generated:1", "generated:2"].map(read);
        assert!(first == again && first != second);
        let stained = |pixels: &[u8]| pixels.chunks_exact(3).filter(|p| p[1] < 200).count();
        assert!(stained(&first) > 10_000 && stained(&second) > 10_000, "{} {}", stained(&first), stained(&second));
        // Glass is glass on each, and lit a little differently.
        let white = |pixels: &[u8]| pixels.iter().copied().max().unwrap();
        assert!(white(&first) > 238 && white(&second) > 238);
    }
}
