//! `coverslip embed`: the embeddings of every tap for tiles, images and slides, through the plugin as a host.

mod done;
mod embedder;
mod grid;
mod inputs;
mod time_left;

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use coverslip_bundle::{Digest, MANIFEST_FILE, Manifest};
use coverslip_plugin_abi as abi;
use serde_json::{Value, json};

use crate::embeddings::{TapInfo, Writer};
use crate::host::{EngineChoice, Session, Setup};
use crate::resume;
use crate::term::stop_flag;
use done::Done;
use embedder::Embedder;
pub(crate) use embedder::Naming;
pub(crate) use grid::{Cutting, Field};
use time_left::TimeLeft;

/// What is embedded, how, and where it goes.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Slides, images and directories of these.
    pub(crate) inputs: Vec<PathBuf>,
    /// The file to write.
    pub(crate) out: PathBuf,
    /// Whether a finished file is replaced.
    pub(crate) force: bool,
    pub(crate) cutting: Cutting,
    /// Whether tiles without tissue are embedded.
    pub(crate) background: bool,
    pub(crate) naming: Naming,
    pub(crate) setup: Setup,
}

/// Between two commits.
const COMMIT: Duration = Duration::from_secs(5);

/// Embeds everything. False: it was stopped by Ctrl-C.
///
/// # Errors
/// Where an input, the bundle or the file to write cannot be used, or there is not one tile.
pub(crate) fn run(request: &Request) -> Result<bool, Box<dyn Error>> {
    let inputs = inputs::list(&request.inputs)?;
    let stop = stop_flag();
    let session = request.setup.open(|_, _| true)?;
    let mut writer = writer(request, &session)?;
    let resumed = writer.tiles();
    let done = embed(request, &session, &inputs, &mut writer, &stop)?;
    session.close()?;
    let mut out = std::io::stdout().lock();
    if stop.load(Ordering::SeqCst) {
        writeln!(out, "stopped after {} tiles; the same command goes on from there", writer.tiles())?;
        return Ok(false);
    }
    if writer.tiles() == 0 {
        return Err(done.nothing(request.cutting.field).into());
    }
    let tiles = writer.finish()?;
    writeln!(out, "{}: {tiles} tiles ({resumed} of an earlier run), {}", request.out.display(), done.left_out())?;
    Ok(true)
}

/// Begins the file, or goes on with one that was cut off.
fn writer(request: &Request, session: &Session) -> Result<Writer, Box<dyn Error>> {
    let manifest: Manifest = serde_json::from_slice(&std::fs::read(session.bundle.join(MANIFEST_FILE))?)?;
    let taps = manifest.taps.iter().map(|tap| TapInfo { name: tap.name.clone(), width: manifest.tap_width(tap) });
    let (key, k) = (key(request, &session.info.bundle_digest), session.info.features_per_tile as usize);
    Ok(Writer::open(&request.out, taps.collect(), k, &key, request.force)?)
}

/// Embeds the inputs that an earlier run left, and commits every few seconds. Ends early where `stop` is set.
fn embed(
    request: &Request,
    session: &Session,
    inputs: &[PathBuf],
    writer: &mut Writer,
    stop: &AtomicBool,
) -> Result<Done, Box<dyn Error>> {
    let Request { cutting, naming, background, .. } = request;
    let embedder = Embedder { session, cutting, naming, background: *background, stop };
    let to_do: Vec<&PathBuf> = inputs.iter().filter(|path| !writer.has(&path.display().to_string())).collect();
    let mut time_left = TimeLeft::new(to_do.len(), writer.tiles());
    let mut done = Done::default();
    let (mut committed, mut waiting) = (Instant::now(), Vec::new());
    for path in to_do {
        let found = embedder.embed(path, &mut time_left)?;
        if stop.load(Ordering::SeqCst) {
            break;
        }
        for record in &found.records {
            writer.push(record)?;
        }
        time_left.input_done(writer.tiles());
        done.add(&found);
        waiting.push(path.display().to_string());
        if committed.elapsed() > COMMIT {
            writer.commit(waiting.drain(..))?;
            committed = Instant::now();
        }
    }
    writer.commit(waiting)?;
    time_left.clear();
    Ok(done)
}

/// What has to be the same for a run to go on.
fn key(request: &Request, bundle: &[u8; 32]) -> String {
    let Request { cutting, naming, background, setup, .. } = request;
    let EngineChoice { engine, tensorrt_library, plans, precision, max_batch } = &setup.engine;
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    resume::key(&[
        ("bundle", json!(Digest(*bundle).to_string())),
        (
            "field",
            json!(match cutting.field {
                Field::Grid => "grid",
                Field::Tile => "tile",
            }),
        ),
        ("mpp", json!(cutting.mpp)),
        ("stretch", json!(cutting.stretch)),
        ("background", json!(background)),
        ("slide_separator", json!(naming.slide_separator)),
        ("scanner", json!(naming.scanner)),
        ("engine", engine_name(*engine)),
        ("tensorrt_library", json!(path(tensorrt_library))),
        ("plans", json!(path(plans))),
        ("precision", precision_name(*precision)),
        ("max_batch", json!(max_batch)),
    ])
}

fn engine_name(engine: i32) -> Value {
    match engine {
        abi::ENGINE_CPU => json!("cpu"),
        abi::ENGINE_AUTO => json!("auto"),
        abi::ENGINE_TENSORRT => json!("tensorrt"),
        other => json!(other),
    }
}

fn precision_name(precision: i32) -> Value {
    match precision {
        abi::PRECISION_FLOAT32 => json!("float32"),
        abi::PRECISION_FLOAT16 => json!("float16"),
        abi::PRECISION_BFLOAT16 => json!("bfloat16"),
        other => json!(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key is in the journals of runs that were cut off. Where this text has to change, so has its version.
    #[test]
    fn the_key_is_the_one_of_its_version() {
        let mut request = Request {
            inputs: vec!["a.svs".into()],
            out: "e.parquet".into(),
            force: true,
            cutting: Cutting { field: Field::Grid, mpp: None, stretch: false },
            background: false,
            naming: Naming { slide_separator: None, scanner: String::new() },
            setup: Setup {
                engine: EngineChoice {
                    engine: abi::ENGINE_CPU,
                    precision: abi::PRECISION_FLOAT16,
                    ..EngineChoice::default()
                },
                ..Setup::default()
            },
        };
        let bundle = "ab".repeat(32);
        assert_eq!(
            key(&request, &[0xab; 32]),
            format!(
                "v2: bundle=\"{bundle}\", field=\"grid\", mpp=null, stretch=false, background=false, \
                 slide_separator=null, scanner=\"\", engine=\"cpu\", tensorrt_library=null, plans=null, \
                 precision=\"float16\", max_batch=0"
            )
        );
        request.cutting = Cutting { field: Field::Tile, mpp: Some(0.25), stretch: true };
        request.background = true;
        request.naming = Naming { slide_separator: Some("_".into()), scanner: "lab, 1".into() };
        request.setup.engine = EngineChoice {
            engine: abi::ENGINE_TENSORRT,
            tensorrt_library: Some("/lib/libnvinfer.so.11".into()),
            plans: Some("/plans".into()),
            precision: abi::PRECISION_BFLOAT16,
            max_batch: 64,
        };
        assert_eq!(
            key(&request, &[0xab; 32]),
            format!(
                "v2: bundle=\"{bundle}\", field=\"tile\", mpp=0.25, stretch=true, background=true, \
                 slide_separator=\"_\", scanner=\"lab, 1\", engine=\"tensorrt\", \
                 tensorrt_library=\"/lib/libnvinfer.so.11\", plans=\"/plans\", precision=\"bfloat16\", max_batch=64"
            )
        );
    }
}
