//! A slide that is being scanned: frames in, results and alerts out.

use std::sync::Mutex;
use std::time::Duration;

use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::AbiStruct;

use super::error::{HostError, Outcome, check, milliseconds};
use super::results::Results;

/// A frame in RGB without gaps between its rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RgbFrame<'a> {
    pub(crate) x: i64,
    pub(crate) y: i64,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) pixels: &'a [u8],
    pub(crate) frame_id: u64,
    pub(crate) group_id: u64,
    pub(crate) capture_time_ns: i64,
}

/// A slide that is being scanned. Ends with the wrapper.
pub(crate) struct Slide<'r> {
    api: &'r abi::Api,
    handle: abi::Slide,
    // The contract: one submitting thread at a time.
    submitting: Mutex<()>,
}

impl<'r> Slide<'r> {
    /// `handle` is one that `slide_begin` gave.
    pub(super) fn new(api: &'r abi::Api, handle: abi::Slide) -> Slide<'r> {
        Slide { api, handle, submitting: Mutex::new(()) }
    }

    /// Submits a frame; with `wait` it waits that long for room.
    pub(crate) fn submit(&self, frame: &RgbFrame<'_>, wait: Option<Duration>) -> Outcome<()> {
        let stride = u64::from(frame.width) * 3;
        assert_eq!(frame.pixels.len() as u64, stride * u64::from(frame.height), "a frame's pixels fill its size");
        let mut raw = abi::Frame::init();
        raw.pixel_format = abi::PFNC_RGB8;
        raw.plane_count = 1;
        (raw.x, raw.y, raw.width, raw.height) = (frame.x, frame.y, frame.width, frame.height);
        raw.planes[0] = abi::Plane { data: frame.pixels.as_ptr(), stride, size: frame.pixels.len() as u64 };
        raw.frame_id = frame.frame_id;
        raw.group_id = frame.group_id;
        raw.capture_time_ns = frame.capture_time_ns;
        let _one_at_a_time = self.submitting.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match wait {
            // SAFETY: the plane's pointer is valid for `size` bytes during the call, which copies the pixels.
            None => check(|error| unsafe { (self.api.slide_submit)(self.handle, &raw, error) }),
            Some(timeout) => {
                let timeout = milliseconds(timeout);
                // SAFETY: as above.
                check(|error| unsafe { (self.api.slide_submit_wait)(self.handle, &raw, timeout, error) })
            }
        }
    }

    /// True when every tile has its result, false when the time ran out first.
    pub(crate) fn finish(&self, timeout: Duration) -> Outcome<bool> {
        // SAFETY: the handle is checked by the library; there are no pointers but the error.
        match check(|error| unsafe { (self.api.slide_finish)(self.handle, milliseconds(timeout), error) }) {
            Ok(()) => Ok(true),
            Err(error) if [abi::TIMEOUT, abi::INTERRUPTED].contains(&error.code) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Wakes the threads that wait in this slide's functions.
    pub(crate) fn interrupt(&self) -> Outcome<()> {
        // SAFETY: as above.
        check(|error| unsafe { (self.api.slide_interrupt)(self.handle, error) })
    }

    pub(crate) fn cancel(&self) -> Outcome<()> {
        // SAFETY: as above.
        check(|error| unsafe { (self.api.slide_cancel)(self.handle, error) })
    }

    /// Waits for results and copies them into `results`. False: the slide is over and everything was polled.
    pub(crate) fn wait(&self, results: &mut Results, timeout: Duration) -> Outcome<bool> {
        let mut batch = abi::ResultBatch::init();
        batch.record_size = size_of::<abi::TileResult>() as u32;
        batch.records = results.records.as_mut_ptr();
        // The contract leaves features and embeddings out where the pointer is null.
        if !results.features.is_empty() {
            batch.features = results.features.as_mut_ptr();
        }
        if !results.embeddings.is_empty() {
            batch.embeddings = results.embeddings.as_mut_ptr();
        }
        batch.record_capacity = results.records.len() as u32;
        batch.feature_capacity = results.features.len() as u32;
        batch.embedding_capacity = results.embeddings.len() as u32;
        results.count = 0;
        // SAFETY: each pointer is valid for its capacity, and nothing else uses the buffers during the call.
        let outcome =
            check(|error| unsafe { (self.api.slide_wait)(self.handle, &mut batch, milliseconds(timeout), error) });
        match outcome {
            Ok(()) => {
                results.count = (batch.record_count as usize).min(results.records.len());
                Ok(true)
            }
            Err(error) if [abi::TIMEOUT, abi::INTERRUPTED].contains(&error.code) => Ok(true),
            Err(error) if error.code == abi::END_OF_RESULTS => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes all alerts that are waiting.
    pub(crate) fn alerts(&self) -> Outcome<Vec<abi::Alert>> {
        let mut all = Vec::new();
        loop {
            let mut records = [abi::Alert::default(); 32];
            let mut batch = abi::AlertBatch::init();
            batch.record_size = size_of::<abi::Alert>() as u32;
            batch.records = records.as_mut_ptr();
            batch.record_capacity = records.len() as u32;
            // SAFETY: the buffer is valid for its capacity.
            check(|error| unsafe { (self.api.slide_alerts)(self.handle, &mut batch, error) })?;
            let count = (batch.record_count as usize).min(records.len());
            all.extend_from_slice(&records[..count]);
            if count < records.len() {
                return Ok(all);
            }
        }
    }

    pub(crate) fn summary(&self) -> Outcome<abi::SlideSummary> {
        let mut summary = abi::SlideSummary::init();
        // SAFETY: the output is a valid struct with its size set.
        check(|error| unsafe { (self.api.slide_summary)(self.handle, &mut summary, error) })?;
        Ok(summary)
    }

    /// The library's own report of the slide. It is asked for until it fits: it can grow.
    pub(crate) fn report(&self) -> Outcome<serde_json::Value> {
        let mut text = vec![0u8; 8 << 10];
        loop {
            let mut needed = 0u64;
            let (place, capacity) = (text.as_mut_ptr().cast(), text.len() as u64);
            // SAFETY: the buffer is valid for its capacity.
            let said = check(|error| unsafe {
                (self.api.slide_report_json)(self.handle, place, capacity, &mut needed, error)
            });
            match said {
                Ok(()) => break text.truncate((needed as usize).clamp(1, text.len()) - 1),
                Err(error) if error.code == abi::BUFFER_TOO_SMALL && needed > capacity => {
                    text.resize(needed as usize, 0);
                }
                Err(error) => return Err(error),
            }
        }
        serde_json::from_slice(&text).map_err(|e| HostError {
            code: 0,
            native_code: 0,
            message: format!("expected the slide's report as JSON, found {e}: this is a defect of the library"),
        })
    }
}

impl Drop for Slide<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is checked by the library; an error has nobody to go to.
        let _ = check(|error| unsafe { (self.api.slide_end)(self.handle, error) });
    }
}
