//! The short way of formats with 8-bit interleaved channels that are used as they are.
//!
//! Written so that the compiler vectorises it for any x86-64 (SSE2 has no byte shuffle): a permutation of bytes
//! within pixels becomes a few shifted loads under masks.

/// The order of interleaved channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Rgb,
    Bgr,
    Rgba,
    Bgra,
}

impl Order {
    pub(crate) fn bytes_per_pixel(self) -> usize {
        if matches!(self, Order::Rgb | Order::Bgr) { 3 } else { 4 }
    }
}

/// Copies a row of pixels as packed RGB.
///
/// `dst` holds 3 bytes per pixel and decides how many pixels there are; `src` holds at least as many, in `order`.
///
/// # Panics
/// When `src` is too short or `dst` is not whole pixels.
pub(crate) fn copy_row(order: Order, src: &[u8], dst: &mut [u8]) {
    assert_eq!(dst.len() % 3, 0, "a row of RGB is whole pixels");
    let src = &src[..dst.len() / 3 * order.bytes_per_pixel()];
    match order {
        Order::Rgb => dst.copy_from_slice(src),
        Order::Bgr => reverse_triples(src, dst),
        Order::Rgba => drop_fourth(src, dst, |pair| pair),
        Order::Bgra => drop_fourth(src, dst, |pair| (pair.swap_bytes() >> 8).rotate_right(32)),
    }
}

/// Bytes that [`reverse_triples`] turns at a time: whole pixels and whole 16-byte vectors.
const TRIPLES: usize = 48;

/// Turns each pixel's three bytes around.
///
/// Byte `j` of the output is byte `j + 2`, `j` or `j - 2` of the input, by `j mod 3`: three loads under masks.
fn reverse_triples(src: &[u8], dst: &mut [u8]) {
    const MASKS: [[u8; TRIPLES]; 3] = {
        let mut masks = [[0; TRIPLES]; 3];
        let mut j = 0;
        while j < TRIPLES {
            masks[j % 3][j] = 0xff;
            j += 1;
        }
        masks
    };
    if src.len() < TRIPLES + 6 {
        return reverse_triples_slowly(src, dst);
    }
    // One pixel before and after the blocks, so that the shifted loads stay inside.
    let blocks = (src.len() - 6) / TRIPLES;
    let end = 3 + blocks * TRIPLES;
    reverse_triples_slowly(&src[..3], &mut dst[..3]);
    for (i, out) in dst[3..end].chunks_exact_mut(TRIPLES).enumerate() {
        let from = &src[1 + i * TRIPLES..][..TRIPLES + 4];
        let (left, middle, right) = (&from[..TRIPLES], &from[2..TRIPLES + 2], &from[4..TRIPLES + 4]);
        for j in 0..TRIPLES {
            out[j] = (right[j] & MASKS[0][j]) | (middle[j] & MASKS[1][j]) | (left[j] & MASKS[2][j]);
        }
    }
    reverse_triples_slowly(&src[end..], &mut dst[end..]);
}

fn reverse_triples_slowly(src: &[u8], dst: &mut [u8]) {
    for (out, pixel) in dst.chunks_exact_mut(3).zip(src.chunks_exact(3)) {
        (out[0], out[1], out[2]) = (pixel[2], pixel[1], pixel[0]);
    }
}

/// Takes the first three of each four bytes, after `order` has put two pixels (a little-endian word of 8 bytes) into
/// the order wanted. Eight pixels at a time: four words of 6 bytes make three of 8.
fn drop_fourth(src: &[u8], dst: &mut [u8], order: impl Fn(u64) -> u64) {
    let six = |bytes: &[u8]| {
        let pair = order(u64::from_le_bytes(bytes.try_into().expect("eight bytes")));
        (pair & 0xff_ffff) | ((pair >> 8) & 0xffff_ff00_0000)
    };
    let mut pixels = src.chunks_exact(32);
    let mut out = dst.chunks_exact_mut(24);
    for (out, pixels) in (&mut out).zip(&mut pixels) {
        let (a, b) = (six(&pixels[..8]), six(&pixels[8..16]));
        let (c, d) = (six(&pixels[16..24]), six(&pixels[24..]));
        out[..8].copy_from_slice(&(a | b << 48).to_le_bytes());
        out[8..16].copy_from_slice(&(b >> 16 | c << 32).to_le_bytes());
        out[16..].copy_from_slice(&(c >> 32 | d << 16).to_le_bytes());
    }
    for (out, pixel) in out.into_remainder().chunks_exact_mut(3).zip(pixels.remainder().chunks_exact(4)) {
        let pixel = order(u64::from(u32::from_le_bytes(pixel.try_into().expect("four bytes"))));
        out.copy_from_slice(&pixel.to_le_bytes()[..3]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Order; 4] = [Order::Rgb, Order::Bgr, Order::Rgba, Order::Bgra];

    /// What `copy_row` must give, pixel by pixel.
    fn naive(format: Order, src: &[u8], pixels: usize) -> Vec<u8> {
        let order = match format {
            Order::Rgb | Order::Rgba => [0, 1, 2],
            Order::Bgr | Order::Bgra => [2, 1, 0],
        };
        let size = format.bytes_per_pixel();
        (0..pixels).flat_map(|p| order.map(|c| src[p * size + c])).collect()
    }

    #[test]
    fn every_length_of_every_format_equals_the_naive_loop() {
        let mut state = 1u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(4 * 700 + 16)
        .collect();
        for format in ALL {
            for pixels in (0..200).chain([224, 255, 256, 257, 512, 699, 700]) {
                for offset in [0, 1, 7] {
                    let src = &noise[offset..];
                    let mut dst = vec![0xa5; 3 * pixels + 2];
                    copy_row(format, src, &mut dst[1..=3 * pixels]);
                    assert_eq!(dst[1..=3 * pixels], naive(format, src, pixels), "{format:?}, {pixels} pixels");
                    assert_eq!((dst[0], dst[3 * pixels + 1]), (0xa5, 0xa5), "{format:?} wrote beside the row");
                }
            }
        }
    }

    #[test]
    #[should_panic]
    fn a_short_source_is_not_read_beyond() {
        copy_row(Order::Rgba, &[0; 7], &mut [0; 6]);
    }
}
