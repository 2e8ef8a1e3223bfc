//! The CPU engine for a bundle whose model is a ViT: `coverslip-vit`. Every lane runs whole tiles on its own thread. All
//! memory is asked for at open: a run allocates nothing and starts no thread.

use std::sync::Arc;

use coverslip_bundle::{Bundle, BundleError, BundleErrorKind, Precision, Tolerance};
use coverslip_plugin_abi::{
    ENGINE_CPU, Feature, PRECISION_BFLOAT16, PRECISION_FLOAT16, PRECISION_FLOAT32, PRECISION_INT8,
};
use coverslip_vit::{Choice, Lane as Forward, Model};

use super::{About, Engine, Failure, Lane, TileOutput};
use coverslip_base::error::{Error, Result, error, from_bundle};
use coverslip_base::memory::{grow, with_room};

/// A packed model, shared by the lanes.
pub(crate) struct VitEngine {
    model: Arc<Model>,
    about: About,
}

impl VitEngine {
    /// `lanes`: threads that will run it.
    pub(crate) fn load(bundle: &Bundle, choice: Choice, lanes: usize) -> Result<VitEngine> {
        let model = Arc::new(Model::open(bundle, choice).map_err(refused)?);
        // Each lane has the buffers of this one.
        let lane_bytes = Forward::new(&model).map_err(refused)?.bytes();
        let about = About {
            kind: ENGINE_CPU,
            version: format!("coverslip-vit {}", env!("CARGO_PKG_VERSION")),
            max_batch: 1,
            lanes,
            memory_bytes: (model.bytes() + lanes * lane_bytes) as u64,
            precision: precision(choice),
            // What runs: a mix may want the other layers in float32.
            cpu_kernels: model.choice().to_string(),
            ..About::default()
        };
        Ok(VitEngine { model, about })
    }
}

/// `COVERSLIP_PRECISION_*`.
fn precision(choice: Choice) -> i32 {
    match (choice.int8, choice.floats.precision()) {
        (Some(_), _) => PRECISION_INT8,
        (None, Precision::Float32) => PRECISION_FLOAT32,
        (None, Precision::BFloat16) => PRECISION_BFLOAT16,
        (None, Precision::Float16 | Precision::Float16Sae) => PRECISION_FLOAT16,
    }
}

/// How near the reference outputs must be.
pub(super) fn tolerance(choice: Choice) -> Tolerance {
    if choice.int8.is_some() { Tolerance::INT8 } else { Tolerance::of(choice.floats.precision()) }
}

/// A weight that is finite in the bundle may not be in the precision that was asked for.
fn refused(e: BundleError) -> Error {
    match e.kind() {
        BundleErrorKind::Unsupported | BundleErrorKind::NotFinite => error!(UNSUPPORTED, "{e}"),
        _ => from_bundle(e),
    }
}

impl Engine for VitEngine {
    fn lane(&self) -> Result<Box<dyn Lane>, Failure> {
        let forward = Forward::new(&self.model).map_err(refused)?;
        // Also made in mid-slide, where it takes over.
        Ok(with_room("a lane", size_of::<VitLane>(), || -> Box<dyn Lane> { Box::new(VitLane(forward)) })?)
    }

    fn about(&self) -> &About {
        &self.about
    }
}

struct VitLane(Forward);

impl Lane for VitLane {
    fn run(&mut self, tiles: &[&[u8]], outputs: &mut [TileOutput]) -> Result<(), Failure> {
        for (tile, output) in tiles.iter().zip(outputs) {
            let found = self.0.run(tile);
            output.embedding.clear();
            grow(&mut output.embedding, found.embeddings.len())?;
            output.embedding.extend_from_slice(found.embeddings);
            output.features.clear();
            grow(&mut output.features, found.features.len())?;
            let active = found.features.iter().filter(|feature| feature.value != 0.0);
            output.features.extend(active.map(|feature| Feature { index: feature.index, value: feature.value }));
            output.active_count = found.active_count;
            output.reconstruction_error = found.reconstruction_error;
        }
        Ok(())
    }
}
