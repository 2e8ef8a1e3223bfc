//! `coverslip scan`: the reference host. Plays a slide in scan order and writes what the plugin says about it.

mod collect;
mod field;
mod frames;
mod names;
mod play;
pub(crate) mod progress;
mod thumbnail;

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) use collect::{Collected, Tile};
pub(crate) use field::FieldOfView;
pub(crate) use frames::Layout;
pub(crate) use names::{ALERTS_BY_URGENCY, Class, FLAGS, STATUSES, alert_name, all_classes, class_of, status_name};
#[cfg(test)]
pub(crate) use play::Submission;
pub(crate) use play::{Played, Settings, alert_line, play};
pub(crate) use progress::Line;
pub(crate) use thumbnail::Thumbnail;

use coverslip_profile::{Calibration, Check, Profile};

use crate::engine_args::EngineArgs;
use crate::host::{Library, Runtime};
use crate::locate;
use crate::output::{self, Report, Verdict};
use coverslip_slides::{self, Mpp, SlideSource, SourceError};

/// What `coverslip scan` takes.
#[derive(clap::Args, Debug, Clone)]
pub(crate) struct Args {
    /// TIFF, BigTIFF, SVS, OME-TIFF, PNG, JPEG or a directory of tiles [default: a generated H&E-like slide]
    pub(crate) slide: Option<PathBuf>,
    /// Where tiles.parquet, slide.json, qc.geojson and overview.png go
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub(crate) out: PathBuf,
    /// The model [default: bundles/demo of the workspace or of the installation]
    #[arg(long, value_name = "DIR")]
    pub(crate) bundle: Option<PathBuf>,
    /// The shared library [default: the one built together with this command]
    #[arg(long, value_name = "FILE")]
    pub(crate) library: Option<PathBuf>,
    /// Micrometres per pixel; overrides what the file says
    #[arg(long, value_name = "UM")]
    pub(crate) mpp: Option<f64>,
    /// Take a slide that is more than 10 % coarser than the model, and enlarge its pixels
    #[arg(long)]
    pub(crate) stretch: bool,
    /// What the scanner hands over: tiles, camera fields with 10 % overlap, or strips as wide as the slide
    #[arg(long, value_enum, default_value_t = Layout::Tiles)]
    pub(crate) frames: Layout,
    /// Pixels: a tile's side [512], a field's side [2048], a strip's height [128]
    #[arg(long, value_name = "PX", value_parser = clap::value_parser!(u32).range(16..=8192))]
    pub(crate) frame_size: Option<u32>,
    /// Pace of the scanner in tiles of the model's grid per second [default: as fast as the plugin takes them]
    #[arg(long, value_name = "TILES_PER_S")]
    pub(crate) rate: Option<f64>,
    /// With --rate: frames that the scanner can hold back and submit again when the plugin is busy; 0: such a
    /// frame is lost
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub(crate) hold: usize,
    /// Write every tile's embedding into tiles.parquet
    #[arg(long)]
    pub(crate) embeddings: bool,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    /// Threads of the engine [default: one per CPU]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub(crate) threads: u32,
    /// False-alarm level of calibrated flags
    #[arg(long, default_value_t = 0.01)]
    pub(crate) alpha: f64,
    /// The scanner's profile, made by `coverslip profile build`
    #[arg(long, value_name = "DIR")]
    pub(crate) profile: Option<PathBuf>,
    /// The name by which the profile knows the scanner [default: the only one in the profile]
    #[arg(long, value_name = "ID")]
    pub(crate) scanner: Option<String>,
    /// End with 0 where nothing is wrong, 3 where an alert or more flags than expected ask for a look, 4 where
    /// nothing is wrong but something was not checked against a profile. Without it a slide that was scanned
    /// ends with 0. Always: 1 for an error, 2 for wrong options, 130 after Ctrl-C
    #[arg(long)]
    pub(crate) exit_code: bool,
}

/// Plays a slide; the exit code is 130 after Ctrl-C.
pub(crate) fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    check(&args)?;
    let mut source = open_source(&args)?;
    let mpp = resolution(&args, source.as_ref())?;
    let outputs = output::prepare(&args.out)?;
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    // Fails only where a handler exists already; then Ctrl-C ends the process, and only temporary files are left.
    let _ = ctrlc::set_handler(move || flag.store(true, Ordering::SeqCst));

    let library = Library::load(&locate::library(args.library.as_deref())?)?;
    let bundle = bundle_path(args.bundle.as_deref())?;
    let mut opening = progress::Line::new();
    let opened = std::time::Instant::now();
    let profile = args.profile.as_deref();
    let runtime = Runtime::open(&library, &bundle, profile, &args.engine, args.threads, |stage, fraction| {
        opening.show(&format!("{} {:3.0} %", names::stage_name(stage), fraction * 100.0));
        !stop.load(Ordering::SeqCst)
    })?;
    opening.clear();
    let open_seconds = opened.elapsed().as_secs_f64();
    let info = runtime.info()?;
    let levels = Levels::of(&args)?;
    let played = play(&settings(&args, &levels), &runtime, &info, source.as_mut(), &mpp, &stop)?;
    let report = Report::new(&args, source.info(), &mpp, &library, &bundle, &runtime, &info, &played, open_seconds)?;
    runtime.close(std::time::Duration::from_secs(10))?;

    let files = output::write_all(outputs, &report, &played)?;
    let mut stdout = std::io::stdout().lock();
    let verdict = Verdict::new(&played, |bit| levels.at(bit));
    for line in output::closing_lines(&report, &played, &files).iter().chain(&verdict.lines) {
        writeln!(stdout, "{line}")?;
    }
    played.conservation()?;
    if let Some(error) = &played.error {
        return Err(format!("the slide was not scanned to its end: {error}").into());
    }
    Ok(match (stop.load(Ordering::SeqCst), args.exit_code) {
        (true, _) => ExitCode::from(130),
        (false, true) if verdict.wrong => ExitCode::from(3),
        (false, true) if !verdict.complete => ExitCode::from(4),
        _ => ExitCode::SUCCESS,
    })
}

/// The false-alarm levels that a scanner's checks run at.
struct Levels {
    scanner_id: String,
    alpha: f64,
    calibration: Option<BTreeMap<Check, Calibration>>,
}

impl Levels {
    /// Of the scanner that `--scanner` names, or of the only one in the profile.
    fn of(args: &Args) -> Result<Levels, Box<dyn Error>> {
        let nobody = || "coverslip-lab".to_owned();
        let named = args.scanner.clone();
        let Some(path) = &args.profile else {
            return Ok(Levels { scanner_id: named.unwrap_or_else(nobody), alpha: args.alpha, calibration: None });
        };
        let (profile, _) = Profile::open(path)?;
        let ids: Vec<&str> = profile.scanners.iter().map(|scanner| scanner.id.as_str()).collect();
        let scanner_id = match (named, ids.as_slice()) {
            (Some(named), _) => named,
            (None, [only]) => (*only).to_owned(),
            (None, _) => {
                return Err(format!(
                    "--scanner: expected one of the profile's scanners ({}), found none",
                    ids.join(", ")
                )
                .into());
            }
        };
        let calibration = profile.scanner(&scanner_id).map(|scanner| scanner.calibration.clone());
        Ok(Levels { scanner_id, alpha: args.alpha, calibration })
    }

    /// The level of the check with this bit: what was asked for, or more where few tiles calibrate it.
    fn at(&self, bit: usize) -> f64 {
        let check = Check::ALL.get(bit);
        let calibration = self.calibration.as_ref().zip(check).and_then(|(all, check)| all.get(check));
        calibration.map_or(self.alpha, |calibration| calibration.supported(self.alpha))
    }
}

fn settings(args: &Args, levels: &Levels) -> Settings {
    Settings {
        scanner_id: levels.scanner_id.clone(),
        layout: args.frames,
        frame_size: args.frame_size,
        rate: args.rate,
        hold: args.hold,
        embeddings: args.embeddings,
        stretch: args.stretch,
        alpha: args.alpha,
        tell_alerts: true,
    }
}

fn check(args: &Args) -> Result<(), Box<dyn Error>> {
    if let Some(mpp) = args.mpp
        && !coverslip_slides::MPP_RANGE.contains(&mpp)
    {
        return Err(format!("--mpp: expected 0.01 to 100 micrometres per pixel, found {mpp}").into());
    }
    if let Some(rate) = args.rate
        && !(rate.is_finite() && rate > 0.0)
    {
        return Err(format!("--rate: expected tiles per second above 0, found {rate}").into());
    }
    if !(args.alpha > 0.0 && args.alpha < 0.5) {
        return Err(format!("--alpha: expected a level between 0 and 0.5, found {}", args.alpha).into());
    }
    Ok(())
}

fn open_source(args: &Args) -> Result<Box<dyn SlideSource>, SourceError> {
    match &args.slide {
        Some(path) => coverslip_slides::open(path),
        None => Ok(Box::new(coverslip_slides::generated::GeneratedSlide::new())),
    }
}

/// `--mpp` first, then the file's own word.
fn resolution(args: &Args, source: &dyn SlideSource) -> Result<Mpp, SourceError> {
    if let Some(mpp) = args.mpp {
        return Ok(Mpp { x: mpp, y: mpp, source: "--mpp".into() });
    }
    let info = source.info();
    info.mpp.clone().ok_or_else(|| {
        SourceError(format!(
            "{}: expected micrometres per pixel in the file, found none ({}). Give them with --mpp, for example \
             --mpp 0.5 for 20x or --mpp 0.25 for 40x",
            info.name,
            info.mpp_missing.as_deref().unwrap_or("no tag says it")
        ))
    })
}

/// `bundles/demo` above the executable (a workspace), in the workspace this was compiled in, or as installed.
pub(crate) fn bundle_path(given: Option<&Path>) -> Result<PathBuf, Box<dyn Error>> {
    if let Some(path) = given {
        return Ok(path.into());
    }
    let executable = std::env::current_exe()?;
    let above = executable.ancestors().skip(1).map(|folder| folder.join("bundles/demo"));
    let compiled = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bundles/demo");
    let installed = executable.ancestors().nth(2).map(|prefix| prefix.join("share/coverslip/bundles/demo"));
    above.chain([compiled]).chain(installed).find(|path| path.join("manifest.json").is_file()).ok_or_else(|| {
        "expected the demo bundle in bundles/demo, found none. Run this inside the workspace or give a bundle with \
         --bundle"
            .into()
    })
}
