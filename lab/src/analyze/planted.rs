//! `coverslip analyze planted`: tiles whose counts are known because they were drawn. A chain that does not find the
//! counts here will not find them in tissue; a chain that finds them in shuffled labels finds them anywhere.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use coverslip_analysis::random::Random;

use super::Outcome;
use coverslip_files::put;
use coverslip_slides::generated::planted::{KINDS, Planted};

/// Options of `coverslip analyze planted`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder to write: one PNG per tile, and counts.csv
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Groups: tiles of one group resemble each other in cells and in staining, as those of one slide do
    #[arg(long, default_value_t = 14, value_parser = clap::value_parser!(u32).range(2..=1000))]
    groups: u32,
    /// Tiles of each group
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    tiles: u32,
    /// Width and height of a tile, px of 0.5 µm
    #[arg(long, default_value_t = 224, value_parser = clap::value_parser!(u32).range(64..=1024))]
    side: u32,
    /// The same seed draws the same tiles
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Mean number of nuclei of each kind on 224 × 224 px.
const DENSITY: [f64; 4] = [14.0, 7.0, 6.0, 8.0];

/// Draws the tiles.
///
/// # Errors
/// When the folder cannot be written, or has a counts.csv.
pub(super) fn run(args: &Args, out: &mut dyn Write) -> Outcome {
    let path = args.out.join("counts.csv");
    if path.exists() {
        return Err(format!("{}: expected no file there, found one; give another --out", path.display()).into());
    }
    let written = |path: &std::path::Path, error: &dyn std::error::Error| format!("{}: {error}", path.display());
    std::fs::create_dir_all(&args.out).map_err(|error| written(&args.out, &error))?;
    let mut table = format!("tile,group,{}\n", KINDS.join(","));
    let mut random = Random::new(args.seed);
    let area = f64::from(args.side).powi(2) / 224.0_f64.powi(2);
    for group in 0..args.groups {
        // A group's own abundance of each kind, and its own staining.
        let abundance = DENSITY.map(|mean| mean * area * (0.6 * random.normal()).exp());
        let staining = (0.12 * random.normal()).exp() as f32;
        for tile in 0..args.tiles {
            let counts = abundance.map(|mean| random.poisson(mean) as u32);
            let seed = random.below(1 << 31) as u32;
            let (pixels, placed) = Planted { side: args.side, counts, staining, seed }.draw();
            let name = format!("group{group:03}_{tile:03}");
            let path = args.out.join(format!("{name}.png"));
            image::save_buffer(&path, &pixels, args.side, args.side, image::ExtendedColorType::Rgb8)
                .map_err(|error| written(&path, &error))?;
            writeln!(table, "{name},group{group:03},{}", placed.map(|n| n.to_string()).join(","))?;
        }
    }
    put(&path, table.as_bytes())?;
    let tiles = args.groups * args.tiles;
    Ok(writeln!(out, "{}: {tiles} tiles in {} groups, and counts.csv", args.out.display(), args.groups)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_that_are_there_are_not_replaced() {
        let folder = super::super::counts::tests::folder("planted");
        let args = Args { out: folder.clone(), groups: 2, tiles: 1, side: 64, seed: 1 };
        run(&args, &mut Vec::new()).unwrap();
        std::fs::write(folder.join("counts.csv"), "mine").unwrap();
        let refused = run(&args, &mut Vec::new()).unwrap_err().to_string();
        assert!(refused.contains("counts.csv: expected no file there, found one"), "{refused}");
        assert_eq!(std::fs::read_to_string(folder.join("counts.csv")).unwrap(), "mine");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
