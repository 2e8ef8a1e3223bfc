use std::sync::Arc;

use coverslip_pixels::tone::{Tone, ToneSpec};
use crossbeam_channel::{Sender, bounded};

use super::super::frame::{FrameBytes, FrameHeader, Memory};
use super::super::slot::{SlotShape, WHITE};
use super::*;

const SIDE: u32 = 16;

/// Checks every moment that it is told of.
struct Watch {
    free: Sender<Boxed<Slot>>,
    published: IntakeCounts,
    departed: u64,
}

impl Outlet for Watch {
    fn publish(&mut self, counts: &IntakeCounts) {
        let frames = counts.frames_accepted + counts.frames_refused;
        assert_eq!(counts.opened, 4 * frames, "a frame is published with all of its tiles");
        self.published = *counts;
    }

    fn depart(&mut self, slot: Boxed<Slot>) {
        self.departed += 1;
        assert!(self.departed <= self.published.opened, "a tile departs that was not published");
        if slot.outcome != Outcome::Incomplete {
            let _ = self.free.try_send(slot);
        }
    }
}

/// An assembler with so many slots, for frames of at most `width` pixels, and the way by which slots come back.
fn assembler(extent: Option<Rect>, count: usize, width: u32) -> (Assembler, Sender<Boxed<Slot>>) {
    let (free, slots) = bounded(count);
    let shape = SlotShape { width: SIDE, height: SIDE, side: SIDE, features: 0, embedding: 0 };
    (0..count as u32).for_each(|id| drop(free.try_send(Slot::new(id, shape).expect("memory"))));
    let grid = Grid { origin: (0, 0), tile_width: SIDE, tile_height: SIDE, extent };
    let rules = AssemblyRules { timeout: None, min_coverage: 0.5, not_scanned: NotScanned::default(), white: None };
    let tone = Arc::new(Tone::new(&ToneSpec::default()).expect("memory"));
    let developing = (Developer::new(tone, SIDE as usize).expect("memory"), Strips::new(width).expect("memory"));
    (Assembler::new(grid, rules, 1000, count, slots, developing).expect("memory"), free)
}

#[test]
fn a_frame_is_published_whole_before_its_first_tile_departs() {
    let (mut assembler, free) = assembler(None, 12, 32);
    let mut watch = Watch { free, published: IntakeCounts::default(), departed: 0 };
    let pixels = vec![7; 3 * 32 * 32];
    let mut submit = |x: i64, height: u32, pass: u32, watch: &mut Watch| {
        let header = FrameHeader {
            format: coverslip_plugin_abi::PFNC_RGB8,
            bit_depth: 8,
            planes: 1,
            x,
            y: 0,
            width: 32,
            height,
            memory: [Memory { stride: 96, size: pixels.len() as u64 }; 3],
            pass,
            ..FrameHeader::default()
        };
        let bytes = FrameBytes { planes: [&pixels; 3], mask: &[] };
        let frame = header.over(bytes).expect("a frame");
        let taken = assembler.submit(&frame, Instant::now(), watch);
        if taken.as_ref().is_err_and(is_busy) {
            assembler.remember_refused(&frame, watch);
        }
        (taken.is_ok(), watch.departed)
    };
    // Whole tiles, partial ones that a later pass retires, and refusals once the partial ones hold the slots.
    assert_eq!(submit(0, 32, 0, &mut watch), (true, 4));
    assert_eq!(submit(32, 20, 0, &mut watch), (true, 6));
    assert_eq!(submit(32, 32, 1, &mut watch), (true, 12));
    let refused = (2..20).filter(|i| !submit(i * 32, 17, 0, &mut watch).0).count();
    assert!(refused > 0, "the slots of incomplete tiles do not come back");
    assert_eq!(watch.published.frames_refused, refused as u64);
    assembler.retire_all(&mut watch);
    assert_eq!(watch.departed + 4 * refused as u64, watch.published.opened);
}

/// Keeps what departs.
struct Keep(Vec<Boxed<Slot>>);

impl Outlet for Keep {
    fn publish(&mut self, _: &IntakeCounts) {}

    fn depart(&mut self, slot: Boxed<Slot>) {
        self.0.push(slot);
    }
}

/// Frames wider than the tiles that receive a row together, and narrower than one, that overlap at random: each tile has
/// the picture's pixels, and each of a frame's pixels is counted once.
#[test]
fn tiles_side_by_side_have_the_pixels_of_the_picture_however_it_is_cut() {
    const COLUMNS: usize = 21;
    const ROWS: usize = 3;
    let (width, height) = (COLUMNS * SIDE as usize, ROWS * SIDE as usize);
    let mut state = 7u64;
    let mut random = move |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    let picture: Vec<u8> = (0..3 * width * height).map(|_| random(256) as u8).collect();
    let mask: Vec<u8> = (0..width * height).map(|_| u8::from(random(50) > 0)).collect();
    for masked in [false, true] {
        let extent = Rect { x0: 0, y0: 0, x1: width as i64, y1: height as i64 };
        let (mut assembler, _free) = assembler(Some(extent), COLUMNS * ROWS, width as u32);
        let mut kept = Keep(Vec::new());
        let (mut area, mut seen) = (0, vec![false; width * height]);
        for frame in 0..400 {
            let most = if frame % 2 == 0 { 30 } else { width };
            let (x, y) = (random(width), random(height));
            let (w, h) = (1 + random(most.min(width - x)), 1 + random(height - y));
            let start = y * width + x;
            let memory = |bytes: usize| Memory {
                stride: (bytes * width) as u64,
                size: (bytes * (width * height - start)) as u64,
            };
            let header = FrameHeader {
                format: coverslip_plugin_abi::PFNC_RGB8,
                bit_depth: 8,
                planes: 1,
                x: x as i64,
                y: y as i64,
                width: w as u32,
                height: h as u32,
                memory: [memory(3); 3],
                mask_format: if masked { coverslip_plugin_abi::MASK_BYTES } else { coverslip_plugin_abi::MASK_NONE },
                mask: if masked { memory(1) } else { Memory::default() },
                ..FrameHeader::default()
            };
            let bytes =
                FrameBytes { planes: [&picture[3 * start..]; 3], mask: if masked { &mask[start..] } else { &[] } };
            assembler.submit(&header.over(bytes).expect("a frame"), Instant::now(), &mut kept).expect("room");
            area += (w * h) as u64;
            for place in (y..y + h).flat_map(|y| (x..x + w).map(move |x| y * width + x)) {
                seen[place] |= !masked || mask[place] != 0;
            }
        }
        assembler.retire_all(&mut kept);
        let IntakeCounts { pixels_used, pixels_duplicate, pixels_late, pixels_not_scanned, .. } = assembler.counts;
        assert_eq!(pixels_used + pixels_duplicate + pixels_late + pixels_not_scanned, area, "each once");
        assert_eq!(pixels_used, seen.iter().filter(|&&seen| seen).count() as u64);
        assert_eq!(kept.0.len(), COLUMNS * ROWS);
        for slot in &mut kept.0 {
            slot.whiten();
            let (corner, side) = (slot.identity.area, SIDE as usize);
            for (at, pixel) in slot.native().2.chunks_exact(3).enumerate() {
                let place = (corner.y0 as usize + at / side) * width + corner.x0 as usize + at % side;
                let expected = if seen[place] { &picture[3 * place..3 * place + 3] } else { &[WHITE; 3] };
                assert_eq!(pixel, expected, "pixel {at} of tile {:?}, with masks: {masked}", slot.identity.place);
            }
        }
    }
}
