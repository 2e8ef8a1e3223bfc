//! What the library answers other than OK, and the texts that cross the boundary.

use std::ffi::{CString, c_char};
use std::fmt;
use std::path::Path;
use std::time::Duration;

use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::AbiStruct;

use super::names::code_name;

/// An answer other than OK, or why the library could not be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostError {
    /// A `COVERSLIP_*` code; 0 where the library was not reached.
    pub(crate) code: i32,
    pub(crate) native_code: i64,
    pub(crate) message: String,
}

impl fmt::Display for HostError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            0 => out.write_str(&self.message),
            code => write!(out, "{} ({}): {}", code_name(code), code, self.message),
        }
    }
}

impl std::error::Error for HostError {}

/// What every call into the library gives.
pub(super) type Outcome<T> = Result<T, HostError>;

/// Calls a function of the table; an answer other than OK becomes a `HostError`.
pub(super) fn check(call: impl FnOnce(*mut abi::Error) -> i32) -> Outcome<()> {
    let mut error = abi::Error::init();
    match call(&mut error) {
        abi::OK => Ok(()),
        code => Err(HostError { code, native_code: error.native_code, message: text(&error.message) }),
    }
}

/// The text in a fixed-size C string of an output.
pub(crate) fn text(chars: &[c_char]) -> String {
    let bytes: Vec<u8> = chars.iter().take_while(|&&c| c != 0).map(|&c| c as u8).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(super) fn c_string(text: &str) -> Outcome<CString> {
    CString::new(text).map_err(|_| HostError {
        code: abi::INVALID_ARGUMENT,
        native_code: 0,
        message: format!("expected text without NUL characters, found {text:?}"),
    })
}

/// A path as the contract takes it.
pub(super) fn path_text(path: &Path) -> Outcome<CString> {
    let text = path.to_str().ok_or_else(|| HostError {
        code: abi::INVALID_ARGUMENT,
        native_code: 0,
        message: format!("expected a path in UTF-8, found {path:?}; give it another name"),
    })?;
    c_string(text)
}

/// A duration in the contract's milliseconds; never the value that means "no timeout".
pub(super) fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(abi::NO_TIMEOUT).min(abi::NO_TIMEOUT - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_not_utf_8_is_not_taken_for_another() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        let refused = path_text(Path::new(OsStr::from_bytes(b"/bundles/a\xff"))).unwrap_err();
        assert!(refused.code == abi::INVALID_ARGUMENT && refused.message.contains(r"a\xFF"), "{refused}");
        assert_eq!(path_text(Path::new("/bundles/\u{e9}")).unwrap().to_str(), Ok("/bundles/\u{e9}"));
    }
}
