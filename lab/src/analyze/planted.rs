//! `coverslip analyze planted`: tiles whose counts are known because they were drawn. A chain of analyses that does not
//! find the counts here will not find them in tissue; one that finds them in shuffled labels finds them anywhere.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use coverslip_analysis::random::Random;

use coverslip_files::{Folder, Replace, check_target};
use coverslip_slides::generated::planted::{KINDS, Planted};
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

use super::Outcome;
use crate::claim;

pub(crate) struct Options {
    /// The folder of the tiles and of `counts.csv`, which appears as a whole.
    pub(crate) out: PathBuf,
    pub(crate) groups: u32,
    /// Tiles of each group.
    pub(crate) tiles: u32,
    /// Width and height of a tile, px of 0.5 µm.
    pub(crate) side: u32,
    pub(crate) seed: u64,
}

/// Mean number of nuclei of each kind on 224 × 224 px.
const DENSITY: [f64; 4] = [14.0, 7.0, 6.0, 8.0];

/// The file with the counts.
const TABLE: &str = "counts.csv";

/// Tiles that are there may belong to a study, so they are never replaced.
const NEW: Replace<'_> = Replace { marker: TABLE, kind: "folder of tiles", force: false };

/// Draws the tiles.
///
/// # Errors
/// When the folder cannot be written, or is there already and not empty.
pub(crate) fn run(options: &Options, out: &mut dyn Write) -> Outcome {
    let claim = claim::beside(&options.out)?;
    let path = options.out.join(TABLE);
    if path.exists() {
        return Err(format!("{}: expected no file there, found one; give another --out", path.display()).into());
    }
    check_target(&options.out, NEW)?;
    let folder = Folder::beside(&claim)?;
    let mut table = format!("tile,group,{}\n", KINDS.join(","));
    let mut random = Random::new(options.seed);
    let area = f64::from(options.side).powi(2) / 224.0_f64.powi(2);
    for group in 0..options.groups {
        // A group's own abundance of each kind, and its own staining.
        let abundance = DENSITY.map(|mean| mean * area * (0.6 * random.normal()).exp());
        let staining = (0.12 * random.normal()).exp() as f32;
        for tile in 0..options.tiles {
            let counts = abundance.map(|mean| random.poisson(mean) as u32);
            let seed = random.below(1 << 31) as u32;
            let (pixels, placed) = Planted { side: options.side, counts, staining, seed }.draw();
            let name = format!("group{group:03}_{tile:03}");
            folder.write(&format!("{name}.png"), &png(&pixels, options.side)?)?;
            writeln!(table, "{name},group{group:03},{}", placed.map(|n| n.to_string()).join(","))?;
        }
    }
    folder.write(TABLE, table.as_bytes())?;
    folder.settle(NEW)?;
    let tiles = options.groups * options.tiles;
    Ok(writeln!(out, "{}: {tiles} tiles in {} groups, and counts.csv", options.out.display(), options.groups)?)
}

fn png(pixels: &[u8], side: u32) -> image::ImageResult<Vec<u8>> {
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes).write_image(pixels, side, side, ExtendedColorType::Rgb8)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_that_are_there_are_not_replaced() {
        let folder = std::env::temp_dir().join(format!("coverslip-planted-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let options = Options { out: folder.clone(), groups: 2, tiles: 1, side: 64, seed: 1 };
        // A folder that is there and empty holds nothing to be replaced.
        std::fs::create_dir(&folder).unwrap();
        run(&options, &mut Vec::new()).unwrap();
        std::fs::write(folder.join("counts.csv"), "mine").unwrap();
        let refused = run(&options, &mut Vec::new()).unwrap_err().to_string();
        assert!(refused.contains("counts.csv: expected no file there, found one"), "{refused}");
        assert_eq!(std::fs::read_to_string(folder.join("counts.csv")).unwrap(), "mine");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
