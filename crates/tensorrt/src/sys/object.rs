//! An object of C++ that belongs to us, and what must outlive it.

use std::any::Any;
use std::cell::Cell;
use std::ffi::c_void;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use super::abi::{self, Raw};
use super::library::Library;
use super::slots::Slots;

/// Something that TensorRT points at and that must therefore outlive an object.
pub type Owner = Arc<dyn Any + Send + Sync>;

/// In a type whose methods TensorRT does not allow to run at the same time: it may be sent, not shared.
pub(super) type NotSync = PhantomData<Cell<()>>;

/// A public object of TensorRT: `{ table, implementation }`.
///
/// It has no methods of its own; the types around it decide who may call what at the same time.
pub(super) struct Object {
    this: NonNull<c_void>,
    library: &'static Library,
    /// The place of the deleting destructor; none for what its owner destroys.
    destructor: Option<usize>,
    owners: Mutex<Vec<Owner>>,
}

// SAFETY: TensorRT's objects are not bound to the thread that made them, and destroying one touches no other.
unsafe impl Send for Object {}
// SAFETY: a shared object only answers what it is and keeps owners, behind a lock; see the type.
unsafe impl Sync for Object {}

/// Where the destructor of a public class is declared: first.
const FIRST: usize = 0;

impl Object {
    /// Takes over what a method has made; none if it made nothing.
    ///
    /// # Safety
    /// `raw` is nothing, or an object of `library`'s that is ours to destroy and that may live as long as `owners`.
    pub(super) unsafe fn adopt(raw: Raw, library: &'static Library, owners: Vec<Owner>) -> Option<Self> {
        // SAFETY: by the caller's promise; the public classes declare their destructor first.
        unsafe { Self::with_destructor(raw, library, owners, Some(abi::deleting_destructor(FIRST))) }
    }

    /// As [`Object::adopt`], for what is not ours to destroy or has its destructor elsewhere.
    ///
    /// # Safety
    /// As for [`Object::adopt`], with the destructor's place.
    pub(super) unsafe fn with_destructor(
        raw: Raw,
        library: &'static Library,
        owners: Vec<Owner>,
        destructor: Option<usize>,
    ) -> Option<Self> {
        let this = NonNull::new(raw).filter(|_| abi::is_object(raw))?;
        Some(Self { this, library, destructor, owners: Mutex::new(owners) })
    }

    /// The public object, as other methods take it.
    pub(super) fn raw(&self) -> Raw {
        self.this.as_ptr()
    }

    /// The implementation, whose methods are called.
    pub(super) fn implementation(&self) -> Raw {
        // SAFETY: the second word of a live public object; every one of them has it, in every generation.
        unsafe { implementation(self.raw()) }
    }

    pub(super) fn library(&self) -> &'static Library {
        self.library
    }

    pub(super) fn slots(&self) -> &'static Slots {
        self.library.slots()
    }

    /// Keeps `owner` alive for as long as this object.
    pub(super) fn keep(&self, owner: Owner) {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner).push(owner);
    }
}

/// The implementation of a public object that is not ours.
///
/// # Safety
/// `public` is a live public object.
pub(super) unsafe fn implementation(public: Raw) -> Raw {
    // SAFETY: by the caller's promise; see [`Object`].
    unsafe { *public.cast::<Raw>().add(1) }
}

impl Drop for Object {
    fn drop(&mut self) {
        if let Some(destructor) = self.destructor {
            // SAFETY: it is ours, this is its last use, and its owners are dropped after it.
            unsafe { abi::delete(self.raw(), destructor) }
        }
    }
}
