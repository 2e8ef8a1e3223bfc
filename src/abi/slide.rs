//! `coverslip_slide_desc`.

use coverslip_plugin_abi::SlideDesc;

use super::structs::read_struct;
use super::text::{read_text, require_text};
use crate::config::request::SlideRequest;
use crate::config::slide::SlidePlan;
use crate::runtime::Runtime;
use coverslip_base::error::{Result, error};

/// # Safety
/// `desc` and what it points to are as the contract says.
pub(super) unsafe fn plan(desc: *const SlideDesc, runtime: &Runtime) -> Result<SlidePlan> {
    // SAFETY: the caller's promise.
    let desc = unsafe { read_struct(desc, "coverslip_slide_desc") }?;
    // SAFETY: strings are null or NUL-terminated, by the contract.
    let request = unsafe {
        SlideRequest {
            desc: &desc,
            scanner: require_text(desc.scanner_id, "slide_desc.scanner_id")?,
            slide: require_text(desc.slide_id, "slide_desc.slide_id")?,
            color_name: read_text(desc.color_name, "slide_desc.color_name")?,
            tone_table: tone_table(&desc)?,
        }
    };
    SlidePlan::new(&request, &runtime.site())
}

/// # Safety
/// `tone_table` is null or has `tone_table_size` readable bytes for `'a`.
unsafe fn tone_table<'a>(desc: &SlideDesc) -> Result<&'a [u8]> {
    let (place, size) = (desc.tone_table, desc.tone_table_size);
    match (place.is_null(), size) {
        (true, 0) => Ok(&[]),
        // SAFETY: the caller's promise.
        (false, 2..=65_536) => Ok(unsafe { std::slice::from_raw_parts(place, size as usize) }),
        (null, _) => Err(error!(
            INVALID_ARGUMENT,
            "expected a slide_desc.tone_table with a tone_table_size of 2 to 65536, or neither, found {} and {size}",
            if null { "NULL" } else { "a table" }
        )),
    }
}
