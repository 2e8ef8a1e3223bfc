//! The page of `coverslip report`: the findings of the analyses as one HTML file that needs nothing else.

mod challenge;
mod counts;
mod features;
mod gallery;
pub(crate) mod html;
mod models;
mod plot;
mod sae;
mod scanners;
mod section;

use std::collections::BTreeSet;
use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};

use coverslip_files::put;

use self::gallery::Gallery;
pub(crate) use self::gallery::encode as picture;
use self::section::{Context, Section};
use crate::claim;
use crate::findings::challenge::ChallengeFindings;
use crate::findings::counts::CountsFindings;
use crate::findings::features::FeaturesFindings;
use crate::findings::models::{CompareFindings, DepthFindings, TransferFindings};
use crate::findings::sae::SaeFindings;
use crate::findings::scanners::ScannersFindings;

type Failure = Box<dyn Error>;

/// A file that becomes a section.
struct Kind {
    file: &'static str,
    heading: &'static str,
    read: fn(&Path, &mut Context) -> Result<Read, Failure>,
}

/// What a file says.
struct Read {
    html: String,
    /// The name of this file among others of its kind.
    about: String,
}

impl Kind {
    const fn of<F: Section>(heading: &'static str) -> Kind {
        let read = |path: &Path, context: &mut Context| {
            let findings = F::read(path)?;
            Ok(Read { html: findings.html(context), about: findings.about() })
        };
        Kind { file: F::FILE, heading, read }
    }
}

/// The files that are read, in the order of the page.
const KINDS: [Kind; 8] = [
    Kind::of::<CountsFindings>("Which features follow which cells"),
    Kind::of::<FeaturesFindings>("What each feature shows"),
    Kind::of::<CompareFindings>("Two models on the same tiles"),
    Kind::of::<TransferFindings>("What holds on data from elsewhere"),
    Kind::of::<DepthFindings>("Where in the model it can be read"),
    Kind::of::<ScannersFindings>("How much of it is the scanner's"),
    Kind::of::<ChallengeFindings>("Which faults are seen"),
    Kind::of::<SaeFindings>("What the SAE keeps"),
];

/// One part of the page.
struct Part {
    anchor: String,
    heading: String,
    html: String,
}

/// Writes the page of all findings in `folders` as the file `to`, and its size to `out`. `images`: the folder of the
/// tiles' images, if they were moved.
///
/// # Errors
/// When no folder has findings of an analysis, a file cannot be read, or the page cannot be written.
pub(crate) fn write(
    folders: &[PathBuf],
    images: Option<PathBuf>,
    title: &str,
    to: &Path,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let read = KINDS.into_iter().flat_map(|kind| folders.iter().map(move |folder| folder.join(kind.file)));
    let _claim = claim::output(to, claim::PAGE, read)?;
    let mut context = Context { named: BTreeSet::new(), gallery: Gallery::new(images) };
    let parts = parts(folders, &mut context)?;
    let contents: Vec<(&str, &str)> = parts.iter().map(|part| (part.anchor.as_str(), part.heading.as_str())).collect();
    let mut body = String::from(READING);
    for part in &parts {
        body.push_str(&format!(
            "<section><h2 id=\"{}\">{}</h2>\n{}</section>\n",
            part.anchor,
            html::escape(&part.heading),
            part.html
        ));
    }
    let page = html::page(title, &contents, &body);
    put(to, page.as_bytes())?;
    writeln!(out, "{}: {} sections, {} KiB", to.display(), parts.len(), page.len() / 1024)?;
    if let (_, missing, Some(why)) = context.gallery.account() {
        writeln!(out, "{missing} pictures are missing: {why}")?;
    }
    Ok(())
}

const READING: &str = "<p>A <em>feature</em> is one number that the model reads from a tile. It is 0 on most tiles, and where it \
    is not, the tiles tend to have something in common: the galleries below show what. Where cells were counted, the tables say \
    how closely features follow the counts, how sure that is, and on how many tiles and groups (images, slides, patients) it \
    rests. A relation in one small set of tiles is a hint and no proof.</p>\n";

fn parts(folders: &[PathBuf], context: &mut Context) -> Result<Vec<Part>, Failure> {
    let mut parts = Vec::new();
    for kind in KINDS {
        let there: Vec<PathBuf> =
            folders.iter().map(|folder| folder.join(kind.file)).filter(|path| path.is_file()).collect();
        for (place, path) in there.iter().enumerate() {
            let Read { html, about } = (kind.read)(path, context)?;
            let anchor = format!("{}-{place}", kind.file.trim_end_matches(".json"));
            let heading = if there.len() > 1 { format!("{}: {about}", kind.heading) } else { kind.heading.to_owned() };
            parts.push(Part { anchor, heading, html });
        }
    }
    if parts.is_empty() {
        let folders: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
        return Err(format!(
            "no findings of an analysis in {}; expected one of {}, which `coverslip analyze`, `sae eval` and `profile \
             challenge` write",
            folders.join(", "),
            KINDS.map(|kind| kind.file).join(", ")
        )
        .into());
    }
    Ok(parts)
}
