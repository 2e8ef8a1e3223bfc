//! `coverslip scan`.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use coverslip_plugin_abi as abi;

use super::options::{EngineArgs, SlideArgs, checked_mpp};
use super::trust::TrustArgs;
use super::wrong_option::WrongOption;
use crate::host::Setup;
use crate::play::{Layout, Settings};
use crate::scan::{self, Ending, Scan};

#[derive(clap::Args, Debug, Clone)]
pub(super) struct Args {
    /// TIFF, BigTIFF, SVS, OME-TIFF, Philips TIFF, PNG, JPEG, a directory of tiles, or what OpenSlide reads where it is
    /// installed; or generated:1 to generated:1000, good H&E-like slides that are computed [default: a generated slide with
    /// two faults]
    slide: Option<PathBuf>,
    /// The directory for tiles.parquet, slide.json, qc.geojson and overview.png
    #[arg(long, value_name = "DIR", default_value = "out")]
    out: PathBuf,
    /// The model [default: bundles/demo of the workspace or of the installation]
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// The shared library [default: the one built together with this command]
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
    /// Micrometres per pixel; overrides the file
    #[arg(long, value_name = "UM")]
    mpp: Option<f64>,
    /// Take a slide that is more than 10 % coarser than the model, and enlarge its pixels
    #[arg(long)]
    stretch: bool,
    /// What the scanner hands over: tiles, camera fields with 10 % overlap, or strips as wide as the slide
    #[arg(long, value_enum, default_value_t = Layout::Tiles)]
    frames: Layout,
    /// Pixels: a tile's side, a field's side or a strip's height [default: 512, 2048, 128; of a directory its images, in
    /// parts where they are larger than 4096]
    #[arg(long, value_name = "PX", value_parser = clap::value_parser!(u32).range(16..=8192))]
    frame_size: Option<u32>,
    /// Pace of the scanner in tiles of the model's grid per second [default: as fast as the plugin takes them]
    #[arg(long, value_name = "TILES_PER_S")]
    rate: Option<f64>,
    /// With --rate: frames that the scanner can hold back and submit again when the plugin is busy. With 0 such a
    /// frame is lost
    #[arg(long, value_name = "N", default_value_t = 16)]
    hold: usize,
    /// Write every tile's embedding into tiles.parquet
    #[arg(long)]
    embeddings: bool,
    #[command(flatten)]
    which: SlideArgs,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    engine: EngineArgs,
    /// Threads of the engine [default: one per CPU]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    threads: Option<u32>,
    /// False-alarm level of calibrated flags
    #[arg(long, default_value_t = 0.01)]
    alpha: f64,
    /// The slide's stain: of H&E, what is outside tissue's colours is FOREIGN with a profile and without
    #[arg(long, value_enum, default_value = "unknown")]
    stain: Stain,
    /// The scanner's profile, made by `coverslip profile build` [default: none; for the generated slide of no SLIDE, the one
    /// of its scanner beside the demo bundle]
    #[arg(long, value_name = "DIR")]
    profile: Option<PathBuf>,
    /// The name by which the profile knows the scanner [default: the only one in the profile]
    #[arg(long, value_name = "ID")]
    scanner: Option<String>,
    /// End with 0 if nothing is wrong, with 3 if an alert or more flags than expected ask for a look, with 4 if
    /// nothing is wrong but something was not checked against a profile. Without this option a slide that was scanned
    /// ends with 0. Always: 1 for an error, 2 for wrong options, 130 after Ctrl-C
    #[arg(long)]
    exit_code: bool,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Stain {
    Unknown,
    He,
    HDab,
    Other,
}

impl Stain {
    /// `COVERSLIP_STAIN_*`.
    fn code(self) -> i32 {
        match self {
            Stain::Unknown => abi::STAIN_UNKNOWN,
            Stain::He => abi::STAIN_HE,
            Stain::HDab => abi::STAIN_H_DAB,
            Stain::Other => abi::STAIN_OTHER,
        }
    }
}

pub(super) fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let tell = args.exit_code;
    Ok(match scan::run(&wanted(args)?)? {
        Ending::Stopped => ExitCode::from(130),
        Ending::Wrong if tell => ExitCode::from(3),
        Ending::Incomplete if tell => ExitCode::from(4),
        Ending::Wrong | Ending::Incomplete | Ending::Good => ExitCode::SUCCESS,
    })
}

fn wanted(args: Args) -> Result<Scan, Box<dyn Error>> {
    let mpp = checked_mpp(args.mpp)?;
    if let Some(rate) = args.rate.filter(|rate| !(rate.is_finite() && *rate > 0.0)) {
        return Err(WrongOption(format!("--rate: expected tiles per second above 0, found {rate}")).into());
    }
    if !(args.alpha > 0.0 && args.alpha < 0.5) {
        return Err(WrongOption(format!("--alpha: expected a level between 0 and 0.5, found {}", args.alpha)).into());
    }
    Ok(Scan {
        slide: args.slide,
        out: args.out,
        selection: args.which.selection(),
        mpp,
        scanner: args.scanner,
        setup: Setup {
            library: args.library,
            bundle: args.bundle,
            profile: args.profile,
            trust: args.trust.trust()?,
            engine: args.engine.choice(),
            threads: args.threads.unwrap_or(0),
        },
        settings: Settings {
            layout: args.frames,
            frame_size: args.frame_size,
            rate: args.rate,
            hold: args.hold,
            embeddings: args.embeddings,
            stretch: args.stretch,
            alpha: args.alpha,
            stain: args.stain.code(),
        },
    })
}
