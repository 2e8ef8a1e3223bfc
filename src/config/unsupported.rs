//! What version 1.1 of the contract names and this library does not do yet: UNSUPPORTED, once the range fits. Whoever
//! builds a field takes its line out, and "not built yet" out of the header.

use coverslip_plugin_abi as abi;

use super::range::in_range;
use coverslip_base::error::{Result, error};

/// UNSUPPORTED unless the field is as a host of 1.0 leaves it.
fn expect_unset(name: &str, unset: bool) -> Result<()> {
    if unset {
        return Ok(());
    }
    Err(error!(
        UNSUPPORTED,
        "version {}.{} of the contract names {name}, and this library does not have it yet: expected 0 or NULL; leave \
         it as COVERSLIP_INIT sets it",
        abi::ABI_MAJOR,
        abi::ABI_MINOR
    ))
}

pub(super) fn expect_built_runtime(desc: &abi::RuntimeDesc) -> Result<()> {
    in_range("runtime_desc.cpu_precision", desc.cpu_precision, abi::CPU_PRECISION_FLOAT32..=abi::CPU_PRECISION_INT8)
}

pub(super) fn expect_built_slide(desc: &abi::SlideDesc) -> Result<()> {
    in_range("slide_desc.stain", desc.stain, abi::STAIN_UNKNOWN..=abi::STAIN_OTHER)?;
    in_range("slide_desc.reserved", desc.reserved, 0..=0)?;
    expect_unset("slide_desc.stain", desc.stain == abi::STAIN_UNKNOWN)?;
    expect_unset("slide_desc.white_reference", desc.white_reference == [0.0; 3])
}
