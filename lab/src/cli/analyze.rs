//! `coverslip analyze`.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;

use clap::{Subcommand, value_parser};

use super::options::SlideColumnArg;
use super::wrong_option::WrongOption;
use crate::analyze::options::{CountOptions, LabelOptions, Method};
use crate::analyze::{comparison, counts, depth, features, planted, scanners, transfer};
use crate::embeddings::names::{SCANNER, SLIDE};
use crate::findings::scanners::Columns;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    analysis: Analysis,
}

#[derive(Debug, Subcommand)]
enum Analysis {
    /// Which features follow the counts of which cells, how surely, and what else does
    Counts(Box<Counts>),
    /// Compare two models on the same tiles
    Compare(Box<Compare>),
    /// Where in a model counts can be read, and where the scanner can
    Depth(Box<Depth>),
    /// Choose features on one data set and test them on another
    Transfer(Box<Transfer>),
    /// Where each feature fires most, how often, how strongly
    Features(Features),
    /// Draw tiles with known counts of four kinds of nuclei: a control for the other analyses
    Planted(Planted),
    /// Measure how much of the embeddings is the scanner's, tap by tap, before and after corrections
    Scanners(Scanners),
}

/// Runs one analysis, which prints its table to `out`.
///
/// # Errors
/// Says what was expected, what was found and what to do.
pub fn run(args: Args, out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    match args.analysis {
        Analysis::Counts(args) => counts::run(&args.options(), out),
        Analysis::Compare(args) => comparison::run(&args.options()?, out),
        Analysis::Depth(args) => depth::run(&args.options(), out),
        Analysis::Transfer(args) => transfer::run(&args.options(), out),
        Analysis::Features(args) => features::run(&args.options(), out),
        Analysis::Planted(args) => planted::run(&args.options(), out),
        Analysis::Scanners(args) => scanners::run(&args.options(), out),
    }
}

/// The table of counts, which tiles belong together, and how counts are analysed.
#[derive(Debug, clap::Args)]
struct CountArgs {
    /// Counts: a CSV with a row per tile, named in a column tile, image or slide, and a column per cell type
    #[arg(long, value_name = "CSV")]
    labels: PathBuf,
    #[command(flatten)]
    slides: SlideColumnArg,
    /// The column, of the embeddings' table or of the labels, whose equal values make a group: tiles of one image,
    /// slide or patient are not independent
    #[arg(long, value_name = "COLUMN", default_value = SLIDE)]
    group: String,
    /// Groups are equal up to the last such character: with _ the tiles img1_a and img1_b are one group
    #[arg(long, value_name = "CHAR")]
    cut: Option<char>,
    /// Cell types: columns of the labels [default: all that are numbers]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    types: Vec<String>,
    /// Name of the data set in reports and in the bundle [default: the labels' folder]
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Features that fire in fewer groups are left out
    #[arg(long, value_name = "GROUPS", default_value_t = 3)]
    least_groups: usize,
    /// Permutations of whole groups behind each p
    #[arg(long, default_value_t = 9_999, value_parser = value_parser!(u32).range(19..=1_000_000))]
    permutations: u32,
    /// Resamples of whole groups behind each interval
    #[arg(long, default_value_t = 2_000, value_parser = value_parser!(u32).range(100..=100_000))]
    resamples: u32,
    /// The same seed gives the same numbers
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl CountArgs {
    fn options(self) -> CountOptions {
        CountOptions {
            labels: LabelOptions {
                path: self.labels,
                slides: self.slides.column(),
                group: self.group,
                cut: self.cut,
                types: self.types,
                dataset: self.dataset,
            },
            method: Method {
                least_groups: self.least_groups,
                permutations: self.permutations as usize,
                resamples: self.resamples as usize,
                seed: self.seed,
            },
        }
    }
}

#[derive(Debug, clap::Args)]
struct Counts {
    /// Embeddings and features of the tiles, from `coverslip embed`
    #[arg(long, value_name = "FILE")]
    embeddings: PathBuf,
    /// The bundle that they come from: names the tap and the features
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// The embedding beside the features [default: the one that the bundle's SAE reads]
    #[arg(long)]
    tap: Option<String>,
    #[command(flatten)]
    counts: CountArgs,
    /// Also analyse so many tables in which whole groups have exchanged their counts, and count those with a discovery
    #[arg(long, value_name = "TABLES", default_value_t = 0, value_parser = value_parser!(u32).range(0..=10_000))]
    shuffles: u32,
    /// Steps in which the encoder of a frozen random decoder is trained, which stands beside the SAE; 0: none
    #[arg(long, value_name = "STEPS", default_value_t = 500, value_parser = value_parser!(u32).range(0..=100_000))]
    baseline_steps: u32,
    /// The folder to write counts.json and counts-features.csv to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Counts {
    fn options(self) -> counts::Options {
        counts::Options {
            embeddings: self.embeddings,
            bundle: self.bundle,
            tap: self.tap,
            counts: self.counts.options(),
            shuffles: self.shuffles as usize,
            baseline_steps: u64::from(self.baseline_steps),
            out: self.out,
        }
    }
}

#[derive(Debug, clap::Args)]
struct Compare {
    /// Embeddings of the first model
    a: PathBuf,
    /// Embeddings of the second model, of the same tiles
    b: PathBuf,
    /// The first model's embedding, where the file has several
    #[arg(long)]
    tap_a: Option<String>,
    /// The second model's embedding, where the file has several
    #[arg(long)]
    tap_b: Option<String>,
    /// Names of the models
    #[arg(long, value_name = "A,B", value_delimiter = ',', default_values = ["A", "B"])]
    names: Vec<String>,
    #[command(flatten)]
    counts: CountArgs,
    /// The folder to write compare.json to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Compare {
    fn options(self) -> Result<comparison::Options, WrongOption> {
        let names = <[String; 2]>::try_from(self.names)
            .map_err(|names| WrongOption(format!("--names: expected two names, A,B; found {}", names.len())))?;
        Ok(comparison::Options {
            embeddings: [self.a, self.b],
            taps: [self.tap_a, self.tap_b],
            names,
            counts: self.counts.options(),
            out: self.out,
        })
    }
}

/// `--bundle`, `--embeddings` and `--scanners` are given once for each model, in the same order.
#[derive(Debug, clap::Args)]
struct Depth {
    /// A model; once for each
    #[arg(long, value_name = "DIR", required = true)]
    bundle: Vec<PathBuf>,
    /// Its embeddings of the labelled tiles; once for each
    #[arg(long, value_name = "FILE", required = true)]
    embeddings: Vec<PathBuf>,
    /// Its embeddings of tiles from several scanners (column `scanner`), FILE,FILE where they are in several; once for
    /// each
    #[arg(long, value_name = "FILES")]
    scanners: Vec<String>,
    /// The column whose equal values stay together: the probe learns on some of them and is tested on others
    #[arg(long, value_name = "COLUMN", default_value = SLIDE)]
    scanner_group: String,
    #[command(flatten)]
    counts: CountArgs,
    /// The folder to write depth.json to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Depth {
    fn options(self) -> depth::Options {
        let files = |list: &String| list.split(',').map(PathBuf::from).collect();
        depth::Options {
            bundles: self.bundle,
            embeddings: self.embeddings,
            scanners: self.scanners.iter().map(files).collect(),
            scanner_group: self.scanner_group,
            counts: self.counts.options(),
            out: self.out,
        }
    }
}

#[derive(Debug, clap::Args)]
struct Transfer {
    /// Embeddings of the tiles to choose on
    #[arg(long, value_name = "FILE")]
    embeddings: PathBuf,
    #[command(flatten)]
    counts: CountArgs,
    /// Embeddings, by the same bundle, of the tiles to report on
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Their counts
    #[arg(long, value_name = "CSV")]
    to_labels: PathBuf,
    /// The column that makes their groups [default: as --group]
    #[arg(long, value_name = "COLUMN")]
    to_group: Option<String>,
    /// Name of their data set [default: the labels' folder]
    #[arg(long, value_name = "NAME")]
    to_dataset: Option<String>,
    /// The embedding beside the features, where the files have several
    #[arg(long)]
    tap: Option<String>,
    /// The folder to write transfer.json to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Transfer {
    fn options(self) -> transfer::Options {
        let counts = self.counts.options();
        let to_labels = LabelOptions {
            path: self.to_labels,
            group: self.to_group.unwrap_or_else(|| counts.labels.group.clone()),
            dataset: self.to_dataset,
            ..counts.labels.clone()
        };
        transfer::Options { embeddings: self.embeddings, counts, to: self.to, to_labels, tap: self.tap, out: self.out }
    }
}

#[derive(Debug, clap::Args)]
struct Features {
    /// Embeddings and features of the tiles, from `coverslip embed`
    #[arg(long, value_name = "FILE")]
    embeddings: PathBuf,
    /// The bundle that they come from, for the features' labels
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    #[command(flatten)]
    slides: SlideColumnArg,
    /// The column whose equal values make a group: top tiles come from as many groups as there are
    #[arg(long, value_name = "COLUMN", default_value = SLIDE)]
    group: String,
    /// Top tiles of each feature
    #[arg(long, default_value_t = 8, value_parser = value_parser!(u32).range(1..=64))]
    top: u32,
    /// Name of the data set
    #[arg(long, value_name = "NAME", default_value = "")]
    dataset: String,
    /// The folder to write features.json to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Features {
    fn options(self) -> features::Options {
        features::Options {
            embeddings: self.embeddings,
            bundle: self.bundle,
            slides: self.slides.column(),
            group: self.group,
            top: self.top as usize,
            dataset: self.dataset,
            out: self.out,
        }
    }
}

#[derive(Debug, clap::Args)]
struct Planted {
    /// The folder to write: one PNG per tile, and counts.csv
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Groups: tiles of one group resemble each other in cells and in staining, as those of one slide do
    #[arg(long, default_value_t = 14, value_parser = value_parser!(u32).range(2..=1000))]
    groups: u32,
    /// Tiles of each group
    #[arg(long, default_value_t = 4, value_parser = value_parser!(u32).range(1..=1000))]
    tiles: u32,
    /// Width and height of a tile, px of 0.5 µm
    #[arg(long, default_value_t = 224, value_parser = value_parser!(u32).range(64..=1024))]
    side: u32,
    /// The same seed draws the same tiles
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Planted {
    fn options(self) -> planted::Options {
        planted::Options { out: self.out, groups: self.groups, tiles: self.tiles, side: self.side, seed: self.seed }
    }
}

#[derive(Debug, clap::Args)]
struct Scanners {
    /// Embedding files of `coverslip embed`; SCANNER=FILE says which scanner all of a file's tiles are from
    #[arg(required = true, value_name = "[SCANNER=]FILE")]
    embeddings: Vec<String>,
    /// The folder that scanners.json is written to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The column that names the scanner (or the centre), where the files are not given with one
    #[arg(long, value_name = "COLUMN", default_value = SCANNER)]
    scanner: String,
    #[command(flatten)]
    slides: SlideColumnArg,
    /// The column whose tiles belong together and are never split: slides, patients, or places of one slide
    #[arg(long, value_name = "COLUMN", default_value = SLIDE)]
    group: String,
    /// A column that you added to the tables, which names the biology (organ, tumour type): for the robustness index, APD and
    /// clustering
    #[arg(long, value_name = "COLUMN")]
    biology: Option<String>,
    /// A column that you added to the tables, which is the same for the same place on several scanners: for retrieval
    #[arg(long, value_name = "COLUMN")]
    pair: Option<String>,
    /// Only these taps [default: all]
    #[arg(long = "tap", value_name = "NAME")]
    taps: Vec<String>,
    /// Neighbours of the robustness index [default: 50, at most a tenth of the tiles]
    #[arg(long, value_name = "K", value_parser = value_parser!(u32).range(1..=10_000))]
    k: Option<u32>,
    /// Bootstraps of slides for the robustness index's interval
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = value_parser!(u32).range(0..=100_000))]
    bootstraps: u32,
    /// Folds of whole groups, for probes and corrections
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = value_parser!(u32).range(2..=1000))]
    folds: u32,
    /// The same seed gives the same numbers
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Scanners {
    fn options(self) -> scanners::Options {
        let file = |given: &String| match given.split_once('=') {
            Some((scanner, path)) if !scanner.contains(['/', '\\']) => (Some(scanner.to_owned()), path.into()),
            _ => (None, given.into()),
        };
        scanners::Options {
            files: self.embeddings.iter().map(file).collect(),
            out: self.out,
            slides: self.slides.column(),
            columns: Columns { scanner: self.scanner, group: self.group, biology: self.biology, pair: self.pair },
            taps: self.taps,
            k: self.k.map(|k| k as usize),
            bootstraps: self.bootstraps as usize,
            folds: self.folds as usize,
            seed: self.seed,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    /// Whether the words are options that are taken.
    fn taken(words: &str) -> bool {
        Command::try_parse_from(["analyze"].into_iter().chain(words.split(' '))).is_ok_and(|command| {
            let Command { args: Args { analysis } } = command;
            matches!(analysis, Analysis::Counts(_) | Analysis::Scanners(_))
        })
    }

    #[test]
    fn how_often_something_is_repeated_has_a_limit() {
        let (counts, scanners) = ("counts --embeddings e --labels l --out o", "scanners e --out o");
        let cases = [
            (counts, "shuffles", 10_000),
            (counts, "baseline-steps", 100_000),
            (counts, "permutations", 1_000_000),
            (counts, "resamples", 100_000),
            (scanners, "bootstraps", 100_000),
        ];
        for (command, option, most) in cases {
            assert!(taken(&format!("{command} --{option} {most}")), "{option} {most}");
            for beyond in [most + 1, u64::MAX] {
                assert!(!taken(&format!("{command} --{option} {beyond}")), "{option} {beyond}");
            }
        }
        for none in [format!("{counts} --shuffles 0 --baseline-steps 0"), format!("{scanners} --bootstraps 0")] {
            assert!(taken(&none), "{none}");
        }
    }
}
