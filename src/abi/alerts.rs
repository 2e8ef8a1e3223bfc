//! `coverslip_alert_batch`: from the outbox into the host's buffer.

use coverslip_plugin_abi::{Alert, AlertBatch};

use super::records::Records;
use super::structs::{read_struct, write_struct};
use crate::slide::state::Slide;
use coverslip_base::error::Result;

/// Takes alerts into the host's buffer.
///
/// # Safety
/// `batch` and its buffer are as the contract says.
pub(super) unsafe fn take(slide: &Slide, batch: *mut AlertBatch) -> Result<()> {
    // SAFETY: the caller's promise.
    let mut target = unsafe { read_struct(batch, "coverslip_alert_batch") }?;
    let records: Records<Alert> =
        Records::new(target.records, target.record_size, target.record_capacity, "coverslip_alert")?;
    let mut count = 0;
    slide.take_alerts(target.record_capacity as usize, |alert| {
        // SAFETY: at most record_capacity alerts are given.
        unsafe { records.write(count, alert) };
        count += 1;
    });
    target.record_count = count as u32;
    // SAFETY: as above.
    unsafe { write_struct(batch, &target, "coverslip_alert_batch") }
}
