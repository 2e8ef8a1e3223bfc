//! `coverslip_frame` → a checked header and its pixels. On the acquisition thread: nothing here allocates.

use std::mem::offset_of;

use coverslip_plugin_abi as abi;

use super::structs::read_struct;
use crate::config::range::in_range;
use crate::tiles::frame::{FrameBytes, FrameHeader, FrameLimits, FrameTag, Memory};
use coverslip_base::error::{Result, error};

/// The formats of version 1.0. A host of then is answered as then: it knows no tone and no channel.
const FORMATS_OF_1_0: [u32; 4] = [abi::PFNC_RGB8, abi::PFNC_BGR8, abi::PFNC_RGBA8, abi::PFNC_BGRA8];

/// The frame's header, checked against the contract and the slide's limits, and its bytes.
///
/// # Safety
/// `frame` is as the contract says; its planes and its mask stay readable for `'a`.
pub(super) unsafe fn read<'a>(frame: *const abi::Frame, limits: FrameLimits) -> Result<(FrameHeader, FrameBytes<'a>)> {
    // SAFETY: the caller's promise.
    let frame = unsafe { read_struct(frame, "coverslip_frame") }?;
    if frame.struct_size as usize <= offset_of!(abi::Frame, channel) && !FORMATS_OF_1_0.contains(&frame.pixel_format) {
        return Err(error!(
            UNSUPPORTED_FORMAT,
            "frame.pixel_format is {:#010x}: expected RGB8, BGR8, RGBA8 or BGRA8 of a host that was compiled against version \
             1.0; compile it against 1.1 for the formats of cameras",
            frame.pixel_format
        ));
    }
    in_range("frame.channel", frame.channel, abi::CHANNEL_ALL..=abi::CHANNEL_BLUE)?;
    in_range("frame.mask_format", frame.mask_format, abi::MASK_NONE..=abi::MASK_BITS)?;
    in_range("unknown bits of frame.flags", frame.flags & !abi::FRAME_CONTIGUOUS, 0..=0)?;
    in_range("frame.reserved", frame.reserved, 0..=0)?;
    let memory = |plane: &abi::Plane| Memory { stride: plane.stride, size: plane.size };
    let header = FrameHeader {
        format: frame.pixel_format,
        bit_depth: frame.bit_depth,
        planes: frame.plane_count,
        x: frame.x,
        y: frame.y,
        width: frame.width,
        height: frame.height,
        memory: [memory(&frame.planes[0]), memory(&frame.planes[1]), memory(&frame.planes[2])],
        pass: frame.pass,
        focal_plane: frame.focal_plane,
        channel: frame.channel,
        mask_format: frame.mask_format,
        mask: memory(&frame.mask),
        contiguous: frame.flags & abi::FRAME_CONTIGUOUS != 0,
        tag: FrameTag { id: frame.frame_id, group: frame.group_id, captured_ns: frame.capture_time_ns },
    };
    let readable = header.check(limits)?;
    let mut bytes = FrameBytes::default();
    for (at, plane) in bytes.planes.iter_mut().enumerate().filter(|(at, _)| readable.planes[*at] > 0) {
        // SAFETY: `check` has found so many bytes within the plane's size, which the host promises is readable.
        *plane = unsafe { slice(frame.planes[at].data, readable.planes[at], format_args!("planes[{at}].data")) }?;
    }
    if readable.mask > 0 {
        // SAFETY: as above, of the mask.
        bytes.mask = unsafe { slice(frame.mask.data, readable.mask, format_args!("mask.data")) }?;
    }
    Ok((header, bytes))
}

/// # Safety
/// `data` is null or has `count` readable bytes for `'a`.
unsafe fn slice<'a>(data: *const u8, count: usize, what: std::fmt::Arguments<'_>) -> Result<&'a [u8]> {
    if data.is_null() {
        return Err(error!(INVALID_ARGUMENT, "expected {count} bytes of pixels, found NULL in {what}"));
    }
    // SAFETY: the caller's promise; not null.
    Ok(unsafe { std::slice::from_raw_parts(data, count) })
}
