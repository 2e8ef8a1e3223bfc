//! Demosaicing: H. S. Malvar, L. He, R. Cutler, "High-quality linear interpolation for demosaicing of Bayer-patterned
//! color images", ICASSP 2004. Each missing colour is the mean of its neighbours, corrected by the Laplacian of the colour
//! that is there, which keeps edges sharp where bilinear interpolation blurs them.
//!
//! Everything is whole numbers, rounded once and clipped to the format's levels. A row's even and odd columns lie apart:
//! all that a filter adds then lies in a row.

use std::collections::TryReserveError;

use crate::avx2;
use crate::format::Phase;
use crate::kernels::{Cross, Levels, narrow, wide};
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
    fn by_row(&mut self, red_row: bool) -> Levels<'_> {
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
        let kernel = if highest <= 4095 { narrow_row } else { wide::row };
        // For even columns the odd one of the same pair is to the right; for odd columns the even one of the next.
        let even =
            Cross::new([&nn.even, &n.even, &here.even, &s.even, &ss.even], [&n.odd, &here.odd, &s.odd], 0, count);
        let odd = Cross::new([&nn.odd, &n.odd, &here.odd, &s.odd, &ss.odd], [&n.even, &here.even, &s.even], 1, count);
        kernel(&even, first, self.even.by_row(red_row), highest);
        kernel(&odd, !first, self.odd.by_row(red_row), highest);
    }
}

fn narrow_row(cross: &Cross<'_>, coloured: bool, to: Levels<'_>, highest: u16) {
    avx2::run(NarrowRow { cross, coloured, to, highest });
}

struct NarrowRow<'r> {
    cross: &'r Cross<'r>,
    coloured: bool,
    to: Levels<'r>,
    highest: u16,
}

impl avx2::Task for NarrowRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        narrow::row(self.cross, self.coloured, self.to, self.highest);
    }
}

fn zeros(count: usize) -> Result<Vec<u16>, TryReserveError> {
    let mut vector = room(count)?;
    vector.resize(count, 0);
    Ok(vector)
}
