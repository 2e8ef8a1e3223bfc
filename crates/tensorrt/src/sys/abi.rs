//! How C++ calls a virtual method, on Linux and on Windows, and the structs that cross the boundary by value.
//!
//! | | Itanium (Linux) | Microsoft (Windows) |
//! |---|---|---|
//! | virtual destructor | two slots: complete, then deleting | one slot: deleting, with flags |
//! | deleting destructor | `void (this)` | `void* (this, unsigned flags)`, flags 1 |
//! | returning a large struct (`Dims`) | as in C: by a pointer *before* `this` | by a pointer *after* `this` |
//! | returning a small one (`InterfaceInfo`) | as in C: in registers | by a pointer *after* `this` |
//! | overloaded methods | in declaration order | reversed; no class used here has any |
//!
//! Microsoft's compiler builds NVIDIA's Windows libraries, so its rules hold there for every Rust target. Everything
//! else is the C calling convention on both systems. TensorRT does not exist for 32-bit Windows (`thiscall`).
//!
//! Nothing here can unwind: NVIDIA declares its methods `noexcept`, and ours catch every panic ([`super::callback`]).

use std::ffi::{CStr, c_char, c_void};

#[cfg(all(windows, target_arch = "x86"))]
compile_error!("32-bit Windows passes `this` in another way; TensorRT does not exist there");

/// A pointer to a C++ object.
pub(super) type Raw = *mut c_void;

/// Whether NVIDIA's objects, and ours for them, follow Microsoft's rules.
const MICROSOFT: bool = cfg!(windows);

/// Slots that a virtual destructor takes.
pub(super) const DESTRUCTOR_SLOTS: usize = if MICROSOFT { 1 } else { 2 };

/// No object lies below this address. Without a driver, TensorRT 11's lean runtime returns 0x228: the offset of a
/// member from a null pointer.
const LOWEST_ADDRESS: usize = 64 * 1024;

/// Whether a pointer from the library can be an object.
pub(super) fn is_object(raw: Raw) -> bool {
    raw.addr() >= LOWEST_ADDRESS && raw.addr().is_multiple_of(align_of::<Raw>())
}

/// The index of a method of an `apiv::V…` class: each begins with its destructor.
pub(super) const fn behind_destructor(slot: usize) -> usize {
    DESTRUCTOR_SLOTS + slot
}

/// The index of a method where the destructor is declared in the middle and counts as one slot.
pub(super) const fn around_destructor(slot: usize, destructor: usize) -> usize {
    if slot > destructor { slot + DESTRUCTOR_SLOTS - 1 } else { slot }
}

/// The index of the deleting destructor, where the destructor is declared at `destructor`.
pub(super) const fn deleting_destructor(destructor: usize) -> usize {
    destructor + DESTRUCTOR_SLOTS - 1
}

/// The method at `index` of an object's virtual table.
///
/// # Safety
/// `this` is a live C++ object whose virtual table has more than `index` entries.
pub(super) unsafe fn method_at(this: Raw, index: usize) -> *const c_void {
    // SAFETY: an object with virtual methods begins with the pointer to its table; the caller vouches for the rest.
    unsafe { *(*this.cast::<*const *const c_void>()).add(index) }
}

/// Destroys and frees an object.
///
/// # Safety
/// `this` is a live object that nothing uses any more, and `index` is that of its deleting destructor.
pub(super) unsafe fn delete(this: Raw, index: usize) {
    // SAFETY: by the caller's promise; both signatures are those of the module's table.
    unsafe {
        let destructor = method_at(this, index);
        #[cfg(windows)]
        std::mem::transmute::<*const c_void, unsafe extern "C" fn(Raw, u32) -> Raw>(destructor)(this, 1);
        #[cfg(not(windows))]
        std::mem::transmute::<*const c_void, unsafe extern "C" fn(Raw)>(destructor)(this);
    }
}

/// Calls a method: `call!(this, index, (argument => type, …) -> answer)`. Unsafe: `this` must be a live object, and the
/// method at `index` must have exactly this signature.
macro_rules! call {
    ($this:expr, $index:expr, ($($argument:expr => $type:ty),*) $(-> $answer:ty)?) => {{
        let this: $crate::sys::abi::Raw = $this;
        std::mem::transmute::<
            *const std::ffi::c_void,
            unsafe extern "C" fn($crate::sys::abi::Raw $(, $type)*) $(-> $answer)?,
        >($crate::sys::abi::method_at(this, $index))(this $(, $argument)*)
    }};
}

/// [`call!`] for a method that returns [`Dims`] by value.
macro_rules! call_for_dims {
    ($this:expr, $index:expr, ($($argument:expr => $type:ty),*)) => {{
        let this: $crate::sys::abi::Raw = $this;
        let method = $crate::sys::abi::method_at(this, $index);
        #[cfg(windows)]
        {
            let mut dims = $crate::sys::abi::Dims::default();
            std::mem::transmute::<
                *const std::ffi::c_void,
                unsafe extern "C" fn($crate::sys::abi::Raw, *mut $crate::sys::abi::Dims $(, $type)*)
                    -> *mut $crate::sys::abi::Dims,
            >(method)(this, &mut dims $(, $argument)*);
            dims
        }
        #[cfg(not(windows))]
        std::mem::transmute::<
            *const std::ffi::c_void,
            unsafe extern "C" fn($crate::sys::abi::Raw $(, $type)*) -> $crate::sys::abi::Dims,
        >(method)(this $(, $argument)*)
    }};
}

pub(super) use {call, call_for_dims};

/// Copies the C string at `text`; `None` for a null pointer. Invalid UTF-8 is replaced.
///
/// # Safety
/// `text` is null, or ends with a zero byte and does not change during the call.
pub(super) unsafe fn text(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: by the caller's promise.
    Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

/// The largest rank.
pub(super) const MAX_DIMS: usize = 8;

/// `nvinfer1::Dims64`, a shape.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Dims {
    /// The rank; -1 for an unknown tensor or rank.
    pub(super) nb_dims: i32,
    /// The extents; -1 for one that is only known at run time.
    pub(super) d: [i64; MAX_DIMS],
}

const _: () = assert!(size_of::<Dims>() > 16, "returned through a pointer on every platform");

impl Dims {
    /// `None` for more than [`MAX_DIMS`] extents.
    pub(super) fn new(shape: &[i64]) -> Option<Self> {
        let mut d = [0; MAX_DIMS];
        d.get_mut(..shape.len())?.copy_from_slice(shape);
        Some(Self { nb_dims: shape.len() as i32, d })
    }

    /// The extents; `None` where the rank is unknown.
    pub(super) fn shape(&self) -> Option<&[i64]> {
        self.d.get(..usize::try_from(self.nb_dims).ok()?)
    }
}

/// `nvinfer1::InterfaceInfo`: how an object of ours names the interface it implements.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct InterfaceInfo {
    pub(super) kind: *const c_char,
    pub(super) major: i32,
    pub(super) minor: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_crooked_pointers_are_no_objects() {
        for address in [0, 0x228, 0xffff, 0x7f00_0000_0001] {
            assert!(!is_object(std::ptr::without_provenance_mut(address)), "{address:#x}");
        }
        assert!(is_object(std::ptr::without_provenance_mut(0x7f00_0000_0008)));
    }

    #[test]
    #[cfg(not(windows))]
    fn places_on_linux() {
        assert_eq!(behind_destructor(0), 2);
        assert_eq!((around_destructor(5, 6), around_destructor(18, 6)), (5, 19));
        assert_eq!((deleting_destructor(0), deleting_destructor(6)), (1, 7));
    }

    #[test]
    #[cfg(windows)]
    fn places_on_windows() {
        assert_eq!(behind_destructor(0), 1);
        assert_eq!((around_destructor(5, 6), around_destructor(18, 6)), (5, 18));
        assert_eq!((deleting_destructor(0), deleting_destructor(6)), (0, 6));
    }

    #[test]
    fn dims_lie_as_in_c() {
        assert_eq!(size_of::<Dims>(), 72);
        assert_eq!(std::mem::offset_of!(Dims, d), 8);
        assert_eq!(size_of::<InterfaceInfo>(), 16);
    }

    #[test]
    fn shapes_go_both_ways() {
        assert_eq!(Dims::new(&[1, 224, 224, 3]).unwrap().shape(), Some(&[1, 224, 224, 3][..]));
        assert_eq!(Dims::new(&[]).unwrap().shape(), Some(&[][..]));
        assert_eq!(Dims::new(&[1; 9]), None);
        assert_eq!(Dims { nb_dims: -1, d: [0; 8] }.shape(), None);
        assert_eq!(Dims { nb_dims: 9, d: [0; 8] }.shape(), None);
    }
}
