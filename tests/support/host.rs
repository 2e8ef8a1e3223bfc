//! A host in Rust that uses the C ABI of the statically linked plugin, so that faults can be armed in the same process.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::ffi::{CStr, CString, c_char, c_void};
use std::path::Path;
use std::ptr::{null, null_mut};
use std::sync::Mutex;

use coverslip::coverslip_get_api;
use coverslip_plugin_abi::*;

/// An error of the C ABI.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) code: i32,
    pub(crate) message: String,
}

pub(crate) type Answer<T> = Result<T, Refusal>;

/// Calls a function of the table and turns its code into a result.
pub(crate) fn call(f: impl FnOnce(*mut Error) -> i32) -> Answer<()> {
    let mut error = Error::init();
    match f(&mut error) {
        OK => Ok(()),
        code => {
            assert_eq!(error.code, code, "the code in the struct is the one returned");
            // SAFETY: the library terminates the message with NUL.
            let message = unsafe { CStr::from_ptr(error.message.as_ptr()) }.to_string_lossy().into_owned();
            assert!(!message.is_empty(), "code {code} has a message");
            Err(Refusal { code, message })
        }
    }
}

/// The lines that the library has given since [`listen`].
static LINES: Mutex<Option<Vec<(i32, String)>>> = Mutex::new(None);

/// From here on runtimes that open give their lines.
pub(crate) fn listen() {
    *LINES.lock().unwrap() = Some(Vec::new());
}

/// The lines since the last call.
pub(crate) fn lines() -> Vec<(i32, String)> {
    LINES.lock().unwrap().as_mut().map(std::mem::take).expect("listen was called")
}

unsafe extern "C" fn keep(_: *mut c_void, level: i32, line: *const c_char) {
    // SAFETY: the library gives a line that ends with NUL.
    let line = unsafe { CStr::from_ptr(line) }.to_string_lossy().into_owned();
    if let Some(lines) = LINES.lock().unwrap().as_mut() {
        lines.push((level, line));
    }
}

/// The function table.
pub(crate) fn api() -> &'static Api {
    let log: Option<LogFn> = if LINES.lock().unwrap().is_some() { Some(keep) } else { None };
    let host = HostInfo { abi_major: ABI_MAJOR, abi_minor: ABI_MINOR, log, ..HostInfo::init() };
    let mut api = null();
    // SAFETY: all pointers are to live structs.
    call(|error| unsafe { coverslip_get_api(&host, &mut api, error) }).expect("the versions fit");
    // SAFETY: the table lives as long as the process.
    unsafe { &*api }
}

/// A runtime that is closed when dropped.
pub(crate) struct TestRuntime {
    pub(crate) api: &'static Api,
    pub(crate) handle: Runtime,
}

/// Opens a bundle on the CPU engine, after `change` has changed the desc.
pub(crate) fn open_with(bundle: &Path, change: impl FnOnce(&mut RuntimeDesc)) -> Answer<TestRuntime> {
    let api = api();
    let path = CString::new(bundle.to_str().expect("UTF-8")).expect("no NUL");
    let mut desc =
        RuntimeDesc { engine: ENGINE_CPU, bundle_path: path.as_ptr(), max_threads: 2, ..RuntimeDesc::init() };
    change(&mut desc);
    let mut handle = 0;
    // SAFETY: all pointers are to live structs.
    call(|error| unsafe { (api.runtime_open)(&desc, None, null_mut(), &mut handle, error) })?;
    Ok(TestRuntime { api, handle })
}

pub(crate) fn open(bundle: &Path) -> TestRuntime {
    open_with(bundle, |_| ()).expect("the bundle opens")
}

impl TestRuntime {
    pub(crate) fn info(&self) -> RuntimeInfo {
        let mut info = RuntimeInfo::init();
        // SAFETY: all pointers are to live structs.
        call(|error| unsafe { (self.api.runtime_info)(self.handle, &mut info, error) }).expect("info");
        info
    }

    pub(crate) fn stats(&self) -> RuntimeStats {
        let mut stats = RuntimeStats::init();
        // SAFETY: all pointers are to live structs.
        call(|error| unsafe { (self.api.runtime_stats)(self.handle, &mut stats, error) }).expect("stats");
        stats
    }

    /// The share of the GPU, in percent, that the runtime may take.
    pub(crate) fn set_budget(&self, percent: u32) -> Answer<()> {
        // SAFETY: no pointer but the error's.
        call(|error| unsafe { (self.api.runtime_set_budget)(self.handle, percent, error) })
    }

    /// Begins a slide at the model's own scale, after `change` has changed the desc.
    pub(crate) fn begin_with(&self, change: impl FnOnce(&mut SlideDesc)) -> Answer<TestSlide> {
        let mpp = self.info().mpp;
        let mut desc = SlideDesc {
            scanner_id: c"test scanner".as_ptr(),
            slide_id: c"test slide".as_ptr(),
            mpp_x: mpp,
            mpp_y: mpp,
            max_frame_width: 64,
            max_frame_height: 64,
            ..SlideDesc::init()
        };
        change(&mut desc);
        let mut handle = 0;
        // SAFETY: all pointers are to live structs.
        call(|error| unsafe { (self.api.slide_begin)(self.handle, &desc, &mut handle, error) })?;
        Ok(TestSlide { api: self.api, handle })
    }

    pub(crate) fn begin(&self, change: impl FnOnce(&mut SlideDesc)) -> TestSlide {
        self.begin_with(change).expect("the slide begins")
    }

    pub(crate) fn close(self, timeout_ms: u32) -> Answer<()> {
        let (api, handle) = (self.api, self.handle);
        std::mem::forget(self);
        // SAFETY: no pointer but the error's.
        call(|error| unsafe { (api.runtime_close)(handle, timeout_ms, error) })
    }
}

impl Drop for TestRuntime {
    fn drop(&mut self) {
        // SAFETY: null is allowed for the error.
        unsafe { (self.api.runtime_close)(self.handle, 60_000, null_mut()) };
    }
}

/// A picture, packed RGB, from which frames are cut.
#[derive(Clone)]
pub(crate) struct Picture {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) rgb: Vec<u8>,
}

impl Picture {
    /// Pink and violet noise that passes the background gate.
    pub(crate) fn tissue(width: u32, height: u32, seed: u64) -> Picture {
        let mut state = seed | 1;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u32
        };
        let pixel = |r: u32| [(170 + r % 40) as u8, (90 + r / 64 % 50) as u8, (150 + r / 4096 % 40) as u8];
        let rgb = (0..width * height).flat_map(|_| pixel(random())).collect();
        Picture { width, height, rgb }
    }

    /// Blank glass.
    pub(crate) fn glass(width: u32, height: u32) -> Picture {
        Picture { width, height, rgb: vec![243; 3 * (width * height) as usize] }
    }

    /// The frame of `width` × `height` at (`x`, `y`) of the picture, whose corner is the plane's origin.
    pub(crate) fn frame(&self, x: u32, y: u32, width: u32, height: u32) -> Frame {
        let (width, height) = (width.min(self.width - x), height.min(self.height - y));
        let stride = 3 * self.width as usize;
        let start = y as usize * stride + 3 * x as usize;
        let mut frame = Frame {
            pixel_format: PFNC_RGB8,
            plane_count: 1,
            x: i64::from(x),
            y: i64::from(y),
            width,
            height,
            ..Frame::init()
        };
        frame.planes[0] =
            Plane { data: self.rgb[start..].as_ptr(), stride: stride as u64, size: (self.rgb.len() - start) as u64 };
        frame
    }
}

/// One result with its features and embedding.
#[derive(Clone, Debug)]
pub(crate) struct Tile {
    pub(crate) record: TileResult,
    pub(crate) features: Vec<Feature>,
    pub(crate) embedding: Vec<f32>,
}

/// A slide that is ended when dropped.
pub(crate) struct TestSlide {
    pub(crate) api: &'static Api,
    pub(crate) handle: Slide,
}

impl TestSlide {
    pub(crate) fn submit(&self, frame: &Frame) -> Answer<()> {
        // SAFETY: the frame's pixels are alive by its maker's care.
        call(|error| unsafe { (self.api.slide_submit)(self.handle, frame, error) })
    }

    pub(crate) fn submit_wait(&self, frame: &Frame, timeout_ms: u32) -> Answer<()> {
        // SAFETY: the frame's pixels are alive by its maker's care.
        call(|error| unsafe { (self.api.slide_submit_wait)(self.handle, frame, timeout_ms, error) })
    }

    pub(crate) fn finish(&self, timeout_ms: u32) -> Answer<()> {
        // SAFETY: no pointer but the error's.
        call(|error| unsafe { (self.api.slide_finish)(self.handle, timeout_ms, error) })
    }

    pub(crate) fn cancel(&self) -> Answer<()> {
        // SAFETY: no pointer but the error's.
        call(|error| unsafe { (self.api.slide_cancel)(self.handle, error) })
    }

    pub(crate) fn interrupt(&self) -> Answer<()> {
        // SAFETY: no pointer but the error's.
        call(|error| unsafe { (self.api.slide_interrupt)(self.handle, error) })
    }

    pub(crate) fn summary(&self) -> SlideSummary {
        let mut summary = SlideSummary::init();
        // SAFETY: all pointers are to live structs.
        call(|error| unsafe { (self.api.slide_summary)(self.handle, &mut summary, error) }).expect("summary");
        assert_eq!(summary.opened, summary.results[0] + summary.in_flight, "conservation");
        summary
    }

    /// Polls without a timeout, or waits up to `timeout_ms`.
    pub(crate) fn take(&self, timeout_ms: Option<u32>) -> Answer<Vec<Tile>> {
        let mut records = vec![TileResult::default(); 64];
        let mut features = vec![Feature::default(); 64 * 64];
        let mut embeddings = vec![0f32; 64 * 4096];
        let mut batch = ResultBatch {
            record_size: size_of::<TileResult>() as u32,
            records: records.as_mut_ptr(),
            features: features.as_mut_ptr(),
            embeddings: embeddings.as_mut_ptr(),
            record_capacity: records.len() as u32,
            feature_capacity: features.len() as u32,
            embedding_capacity: embeddings.len() as u32,
            ..ResultBatch::init()
        };
        // SAFETY: the buffers are as long as stated.
        call(|error| unsafe {
            match timeout_ms {
                None => (self.api.slide_poll)(self.handle, &mut batch, error),
                Some(ms) => (self.api.slide_wait)(self.handle, &mut batch, ms, error),
            }
        })?;
        let part = |offset: u32, count: u32| offset as usize..(offset + count) as usize;
        let tile = |record: &TileResult| Tile {
            record: *record,
            features: features[part(record.feature_offset, record.feature_count)].to_vec(),
            embedding: embeddings[part(record.embedding_offset, record.embedding_count)].to_vec(),
        };
        Ok(records[..batch.record_count as usize].iter().map(tile).collect())
    }

    /// Takes all remaining results.
    pub(crate) fn drain(&self) -> Vec<Tile> {
        let mut tiles = Vec::new();
        loop {
            match self.take(Some(60_000)) {
                Ok(more) => tiles.extend(more),
                Err(refusal) if refusal.code == END_OF_RESULTS => return tiles,
                Err(refusal) => panic!("{refusal:?}"),
            }
        }
    }

    /// Takes what is there after a TIMEOUT of finish. The slide may be over by now.
    pub(crate) fn take_while_it_drains(&self) -> Vec<Tile> {
        match self.take(None) {
            Err(refusal) if refusal.code == END_OF_RESULTS => Vec::new(),
            results => results.expect("results while it drains"),
        }
    }

    /// Finishes the slide and returns all results.
    pub(crate) fn results(&self) -> Vec<Tile> {
        let mut tiles = Vec::new();
        // More results may be left than fit unpolled, so take some between the waits.
        let start = std::time::Instant::now();
        while let Err(refusal) = self.finish(20) {
            assert!(start.elapsed().as_secs() < 120, "the slide does not end: {refusal:?}");
            match refusal.code {
                TIMEOUT => tiles.extend(self.take_while_it_drains()),
                INTERNAL => break,
                _ => panic!("{refusal:?}"),
            }
        }
        tiles.extend(self.drain());
        tiles
    }

    pub(crate) fn alerts(&self) -> Vec<Alert> {
        let mut records = vec![Alert::default(); 64];
        let mut batch = AlertBatch {
            record_size: size_of::<Alert>() as u32,
            records: records.as_mut_ptr(),
            record_capacity: records.len() as u32,
            ..AlertBatch::init()
        };
        // SAFETY: the buffer is as long as stated.
        call(|error| unsafe { (self.api.slide_alerts)(self.handle, &mut batch, error) }).expect("alerts");
        records.truncate(batch.record_count as usize);
        records
    }
}

impl Drop for TestSlide {
    fn drop(&mut self) {
        // SAFETY: null is allowed for the error.
        unsafe { (self.api.slide_end)(self.handle, null_mut()) };
    }
}

/// The number of tiles of each status, by `TILE_*`.
pub(crate) fn by_status(tiles: &[Tile]) -> [usize; 8] {
    let mut counts = [0; 8];
    tiles.iter().for_each(|tile| counts[tile.record.status as usize] += 1);
    counts
}
