//! From the outbox into the host's buffers.

use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::{Alert, AlertBatch, Feature, ResultBatch, TileResult};

use super::fields::{Record, expect_record_size};
use super::marshal::{read_struct, write_struct};
use crate::error::{Result, error};
use crate::outbox::Room;
use crate::slide::Slide;

/// An array of the host's: records at the distance and in the size that the host knows, which may be of an older or a
/// newer minor version.
struct Records<T> {
    place: *mut T,
    distance: usize,
}

impl<T: Record> Records<T> {
    /// Checks an array of `capacity` records of `distance` bytes.
    fn new(place: *mut T, distance: u32, capacity: u32, name: &str) -> Result<Records<T>> {
        expect_record_size::<T>(distance as usize, name)?;
        if capacity > 0 && (place.is_null() || !place.is_aligned()) {
            return Err(error!(INVALID_ARGUMENT, "expected {capacity} {name}s, found a NULL or unaligned pointer"));
        }
        Ok(Records { place, distance: distance as usize })
    }

    /// # Safety
    /// `index` is below the capacity that the host stated, and the host's array is as long as that.
    unsafe fn write(&self, index: usize, record: T) {
        let known = self.distance.min(size_of::<T>());
        // SAFETY: the caller's promise: `distance` bytes are the record's, and `known` is at most that and at most T's
        // size. T is plain data, of which the first fields are a record of an older host.
        unsafe {
            let place = self.place.byte_add(index * self.distance).cast::<u8>();
            std::ptr::copy_nonoverlapping((&raw const record).cast::<u8>(), place, known);
        }
    }
}

/// A buffer that may be left out with capacity 0.
fn capacity<T>(place: *mut T, capacity: u32, name: &str) -> Result<Option<usize>> {
    match (place.is_null(), capacity) {
        (_, 0) => Ok(None),
        (false, capacity) if place.is_aligned() => Ok(Some(capacity as usize)),
        _ => Err(error!(INVALID_ARGUMENT, "expected {capacity} {name}, found a NULL or unaligned pointer")),
    }
}

/// Where results go: the host's buffers, checked.
pub(super) struct Target {
    batch: ResultBatch,
    records: Records<TileResult>,
    room: Room,
}

impl Target {
    /// # Safety
    /// `batch` and the buffers it names are as the contract says.
    pub(super) unsafe fn read(batch: *const ResultBatch) -> Result<Target> {
        // SAFETY: the caller's promise.
        let batch = unsafe { read_struct(batch, "coverslip_result_batch") }?;
        let records = Records::new(batch.records, batch.record_size, batch.record_capacity, "coverslip_result")?;
        if batch.record_capacity == 0 {
            return Err(error!(BUFFER_TOO_SMALL, "expected room for at least one record, found record_capacity 0"));
        }
        let room = Room {
            records: batch.record_capacity as usize,
            features: capacity(batch.features, batch.feature_capacity, "features")?,
            embeddings: capacity(batch.embeddings, batch.embedding_capacity, "embedding floats")?,
        };
        Ok(Target { batch, records, room })
    }

    /// Takes what is there; the number of records.
    ///
    /// # Safety
    /// The host's buffers are as long as it stated.
    pub(super) unsafe fn fill(&mut self, slide: &Slide) -> Result<usize> {
        let (mut records, mut features, mut embeddings) = (0usize, 0usize, 0usize);
        let mut each =
            |mut record: TileResult, f: &mut dyn Iterator<Item = Feature>, e: &mut dyn Iterator<Item = f32>| {
                (record.feature_offset, record.embedding_offset) = (features as u32, embeddings as u32);
                if self.room.features.is_some() {
                    // SAFETY: the outbox gives no more than the room, which is the capacity that the host stated.
                    f.for_each(|feature| unsafe { put(self.batch.features, &mut features, feature) });
                }
                if self.room.embeddings.is_some() {
                    // SAFETY: as above.
                    e.for_each(|value| unsafe { put(self.batch.embeddings, &mut embeddings, value) });
                }
                record.feature_count = features as u32 - record.feature_offset;
                record.embedding_count = embeddings as u32 - record.embedding_offset;
                // SAFETY: as above.
                unsafe { self.records.write(records, record) };
                records += 1;
            };
        let taken = slide.outbox.take(self.room, &mut each).map_err(|small| {
            error!(
                BUFFER_TOO_SMALL,
                "the next result has {} features and {} embedding floats: give room for at least these",
                small.features,
                small.embeddings
            )
        })?;
        self.batch.record_count = records as u32;
        self.batch.feature_count = features as u32;
        self.batch.embedding_count = embeddings as u32;
        Ok(taken)
    }

    /// Writes the counts back.
    ///
    /// # Safety
    /// As [`Target::read`].
    pub(super) unsafe fn finish(&self, batch: *mut ResultBatch) -> Result<()> {
        // SAFETY: the caller's promise. Pointers and capacities are written back as they were read.
        unsafe { write_struct(batch, &self.batch, "coverslip_result_batch") }
    }
}

/// # Safety
/// `buffer` has room for more than `at` values.
unsafe fn put<T>(buffer: *mut T, at: &mut usize, value: T) {
    // SAFETY: the caller's promise.
    unsafe { buffer.add(*at).write(value) };
    *at += 1;
}

/// Takes alerts into the host's buffer.
///
/// # Safety
/// `batch` and its buffer are as the contract says.
pub(super) unsafe fn alerts(slide: &Slide, batch: *mut AlertBatch) -> Result<()> {
    // SAFETY: the caller's promise.
    let mut target = unsafe { read_struct(batch, "coverslip_alert_batch") }?;
    let records: Records<Alert> =
        Records::new(target.records, target.record_size, target.record_capacity, "coverslip_alert")?;
    let mut count = 0;
    slide.outbox.take_alerts(target.record_capacity as usize, |alert| {
        // SAFETY: at most record_capacity alerts are given.
        unsafe { records.write(count, alert) };
        count += 1;
    });
    target.record_count = count as u32;
    // SAFETY: as above.
    unsafe { write_struct(batch, &target, "coverslip_alert_batch") }
}

/// What slide_poll and slide_wait say when nothing was taken.
pub(super) fn when_empty(slide: &Slide) -> Result<()> {
    if slide.is_finished() && slide.outbox.len() == 0 {
        return Err(error!(END_OF_RESULTS, "the slide is over and every result has been polled"));
    }
    Ok(())
}

/// A timeout of the contract; None: without end.
pub(super) fn timeout(ms: u32) -> Option<std::time::Duration> {
    (ms != abi::NO_TIMEOUT).then(|| std::time::Duration::from_millis(u64::from(ms)))
}
