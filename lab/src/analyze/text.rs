//! Pieces of the tables that the analyses of counts print.

use crate::findings::reading::Reading;

/// What stands where there is no number.
pub(super) const DASH: &str = "–";

/// `+0.71`, or a dash.
pub(super) fn signed(value: Option<f64>) -> String {
    value.filter(|value| value.is_finite()).map_or(DASH.into(), |value| format!("{value:+.2}"))
}

/// `[+0.52, +0.83]`, or a dash.
pub(super) fn range(interval: Option<[f64; 2]>) -> String {
    let interval = interval.filter(|ends| ends.iter().all(|end| end.is_finite()));
    interval.map_or(DASH.into(), |[low, high]| format!("[{low:+.2}, {high:+.2}]"))
}

/// What counts are read from.
pub(super) fn source(reading: &Reading) -> String {
    if reading.all_columns { reading.kind.all() } else { reading.kind.one().to_owned() }
}

/// The first letters of a cell type.
pub(super) fn cell_type(reading: &Reading) -> String {
    reading.cell_type.chars().take(13).collect()
}
