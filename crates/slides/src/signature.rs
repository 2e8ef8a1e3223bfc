//! What a file is, by its content. A container whose file is also a valid picture, a preview, is told by what lies
//! beside it and by its name, because its content says "picture".

use std::io::Read;
use std::path::{Path, PathBuf};

use super::refusal::Help;

/// The kind of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Signature {
    Tiff,
    Png,
    Jpeg,
    /// A format that is not read here, and what helps.
    Known(&'static str, Help),
    Unknown(Vec<u8>),
}

const CONVERT: &str = "Convert it to a tiled TIFF with `vips tiffsave` or bfconvert";
const BIOFORMATS: &str = "Convert it with Bio-Formats: `bfconvert -series 0 -compression JPEG in.FORMAT out.ome.tif`";

/// Containers whose main file may be a preview, by the ends of their names.
const CONTAINERS: [(&str, &str, Help); 8] = [
    ("mrxs", "3DHISTECH MRXS", Help::OpenSlide),
    ("vsi", "Olympus VSI", Help::Advice(BIOFORMATS)),
    ("bif", "Ventana BIF", Help::OpenSlide),
    ("ndpi", "Hamamatsu NDPI", Help::OpenSlide),
    ("scn", "Leica SCN", Help::OpenSlide),
    ("svslide", "Sakura SVSLIDE", Help::OpenSlide),
    ("czi", "Zeiss CZI", Help::Either(BIOFORMATS)),
    ("isyntax", "Philips iSyntax", Help::Advice(BIOFORMATS)),
];

impl Signature {
    /// Of a regular file.
    pub(super) fn of(path: &Path) -> std::io::Result<Signature> {
        let mut head = Vec::new();
        coverslip_files::open(path)?.take(256).read_to_end(&mut head)?;
        let by_content = by_content(&head);
        let is_picture = matches!(by_content, Signature::Tiff | Signature::Png | Signature::Jpeg);
        match container(path).filter(|_| is_picture) {
            Some((name, help)) => Ok(Signature::Known(name, help)),
            None => Ok(by_content),
        }
    }
}

fn by_content(head: &[u8]) -> Signature {
    let known = |name, help| Signature::Known(name, help);
    match head {
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Signature::Tiff,
        [0x89, b'P', b'N', b'G', ..] => Signature::Png,
        [0xff, 0xd8, 0xff, ..] => Signature::Jpeg,
        _ if head.get(128..132) == Some(b"DICM") => known("DICOM", Help::OpenSlide),
        _ if head.starts_with(b"SQLite format 3\0") => known("an SQLite file (Sakura SVSLIDE?)", Help::OpenSlide),
        _ if head.starts_with(b"ZISRAWFILE") => known("Zeiss CZI", Help::Either(BIOFORMATS)),
        _ if contains(head, b"Virtual Microscope Specimen]") => known("Hamamatsu VMS or VMU", Help::OpenSlide),
        _ if contains(head, b"DPUfsImport") => known("Philips iSyntax", Help::Advice(BIOFORMATS)),
        [_, _, _, _, b'j', b'P', ..] | [0xff, 0x4f, 0xff, 0x51, ..] => known("JPEG 2000", Help::Advice(CONVERT)),
        [b'P', b'K', ..] => known("a zip archive", Help::Advice("Unpack it and give the slide inside")),
        [b'G', b'I', b'F', ..] => known("GIF", Help::Advice(CONVERT)),
        [b'B', b'M', ..] => known("BMP", Help::Advice(CONVERT)),
        [b'R', b'I', b'F', b'F', ..] => known("WebP or another RIFF file", Help::Advice(CONVERT)),
        [] => known("an empty file", Help::Advice("Copy the slide again")),
        other => Signature::Unknown(other.iter().copied().take(4).collect()),
    }
}

fn contains(head: &[u8], words: &[u8]) -> bool {
    head.windows(words.len()).any(|part| part == words)
}

/// The container whose main file this is.
fn container(path: &Path) -> Option<(&'static str, Help)> {
    let beside = |name: String| path.with_file_name(name);
    let stem = path.file_stem()?.to_string_lossy().into_owned();
    // 3DHISTECH: the slide is in a folder of the file's name. Olympus: in one with underscores around it.
    if beside(stem.clone()).join("Slidedat.ini").is_file() {
        return Some(("3DHISTECH MRXS", Help::OpenSlide));
    }
    if has_ets(&beside(format!("_{stem}_"))) {
        return Some(("Olympus VSI", Help::Advice(BIOFORMATS)));
    }
    let end = path.extension()?.to_ascii_lowercase();
    CONTAINERS.into_iter().find(|(known, ..)| end == *known).map(|(_, name, help)| (name, help))
}

fn has_ets(folder: &Path) -> bool {
    let inside = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.take(64).map(|entry| entry.path()).collect()
    };
    let ends = |file: &PathBuf| file.extension().is_some_and(|end| end.eq_ignore_ascii_case("ets"));
    inside(folder).iter().any(|entry| ends(entry) || inside(entry).iter().any(ends))
}
