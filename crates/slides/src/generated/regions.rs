//! The map of tissue: stroma, fat, glands, inflammation.

use super::noise::{fractal, hash, uniform, value};
use super::specimen::CELL;

/// Islands of tissue on the glass of each cell of the plane: centre and half axes, px.
const ISLANDS: [[f32; 4]; 7] = [
    [1480.0, 1330.0, 1280.0, 1040.0],
    [4280.0, 1160.0, 1080.0, 900.0],
    [5720.0, 1750.0, 420.0, 640.0],
    [3080.0, 2290.0, 420.0, 280.0],
    [3030.0, 420.0, 250.0, 260.0],
    [1850.0, 3480.0, 1500.0, 760.0],
    [4700.0, 3500.0, 1150.0, 740.0],
];

/// Spacing of the lattice of glands, px, and their largest outer radius.
const GLAND_CELL: i32 = 270;
pub(super) const GLAND_REACH: f32 = 165.0;
/// Radius of the lumen relative to the gland's.
pub(super) const LUMEN: f32 = 0.40;

/// Positive inside the tissue; about 1 at an island's centre.
pub(super) fn tissue(x: f32, y: f32) -> f32 {
    let (in_cell_x, in_cell_y) = (x.rem_euclid(CELL.0 as f32), y.rem_euclid(CELL.1 as f32));
    let island = ISLANDS.iter().map(|[cx, cy, rx, ry]| {
        let (dx, dy) = ((in_cell_x - cx) / rx, (in_cell_y - cy) / ry);
        1.0 - dx * dx - dy * dy
    });
    island.fold(f32::MIN, f32::max) + 0.42 * fractal(x / 620.0, y / 620.0, 4, 11)
}

/// Positive in fat.
pub(super) fn fat(x: f32, y: f32) -> f32 {
    fractal(x / 780.0 + 3.7, y / 780.0, 3, 23) - 0.56
}

/// Positive in glandular tissue.
fn glandular(x: f32, y: f32) -> f32 {
    fractal(x / 900.0, y / 900.0 + 8.1, 2, 37) + 0.18
}

/// Positive in inflamed tissue, where lymphocytes gather.
pub(super) fn inflamed(x: f32, y: f32) -> f32 {
    fractal(x / 460.0 + 5.0, y / 460.0, 3, 41) - 0.40
}

/// A gland: an irregular ring of epithelium around a lumen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gland {
    pub(super) x: f32,
    pub(super) y: f32,
    pub(super) radius: f32,
    pub(super) id: u32,
    aspect: f32,
    turn: (f32, f32),
}

impl Gland {
    fn of_cell(column: i32, row: i32) -> Option<Gland> {
        let random = |seed| uniform(column, row, seed);
        let cell = GLAND_CELL as f32;
        let x = (column as f32 + 0.5 + 0.42 * (random(51) - 0.5)) * cell + if row % 2 == 0 { 0.0 } else { 0.5 * cell };
        let y = (row as f32 + 0.5 + 0.42 * (random(52) - 0.5)) * cell;
        let present = tissue(x, y) > 0.22 && fat(x, y) < -0.05 && glandular(x, y) > 0.35 * (random(53) - 0.4);
        let angle = random(54) * std::f32::consts::TAU;
        present.then(|| Gland {
            x,
            y,
            radius: 72.0 + 44.0 * random(55),
            id: hash(column, row, 56) & 0xffff,
            aspect: 1.0 + 0.35 * random(57),
            turn: angle.sin_cos(),
        })
    }

    /// All glands that can touch a rectangle.
    fn near(x: i32, y: i32, width: i32, height: i32) -> Vec<Gland> {
        let reach = GLAND_REACH as i32 + GLAND_CELL;
        let columns = (x - reach).div_euclid(GLAND_CELL) - 1..=(x + width + reach).div_euclid(GLAND_CELL);
        let rows = (y - reach).div_euclid(GLAND_CELL)..=(y + height + reach).div_euclid(GLAND_CELL);
        rows.flat_map(|row| columns.clone().map(move |column| (column, row)))
            .filter_map(|(column, row)| Gland::of_cell(column, row))
            .collect()
    }

    /// The relative radius of a place: 0 at the centre, 1 at the basement membrane.
    pub(super) fn depth(&self, x: f32, y: f32) -> f32 {
        let (dx, dy) = (x - self.x, y - self.y);
        let (sin, cos) = self.turn;
        let (u, v) = (cos * dx + sin * dy, (cos * dy - sin * dx) * self.aspect);
        let distance = (u * u + v * v).sqrt().max(1e-3);
        let wobble = value(self.id as f32 + 1.7 * u / distance, 1.7 * v / distance, 61);
        distance / (self.radius * (1.0 + 0.16 * wobble))
    }

    /// The place at `depth` in the direction of `angle`.
    pub(super) fn place(&self, angle: f32, depth: f32) -> (f32, f32) {
        let (s, c) = angle.sin_cos();
        let (sin, cos) = self.turn;
        let (u, v) = (c, s / self.aspect);
        let (dx, dy) = (cos * u - sin * v, sin * u + cos * v);
        let at_one = self.depth(self.x + dx, self.y + dy).max(1e-6);
        (self.x + dx * depth / at_one, self.y + dy * depth / at_one)
    }
}

/// The glands near a rectangle, and the relative radius of its pixels inside them.
pub(super) struct Glands {
    pub(super) all: Vec<Gland>,
    /// For each pixel of the rectangle, row by row.
    pub(super) depth: Vec<f32>,
}

impl Glands {
    pub(super) fn of(x: i32, y: i32, width: i32, height: i32) -> Glands {
        let all = Gland::near(x, y, width, height);
        let mut depth = vec![f32::MAX; (width * height) as usize];
        for gland in &all {
            let left = ((gland.x - GLAND_REACH) as i32).max(x);
            let right = ((gland.x + GLAND_REACH) as i32).min(x + width);
            for row in ((gland.y - GLAND_REACH) as i32).max(y)..((gland.y + GLAND_REACH) as i32).min(y + height) {
                for column in left..right {
                    let place = ((row - y) * width + column - x) as usize;
                    depth[place] = depth[place].min(gland.depth(column as f32, row as f32));
                }
            }
        }
        Glands { all, depth }
    }

    pub(super) fn depth_at(&self, x: f32, y: f32) -> f32 {
        self.all.iter().map(|gland| gland.depth(x, y)).fold(f32::MAX, f32::min)
    }
}

/// Whether a nucleus of the stroma may be at this place.
pub(super) fn holds_stromal_nuclei(x: f32, y: f32) -> bool {
    tissue(x, y) > 0.03 && fat(x, y) < 0.0
}
