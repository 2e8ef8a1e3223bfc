//! TIFF files of stained noise.

use std::fs;
use std::path::Path;

/// An image of a drawn TIFF.
pub struct Drawn {
    /// Width and height, px.
    pub size: (u32, u32),
    /// About the colour of its pixels.
    pub colour: [u8; 3],
    /// Texts by tag.
    pub texts: Vec<(u16, String)>,
    /// Which of its tiles are not there.
    pub missing: Vec<usize>,
}

impl Default for Drawn {
    fn default() -> Drawn {
        Drawn { size: (32, 32), colour: [200, 90, 160], texts: Vec::new(), missing: Vec::new() }
    }
}

/// The type of a tag's values, their number and their bytes.
type TagValue = (u16, usize, Vec<u8>);

/// Width and height of a tile, px.
const SIDE: u32 = 32;

/// Writes a TIFF of uncompressed tiles of 32 px.
pub fn draw_tiff(path: &Path, images: &[Drawn]) {
    let (mut file, mut link, mut noise) = (b"II*\0\0\0\0\0".to_vec(), 4, 1_u32);
    for image in images {
        let (width, height) = image.size;
        let tiles = width.div_ceil(SIDE) * height.div_ceil(SIDE);
        let (mut offsets, mut lengths) = (Vec::new(), Vec::new());
        for tile in 0..tiles as usize {
            let there = !image.missing.contains(&tile);
            offsets.push(if there { file.len() as u32 } else { 0 });
            lengths.push(if there { SIDE * SIDE * 3 } else { 0 });
            for _ in 0..if there { SIDE * SIDE } else { 0 } {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let grain = (noise >> 26) as u8;
                let [red, green, blue] = image.colour;
                file.extend([red - grain, green + grain, blue - grain]);
            }
        }
        let mut tags = tags(width, height, &offsets, &lengths);
        let texts = image.texts.iter();
        tags.extend(texts.map(|(tag, text)| (*tag, (2, text.len() + 1, [text.as_bytes(), &[0]].concat()))));
        tags.sort_by_key(|(tag, _)| *tag);
        link = append(&mut file, link, tags);
    }
    fs::write(path, file).expect("a place for the TIFF");
}

fn tags(width: u32, height: u32, offsets: &[u32], lengths: &[u32]) -> Vec<(u16, TagValue)> {
    let long = |values: &[u32]| (4, values.len(), values.iter().flat_map(|value| value.to_le_bytes()).collect());
    let short = |values: &[u16]| (3, values.len(), values.iter().flat_map(|value| value.to_le_bytes()).collect());
    vec![
        (256, long(&[width])),
        (257, long(&[height])),
        (258, short(&[8, 8, 8])),
        (259, short(&[1])),
        (262, short(&[2])),
        (277, short(&[3])),
        (322, long(&[SIDE])),
        (323, long(&[SIDE])),
        (324, long(offsets)),
        (325, long(lengths)),
    ]
}

/// Appends a directory, to which the link at `link` then leads; the place of its own link.
fn append(file: &mut Vec<u8>, link: usize, tags: Vec<(u16, TagValue)>) -> usize {
    let mut entries = (tags.len() as u16).to_le_bytes().to_vec();
    for (tag, (kind, count, bytes)) in tags {
        let mut value = bytes.clone();
        if bytes.len() > 4 {
            value = (file.len() as u32).to_le_bytes().to_vec();
            file.extend(bytes);
        }
        value.resize(4, 0);
        entries.extend([&tag.to_le_bytes()[..], &kind.to_le_bytes(), &(count as u32).to_le_bytes(), &value].concat());
    }
    let at = (file.len() as u32).to_le_bytes();
    file[link..link + 4].copy_from_slice(&at);
    file.extend(entries);
    file.extend([0; 4]);
    file.len() - 4
}
