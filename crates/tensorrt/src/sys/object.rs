//! C++ objects that this crate owns, and what must outlive them.

use std::cell::Cell;
use std::ffi::c_void;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

use super::abi::{self, Raw};
use super::cuda::Owner;
use super::library::Library;
use super::slots::Slots;

/// Marks a type whose methods TensorRT does not allow to run concurrently: it may be sent, not shared.
pub(super) type NotSync = PhantomData<Cell<()>>;

/// A public object of TensorRT: `{ table, implementation }`.
///
/// The types around it decide which methods may run concurrently.
pub(super) struct Object {
    this: NonNull<c_void>,
    library: Library,
    /// The index of the deleting destructor; `None` for an object that another object destroys.
    destructor: Option<usize>,
    owners: Mutex<Vec<Owner>>,
}

// SAFETY: TensorRT's objects are not bound to the thread that made them, and destroying one touches no other.
unsafe impl Send for Object {}
// SAFETY: a shared `Object` only gives its addresses and keeps owners, behind a lock.
unsafe impl Sync for Object {}

/// Where public classes declare their destructor: first.
const FIRST: usize = 0;

impl Object {
    /// Takes over the result of a method; `None` if that is no object.
    ///
    /// # Safety
    /// If `raw` is an object, it belongs to `library`, is ours to destroy, and may live as long as `owners`.
    pub(super) unsafe fn adopt(raw: Raw, library: Library, owners: Vec<Owner>) -> Option<Self> {
        // SAFETY: by the caller's promise; public classes declare their destructor first.
        unsafe { Self::with_destructor(raw, library, owners, Some(abi::deleting_destructor(FIRST))) }
    }

    /// [`Object::adopt`] for an object that is not ours to destroy, or has its destructor elsewhere.
    ///
    /// # Safety
    /// As for [`Object::adopt`]; `destructor` is the index of the deleting destructor.
    pub(super) unsafe fn with_destructor(
        raw: Raw,
        library: Library,
        owners: Vec<Owner>,
        destructor: Option<usize>,
    ) -> Option<Self> {
        let this = NonNull::new(raw).filter(|_| abi::is_object(raw))?;
        Some(Self { this, library, destructor, owners: Mutex::new(owners) })
    }

    /// The public object, which other methods take.
    pub(super) fn raw(&self) -> Raw {
        self.this.as_ptr()
    }

    /// The implementation, whose methods are called.
    pub(super) fn implementation(&self) -> Raw {
        // SAFETY: a live public object.
        unsafe { implementation(self.raw()) }
    }

    pub(super) fn library(&self) -> Library {
        self.library
    }

    pub(super) fn slots(&self) -> &'static Slots {
        self.library.slots()
    }

    /// Keeps `owner` alive as long as this object.
    pub(super) fn keep(&self, owner: Owner) {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner).push(owner);
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        if let Some(destructor) = self.destructor {
            // SAFETY: it is ours, this is its last use, and its owners are dropped after it.
            unsafe { abi::delete(self.raw(), destructor) }
        }
    }
}

/// The implementation behind a public object.
///
/// # Safety
/// `public` is a live public object.
pub(super) unsafe fn implementation(public: Raw) -> Raw {
    // SAFETY: every public object has this second word, in every generation.
    unsafe { *public.cast::<Raw>().add(1) }
}

/// Calls a method of an [`Object`]: `method!(object, class.method, (argument => type, …) -> answer)`, or
/// `method!(object, [slot], …)` for the slot of a method that not every release has. Unsafe: the method must have exactly this
/// signature.
macro_rules! method {
    ($object:expr, $class:ident.$method:ident, $($signature:tt)*) => {
        $crate::sys::object::method!($object, [$object.slots().$class.$method], $($signature)*)
    };
    ($object:expr, [$slot:expr], $($signature:tt)*) => {
        $crate::sys::abi::call!(
            $object.implementation(), $crate::sys::abi::behind_destructor($slot), $($signature)*
        )
    };
}

/// [`method!`] for a method that returns [`abi::Dims`] by value.
macro_rules! method_for_dims {
    ($object:expr, $class:ident.$method:ident, $arguments:tt) => {
        $crate::sys::abi::call_for_dims!(
            $object.implementation(),
            $crate::sys::abi::behind_destructor($object.slots().$class.$method),
            $arguments
        )
    };
}

pub(super) use {method, method_for_dims};

/// `IHostMemory`: bytes that the library allocated, such as a plan. They never change, so they may be shared.
pub struct HostMemory {
    bytes: *const u8,
    size: usize,
    _object: Object,
}

// SAFETY: the library writes the bytes before it hands the object out, and never after.
unsafe impl Send for HostMemory {}
// SAFETY: as above.
unsafe impl Sync for HostMemory {}

impl HostMemory {
    /// # Safety
    /// If `raw` is an object, it is an `IHostMemory` of `library` and ours to destroy.
    pub(super) unsafe fn adopt(raw: Raw, library: Library) -> Option<Self> {
        // SAFETY: by the caller's promise. It has no owner: builders and engines may end before it.
        let object = unsafe { Object::adopt(raw, library, Vec::new()) }?;
        // SAFETY: `void* data()` and `size_t size()`.
        let (bytes, size) = unsafe {
            (method!(object, host_memory.data, () -> *const u8), method!(object, host_memory.size, () -> usize))
        };
        Some(Self { bytes, size: if bytes.is_null() { 0 } else { size }, _object: object })
    }
}

impl Deref for HostMemory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        if self.size == 0 {
            return &[];
        }
        // SAFETY: the library gave address and size, and the object lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.bytes, self.size) }
    }
}

impl AsRef<[u8]> for HostMemory {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for HostMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostMemory({} bytes)", self.size)
    }
}
