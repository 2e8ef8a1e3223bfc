//! What version 1.1 of the contract names and this library does not do yet: UNSUPPORTED, once the range fits. Whoever
//! builds a field takes its line out, and "not built yet" out of the header.

use coverslip_plugin_abi as abi;

use super::range::in_range;
use crate::error::{Result, error};

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
    in_range("runtime_desc.isolation", desc.isolation, abi::ISOLATION_AUTO..=abi::ISOLATION_ALWAYS)?;
    in_range("runtime_desc.cpu_precision", desc.cpu_precision, abi::CPU_PRECISION_FLOAT32..=abi::CPU_PRECISION_INT8)?;
    expect_unset("runtime_desc.worker_path", desc.worker_path.is_null())?;
    // AUTO runs in this process until there are workers, and NEVER always does.
    expect_unset("COVERSLIP_ISOLATION_ALWAYS", desc.isolation != abi::ISOLATION_ALWAYS)?;
    expect_unset("runtime_desc.worker_timeout_ms", desc.worker_timeout_ms == 0)
}

pub(super) fn expect_built_slide(desc: &abi::SlideDesc) -> Result<()> {
    in_range("slide_desc.stain", desc.stain, abi::STAIN_UNKNOWN..=abi::STAIN_OTHER)?;
    in_range("slide_desc.reserved", desc.reserved, 0..=0)?;
    let zero = |values: &[f64]| values.iter().all(|&value| value == 0.0);
    expect_unset("slide_desc.tone_black", zero(&[desc.tone_black]))?;
    expect_unset("slide_desc.tone_white", zero(&[desc.tone_white]))?;
    expect_unset("slide_desc.tone_gamma", zero(&[desc.tone_gamma]))?;
    expect_unset("slide_desc.tone_table", desc.tone_table.is_null() && desc.tone_table_size == 0)?;
    expect_unset("slide_desc.stain", desc.stain == abi::STAIN_UNKNOWN)?;
    expect_unset("slide_desc.white_balance", zero(&desc.white_balance))?;
    expect_unset("slide_desc.color_matrix", zero(&desc.color_matrix))?;
    expect_unset("slide_desc.white_reference", zero(&desc.white_reference))?;
    expect_unset("slide_desc.not_scanned", desc.not_scanned == [0; 3])?;
    expect_unset("COVERSLIP_SLIDE_NOT_SCANNED_VALUE", desc.flags & abi::SLIDE_NOT_SCANNED_VALUE == 0)?;
    expect_unset("COVERSLIP_SLIDE_ALPHA_IS_VALIDITY", desc.flags & abi::SLIDE_ALPHA_IS_VALIDITY == 0)
}

/// On the acquisition thread: nothing here allocates.
pub(crate) fn expect_built_frame(frame: &abi::Frame) -> Result<()> {
    in_range("frame.channel", frame.channel, abi::CHANNEL_ALL..=abi::CHANNEL_BLUE)?;
    in_range("frame.mask_format", frame.mask_format, abi::MASK_NONE..=abi::MASK_BITS)?;
    in_range("unknown bits of frame.flags", frame.flags & !abi::FRAME_CONTIGUOUS, 0..=0)?;
    in_range("frame.reserved", frame.reserved, 0..=0)?;
    let abi::Plane { data, stride, size } = frame.mask;
    expect_unset("frame.channel", frame.channel == abi::CHANNEL_ALL)?;
    expect_unset("COVERSLIP_FRAME_CONTIGUOUS", frame.flags & abi::FRAME_CONTIGUOUS == 0)?;
    expect_unset("frame.mask", data.is_null() && stride == 0 && size == 0)?;
    expect_unset("frame.mask_format", frame.mask_format == abi::MASK_NONE)
}
