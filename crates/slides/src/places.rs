//! Where the images of a directory lie, as their names say it: `x12_y3`, `c12_r3`, `col12_row3`. Names that leave a doubt say
//! nothing: half a guess is a slide that never was. Two bare numbers, `12_3`, are a case and its third picture as often as a
//! column and a row.

use std::collections::HashSet;
use std::ops::Range;

/// A column and a row.
pub(super) type Place = (u32, u32);

/// Cells of the plane at most, with images and without: a slide of 1,024 x 1,024 tiles.
const MOST_CELLS: u64 = 1 << 20;

/// What names a column, and what names a row beside it.
const PAIRS: [[&str; 2]; 4] = [["x", "y"], ["c", "r"], ["col", "row"], ["column", "row"]];

/// What the images' names say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Places {
    /// One for each name, from (0, 0) on.
    pub(super) places: Vec<Place>,
    pub(super) columns: u32,
    pub(super) rows: u32,
    /// How they say it.
    pub(super) marks: String,
}

impl Places {
    /// The places that the `names`, without their extensions, state in one way: numbers of cells, or pixels of cells of this
    /// size. None where one states nothing, two state one place, or most lie beside none: then the numbers count something else.
    pub(super) fn stated(names: &[String], cell: (u32, u32)) -> Option<Places> {
        let said = names.iter().map(|name| said(name)).collect::<Option<Vec<Said>>>()?;
        let first = said.first()?;
        if said.iter().any(|other| (other.marks, &other.rest) != (first.marks, &first.rest)) {
            return None;
        }
        let least = |axis: fn(&Said) -> u32| said.iter().map(axis).min().unwrap_or(0);
        let (left, top) = (least(|said| said.place.0), least(|said| said.place.1));
        let from_corner: Vec<Place> = said.iter().map(|said| (said.place.0 - left, said.place.1 - top)).collect();
        let places = if touch(&from_corner) { from_corner } else { in_cells(&from_corner, cell)? };
        let columns = places.iter().map(|place| place.0).max()?.checked_add(1)?;
        let rows = places.iter().map(|place| place.1).max()?.checked_add(1)?;
        let distinct = places.iter().collect::<HashSet<_>>().len() == places.len();
        let marks = first.marks.join(" and ");
        (distinct && u64::from(columns) * u64::from(rows) <= MOST_CELLS).then_some(Places {
            places,
            columns,
            rows,
            marks,
        })
    }
}

/// Whether half of the places or more lie beside another: what a scanner tiled does, and pictures cut out here and there do
/// not.
fn touch(places: &[Place]) -> bool {
    let known: HashSet<Place> = places.iter().copied().collect();
    let beside = |&&(column, row): &&Place| {
        let across = [column.checked_sub(1), column.checked_add(1)].map(|column| column.zip(Some(row)));
        let down = [row.checked_sub(1), row.checked_add(1)].map(|row| Some(column).zip(row));
        across.into_iter().chain(down).flatten().any(|place| known.contains(&place))
    };
    !places.is_empty() && 2 * places.iter().filter(beside).count() >= places.len()
}

/// Places in pixels as places in cells, where all of them are corners of cells and the cells touch.
fn in_cells(places: &[Place], (width, height): (u32, u32)) -> Option<Vec<Place>> {
    let corner = |&(x, y): &Place| (x % width == 0 && y % height == 0).then_some((x / width, y / height));
    places.iter().map(corner).collect::<Option<Vec<_>>>().filter(|places| touch(places))
}

/// What a name says.
struct Said {
    place: Place,
    marks: [&'static str; 2],
    /// The name without the two numbers, and without a tile's width and height.
    rest: String,
}

fn said(name: &str) -> Option<Said> {
    let name = name.to_ascii_lowercase();
    let numbers = numbers(&name)?;
    let only = |key: &str| -> Option<u32> {
        let mut own = numbers.iter().filter(|(known, _)| *known == key);
        match (own.next(), own.next()) {
            (Some((_, digits)), None) => name[digits.clone()].parse().ok(),
            _ => None,
        }
    };
    let mut pairs = PAIRS.into_iter().filter_map(|marks| Some((marks, (only(marks[0])?, only(marks[1])?))));
    let (marks, place) = pairs.next()?;
    if pairs.next().is_some() {
        return None;
    }
    let mut rest = name.clone();
    for (_, digits) in numbers.iter().rev().filter(|(key, _)| marks.contains(key) || ["w", "h"].contains(key)) {
        rest.replace_range(digits.clone(), "");
    }
    Some(Said { place, marks, rest })
}

/// Words with the number behind each: `x12`, `x_12` or `x=12`. None where a number has a fraction.
fn numbers(name: &str) -> Option<Vec<(&str, Range<usize>)>> {
    let bytes = name.as_bytes();
    let run = |from: usize, of: fn(&u8) -> bool| from + bytes[from..].iter().take_while(|byte| of(byte)).count();
    let (mut found, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let end = run(at, u8::is_ascii_alphabetic);
        if end == at {
            at += 1;
            continue;
        }
        let apart = matches!(bytes.get(end), Some(b'_' | b'='));
        let digits = end + usize::from(apart);
        let last = run(digits, u8::is_ascii_digit);
        // Of "20x_3" the 3 is not x's: that is a magnification.
        let magnification = apart && at > 0 && bytes[at - 1].is_ascii_digit();
        if last > digits && !magnification {
            if bytes.get(last) == Some(&b'.') && bytes.get(last + 1).is_some_and(u8::is_ascii_digit) {
                return None;
            }
            found.push((&name[at..end], digits..last));
        }
        at = last.max(end);
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CELL: (u32, u32) = (512, 256);

    fn stated(names: &[&str]) -> Option<Places> {
        Places::stated(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(), CELL)
    }

    #[test]
    fn columns_and_rows_are_told_by_their_marks() {
        for (names, marks) in [
            (["x9_y3", "x10_y3", "x10_y5"], "x and y"),
            (["a 20x_7_X_9_Y_3", "a 20x_7_X_10_Y_3", "a 20x_7_X_10_Y_5"], "x and y"),
            (["s7-r3c9", "s7-r3c10", "s7-r5c10"], "c and r"),
            (["Row3_Col9", "row3_col10", "row5_col10"], "col and row"),
            (["s [x=4608,y=768,w=512,h=256]", "s [x=5120,y=768,w=17,h=256]", "s [x=5120,y=1280,w=17,h=9]"], "x and y"),
        ] {
            let found = stated(&names).unwrap_or_else(|| panic!("{names:?}"));
            assert_eq!((found.columns, found.rows, found.marks.as_str()), (2, 3, marks), "{names:?}");
            assert_eq!(found.places, [(0, 0), (1, 0), (1, 2)], "{names:?}");
        }
    }

    #[test]
    fn a_doubt_is_no_place() {
        for names in [
            &["0", "1"][..],
            &["x0_y0", "x1"],
            &["9_3", "10_3", "10_5"],
            &["x0_y0", "x01_y00", "x0_y0"],
            &["x0_y0", "c1_r0"],
            // Two slides, two ways at once, a fraction, a sign, another count of the same letter.
            &["a_x0_y0", "b_x1_y0"],
            &["x0_y0_c0_r0", "x1_y0_c1_r0"],
            &["x0.5_y0", "x1.5_y0"],
            &["x-1_y0", "x0_y0"],
            &["x0_y0_x0", "x1_y0_x1"],
            &["max0_y0", "max1_y0"],
            &["x0_y0", "x1_y0", "x70_y31", "x12_y50", "x33_y8"],
            // Pixels of another level, tiles that overlap, and a plane that nobody scanned.
            &["x0_y0", "x1024_y0", "x2048_y0"],
            &["x0_y0", "x448_y0", "x896_y0"],
            &["x0_y0", "x1_y0", "x4000000_y4000000"],
            &["x0_y0", "x99999999999_y0"],
            &[],
        ] {
            assert_eq!(stated(names), None, "{names:?}");
        }
    }
}
