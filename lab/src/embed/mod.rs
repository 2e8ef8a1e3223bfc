//! `coverslip embed`: the embeddings of every tap for tiles, images and slides, through the plugin as a host.

mod colour;
mod done;
mod embedder;
mod grid;
mod inputs;
mod key;
mod request;
mod rows;
mod time_left;

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use coverslip_files::Claim;

use crate::claim::{self, said};
use crate::embeddings::{InputState, Writer};
use crate::host::Session;
use crate::term::stop_flag;
use done::Done;
use embedder::Embedder;
use rows::Rows;
use time_left::TimeLeft;

pub(crate) use embedder::Naming;
pub(crate) use grid::{Cutting, Field};
pub(crate) use request::Request;
pub(crate) use rows::TokensAsked;

/// Between two commits.
const COMMIT: Duration = Duration::from_secs(5);

/// Embeds everything. False: it was stopped by Ctrl-C.
///
/// # Errors
/// Where an input, the bundle or the file to write cannot be used, or there is not one tile.
pub(crate) fn run(request: &Request) -> Result<bool, Box<dyn Error>> {
    let inputs = inputs::list(&request.inputs)?;
    let stop = stop_flag();
    let claim = claim::beside(&request.out)?;
    let session = request.setup.open(|_, _| true)?;
    let rows = rows(request, &session)?;
    let mut writer = writer(request, claim, &session, &rows)?;
    let to_do = to_do(&inputs, &mut writer)?;
    let resumed = writer.tiles();
    let done = embed(request, (&session, &rows), to_do, &mut writer, &stop)?;
    session.close()?;
    let mut out = crate::term::screen();
    if stop.load(Ordering::SeqCst) {
        writeln!(out, "stopped after {} {}; the same command goes on from there", writer.tiles(), rows.title())?;
        return Ok(false);
    }
    if writer.tiles() == 0 {
        // A journal without tiles would only be in the way of the corrected command.
        writer.discard();
        return Err(done.nothing(request.cutting.field).into());
    }
    let tiles = writer.finish()?;
    writeln!(
        out,
        "{}: {tiles} {} ({resumed} of an earlier run), {}",
        request.out.display(),
        rows.title(),
        done.left_out()
    )?;
    Ok(true)
}

/// What the rows are, by the bundle's manifest.
fn rows(request: &Request, session: &Session) -> Result<Rows, Box<dyn Error>> {
    Ok(Rows::new(&session.manifest()?, request.tokens.as_ref(), session.info.features_per_tile as usize)?)
}

/// Begins the file, or goes on with one that was cut off.
fn writer(request: &Request, claim: Claim, session: &Session, rows: &Rows) -> Result<Writer, Box<dyn Error>> {
    let key = key::of(request, &session.info.bundle_digest);
    let mut writer = Writer::open(claim, rows.content.clone(), &key, request.force)?;
    said(&writer.notes());
    Ok(writer)
}

/// An input that is to be embedded, and what it is now.
struct ToDo<'p> {
    path: &'p Path,
    name: String,
    state: InputState,
}

/// The inputs that an earlier run left, and those that were replaced since it embedded them.
fn to_do<'p>(inputs: &'p [PathBuf], writer: &mut Writer) -> Result<Vec<ToDo<'p>>, String> {
    let mut to_do = Vec::new();
    for path in inputs {
        let name = inputs::shown_as(path);
        let state = InputState::of(path).map_err(|error| format!("{name}: could not be read: {error}"))?;
        match writer.written(&name) {
            Some(then) if *then == state => continue,
            Some(_) => {
                said(&[format!("{name}: was replaced since an earlier run embedded it; it is embedded again")]);
                writer.forget(&name);
            }
            None => {}
        }
        to_do.push(ToDo { path, name, state });
    }
    Ok(to_do)
}

/// Embeds the inputs and commits every few seconds. Ends early where `stop` is set.
fn embed(
    request: &Request,
    (session, rows): (&Session, &Rows),
    to_do: Vec<ToDo<'_>>,
    writer: &mut Writer,
    stop: &AtomicBool,
) -> Result<Done, Box<dyn Error>> {
    let Request { cutting, naming, background, .. } = request;
    let embedder = Embedder { session, cutting, naming, rows, background: *background, stop };
    let mut time_left = TimeLeft::new(to_do.len(), writer.tiles() / rows.per_tile());
    let mut done = Done::default();
    let mut committed = Instant::now();
    for ToDo { path, name, state } in to_do {
        let found = embedder.embed(path, &mut time_left)?;
        if stop.load(Ordering::SeqCst) {
            break;
        }
        for record in &found.records {
            writer.push(record)?;
        }
        time_left.input_done(writer.tiles() / rows.per_tile());
        done.add(&found);
        writer.end(&name, state)?;
        if committed.elapsed() > COMMIT {
            writer.commit()?;
            committed = Instant::now();
        }
    }
    writer.commit()?;
    time_left.clear();
    Ok(done)
}
