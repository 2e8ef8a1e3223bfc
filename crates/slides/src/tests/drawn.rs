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

/// A JPEG of one colour, [`FLAT`], written bit by bit.
pub(super) struct FlatJpeg<'a> {
    /// Width and height.
    pub(super) side: u16,
    /// How often the three components are sampled across and down.
    pub(super) sampling: [(u8, u8); 3],
    /// The components of each scan.
    pub(super) scans: &'a [&'a [usize]],
    /// Units between two restart markers; 0: none.
    pub(super) interval: u16,
    /// Whether it has its Huffman tables.
    pub(super) tables: bool,
}

impl FlatJpeg<'_> {
    pub(super) const PLAIN: FlatJpeg<'static> =
        FlatJpeg { side: SIDE as u16, sampling: [(1, 1); 3], scans: &[&[0, 1, 2]], interval: 0, tables: true };

    pub(super) fn write(&self) -> Vec<u8> {
        let segment =
            |marker: u8, body: &[u8]| [&[0xff, marker][..], &(body.len() as u16 + 2).to_be_bytes(), body].concat();
        // A quantum of 8 makes a mean of the coefficient itself.
        let mut out = [&[0xff, 0xd8][..], &segment(0xdb, &[&[0][..], &[8; 64]].concat())].concat();
        let size = self.side.to_be_bytes();
        let mut frame = [&[8][..], &size, &size, &[3]].concat();
        frame.extend(self.sampling.iter().zip(1..).flat_map(|(&(x, y), id)| [id, x << 4 | y, 0]));
        out.extend(segment(0xc0, &frame));
        if self.interval > 0 {
            out.extend(segment(0xdd, &self.interval.to_be_bytes()));
        }
        if self.tables {
            // Means: no change is 0, one of 6 bits is 10. The rest: nothing more is 0.
            let counts = |counts: [u8; 2]| [&counts[..], &[0; 14]].concat();
            out.extend(segment(0xc4, &[&[0x00][..], &counts([1, 1]), &[0, 6]].concat()));
            out.extend(segment(0xc4, &[&[0x10][..], &counts([1, 0]), &[0]].concat()));
        }
        for scan in self.scans {
            let mut header = vec![scan.len() as u8];
            header.extend(scan.iter().flat_map(|&component| [component as u8 + 1, 0]));
            out.extend(segment(0xda, &[&header[..], &[0, 63, 0]].concat()));
            out.extend(self.entropy(scan));
        }
        out.extend([0xff, 0xd9]);
        out
    }

    /// The data of a scan: a block of one component after the other, or what all have of one place.
    fn entropy(&self, scan: &[usize]) -> Vec<u8> {
        let most = self.sampling.iter().fold((1, 1), |most, one| (most.0.max(one.0), most.1.max(one.1)));
        let across = |samples: u8, most: u8| u32::from(self.side).div_ceil(8 * u32::from(most)) * u32::from(samples);
        let units = match scan {
            &[one] => across(self.sampling[one].0, most.0) * across(self.sampling[one].1, most.1),
            _ => across(1, most.0) * across(1, most.1),
        };
        let (mut out, mut bits) = (Vec::new(), String::new());
        let flush = |bits: &mut String, out: &mut Vec<u8>| {
            *bits += &"1".repeat(bits.len().next_multiple_of(8) - bits.len());
            for at in (0..bits.len()).step_by(8) {
                let byte = u8::from_str_radix(&bits[at..at + 8], 2).unwrap();
                out.extend([byte, 0].into_iter().take(1 + usize::from(byte == 255)));
            }
            bits.clear();
        };
        let every = if self.interval == 0 { units } else { self.interval.into() };
        for unit in 0..units {
            let fresh = unit.is_multiple_of(every);
            if fresh && unit > 0 {
                flush(&mut bits, &mut out);
                out.extend([0xff, 0xd0 | (unit / every - 1) as u8 & 7]);
            }
            for &component in scan {
                let (x, y) = self.sampling[component];
                for block in 0..if scan.len() == 1 { 1 } else { x * y } {
                    // The first block of each component brings its mean.
                    let mean = ["101010000", "100111100", "101100100"][component];
                    bits += if fresh && block == 0 { mean } else { "00" };
                }
            }
        }
        flush(&mut bits, &mut out);
        out
    }
}

/// The colour of [`FlatJpeg`]: Y 168, Cb 95 and Cr 178 by the equations of JFIF.
pub(super) const FLAT: [u8; 3] = [238, 144, 110];

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
