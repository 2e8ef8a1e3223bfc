//! What AVX2 does quicker: loops over twice as many values at a time, and channels side by side, for which SSE2 has no
//! instruction. Elsewhere the plain code does the same.

/// Plain code that is compiled twice: for any processor of the target, and with AVX2.
///
/// What `run` calls must be inlined into it (`#[inline(always)]` on it and on what it calls): a function that stays
/// apart, and so the closure of an array's `map` too, has the instructions of any processor.
pub trait Task {
    /// What it computes: the same bits by both, for Rust reorders and contracts no operation on floats.
    type Output;

    /// Does it.
    fn run(self) -> Self::Output;
}

/// Whether the processor has it.
pub(crate) fn is_here() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Does a task, with AVX2 where the processor has it.
pub fn run<T: Task>(task: T) -> T::Output {
    #[cfg(target_arch = "x86_64")]
    if is_here() {
        // SAFETY: the processor has AVX2.
        return unsafe { x86::run(task) };
    }
    task.run()
}

/// Packed RGB of pairs of pixels with 8-bit levels: red, green, blue of the even and then of the odd columns. Gives how
/// many pairs it has done; the others are left to the caller.
pub(crate) fn interleave(channels: [&[u16]; 6], to: &mut [u8]) -> usize {
    #[cfg(target_arch = "x86_64")]
    if is_here() {
        // SAFETY: the processor has AVX2, and so SSSE3.
        return unsafe { x86::interleave(channels, to) };
    }
    let _ = (channels, to);
    0
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m128i, _mm_loadu_si128, _mm_or_si128, _mm_shuffle_epi8, _mm_slli_epi16, _mm_storeu_si128,
    };

    use super::Task;

    #[target_feature(enable = "avx2")]
    pub(super) fn run<T: Task>(task: T) -> T::Output {
        task.run()
    }

    /// Where the bytes of word `w` (0 to 2) of each of eight pairs go in block `b` of the three that they fill.
    const PLACES: [[[u8; 16]; 3]; 3] = {
        let mut places = [[[0x80; 16]; 3]; 3];
        let mut byte = 0;
        while byte < 48 {
            let (pair, word, half) = (byte / 6, byte % 6 / 2, byte % 2);
            places[byte / 16][word][byte % 16] = (2 * pair + half) as u8;
            byte += 1;
        }
        places
    };

    fn load(bytes: &[u8; 16]) -> __m128i {
        // SAFETY: sixteen bytes can be read.
        unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
    }

    fn levels(row: &[u16], at: usize) -> __m128i {
        let eight: &[u16; 8] = row[at..at + 8].try_into().expect("eight levels");
        // SAFETY: eight words are sixteen bytes.
        unsafe { _mm_loadu_si128(eight.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn interleave(channels: [&[u16]; 6], to: &mut [u8]) -> usize {
        let blocks = (to.len() / 48).min(channels[0].len() / 8);
        let places = PLACES.map(|block| block.map(|bytes| load(&bytes)));
        for (block, out) in to.chunks_exact_mut(48).enumerate().take(blocks) {
            // Two channels as the two bytes of a word.
            let word = |first: usize| {
                let (low, high) = (levels(channels[first], 8 * block), levels(channels[first + 1], 8 * block));
                _mm_or_si128(low, _mm_slli_epi16::<8>(high))
            };
            let words = [word(0), word(2), word(4)];
            for (places, out) in places.iter().zip(out.chunks_exact_mut(16)) {
                let [a, b, c] = [0, 1, 2].map(|w| _mm_shuffle_epi8(words[w], places[w]));
                let all = _mm_or_si128(_mm_or_si128(a, b), c);
                // SAFETY: `out` has sixteen bytes.
                unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), all) };
            }
        }
        8 * blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_stand_side_by_side_at_every_length() {
        for pairs in 0..40 {
            let rows: Vec<Vec<u16>> = (0..6).map(|c| (0..pairs).map(|i| (40 * c + i) as u16 & 255).collect()).collect();
            let mut out = vec![0; 6 * pairs];
            let done = interleave(std::array::from_fn(|c| &rows[c][..]), &mut out);
            assert!(!is_here() || done == pairs / 8 * 8);
            for at in 0..6 * done {
                assert_eq!(u16::from(out[at]), rows[at % 6][at / 6], "byte {at} of {pairs} pairs");
            }
            assert!(out[6 * done..].iter().all(|&byte| byte == 0));
        }
    }
}
