//! Which of the process's memory can be read and written, as the kernel has it.

use std::ops::Range;

/// What a buffer is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// The first address of a range that cannot be accessed so; None: all of it can. Where the kernel does not say, all can.
pub(crate) fn first_beyond(range: Range<u64>, access: Access) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/maps").ok()?;
    let mut reached = range.start;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(place), Some(rights)) = (words.next(), words.next()) else { continue };
        let Some((start, end)) = place.split_once('-') else { continue };
        let (Ok(start), Ok(end)) = (u64::from_str_radix(start, 16), u64::from_str_radix(end, 16)) else { continue };
        let right = if access == Access::Read { 'r' } else { 'w' };
        if start <= reached && reached < end && rights.contains(right) {
            reached = end;
        }
        if reached >= range.end {
            return None;
        }
    }
    Some(reached)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_ours_can_be_read_and_what_is_beyond_everything_cannot() {
        let bytes = vec![1u8; 1 << 20];
        let start = bytes.as_ptr() as u64;
        assert_eq!(first_beyond(start..start + (1 << 20), Access::Write), None);
        assert!(first_beyond(start..start + (1 << 46), Access::Read).is_some());
        assert_eq!(first_beyond(0..8, Access::Read), Some(0));
        // The code of this program can be read, not written.
        let code = first_beyond as *const () as u64;
        assert_eq!(first_beyond(code..code + 4, Access::Read), None);
        assert_eq!(first_beyond(code..code + 4, Access::Write), Some(code));
    }
}
