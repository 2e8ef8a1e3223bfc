//! Tiles by slide, in two halves.

use std::collections::BTreeMap;
use std::error::Error;
use std::ops::Range;
use std::path::PathBuf;

use crate::bundle::tiles;

/// The fewest slides: two that calibrate and two that judge.
const FEWEST: usize = 4;

/// Tiles of some slides.
#[derive(Debug, Default)]
pub(super) struct Slides {
    /// u8 `[n, side, side, 3]`.
    pub(super) pixels: Vec<u8>,
    /// The tiles of each slide.
    pub(super) slides: Vec<Range<usize>>,
}

impl Slides {
    pub(super) fn count(&self) -> usize {
        self.slides.last().map_or(0, |slide| slide.end)
    }

    fn add(&mut self, tiles: &[u8], tile: usize) {
        let start = self.count();
        self.pixels.extend_from_slice(tiles);
        self.slides.push(start..start + tiles.len() / tile);
    }
}

/// Reads the slides, and deals them out in turn: those that calibrate, and those that judge. A path is a slide, but a
/// safetensors with a tensor `slide` i32 \[n\] has as many as that says.
///
/// # Errors
/// Where tiles cannot be read, or there are too few slides.
pub(super) fn read(paths: &[PathBuf], side: usize) -> Result<(Slides, Slides), Box<dyn Error>> {
    let tile = 3 * side * side;
    let mut slides: Vec<Vec<u8>> = Vec::new();
    for path in paths {
        let found = tiles::read(std::slice::from_ref(path), side)?;
        let Some(numbers) = found.file.as_ref().and_then(|file| file.get("slide")) else {
            slides.push(found.pixels);
            continue;
        };
        let numbers = numbers.to_i32()?;
        if numbers.len() != found.pixels.len() / tile {
            let (numbers, tiles) = (numbers.len(), found.pixels.len() / tile);
            return Err(format!("{}: `slide` has {numbers} numbers for {tiles} tiles", path.display()).into());
        }
        let mut by_slide: BTreeMap<i32, Vec<u8>> = BTreeMap::new();
        for (number, tile) in numbers.iter().zip(found.pixels.chunks_exact(tile)) {
            by_slide.entry(*number).or_default().extend_from_slice(tile);
        }
        slides.extend(by_slide.into_values());
    }
    if slides.len() < FEWEST {
        return Err(format!(
            "expected tiles of at least {FEWEST} slides, found {}: name a path for each slide, or a safetensors with a \
             tensor `slide`",
            slides.len()
        )
        .into());
    }
    let (mut calibrating, mut judging) = (Slides::default(), Slides::default());
    for (place, tiles) in slides.iter().enumerate() {
        if place % 2 == 0 { &mut calibrating } else { &mut judging }.add(tiles, tile);
    }
    Ok((calibrating, judging))
}

#[cfg(test)]
mod tests {
    use coverslip_bundle::tensors::{Tensor, TensorMap, to_safetensors};
    use coverslip_testkit::Scratch;

    use super::*;

    #[test]
    fn no_slide_is_in_both_halves() {
        let scratch = Scratch::new("quantise-slides");
        let path = scratch.path().join("tiles.safetensors");
        let write = |numbers: &[i32]| {
            // Every pixel is its tile's slide.
            let pixels: Vec<u8> = numbers.iter().flat_map(|number| [*number as u8; 12]).collect();
            let tensors = TensorMap::from([
                ("tiles".to_owned(), Tensor::u8(&[numbers.len(), 2, 2, 3], &pixels)),
                ("slide".to_owned(), Tensor::i32(&[numbers.len()], numbers)),
            ]);
            std::fs::write(&path, to_safetensors(&tensors).unwrap()).unwrap();
            read(std::slice::from_ref(&path), 2)
        };
        let (calibrating, judging) = write(&[4, 1, 4, 2, 3, 1, 1]).unwrap();
        assert_eq!(calibrating.slides, [0..3, 3..4]);
        assert_eq!(judging.slides, [0..1, 1..3]);
        let of = |slides: &Slides| slides.pixels.iter().step_by(12).copied().collect::<Vec<_>>();
        assert_eq!((of(&calibrating), of(&judging)), (vec![1, 1, 1, 3], vec![2, 4, 4]));
        assert!(write(&[1, 2, 3]).unwrap_err().to_string().contains("4 slides"));
    }
}
