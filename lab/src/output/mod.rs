//! What a scan leaves behind: tiles.parquet, slide.json, qc.geojson and overview.png, all of them or none.

mod canvas;
#[cfg(test)]
mod fabricated;
mod geojson;
mod heat;
mod overview;
mod report;
mod table;
mod verdict;

use std::error::Error;
use std::path::{Path, PathBuf};

use coverslip_files::FileSet;

pub(crate) use report::Report;
pub(crate) use verdict::Verdict;

use crate::scan::{FLAGS, Played, STATUSES, alert_line};

/// The files, in the order in which they are written.
const TILES: &str = "tiles.parquet";
const SLIDE: &str = "slide.json";
const QC: &str = "qc.geojson";
const OVERVIEW: &str = "overview.png";

/// The output folder with a draft of every file.
///
/// # Errors
/// Where the folder cannot be written; says what to do.
pub(crate) fn prepare(folder: &Path) -> Result<FileSet, String> {
    FileSet::prepare(folder, &[TILES, SLIDE, QC, OVERVIEW]).map_err(|error| {
        format!(
            "{}: expected a directory that can be written, found: {error}. Give another one with --out",
            folder.display()
        )
    })
}

/// Writes every file, then gives all of them their names. Returns paths and sizes.
pub(crate) fn write_all(
    mut outputs: FileSet,
    report: &Report,
    played: &Played,
) -> Result<Vec<(PathBuf, u64)>, Box<dyn Error>> {
    outputs.write(TILES, |file| table::write(file, played, report.embedding_width))?;
    outputs.write(SLIDE, |file| report.write(file))?;
    outputs.write(QC, |file| geojson::write(file, played))?;
    outputs.write(OVERVIEW, |file| overview::write(file, report, played))?;
    Ok(outputs.commit()?)
}

/// What a scan gave, before the verdict; 80 columns wide at most where paths allow.
pub(crate) fn closing_lines(report: &Report, played: &Played, files: &[(PathBuf, u64)]) -> Vec<String> {
    let summary = &played.summary;
    let mut lines = Vec::new();
    let statuses = STATUSES.iter().zip(&summary.results[1..]).filter(|(_, count)| **count > 0);
    let statuses: Vec<String> = statuses.map(|(name, count)| format!("{count} {name}")).collect();
    lines.push(format!("{}: {} tiles: {}", report.name(), summary.opened, statuses.join(", ")));
    if played.field.stretched {
        let (x, y) = played.field.effective_mpp;
        lines.push(format!("stretched: the model saw {x} x {y} um/px enlarged to its own; read features with care"));
    }
    let raised = FLAGS.iter().enumerate().skip(1).filter(|(bit, _)| summary.flags_raised[*bit] > 0);
    let raised: Vec<String> = raised.map(|(bit, name)| format!("{} {name}", summary.flags_raised[bit])).collect();
    lines.push(format!("flags raised: {}", if raised.is_empty() { "none".into() } else { raised.join(", ") }));
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
    lines.extend(files.iter().map(|(path, bytes)| format!("{} ({})", path.display(), size(*bytes))));
    lines
}

fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..10_000_000 => format!("{} kB", bytes / 1000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}
