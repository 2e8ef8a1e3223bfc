//! `coverslip_frame` → a checked header and its pixels. On the acquisition thread: nothing here allocates.

use coverslip_plugin_abi as abi;

use super::structs::read_struct;
use crate::config::unsupported::expect_built_frame;
use crate::tiles::frame::{FrameHeader, FrameLimits, FrameTag};
use coverslip_base::error::{Result, error};

/// The frame's header, checked against the contract and the slide's limits, and its pixels.
///
/// # Safety
/// `frame` is as the contract says; its pixels stay readable for `'a`.
pub(super) unsafe fn read<'a>(frame: *const abi::Frame, limits: FrameLimits) -> Result<(FrameHeader, &'a [u8])> {
    // SAFETY: the caller's promise.
    let frame = unsafe { read_struct(frame, "coverslip_frame") }?;
    expect_built_frame(&frame)?;
    let plane = &frame.planes[0];
    let header = FrameHeader {
        format: frame.pixel_format,
        bit_depth: frame.bit_depth,
        planes: frame.plane_count,
        x: frame.x,
        y: frame.y,
        width: frame.width,
        height: frame.height,
        stride: plane.stride,
        size: plane.size,
        pass: frame.pass,
        focal_plane: frame.focal_plane,
        tag: FrameTag { id: frame.frame_id, group: frame.group_id, captured_ns: frame.capture_time_ns },
    };
    let bytes = header.check(limits)?;
    if plane.data.is_null() {
        return Err(error!(INVALID_ARGUMENT, "expected {bytes} bytes of pixels, found NULL in planes[0].data"));
    }
    // SAFETY: `check` has found the frame's rows within the plane's size, which the host promises is readable.
    Ok((header, unsafe { std::slice::from_raw_parts(plane.data, bytes) }))
}
