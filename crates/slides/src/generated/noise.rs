//! Deterministic randomness by place: hashes, value noise, and slow fields on a coarse lattice.

/// A well-mixed hash of a place and a seed.
pub(super) fn hash(x: i32, y: i32, seed: u32) -> u32 {
    let mut value = (x as u32).wrapping_mul(0x9e37_79b1) ^ (y as u32).wrapping_mul(0x85eb_ca77).rotate_left(13);
    value ^= seed.wrapping_mul(0xc2b2_ae3d);
    value ^= value >> 15;
    value = value.wrapping_mul(0x2c1b_3c6d);
    value ^= value >> 12;
    value = value.wrapping_mul(0x297a_2d39);
    value ^ (value >> 15)
}

/// Uniform in 0..1.
pub(super) fn uniform(x: i32, y: i32, seed: u32) -> f32 {
    (hash(x, y, seed) >> 8) as f32 / (1 << 24) as f32
}

/// Smooth noise in -1..1 whose features are one unit wide.
pub(super) fn value(x: f32, y: f32, seed: u32) -> f32 {
    let (column, row) = (x.floor(), y.floor());
    let (u, v) = (x - column, y - row);
    let (column, row) = (column as i32, row as i32);
    let fade = |t: f32| t * t * t * (t * (t * 6.0 - 15.0) + 10.0);
    let (u, v) = (fade(u), fade(v));
    let top = mix(uniform(column, row, seed), uniform(column + 1, row, seed), u);
    let bottom = mix(uniform(column, row + 1, seed), uniform(column + 1, row + 1, seed), u);
    mix(top, bottom, v) * 2.0 - 1.0
}

/// Several octaves of `value`, about -1..1.
pub(super) fn fractal(x: f32, y: f32, octaves: u32, seed: u32) -> f32 {
    let (mut sum, mut weight, mut scale, mut total) = (0.0, 1.0, 1.0, 0.0);
    for octave in 0..octaves {
        sum += weight * value(x * scale, y * scale, seed.wrapping_add(octave * 101));
        total += weight;
        weight *= 0.5;
        scale *= 2.03;
    }
    sum / total * 1.6
}

pub(super) fn mix(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

/// 0 below `from`, 1 above `to`, smooth between them.
pub(super) fn step(from: f32, to: f32, x: f32) -> f32 {
    let t = ((x - from) / (to - from)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// Lattice distance of slow fields, in pixels.
const LATTICE: i32 = 16;

/// A slow field over a rectangle, computed on a lattice that is fixed in the slide and interpolated between.
pub(super) struct SlowField {
    column: i32,
    row: i32,
    columns: usize,
    values: Vec<f32>,
}

impl SlowField {
    pub(super) fn new(x: i32, y: i32, width: i32, height: i32, field: impl Fn(f32, f32) -> f32) -> SlowField {
        let (column, row) = (x.div_euclid(LATTICE), y.div_euclid(LATTICE));
        let columns = (x + width).div_euclid(LATTICE) - column + 2;
        let rows = (y + height).div_euclid(LATTICE) - row + 2;
        let at = |lattice: i32| (lattice * LATTICE) as f32;
        let values = (0..rows)
            .flat_map(|r| (0..columns).map(move |c| (c, r)))
            .map(|(c, r)| field(at(column + c), at(row + r)))
            .collect();
        SlowField { column, row, columns: columns as usize, values }
    }

    pub(super) fn at(&self, x: i32, y: i32) -> f32 {
        let (column, row) = (x.div_euclid(LATTICE), y.div_euclid(LATTICE));
        let u = x.rem_euclid(LATTICE) as f32 / LATTICE as f32;
        let v = y.rem_euclid(LATTICE) as f32 / LATTICE as f32;
        let place = (row - self.row) as usize * self.columns + (column - self.column) as usize;
        let (top, bottom) = (&self.values[place..], &self.values[place + self.columns..]);
        mix(mix(top[0], top[1], u), mix(bottom[0], bottom[1], u), v)
    }
}
