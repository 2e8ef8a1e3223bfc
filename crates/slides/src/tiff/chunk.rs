//! One tile or strip: where its bytes are, and how they become pixels.

use super::container::Container;
use super::image::{Alpha, Color, Layout};
use super::unpack;
use crate::budget::{LARGEST_CHUNK, guarded, list};
use crate::jpeg::{self, Components, Room};
use crate::rect::Rect;
use crate::refusal::Fault;

/// Where a chunk's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The scanner left it out.
    Missing,
    At {
        offset: u64,
        length: u64,
    },
}

/// A decoded chunk.
pub(super) struct Chunk {
    /// RGB, of the part that is inside the image.
    pub(super) pixels: Vec<u8>,
    /// Which of them were scanned; None: all.
    pub(super) scanned: Option<Vec<bool>>,
}

impl Chunk {
    pub(super) fn bytes(&self) -> usize {
        self.pixels.len() + self.scanned.as_ref().map_or(0, Vec::len)
    }
}

/// Decodes chunk `index` of the first plane; None: it is not in the file.
///
/// # Errors
/// Where it is damaged or cut.
pub(super) fn read(file: &Container, layout: &Layout, index: u32) -> Result<Option<Chunk>, Fault> {
    let rect = layout.chunk_rect(index);
    if !layout.planar {
        let Some(samples) = samples(file, layout, index, rect)? else { return Ok(None) };
        return Ok(Some(with_alpha(samples, layout)?));
    }
    let planes = layout.chunks() as u32;
    let mut pixels = crate::budget::zeroes(rect.bytes())?;
    for plane in 0..3 {
        let Some(samples) = samples(file, layout, index + plane * planes, rect)? else { return Ok(None) };
        for (pixel, &sample) in pixels.chunks_exact_mut(3).zip(&samples) {
            pixel[plane as usize] = sample;
        }
    }
    let mut scanned = None;
    if matches!(layout.alpha, Alpha::Straight | Alpha::Premultiplied) {
        let Some(alpha) = samples(file, layout, index + 3 * planes, rect)? else { return Ok(None) };
        pixels.chunks_exact_mut(3).zip(&alpha).for_each(|(pixel, &alpha)| as_scanned(pixel, alpha, layout.alpha));
        scanned = alpha.contains(&0).then(|| alpha.iter().map(|&alpha| alpha > 0).collect());
    }
    Ok(Some(Chunk { pixels, scanned }))
}

/// Whether chunk `index` of the first plane is in the file.
pub(super) fn is_there(layout: &Layout, index: usize) -> bool {
    place(layout, index, u64::MAX, 0) != Place::Missing
}

/// Where the bytes of a chunk are. `raw` is its size without compression, `end` the file's.
///
/// A length of 0 beside lengths that are not is a tile of glass that the scanner left out. Where no length is stated,
/// or all are 0, a chunk goes to the next one's start, as libtiff takes it.
fn place(layout: &Layout, index: usize, end: u64, raw: u64) -> Place {
    let offset = layout.offsets[index];
    let stated = layout.lengths.get(index).copied().unwrap_or(0);
    if offset == 0 {
        return Place::Missing;
    }
    if stated > 0 {
        // Pixels that are not compressed are as many bytes as they are, whatever the length of a short last strip says.
        let whole = u64::from(layout.chunk.0) * u64::from(layout.chunk.1) * layout.samples as u64;
        let length = if layout.compression == 1 && stated <= whole { stated.min(raw) } else { stated };
        return Place::At { offset, length };
    }
    if !layout.lengths.is_empty() {
        return Place::Missing;
    }
    if layout.compression == 1 {
        return Place::At { offset, length: raw };
    }
    let after = layout.starts.partition_point(|&start| start <= offset);
    let next = layout.starts.get(after).copied().unwrap_or(end);
    Place::At { offset, length: next.min(end).saturating_sub(offset) }
}

/// The samples of one stored chunk, cropped to the size of `rect`.
fn samples(file: &Container, layout: &Layout, stored: u32, rect: Rect) -> Result<Option<Vec<u8>>, Fault> {
    let (width, height) = layout.stored(rect);
    let expected = width as usize * height as usize * layout.samples;
    let Place::At { offset, length } = place(layout, stored as usize, file.bytes(), expected as u64) else {
        return Ok(None);
    };
    if offset.checked_add(length).is_none_or(|end| end > file.bytes()) {
        return Err(format!(
            "expected {length} bytes at byte {offset}, found the end of the file at byte {}: the file is truncated",
            file.bytes()
        )
        .into());
    }
    if length > LARGEST_CHUNK {
        return Err(format!("expected at most {LARGEST_CHUNK} compressed bytes, found {length}").into());
    }
    let mut bytes = file.piece(offset, length)?;
    if layout.reversed {
        bytes.iter_mut().for_each(|byte| *byte = byte.reverse_bits());
    }
    let (samples, stored_width) = if layout.compression == 7 {
        let decoded = jpeg_samples(layout, &bytes, rect)?;
        (decoded.samples, decoded.width)
    } else {
        let mut samples = guarded("the decoder", || unpack::unpack(layout.compression, bytes, expected))?;
        if layout.differences {
            unpack::undo_differences(&mut samples, width as usize, layout.samples);
        }
        (samples, width)
    };
    let row = |width: u32| width as usize * layout.samples;
    Ok(Some(crop(samples, row(stored_width), row(rect.width), rect.height as usize)))
}

fn jpeg_samples(layout: &Layout, bytes: &[u8], rect: Rect) -> Result<jpeg::DecodedJpeg, Fault> {
    let components = match (layout.samples, layout.color) {
        (1, _) => Components::Single,
        (_, Color::YCbCr) => Components::YCbCr,
        (_, Color::Rgb) => Components::Rgb,
    };
    // Some writers store whole blocks, so that a JPEG is a little larger than its tile.
    let room = |side: u32| side.next_multiple_of(32);
    let room = Room { width: room(layout.chunk.0), height: room(layout.chunk.1), bytes: 3 * LARGEST_CHUNK };
    let decoded = jpeg::decode(bytes, layout.tables.as_deref(), Some(components), room)?;
    if decoded.width < rect.width || decoded.height < rect.height {
        return Err(format!(
            "expected a JPEG of at least {} x {} pixels, found {} x {}",
            rect.width, rect.height, decoded.width, decoded.height
        )
        .into());
    }
    Ok(decoded)
}

/// Interleaved samples as pixels, in the memory that they have.
fn with_alpha(mut samples: Vec<u8>, layout: &Layout) -> Result<Chunk, Fault> {
    if layout.samples == 3 {
        return Ok(Chunk { pixels: samples, scanned: None });
    }
    let pixels = samples.len() / 4;
    let is_alpha = matches!(layout.alpha, Alpha::Straight | Alpha::Premultiplied);
    let mut scanned = None;
    if is_alpha && samples.chunks_exact(4).any(|pixel| pixel[3] == 0) {
        let mut all: Vec<bool> = list(pixels)?;
        all.extend(samples.chunks_exact(4).map(|pixel| pixel[3] > 0));
        scanned = Some(all);
    }
    for at in 0..pixels {
        let [r, g, b, alpha] = [0, 1, 2, 3].map(|sample| samples[4 * at + sample]);
        let mut pixel = [r, g, b];
        if is_alpha {
            as_scanned(&mut pixel, alpha, layout.alpha);
        }
        samples[3 * at..3 * at + 3].copy_from_slice(&pixel);
    }
    samples.truncate(3 * pixels);
    Ok(Chunk { pixels: samples, scanned })
}

/// What the scanner saw in a pixel: white where it did not look.
fn as_scanned(pixel: &mut [u8], alpha: u8, kind: Alpha) {
    match alpha {
        0 => pixel.fill(255),
        255 => {}
        _ if kind == Alpha::Premultiplied => crate::alpha::divide(pixel, alpha),
        _ => {}
    }
}

fn crop(mut samples: Vec<u8>, stored_row: usize, row: usize, rows: usize) -> Vec<u8> {
    if stored_row > row {
        for y in 1..rows {
            samples.copy_within(y * stored_row..y * stored_row + row, y * row);
        }
    }
    samples.truncate(row * rows);
    samples
}
