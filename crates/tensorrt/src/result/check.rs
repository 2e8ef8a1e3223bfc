//! From "false" and "nothing" to errors; from Rust's texts and shapes to C's.

use std::ffi::CString;
use std::path::Path;

use super::error::{Error, Result};
use crate::sys::{Dims, Library, LogLine, MAX_DIMS, Mark};

/// What TensorRT reads of a name, the zero at its end included.
const LONGEST_NAME: usize = 4096;

/// The log from here on, for the error that may follow.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    library: &'static Library,
    mark: Mark,
}

impl Watch {
    /// From now on.
    pub fn begin(library: &'static Library) -> Self {
        Self { library, mark: library.logger().mark() }
    }

    /// What was logged since.
    pub fn log(&self) -> Vec<LogLine> {
        self.library.logger().since(self.mark)
    }

    /// What `call` has made, or an error that names it.
    pub fn made<T>(&self, call: &'static str, made: Option<T>) -> Result<T> {
        made.ok_or_else(|| Error::Call { call, log: self.log() })
    }

    /// Whether `call` answered yes, as a result.
    pub fn done(&self, call: &'static str, done: bool) -> Result<()> {
        if done { Ok(()) } else { Err(Error::Call { call, log: self.log() }) }
    }
}

/// A name as TensorRT takes it.
pub fn name(text: &str) -> Result<CString> {
    if text.len() >= LONGEST_NAME {
        return Err(Error::Argument { why: format!("a name has {} bytes; TensorRT reads {LONGEST_NAME}", text.len()) });
    }
    CString::new(text).map_err(|_| Error::Argument { why: format!("the name {text:?} has a zero byte in it") })
}

/// A path as the parser takes it.
pub fn path_name(path: &Path) -> Result<CString> {
    let why = |why: &str| Error::Argument { why: format!("the path '{}' {why}", path.display()) };
    if !path.is_absolute() {
        return Err(why("is not absolute"));
    }
    #[cfg(unix)]
    let bytes = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str());
    #[cfg(not(unix))]
    let bytes = path.to_str().ok_or_else(|| why("is not UTF-8"))?.as_bytes();
    CString::new(bytes).map_err(|_| why("has a zero byte in it"))
}

/// A shape as TensorRT takes it.
pub fn dims(shape: &[i64]) -> Result<Dims> {
    let why = || format!("the shape {shape:?} has {} extents; TensorRT takes at most {MAX_DIMS}", shape.len());
    Dims::new(shape).ok_or_else(|| Error::Argument { why: why() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_passed_on_is_said() {
        let said = |error: Error| error.to_string();
        assert!(said(name("a\0b").unwrap_err()).contains("zero byte"));
        assert!(said(name(&"x".repeat(LONGEST_NAME)).unwrap_err()).contains("4096"));
        assert!(said(dims(&[1; 9]).unwrap_err()).contains("at most 8"));
        assert!(said(path_name(Path::new("model.onnx")).unwrap_err()).contains("not absolute"));
        assert!(name("pixels").is_ok() && dims(&[]).is_ok());
    }
}
