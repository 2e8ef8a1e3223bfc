//! `coverslip report`: what the analyses found, as one HTML file that needs nothing else.

mod counts;
mod features;
mod gallery;
mod html;
mod models;
mod plot;
mod sae;
mod scanners;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::analyze::counts::{ALPHA, CountsReport};
use coverslip_files::put;
use gallery::Gallery;

/// Options of `coverslip report`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folders that `analyze`, `sae eval` and `profile challenge` wrote to
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// The file to write
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    out: PathBuf,
    /// Where the tiles' images and slides are, if no longer where they were embedded from
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// What stands at the top
    #[arg(long, default_value = "What the features show")]
    title: String,
}

/// One part of the page.
struct Section {
    anchor: String,
    name: String,
    body: String,
}

type Failure = Box<dyn Error>;

/// Features that a section names, with the bundle that numbers them.
type Named = BTreeSet<(Option<String>, usize)>;

/// The files that are read, in the order of the page, and what their sections are called.
const SECTIONS: [(&str, &str); 8] = [
    ("counts.json", "Which features follow which cells"),
    ("features.json", "What each feature shows"),
    ("compare.json", "Two models on the same tiles"),
    ("transfer.json", "What holds on data from elsewhere"),
    ("depth.json", "Where in the model it can be read"),
    ("scanners.json", "How much of it is the scanner's"),
    ("challenge.json", "Which faults are seen"),
    ("sae-eval.json", "What the SAE keeps"),
];

/// Writes the report.
///
/// # Errors
/// When no folder has a result of an analysis, one cannot be read, or the file cannot be written.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let mut gallery = Gallery::new(args.images.clone());
    let sections = sections(&args.folders, &mut gallery)?;
    let contents: Vec<(&str, &str)> = sections.iter().map(|part| (part.anchor.as_str(), part.name.as_str())).collect();
    let mut body = String::from(READING);
    for part in &sections {
        body.push_str(&format!(
            "<section><h2 id=\"{}\">{}</h2>\n{}</section>\n",
            part.anchor,
            html::escape(&part.name),
            part.body
        ));
    }
    let page = html::page(&args.title, &contents, &body);
    put(&args.out, page.as_bytes())?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}: {} sections, {} KiB", args.out.display(), sections.len(), page.len() / 1024)?;
    if let (_, missing, Some(why)) = gallery.account() {
        writeln!(out, "{missing} pictures are missing: {why}")?;
    }
    Ok(())
}

const READING: &str = "<p>A <em>feature</em> is one number that the model reads from a tile. It is 0 on most tiles, and where it \
    is not, the tiles tend to have something in common: the galleries below show what. Where cells were counted, the tables say \
    how closely features follow the counts, how sure that is, and on how many tiles and groups (images, slides, patients) it \
    rests. A relation in one small set of tiles is a hint and no proof.</p>\n";

fn sections(folders: &[PathBuf], gallery: &mut Gallery) -> Result<Vec<Section>, Failure> {
    let mut named = BTreeSet::new();
    let mut sections = Vec::new();
    for (file, name) in SECTIONS {
        let there: Vec<PathBuf> =
            folders.iter().map(|folder| folder.join(file)).filter(|path| path.is_file()).collect();
        for (place, path) in there.iter().enumerate() {
            let (body, about) = section(file, path, &mut named, gallery)?;
            let anchor = format!("{}-{place}", file.trim_end_matches(".json"));
            let name = if there.len() > 1 { format!("{name}: {about}") } else { name.to_owned() };
            sections.push(Section { anchor, name, body });
        }
    }
    if sections.is_empty() {
        let files = SECTIONS.map(|(file, _)| file).join(", ");
        return Err(format!(
            "no result of an analysis in {folders:?}; expected one of {files}, which `coverslip analyze`, `sae eval` and \
             `profile challenge` write"
        )
        .into());
    }
    Ok(sections)
}

/// A section's HTML, and what tells it from others of its kind.
fn section(file: &str, path: &Path, named: &mut Named, gallery: &mut Gallery) -> Result<(String, String), Failure> {
    Ok(match file {
        "counts.json" => {
            let report: CountsReport = read(path)?;
            named.extend(named_features(&report));
            let model = report.source.bundle.clone().unwrap_or_else(|| report.source.tap.clone());
            (counts::section(&report), format!("{}, {model}", report.source.dataset))
        }
        "features.json" => {
            let report: crate::analyze::features::FeaturesReport = read(path)?;
            (features::section(&report, named, gallery), report.bundle.clone().unwrap_or_default())
        }
        "compare.json" => {
            let report: crate::analyze::compare::CompareReport = read(path)?;
            (models::compare(&report), report.dataset)
        }
        "transfer.json" => {
            let report: crate::analyze::transfer::TransferReport = read(path)?;
            (models::transfer(&report), format!("{} to {}", report.from.dataset, report.to.dataset))
        }
        "scanners.json" => {
            let report: serde_json::Value = read(path)?;
            (scanners::scanners(&report), format!("{} tiles", report["tiles"]))
        }
        "sae-eval.json" => {
            let report: crate::sae::EvalReport = read(path)?;
            (sae::section(&report), report.tap)
        }
        "challenge.json" => {
            let report: serde_json::Value = read(path)?;
            (scanners::challenge(&report), format!("{} tiles", report["tiles"]))
        }
        _ => {
            let report: crate::analyze::depth::DepthReport = read(path)?;
            (models::depth(&report), report.dataset)
        }
    })
}

/// The features that the tables of a report show.
fn named_features(report: &CountsReport) -> Named {
    let mut named = BTreeSet::new();
    for cell in &report.cell_types {
        let of_cell = report.features.iter().filter(|found| found.cell_type == cell.name);
        let shown = of_cell.enumerate().filter(|(place, found)| *place < 3 || found.p <= ALPHA);
        let numbers = shown.filter_map(|(_, found)| found.column.parse().ok());
        named.extend(numbers.map(|index| (report.source.bundle.clone(), index)));
    }
    named
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| {
        format!("{}: not what this version writes ({error}); run the analysis again", path.display()).into()
    })
}
