//! Reads slides and writes their pixels, for comparisons with other readers (`tools/readers/run`).
//!
//! `pixels [--reader own|openslide] OUT FILE…` writes OUT/FILE.rgb for each file and a line of JSON each: the slide's
//! description and the number of pixels that were never scanned, or the error.

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};

use coverslip_slides::{ReaderKind, Rect, Scanned, Selection, open};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).peekable();
    let mut selection = Selection::default();
    if arguments.next_if(|argument| argument == "--reader").is_some() {
        let own = arguments.next().is_some_and(|name| name == "own");
        selection.reader = Some(if own { ReaderKind::Own } else { ReaderKind::OpenSlide });
    }
    let out = PathBuf::from(arguments.next().ok_or("expected a folder to write to")?);
    for file in arguments {
        let line =
            read(Path::new(&file), &selection, &out).unwrap_or_else(|error| json!({ "error": error.to_string() }));
        writeln!(std::io::stdout().lock(), "{line}")?;
    }
    Ok(())
}

/// Reads a slide in strips, as a scan does.
fn read(file: &Path, selection: &Selection, out: &Path) -> Result<Value, Box<dyn Error>> {
    let mut slide = open(file, selection)?;
    let info = slide.info().clone();
    let name = file.file_name().ok_or("expected a file")?.to_string_lossy().into_owned();
    let (mut all, mut strip, mut unscanned) = (Vec::new(), Vec::new(), 0);
    for y in (0..info.height).step_by(64) {
        let rect = Rect { x: 0, y, width: info.width, height: 64.min(info.height - y) };
        if let Scanned::Parts(parts) = slide.read(rect, &mut strip)? {
            unscanned += rect.pixels() - parts.iter().map(Rect::pixels).sum::<usize>();
        }
        all.extend_from_slice(&strip);
    }
    std::fs::write(out.join(format!("{name}.rgb")), all)?;
    Ok(json!({ "info": info, "unscanned": unscanned }))
}
