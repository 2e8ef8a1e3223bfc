//! Which pixels of a rectangle were scanned. A tile that a scanner left out is not white: there is nothing.

use super::rect::Rect;

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
    scanned: Option<Vec<bool>>,
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
                    let scanned = self.scanned.get_or_insert_with(|| vec![true; rect.pixels()]);
                    scanned[(y - rect.y) as usize * rect.width as usize + (x - rect.x) as usize] = false;
                }
            }
        }
    }

    /// The scanned pixels as rectangles: runs of a row, joined with equal runs of the row above.
    pub(crate) fn finish(self) -> Scanned {
        let Some(scanned) = self.scanned else { return Scanned::All };
        let mut parts: Vec<Rect> = Vec::new();
        let mut open: Vec<Rect> = Vec::new();
        for (y, row) in (self.rect.y..).zip(scanned.chunks_exact(self.rect.width as usize)) {
            let mut grown = Vec::new();
            for (start, length) in runs(row) {
                let (x, width) = (self.rect.x + start, length);
                match open.iter().position(|part| part.x == x && part.width == width) {
                    Some(above) => grown.push(Rect { height: open[above].height + 1, ..open.swap_remove(above) }),
                    None => grown.push(Rect { x, y, width, height: 1 }),
                }
            }
            parts.append(&mut open);
            open = grown;
        }
        parts.append(&mut open);
        Scanned::Parts(parts)
    }
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
            match mask.finish() {
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
        assert_eq!(Mask::all(RECT).finish(), Scanned::All);
        let mut mask = Mask::all(RECT);
        mask.exclude(Rect { x: 0, y: 0, width: 13, height: 100 });
        let right = Rect { x: 13, width: 4, ..RECT };
        assert_eq!(mask.finish(), Scanned::Parts(vec![right]));
        assert_eq!(Scanned::Parts(vec![right]).within(right), Scanned::All);
        let mut mask = Mask::all(RECT);
        mask.exclude(RECT);
        assert_eq!(mask.finish(), Scanned::Parts(Vec::new()));
    }
}
