//! What the tissue of a place takes up: stroma with fibres, glands, fat.

use super::noise::{SlowField, fractal, mix, step, uniform, value};
use super::nuclei;
use super::regions::{Glands, LUMEN, fat, inflamed, tissue};
use super::stains::Stains;

/// The stains of a rectangle.
pub(super) fn stain(x: i32, y: i32, width: i32, height: i32) -> Stains {
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
