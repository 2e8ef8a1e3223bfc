//! What must be true of every summary and every result.

use std::ptr::null_mut;

use coverslip_plugin_abi::*;

use super::host::api;

/// The summary of an open slide, whose sums hold.
pub(super) fn account(slide: Slide) -> SlideSummary {
    let mut summary = SlideSummary::init();
    // SAFETY: the struct is whole, and null is allowed for the error.
    assert_eq!(unsafe { (api().slide_summary)(slide, &mut summary, null_mut()) }, OK);
    check_summary(&summary);
    summary
}

pub(super) fn check_summary(summary: &SlideSummary) {
    let SlideSummary { opened, in_flight, results, .. } = *summary;
    assert_eq!(results[1..].iter().sum::<u64>(), results[0], "results by status");
    assert_eq!(opened, results[0] + in_flight, "opened tiles are those with a result and those in flight");
    assert_eq!(summary.poisoned, 0, "a defect poisoned the slide");
}

/// Checks a result against the counts of records, features and embedding values that came with it.
pub(super) fn check_record(record: &TileResult, counts: [usize; 3]) {
    assert!((1..=7).contains(&record.status), "status {}", record.status);
    let end = |offset: u32, count: u32| offset as usize + count as usize;
    assert!(end(record.feature_offset, record.feature_count) <= counts[1], "features beyond their buffer");
    assert!(end(record.embedding_offset, record.embedding_count) <= counts[2], "embeddings beyond their buffer");
}
