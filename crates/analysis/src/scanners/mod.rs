//! What scanners do to embeddings: in which directions they differ, how much of a tile's neighbourhood they explain, how
//! well they can be told apart, and how much of this a correction leaves.
//!
//! Rows of a matrix are tiles, columns the embedding's dimensions. Scanner, slide and biology are
//! [`Categories`](crate::Categories), one per row. A quantity that the data do not define is
//! [`Undefined`](crate::Undefined), with the reason, and never a number.

mod apd;
mod calibration;
mod clustering;
mod correction;
mod covariance;
mod effects;
mod geometry;
mod margin;
mod neighbours;
mod nipd;
mod probe;
mod retrieval;
mod robust;
mod robustness;
mod variance;

pub use apd::{Apd, average_performance_drop};
pub use calibration::{
    CalibrationShift, Estimate, Reading, calibration_error, calibration_shift, cox_intercept, cox_slope,
};
pub use clustering::{Clustering, clustering_score};
pub use correction::{Correction, cross_fitted};
pub use effects::{Effect, scanner_effects};
pub use geometry::{Geometry, Whitening};
pub use margin::{Margin, robustness_margin};
pub use nipd::nipd;
pub use probe::{Classifier, Probe, probe};
pub use retrieval::{Retrieval, retrieve};
pub use robustness::{Robustness, robustness_index};
pub use variance::{Components, variance_components};
