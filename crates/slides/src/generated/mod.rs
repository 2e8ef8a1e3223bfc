//! A generated slide: an H&E-like specimen with known faults, computed on request.
//!
//! Every pixel depends only on its place, so every cut into frames shows the same slide. Two faults are intended, and
//! `slide.json` states their places: two rows of tiles are out of focus, and the light drifts towards the right end.

mod light;
mod noise;
mod nuclei;
mod optics;
pub mod planted;
mod regions;
mod stains;
mod tissue;

use serde_json::json;

use crate::description::{Mpp, SourceInfo};
use crate::rect::Rect;
use crate::scanned::Scanned;
use crate::source::{SlideSource, SourceError};
use light::{DRIFT_FROM, DRIFT_GAINS, WIDTH};

/// Micrometres per pixel.
pub(crate) const MPP: f64 = 0.5;
/// Height of the slide, px: 12 tiles of 224 px.
const HEIGHT: u32 = 2688;
/// Rows of pixels that are out of focus: tile rows 7 and 8.
const BLURRED: std::ops::Range<u32> = 1568..2016;
const BLUR_SIGMA: f32 = 2.5;

/// The generated slide.
pub struct GeneratedSlide {
    info: SourceInfo,
}

impl Default for GeneratedSlide {
    fn default() -> GeneratedSlide {
        GeneratedSlide::new()
    }
}

impl GeneratedSlide {
    pub fn new() -> GeneratedSlide {
        let truth = json!({
            "out_of_focus": { "x": 0, "y": BLURRED.start, "width": WIDTH, "height": BLURRED.len(),
                "gaussian_sigma_px": BLUR_SIGMA },
            "color_drift": { "x": DRIFT_FROM, "y": 0, "width": WIDTH - DRIFT_FROM, "height": HEIGHT,
                "gains_rgb_at_the_right_end": DRIFT_GAINS, "course": "linear in x, from 1 at the left edge of the box" },
        });
        GeneratedSlide {
            info: SourceInfo {
                mpp: Some(Mpp { x: MPP, y: MPP, source: "generated at this resolution".into() }),
                truth: Some(truth),
                ..SourceInfo::plain("generated".into(), "generated H&E-like slide".into(), WIDTH, HEIGHT)
            },
        }
    }
}

impl SlideSource for GeneratedSlide {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn read(&mut self, rect: Rect, out: &mut Vec<u8>) -> Result<Scanned, SourceError> {
        out.clear();
        out.reserve(rect.bytes());
        let end = rect.y + rect.height;
        let cuts = [rect.y, BLURRED.start.clamp(rect.y, end), BLURRED.end.clamp(rect.y, end), end];
        for rows in cuts.windows(2) {
            if rows[0] < rows[1] {
                let part = Rect { y: rows[0], height: rows[1] - rows[0], ..rect };
                let sigma = if BLURRED.contains(&part.y) { BLUR_SIGMA } else { 0.0 };
                optics::photograph(part, sigma, out);
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
        let whole = read(1400, 1500, 200, 140);
        for (x, y, width, height) in [(0, 0, 61, 140), (61, 0, 139, 33), (61, 33, 100, 107), (161, 33, 39, 107)] {
            let part = read(1400 + x, 1500 + y, width, height);
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
            let pixels = read(1300, y, 448, 224);
            let green: Vec<i32> = pixels.chunks_exact(3).map(|p| i32::from(p[1])).collect();
            green.windows(2).map(|pair| f64::from((pair[1] - pair[0]).pow(2))).sum::<f64>()
        };
        let (sharp, blurred) = (sharpness(BLURRED.start - 224), sharpness(BLURRED.start));
        assert!(sharp > 4.0 * blurred, "{sharp} against {blurred}");
        assert_eq!(light::light(0), [1.0; 3]);
        assert_eq!(light::light(WIDTH as i32), DRIFT_GAINS.map(|gain| gain as f32));
        let glass = read(WIDTH - 32, 0, 32, 32);
        let mean = |channel| glass.iter().skip(channel).step_by(3).map(|&value| f64::from(value)).sum::<f64>();
        let blue_over_red = mean(2) / mean(0);
        assert!((blue_over_red - DRIFT_GAINS[2]).abs() < 0.01, "{blue_over_red}");
    }
}
