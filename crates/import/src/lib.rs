//! Importers: files as others wrote them become the parts of a bundle. What a file says about itself is
//! believed over what a person says, and what this version does not do is refused by name.

mod checkpoint;
mod interpolate;
mod onnx;
mod pickle;
mod sae;
mod stored;
mod torch;
mod vit;
mod zip;

pub use checkpoint::Checkpoint;
pub use onnx::{
    Candidate, Candidates, ImportedOnnx, LoadedProbe, OnnxFile, OnnxSpec, OnnxTap, ProbeGraph, ProbeResult, Probed,
    Prober, Rewrite, candidates, import_onnx,
};
pub use sae::{ImportedSae, SaeOptions, import_sae};
pub use stored::{StoreAs, read_safetensors};
pub use vit::{ImportedModel, Interpolation, ModelSource, ModelSpec, TapSpec, import_model};
