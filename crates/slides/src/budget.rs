//! What a file may ask for. Sizes from a header meet the file's own bytes and a limit before memory is asked for, and a
//! library that panics on a stranger's bytes is heard.

use coverslip_files::fence::caught;

/// Largest picture, bytes that decoding it needs.
pub(crate) const LARGEST_PICTURE: u64 = 768 << 20;
/// Largest tile or strip, bytes.
pub(crate) const LARGEST_CHUNK: u64 = 256 << 20;

/// Zeroes, or a refusal where there is no memory: `vec!` would end the process.
pub(crate) fn zeroes(bytes: usize) -> Result<Vec<u8>, String> {
    let mut memory = Vec::new();
    memory.try_reserve_exact(bytes).map_err(|_| format!("no memory for {} MB", bytes >> 20))?;
    memory.resize(bytes, 0);
    Ok(memory)
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
}
