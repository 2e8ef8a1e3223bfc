//! Demosaicing: H. S. Malvar, L. He, R. Cutler, "High-quality linear interpolation for demosaicing of Bayer-patterned
//! color images", ICASSP 2004. Each missing colour is the mean of its neighbours, corrected by the Laplacian of the colour
//! that is there, which keeps edges sharp where bilinear interpolation blurs them.
//!
//! Everything is whole numbers, rounded once and clipped to the format's levels. A row's even and odd columns lie apart:
//! all that a filter adds then lies in a row.

use std::collections::TryReserveError;

use crate::format::Phase;
use crate::memory::room;

/// Columns and rows that a filter reaches to each side.
pub(crate) const REACH: usize = 2;

/// The mirror of `at` in `low..high`, whose ends are not repeated: it keeps the phase.
pub(crate) fn mirrored(at: isize, low: isize, high: isize) -> isize {
    let period = 2 * (high - low - 1);
    if period <= 0 {
        return low;
    }
    let offset = (at - low).rem_euclid(period);
    low + offset.min(period - offset)
}

/// One row's levels, even and odd columns apart, with one column of each beyond both ends.
#[derive(Default)]
struct Halves {
    even: Vec<u16>,
    odd: Vec<u16>,
}

/// The three colours of the even or the odd columns of a row.
#[derive(Default)]
pub(crate) struct Colours {
    red: Vec<u16>,
    green: Vec<u16>,
    blue: Vec<u16>,
}

impl Colours {
    /// The first `count` levels of red, green and blue.
    pub(crate) fn rows(&self, count: usize) -> [&[u16]; 3] {
        [&self.red[..count], &self.green[..count], &self.blue[..count]]
    }

    /// The row's own colour, green, and the other one.
    fn by_row(&mut self, red_row: bool) -> (&mut [u16], &mut [u16], &mut [u16]) {
        match red_row {
            true => (&mut self.red, &mut self.green, &mut self.blue),
            false => (&mut self.blue, &mut self.green, &mut self.red),
        }
    }
}

/// Five rows of a mosaic around the one that is interpolated.
pub(crate) struct Window {
    rows: [Halves; 5],
    /// Which rows these are.
    held: [Option<isize>; 5],
    pairs: usize,
    pub(crate) even: Colours,
    pub(crate) odd: Colours,
}

impl Window {
    /// For parts of at most `width` columns.
    pub(crate) fn new(width: usize) -> Result<Window, TryReserveError> {
        let pairs = width / 2 + 4;
        let halves = || Ok::<_, TryReserveError>(Halves { even: zeros(pairs)?, odd: zeros(pairs)? });
        let colours =
            || Ok::<_, TryReserveError>(Colours { red: zeros(pairs)?, green: zeros(pairs)?, blue: zeros(pairs)? });
        Ok(Window {
            rows: [halves()?, halves()?, halves()?, halves()?, halves()?],
            held: [None; 5],
            pairs: 0,
            even: colours()?,
            odd: colours()?,
        })
    }

    pub(crate) fn bytes(width: u64) -> u64 {
        (width / 2 + 4) * 2 * (10 + 6)
    }

    /// Begins another part, of so many pairs of columns.
    pub(crate) fn begin(&mut self, pairs: usize) {
        self.held = [None; 5];
        self.pairs = pairs;
    }

    pub(crate) fn holds(&self, row: isize) -> bool {
        self.held[row.rem_euclid(5) as usize] == Some(row)
    }

    /// Takes a row's levels, from two columns before the part to two columns after it.
    pub(crate) fn put(&mut self, row: isize, levels: &[u16]) {
        let place = row.rem_euclid(5) as usize;
        let Halves { even, odd } = &mut self.rows[place];
        for ((even, odd), pair) in even.iter_mut().zip(odd).zip(levels[..2 * self.pairs + 4].chunks_exact(2)) {
            (*even, *odd) = (pair[0], pair[1]);
        }
        self.held[place] = Some(row);
    }

    /// Interpolates row `y` into `even` and `odd`. The five rows around it are there.
    pub(crate) fn interpolate(&mut self, y: isize, phase: Phase, highest: u16) {
        let [nn, n, here, s, ss] = [-2, -1, 0, 1, 2].map(|d: isize| &self.rows[(y + d).rem_euclid(5) as usize]);
        let cell = phase.colours();
        let row = if y.rem_euclid(2) == 0 { [cell[0], cell[1]] } else { [cell[2], cell[3]] };
        // Whether the row has red, and whether its colour is in the even columns.
        let (red_row, first) = (row.contains(&0), row[0] != 1);
        let count = self.pairs;
        let kernel = if highest <= 4095 { narrow::row } else { wide::row };
        // For even columns the odd one of the same pair is to the right; for odd columns the even one of the next.
        let even =
            Cross::new([&nn.even, &n.even, &here.even, &s.even, &ss.even], [&n.odd, &here.odd, &s.odd], 0, count);
        let odd = Cross::new([&nn.odd, &n.odd, &here.odd, &s.odd, &ss.odd], [&n.even, &here.even, &s.even], 1, count);
        kernel(&even, first, self.even.by_row(red_row), highest);
        kernel(&odd, !first, self.odd.by_row(red_row), highest);
    }
}

fn zeros(count: usize) -> Result<Vec<u16>, TryReserveError> {
    let mut vector = room(count)?;
    vector.resize(count, 0);
    Ok(vector)
}

/// A filter's cross and diagonals for every second column of a row: slices of one length, shifted.
struct Cross<'w> {
    centre: &'w [u16],
    north: &'w [u16],
    south: &'w [u16],
    east: &'w [u16],
    west: &'w [u16],
    far: [&'w [u16]; 4],
    corners: [&'w [u16]; 4],
}

impl<'w> Cross<'w> {
    /// From the five rows of the columns' own parity and the three nearest of the other. `right`: how far the other
    /// parity's pair is to the right.
    fn new(own: [&'w Vec<u16>; 5], other: [&'w Vec<u16>; 3], right: usize, count: usize) -> Cross<'w> {
        let part = |row: &'w Vec<u16>, from: usize| &row[from..from + count];
        let (west, east) = (right, right + 1);
        Cross {
            centre: part(own[2], 1),
            north: part(own[1], 1),
            south: part(own[3], 1),
            east: part(other[1], east),
            west: part(other[1], west),
            // North, south, east, west, two away.
            far: [part(own[0], 1), part(own[4], 1), part(own[2], 2), part(own[2], 0)],
            corners: [part(other[0], west), part(other[0], east), part(other[2], west), part(other[2], east)],
        }
    }
}

/// The four filters in whole numbers of a width. In units of an eighth a sum reaches 12 times the highest level: of 12
/// bits, more than 16 bits hold. It is added in two parts that fit, saturating: what saturates is above the highest level
/// anyway.
macro_rules! kernels {
    ($name:ident, $number:ty) => {
        mod $name {
            use super::Cross;

            fn rounded(a: $number, b: $number, highest: $number) -> u16 {
                (a.saturating_add(b).saturating_add(4) >> 3).clamp(0, highest) as u16
            }

            /// Own colour, green and other colour of each column; `coloured`: the columns are of the row's own colour,
            /// not green.
            pub(super) fn row(
                cross: &Cross<'_>,
                coloured: bool,
                to: (&mut [u16], &mut [u16], &mut [u16]),
                highest: u16,
            ) {
                if coloured { colour_sites(cross, to, highest) } else { green_sites(cross, to, highest) }
            }

            fn colour_sites(
                cross: &Cross<'_>,
                (own, green, other): (&mut [u16], &mut [u16], &mut [u16]),
                highest: u16,
            ) {
                let Cross { centre, north, south, east, west, far, corners } = cross;
                let count = centre.len();
                let (north, south, east, west) = (&north[..count], &south[..count], &east[..count], &west[..count]);
                let [f0, f1, f2, f3] = far.map(|row| &row[..count]);
                let [c0, c1, c2, c3] = corners.map(|row| &row[..count]);
                let (own, green, other) = (&mut own[..count], &mut green[..count], &mut other[..count]);
                let top = highest as $number;
                for i in 0..count {
                    let c = centre[i] as $number;
                    let near = north[i] as $number + south[i] as $number + east[i] as $number + west[i] as $number;
                    let far = f0[i] as $number + f1[i] as $number + f2[i] as $number + f3[i] as $number;
                    let corner = c0[i] as $number + c1[i] as $number + c2[i] as $number + c3[i] as $number;
                    own[i] = centre[i];
                    green[i] = rounded(2 * near, 4 * c - far, top);
                    // One and a half times the far ones, rounded up: half an eighth never decides.
                    other[i] = rounded(2 * corner, 6 * c - (far + ((far + 1) >> 1)), top);
                }
            }

            fn green_sites(cross: &Cross<'_>, (own, green, other): (&mut [u16], &mut [u16], &mut [u16]), highest: u16) {
                let Cross { centre, north, south, east, west, far, corners } = cross;
                let count = centre.len();
                let (north, south, east, west) = (&north[..count], &south[..count], &east[..count], &west[..count]);
                let [f0, f1, f2, f3] = far.map(|row| &row[..count]);
                let [c0, c1, c2, c3] = corners.map(|row| &row[..count]);
                let (own, green, other) = (&mut own[..count], &mut green[..count], &mut other[..count]);
                let top = highest as $number;
                for i in 0..count {
                    let c = centre[i] as $number;
                    let (n, s) = (north[i] as $number, south[i] as $number);
                    let (e, w) = (east[i] as $number, west[i] as $number);
                    let (along, across) = (f2[i] as $number + f3[i] as $number, f0[i] as $number + f1[i] as $number);
                    let corner = c0[i] as $number + c1[i] as $number + c2[i] as $number + c3[i] as $number;
                    let base = 5 * c - corner;
                    own[i] = rounded(4 * (e + w), base - along + (across >> 1), top);
                    green[i] = centre[i];
                    other[i] = rounded(4 * (n + s), base - across + (along >> 1), top);
                }
            }
        }
    };
}

kernels!(narrow, i16);
kernels!(wide, i32);
