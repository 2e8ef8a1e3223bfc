//! PNGs that claim more than they have.

/// A PNG of `side` px each way without pixels, with these chunks behind its header.
pub(crate) fn claiming(side: u32, chunks: &[u8]) -> Vec<u8> {
    let size = [&side.to_be_bytes()[..], &side.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
    let begin = [&b"\x89PNG\r\n\x1a\n"[..], &chunk(b"IHDR", &size), chunks].concat();
    [begin, chunk(b"IDAT", &[]), chunk(b"IEND", &[])].concat()
}

/// A chunk with a colour profile of so many zeroes.
pub(crate) fn profile(zeroes: usize) -> Vec<u8> {
    chunk(b"iCCP", &[&b"p\0\0"[..], &deflated(zeroes)].concat())
}

/// A zlib stream of zeroes in the codes that every decoder has: one literal, then copies of 258 bytes in 13 bits each.
fn deflated(zeroes: usize) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let (mut bits, mut held) = (0u64, 0);
    let mut push = |value: u64, count: u32| {
        bits |= value << held;
        held += count;
        while held >= 8 {
            out.push(bits as u8);
            bits >>= 8;
            held -= 8;
        }
    };
    // The last block, of fixed codes. Codes come with their first bit first.
    push(0b011, 3);
    push(0b0000_1100, 8);
    (0..zeroes / 258).for_each(|_| push(0b00000_10100011, 13));
    // The end of the block, and the rest of a byte.
    push(0, 7 + 8);
    out
}

fn chunk(kind: &[u8], data: &[u8]) -> Vec<u8> {
    let crc = crc(&[kind, data].concat());
    [&(data.len() as u32).to_be_bytes()[..], kind, data, &crc.to_be_bytes()].concat()
}

/// The checksum of a chunk.
fn crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0u32, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}
