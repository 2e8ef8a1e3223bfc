//! Files that are drawn for a test: TIFFs of several images, with every tag free, and JPEGs to damage.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;

pub(super) const SIDE: u32 = 48;

/// The values of a tag.
#[derive(Clone)]
pub(super) enum Value {
    Short(Vec<u16>),
    Long(Vec<u32>),
    Text(String),
    Rational(u32, u32),
}

/// An image of a drawn file.
#[derive(Clone)]
pub(super) struct Drawn {
    pub(super) tags: BTreeMap<u16, Value>,
    pub(super) chunks: Vec<Vec<u8>>,
    /// What the directory says of the chunks' lengths, where that is not the truth.
    pub(super) lengths: Option<Vec<u32>>,
    pub(super) tiled: bool,
}

impl Drawn {
    fn new(width: u32, height: u32, compression: u16, tiled: bool, chunks: Vec<Vec<u8>>) -> Drawn {
        let shorts = |values: &[u16]| Value::Short(values.to_vec());
        let tags = BTreeMap::from([
            (256, Value::Long(vec![width])),
            (257, Value::Long(vec![height])),
            (258, shorts(&[8, 8, 8])),
            (259, shorts(&[compression])),
            (262, shorts(&[2])),
            (277, shorts(&[3])),
            (284, shorts(&[1])),
        ]);
        Drawn { tags, chunks, lengths: None, tiled }
    }

    /// Strips of the picture that every test has, not compressed.
    pub(super) fn strips(width: u32, height: u32, rows: u32) -> Drawn {
        let strips = (0..height).step_by(rows as usize).map(|y| {
            let rect = Rect { x: 0, y, width, height: rows.min(height - y) };
            pixels(rect)
        });
        Drawn::new(width, height, 1, false, strips.collect()).with(278, Value::Long(vec![rows]))
    }

    /// Tiles of that picture, each made of RGB by `pack`.
    pub(super) fn tiles(width: u32, height: u32, compression: u16, pack: impl Fn(Vec<u8>) -> Vec<u8>) -> Drawn {
        let corners =
            (0..height).step_by(SIDE as usize).flat_map(|y| (0..width).step_by(SIDE as usize).map(move |x| (x, y)));
        let tiles = corners.map(|(x, y)| pack(pixels(Rect { x, y, width: SIDE, height: SIDE }))).collect();
        let drawn = Drawn::new(width, height, compression, true, tiles);
        drawn.with(322, Value::Long(vec![SIDE])).with(323, Value::Long(vec![SIDE]))
    }

    /// Tiles as JPEG, as scanners write them.
    pub(super) fn jpeg(width: u32, height: u32) -> Drawn {
        Drawn::tiles(width, height, 7, |rgb| jpeg(&rgb, SIDE, SIDE)).with(262, Value::Short(vec![6]))
    }

    pub(super) fn with(mut self, tag: u16, value: Value) -> Drawn {
        self.tags.insert(tag, value);
        self
    }

    pub(super) fn described(self, text: &str) -> Drawn {
        self.with(270, Value::Text(text.into()))
    }

    pub(super) fn resolution(self, per_cm: u32) -> Drawn {
        let rational = || Value::Rational(per_cm, 1);
        self.with(282, rational()).with(283, rational()).with(296, Value::Short(vec![3]))
    }
}

/// A JPEG of RGB pixels, 4:2:0 or not as the encoder likes.
pub(super) fn jpeg(rgb: &[u8], width: u32, height: u32) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut out, 95);
    encoder.encode(rgb, width, height, image::ExtendedColorType::Rgb8).unwrap();
    out
}

/// A zlib stream of RGB pixels.
pub(super) fn deflate(rgb: Vec<u8>) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, &rgb).unwrap();
    encoder.finish().unwrap()
}

/// Writes a TIFF of these images.
pub(super) fn write(path: &Path, images: &[Drawn]) {
    let mut file = b"II*\0\0\0\0\0".to_vec();
    let mut link = 4;
    for image in images {
        let mut offsets = Vec::new();
        for chunk in &image.chunks {
            offsets.push(if chunk.is_empty() { 0 } else { file.len() as u32 });
            file.extend(chunk);
        }
        let lengths = image.lengths.clone().unwrap_or(image.chunks.iter().map(|chunk| chunk.len() as u32).collect());
        let mut tags = image.tags.clone();
        tags.insert(if image.tiled { 324 } else { 273 }, Value::Long(offsets));
        if !lengths.is_empty() {
            tags.insert(if image.tiled { 325 } else { 279 }, Value::Long(lengths));
        }
        let entries: Vec<_> = tags.iter().map(|(&tag, value)| entry(tag, value, &mut file)).collect();
        file.resize(file.len().next_multiple_of(2), 0);
        let at = (file.len() as u32).to_le_bytes();
        file[link..link + 4].copy_from_slice(&at);
        file.extend((entries.len() as u16).to_le_bytes());
        file.extend(entries.concat());
        link = file.len();
        file.extend([0; 4]);
    }
    fs::write(path, file).unwrap();
}

/// The entry of a tag; values that do not fit in it go before the directory.
fn entry(tag: u16, value: &Value, file: &mut Vec<u8>) -> Vec<u8> {
    let (kind, count, bytes): (u16, usize, Vec<u8>) = match value {
        Value::Short(values) => (3, values.len(), values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        Value::Long(values) => (4, values.len(), values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        Value::Text(text) => (2, text.len() + 1, [text.as_bytes(), &[0]].concat()),
        Value::Rational(n, d) => (5, 1, [n.to_le_bytes(), d.to_le_bytes()].concat()),
    };
    let mut entry = [&tag.to_le_bytes()[..], &kind.to_le_bytes(), &(count as u32).to_le_bytes()].concat();
    if bytes.len() <= 4 {
        entry.extend(bytes);
        entry.resize(12, 0);
    } else {
        file.resize(file.len().next_multiple_of(2), 0);
        entry.extend((file.len() as u32).to_le_bytes());
        file.extend(bytes);
    }
    entry
}
