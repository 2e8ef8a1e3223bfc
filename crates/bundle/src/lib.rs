//! The bundle: a directory that holds one pathology model and one sparse autoencoder (SAE) with the digest of every
//! file, and the composer that turns them into the one ONNX graph that every engine runs.
//!
//! [`Bundle::open`] reads and checks a bundle, [`Bundle::compose`] writes the graph, and [`Bundle::reference`] returns
//! the outputs that an engine must reproduce. [`build`] writes bundles; [`synthetic`] makes random ones for tests and
//! benches. `docs/reference/bundle-format.md` describes the format. This crate runs no model: where it needs outputs,
//! the caller passes in an engine.

mod agreement;
pub mod budget;
pub mod build;
mod bundle;
pub mod compose;
mod cost;
mod digest;
mod error;
pub mod fold;
mod int8;
pub mod json;
pub mod layout;
pub mod limits;
mod manifest;
pub mod onnx;
mod plan;
mod precision;
mod reference;
pub mod signature;
pub mod synthetic;
pub mod tensors;
pub mod verified;
mod weights;

pub use agreement::{Agreement, Tolerance};
pub use bundle::Bundle;
pub use compose::{COMPOSER, ComposedGraph, SaeGraph, TapOutput};
pub use digest::Digest;
pub use error::{BundleError, BundleErrorKind};
pub use int8::{Int8Block, Int8Mix};
pub use manifest::{
    Architecture, FORMAT, FeatureLabel, FileEntry, GRAPH_FILE, INT8_FILE, InputStep, Int8, Int8Gate, Int8Layer,
    Int8Rest, LabelTest, MANIFEST_FILE, MODEL_FILE, Manifest, Mlp, OnnxModel, PixelLayout, Pooling, REFERENCE_FILE,
    SAE_FILE, Sae, SaeArchitecture, SaeReference, Tap, TapSource, Vit,
};
pub use onnx::{GraphSize, check_onnx};
pub use plan::{PlanFile, PlanKey, PlanTarget};
pub use precision::Precision;
pub use reference::ReferenceOutputs;
pub use weights::{RowSource, Weight, Weights};
