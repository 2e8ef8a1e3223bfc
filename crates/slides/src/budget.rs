//! What a file may ask for. Sizes from a header meet the file's own bytes and a limit before memory is asked for, and a
//! library that panics on a stranger's bytes is heard.

use std::fmt;

use coverslip_files::fence::caught;

use super::rect::Rect;

/// Largest picture, bytes that decoding it needs.
pub(crate) const LARGEST_PICTURE: u64 = 768 << 20;
/// Largest tile or strip, bytes.
pub(crate) const LARGEST_CHUNK: u64 = 256 << 20;

/// Largest part of a slide that is read at once, bytes.
const LARGEST_PART: u64 = LARGEST_PICTURE;

/// Room for a list, or a refusal where there is no memory: `Vec::with_capacity` would end the process.
pub(crate) fn list<T>(count: usize) -> Result<Vec<T>, String> {
    let mut memory = Vec::new();
    memory.try_reserve_exact(count).map_err(|_| no_memory(count.saturating_mul(size_of::<T>())))?;
    Ok(memory)
}

/// Zeroes, or a refusal where there is no memory.
pub(crate) fn zeroes(bytes: usize) -> Result<Vec<u8>, String> {
    let mut memory = list(bytes)?;
    memory.resize(bytes, 0);
    Ok(memory)
}

pub(crate) fn no_memory(bytes: usize) -> String {
    format!("no memory for {} MB", bytes >> 20)
}

/// Makes `out` the pixels of `rect`, each of the same `value`.
///
/// # Errors
/// Where the part is larger than any frame, or there is no memory for it.
pub(crate) fn blank(slide: &dyn fmt::Display, rect: Rect, value: u8, out: &mut Vec<u8>) -> Result<(), String> {
    let refused = |found: &str| {
        format!(
            "{slide}: expected to read at most {} MB of it at once, found a part of {} x {} px{found}. Read it in \
             smaller frames",
            LARGEST_PART >> 20,
            rect.width,
            rect.height
        )
    };
    if rect.bytes() as u64 > LARGEST_PART {
        return Err(refused(""));
    }
    out.clear();
    out.try_reserve_exact(rect.bytes()).map_err(|_| refused(" and no memory for it"))?;
    out.resize(rect.bytes(), value);
    Ok(())
}

/// Runs a library on bytes that may be anybody's.
pub(crate) fn guarded<T>(library: &str, work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    caught(work).unwrap_or_else(|text| Err(format!("its data are damaged: {library} gave up on them ({text})")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_a_library_is_an_error() {
        let refused = guarded::<()>("the library", || panic!("index {} out of range", 7)).unwrap_err();
        assert_eq!(refused, "its data are damaged: the library gave up on them (index 7 out of range)");
        assert_eq!(guarded("the library", || Ok(3)), Ok(3));
        assert!(zeroes(usize::MAX / 4).unwrap_err().contains("no memory"));
        assert_eq!(zeroes(3).unwrap(), [0; 3]);
    }

    #[test]
    fn a_part_that_is_larger_than_any_frame_is_refused() {
        let mut out = vec![1, 2];
        let refused = |width, height, out: &mut Vec<u8>| {
            blank(&"a.tif", Rect { x: 0, y: 0, width, height }, 255, out).unwrap_err()
        };
        for (width, height) in [(u32::MAX, u32::MAX), (1 << 20, 1 << 9)] {
            let said = refused(width, height, &mut out);
            assert!(said.starts_with("a.tif: expected to read at most 768 MB") && said.contains("smaller"), "{said}");
        }
        blank(&"a.tif", Rect { x: 9, y: 9, width: 2, height: 1 }, 255, &mut out).unwrap();
        assert_eq!(out, [255; 6]);
    }
}
