//! Importers turn models and SAEs from other libraries' files into the parts of a bundle. What this version does not
//! support is refused by name, and contradictions between files, weights and the person's statements are errors.

mod checkpoint;
mod cubic;
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
pub use sae::{CONFIGURATION_FILE, ImportedSae, SAELENS_WEIGHTS_FILE, SaeOptions, import_sae};
pub use stored::{StoreAs, read_safetensors};
pub use vit::{ImportedModel, Interpolation, ModelSource, ModelSpec, TapSpec, import_model};
