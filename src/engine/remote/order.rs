//! What every worker of a runtime is started with.

use std::path::PathBuf;
use std::time::Duration;

use coverslip_base::log::Log;
use coverslip_base::sync::Arc;
use coverslip_bundle::Manifest;
use coverslip_wire::batch::Shape;
use coverslip_wire::control::Open;

use crate::restarts::Restarts;

pub(in crate::engine) struct Order {
    /// The worker's program.
    pub(in crate::engine) program: PathBuf,
    /// The time for one batch; None: any.
    pub(in crate::engine) timeout: Option<Duration>,
    pub(in crate::engine) open: Open,
    pub(in crate::engine) shape: Shape,
    pub(in crate::engine) log: Arc<Log>,
    pub(in crate::engine) restarts: Arc<Restarts>,
}

/// What the outputs of a bundle look like.
pub(in crate::engine) fn shape(manifest: &Manifest) -> Shape {
    Shape {
        tile: 3 * manifest.side * manifest.side,
        embedding: manifest.taps.iter().map(|tap| manifest.tap_width(tap)).sum(),
        features: manifest.sae.features_per_tile(),
        feature_count: manifest.sae.features(),
    }
}
