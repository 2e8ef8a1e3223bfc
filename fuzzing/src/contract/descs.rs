//! The structs that a host fills in: what a slide is, and what a frame is.

use std::ptr::null;

use coverslip_plugin_abi::*;

use super::host::{constant, float, number, small, text};
use super::memory::Memory;
use crate::input::Input;

/// Width and height of the largest frame, px.
pub(super) const FRAME: u32 = 32;
/// The extent of a slide: 6 × 4 tiles of the bundle's side.
const EXTENT: [u64; 2] = [96, 64];
/// Pixel formats with so many bytes per pixel; a Bayer and a packed one have none to spare.
const FORMATS: [(u32, u64); 14] = [
    (PFNC_RGB8, 3),
    (PFNC_BGR8, 3),
    (PFNC_RGBA8, 4),
    (PFNC_BGRA8, 4),
    (PFNC_MONO8, 1),
    (PFNC_MONO16, 2),
    (PFNC_RGB8_PLANAR, 1),
    (PFNC_RGB16, 6),
    (PFNC_BAYER_RG8, 1),
    (PFNC_MONO12P, 2),
    (PFNC_MONO14P, 2),
    (PFNC_BAYER_GB12P, 2),
    (PFNC_BAYER_BG10_PACKED, 2),
    (PFNC_RGB10P, 4),
];

/// A slide's description. It points into `kept`, which must outlive the call.
pub(super) fn slide(input: &mut Input, kept: &mut Vec<Memory>) -> SlideDesc {
    let mut desc = SlideDesc {
        scanner_id: text(input, c"scanner"),
        slide_id: text(input, c"slide"),
        mpp_x: float(input, 0.5),
        mpp_y: float(input, 0.5),
        extent_width: number(input, EXTENT[0]),
        extent_height: number(input, EXTENT[1]),
        max_frame_width: small(input, FRAME),
        max_frame_height: small(input, FRAME),
        max_unpolled: small(input, 64),
        flags: input.one(&[0, SLIDE_EMBEDDINGS, SLIDE_ANALYSE_BACKGROUND, 3]),
        ..SlideDesc::init()
    };
    // Choices that are seldom made follow a byte that is seldom odd, so that an input stays short.
    if input.byte() & 1 != 0 {
        desc.color_state = constant(input, &[0, 1, 2, 3]);
        desc.color_name = text(input, c"colour");
        desc.extent_x = number(input, 0) as i64;
        desc.extent_y = number(input, u64::MAX - 20) as i64;
        (desc.spread_width, desc.spread_height) = (number(input, 96), number(input, 32));
        desc.max_tiles = small(input, 20);
        desc.assembly_timeout_ms = u32::from(input.byte() % 10);
        desc.result_deadline_ms = u32::from(input.byte() % 30);
        (desc.min_coverage, desc.alpha) = (float(input, 0.5), float(input, 0.01));
        desc.stability_interval = small(input, 2);
        desc.flags = small(input, desc.flags);
    }
    if input.byte() & 1 != 0 {
        (desc.tone_black, desc.tone_white, desc.tone_gamma) = (float(input, 0.0), float(input, 0.0), float(input, 0.0));
        desc.tone_table_size = small(input, 0);
        if input.byte() & 1 != 0 {
            kept.push(Memory::new(desc.tone_table_size.min(4096) as usize));
            desc.tone_table_size = desc.tone_table_size.min(4096);
            desc.tone_table = kept[kept.len() - 1].pointer::<u8>();
        }
        desc.stain = constant(input, &[0, 1, 2, 3]);
        desc.white_balance = [float(input, 0.0), 0.0, 0.0];
        desc.color_matrix[input.below(9)] = float(input, 0.0);
        desc.white_reference[input.below(3)] = float(input, 0.0);
        desc.not_scanned = [small(input, 0); 3];
        desc.reserved = small(input, 0);
    }
    desc
}

/// A frame of pixels in memory that is as long as the frame says.
pub(super) fn frame(input: &mut Input, kept: &mut Vec<Memory>) -> Frame {
    let formats = if input.once_in(8) { FORMATS.len() } else { 4 };
    let (format, bytes) = input.one(&FORMATS[..formats]);
    let side = |input: &mut Input| 1 + u32::from(input.byte()) % FRAME;
    let (width, height) = (side(input), side(input));
    let row = u64::from(width) * bytes;
    let mut frame = Frame {
        pixel_format: format,
        plane_count: 1,
        x: i64::from(input.byte()) - 8,
        y: i64::from(input.byte()) % 80 - 8,
        width,
        height,
        ..Frame::init()
    };
    let padding = u64::from(input.byte() % 4);
    let mut plane = Plane { data: null(), stride: row + padding, size: (row + padding) * u64::from(height) - padding };
    if input.byte() & 1 != 0 {
        plane.stride = number(input, plane.stride);
        plane.size = number(input, plane.size).min(plane.size);
        (frame.width, frame.height) = (small(input, frame.width), small(input, frame.height));
        frame.pixel_format = small(input, frame.pixel_format);
        (frame.bit_depth, frame.plane_count) = (small(input, 8), small(input, 1));
        (frame.x, frame.y) = (number(input, frame.x as u64) as i64, number(input, frame.y as u64) as i64);
        (frame.frame_id, frame.group_id) = (number(input, 1), number(input, 1));
        (frame.capture_time_ns, frame.pass) = (number(input, 1) as i64, small(input, 1));
        frame.focal_plane = constant(input, &[0, 0, 1, -1]);
        frame.channel = constant(input, &[0, 1, 2, 3]);
        (frame.flags, frame.mask_format) = (small(input, 0), constant(input, &[0, 1, 2]));
    }
    kept.push(pixels(input, plane.size));
    if !input.once_in(40) {
        plane.data = kept[kept.len() - 1].pointer::<u8>();
    }
    frame.planes = [plane; 4];
    if frame.plane_count == 1 {
        frame.planes[1..].fill(Plane { data: null(), stride: 0, size: 0 });
    }
    if frame.mask_format != 0 {
        frame.mask = plane;
    }
    frame
}

/// Tissue, glass or noise of one byte over and over.
fn pixels(input: &mut Input, size: u64) -> Memory {
    let memory = Memory::new(size as usize);
    let (kind, seed) = (input.below(3), u32::from(input.byte()));
    for at in 0..size as usize {
        let noise = (at as u32).wrapping_add(seed).wrapping_mul(0x9e37_79b9) >> 27;
        memory.set(at, [[170, 90, 150][at % 3] + noise as u8, 243, seed as u8][kind]);
    }
    memory
}
