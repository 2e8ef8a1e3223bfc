//! Nuclei: haematoxylin ellipses of the epithelium, of the stroma and of lymphocytes.

use super::noise::{hash, step, uniform, value};
use super::regions::{GLAND_REACH, Gland, Glands, LUMEN, holds_stromal_nuclei, inflamed};
use super::stains::Stains;

/// Distances of the lattices on which spindles and lymphocytes lie, and the largest half axis of any nucleus.
const SPINDLE_CELL: i32 = 24;
const LYMPHOCYTE_CELL: i32 = 14;
const REACH: f32 = 16.0;

/// One nucleus.
pub(super) struct Nucleus {
    pub(super) x: f32,
    pub(super) y: f32,
    /// Half axes, the first along `angle`.
    pub(super) axes: (f32, f32),
    pub(super) angle: f32,
    /// Haematoxylin in its middle.
    pub(super) dye: f32,
    /// How coarse its chromatin looks, 0..1.
    pub(super) chromatin: f32,
    /// How far its outline departs from an ellipse, as a share of its size.
    pub(super) wobble: f32,
    pub(super) seed: u32,
}

/// The wobble of nuclei as they are in healthy tissue.
pub(super) const SMOOTH: f32 = 0.10;

/// Adds the nuclei that touch a rectangle (x, y, width, height) to its stains.
pub(super) fn add(stains: &mut Stains, rect: (i32, i32, i32, i32), glands: &Glands) {
    let mut dye = vec![0.0_f32; stains.haematoxylin.len()];
    let (x, y, width, height) = rect;
    for gland in &glands.all {
        let near = |low: i32, size: i32, centre: f32| {
            centre + GLAND_REACH + REACH > low as f32 && centre - GLAND_REACH - REACH < (low + size) as f32
        };
        if near(x, width, gland.x) && near(y, height, gland.y) {
            epithelial(gland, |nucleus| nucleus.stain(rect, &mut dye));
        }
    }
    let mut lattice = |cell: i32, nucleus: fn(i32, i32, &Glands) -> Option<Nucleus>| {
        let reach = REACH as i32 + cell;
        for row in (y - reach).div_euclid(cell)..=(y + height + reach).div_euclid(cell) {
            for column in (x - reach).div_euclid(cell)..=(x + width + reach).div_euclid(cell) {
                if let Some(nucleus) = nucleus(column, row, glands) {
                    nucleus.stain(rect, &mut dye);
                }
            }
        }
    };
    lattice(SPINDLE_CELL, spindle);
    lattice(LYMPHOCYTE_CELL, lymphocyte);
    lay(stains, &dye);
}

/// Lays nuclei's dye over the stains around them.
pub(super) fn lay(stains: &mut Stains, dye: &[f32]) {
    for ((h, e), dye) in stains.haematoxylin.iter_mut().zip(&mut stains.eosin).zip(dye) {
        *h += dye;
        *e *= 1.0 - 0.35 * dye.min(1.0);
    }
}

/// The basal row of a gland's nuclei, long axes towards the lumen, and a few that lie higher.
fn epithelial(gland: &Gland, mut each: impl FnMut(Nucleus)) {
    let count = (gland.radius * 0.82 * std::f32::consts::TAU / 12.5) as i32;
    for index in 0..count * 3 / 2 {
        let random = |seed| uniform(gland.id as i32, index, seed);
        let upper = index >= count;
        if upper && random(201) < 0.45 {
            continue;
        }
        let angle = (index as f32 + 0.7 * random(202)) / count as f32 * std::f32::consts::TAU;
        let depth = if upper { 0.66 + 0.10 * random(203) } else { 0.80 + 0.08 * random(203) };
        let (x, y) = gland.place(angle, depth.max(LUMEN + 0.1));
        let outward = (y - gland.y).atan2(x - gland.x);
        each(Nucleus {
            x,
            y,
            axes: (7.4 + 2.4 * random(204), 4.9 + 1.3 * random(205)),
            angle: outward + 0.5 * (random(206) - 0.5),
            dye: 0.80 + 0.30 * random(207),
            chromatin: 0.75,
            wobble: SMOOTH,
            seed: gland.id.wrapping_mul(97).wrapping_add(index as u32),
        });
    }
}

/// A fibroblast's spindle along the fibres, where the lattice's cell holds one.
fn spindle(column: i32, row: i32, glands: &Glands) -> Option<Nucleus> {
    let random = |seed| uniform(column, row, seed);
    let x = (column as f32 + random(211)) * SPINDLE_CELL as f32;
    let y = (row as f32 + random(212)) * SPINDLE_CELL as f32;
    if random(213) > 0.18 || !holds_stromal_nuclei(x, y) || glands.depth_at(x, y) < 1.10 {
        return None;
    }
    let slope = value(x / 240.0, y / 240.0, 71) * 0.9;
    let plump = random(216);
    Some(Nucleus {
        x,
        y,
        axes: (9.0 + 5.0 * random(217), 2.2 + 2.4 * plump),
        angle: slope + 0.9 * (random(218) - 0.5),
        dye: 0.95 + 0.25 * random(219) - 0.2 * plump,
        chromatin: 0.5,
        wobble: SMOOTH,
        seed: hash(column, row, 215),
    })
}

/// A lymphocyte's small dark disc, where they gather.
fn lymphocyte(column: i32, row: i32, glands: &Glands) -> Option<Nucleus> {
    let random = |seed| uniform(column, row, seed);
    let x = (column as f32 + 0.15 + 0.7 * random(231)) * LYMPHOCYTE_CELL as f32;
    let y = (row as f32 + 0.15 + 0.7 * random(232)) * LYMPHOCYTE_CELL as f32;
    let crowd = 2.2 * inflamed(x, y) + 0.12;
    if random(233) > crowd.min(0.62) || !holds_stromal_nuclei(x, y) || glands.depth_at(x, y) < 1.10 {
        return None;
    }
    let size = 5.2 + 1.2 * random(236);
    let axes = (size, size * (0.85 + 0.15 * random(237)));
    let dye = 1.2 + 0.3 * random(239);
    Some(Nucleus {
        x,
        y,
        axes,
        angle: random(238) * 6.3,
        dye,
        chromatin: 0.35,
        wobble: SMOOTH,
        seed: hash(column, row, 235),
    })
}

impl Nucleus {
    /// Raises the dye of the pixels that the nucleus covers; where nuclei overlap the darker one shows.
    pub(super) fn stain(&self, (x, y, width, height): (i32, i32, i32, i32), dye: &mut [f32]) {
        let (sin, cos) = self.angle.sin_cos();
        let reach = self.axes.0.max(self.axes.1) * (1.15 / (1.0 - self.wobble)) + 1.0;
        let left = ((self.x - reach).floor() as i32).max(x);
        let right = ((self.x + reach).ceil() as i32).min(x + width);
        let shift = (self.seed & 0xfff) as f32;
        for row in ((self.y - reach).floor() as i32).max(y)..((self.y + reach).ceil() as i32).min(y + height) {
            for column in left..right {
                let (dx, dy) = (column as f32 - self.x, row as f32 - self.y);
                let (u, v) = ((cos * dx + sin * dy) / self.axes.0, (cos * dy - sin * dx) / self.axes.1);
                let distance = (u * u + v * v).sqrt() * (1.0 + self.wobble * value(shift + 1.5 * u, 1.5 * v, 221));
                if distance > 1.15 {
                    continue;
                }
                let body = step(1.12, 0.86, distance);
                let rim = step(0.55, 0.85, distance) * 0.22;
                let clumps = value(shift + dx / 2.3, dy / 2.3, 223) * 0.30;
                let nucleolus = step(0.62, 0.85, value(shift + dx / 3.4, 7.0 + dy / 3.4, 227)) * 0.45;
                let texture = 0.82 + rim + (clumps + nucleolus) * self.chromatin;
                let place = ((row - y) * width + column - x) as usize;
                dye[place] = dye[place].max(self.dye * body * texture);
            }
        }
    }
}
