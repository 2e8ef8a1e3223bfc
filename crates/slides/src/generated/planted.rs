//! Tiles with known counts: stroma with a stated number of nuclei of four kinds, which do not overlap.

use super::noise::uniform;
use super::nuclei::{self, Nucleus, SMOOTH};
use super::optics;
use super::stains::Stains;
use super::tissue::stroma;
use crate::rect::Rect;

/// Names of the kinds of nuclei in tables, in the order of [`Planted::counts`].
pub const KINDS: [&str; 4] = ["round", "eccentric", "irregular", "spindle"];

/// Most places tried for a nucleus before the tile counts as full.
const TRIALS: i32 = 400;

/// The content of one tile.
#[derive(Clone, Copy, Debug)]
pub struct Planted {
    /// Width and height, px of 0.5 µm.
    pub side: u32,
    /// Number of nuclei of each kind: small round dark ones (lymphocytes), eccentric ones in a wide cytoplasm (plasma
    /// cells), large irregular ones (tumour), spindles (fibroblasts).
    pub counts: [u32; 4],
    /// Factor on the absorption of both stains; usually 1.
    pub staining: f32,
    /// Seed of places, shapes and fibres.
    pub seed: u32,
}

/// A cell: the nucleus and, around plasma cells, the cytoplasm's centre and radius.
struct Cell {
    nucleus: Nucleus,
    cytoplasm: Option<(f32, f32, f32)>,
}

impl Planted {
    /// The tile's RGB pixels, and the number of nuclei of each kind that found a place: all, unless the tile is full.
    pub fn draw(&self) -> (Vec<u8>, [u32; 4]) {
        let (cells, placed) = self.cells();
        let side = self.side as i32;
        // Every tile is at another place of the same endless stroma.
        let (x, y) = ((self.seed % 911) as i32 * side, (self.seed / 911 % 911) as i32 * side);
        let mut stains = Stains { haematoxylin: Vec::new(), eosin: Vec::new() };
        for row in 0..side {
            for column in 0..side {
                let (h, e) = stroma(((x + column) as f32, (y + row) as f32), -1.0);
                stains.haematoxylin.push(h);
                stains.eosin.push(e);
            }
        }
        let mut dye = vec![0.0; stains.eosin.len()];
        for cell in &cells {
            if let Some(cytoplasm) = cell.cytoplasm {
                fill(&mut stains, side, cytoplasm);
            }
            cell.nucleus.stain((0, 0, side, side), &mut dye);
        }
        nuclei::lay(&mut stains, &dye);
        for value in stains.haematoxylin.iter_mut().chain(&mut stains.eosin) {
            *value *= self.staining;
        }
        let rect = Rect { x: x as u32, y: y as u32, width: self.side, height: self.side };
        let mut pixels = Vec::with_capacity(rect.bytes());
        optics::photograph_stains(&stains, rect, &mut pixels);
        (pixels, placed)
    }

    /// Places the cells, the largest kinds first so that they find room.
    fn cells(&self) -> (Vec<Cell>, [u32; 4]) {
        let mut taken: Vec<(f32, f32, f32)> = Vec::new();
        let (mut cells, mut placed) = (Vec::new(), [0; 4]);
        for kind in [2, 1, 3, 0] {
            for index in 0..self.counts[kind] {
                let id = (kind as i32) << 20 | index as i32;
                let found = (0..TRIALS).find_map(|trial| {
                    let random = |what: i32| uniform(id, trial * 16 + what, self.seed);
                    let cell = Cell::new(kind, self.side as f32, random);
                    let (x, y, reach) = cell.room();
                    let free = |&(a, b, other): &(f32, f32, f32)| (a - x).hypot(b - y) > reach + other;
                    taken.iter().all(free).then_some((cell, (x, y, reach)))
                });
                let Some((cell, room)) = found else { break };
                taken.push(room);
                cells.push(cell);
                placed[kind] += 1;
            }
        }
        (cells, placed)
    }
}

impl Cell {
    /// A cell of `kind` that is wholly inside a tile; `random` returns a number in 0..1 for each purpose.
    fn new(kind: usize, side: f32, random: impl Fn(i32) -> f32) -> Cell {
        let (axes, dye, chromatin, wobble) = match kind {
            0 => ((5.2 + 0.8 * random(0), 5.0 + 0.7 * random(1)), 1.45, 0.30, SMOOTH),
            1 => ((6.0 + 0.8 * random(0), 5.6 + 0.6 * random(1)), 1.15, 0.95, SMOOTH),
            2 => ((12.0 + 3.0 * random(0), 9.0 + 2.0 * random(1)), 0.75, 0.85, 0.30),
            _ => ((12.0 + 4.0 * random(0), 2.4 + 0.9 * random(1)), 1.10, 0.50, SMOOTH),
        };
        let margin = 18.0;
        let place = |share: f32| margin + share * (side - 2.0 * margin);
        let (x, y, angle) = (place(random(2)), place(random(3)), random(4) * std::f32::consts::TAU);
        let cytoplasm = (kind == 1).then(|| (x + 5.0 * angle.cos(), y + 5.0 * angle.sin(), 11.5 + random(5)));
        let seed = (random(6) * 65_536.0) as u32;
        Cell { nucleus: Nucleus { x, y, axes, angle, dye, chromatin, wobble, seed }, cytoplasm }
    }

    /// Centre and radius of the disc that the cell occupies.
    fn room(&self) -> (f32, f32, f32) {
        match self.cytoplasm {
            Some(disc) => disc,
            None => (self.nucleus.x, self.nucleus.y, self.nucleus.axes.0 + 1.0),
        }
    }
}

/// A plasma cell's cytoplasm: denser than the stroma, between pink and blue.
fn fill(stains: &mut Stains, side: i32, (x, y, radius): (f32, f32, f32)) {
    for row in ((y - radius) as i32).max(0)..((y + radius) as i32 + 1).min(side) {
        for column in ((x - radius) as i32).max(0)..((x + radius) as i32 + 1).min(side) {
            if (column as f32 - x).hypot(row as f32 - y) < radius {
                let place = (row * side + column) as usize;
                (stains.haematoxylin[place], stains.eosin[place]) = (0.38, 0.62);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planted(counts: [u32; 4]) -> Planted {
        Planted { side: 224, counts, staining: 1.0, seed: 5 }
    }

    #[test]
    fn every_requested_nucleus_is_there_and_darkens_the_tile() {
        let darkness = |counts| {
            let (pixels, placed) = planted(counts).draw();
            assert_eq!(placed, counts);
            assert_eq!(pixels.len(), 224 * 224 * 3);
            pixels.chunks_exact(3).filter(|p| p[0] < 165).count()
        };
        let empty = darkness([0; 4]);
        for kind in 0..4 {
            let mut counts = [0; 4];
            counts[kind] = 5;
            let few = darkness(counts);
            counts[kind] = 15;
            let many = darkness(counts);
            assert!(few > empty + 100 && many as f64 > 2.0 * few as f64, "{}: {empty} {few} {many}", KINDS[kind]);
        }
    }

    #[test]
    fn a_full_tile_says_how_many_fit() {
        let (_, placed) = planted([0, 0, 500, 0]).draw();
        assert!(placed[2] > 20 && placed[2] < 500, "{placed:?}");
    }
}
