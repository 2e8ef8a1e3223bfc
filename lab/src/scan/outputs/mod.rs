//! The files of a scan: tiles.parquet, slide.json, qc.geojson and overview.png, all of them or none.

mod canvas;
mod class;
#[cfg(test)]
pub(super) mod fabricated;
mod geojson;
mod heat;
mod overview;
mod pandas;
mod scanned;
mod slide_json;
mod table;
mod thumbnail;

use std::error::Error;
use std::fs;
use std::io::{BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use coverslip_files::{Claim, FileSet};
use serde::Deserialize;
use serde_json::Value;

pub(super) use scanned::{Scanned, UsedProfile, strongest};
pub(super) use slide_json::value as slide_json;
pub(super) use thumbnail::Thumbnail;

use coverslip_plugin_abi::names::{FLAGS, STATUSES};

use crate::claim::expect_unread;
use crate::play::alert_line;
use crate::term::{bytes, wrapped};

/// The files, in the order in which they are written.
const TILES: &str = "tiles.parquet";
const SLIDE: &str = "slide.json";
const QC: &str = "qc.geojson";
const OVERVIEW: &str = "overview.png";
const NAMES: [&str; 4] = [TILES, SLIDE, QC, OVERVIEW];
/// Longest slide.json that is looked into, bytes.
const MOST_REPORT: u64 = 1 << 30;

/// The output folder with a draft of every file. The files of an earlier scan are replaced, and no others.
///
/// # Errors
/// Where the folder cannot be written, or one of the files is the slide or no scan's; says what to do.
pub(super) fn prepare<'c>(claim: &'c Claim, slide: Option<&Path>) -> Result<FileSet<'c>, String> {
    expect_a_scans(claim.place())?;
    for name in NAMES {
        expect_unread(&claim.place().join(name), slide).map_err(|error| error.to_string())?;
    }
    FileSet::prepare(claim, &NAMES).map_err(|error| match error.kind() {
        ErrorKind::IsADirectory | ErrorKind::InvalidInput => error.to_string(),
        _ => {
            let folder = claim.place().display();
            format!("{folder}: expected a directory that can be written, found: {error}. Give another one with --out")
        }
    })
}

/// Refuses a folder in which a file has the name of an output and no slide.json of a scan lies beside it. Of a link only the
/// name is replaced.
fn expect_a_scans(folder: &Path) -> Result<(), String> {
    let is_file = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.len() > 0);
    let Some(there) = NAMES.iter().map(|name| folder.join(name)).find(is_file) else { return Ok(()) };
    if is_of_a_scan(&folder.join(SLIDE))? {
        return Ok(());
    }
    Err(format!(
        "{}: expected no file, or one of an earlier scan beside its {SLIDE}, found one that no scan wrote. Give another folder \
         with --out, or take the file away",
        there.display()
    ))
}

/// Whether a slide.json is a scan's own.
///
/// # Errors
/// Where it is there and cannot be read.
fn is_of_a_scan(path: &Path) -> Result<bool, String> {
    #[derive(Deserialize)]
    struct Report {
        format: String,
    }
    let unread = |error: &dyn std::fmt::Display| {
        format!("{}: could not be read: {error}. Give another folder with --out", path.display())
    };
    let file = match coverslip_files::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(unread(&error)),
    };
    match serde_json::from_reader::<_, Report>(BufReader::new(file.take(MOST_REPORT))) {
        Ok(report) => Ok(report.format.starts_with("coverslip-slide/")),
        Err(error) if error.is_io() => Err(unread(&error)),
        Err(_) => Ok(false),
    }
}

/// Writes every file, then gives all of them their names. Returns the paths and sizes.
pub(super) fn write_all(
    mut outputs: FileSet<'_>,
    scanned: &Scanned,
    slide_json: &Value,
) -> Result<Vec<(PathBuf, u64)>, Box<dyn Error>> {
    outputs.write(TILES, |file| table::write(file, &scanned.played, scanned.settings.embeddings))?;
    outputs.write(SLIDE, |file| {
        serde_json::to_writer_pretty(&mut *file, slide_json)?;
        writeln!(file)
    })?;
    outputs.write(QC, |file| geojson::write(file, &scanned.played))?;
    outputs.write(OVERVIEW, |file| overview::write(file, scanned))?;
    Ok(outputs.commit()?)
}

/// Which image was read, by which reader, at which resolution, and whether it is whole.
fn read_line(scanned: &Scanned) -> String {
    let Scanned { source, mpp, played, .. } = scanned;
    let image = source.image.as_ref().map_or(String::new(), |image| format!("{image}, "));
    let scene = source.scenes.iter().find(|scene| scene.chosen);
    let scene = scene.map_or(String::new(), |scene| format!("scene {} of {}, ", scene.number, source.scenes.len()));
    let all = f64::from(source.width) * f64::from(source.height);
    let whole = match played.unscanned_pixels {
        _ if played.summary.cancelled != 0 => "not to its end".to_owned(),
        0 => "whole".to_owned(),
        pixels => format!("{:.1} % of it was never scanned", (100.0 * pixels as f64 / all).max(0.1)),
    };
    format!(
        "read: {image}{scene}{whole}, {} x {} um/px by {}, reader {} {}",
        mpp.x, mpp.y, mpp.source, source.reader.name, source.reader.version
    )
}

/// What a scan found, to be printed before the verdict. At most 80 columns wide, apart from paths and what is said of
/// the file.
pub(super) fn closing_lines(scanned: &Scanned, files: &[(PathBuf, u64)]) -> Vec<String> {
    let played = &scanned.played;
    let summary = &played.summary;
    let mut lines = Vec::new();
    let statuses = STATUSES.iter().zip(&summary.results[1..]).filter(|(_, count)| **count > 0);
    let statuses: Vec<String> = statuses.map(|(name, count)| format!("{count} {name}")).collect();
    lines.push(format!("{}: {} tiles: {}", scanned.source.name, summary.opened, statuses.join(", ")));
    lines.push(read_line(scanned));
    lines.extend(scanned.profile.as_ref().map(UsedProfile::line));
    let beside = scanned.source.beside();
    if !beside.is_empty() {
        lines.push(format!("not scanned: {}", beside.join(", ")));
    }
    if scanned.field.stretched {
        let (x, y) = scanned.field.effective_mpp;
        lines.push(format!("stretched: the model saw {x} x {y} um/px enlarged to its own; read features with care"));
    }
    let raised = FLAGS.iter().enumerate().skip(1).filter(|(bit, _)| summary.flags_raised[*bit] > 0);
    let raised: Vec<String> = raised.map(|(bit, name)| format!("{} {name}", summary.flags_raised[bit])).collect();
    let raised = if raised.is_empty() { "none".into() } else { raised.join(", ") };
    lines.extend(wrapped(&format!("flags raised: {raised}"), 80));
    const MOST_ALERTS: usize = 6;
    lines.extend(played.alerts.iter().take(MOST_ALERTS).map(alert_line));
    if played.alerts.len() > MOST_ALERTS {
        lines.push(format!("{} more alerts in {SLIDE}", played.alerts.len() - MOST_ALERTS));
    }
    if played.submission.lost > 0 {
        lines.push(format!("{} frames were lost: the plugin was busy", played.submission.lost));
    }
    let analysed = summary.results[1] as f64;
    lines.push(format!(
        "{:.1} s, {:.1} tiles/s ({:.1} analysed/s)",
        played.seconds,
        summary.opened as f64 / played.seconds,
        analysed / played.seconds
    ));
    lines.extend(files.iter().map(|(path, count)| format!("{} ({})", path.display(), bytes(*count))));
    lines
}
