//! Text and digests across the line.

use std::ffi::{CStr, c_char};
use std::fmt::Arguments;

use coverslip_base::error::{Error, Result, cut_to_fit, error};

/// Reads a path or a name, where it lies; None: the host gave NULL.
///
/// # Safety
/// `text` is null or NUL-terminated, and stays for `'h`.
pub(super) unsafe fn read_text<'h>(text: *const c_char, name: &str) -> Result<Option<&'h str>> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(text) };
    match text.to_str() {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(error!(INVALID_ARGUMENT, "expected UTF-8 text in {name}, found {text:?}")),
    }
}

/// Reads a text that must be there.
///
/// # Safety
/// As [`read_text`].
pub(super) unsafe fn require_text<'h>(text: *const c_char, name: &str) -> Result<&'h str> {
    // SAFETY: the caller's promise.
    match unsafe { read_text(text, name) }? {
        Some(text) if !text.is_empty() => Ok(text),
        _ => Err(error!(INVALID_ARGUMENT, "expected {name}, found NULL or an empty text")),
    }
}

/// Reads a digest; None: the host gave NULL.
///
/// # Safety
/// `digest` is null or points to 32 readable bytes.
pub(super) unsafe fn read_digest(digest: *const u8) -> Option<[u8; 32]> {
    // SAFETY: the caller's promise; [u8; 32] has no alignment.
    (!digest.is_null()).then(|| unsafe { digest.cast::<[u8; 32]>().read() })
}

/// Text into a fixed array of the contract, NUL-terminated. Where it does not fit it is cut after a word; a name, which
/// is one word, where the array ends.
pub(super) fn put_text(target: &mut [c_char], text: &str) {
    let room = target.len() - 1;
    let (kept, mark) = match text.contains(char::is_whitespace) {
        true => cut_to_fit(text, room),
        false => (&text[..text.floor_char_boundary(room)], ""),
    };
    target.fill(0);
    for (place, byte) in target.iter_mut().zip(kept.bytes().chain(mark.bytes())) {
        *place = byte as c_char;
    }
}

/// The same for text that is made now.
pub(super) fn put_args(target: &mut [c_char], text: Arguments<'_>) {
    // An error's text lies in place and has room for more than any label.
    put_text(target, Error::new(coverslip_plugin_abi::OK, text).text());
}
