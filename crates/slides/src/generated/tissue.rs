//! Where there is tissue, and of which kind: stroma with fibres, glands, fat.

use super::noise::{SlowField, fractal, mix, step, uniform, value};
use super::nuclei;

/// How much of each dye lies in each pixel of a rectangle.
pub(super) struct Stains {
    pub(super) haematoxylin: Vec<f32>,
    pub(super) eosin: Vec<f32>,
}

/// Islands of tissue on the glass: centre, half axes, in pixels.
const ISLANDS: [[f32; 4]; 5] = [
    [1480.0, 1330.0, 1280.0, 1040.0],
    [4280.0, 1160.0, 1080.0, 900.0],
    [5720.0, 1750.0, 420.0, 640.0],
    [3080.0, 2290.0, 420.0, 280.0],
    [3030.0, 420.0, 250.0, 260.0],
];

/// Distance of the lattice on which glands lie, and their largest outer radius.
const GLAND_CELL: i32 = 270;
pub(super) const GLAND_REACH: f32 = 165.0;
/// The lumen's share of a gland's radius.
pub(super) const LUMEN: f32 = 0.40;

/// Above 0 inside the tissue; about 1 in an island's middle.
pub(super) fn tissue(x: f32, y: f32) -> f32 {
    let island = ISLANDS.iter().map(|[cx, cy, rx, ry]| {
        let (dx, dy) = ((x - cx) / rx, (y - cy) / ry);
        1.0 - dx * dx - dy * dy
    });
    island.fold(f32::MIN, f32::max) + 0.42 * fractal(x / 620.0, y / 620.0, 4, 11)
}

/// Above 0 where fat lies.
fn fat(x: f32, y: f32) -> f32 {
    fractal(x / 780.0 + 3.7, y / 780.0, 3, 23) - 0.56
}

/// Above 0 where glands lie.
fn glandular(x: f32, y: f32) -> f32 {
    fractal(x / 900.0, y / 900.0 + 8.1, 2, 37) + 0.18
}

/// Above 0 where lymphocytes gather.
pub(super) fn inflamed(x: f32, y: f32) -> f32 {
    fractal(x / 460.0 + 5.0, y / 460.0, 3, 41) - 0.40
}

/// One gland: a wobbly ring of epithelium around a lumen.
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
            id: super::noise::hash(column, row, 56) & 0xffff,
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

    /// How far out a place lies: 0 at the centre, 1 at the basement membrane.
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

/// The glands near a rectangle and, for its pixels, how deep inside one they lie.
pub(super) struct Glands {
    pub(super) all: Vec<Gland>,
    depth: Vec<f32>,
}

impl Glands {
    fn of(x: i32, y: i32, width: i32, height: i32) -> Glands {
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

impl Stains {
    /// The stains of a rectangle.
    pub(super) fn of(x: i32, y: i32, width: i32, height: i32) -> Stains {
        let mut stains = Stains { haematoxylin: Vec::with_capacity((width * height) as usize), eosin: Vec::new() };
        let slow = |field: fn(f32, f32) -> f32| SlowField::new(x, y, width, height, field);
        let (tissue, fat, inflamed) = (slow(tissue), slow(fat), slow(inflamed));
        let bend_x = slow(|x, y| 95.0 * fractal(x / 240.0, y / 240.0, 2, 71));
        let bend_y = slow(|x, y| 95.0 * fractal(x / 260.0, y / 260.0, 2, 73));
        let glands = Glands::of(x, y, width, height);
        for row in y..y + height {
            for column in x..x + width {
                let edge = tissue.at(column, row) + 0.02 * value(column as f32 / 9.0, row as f32 / 9.0, 79);
                let inside = step(0.0, 0.025, edge);
                let (mut h, mut e) = (0.0, 0.0);
                if inside > 0.0 {
                    let bent = (column as f32 + bend_x.at(column, row), row as f32 + bend_y.at(column, row));
                    (h, e) = stroma(bent, inflamed.at(column, row));
                    let in_fat = step(-0.03, 0.03, fat.at(column, row));
                    if in_fat > 0.0 {
                        let cell = fat_cell(column as f32, row as f32);
                        (h, e) = (mix(h, cell.0, in_fat), mix(e, cell.1, in_fat));
                    }
                    let depth = glands.depth[((row - y) * width + column - x) as usize];
                    if depth < 1.12 {
                        (h, e) = epithelium(depth, column as f32, row as f32, (h, e));
                    }
                }
                stains.haematoxylin.push(h * inside);
                stains.eosin.push(e * inside);
            }
        }
        nuclei::add(&mut stains, (x, y, width, height), &glands);
        stains
    }
}

/// Whether a nucleus of the stroma may lie here.
pub(super) fn holds_stromal_nuclei(x: f32, y: f32) -> bool {
    tissue(x, y) > 0.03 && fat(x, y) < 0.0
}

/// Collagen: wavy bundles of eosin with clefts between them, along a direction that bends slowly.
pub(super) fn stroma((x, y): (f32, f32), inflamed: f32) -> (f32, f32) {
    let bundle = fractal(x / 85.0, y / 15.0, 3, 83);
    let fibre = value(x / 30.0, y / 3.1, 89);
    let grain = value(x / 2.1, y / 2.1, 97);
    let cleft = step(0.50, 0.78, bundle);
    let eosin = 0.46 + 0.19 * bundle.min(0.4) + 0.10 * fibre + 0.05 * grain;
    let loose = step(-0.1, 0.1, inflamed) * 0.12;
    (0.06 + 0.02 * grain + loose, (eosin - loose) * (1.0 - 0.86 * cleft))
}

/// Adipocytes: empty cells with thin walls, the cells of a jittered Voronoi diagram.
fn fat_cell(x: f32, y: f32) -> (f32, f32) {
    const CELL: f32 = 92.0;
    let (column, row) = ((x / CELL).floor() as i32, (y / CELL).floor() as i32);
    let (mut first, mut second) = (f32::MAX, f32::MAX);
    for r in row - 1..=row + 1 {
        for c in column - 1..=column + 1 {
            let px = (c as f32 + 0.15 + 0.7 * uniform(c, r, 101)) * CELL;
            let py = (r as f32 + 0.15 + 0.7 * uniform(c, r, 103)) * CELL;
            let distance = ((x - px).powi(2) + (y - py).powi(2)).sqrt();
            (first, second) = (first.min(distance), second.min(first.max(distance)));
        }
    }
    let wall = 1.0 - step(2.0, 5.0, second - first);
    (0.04 * wall, 0.02 + 0.45 * wall)
}

/// Lumen, columnar cytoplasm and basement membrane of a gland.
fn epithelium(depth: f32, x: f32, y: f32, around: (f32, f32)) -> (f32, f32) {
    let rough = 0.05 * value(x / 13.0, y / 13.0, 107);
    let grain = value(x / 2.6, y / 2.6, 109);
    let secretion = 0.05 + 0.07 * step(0.1, 0.6, value(x / 34.0, y / 34.0, 113));
    let cytoplasm = (0.24 + 0.03 * grain, 0.40 + 0.07 * grain + 0.10 * step(0.75, 0.45, depth));
    let in_cells = step(LUMEN - 0.02, LUMEN + 0.04, depth + rough);
    let cells = (cytoplasm.0 * in_cells, mix(secretion, cytoplasm.1, in_cells));
    let outside = step(0.98, 1.02, depth);
    let membrane = step(0.96, 1.0, depth) * step(1.06, 1.02, depth);
    let halo = step(1.02, 1.06, depth) * step(1.12, 1.07, depth);
    let (h, e) = (mix(cells.0, around.0, outside), mix(cells.1, around.1, outside));
    (h + 0.05 * membrane, (e + 0.30 * membrane) * (1.0 - 0.55 * halo))
}
