//! `IErrorRecorder`: errors by code, for whoever asks afterwards.
//!
//! With a recorder an object's errors go here instead of to the log. Descriptions that were given out stay valid for
//! the recorder's life, since the interface hands them out as bare pointers; so their number is bounded and equal ones
//! are kept once.

use std::ffi::{CStr, CString, c_char, c_void};
use std::fmt;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::abi::Raw;
use super::callback::{Interface, Table, fence, text};
use super::types::ErrorCode;

/// Errors that are kept until they are cleared.
const CAPACITY: usize = 64;
/// Different descriptions that are ever kept.
const DESCRIPTIONS: usize = 1024;
const FULL: &CStr = c"(the recorder is full)";

/// An error as TensorRT reported it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RecordedError {
    /// Its kind.
    pub code: ErrorCode,
    /// In TensorRT's words.
    pub description: String,
}

impl fmt::Display for RecordedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.description)
    }
}

/// The object that TensorRT holds.
#[repr(C)]
pub struct RecorderObject {
    /// First word: the virtual table.
    table: *const c_void,
    references: AtomicI32,
    state: Mutex<State>,
}

// SAFETY: the table is static and never written; the rest is behind an atomic and a lock.
unsafe impl Send for RecorderObject {}
// SAFETY: as above.
unsafe impl Sync for RecorderObject {}

#[derive(Default)]
struct State {
    /// Every description that may have been given out; only ever grows.
    descriptions: Vec<CString>,
    /// Code and index of the description, [`DESCRIPTIONS`] for none.
    errors: Vec<(i32, usize)>,
    overflowed: bool,
}

impl State {
    fn description(&self, index: usize) -> &CStr {
        self.descriptions.get(index).map_or(FULL, CString::as_c_str)
    }

    fn report(&mut self, code: i32, description: &str) {
        if self.errors.len() == CAPACITY {
            self.overflowed = true;
            return;
        }
        let text = CString::new(description.replace('\0', " ")).unwrap_or_default();
        let known = self.descriptions.iter().position(|known| *known == text);
        let index = known.unwrap_or_else(|| {
            if self.descriptions.len() == DESCRIPTIONS {
                return DESCRIPTIONS;
            }
            self.descriptions.push(text);
            self.descriptions.len() - 1
        });
        self.errors.push((code, index));
    }

    fn clear(&mut self) {
        self.errors.clear();
        self.overflowed = false;
    }
}

impl RecorderObject {
    pub(super) fn raw(&self) -> Raw {
        (&raw const *self).cast_mut().cast()
    }

    /// A recorder; put it into an `Arc` and give it to objects.
    pub fn new() -> Self {
        Self { table: TABLE.first_place(), references: AtomicI32::new(0), state: Mutex::default() }
    }

    /// What was reported since the last call. The flag says that there was more than fits.
    pub fn take(&self) -> (Vec<RecordedError>, bool) {
        let mut state = self.state();
        let errors = (state.errors.iter())
            .map(|&(code, index)| RecordedError {
                code: ErrorCode(code),
                description: state.description(index).to_string_lossy().into_owned(),
            })
            .collect();
        let overflowed = state.overflowed;
        state.clear();
        (errors, overflowed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for RecorderObject {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for RecorderObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecorderObject").field("errors", &self.state().errors.len()).finish_non_exhaustive()
    }
}

impl Interface for RecorderObject {
    const NAME: &'static CStr = c"IErrorRecorder";
}

/// The interface's own methods, in their order.
#[repr(C)]
struct Methods {
    get_nb_errors: unsafe extern "C" fn(Raw) -> i32,
    get_error_code: unsafe extern "C" fn(Raw, i32) -> i32,
    get_error_desc: unsafe extern "C" fn(Raw, i32) -> *const c_char,
    has_overflowed: unsafe extern "C" fn(Raw) -> bool,
    clear: unsafe extern "C" fn(Raw),
    report_error: unsafe extern "C" fn(Raw, i32, *const c_char) -> bool,
    inc_ref_count: unsafe extern "C" fn(Raw) -> i32,
    dec_ref_count: unsafe extern "C" fn(Raw) -> i32,
}

static TABLE: Table<Methods> = Table::new::<RecorderObject>(Methods {
    get_nb_errors,
    get_error_code,
    get_error_desc,
    has_overflowed,
    clear,
    report_error,
    inc_ref_count,
    dec_ref_count,
});

/// # Safety
/// TensorRT calls with the object it was given, which the objects that were given it keep alive.
unsafe fn object<'a>(this: Raw) -> &'a RecorderObject {
    // SAFETY: by the caller's promise.
    unsafe { &*this.cast_const().cast() }
}

/// The error at `index`, if there is one.
fn error(object: &RecorderObject, index: i32) -> Option<(i32, *const c_char)> {
    let state = object.state();
    let &(code, description) = state.errors.get(usize::try_from(index).ok()?)?;
    Some((code, state.description(description).as_ptr()))
}

unsafe extern "C" fn get_nb_errors(this: Raw) -> i32 {
    // SAFETY: see `object`.
    let object = unsafe { object(this) };
    fence(0, || object.state().errors.len() as i32)
}

unsafe extern "C" fn get_error_code(this: Raw, index: i32) -> i32 {
    // SAFETY: see `object`.
    let object = unsafe { object(this) };
    fence(None, || error(object, index)).map_or(ErrorCode::UNSPECIFIED_ERROR.0, |(code, _)| code)
}

unsafe extern "C" fn get_error_desc(this: Raw, index: i32) -> *const c_char {
    // SAFETY: see `object`.
    let object = unsafe { object(this) };
    fence(None, || error(object, index)).map_or(c"".as_ptr(), |(_, description)| description)
}

unsafe extern "C" fn has_overflowed(this: Raw) -> bool {
    // SAFETY: see `object`.
    let object = unsafe { object(this) };
    fence(false, || object.state().overflowed)
}

unsafe extern "C" fn clear(this: Raw) {
    // SAFETY: see `object`.
    let object = unsafe { object(this) };
    fence((), || object.state().clear());
}

/// Answers whether the error is fatal; that is not for us to say.
unsafe extern "C" fn report_error(this: Raw, code: i32, description: *const c_char) -> bool {
    // SAFETY: see `object`; the text ends with zero.
    let (object, description) = unsafe { (object(this), text(description)) };
    fence((), || object.state().report(code, &description.unwrap_or_default()));
    false
}

unsafe extern "C" fn inc_ref_count(this: Raw) -> i32 {
    // SAFETY: see `object`.
    unsafe { object(this) }.references.fetch_add(1, Ordering::AcqRel).wrapping_add(1)
}

unsafe extern "C" fn dec_ref_count(this: Raw) -> i32 {
    // SAFETY: see `object`.
    unsafe { object(this) }.references.fetch_sub(1, Ordering::AcqRel).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::super::abi::{DESTRUCTOR_SLOTS, call};
    use super::*;

    const OWN: usize = 2 + DESTRUCTOR_SLOTS;

    fn report(recorder: &RecorderObject, code: i32, description: &CStr) {
        // SAFETY: `reportError` is the interface's sixth method.
        unsafe {
            let fatal = call!(recorder.raw(), OWN + 5, (code => i32, description.as_ptr() => *const c_char) -> bool);
            assert!(!fatal);
        }
    }

    #[test]
    fn what_is_reported_is_read_back_by_both_sides() {
        let recorder = RecorderObject::new();
        report(&recorder, 3, c"first");
        report(&recorder, 7, c"second");
        // SAFETY: the interface's first, second and third method.
        unsafe {
            assert_eq!(call!(recorder.raw(), OWN, () -> i32), 2);
            assert_eq!(call!(recorder.raw(), OWN + 1, (1 => i32) -> i32), 7);
            assert_eq!(call!(recorder.raw(), OWN + 1, (2 => i32) -> i32), ErrorCode::UNSPECIFIED_ERROR.0);
            let description = call!(recorder.raw(), OWN + 2, (0 => i32) -> *const c_char);
            let (errors, overflowed) = recorder.take();
            assert_eq!(errors[1].to_string(), "failed execution: second");
            assert!(!overflowed);
            assert_eq!(CStr::from_ptr(description), c"first", "descriptions outlive their errors");
            assert_eq!(CStr::from_ptr(call!(recorder.raw(), OWN + 2, (0 => i32) -> *const c_char)), c"");
        }
    }

    #[test]
    fn memory_is_bounded_and_says_so() {
        let recorder = RecorderObject::new();
        for i in 0..2 * DESCRIPTIONS {
            report(&recorder, 1, &CString::new(format!("error {i}")).unwrap());
            if i % CAPACITY == CAPACITY - 1 {
                recorder.take();
            }
        }
        assert_eq!(recorder.state().descriptions.len(), DESCRIPTIONS);
        for _ in 0..=CAPACITY {
            report(&recorder, 1, c"error 0");
        }
        let (errors, overflowed) = recorder.take();
        assert_eq!((errors.len(), overflowed), (CAPACITY, true));
    }

    #[test]
    fn references_are_counted() {
        let recorder = RecorderObject::new();
        // SAFETY: the interface's last two methods.
        unsafe {
            assert_eq!(call!(recorder.raw(), OWN + 6, () -> i32), 1);
            assert_eq!(call!(recorder.raw(), OWN + 6, () -> i32), 2);
            assert_eq!(call!(recorder.raw(), OWN + 7, () -> i32), 1);
        }
    }
}
