//! C++ objects implemented in Rust: the virtual table that their interfaces share, and the fence around their methods.
//!
//! TensorRT calls these methods from its own threads and declares them `noexcept`: a panic that escaped would end the
//! process. So each runs inside [`fence`].

use std::ffi::{CStr, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::abi::{InterfaceInfo, Raw};

/// `nvinfer1::APILanguage::kCPP`: our tables follow C++'s calling convention.
const CPP: i32 = 0;

/// A TensorRT interface that a type of ours implements.
pub(super) trait Interface {
    /// The name in `getInterfaceInfo`, version 1.0.
    const NAME: &'static CStr;
}

#[cfg(not(windows))]
type InfoMethod = unsafe extern "C" fn(Raw) -> InterfaceInfo;
#[cfg(windows)]
type InfoMethod = unsafe extern "C" fn(Raw, *mut InterfaceInfo) -> *mut InterfaceInfo;
#[cfg(not(windows))]
type Destructors = [unsafe extern "C" fn(Raw); 2];
#[cfg(windows)]
type Destructors = [unsafe extern "C" fn(Raw, u32) -> Raw; 1];

/// The virtual table of an interface: the compiler's prefix, the methods of `IVersionedInterface`, then the interface's
/// own methods.
#[repr(C)]
pub(super) struct Table<Methods> {
    /// The offset of the base class in the object: 0. Microsoft's tables have no such word.
    #[cfg(not(windows))]
    offset_to_top: isize,
    /// No run-time type information, as under `-fno-rtti`.
    type_information: usize,
    language: unsafe extern "C" fn(Raw) -> i32,
    info: InfoMethod,
    destructors: Destructors,
    methods: Methods,
}

impl<Methods> Table<Methods> {
    pub(super) const fn new<I: Interface>(methods: Methods) -> Self {
        Self {
            #[cfg(not(windows))]
            offset_to_top: 0,
            type_information: 0,
            language,
            info: info::<I>,
            destructors: DESTRUCTORS,
            methods,
        }
    }

    /// The first word of an object with this table.
    pub(super) const fn first_slot(&'static self) -> *const c_void {
        (&raw const *self).cast::<c_void>().wrapping_byte_add(std::mem::offset_of!(Self, language))
    }
}

/// The virtual table of an interface without a version, as TensorRT 10's `ILogger`: its methods, then the destructor.
#[repr(C)]
pub(super) struct PlainTable<Methods> {
    #[cfg(not(windows))]
    offset_to_top: isize,
    type_information: usize,
    methods: Methods,
    destructors: Destructors,
}

impl<Methods> PlainTable<Methods> {
    pub(super) const fn new(methods: Methods) -> Self {
        Self {
            #[cfg(not(windows))]
            offset_to_top: 0,
            type_information: 0,
            methods,
            destructors: DESTRUCTORS,
        }
    }

    /// The first word of an object with this table.
    pub(super) const fn first_slot(&'static self) -> *const c_void {
        (&raw const *self).cast::<c_void>().wrapping_byte_add(std::mem::offset_of!(Self, methods))
    }
}

#[cfg(not(windows))]
const DESTRUCTORS: Destructors = [destroy, destroy];
#[cfg(windows)]
const DESTRUCTORS: Destructors = [destroy];

unsafe extern "C" fn language(_: Raw) -> i32 {
    CPP
}

#[cfg(not(windows))]
unsafe extern "C" fn info<I: Interface>(_: Raw) -> InterfaceInfo {
    InterfaceInfo { kind: I::NAME.as_ptr(), major: 1, minor: 0 }
}

#[cfg(windows)]
unsafe extern "C" fn info<I: Interface>(_: Raw, answer: *mut InterfaceInfo) -> *mut InterfaceInfo {
    // SAFETY: under Microsoft's rules the caller provides the memory of the answer.
    unsafe { answer.write(InterfaceInfo { kind: I::NAME.as_ptr(), major: 1, minor: 0 }) };
    answer
}

/// Rust owns these objects; C++ never destroys them.
#[cfg(not(windows))]
unsafe extern "C" fn destroy(_: Raw) {}

#[cfg(windows)]
unsafe extern "C" fn destroy(this: Raw, _: u32) -> Raw {
    this
}

/// Runs a callback. A panic ends here and gives `otherwise`.
pub(super) fn fence<T>(otherwise: T, callback: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(callback)).unwrap_or_else(|payload| {
        // Dropping the payload may panic again; the second payload is leaked.
        if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(second);
        }
        otherwise
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Probe;

    impl Interface for Probe {
        const NAME: &'static CStr = c"IProbe";
    }

    type Answer = unsafe extern "C" fn(Raw) -> i32;

    unsafe extern "C" fn forty_two(_: Raw) -> i32 {
        42
    }

    static TABLE: Table<Answer> = Table::new::<Probe>(forty_two);

    #[test]
    fn our_table_is_read_as_cpp_reads_one() {
        let mut object = TABLE.first_slot();
        let this: Raw = (&raw mut object).cast();
        // SAFETY: `object` is laid out as a C++ object with this table.
        unsafe {
            assert_eq!(crate::sys::abi::call!(this, 0, () -> i32), CPP);
            let own = 2 + crate::sys::abi::DESTRUCTOR_SLOTS;
            assert_eq!(crate::sys::abi::call!(this, own, () -> i32), 42);
            #[cfg(not(windows))]
            {
                let info = crate::sys::abi::call!(this, 1, () -> InterfaceInfo);
                assert_eq!((CStr::from_ptr(info.kind), info.major, info.minor), (c"IProbe", 1, 0));
            }
        }
    }

    #[test]
    fn a_panic_stays_inside() {
        struct Twice;
        impl Drop for Twice {
            fn drop(&mut self) {
                panic!("while the first is dropped");
            }
        }
        assert_eq!(fence(7, || panic!("inside")), 7);
        assert_eq!(fence(7, || std::panic::panic_any(Twice)), 7);
        assert_eq!(fence(7, || 8), 8);
    }
}
