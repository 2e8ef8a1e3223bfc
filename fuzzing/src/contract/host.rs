//! A host that calls the contract as an input says, with pointers, sizes and numbers that a careless host could pass.

use std::ffi::{CStr, c_char};
use std::ptr::{null, null_mut};
use std::sync::OnceLock;

use coverslip::coverslip_get_api;
use coverslip_plugin_abi::*;

use super::memory::Memory;
use crate::input::Input;

/// The function table.
pub(super) fn api() -> &'static Api {
    static API: OnceLock<&Api> = OnceLock::new();
    API.get_or_init(|| {
        let host = HostInfo { abi_major: ABI_MAJOR, abi_minor: ABI_MINOR, ..HostInfo::init() };
        let mut api = null();
        // SAFETY: all pointers are to live structs.
        let code = unsafe { coverslip_get_api(&host, &mut api, null_mut()) };
        assert_eq!(code, OK, "the versions fit");
        // SAFETY: the table lives as long as the process.
        unsafe { &*api }
    })
}

/// Makes a call with an error struct that is whole, short or not there, and checks the answer's form.
pub(super) fn call(input: &mut Input, function: impl FnOnce(*mut Error) -> i32) -> i32 {
    let whole = size_of::<Error>() as u32;
    let size = match input.below(10) {
        8 => u32::from(input.byte()),
        9 => 0,
        _ => whole,
    };
    let error = Memory::of(&Error { struct_size: size, ..Error::init() }, size.max(4));
    let code = function(if size == 0 { null_mut() } else { error.pointer() });
    assert!((OK..=SIGNATURE_INVALID).contains(&code), "code {code}");
    let said = error.read(Error::init());
    if size == whole && code != OK {
        let text = said.message.map(|byte| byte as u8);
        let text =
            CStr::from_bytes_until_nul(&text).expect("a message that ends").to_str().expect("a message in UTF-8");
        assert!(said.code == code && !text.is_empty(), "the struct says {} {text:?}, the function {code}", said.code);
        assert!(code != INTERNAL, "a defect: {text}");
    }
    code
}

/// A `struct_size`, mostly the whole one.
pub(super) fn size_of_struct<T>(input: &mut Input) -> u32 {
    let whole = size_of::<T>() as u32;
    match input.below(16) {
        12 => u32::from(input.byte() % 8),
        13 => u32::from_le_bytes(input.take()) % (whole + 1),
        14 => whole / 8 * u32::from(input.byte() % 8) / 8 * 8,
        15 => whole + u32::from(input.byte()),
        _ => whole,
    }
}

/// A struct as a careless host hands it over: with any size, with bytes behind it, or not at all.
pub(super) struct Given(Option<Memory>);

impl Given {
    /// `set_size` writes the size into the struct.
    pub(super) fn of<T: Copy>(input: &mut Input, mut value: T, set_size: impl FnOnce(&mut T, u32)) -> (Self, u32) {
        let size = size_of_struct::<T>(input);
        set_size(&mut value, size);
        if input.once_in(40) {
            return (Self(None), 0);
        }
        // The size itself is always there to be read.
        let memory = Memory::of(&value, size.max(4));
        if size as usize > size_of::<T>() && input.once_in(3) {
            memory.set(size as usize - 1, input.byte());
        }
        (Self(Some(memory)), size)
    }

    pub(super) fn pointer<T>(&self) -> *mut T {
        self.0.as_ref().map_or(null_mut(), Memory::pointer)
    }

    /// What the library wrote, where it knew the whole struct.
    pub(super) fn whole<T: AbiStruct>(&self, size: u32) -> Option<T> {
        let memory = self.0.as_ref().filter(|_| size as usize >= size_of::<T>())?;
        Some(memory.read(T::init()))
    }
}

/// A text, sometimes one that no file or scanner is called.
pub(super) fn text(input: &mut Input, usual: &'static CStr) -> *const c_char {
    match input.below(16) {
        12 => null(),
        13 => c"".as_ptr(),
        14 => c"\xff\xfe".as_ptr(),
        15 => c"\xc3\xa4\xf0\x9f\x94\xac/../\x1b[31m".as_ptr(),
        _ => usual.as_ptr(),
    }
}

/// A number, sometimes one that no slide has.
pub(super) fn float(input: &mut Input, usual: f64) -> f64 {
    match input.below(24) {
        16 => f64::NAN,
        17 => f64::INFINITY,
        18 => -usual,
        19 => 0.0,
        20 => 1e308,
        21 => 1e-308,
        22 => usual * (0.1 + f64::from(input.byte()) / 32.0),
        23 => f64::from_bits(u64::from_le_bytes(input.take())),
        _ => usual,
    }
}

/// A whole number, sometimes at an edge of its type.
pub(super) fn number(input: &mut Input, usual: u64) -> u64 {
    match input.below(32) {
        24 => 0,
        25 => u64::MAX,
        26 => i64::MAX as u64,
        27 => i64::MIN as u64,
        28 => u64::from(u32::MAX),
        29 => 1 << (input.byte() % 64),
        30 => u64::from_le_bytes(input.take()),
        31 => usual.wrapping_add(u64::from(input.byte())),
        _ => usual,
    }
}

/// The same in 32 bits.
pub(super) fn small(input: &mut Input, usual: u32) -> u32 {
    number(input, u64::from(usual)) as u32
}

/// A constant of the contract, sometimes any number.
pub(super) fn constant(input: &mut Input, choices: &[i32]) -> i32 {
    if input.once_in(16) { i32::from_le_bytes(input.take()) } else { input.one(choices) }
}
