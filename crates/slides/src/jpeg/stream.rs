//! A JPEG stream, walked before it is decoded: what its headers ask for, and whether each part of it is there.
//!
//! The decoder goes on with zeroes where a scan ends too early. Therefore the stream that it gets has a run of ones
//! before each marker that ends a scan: no Huffman code is all ones, so a decoder that needs more than there is fails.

use super::components::Components;

/// Ones before the end of a scan, with the zeroes that byte stuffing asks for: more than a decoder reads ahead.
const SENTINEL: [u8; 32] = {
    let mut ones = [0; 32];
    let mut at = 0;
    while at < ones.len() {
        ones[at] = 0xff;
        at += 2;
    }
    ones
};

/// What a frame header states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) components: u8,
    /// Whether the decoder must hold all coefficients at once.
    pub(super) buffered: bool,
    /// The colour space by the stream's own markers: JFIF is YCbCr, and Adobe's marker names the transform.
    pub(super) declared: Option<Components>,
    /// Of all components.
    blocks: u64,
    progressive: bool,
    /// Which identifiers the components have.
    ids: [u8; 4],
}

/// A stream that the decoder can be given.
pub(super) struct Stream {
    pub(super) header: Header,
    pub(super) bytes: Vec<u8>,
}

/// The part of a walk that has been seen.
struct Walk<'a> {
    data: &'a [u8],
    at: usize,
    out: Vec<u8>,
    header: Option<Header>,
    declared: Option<Components>,
    adobe: bool,
    /// Precision that each coefficient of each component still lacks, by the scans so far; 255: all of it.
    lacking: [[u8; 64]; 4],
    entropy_bytes: u64,
    scans: u32,
    /// Whether scans have restart markers.
    restarts: bool,
}

impl Stream {
    /// Walks a stream; `tables` is a TIFF's JPEGTables, which abbreviated streams need.
    ///
    /// # Errors
    /// Where a header is damaged or of a kind that is not read, or the stream ends before its image does.
    pub(super) fn read(data: &[u8], tables: Option<&[u8]>) -> Result<Stream, String> {
        if data.len() < 4 || data[..2] != [0xff, 0xd8] {
            return Err("expected a JPEG stream, found other bytes".into());
        }
        let out = Vec::with_capacity(data.len() + tables.map_or(0, <[u8]>::len) + 2 * SENTINEL.len());
        let mut walk = Walk {
            data,
            at: 2,
            out,
            header: None,
            declared: None,
            adobe: false,
            lacking: [[255; 64]; 4],
            entropy_bytes: 0,
            scans: 0,
            restarts: false,
        };
        walk.out.extend([0xff, 0xd8]);
        walk.tables(tables.unwrap_or_default());
        while let Some(marker) = walk.next_marker() {
            if marker == 0xd9 {
                break;
            }
            walk.segment(marker)?;
        }
        walk.finish()
    }
}

impl Walk<'_> {
    /// Copies the tables of an abbreviated stream; other segments there have no meaning for the image.
    fn tables(&mut self, tables: &[u8]) {
        let mut at = 2;
        while let Some(&[0xff, marker, high, low]) = tables.get(at..at + 4) {
            let end = at + 2 + usize::from(u16::from_be_bytes([high, low]));
            let Some(segment) = tables.get(at..end) else { return };
            if matches!(marker, 0xc4 | 0xdb | 0xdd) {
                self.restarts |= marker == 0xdd && segment[4..].iter().any(|&byte| byte > 0);
                self.out.extend_from_slice(segment);
            }
            at = end;
        }
    }

    /// The next marker outside a scan. Bytes before it that belong to nothing are skipped, as libjpeg does.
    fn next_marker(&mut self) -> Option<u8> {
        loop {
            self.at += self.data.get(self.at..)?.iter().position(|&byte| byte == 0xff)?;
            self.at += self.data[self.at..].iter().position(|&byte| byte != 0xff)?;
            let marker = self.data[self.at];
            self.at += 1;
            if !matches!(marker, 0 | 1 | 0xd0..=0xd7) {
                return Some(marker);
            }
        }
    }

    fn segment(&mut self, marker: u8) -> Result<(), String> {
        const SHORT: &str = "its data are damaged or truncated (the stream ends inside a header)";
        let length = self.data.get(self.at..self.at + 2).ok_or(SHORT)?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        let body = self.data.get(self.at + 2..self.at + length.max(2)).ok_or(SHORT)?;
        self.at += length.max(2);
        match marker {
            0xc0..=0xc2 => self.frame(marker, body)?,
            0xdd => self.restarts |= body.iter().any(|&byte| byte > 0),
            0xc4 | 0xdb => {}
            0xc3 | 0xc5..=0xc7 | 0xc8..=0xcf => {
                return Err(
                    "expected a Huffman-coded JPEG of 8 bits, found a lossless, hierarchical or arithmetic one, \
                     which is not read"
                        .into(),
                );
            }
            0xd8 => return Err("its data are damaged: a second image begins inside the first".into()),
            0xda => {
                self.scan_header(body)?;
                self.copy(marker, body);
                self.entropy();
                return Ok(());
            }
            0xdc => return Err("expected a JPEG that states its height, found one that does so at its end".into()),
            0xe0 if body.starts_with(b"JFIF\0") => {
                self.declared = self.declared.or(Some(Components::YCbCr));
                return Ok(());
            }
            0xee if body.starts_with(b"Adobe") && !self.adobe => {
                self.adobe = true;
                let named = |&transform| if transform == 0 { Components::Rgb } else { Components::YCbCr };
                self.declared = body.get(11).map(named).or(self.declared);
                return Ok(());
            }
            // Comments, pictures of pictures and the like.
            _ => return Ok(()),
        }
        self.copy(marker, body);
        Ok(())
    }

    fn copy(&mut self, marker: u8, body: &[u8]) {
        let length = (body.len() as u16 + 2).to_be_bytes();
        self.out.extend([0xff, marker, length[0], length[1]]);
        self.out.extend_from_slice(body);
    }

    fn frame(&mut self, marker: u8, body: &[u8]) -> Result<(), String> {
        if self.header.is_some() {
            return Err("its data are damaged: a second frame header".into());
        }
        let &[precision, high, low, wide, narrow, components, ref rest @ ..] = body else {
            return Err("its data are damaged: a frame header that is too short".into());
        };
        if precision != 8 {
            return Err(format!("expected a JPEG of 8 bits, found {precision} bits, which is not read"));
        }
        let (height, width) = (u16::from_be_bytes([high, low]).into(), u16::from_be_bytes([wide, narrow]).into());
        if width == 0 || height == 0 || !(1..=4).contains(&components) || rest.len() != 3 * usize::from(components) {
            return Err("its data are damaged: a frame header without a size or its components".into());
        }
        let mut ids = [0; 4];
        let sampling: Vec<(u64, u64)> = rest.chunks(3).map(|c| (u64::from(c[1] >> 4), u64::from(c[1] & 15))).collect();
        if sampling.iter().any(|&(x, y)| !(1..=4).contains(&x) || !(1..=4).contains(&y)) {
            return Err("its data are damaged: a sampling factor outside 1 to 4".into());
        }
        ids.iter_mut().zip(rest.chunks(3)).for_each(|(id, component)| *id = component[0]);
        let (most_x, most_y) = sampling.iter().fold((1, 1), |most, one| (most.0.max(one.0), most.1.max(one.1)));
        let blocks = |&(x, y): &(u64, u64)| {
            (u64::from(width) * x).div_ceil(8 * most_x) * (u64::from(height) * y).div_ceil(8 * most_y)
        };
        self.header = Some(Header {
            width,
            height,
            components,
            buffered: marker == 0xc2,
            declared: None,
            blocks: sampling.iter().map(blocks).sum(),
            progressive: marker == 0xc2,
            ids,
        });
        Ok(())
    }

    /// Notes which coefficients a scan brings, and to which precision.
    fn scan_header(&mut self, body: &[u8]) -> Result<(), String> {
        const DAMAGED: &str = "its data are damaged: a scan header that does not fit its frame";
        let header = self.header.as_mut().ok_or("its data are damaged: a scan before the frame header")?;
        let count = usize::from(*body.first().ok_or(DAMAGED)?);
        if !(1..=4).contains(&count) || body.len() != 4 + 2 * count {
            return Err(DAMAGED.into());
        }
        let (first, last, low) = match header.progressive {
            true => (body[1 + 2 * count], body[2 + 2 * count], body[3 + 2 * count] & 15),
            false => (0, 63, 0),
        };
        if first > last || last > 63 {
            return Err(DAMAGED.into());
        }
        header.buffered |= count < usize::from(header.components);
        for id in body[1..1 + 2 * count].chunks(2).map(|component| component[0]) {
            let known = header.ids[..usize::from(header.components)].iter().position(|&known| known == id);
            self.lacking[known.ok_or(DAMAGED)?][usize::from(first)..=usize::from(last)].fill(low);
        }
        Ok(())
    }

    /// Copies a scan's data up to its end, with ones before each marker.
    fn entropy(&mut self) {
        self.scans += 1;
        // The decoder looks for the marker behind the first progressive scan in what it has read ahead, and nowhere else.
        // A file that is cut there lacks its other scans.
        let guarded = self.restarts || self.scans > 1 || self.header.is_some_and(|header| !header.progressive);
        loop {
            let rest = &self.data[self.at..];
            let mut end = 0;
            // To the first marker that is neither a stuffed byte nor a fill byte.
            let marker = loop {
                match rest[end..].iter().position(|&byte| byte == 0xff).map(|next| end + next) {
                    Some(next) if rest.get(next + 1) == Some(&0) => end = next + 2,
                    Some(next) => {
                        end = next;
                        break rest[next..].iter().copied().find(|&byte| byte != 0xff);
                    }
                    None => {
                        end = rest.len();
                        break None;
                    }
                }
            };
            self.out.extend_from_slice(&rest[..end]);
            if guarded {
                self.out.extend(SENTINEL);
            }
            self.entropy_bytes += end as u64;
            self.at += end;
            match marker {
                Some(restart @ 0xd0..=0xd7) => {
                    self.at += rest[end..].iter().position(|&byte| byte != 0xff).unwrap_or(0) + 1;
                    self.out.extend([0xff, restart]);
                }
                _ => return,
            }
        }
    }

    fn finish(mut self) -> Result<Stream, String> {
        const EARLY: &str = "its JPEG data are damaged or truncated (the stream ends before the image does)";
        let header = self.header.ok_or("its JPEG header is missing")?;
        // A block has a code for its mean, and, unless it is progressive, one for the end of the block: a bit each.
        let least_bits = header.blocks * if header.progressive { 1 } else { 2 };
        let lacking = self.lacking[..usize::from(header.components)].iter().flatten().any(|&bits| bits > 0);
        if lacking || 8 * self.entropy_bytes < least_bits {
            return Err(EARLY.into());
        }
        self.out.extend([0xff, 0xd9]);
        let by_id = (header.components == 3 && header.ids[..3] == *b"RGB").then_some(Components::Rgb);
        Ok(Stream { header: Header { declared: self.declared.or(by_id), ..header }, bytes: self.out })
    }
}
