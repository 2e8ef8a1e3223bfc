//! Which specimen a slide shows, how it was stained, and the light of the scanner.

use super::noise::uniform;

/// Width and height of the plane's cells: in each lies one specimen.
pub(super) const CELL: (i32, i32) = (8192, 6144);
/// Cells in a row of the plane; farther to the right, places lose their fractions.
const CELLS: u32 = 16;
/// Row from which the light of the slide with faults drifts linearly to the lower end.
pub(super) const DRIFT_FROM: u32 = 2016;
/// Gains of the channels at the lower end.
pub(super) const DRIFT_GAINS: [f64; 3] = [1.0, 0.975, 0.93];
/// How far staining and light of good slides lie from the middle.
const STAINING: f32 = 0.10;
const LAMP: f32 = 0.006;

#[derive(Clone, Copy, Debug)]
pub(super) struct Specimen {
    /// The place in the plane of the slide's first pixel.
    pub(super) origin: (i32, i32),
    /// Factors on the absorption by haematoxylin and by eosin.
    pub(super) staining: [f32; 2],
    /// Factors on the light of each channel.
    lamp: [f32; 3],
    /// From where to where the light drifts, px.
    drift: Option<(u32, u32)>,
}

impl Specimen {
    /// The one in the first cell, a tile farther down and left, whose light drifts down to `height`.
    pub(super) fn drifting(height: u32) -> Specimen {
        Specimen { origin: (-224, 224), staining: [1.0; 2], lamp: [1.0; 3], drift: Some((DRIFT_FROM, height)) }
    }

    /// A part of another, without a fault: stained by another hand, on another day.
    pub(super) fn good(number: u32, cell: u32, (x, y): (i32, i32)) -> Specimen {
        let around = |spread: f32, what: i32| 1.0 + spread * (2.0 * uniform(number as i32, what, 301) - 1.0);
        Specimen {
            origin: ((cell % CELLS) as i32 * CELL.0 + x, (cell / CELLS) as i32 * CELL.1 + y),
            staining: [0, 1].map(|what| around(STAINING, what)),
            lamp: [2, 3, 4].map(|what| around(LAMP, what)),
            drift: None,
        }
    }

    /// Gains of the channels in row `y` of the slide.
    pub(super) fn light(&self, y: i32) -> [f32; 3] {
        let Some((from, to)) = self.drift else { return self.lamp };
        let share = ((y as f32 - from as f32) / (to - from) as f32).clamp(0.0, 1.0);
        DRIFT_GAINS.map(|gain| 1.0 + (gain as f32 - 1.0) * share)
    }
}
