//! The bundle: one pathology ViT and one sparse autoencoder (SAE) as a hashed, read-only directory, and
//! the composer that turns them into the ONE ONNX graph that every engine runs.
//!
//! [`Bundle::open`] reads and checks a bundle; [`Bundle::compose`] writes the graph; [`Bundle::reference`]
//! gives the outputs that an engine must reproduce. [`build`] writes bundles, [`synthetic`] random ones
//! for tests and benches. The format is described in `docs/reference/bundle-format.md`. This crate runs no model:
//! where outputs are needed, the caller passes a function that has an engine.

mod agreement;
pub mod build;
pub mod compose;
mod cost;
mod digest;
mod error;
pub mod layout;
pub mod limits;
mod manifest;
pub mod onnx;
mod open;
mod plan;
mod precision;
mod reference;
pub mod synthetic;
pub mod tensors;
pub mod verified;
mod weights;

pub use agreement::{Agreement, Tolerance};
pub use compose::{COMPOSER, ComposedGraph, SaeGraph, TapOutput};
pub use digest::Digest;
pub use error::{BundleError, BundleErrorKind};
pub use manifest::{
    Architecture, FORMAT, FeatureLabel, FileEntry, GRAPH_FILE, InputStep, MANIFEST_FILE, MODEL_FILE, Manifest, Mlp,
    OnnxModel, PixelLayout, Pooling, REFERENCE_FILE, SAE_FILE, Sae, SaeArchitecture, SaeReference, Tap, TapSource, Vit,
};
pub use onnx::{Checked, check_onnx};
pub use open::Bundle;
pub use plan::{PlanFile, PlanKey};
pub use precision::Precision;
pub use reference::ReferenceOutputs;
pub use weights::{RowSource, Weight, Weights};
