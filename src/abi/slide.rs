//! `coverslip_slide_desc`.

use coverslip_plugin_abi::SlideDesc;

use super::structs::read_struct;
use super::text::{read_text, require_text};
use crate::config::request::SlideRequest;
use crate::config::slide::SlidePlan;
use crate::runtime::Runtime;
use coverslip_base::error::Result;

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
        }
    };
    SlidePlan::new(&request, &runtime.site())
}
