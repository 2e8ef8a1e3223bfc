//! A slide that a runtime with a stranger's profile judges.

use std::ffi::{CString, OsStr};
use std::path::Path;
use std::ptr::null_mut;

use coverslip_plugin_abi::*;

use super::accounts::{account, check_record};
use super::host::api;
use super::memory::Memory;

/// Width and height of the slide's one frame, px: 4 × 4 tiles of the bundle's side.
const SIDE: u32 = 64;
/// Records, features and alerts that a poll has room for.
const ROOM: usize = 64;

/// Opens a runtime and scans a slide of `scanner`; whether every tile has a result. A profile, or a scanner's name, that is
/// refused is survived.
pub(crate) fn judged(bundle: &Path, profile: &Path, scanner: &str) -> bool {
    let text = |text: &OsStr| CString::new(text.as_encoded_bytes()).ok();
    let [Some(bundle), Some(profile), Some(scanner)] =
        [bundle.as_os_str(), profile.as_os_str(), scanner.as_ref()].map(text)
    else {
        return false;
    };
    let desc = RuntimeDesc {
        engine: ENGINE_CPU,
        bundle_path: bundle.as_ptr(),
        profile_path: profile.as_ptr(),
        max_threads: 2,
        ..RuntimeDesc::init()
    };
    let mut runtime = 0;
    // SAFETY: the struct is whole, and what it points to outlives the call; null is allowed for the error.
    if unsafe { (api().runtime_open)(&desc, None, null_mut(), &mut runtime, null_mut()) } != OK {
        return false;
    }
    // Twice, because a slide is also held against the ones before it.
    let found = [scanned(runtime, &scanner), scanned(runtime, &scanner)];
    // SAFETY: null is allowed for the error.
    assert_eq!(unsafe { (api().runtime_close)(runtime, 60_000, null_mut()) }, OK);
    found == [true; 2]
}

fn scanned(runtime: Runtime, scanner: &CString) -> bool {
    let desc = SlideDesc {
        scanner_id: scanner.as_ptr(),
        slide_id: c"slide".as_ptr(),
        mpp_x: 0.5,
        mpp_y: 0.5,
        extent_width: SIDE.into(),
        extent_height: SIDE.into(),
        max_frame_width: SIDE,
        max_frame_height: SIDE,
        stability_interval: 1,
        ..SlideDesc::init()
    };
    let mut slide = 0;
    // SAFETY: the struct is whole, and what it points to outlives the call; null is allowed for the error.
    if unsafe { (api().slide_begin)(runtime, &desc, &mut slide, null_mut()) } != OK {
        return false;
    }
    submit(slide);
    let results = results(slide);
    alerts(slide);
    let summary = account(slide);
    assert_eq!((summary.opened, summary.in_flight, summary.results[0]), (results, 0, results), "a finished slide");
    // SAFETY: null is allowed for the error.
    assert_eq!(unsafe { (api().slide_end)(slide, null_mut()) }, OK);
    results > 0
}

/// Tissue that differs from tile to tile.
fn submit(slide: Slide) {
    let pixels = Memory::new((3 * SIDE * SIDE) as usize);
    for at in 0..(3 * SIDE * SIDE) as usize {
        let noise = (at as u32).wrapping_mul(0x9e37_79b9) >> 26;
        pixels.set(at, [150, 70, 130][at % 3] + (at / 3072) as u8 + noise as u8);
    }
    let plane = Plane { data: pixels.pointer::<u8>(), stride: u64::from(3 * SIDE), size: u64::from(3 * SIDE * SIDE) };
    let mut frame = Frame { pixel_format: PFNC_RGB8, plane_count: 1, width: SIDE, height: SIDE, ..Frame::init() };
    frame.planes[0] = plane;
    // SAFETY: the struct is whole, and its plane is as long as it says.
    assert_eq!(unsafe { (api().slide_submit_wait)(slide, &frame, 60_000, null_mut()) }, OK);
}

/// Finishes the slide and polls it to its end; how many tiles had a result.
fn results(slide: Slide) -> u64 {
    let [records, features] = [ROOM * size_of::<TileResult>(), ROOM * size_of::<Feature>()].map(Memory::new);
    let mut count = 0;
    loop {
        let mut batch = ResultBatch {
            record_size: size_of::<TileResult>() as u32,
            records: records.pointer(),
            features: features.pointer(),
            record_capacity: ROOM as u32,
            feature_capacity: ROOM as u32,
            ..ResultBatch::init()
        };
        // SAFETY: null is allowed for the error; the buffers are as long as stated.
        let codes =
            unsafe { [(api().slide_finish)(slide, 50, null_mut()), (api().slide_poll)(slide, &mut batch, null_mut())] };
        for record in records.values::<TileResult>(batch.record_count as usize) {
            check_record(&record, [0, batch.feature_count as usize, 0]);
            let odd = record.p_values.iter().find(|p| !p.is_nan() && !(0.0..=1.0).contains(*p));
            assert_eq!(odd, None, "a p-value");
        }
        count += u64::from(batch.record_count);
        match codes {
            [_, END_OF_RESULTS] => return count,
            [OK | TIMEOUT, OK] => {}
            codes => panic!("finish and poll answer {codes:?}"),
        }
    }
}

fn alerts(slide: Slide) {
    let records = Memory::new(ROOM * size_of::<Alert>());
    let mut batch = AlertBatch {
        record_size: size_of::<Alert>() as u32,
        records: records.pointer(),
        record_capacity: ROOM as u32,
        ..AlertBatch::init()
    };
    // SAFETY: null is allowed for the error; the buffer is as long as stated.
    assert_eq!(unsafe { (api().slide_alerts)(slide, &mut batch, null_mut()) }, OK);
    assert!(batch.record_count as usize <= ROOM, "more alerts than there is room for");
}
