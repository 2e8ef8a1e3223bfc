//! Lossless compressions of TIFF, whole chunks at a time. A chunk is good when all its pixels are there, as libtiff
//! takes it: an end mark, a checksum or bytes behind them are nobody's pixels.

use flate2::{Decompress, FlushDecompress, Status};
use weezl::{BitOrder, LzwStatus};

use crate::budget::{list, zeroes};

/// The `expected` bytes of a chunk.
///
/// # Errors
/// Where its data are damaged or end early.
pub(super) fn unpack(compression: u16, data: Vec<u8>, expected: usize) -> Result<Vec<u8>, String> {
    let (out, found, why) = match compression {
        5 => lzw(&data, expected)?,
        8 | 32946 => inflate(&data, expected)?,
        32773 => pack_bits(&data, expected)?,
        _ => {
            let found = data.len();
            let mut out = data;
            out.truncate(expected);
            (out, found, String::new())
        }
    };
    if found < expected {
        return Err(format!(
            "its data is damaged or truncated (expected {expected} bytes of pixels, found {found}{why})"
        ));
    }
    Ok(out)
}

/// Bytes, how many of them were written, and why not more.
type Unpacked = Result<(Vec<u8>, usize, String), String>;

fn lzw(data: &[u8], expected: usize) -> Unpacked {
    let mut out = zeroes(expected)?;
    // Every stream begins with the code 256 in 9 bits. Before TIFF 5 the lowest bit of a byte came first, as in GIF.
    let old = matches!(data, [0, second, ..] if second & 1 == 1);
    let mut decoder = match old {
        true => weezl::decode::Decoder::new(BitOrder::Lsb, 8),
        false => weezl::decode::Configuration::with_tiff_size_switch(BitOrder::Msb, 8).build(),
    };
    let (mut read, mut written) = (0, 0);
    while written < expected {
        let step = decoder.decode_bytes(&data[read..], &mut out[written..]);
        (read, written) = (read + step.consumed_in, written + step.consumed_out);
        match step.status {
            Ok(LzwStatus::Ok) if step.consumed_in + step.consumed_out > 0 => {}
            Ok(_) => break,
            Err(error) => return Ok((out, written, format!("; LZW: {error}"))),
        }
    }
    Ok((out, written, String::new()))
}

fn inflate(data: &[u8], expected: usize) -> Unpacked {
    let mut out = zeroes(expected)?;
    let mut decoder = Decompress::new(true);
    loop {
        let (read, written) = (decoder.total_in() as usize, decoder.total_out() as usize);
        if written == expected {
            return Ok((out, written, String::new()));
        }
        let status = decoder.decompress(&data[read..], &mut out[written..], FlushDecompress::None);
        let moved = decoder.total_in() as usize > read || decoder.total_out() as usize > written;
        match status {
            Ok(Status::Ok | Status::BufError) if moved => {}
            Ok(_) => return Ok((out, decoder.total_out() as usize, String::new())),
            Err(error) if decoder.total_out() as usize == expected => return Ok((out, expected, error.to_string())),
            Err(error) => return Ok((out, decoder.total_out() as usize, format!("; deflate: {error}"))),
        }
    }
}

fn pack_bits(data: &[u8], expected: usize) -> Unpacked {
    let mut out = list((expected + 128).min(64 * data.len()))?;
    let mut rest = data;
    while let (true, [head, after @ ..]) = (out.len() < expected, rest) {
        let (taken, run) = match *head {
            count @ 0..=127 => (usize::from(count) + 1, 1),
            128 => (0, 0),
            count => (1, 257 - usize::from(count)),
        };
        let Some(bytes) = after.get(..taken) else { break };
        match run {
            0 => {}
            1 => out.extend_from_slice(bytes),
            run => out.extend(std::iter::repeat_n(bytes[0], run)),
        }
        rest = &after[taken..];
    }
    let found = out.len();
    out.truncate(expected);
    Ok((out, found, String::new()))
}

/// Sums up samples that are stored as differences from their neighbours on the left.
pub(super) fn undo_differences(samples: &mut [u8], width: usize, per_pixel: usize) {
    for row in samples.chunks_exact_mut(width * per_pixel) {
        for index in per_pixel..row.len() {
            row[index] = row[index].wrapping_add(row[index - per_pixel]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn sample() -> Vec<u8> {
        (0..5000_u32).map(|index| (index * index / 777) as u8).collect()
    }

    #[test]
    fn whole_chunks_come_back_and_short_ones_are_named() {
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(&sample()).unwrap();
        let deflated = zlib.finish().unwrap();
        let lzw = weezl::encode::Encoder::with_tiff_size_switch(BitOrder::Msb, 8).encode(&sample()).unwrap();
        for (compression, data) in [(1, sample()), (5, lzw), (8, deflated.clone()), (32946, deflated)] {
            assert_eq!(unpack(compression, data.clone(), 5000).unwrap(), sample(), "{compression}");
            // What stands behind the pixels does not matter, be it an end mark, a checksum or more pixels.
            assert_eq!(unpack(compression, data.clone(), 4000).unwrap(), sample()[..4000], "{compression}");
            let error = unpack(compression, data[..data.len() / 2].to_vec(), 5000).unwrap_err();
            assert!(error.contains("damaged or truncated (expected 5000 bytes of pixels, found"), "{error}");
        }
    }

    #[test]
    fn lzw_without_an_end_mark_is_whole() {
        let whole = weezl::encode::Encoder::with_tiff_size_switch(BitOrder::Msb, 8).encode(&sample()).unwrap();
        assert_eq!(unpack(5, whole[..whole.len() - 1].to_vec(), 5000).unwrap(), sample());
    }

    /// Long enough for codes of every length and a table that is begun again.
    #[test]
    fn lzw_of_before_tiff_5_is_read() {
        let long: Vec<u8> = (0..60_000_u32).map(|index| (index * index / 777) as u8).collect();
        let old = weezl::encode::Encoder::new(BitOrder::Lsb, 8).encode(&long).unwrap();
        assert!(old[0] == 0 && old[1] & 1 == 1);
        assert_eq!(unpack(5, old, long.len()).unwrap(), long);
    }

    #[test]
    fn pack_bits_of_the_specification() {
        // Apple's example in the TIFF specification.
        let packed = b"\xfe\xaa\x02\x80\x00\x2a\xfd\xaa\x03\x80\x00\x2a\x22\xf7\xaa".to_vec();
        let plain = b"\xaa\xaa\xaa\x80\x00\x2a\xaa\xaa\xaa\xaa\x80\x00\x2a\x22\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa";
        assert_eq!(unpack(32773, packed.clone(), 24).unwrap(), plain);
        assert!(unpack(32773, packed[..12].to_vec(), 24).unwrap_err().contains("found 10"));
    }

    #[test]
    fn random_bytes_end_with_an_answer() {
        let mut state = 5_u64;
        for _ in 0..2000 {
            let mut draw = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 33) as usize
            };
            let length = draw() % 200;
            let data: Vec<u8> = (0..length).map(|_| draw() as u8).collect();
            for compression in [5, 8, 32773] {
                let _ = unpack(compression, data.clone(), 1000);
            }
        }
    }
}
