//! Structs across the line, by the contract's rules: an input is read up to its `struct_size` and the rest
//! counts as zero; what is longer must end in zeros; an output is written up to the caller's size. A size that ends
//! inside a field is refused.

use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::{AbiStruct, Fields};

use super::fields::expect_whole_fields;
use super::text::put_text;
use coverslip_base::error::{Error, Result, error};

/// A struct_size beyond this is not a size but garbage.
const MAX_STRUCT_SIZE: u32 = 1 << 16;

/// The `struct_size` of a host's struct.
///
/// # Safety
/// `place` is null or points to at least four readable bytes.
unsafe fn stated_size<T>(place: *const T, name: &str) -> Result<usize> {
    if place.is_null() {
        return Err(error!(INVALID_ARGUMENT, "expected a {name}, found NULL"));
    }
    if !place.is_aligned() {
        return Err(error!(INVALID_ARGUMENT, "expected a {name} aligned to {} bytes", align_of::<T>()));
    }
    // SAFETY: not null and aligned, and by the caller's promise four bytes are readable.
    let size = unsafe { place.cast::<u32>().read() };
    if !(8..=MAX_STRUCT_SIZE).contains(&size) {
        return Err(error!(
            INVALID_STRUCT,
            "expected struct_size = sizeof({name}) ({} here), found {size}: set it with COVERSLIP_INIT",
            size_of::<T>()
        ));
    }
    Ok(size as usize)
}

/// Reads an input.
///
/// # Safety
/// `place` is null or points to a struct of which `struct_size` bytes are readable.
pub(super) unsafe fn read_struct<T: AbiStruct + Fields>(place: *const T, name: &str) -> Result<T> {
    // SAFETY: the caller's promise.
    let size = unsafe { stated_size(place, name) }?;
    expect_whole_fields::<T>(size, name)?;
    let known = size.min(size_of::<T>());
    // SAFETY: `size` bytes are readable.
    let bytes = unsafe { std::slice::from_raw_parts(place.cast::<u8>(), size) };
    if bytes[known..].iter().any(|&byte| byte != 0) {
        return Err(error!(
            INVALID_STRUCT,
            "{name} has {size} bytes and this library knows {known}: the host uses fields of a newer version; leave \
             them zero or install that version"
        ));
    }
    let mut value = T::init();
    // SAFETY: `known` is at most the size of either side; T is plain data in which all bytes of a host's struct are
    // valid (integers, floats, raw pointers, optional function pointers).
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), (&raw mut value).cast::<u8>(), known) };
    Ok(value)
}

/// Writes an output, but for its `struct_size`, and never past the caller's size.
///
/// # Safety
/// `place` is null or points to a struct of which `struct_size` bytes are readable and writable.
pub(super) unsafe fn write_struct<T: AbiStruct + Fields>(place: *mut T, value: &T, name: &str) -> Result<()> {
    // SAFETY: the caller's promise.
    let size = unsafe { stated_size(place, name) }?;
    expect_whole_fields::<T>(size, name)?;
    // SAFETY: the caller's promise; `size` is what the struct states.
    unsafe { copy_out(place, value, size) };
    Ok(())
}

/// # Safety
/// `size` bytes, at least four, are writable at `place`.
unsafe fn copy_out<T: AbiStruct>(place: *mut T, value: &T, size: usize) {
    let size = size.min(size_of::<T>());
    // SAFETY: `size` bytes are writable at `place` and readable at `value`; the first four stay as they are.
    unsafe {
        let (source, target) = ((value as *const T).cast::<u8>(), place.cast::<u8>());
        std::ptr::copy_nonoverlapping(source.add(4), target.add(4), size - 4);
    }
}

/// Checks that an output can be written, before any work is done for it.
///
/// # Safety
/// As [`write_struct`].
pub(super) unsafe fn expect_output<T: AbiStruct + Fields>(place: *const T, name: &str) -> Result<()> {
    // SAFETY: the caller's promise.
    let size = unsafe { stated_size(place, name) }?;
    expect_whole_fields::<T>(size, name)
}

/// Fills the host's error struct, if there is one of a possible size.
///
/// # Safety
/// As [`write_struct`].
pub(super) unsafe fn write_error(place: *mut abi::Error, refusal: &Error) {
    if place.is_null() {
        return;
    }
    // SAFETY: the caller's promise. A struct of an impossible size is left alone: there is nowhere to complain. One that
    // ends inside the message gets what fits.
    let Ok(size) = (unsafe { stated_size(place, "coverslip_error") }) else { return };
    let mut value = abi::Error::init();
    value.code = refusal.code;
    value.native_code = refusal.native;
    let room = size.saturating_sub(std::mem::offset_of!(abi::Error, message)).min(value.message.len());
    if room > 0 {
        put_text(&mut value.message[..room], refusal.text());
    }
    // SAFETY: as above.
    unsafe { copy_out(place, &value, size) };
}

/// Reads an array of `count` entries; nothing where the host gave none.
///
/// # Safety
/// `place` is null or has `count` entries, of plain data.
pub(super) unsafe fn read_array<T: Copy>(place: *const T, count: u32, name: &str) -> Result<Vec<T>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    if place.is_null() || !place.is_aligned() {
        return Err(error!(INVALID_ARGUMENT, "expected {count} entries in {name}, found a NULL or unaligned pointer"));
    }
    // SAFETY: the caller's promise; not null and aligned.
    Ok(unsafe { std::slice::from_raw_parts(place, count as usize) }.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desc() -> abi::SlideDesc {
        abi::SlideDesc { mpp_x: 0.25, flags: 1, ..abi::SlideDesc::init() }
    }

    #[test]
    fn a_shorter_input_is_filled_with_zeros() {
        let mut short = desc();
        short.struct_size = std::mem::offset_of!(abi::SlideDesc, flags) as u32;
        // SAFETY: the struct is whole; its stated size is smaller.
        let read = unsafe { read_struct(&short, "slide_desc") }.unwrap();
        assert_eq!((read.mpp_x, read.flags), (0.25, 0));
    }

    #[test]
    fn a_longer_input_must_end_in_zeros() {
        #[repr(C)]
        struct Newer {
            known: abi::SlideDesc,
            newer: u64,
        }
        let mut newer = Newer { known: desc(), newer: 0 };
        newer.known.struct_size = size_of::<Newer>() as u32;
        // SAFETY: Newer begins with a SlideDesc and has struct_size bytes.
        let read =
            |newer: &Newer| unsafe { read_struct((newer as *const Newer).cast::<abi::SlideDesc>(), "slide_desc") };
        assert_eq!(read(&newer).unwrap().flags, 1);
        newer.newer = 1;
        assert_eq!(read(&newer).unwrap_err().code, abi::INVALID_STRUCT);
    }

    #[test]
    fn an_output_is_never_written_past_the_callers_size() {
        let mut target = abi::RuntimeStats { batches: 77, ..abi::RuntimeStats::init() };
        target.struct_size = std::mem::offset_of!(abi::RuntimeStats, batches) as u32;
        let value = abi::RuntimeStats { frames_accepted: 5, batches: 6, ..abi::RuntimeStats::init() };
        // SAFETY: the struct is whole; its stated size is smaller.
        unsafe { write_struct(&mut target, &value, "runtime_stats") }.unwrap();
        assert_eq!((target.frames_accepted, target.batches), (5, 77));
    }

    #[test]
    fn an_impossible_size_is_refused() {
        for size in [0, 4, 7, 1 << 20, u32::MAX] {
            let wrong = abi::SlideDesc { struct_size: size, ..desc() };
            // SAFETY: only struct_size is read before it is refused.
            assert_eq!(unsafe { read_struct(&wrong, "slide_desc") }.unwrap_err().code, abi::INVALID_STRUCT);
        }
        // SAFETY: null is allowed.
        let null = unsafe { read_struct(std::ptr::null::<abi::SlideDesc>(), "slide_desc") };
        assert_eq!(null.unwrap_err().code, abi::INVALID_ARGUMENT);
    }
}
