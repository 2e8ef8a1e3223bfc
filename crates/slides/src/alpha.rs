//! Opacity. It says whether a pixel was scanned; the colour of one that was is what the scanner saw.

use super::budget::list;

/// Undoes the multiplication of a pixel's colours by its opacity, 1..255.
pub(crate) fn divide(pixel: &mut [u8], alpha: u8) {
    let alpha = u32::from(alpha);
    pixel.iter_mut().for_each(|value| *value = ((u32::from(*value) * 255 + alpha / 2) / alpha).min(255) as u8);
}

/// Takes the opacity out of RGBA pixels, in place: RGB is left, white where the opacity is 0. Gives which pixels were
/// scanned; None: all.
///
/// # Errors
/// Where there is no memory.
pub(crate) fn take(rgba: &mut Vec<u8>) -> Result<Option<Vec<bool>>, String> {
    let count = rgba.len() / 4;
    let mut scanned: Option<Vec<bool>> = None;
    if rgba.chunks_exact(4).any(|pixel| pixel[3] == 0) {
        let mut all = list(count)?;
        all.extend(rgba.chunks_exact(4).map(|pixel| pixel[3] > 0));
        scanned = Some(all);
    }
    for index in 0..count {
        let [r, g, b, alpha] = [0, 1, 2, 3].map(|channel| rgba[4 * index + channel]);
        let seen = if alpha == 0 { [255; 3] } else { [r, g, b] };
        rgba[3 * index..3 * index + 3].copy_from_slice(&seen);
    }
    rgba.truncate(3 * count);
    Ok(scanned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_those_that_were_seen() {
        let mut rgba = vec![9, 8, 7, 255, 1, 2, 3, 128, 50, 60, 70, 0];
        assert_eq!(take(&mut rgba), Ok(Some(vec![true, true, false])));
        assert_eq!(rgba, [9, 8, 7, 1, 2, 3, 255, 255, 255]);
        let mut opaque = vec![1, 2, 3, 4];
        assert_eq!(take(&mut opaque), Ok(None));
        assert_eq!(opaque, [1, 2, 3]);
        let mut pixel = [100, 50, 0];
        divide(&mut pixel, 128);
        assert_eq!(pixel, [199, 100, 0]);
    }
}
