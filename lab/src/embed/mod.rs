//! `coverslip embed`: the embeddings of every tap for tiles, images and slides, through the plugin as a host.

pub(crate) mod inputs;
mod unit;

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use coverslip_bundle::Manifest;

use crate::embeddings::{TapInfo, Writer};
use crate::engine_args::EngineArgs;
use crate::host::{Library, Runtime};
use crate::locate;
use crate::scan::{Line, bundle_path};
use unit::{Done, Session};

/// What `coverslip embed` takes.
#[derive(clap::Args, Debug, Clone)]
pub(crate) struct Args {
    /// Slides, images, and directories of these
    #[arg(required = true)]
    inputs: Vec<PathBuf>,
    /// The model [default: bundles/demo of the workspace or of the installation]
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// The file to write: .safetensors (with a .csv beside it) or .parquet. A run that was cut off goes on
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replace a file that is there already, and the .csv beside it
    #[arg(long)]
    force: bool,
    /// Which part of an image is a tile
    #[arg(long, value_enum, default_value_t = Field::Grid)]
    field: Field,
    /// Micrometres per pixel; overrides what the files say
    #[arg(long, value_name = "UM")]
    mpp: Option<f64>,
    /// Take inputs that are more than 10 % coarser than the model, and enlarge their pixels
    #[arg(long)]
    stretch: bool,
    /// Embed tiles without tissue too
    #[arg(long)]
    background: bool,
    /// Images `SLIDE<SEPARATOR>REST.png` belong to SLIDE: what stands before the last separator [default: each image is a
    /// slide of its own]
    #[arg(long, value_name = "SEPARATOR")]
    slide_separator: Option<String>,
    /// Name of the scanner, for the column `scanner`
    #[arg(long, value_name = "NAME", default_value = "")]
    scanner: String,
    /// The shared library [default: the one built together with this command]
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArgs,
    /// Threads of the engine [default: one per CPU]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    threads: u32,
}

/// Which part of an image the model sees as a tile.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    /// The model's own field of view, side by side; what is left at the edges is left out
    Grid,
    /// Each image as a whole, whatever it shows: the column `mpp` says what the model then sees
    Tile,
}

/// Between two commits.
const COMMIT: Duration = Duration::from_secs(5);

/// Embeds everything; the exit code is 130 after Ctrl-C.
pub(crate) fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    if let Some(mpp) = args.mpp.filter(|mpp| !coverslip_slides::MPP_RANGE.contains(mpp)) {
        return Err(format!("--mpp: expected 0.01 to 100 micrometres per pixel, found {mpp}").into());
    }
    let inputs = inputs::list(&args.inputs)?;
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    // Fails only where a handler exists already; then Ctrl-C ends the process, and the last commit is intact.
    let _ = ctrlc::set_handler(move || flag.store(true, Ordering::SeqCst));
    let library = Library::load(&locate::library(args.library.as_deref())?)?;
    let bundle = bundle_path(args.bundle.as_deref())?;
    let runtime = Runtime::open(&library, &bundle, None, &args.engine, args.threads, |_, _| true)?;
    let info = runtime.info()?;
    let manifest: Manifest = serde_json::from_slice(&std::fs::read(bundle.join("manifest.json"))?)?;
    let taps = manifest.taps.iter().map(|tap| TapInfo { name: tap.name.clone(), width: manifest.tap_width(tap) });
    let (key, k) = (key(&args, &info.bundle_digest), info.features_per_tile as usize);
    let mut writer = Writer::open(&args.out, taps.collect(), k, &key, args.force)?;
    let session = Session { args: &args, runtime: &runtime, info: &info, stop: &stop };

    let to_do: Vec<&PathBuf> = inputs.iter().filter(|path| !writer.has(&path.display().to_string())).collect();
    let resumed = writer.tiles();
    let mut progress = Progress { line: Line::new(), begun: Instant::now(), inputs: to_do.len() };
    let mut done = Done::default();
    let (mut committed, mut waiting) = (Instant::now(), Vec::new());
    for (at, path) in to_do.iter().enumerate() {
        let found = session.embed(path, |part, tiles| progress.show(at as f64 + part, writer.tiles() + tiles))?;
        if stop.load(Ordering::SeqCst) {
            break;
        }
        for record in &found.records {
            writer.push(record)?;
        }
        done.add(&found);
        waiting.push(path.display().to_string());
        if committed.elapsed() > COMMIT {
            writer.commit(waiting.drain(..))?;
            committed = Instant::now();
        }
    }
    writer.commit(waiting)?;
    progress.line.clear();
    runtime.close(Duration::from_secs(10))?;
    let mut out = std::io::stdout().lock();
    if stop.load(Ordering::SeqCst) {
        writeln!(out, "stopped after {} tiles; the same command goes on from there", writer.tiles())?;
        return Ok(ExitCode::from(130));
    }
    if writer.tiles() == 0 {
        return Err(done.nothing(args.field).into());
    }
    let tiles = writer.finish()?;
    writeln!(out, "{}: {tiles} tiles ({resumed} of an earlier run), {}", args.out.display(), done.left_out())?;
    Ok(ExitCode::SUCCESS)
}

/// What has to be the same for a run to go on.
fn key(args: &Args, digest: &[u8; 32]) -> String {
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "bundle {digest}, --field {:?}, --mpp {:?}, --stretch {}, --background {}, --slide-separator {:?}, --scanner {:?}, {:?}",
        args.field, args.mpp, args.stretch, args.background, args.slide_separator, args.scanner, args.engine
    )
}

/// The line with the time left.
struct Progress {
    line: Line,
    begun: Instant,
    inputs: usize,
}

impl Progress {
    /// `inputs`: how many are done, with the part of the one that is at work.
    fn show(&mut self, inputs: f64, tiles: usize) {
        let part = (inputs / self.inputs.max(1) as f64).clamp(0.0, 1.0);
        let elapsed = self.begun.elapsed().as_secs_f64();
        let left = if part > 0.0 { elapsed / part * (1.0 - part) } else { f64::NAN };
        let width = 30;
        let filled = (part * width as f64).round() as usize;
        let left = if left.is_finite() { clock(left) } else { "--:--".into() };
        self.line.show(&format!(
            "[{}{}] {:3.0} % | {tiles} tiles | {left} left | Ctrl-C stops",
            "#".repeat(filled),
            ".".repeat(width - filled),
            part * 100.0
        ));
    }
}

/// Seconds as h:mm:ss, or m:ss.
fn clock(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_is_readable() {
        assert_eq!((clock(59.6).as_str(), clock(3661.0).as_str(), clock(0.0).as_str()), ("1:00", "1:01:01", "0:00"));
    }
}
