//! Levels out of bytes.

use crate::format::Packing;

/// Reads `to.len()` samples of a row from sample `first` on.
pub(crate) fn unpack(packing: Packing, bits: u32, row: &[u8], first: usize, to: &mut [u16]) {
    match packing {
        Packing::Bytes => {
            let count = to.len();
            for (level, &byte) in to.iter_mut().zip(&row[first..first + count]) {
                *level = u16::from(byte);
            }
        }
        Packing::Words => {
            // A camera may leave anything above the value.
            let mask = u16::MAX >> (16 - bits);
            let words = row[2 * first..2 * (first + to.len())].chunks_exact(2);
            for (level, word) in to.iter_mut().zip(words) {
                *level = u16::from_le_bytes([word[0], word[1]]) & mask;
            }
        }
        Packing::Dense => dense(bits, row, first, to),
        Packing::Gige => gige(bits, row, first, to),
    }
}

fn dense(bits: u32, row: &[u8], first: usize, to: &mut [u16]) {
    match bits {
        10 => groups::<10, 4, 5>(row, first, to),
        12 => groups::<12, 2, 3>(row, first, to),
        _ => groups::<14, 4, 7>(row, first, to),
    }
}

/// `COUNT` samples of `BITS` bits make `BYTES` whole bytes.
fn groups<const BITS: u32, const COUNT: usize, const BYTES: usize>(row: &[u8], first: usize, to: &mut [u16]) {
    let head = (first.next_multiple_of(COUNT) - first).min(to.len());
    let (before, rest) = to.split_at_mut(head);
    for (at, level) in before.iter_mut().enumerate() {
        *level = dense_sample(BITS, row, first + at);
    }
    let from = first + head;
    let whole = rest.len() / COUNT * COUNT;
    let (levels, after) = rest.split_at_mut(whole);
    let packed = row[(from / COUNT * BYTES).min(row.len())..].chunks_exact(BYTES);
    for (levels, packed) in levels.chunks_exact_mut(COUNT).zip(packed) {
        let mut word = [0; 8];
        word[..BYTES].copy_from_slice(packed);
        let word = u64::from_le_bytes(word);
        for (at, level) in levels.iter_mut().enumerate() {
            *level = (word >> (at as u32 * BITS)) as u16 & (u16::MAX >> (16 - BITS));
        }
    }
    for (at, level) in after.iter_mut().enumerate() {
        *level = dense_sample(BITS, row, from + whole + at);
    }
}

fn dense_sample(bits: u32, row: &[u8], at: usize) -> u16 {
    let bit = at * bits as usize;
    let (byte, shift) = (bit / 8, bit % 8);
    let third = if shift + bits as usize > 16 { row[byte + 2] } else { 0 };
    let word = u32::from_le_bytes([row[byte], row[byte + 1], third, 0]);
    (word >> shift) as u16 & (u16::MAX >> (16 - bits))
}

fn gige(bits: u32, row: &[u8], first: usize, to: &mut [u16]) {
    let low = bits - 8;
    let mask = (1u16 << low) - 1;
    let sample = |at: usize| {
        let packed = &row[at / 2 * 3..];
        match at % 2 {
            0 => u16::from(packed[0]) << low | u16::from(packed[1]) & mask,
            _ => u16::from(packed[2]) << low | u16::from(packed[1] >> 4) & mask,
        }
    };
    let end = first + to.len();
    let head = (first % 2).min(to.len());
    if head == 1 {
        to[0] = sample(first);
    }
    let start = (first + head) / 2 * 3;
    let mut pairs = to[head..].chunks_exact_mut(2);
    for (pair, packed) in (&mut pairs).zip(row[start.min(row.len())..].chunks_exact(3)) {
        pair[0] = u16::from(packed[0]) << low | u16::from(packed[1]) & mask;
        pair[1] = u16::from(packed[2]) << low | u16::from(packed[1] >> 4) & mask;
    }
    if let [last] = pairs.into_remainder() {
        *last = sample(end - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::PixelFormat;

    /// Bit by bit, as the standards draw it.
    fn sample(packing: Packing, bits: u32, row: &[u8], at: usize) -> u16 {
        let bit = |index: usize| u16::from(row[index / 8] >> (index % 8) & 1);
        let places: Vec<usize> = match packing {
            Packing::Bytes => (8 * at..8 * at + 8).collect(),
            Packing::Words => (16 * at..16 * at + bits as usize).collect(),
            Packing::Dense => (at * bits as usize..(at + 1) * bits as usize).collect(),
            // Low bits first: bits 8.. or 12.. of the three bytes, then the whole of the first or third.
            Packing::Gige => {
                let (low, high) = if at.is_multiple_of(2) { (8, 0) } else { (12, 16) };
                let start = at / 2 * 24;
                (low..low + bits as usize - 8).chain(high..high + 8).map(|place| start + place).collect()
            }
        };
        places.iter().enumerate().map(|(power, &place)| bit(place) << power).sum()
    }

    #[test]
    fn every_run_of_every_packing_is_read_bit_by_bit() {
        let noise: Vec<u8> = (0..400u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 21) as u8).collect();
        for (_, name, format) in PixelFormat::all() {
            for pixels in 1..20 {
                let samples = pixels * format.samples_per_pixel();
                // Exactly the row: nothing beyond it is read.
                let row = &noise[..format.row_bytes(pixels as u64) as usize];
                for first in 0..samples {
                    for end in first..=samples {
                        let mut levels = vec![0xffff; end - first];
                        unpack(format.packing, format.bits, row, first, &mut levels);
                        let want: Vec<u16> =
                            (first..end).map(|at| sample(format.packing, format.bits, row, at)).collect();
                        assert_eq!(levels, want, "{name}: {first}..{end} of {samples}");
                    }
                }
            }
        }
    }
}
