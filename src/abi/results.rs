//! `coverslip_result_batch`: from the outbox into the host's buffers.

use coverslip_plugin_abi::{Feature, ResultBatch, TileResult};

use super::records::Records;
use super::structs::{read_struct, write_struct};
use crate::outbox::Room;
use crate::slide::state::Slide;
use coverslip_base::error::{Result, error};

/// A buffer that may be left out with capacity 0.
fn capacity<T>(place: *mut T, capacity: u32, name: &str) -> Result<Option<usize>> {
    match (place.is_null(), capacity) {
        (_, 0) => Ok(None),
        (false, capacity) if place.is_aligned() => Ok(Some(capacity as usize)),
        _ => Err(error!(INVALID_ARGUMENT, "expected {capacity} {name}, found a NULL or unaligned pointer")),
    }
}

/// The host's buffers, checked.
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
        let taken = slide.take(self.room, &mut each).map_err(|small| {
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

/// What slide_poll and slide_wait say when nothing was taken.
pub(super) fn when_empty(slide: &Slide) -> Result<()> {
    if slide.is_exhausted() {
        return Err(error!(END_OF_RESULTS, "the slide is over and every result has been polled"));
    }
    Ok(())
}
