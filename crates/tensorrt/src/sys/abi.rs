//! How C++ calls a virtual method, on Linux and on Windows.
//!
//! | | Itanium (Linux) | Microsoft (Windows) |
//! |---|---|---|
//! | a virtual destructor | two places: complete, then deleting | one place: deleting, with flags |
//! | deleting | `void (this)` | `void* (this, unsigned flags)`, flags 1 |
//! | a class by value (`Dims`) | as C has it: through a pointer *before* `this` | through a pointer *after* `this` |
//! | a small one (`InterfaceInfo`) | as C has it: in registers | through a pointer *after* `this` |
//! | methods of one name | in the order of declaration | reversed; no class used here has any |
//!
//! NVIDIA's libraries for Windows are Microsoft's compiler's, so Microsoft's rules hold there for every Rust target.
//! The rest is C's calling convention on both. 32-bit Windows (`thiscall`) is not supported; TensorRT has none either.
//!
//! Nothing here can unwind: NVIDIA declares its methods `noexcept`, and ours catch every panic ([`super::callback`]).

use std::ffi::c_void;

use super::types::Dims;

#[cfg(all(windows, target_arch = "x86"))]
compile_error!("32-bit Windows passes `this` in another way; TensorRT does not exist there");

/// An object of C++.
pub(super) type Raw = *mut c_void;

/// Whether NVIDIA's objects, and ours for them, follow Microsoft's rules.
pub(super) const MICROSOFT: bool = cfg!(windows);

/// Places that a virtual destructor takes.
pub(super) const DESTRUCTOR_SLOTS: usize = if MICROSOFT { 1 } else { 2 };

/// Below this no object can be: TensorRT 11's lean runtime answers 0x228, a member's offset from a null pointer, where
/// it has no driver.
const LOWEST_ADDRESS: usize = 64 * 1024;

/// Whether a pointer that the library gave can be an object.
pub(super) fn is_object(raw: Raw) -> bool {
    raw.addr() >= LOWEST_ADDRESS && raw.addr().is_multiple_of(align_of::<Raw>())
}

/// Where `apiv::V…`'s method lies: every such class begins with its destructor.
pub(super) const fn behind_destructor(slot: usize) -> usize {
    DESTRUCTOR_SLOTS + slot
}

/// Where a method lies of a class whose destructor is declared in the middle and counted as one place.
pub(super) const fn around_destructor(slot: usize, destructor: usize) -> usize {
    if slot > destructor { slot + DESTRUCTOR_SLOTS - 1 } else { slot }
}

/// The place of the destructor that also frees, where the destructor is declared at `destructor`.
pub(super) const fn deleting_destructor(destructor: usize) -> usize {
    destructor + DESTRUCTOR_SLOTS - 1
}

/// The method at `index` of an object's virtual table.
///
/// # Safety
/// `this` is a live object of C++ whose virtual table has more than `index` places.
pub(super) unsafe fn method(this: Raw, index: usize) -> *const c_void {
    // SAFETY: an object of a class with virtual methods begins with the pointer to its table, by the caller's promise.
    unsafe { *(*this.cast::<*const *const c_void>()).add(index) }
}

/// Destroys and frees an object.
///
/// # Safety
/// `this` is a live object that nobody uses any more, `index` the place of its deleting destructor.
pub(super) unsafe fn delete(this: Raw, index: usize) {
    // SAFETY: by the caller's promise; the two forms are those of the module's table.
    unsafe {
        let destructor = method(this, index);
        #[cfg(windows)]
        std::mem::transmute::<*const c_void, unsafe extern "C" fn(Raw, u32) -> Raw>(destructor)(this, 1);
        #[cfg(not(windows))]
        std::mem::transmute::<*const c_void, unsafe extern "C" fn(Raw)>(destructor)(this);
    }
}

/// Calls a method: `call!(this, index, (argument => type, …) -> answer)`. Unsafe: `this` must be a live object, and the
/// method at `index` must have this very signature.
macro_rules! call {
    ($this:expr, $index:expr, ($($argument:expr => $type:ty),*) $(-> $answer:ty)?) => {{
        let this: $crate::sys::abi::Raw = $this;
        std::mem::transmute::<
            *const std::ffi::c_void,
            unsafe extern "C" fn($crate::sys::abi::Raw $(, $type)*) $(-> $answer)?,
        >($crate::sys::abi::method(this, $index))(this $(, $argument)*)
    }};
}

/// [`call!`] for a method that answers [`Dims`] by value.
macro_rules! call_for_dims {
    ($this:expr, $index:expr, ($($argument:expr => $type:ty),*)) => {{
        let this: $crate::sys::abi::Raw = $this;
        let method = $crate::sys::abi::method(this, $index);
        #[cfg(windows)]
        {
            let mut dims = $crate::sys::types::Dims::default();
            std::mem::transmute::<
                *const std::ffi::c_void,
                unsafe extern "C" fn($crate::sys::abi::Raw, *mut $crate::sys::types::Dims $(, $type)*)
                    -> *mut $crate::sys::types::Dims,
            >(method)(this, &mut dims $(, $argument)*);
            dims
        }
        #[cfg(not(windows))]
        std::mem::transmute::<
            *const std::ffi::c_void,
            unsafe extern "C" fn($crate::sys::abi::Raw $(, $type)*) -> $crate::sys::types::Dims,
        >(method)(this $(, $argument)*)
    }};
}

pub(super) use {call, call_for_dims};

const _: () = assert!(size_of::<Dims>() > 16, "by value through a pointer on every platform");

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
}
