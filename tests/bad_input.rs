//! Every mistake of a host gets a code and a text that says what was expected, and nothing is lost.
#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "each is a call of the C ABI, with live pointers or with what it must refuse"
)]

mod support {
    pub(crate) mod host;
}

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::ptr::{null, null_mut};

use coverslip_plugin_abi::*;
use support::host::{Answer, Picture, Refusal, TestRuntime, api, call, open, open_with};

fn bundle(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("bad-{name}"));
    coverslip_testkit::bundle(&folder);
    folder
}

#[track_caller]
fn refused<T>(answer: Answer<T>, code: i32, text: &str) {
    let Refusal { code: found, message } = answer.err().expect("a refusal");
    assert!(found == code && message.contains(text), "expected {code} with {text:?}, found {found}: {message}");
}

// -- bundles ------------------------------------------------------------------------------------------------

/// Opens a copy of a bundle after `spoil` has changed it.
fn spoiled(name: &str, spoil: impl FnOnce(&Path)) -> Answer<TestRuntime> {
    let folder = bundle(name);
    spoil(&folder);
    open_with(&folder, |_| ())
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).expect("a file of the bundle");
    change(&mut bytes);
    std::fs::write(path, bytes).expect("a file of the bundle");
}

fn edit_manifest(folder: &Path, from: &str, to: &str) {
    let path = folder.join("manifest.json");
    let text = std::fs::read_to_string(&path).expect("the manifest");
    assert!(text.contains(from), "the manifest has {from}");
    std::fs::write(path, text.replacen(from, to, 1)).expect("the manifest");
}

#[test]
fn damaged_bundles_are_refused() {
    refused(open_with(Path::new("/nowhere/at/all"), |_| ()), BUNDLE_INVALID, "manifest.json");
    let cut = |folder: &Path| edit(&folder.join("model.safetensors"), |bytes| bytes.truncate(bytes.len() / 2));
    refused(spoiled("cut", cut), BUNDLE_INVALID, "model.safetensors");
    refused(spoiled("gone", |f| std::fs::remove_file(f.join("sae.safetensors")).unwrap()), BUNDLE_INVALID, "sae");
    let flip = |folder: &Path| {
        edit(&folder.join("model.safetensors"), |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x10;
        })
    };
    refused(spoiled("flip", flip), DIGEST_MISMATCH, "model.safetensors");
    refused(
        spoiled("version", |f| edit_manifest(f, "coverslip.bundle/1", "coverslip.bundle/9")),
        BUNDLE_UNSUPPORTED,
        "9",
    );
    refused(spoiled("json", |f| edit(&f.join("manifest.json"), |b| b.truncate(40))), BUNDLE_INVALID, "manifest");
    refused(spoiled("huge", |f| edit_manifest(f, "\"side\": 32", "\"side\": 4000000000")), BUNDLE_INVALID, "side");
}

/// Nobody writes into the pipes: a runtime that opened one would wait for ever.
#[cfg(unix)]
#[test]
fn what_is_not_a_file_is_refused_and_nobody_waits() {
    use coverslip_testkit::pipe;

    let pipes = ["manifest.json", "model.safetensors", "sae.safetensors", "reference.safetensors"];
    for (number, name) in pipes.into_iter().enumerate() {
        let opened = spoiled(&format!("pipe-{number}"), |folder| pipe(&folder.join(name)));
        refused(opened, BUNDLE_INVALID, &format!("{name}: it is not a file but a named pipe"));
    }
    let device = |folder: &Path| {
        std::fs::remove_file(folder.join("manifest.json")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", folder.join("manifest.json")).unwrap();
    };
    refused(spoiled("device", device), BUNDLE_INVALID, "manifest.json: it is not a file but a device");
    let profile = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bad-profile-of-a-pipe");
    std::fs::create_dir_all(&profile).unwrap();
    pipe(&profile.join("profile.json"));
    let path = CString::new(profile.to_str().unwrap()).unwrap();
    let opened = open_with(&bundle("pipe-profile"), |desc| desc.profile_path = path.as_ptr());
    refused(opened, BUNDLE_INVALID, "profile.json: it is not a file but a named pipe");
}

/// The same of every other path that a host names.
#[cfg(unix)]
#[test]
fn no_path_of_a_runtime_may_be_a_pipe() {
    let folder = bundle("pipe-paths");
    let pipe = folder.with_file_name("bad-pipe-of-a-path");
    coverslip_testkit::pipe(&pipe);
    let path = CString::new(pipe.to_str().unwrap()).unwrap();
    let open = |change: &dyn Fn(&mut RuntimeDesc)| open_with(&folder, change);
    let why = "bad-pipe-of-a-path cannot be loaded: it is not a file but a named pipe";
    let library = |engine| open(&|d| (d.engine, d.tensorrt_library) = (engine, path.as_ptr()));
    refused(library(ENGINE_TENSORRT), ENGINE_UNAVAILABLE, why);
    let info = library(ENGINE_AUTO).expect("the CPU").info();
    assert_eq!((info.engine, info.fallback_reason), (ENGINE_CPU, REASON_NO_LIBRARY));
    refused(open(&|d| d.cpu_tuning_path = path.as_ptr()), INVALID_ARGUMENT, "it is not a file but a named pipe");
    let apart = |d: &mut RuntimeDesc| (d.isolation, d.worker_path) = (ISOLATION_ALWAYS, path.as_ptr());
    refused(open(&apart), ENGINE_UNAVAILABLE, "bad-pipe-of-a-path");
}

#[test]
fn the_host_can_pin_the_bundle() {
    let folder = bundle("pin");
    let digest = open(&folder).info().bundle_digest;
    open_with(&folder, |desc| desc.bundle_digest = digest.as_ptr()).expect("the same bundle");
    let other = [7u8; 32];
    refused(open_with(&folder, |desc| desc.bundle_digest = other.as_ptr()), DIGEST_MISMATCH, "0707");
}

#[test]
fn a_bundle_with_another_models_reference_fails_the_self_check() {
    let folder = bundle("reference");
    let other = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bad-reference-zeros");
    let _ = std::fs::remove_dir_all(&other);
    let spec = coverslip_bundle::synthetic::SyntheticSpec::default();
    coverslip_bundle::synthetic::write(&other, &spec, coverslip_bundle::synthetic::zeros).expect("a bundle of zeros");
    refused(open_with(&other, |_| ()), SELF_CHECK_FAILED, "the reference tiles: 1-cos of early");
    drop(folder);
}

// -- runtime_open -------------------------------------------------------------------------------------------

#[test]
fn a_runtime_desc_out_of_range_is_refused() {
    let folder = bundle("desc");
    let open = |change: &dyn Fn(&mut RuntimeDesc)| open_with(&folder, change);
    refused(open(&|d| d.struct_size = 3), INVALID_STRUCT, "COVERSLIP_INIT");
    refused(open(&|d| d.bundle_path = null()), INVALID_ARGUMENT, "bundle_path");
    refused(open(&|d| d.engine = 9), INVALID_ARGUMENT, "engine");
    refused(open(&|d| d.engine = ENGINE_TENSORRT), ENGINE_UNAVAILABLE, "TensorRT");
    refused(open(&|d| (d.engine, d.fallback) = (ENGINE_AUTO, FALLBACK_NONE)), ENGINE_UNAVAILABLE, "TensorRT");
    refused(open(&|d| d.fallback = -1), INVALID_ARGUMENT, "fallback");
    refused(open(&|d| d.max_threads = 1000), INVALID_ARGUMENT, "max_threads");
    refused(open(&|d| d.max_slides = 1000), INVALID_ARGUMENT, "max_slides");
    refused(open(&|d| d.flags = 0x8000_0000), INVALID_ARGUMENT, "flags");
    refused(open(&|d| d.cpu_count = 3), INVALID_ARGUMENT, "cpu_count");
    refused(open(&|d| d.profile_path = c"/no/such/profile".as_ptr()), BUNDLE_INVALID, "/no/such/profile");
    refused(open(&|d| d.profile_digest = [0; 32].as_ptr()), INVALID_ARGUMENT, "profile_path");
    refused(open(&|d| d.precision = 4), INVALID_ARGUMENT, "precision");
    refused(open(&|d| d.max_batch = 257), INVALID_ARGUMENT, "max_batch");
    refused(open(&|d| d.tensorrt_library = c"libnvinfer.so.11".as_ptr()), INVALID_ARGUMENT, "absolute path");
}

#[test]
fn keys_that_cannot_be_used_are_refused() {
    let folder = bundle("keys");
    let open = |change: &dyn Fn(&mut RuntimeDesc)| open_with(&folder, change);
    let key = c"RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3".as_ptr();
    let (good, cut, nothing) = ([key; 65], [key, c"RWQf6LRCGA9i53ml".as_ptr()], [key, null()]);
    let trusting = |keys: &[*const std::ffi::c_char], count: u32| {
        open(&|d| (d.trusted_keys, d.trusted_key_count) = (keys.as_ptr(), count))
    };
    refused(trusting(&good, 0), INVALID_ARGUMENT, "trusted_key_count");
    refused(trusting(&good, 65), INVALID_ARGUMENT, "1..=64");
    refused(trusting(&cut, 2), INVALID_ARGUMENT, "trusted_keys[1]: expected a public key of minisign");
    refused(trusting(&nothing, 2), INVALID_ARGUMENT, "trusted_keys[1]");
    refused(open(&|d| d.trusted_key_count = 1), INVALID_ARGUMENT, "trusted_key_count without");
    refused(open(&|d| d.flags = RUNTIME_REQUIRE_SIGNATURE), INVALID_ARGUMENT, "name the keys");
    trusting(&good, 64).expect("as many keys as there may be, and an unsigned bundle, which nothing forbids");
}

/// Of version 1.1: what a bundle does not have is said, and ranges hold.
#[test]
fn runtime_fields_of_1_1_have_ranges() {
    let folder = bundle("runtime-1-1");
    let open = |change: &dyn Fn(&mut RuntimeDesc)| open_with(&folder, change);
    refused(open(&|d| d.isolation = 3), INVALID_ARGUMENT, "isolation");
    refused(open(&|d| d.cpu_precision = CPU_PRECISION_INT8), UNSUPPORTED, "cpu_precision");
    refused(open(&|d| d.cpu_precision = -1), INVALID_ARGUMENT, "cpu_precision");
    let once = "the file of runtime_desc.cpu_tuning_path, /nowhere/tuning: No such file";
    refused(open(&|d| d.cpu_tuning_path = c"/nowhere/tuning".as_ptr()), INVALID_ARGUMENT, once);
    // In this process, which is what there is.
    let runtime = open(&|d| d.isolation = ISOLATION_NEVER).expect("no worker is what NEVER asks for");
    let (info, stats) = (runtime.info(), runtime.stats());
    assert_eq!((info.worker_process_id, info.cpu_precision), (0, CPU_PRECISION_FLOAT32));
    assert!(info.engine_memory_bytes > 0, "the CPU engine knows what it holds");
    assert_eq!((stats.worker_process_id, stats.worker_restarts), (0, 0));
    assert_eq!(runtime.begin(|_| ()).summary().precision, PRECISION_FLOAT32);
}

#[test]
fn a_fallback_is_reported_with_a_reason_a_log_line_and_an_alert() {
    let runtime = open_with(&bundle("auto"), |desc| desc.engine = ENGINE_AUTO).expect("the CPU instead");
    let info = runtime.info();
    assert_eq!((info.engine, info.fallback_reason), (ENGINE_CPU, REASON_NO_LIBRARY));
    let alerts = runtime.begin(|_| ()).alerts();
    assert_eq!(alerts.iter().map(|alert| alert.code).collect::<Vec<_>>(), [ALERT_ENGINE_FALLBACK]);
}

#[test]
fn progress_can_cancel() {
    unsafe extern "C" fn stop(stages: *mut std::ffi::c_void, progress: *const Progress) -> i32 {
        // SAFETY: the test passes a Vec<i32>, the library a Progress.
        let (stages, progress) = unsafe { (&mut *stages.cast::<Vec<i32>>(), &*progress) };
        stages.push(progress.stage);
        i32::from(progress.stage == STAGE_SELF_CHECK)
    }
    let path = CString::new(bundle("progress").to_str().unwrap()).unwrap();
    let desc = RuntimeDesc { engine: ENGINE_CPU, bundle_path: path.as_ptr(), ..RuntimeDesc::init() };
    let (mut stages, mut handle) = (Vec::<i32>::new(), 0);
    // SAFETY: all pointers are to live structs.
    let answer =
        call(|error| unsafe { (api().runtime_open)(&desc, Some(stop), (&raw mut stages).cast(), &mut handle, error) });
    refused(answer, CANCELLED, "progress");
    assert_eq!((handle, &stages[..]), (0, &[STAGE_VERIFY, STAGE_COMPOSE, STAGE_ENGINE, STAGE_SELF_CHECK][..]));
}

// -- slide_begin --------------------------------------------------------------------------------------------

#[test]
fn a_slide_desc_out_of_range_is_refused() {
    let runtime = open(&bundle("slide"));
    let begin = |change: &dyn Fn(&mut SlideDesc)| runtime.begin_with(change);
    for mpp in [0.0, -0.5, f64::NAN, f64::INFINITY, 1e-9] {
        refused(begin(&|d| d.mpp_x = mpp), INVALID_ARGUMENT, "mpp_x");
        refused(begin(&|d| d.mpp_y = mpp), INVALID_ARGUMENT, "mpp_y");
    }
    refused(begin(&|d| d.mpp_x = 60.0), INVALID_ARGUMENT, "check mpp_x");
    refused(begin(&|d| d.scanner_id = null()), INVALID_ARGUMENT, "scanner_id");
    refused(begin(&|d| d.slide_id = c"".as_ptr()), INVALID_ARGUMENT, "slide_id");
    refused(begin(&|d| d.slide_id = c"\xff".as_ptr()), INVALID_ARGUMENT, "UTF-8");
    refused(begin(&|d| d.max_frame_width = 0), INVALID_ARGUMENT, "max_frame_width");
    refused(begin(&|d| d.extent_width = 9), INVALID_ARGUMENT, "extent");
    refused(begin(&|d| (d.extent_width, d.extent_height) = (u64::MAX, 1)), INVALID_ARGUMENT, "pixels");
    refused(begin(&|d| d.extent_x = i64::MIN), INVALID_ARGUMENT, "stage coordinates");
    refused(begin(&|d| d.min_coverage = f64::NAN), INVALID_ARGUMENT, "min_coverage");
    refused(begin(&|d| d.alpha = 0.7), INVALID_ARGUMENT, "alpha");
    refused(begin(&|d| d.color_state = 17), INVALID_ARGUMENT, "color_state");
    let wide = |d: &mut SlideDesc| (d.spread_width, d.spread_height) = (1 << 30, 1 << 30);
    refused(begin(&wide), OUT_OF_MEMORY, "smaller spread");
    let many = |d: &mut SlideDesc| (d.extent_width, d.extent_height, d.max_tiles) = (32_000, 32_000, 100);
    refused(begin(&many), LIMIT_REACHED, "max_tiles");
    let small = open_with(&bundle("quota"), |desc| desc.memory_limit = 1 << 20).expect("opens");
    refused(small.begin_with(|_| ()), OUT_OF_MEMORY, "memory_limit");
}

#[test]
fn slide_fields_of_1_1_have_ranges() {
    let runtime = open(&bundle("slide-1-1"));
    let begin = |change: &dyn Fn(&mut SlideDesc)| runtime.begin_with(change);
    for value in [-1.0, 0.1, f64::NAN, f64::INFINITY] {
        refused(begin(&|d| d.white_reference[1] = value), INVALID_ARGUMENT, "white_reference");
    }
    for value in [-1.0, 0.0, 255.5, f64::NAN, f64::INFINITY] {
        refused(begin(&|d| d.white_reference = [240.0, value, 240.0]), INVALID_ARGUMENT, "white_reference");
    }
    let stated = |d: &mut SlideDesc| (d.stain, d.white_reference) = (STAIN_HE, [240.0, 238.5, 233.0]);
    assert_eq!(runtime.begin(stated).summary().white_point, [240.0, 238.5, 233.0]);
    refused(begin(&|d| d.stain = 4), INVALID_ARGUMENT, "stain");
    refused(begin(&|d| d.flags = 0x10), INVALID_ARGUMENT, "flags");
    refused(begin(&|d| d.reserved = 1), INVALID_ARGUMENT, "reserved");
}

#[test]
fn a_tone_that_contradicts_itself_is_refused() {
    let runtime = open(&bundle("tone"));
    let begin = |change: &dyn Fn(&mut SlideDesc)| runtime.begin_with(change);
    let table = [0u8, 255];
    for value in [-1.0, f64::NAN, f64::INFINITY, 65_536.0] {
        refused(begin(&|d| d.tone_black = value), INVALID_ARGUMENT, "tone_black");
        refused(begin(&|d| d.tone_white = value), INVALID_ARGUMENT, "tone_white");
        refused(begin(&|d| d.tone_gamma = value), INVALID_ARGUMENT, "tone_gamma");
        refused(begin(&|d| d.white_balance = [1.0, value, 1.0]), INVALID_ARGUMENT, "white_balance");
    }
    refused(begin(&|d| d.white_balance = [1.0, 1.0, 0.0]), INVALID_ARGUMENT, "white_balance");
    for value in [-16.1, f64::NAN, f64::INFINITY] {
        refused(begin(&|d| d.color_matrix[8] = value), INVALID_ARGUMENT, "color_matrix");
    }
    refused(begin(&|d| (d.tone_black, d.tone_white) = (200.0, 200.0)), INVALID_ARGUMENT, "below tone_white");
    refused(begin(&|d| d.tone_table = table.as_ptr()), INVALID_ARGUMENT, "tone_table");
    refused(begin(&|d| d.tone_table_size = 2), INVALID_ARGUMENT, "tone_table");
    refused(begin(&|d| (d.tone_table, d.tone_table_size) = (table.as_ptr(), 1)), INVALID_ARGUMENT, "2 to 65536");
    let both = |d: &mut SlideDesc| (d.tone_table, d.tone_table_size, d.tone_gamma) = (table.as_ptr(), 2, 2.2);
    refused(begin(&both), INVALID_ARGUMENT, "tone_gamma or tone_table");
    refused(begin(&|d| d.not_scanned[2] = 1), INVALID_ARGUMENT, "not_scanned");
    let deep = |d: &mut SlideDesc| (d.flags, d.not_scanned) = (SLIDE_NOT_SCANNED_VALUE, [0, 0, 65_536]);
    refused(begin(&deep), INVALID_ARGUMENT, "not_scanned");
}

// -- frames -------------------------------------------------------------------------------------------------

#[test]
fn a_contradictory_frame_is_refused() {
    let runtime = open(&bundle("frame"));
    let slide = runtime.begin(|desc| (desc.extent_width, desc.extent_height) = (640, 640));
    let picture = Picture::tissue(64, 64, 1);
    let submit = |change: &dyn Fn(&mut Frame)| {
        let mut frame = picture.frame(0, 0, 64, 64);
        change(&mut frame);
        slide.submit(&frame)
    };
    refused(submit(&|f| f.struct_size = 0), INVALID_STRUCT, "coverslip_frame");
    refused(submit(&|f| f.planes[0].data = null()), INVALID_ARGUMENT, "planes[0].data");
    refused(submit(&|f| f.planes[0].stride = 191), INVALID_ARGUMENT, "stride");
    refused(submit(&|f| f.planes[0].stride = u64::MAX / 8), INVALID_ARGUMENT, "larger than the plane");
    refused(submit(&|f| f.planes[0].size -= 1), INVALID_ARGUMENT, "larger than the plane");
    refused(submit(&|f| f.width = 0), INVALID_ARGUMENT, "at least 1 x 1");
    refused(submit(&|f| f.width = 65), FRAME_TOO_LARGE, "at most 64 x 64");
    refused(submit(&|f| f.x = 640), OUT_OF_EXTENT, "outside the extent");
    refused(submit(&|f| f.y = -64), OUT_OF_EXTENT, "outside the extent");
    refused(submit(&|f| f.x = i64::MAX), INVALID_ARGUMENT, "stage coordinates");
    refused(submit(&|f| f.pixel_format = 0x0108_0002), UNSUPPORTED_FORMAT, "0x01080002");
    refused(submit(&|f| f.bit_depth = 12), UNSUPPORTED_FORMAT, "12 bits");
    refused(submit(&|f| f.plane_count = 3), UNSUPPORTED_FORMAT, "3 planes");
    refused(submit(&|f| f.focal_plane = 1), UNSUPPORTED, "focal plane");
    refused(submit(&|f| f.pass = 70_000), INVALID_ARGUMENT, "pass");
    // SAFETY: null is allowed.
    refused(call(|e| unsafe { (slide.api.slide_submit)(slide.handle, null(), e) }), INVALID_ARGUMENT, "NULL");
    // A frame that is partly outside is accepted; the pixels outside are counted.
    submit(&|f| (f.x, f.y) = (-32, 600)).expect("partly inside");
    assert_eq!(slide.results().len(), 2);
    let summary = slide.summary();
    assert_eq!((summary.opened, summary.pixels_outside, summary.pixels_used), (2, 64 * 64 - 32 * 40, 32 * 40));
}

#[test]
fn a_frame_that_contradicts_its_format_or_mask_is_refused() {
    let runtime = open(&bundle("frame-1-1"));
    let slide = runtime.begin(|_| ());
    let picture = Picture::tissue(64, 64, 1);
    let submit = |change: &dyn Fn(&mut Frame)| {
        let mut frame = picture.frame(0, 0, 64, 64);
        change(&mut frame);
        slide.submit(&frame)
    };
    let mask = Plane { data: picture.rgb.as_ptr(), stride: 64, size: 64 * 64 };
    let bytes = |f: &mut Frame| (f.mask, f.mask_format) = (mask, MASK_BYTES);
    refused(submit(&|f| f.mask = mask), INVALID_ARGUMENT, "MASK_NONE");
    refused(submit(&|f| f.mask_format = 3), INVALID_ARGUMENT, "mask_format");
    refused(submit(&|f| f.mask_format = MASK_BITS), INVALID_ARGUMENT, "mask: expected a stride");
    refused(submit(&|f| (bytes(f), f.mask.stride = 63).1), INVALID_ARGUMENT, "mask: expected a stride");
    refused(submit(&|f| (bytes(f), f.mask.size -= 1).1), INVALID_ARGUMENT, "mask: a frame of 64 x 64");
    refused(submit(&|f| (bytes(f), f.mask.data = null()).1), INVALID_ARGUMENT, "mask.data");
    let bits = |f: &mut Frame| (f.mask, f.mask_format) = (Plane { stride: 7, ..mask }, MASK_BITS);
    refused(submit(&bits), INVALID_ARGUMENT, "a row (8 bytes");
    refused(submit(&|f| f.flags = FRAME_CONTIGUOUS), INVALID_ARGUMENT, "group_id");
    refused(submit(&|f| f.flags = 2), INVALID_ARGUMENT, "flags");
    refused(submit(&|f| f.reserved = 1), INVALID_ARGUMENT, "reserved");
    refused(submit(&|f| f.channel = 4), INVALID_ARGUMENT, "channel");
    refused(submit(&|f| f.channel = CHANNEL_RED), INVALID_ARGUMENT, "Mono formats");
    for (width, height) in [(63, 64), (64, 63)] {
        let odd = |f: &mut Frame| (f.pixel_format, f.width, f.height) = (PFNC_BAYER_GB8, width, height);
        refused(submit(&odd), INVALID_ARGUMENT, "even width and height");
    }
    for (format, bits) in [(PFNC_MONO12P, 16), (PFNC_MONO16, 12), (PFNC_BAYER_RG10, 12), (PFNC_RGB16, 8)] {
        refused(submit(&|f| (f.pixel_format, f.bit_depth) = (format, bits)), UNSUPPORTED_FORMAT, "what the code says");
    }
    refused(submit(&|f| f.pixel_format = PFNC_RGB8_PLANAR), UNSUPPORTED_FORMAT, "3 planes");
    let planar = |f: &mut Frame| (f.pixel_format, f.plane_count) = (PFNC_RGB8_PLANAR, 3);
    refused(submit(&planar), INVALID_ARGUMENT, "planes[1]");
    // Seven pixels of 10 bits end within a byte, which the row takes whole.
    let packed = |stride: u64| {
        submit(&|f| {
            (f.pixel_format, f.width) = (PFNC_MONO10P, 7);
            f.planes[0].stride = stride;
        })
    };
    refused(packed(8), INVALID_ARGUMENT, "a row (9 bytes");
    assert_eq!(slide.summary().opened, 0);
    packed(9).expect("a row of nine bytes");
    // The camera changes to colour, and to another depth than the slide's tone has.
    refused(submit(&|_| ()), UNSUPPORTED_FORMAT, "are grey, found one that is colour");
    let one = |f: &mut Frame| (f.pixel_format, f.channel) = (PFNC_MONO8, CHANNEL_BLUE);
    refused(submit(&one), UNSUPPORTED_FORMAT, "one channel at a time");
    assert_eq!(slide.results().len(), 2, "one outcome for each tile that the accepted frame touched");
    let deep = runtime.begin(|desc| desc.tone_white = 4095.0);
    refused(deep.submit(&picture.frame(0, 0, 64, 64)), UNSUPPORTED_FORMAT, "256 levels");
    let matrix = runtime.begin(|desc| desc.color_matrix[1] = 0.5);
    let mut frame = picture.frame(0, 0, 64, 64);
    (frame.pixel_format, frame.channel) = (PFNC_MONO8, CHANNEL_BLUE);
    refused(matrix.submit(&frame), UNSUPPORTED, "color_matrix");
}

#[test]
fn more_tiles_than_announced_are_refused_and_those_before_are_kept() {
    let runtime = open(&bundle("tiles"));
    let slide = runtime.begin(|desc| desc.max_tiles = 5);
    let picture = Picture::tissue(32, 32, 1);
    let mut limit = 0;
    for i in 0..8 {
        let mut frame = picture.frame(0, 0, 32, 32);
        frame.x = i * 32;
        match slide.submit_wait(&frame, 10_000) {
            Ok(()) => {}
            Err(refusal) => {
                assert_eq!(refusal.code, LIMIT_REACHED);
                assert!(refusal.message.contains("max_tiles"), "{}", refusal.message);
                limit += 1;
            }
        }
    }
    assert_eq!((limit, slide.results().len()), (3, 5));
}

// -- order and handles --------------------------------------------------------------------------------------

#[test]
fn calls_in_the_wrong_order_and_after_the_end_are_refused() {
    let runtime = open(&bundle("order"));
    let slide = runtime.begin(|_| ());
    let picture = Picture::tissue(32, 32, 1);
    slide.finish(10_000).expect("an empty slide is finished at once");
    slide.finish(10_000).expect("and may be again");
    refused(slide.submit(&picture.frame(0, 0, 32, 32)), WRONG_STATE, "slide_finish");
    refused(slide.take(None), END_OF_RESULTS, "polled");
    slide.cancel().expect("cancel after finish is no error");
    assert_eq!(slide.summary().cancelled, 0);
    let (api, handle) = (slide.api, slide.handle);
    drop(slide);
    // SAFETY (of all): the pointers are to live structs; the handle is stale.
    refused(call(|e| unsafe { (api.slide_end)(handle, e) }), INVALID_HANDLE, "no open slide");
    refused(call(|e| unsafe { (api.slide_finish)(handle, 0, e) }), INVALID_HANDLE, "no open slide");
    refused(call(|e| unsafe { (api.slide_end)(runtime.handle, e) }), INVALID_HANDLE, "no open slide");
    let open_slide = runtime.begin(|_| ());
    let closed = runtime.handle;
    runtime.close(10_000).expect("close ends its slides");
    refused(call(|e| unsafe { (api.slide_summary)(open_slide.handle, null_mut(), e) }), INVALID_HANDLE, "slide");
    refused(call(|e| unsafe { (api.runtime_close)(closed, 0, e) }), INVALID_HANDLE, "no open runtime");
    for handle in [0, 1, u64::MAX] {
        refused(call(|e| unsafe { (api.runtime_close)(handle, 0, e) }), INVALID_HANDLE, "no open runtime");
    }
}

#[test]
fn buffers_that_are_too_small_lose_nothing() {
    let runtime = open(&bundle("buffers"));
    let slide = runtime.begin(|_| ());
    let picture = Picture::tissue(32, 32, 1);
    slide.submit(&picture.frame(0, 0, 32, 32)).expect("room");
    slide.finish(10_000).expect("one tile");
    let mut record = TileResult::default();
    let mut feature = Feature::default();
    let mut batch = ResultBatch {
        record_size: size_of::<TileResult>() as u32,
        records: &mut record,
        record_capacity: 1,
        features: &mut feature,
        feature_capacity: 1,
        ..ResultBatch::init()
    };
    // SAFETY (of all): the buffers are as long as stated, except those that must be refused without reading them.
    let poll = |batch: &mut ResultBatch| call(|e| unsafe { (slide.api.slide_poll)(slide.handle, batch, e) });
    refused(poll(&mut batch), BUFFER_TOO_SMALL, "8 features");
    batch.record_size = 8;
    refused(poll(&mut batch), INVALID_STRUCT, "record_size");
    batch.record_size = size_of::<TileResult>() as u32;
    batch.record_capacity = 0;
    refused(poll(&mut batch), BUFFER_TOO_SMALL, "record_capacity 0");
    batch.record_capacity = 1;
    batch.records = null_mut();
    refused(poll(&mut batch), INVALID_ARGUMENT, "coverslip_result");
    batch.records = &mut record;
    (batch.features, batch.feature_capacity) = (null_mut(), 0);
    poll(&mut batch).expect("features can be left out");
    assert_eq!((batch.record_count, record.status, record.feature_count), (1, TILE_DONE, 0));
    refused(call(|e| unsafe { (slide.api.slide_poll)(slide.handle, null_mut(), e) }), INVALID_ARGUMENT, "NULL");
}

// -- sizes --------------------------------------------------------------------------------------------------

/// Whether a struct of `size` bytes ends inside a field, by the golden layout of the header.
fn ends_inside_a_field(name: &str, size: usize) -> bool {
    let prefix = format!("{name}.");
    let members = include_str!("../plugin_abi/golden/layout.txt").lines().filter(|line| line.starts_with(&prefix));
    let mut cut = members.filter(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let (start, bytes): (usize, usize) = (words[3].parse().unwrap(), words[5].parse().unwrap());
        // A frame may end after each of its planes.
        let part = if words[0].ends_with(".planes") { size_of::<Plane>() } else { bytes };
        start < size && size < start + bytes && !(size - start).is_multiple_of(part)
    });
    cut.next().is_some()
}

/// Calls with every size from 8 to the struct's, and expects INVALID_STRUCT where a field is cut, and only there.
#[track_caller]
fn every_size(name: &str, whole: usize, call: &dyn Fn(u32) -> Answer<()>) {
    let mut refused = 0;
    for size in 8..=whole {
        let cut = ends_inside_a_field(name, size);
        let code = call(size as u32).err().map_or(OK, |refusal| refusal.code);
        assert_eq!(code == INVALID_STRUCT, cut, "{name} of {size} bytes: code {code}");
        refused += usize::from(cut);
    }
    assert!(refused > whole / 2, "{refused} of {whole} sizes are inside a field");
}

#[test]
fn a_size_that_ends_inside_a_field_is_refused() {
    let runtime = open(&bundle("sizes"));
    let slide = runtime.begin(|_| ());
    let (api, of_runtime, of_slide) = (runtime.api, runtime.handle, slide.handle);
    // Inputs: what is not refused for its size is refused for what it lacks, before anything is opened or begun.
    every_size("coverslip_runtime_desc", size_of::<RuntimeDesc>(), &|size| {
        open_with(Path::new(""), |desc| desc.struct_size = size).map(drop)
    });
    every_size("coverslip_slide_desc", size_of::<SlideDesc>(), &|size| {
        runtime.begin_with(|desc| (desc.struct_size, desc.scanner_id) = (size, null())).map(drop)
    });
    every_size("coverslip_frame", size_of::<Frame>(), &|size| {
        slide.submit(&Frame { struct_size: size, ..Frame::init() })
    });
    // SAFETY (of all below): the structs are whole; the size that they state is at most theirs.
    every_size("coverslip_host_info", size_of::<HostInfo>(), &|size| {
        let host = HostInfo { struct_size: size, abi_major: 9, ..HostInfo::init() };
        let mut table = null();
        call(|e| unsafe { coverslip::coverslip_get_api(&host, &mut table, e) })
    });
    // Outputs.
    every_size("coverslip_runtime_info", size_of::<RuntimeInfo>(), &|size| {
        let mut out = RuntimeInfo { struct_size: size, ..RuntimeInfo::init() };
        call(|e| unsafe { (api.runtime_info)(of_runtime, &mut out, e) })
    });
    every_size("coverslip_feature_info", size_of::<FeatureInfo>(), &|size| {
        let mut out = FeatureInfo { struct_size: size, ..FeatureInfo::init() };
        call(|e| unsafe { (api.feature_info)(of_runtime, 0, &mut out, e) })
    });
    every_size("coverslip_runtime_stats", size_of::<RuntimeStats>(), &|size| {
        let mut out = RuntimeStats { struct_size: size, ..RuntimeStats::init() };
        call(|e| unsafe { (api.runtime_stats)(of_runtime, &mut out, e) })
    });
    every_size("coverslip_slide_summary", size_of::<SlideSummary>(), &|size| {
        let mut out = SlideSummary { struct_size: size, ..SlideSummary::init() };
        call(|e| unsafe { (api.slide_summary)(of_slide, &mut out, e) })
    });
}
