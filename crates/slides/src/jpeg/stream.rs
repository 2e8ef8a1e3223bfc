//! A JPEG stream, walked before it is decoded: what its headers ask for, and whether each part of it is there.
//!
//! The decoder goes on with zeroes where a scan ends too early. Therefore the stream that it gets has a run of ones
//! before each marker that ends a scan: no Huffman code is all ones, so a decoder that needs more than there is fails.

use super::components::Components;
use crate::budget::no_memory;
use crate::refusal::Fault;

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

/// Most scans of a progressive JPEG. Encoders write about ten; each of them is decoded over the whole image.
const MOST_SCANS: u32 = 100;
/// Most restart markers of all scans: one for each unit of the largest picture. Each takes seventeen times its bytes.
const MOST_RESTARTS: u64 = 1 << 22;

/// What the caller takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// What decoding may need, at three bytes a pixel.
    pub(crate) bytes: u64,
}

impl Room {
    /// Refuses an image that is larger. It is asked when the header has been read: what the rest of a stream may take
    /// depends on it.
    fn expect(&self, header: &Header) -> Result<(), Fault> {
        // All coefficients at once are two bytes each, beside the samples.
        let needed = header.pixels() * 3 * if header.progressive { 3 } else { 1 };
        if header.width <= self.width && header.height <= self.height && needed <= self.bytes {
            return Ok(());
        }
        Err(format!(
            "expected a JPEG of at most {} x {} pixels in {} MB, found one whose header states {} x {} pixels, {} MB",
            self.width,
            self.height,
            self.bytes >> 20,
            header.width,
            header.height,
            needed >> 20
        )
        .into())
    }
}

/// What a frame header states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) components: u8,
    /// Whether scans make each other more precise, so that the decoder holds all coefficients at once.
    pub(super) progressive: bool,
    /// The colour space by the stream's own markers: JFIF is YCbCr, and Adobe's marker names the transform.
    pub(super) declared: Option<Components>,
    /// Which identifiers the components have.
    ids: [u8; 4],
    /// How often the components are sampled across and down; 0: there is no such component.
    sampling: [(u8, u8); 4],
}

impl Header {
    pub(super) fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// How often the most finely sampled component is.
    fn finest(&self) -> (u32, u32) {
        self.sampling.iter().fold((1, 1), |most, &(x, y)| (most.0.max(x.into()), most.1.max(y.into())))
    }

    /// Blocks of a component that have pixels.
    fn blocks(&self, component: usize) -> u64 {
        let ((most_x, most_y), (x, y)) = (self.finest(), self.sampling[component]);
        let across = (self.width * u32::from(x)).div_ceil(8 * most_x);
        u64::from(across) * u64::from((self.height * u32::from(y)).div_ceil(8 * most_y))
    }

    /// Units of a scan of these components: a block where there is one, else what all have of one place.
    fn units(&self, components: &[usize]) -> u64 {
        match components {
            [one] => self.blocks(*one),
            _ => {
                let (x, y) = self.finest();
                u64::from(self.width.div_ceil(8 * x)) * u64::from(self.height.div_ceil(8 * y))
            }
        }
    }
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
    room: Room,
    out: Vec<u8>,
    header: Option<Header>,
    declared: Option<Components>,
    adobe: bool,
    /// Precision that each coefficient of each component still lacks, by the scans so far; 255: all of it.
    lacking: [[u8; 64]; 4],
    entropy_bytes: u64,
    scans: u32,
    /// Restart markers that the scans so far must have.
    restarts: u64,
    /// Whether there was an end mark.
    ended: bool,
    /// Units of a scan between two restart markers; 0: there are no markers.
    interval: u64,
    /// Whether the last scan makes what others brought more precise.
    refined: bool,
    /// Whether there was a Huffman table.
    huffman: bool,
}

impl Stream {
    /// Walks a stream; `tables` is a TIFF's JPEGTables, which abbreviated streams need.
    ///
    /// # Errors
    /// Where a header is damaged, of a kind that is not read or of an image larger than `room`, or the stream ends before
    /// its image does.
    pub(super) fn read(data: &[u8], tables: Option<&[u8]>, room: Room) -> Result<Stream, Fault> {
        if data.len() < 4 || data[..2] != [0xff, 0xd8] {
            return Err("expected a JPEG stream, found other bytes".into());
        }
        let mut walk = Walk {
            data,
            at: 2,
            room,
            out: Vec::new(),
            header: None,
            declared: None,
            adobe: false,
            lacking: [[255; 64]; 4],
            entropy_bytes: 0,
            scans: 0,
            restarts: 0,
            ended: false,
            interval: 0,
            refined: false,
            huffman: false,
        };
        walk.reserve(data.len() + tables.map_or(0, <[u8]>::len) + 2 * SENTINEL.len())?;
        walk.push(&[0xff, 0xd8])?;
        walk.tables(tables.unwrap_or_default())?;
        while let Some(marker) = walk.next_marker() {
            if marker == 0xd9 {
                walk.ended = true;
                break;
            }
            walk.segment(marker)?;
        }
        walk.finish()
    }
}

impl Walk<'_> {
    fn reserve(&mut self, bytes: usize) -> Result<(), Fault> {
        self.out.try_reserve(bytes).map_err(|_| no_memory(bytes))?;
        Ok(())
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.reserve(bytes.len())?;
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    /// Copies the tables of an abbreviated stream; other segments there have no meaning for the image.
    fn tables(&mut self, tables: &[u8]) -> Result<(), Fault> {
        let mut at = 2;
        while let Some(&[0xff, marker, high, low]) = tables.get(at..at + 4) {
            let end = at + 2 + usize::from(u16::from_be_bytes([high, low]));
            // A length of 0 or 1 would not have itself in it.
            let Some(segment) = tables.get(at..end).filter(|segment| segment.len() >= 4) else { return Ok(()) };
            if matches!(marker, 0xc4 | 0xdb | 0xdd) {
                if marker == 0xdd {
                    self.restart_every(&segment[4..]);
                }
                self.huffman |= marker == 0xc4;
                self.push(segment)?;
            }
            at = end;
        }
        Ok(())
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

    fn segment(&mut self, marker: u8) -> Result<(), Fault> {
        const SHORT: &str = "its data are damaged or truncated (the stream ends inside a header)";
        let length = self.data.get(self.at..self.at + 2).ok_or(SHORT)?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        let body = self.data.get(self.at + 2..self.at + length.max(2)).ok_or(SHORT)?;
        self.at += length.max(2);
        match marker {
            0xc0..=0xc2 => self.frame(marker, body)?,
            0xdd => self.restart_every(body),
            0xc4 => self.huffman = true,
            0xdb => {}
            0xc3 | 0xc5..=0xc7 | 0xc8..=0xcf => {
                return Err(Fault::Unread(
                    "expected a Huffman-coded JPEG of 8 bits, found a lossless, hierarchical or arithmetic one, \
                     which is not read"
                        .into(),
                ));
            }
            0xd8 => return Err("its data are damaged: a second image begins inside the first".into()),
            0xda => {
                let units = self.scan_header(body)?;
                self.copy(marker, body)?;
                return self.entropy(units);
            }
            0xdc => {
                let why =
                    "expected a JPEG that states its height, found one that does so at its end, which is not read";
                return Err(Fault::Unread(why.into()));
            }
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
        self.copy(marker, body)
    }

    fn restart_every(&mut self, body: &[u8]) {
        self.interval = body.iter().take(2).fold(0, |interval, &byte| interval << 8 | u64::from(byte));
    }

    fn copy(&mut self, marker: u8, body: &[u8]) -> Result<(), Fault> {
        let length = (body.len() as u16 + 2).to_be_bytes();
        self.push(&[0xff, marker, length[0], length[1]])?;
        self.push(body)
    }

    fn frame(&mut self, marker: u8, body: &[u8]) -> Result<(), Fault> {
        if self.header.is_some() {
            return Err("its data are damaged: a second frame header".into());
        }
        let &[precision, high, low, wide, narrow, components, ref rest @ ..] = body else {
            return Err("its data are damaged: a frame header that is too short".into());
        };
        if precision != 8 {
            return Err(Fault::Unread(format!("expected a JPEG of 8 bits, found {precision} bits, which is not read")));
        }
        let (height, width) = (u16::from_be_bytes([high, low]).into(), u16::from_be_bytes([wide, narrow]).into());
        if width == 0 || height == 0 || !(1..=4).contains(&components) || rest.len() != 3 * usize::from(components) {
            return Err("its data are damaged: a frame header without a size or its components".into());
        }
        let (mut ids, mut sampling) = ([0; 4], [(0, 0); 4]);
        for ((id, sampling), component) in ids.iter_mut().zip(&mut sampling).zip(rest.chunks(3)) {
            (*id, *sampling) = (component[0], (component[1] >> 4, component[1] & 15));
            if !(1..=4).contains(&sampling.0) || !(1..=4).contains(&sampling.1) {
                return Err("its data are damaged: a sampling factor outside 1 to 4".into());
            }
        }
        let header = Header { width, height, components, declared: None, progressive: marker == 0xc2, ids, sampling };
        self.room.expect(&header)?;
        self.header = Some(header);
        Ok(())
    }

    /// Notes which coefficients a scan brings, and to which precision; how many units it has.
    fn scan_header(&mut self, body: &[u8]) -> Result<u64, Fault> {
        const DAMAGED: &str = "its data are damaged: a scan header that does not fit its frame";
        let header = self.header.as_ref().ok_or("its data are damaged: a scan before the frame header")?;
        let count = usize::from(*body.first().ok_or(DAMAGED)?);
        if !(1..=4).contains(&count) || body.len() != 4 + 2 * count {
            return Err(DAMAGED.into());
        }
        if !header.progressive {
            self.only_scan(header, count)?;
        }
        if !self.huffman {
            return Err(Fault::Unread(
                "expected a JPEG with its Huffman tables, found one without, as in Motion JPEG, which is not read"
                    .into(),
            ));
        }
        let [first, last, precision] = body[1 + 2 * count..] else { return Err(DAMAGED.into()) };
        let (first, last, low) = if header.progressive { (first, last, precision & 15) } else { (0, 63, 0) };
        if first > last || last > 63 {
            return Err(DAMAGED.into());
        }
        let known = &header.ids[..usize::from(header.components)];
        let place = |component: &[u8]| known.iter().position(|&id| id == component[0]);
        let places: Option<Vec<usize>> = body[1..1 + 2 * count].chunks(2).map(place).collect();
        // In the order of the frame, as the standard has it: decoders exchange the components of others, or do not.
        let places = places.filter(|places| places.is_sorted_by(|a, b| a < b)).ok_or(DAMAGED)?;
        for &place in &places {
            self.lacking[place][usize::from(first)..=usize::from(last)].fill(low);
        }
        self.refined = header.progressive && precision >> 4 > 0;
        Ok(header.units(&places))
    }

    /// Checks that a scan of a sequential JPEG has all of it. The decoder loses all components but the first where a marker
    /// does not follow a scan at once, and some where they are enlarged: its picture is another one, without a word.
    fn only_scan(&self, header: &Header, components: usize) -> Result<(), Fault> {
        if components < usize::from(header.components) {
            return Err(Fault::Unread(
                "expected a JPEG with all components in one scan, found a scan for each, which is not read".into(),
            ));
        }
        if self.scans > 0 {
            return Err("its data are damaged: a second scan of the same components".into());
        }
        Ok(())
    }

    /// Copies a scan's data up to its end, with ones before each marker.
    ///
    /// # Errors
    /// Where it has more or fewer restart markers than its units need, or others: the decoder goes on with what it finds.
    fn entropy(&mut self, units: u64) -> Result<(), Fault> {
        self.scans += 1;
        let expected = units.saturating_sub(1).checked_div(self.interval).unwrap_or(0);
        self.restarts += expected;
        if self.scans > MOST_SCANS || self.restarts > MOST_RESTARTS {
            return Err(Fault::Unread(format!(
                "expected a JPEG of at most {MOST_SCANS} scans and {MOST_RESTARTS} restart markers, found one of more, \
                 which is not read"
            )));
        }
        let mut found = 0;
        // The decoder looks for the marker behind the first progressive scan in what it has read ahead, and nowhere else.
        // A file that is cut there lacks its other scans.
        let end_guarded = self.scans > 1 || self.header.is_some_and(|header| !header.progressive);
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
            self.push(&rest[..end])?;
            if end_guarded || matches!(marker, Some(0xd0..=0xd7)) {
                self.push(&SENTINEL)?;
            }
            self.entropy_bytes += end as u64;
            self.at += end;
            let Some(restart @ 0xd0..=0xd7) = marker else { break };
            if found == expected && nothing_behind(&rest[end..]) {
                break;
            }
            if found == expected || u64::from(restart & 7) != found & 7 {
                return Err("its JPEG data are damaged (a restart marker where none is due)".into());
            }
            found += 1;
            self.at += rest[end..].iter().position(|&byte| byte != 0xff).unwrap_or(0) + 1;
            self.push(&[0xff, restart])?;
        }
        if found < expected {
            return Err(
                format!("its JPEG data are damaged or truncated ({found} restart markers of {expected})").into()
            );
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Stream, Fault> {
        const EARLY: &str = "its JPEG data are damaged or truncated (the stream ends before the image does)";
        let header = self.header.ok_or("its JPEG header is missing")?;
        // A block has a code for its mean, and, unless it is progressive, one for the end of the block: a bit each.
        let blocks: u64 = (0..usize::from(header.components)).map(|component| header.blocks(component)).sum();
        let least_bits = blocks * if header.progressive { 1 } else { 2 };
        let lacking = self.lacking[..usize::from(header.components)].iter().flatten().any(|&bits| bits > 0);
        // A scan that refines others may have no code in its last blocks, so that nothing but the end mark shows that it is
        // whole.
        if lacking || 8 * self.entropy_bytes < least_bits || self.refined && !self.ended {
            return Err(EARLY.into());
        }
        self.push(&[0xff, 0xd9])?;
        let by_id = (header.components == 3 && header.ids[..3] == *b"RGB").then_some(Components::Rgb);
        Ok(Stream { header: Header { declared: self.declared.or(by_id), ..header }, bytes: self.out })
    }
}

/// Whether only restart markers come before the next marker of another kind: some writers go on with them behind the last
/// unit.
fn nothing_behind(rest: &[u8]) -> bool {
    let other = rest.iter().position(|&byte| byte != 0xff && !(0xd0..=0xd7).contains(&byte));
    other.is_none_or(|at| at > 0 && rest[at - 1] == 0xff)
}
