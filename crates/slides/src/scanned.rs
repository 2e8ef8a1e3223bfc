//! Which pixels of a rectangle were scanned. A tile that a scanner left out is not white: there is nothing.

use std::collections::BTreeMap;
use std::fmt;

use super::budget;
use super::rect::Rect;

/// Most rectangles of one part of a slide. What scanners leave out is tiles and the outside of an outline.
const MOST_RECTANGLES: usize = 1 << 16;

/// The scanned pixels of a rectangle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scanned {
    All,
    /// Those of these rectangles, which do not overlap; none where there is no rectangle.
    Parts(Vec<Rect>),
}

impl Scanned {
    /// What of it is inside `rect`.
    pub(crate) fn within(self, rect: Rect) -> Scanned {
        match self {
            Scanned::All => Scanned::All,
            Scanned::Parts(parts) => match parts.iter().filter_map(|part| part.common(&rect)).collect::<Vec<_>>() {
                parts if parts == [rect] => Scanned::All,
                parts => Scanned::Parts(parts),
            },
        }
    }
}

/// A mask that is made only when a pixel is missing.
pub(crate) struct Mask {
    rect: Rect,
    scanned: Option<Result<Vec<bool>, String>>,
}

impl Mask {
    /// Every pixel of `rect` was scanned.
    pub(crate) fn all(rect: Rect) -> Mask {
        Mask { rect, scanned: None }
    }

    /// Nothing of `place` was scanned.
    pub(crate) fn exclude(&mut self, place: Rect) {
        self.exclude_where(place, |_| true);
    }

    /// The pixels of `place` that are false in `scanned`, row by row, were not scanned.
    pub(crate) fn exclude_by(&mut self, place: Rect, scanned: &[bool]) {
        self.exclude_where(place, |index| !scanned[index]);
    }

    fn exclude_where(&mut self, place: Rect, missing: impl Fn(usize) -> bool) {
        let Some(both) = place.common(&self.rect) else { return };
        let rect = self.rect;
        for y in both.y..both.y + both.height {
            for x in both.x..both.x + both.width {
                if missing((y - place.y) as usize * place.width as usize + (x - place.x) as usize) {
                    // Without memory for it, the end says so.
                    let Ok(scanned) = self.scanned.get_or_insert_with(|| everything(rect)) else { return };
                    scanned[(y - rect.y) as usize * rect.width as usize + (x - rect.x) as usize] = false;
                }
            }
        }
    }

    /// The scanned pixels as rectangles: runs of a row, joined with equal runs of the row above.
    ///
    /// # Errors
    /// Where there are more of them than any slide has, or there was no memory for the mask.
    pub(crate) fn finish(self, slide: &dyn fmt::Display) -> Result<Scanned, String> {
        let Some(scanned) = self.scanned else { return Ok(Scanned::All) };
        let scanned = scanned.map_err(|why| format!("{slide}: {why}"))?;
        let mut parts: Vec<Rect> = Vec::new();
        let mut open: BTreeMap<(u32, u32), Rect> = BTreeMap::new();
        for (y, row) in (self.rect.y..).zip(scanned.chunks_exact(self.rect.width as usize)) {
            let mut grown = BTreeMap::new();
            for (start, width) in runs(row) {
                let x = self.rect.x + start;
                let above = open.remove(&(x, width)).unwrap_or(Rect { x, y, width, height: 0 });
                grown.insert((x, width), Rect { height: above.height + 1, ..above });
            }
            parts.extend(open.into_values());
            open = grown;
            if parts.len() + open.len() > MOST_RECTANGLES {
                return Err(format!(
                    "{slide}: expected a part of {} x {} px whose scanned pixels are in at most {MOST_RECTANGLES} \
                     rectangles, found more. Fill in what is transparent, for example with `vips flatten`",
                    self.rect.width, self.rect.height
                ));
            }
        }
        parts.extend(open.into_values());
        Ok(Scanned::Parts(parts))
    }
}

fn everything(rect: Rect) -> Result<Vec<bool>, String> {
    let mut scanned = budget::list(rect.pixels())?;
    scanned.resize(rect.pixels(), true);
    Ok(scanned)
}

/// Start and length of each run of true.
fn runs(row: &[bool]) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for (x, _) in row.iter().enumerate().filter(|(_, scanned)| **scanned) {
        match runs.last_mut() {
            Some((start, length)) if *start + *length == x as u32 => *length += 1,
            _ => runs.push((x as u32, 1)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECT: Rect = Rect { x: 10, y: 20, width: 7, height: 5 };

    #[test]
    fn the_parts_are_the_mask() {
        let mut state = 7_u32;
        for share in 0..8 {
            let mut mask = Mask::all(RECT);
            let mut expected = Vec::new();
            for index in 0..RECT.pixels() as u32 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let (x, y) = (RECT.x + index % RECT.width, RECT.y + index / RECT.width);
                match state >> 29 < share {
                    true => mask.exclude(Rect { x, y, width: 1, height: 1 }),
                    false => expected.push((x, y)),
                }
            }
            let mut found = Vec::new();
            match mask.finish(&"a").unwrap() {
                Scanned::All => assert_eq!(expected.len(), RECT.pixels()),
                Scanned::Parts(parts) => {
                    for part in parts {
                        let lines = part.y..part.y + part.height;
                        found.extend(lines.flat_map(|y| (part.x..part.x + part.width).map(move |x| (x, y))));
                    }
                    found.sort_by_key(|&(x, y)| (y, x));
                    assert_eq!(found, expected, "each scanned pixel once");
                }
            }
        }
    }

    #[test]
    fn what_is_whole_stays_whole_and_rows_are_joined() {
        assert_eq!(Mask::all(RECT).finish(&"a").unwrap(), Scanned::All);
        let mut mask = Mask::all(RECT);
        mask.exclude(Rect { x: 0, y: 0, width: 13, height: 100 });
        let right = Rect { x: 13, width: 4, ..RECT };
        assert_eq!(mask.finish(&"a").unwrap(), Scanned::Parts(vec![right]));
        assert_eq!(Scanned::Parts(vec![right]).within(right), Scanned::All);
        let mut mask = Mask::all(RECT);
        mask.exclude(RECT);
        assert_eq!(mask.finish(&"a").unwrap(), Scanned::Parts(Vec::new()));
    }

    #[test]
    fn opacity_that_changes_from_pixel_to_pixel_is_refused() {
        let rect = Rect { x: 0, y: 0, width: 512, height: 512 };
        let checked: Vec<bool> = (0..rect.pixels()).map(|at| (at / 512 + at) % 2 == 0).collect();
        let mut mask = Mask::all(rect);
        mask.exclude_by(rect, &checked);
        let said = mask.finish(&"a.png").unwrap_err();
        assert!(said.starts_with("a.png: expected a part of 512 x 512 px") && said.contains("65536"), "{said}");
    }
}
