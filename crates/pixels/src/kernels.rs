//! The filters of a row, in whole numbers. Always inlined, so that each caller compiles them for its own instructions.

/// A row's own colour, green, and the other one, of every second column.
pub(crate) type Levels<'l> = (&'l mut [u16], &'l mut [u16], &'l mut [u16]);

/// A filter's cross and diagonals for every second column of a row: slices of one length, shifted.
pub(crate) struct Cross<'w> {
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
    pub(crate) fn new(own: [&'w Vec<u16>; 5], other: [&'w Vec<u16>; 3], right: usize, count: usize) -> Cross<'w> {
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
        pub(crate) mod $name {
            use super::{Cross, Levels};

            #[inline(always)]
            fn rounded(a: $number, b: $number, highest: $number) -> u16 {
                (a.saturating_add(b).saturating_add(4) >> 3).clamp(0, highest) as u16
            }

            /// Own colour, green and other colour of each column; `coloured`: the columns are of the row's own colour,
            /// not green.
            #[inline(always)]
            pub(crate) fn row(cross: &Cross<'_>, coloured: bool, to: Levels<'_>, highest: u16) {
                if coloured { colour_sites(cross, to, highest) } else { green_sites(cross, to, highest) }
            }

            #[inline(always)]
            fn colour_sites(cross: &Cross<'_>, (own, green, other): Levels<'_>, highest: u16) {
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

            #[inline(always)]
            fn green_sites(cross: &Cross<'_>, (own, green, other): Levels<'_>, highest: u16) {
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
