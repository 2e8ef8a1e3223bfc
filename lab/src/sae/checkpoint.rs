//! A checkpoint: everything that a run needs to go on, in one file that is written whole. If the disk is full, the
//! checkpoint before it stays.

use std::io::Write;
use std::path::Path;

use coverslip_analysis::sae::{Sae, TrainerState};
use coverslip_bundle::tensors::{Element, Tensor, TensorFile, TensorMap, to_safetensors};
use coverslip_files::whole;
use serde::{Deserialize, Serialize};

/// Its name in the output directory.
pub(super) const FILE: &str = "checkpoint.safetensors";

/// Everything in a checkpoint that is not a tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Meta {
    /// The run that it belongs to ([`crate::resume`]).
    pub(super) key: String,
    pub(super) step: u64,
    pub(super) scale: f32,
    pub(super) width: usize,
    pub(super) features: usize,
    /// The lowest FVU on held-out slides so far, and how many evaluations ago it was.
    pub(super) best: Option<f64>,
    pub(super) stale: usize,
    /// Seconds in steps, without reading.
    pub(super) seconds: f64,
}

/// The trained tensors.
const TENSORS: [&str; 5] = ["w_enc", "b_enc", "w_dec", "b_dec", "threshold"];

/// Writes the checkpoint.
///
/// # Errors
/// When the disk refuses it; the last one is intact.
pub(super) fn save(path: &Path, meta: &Meta, state: &TrainerState) -> Result<(), String> {
    let sae = &state.sae;
    let weights = [&sae.w_enc, &sae.b_enc, &sae.w_dec, &sae.b_dec, &sae.threshold];
    let vector = |values: &[f32]| Tensor::f32(&[values.len()], values);
    let mut tensors = TensorMap::new();
    for ((name, values), (first, second)) in TENSORS.iter().zip(weights).zip(&state.moments) {
        tensors.insert((*name).into(), vector(values));
        tensors.insert(format!("{name}.first"), vector(first));
        tensors.insert(format!("{name}.second"), vector(second));
    }
    let idle = state.idle.iter().flat_map(|idle| (*idle as i64).to_le_bytes()).collect();
    tensors.insert("idle".into(), Tensor { element: Element::I64, shape: vec![state.idle.len()], bytes: idle });
    let meta = serde_json::to_vec(meta).map_err(|error| error.to_string())?;
    tensors.insert("meta".into(), Tensor::u8(&[meta.len()], &meta));
    let bytes = to_safetensors(&tensors).map_err(|error| error.to_string())?;
    whole(path, |file| file.write_all(&bytes)).map_err(|error| {
        format!(
            "{}: the checkpoint could not be written: {error}. The one before it is intact: make room and give the same \
             command again",
            path.display()
        )
    })
}

/// Reads a checkpoint.
///
/// # Errors
/// When it is damaged.
pub(super) fn load(path: &Path) -> Result<(Meta, TrainerState), String> {
    let damaged = |error: &dyn std::fmt::Display| {
        format!("{}: expected a checkpoint of `sae train`, found: {error}. Begin again with --restart", path.display())
    };
    let bytes = coverslip_files::read(path).map_err(|error| damaged(&error))?;
    let file = TensorFile::parse(bytes).map_err(|error| damaged(&error))?;
    let tensor = |name: &str| file.get(name).ok_or_else(|| damaged(&format!("no tensor {name}")));
    let values = |name: &str| tensor(name)?.to_f32().map_err(|error| damaged(&error));
    let meta: Meta = serde_json::from_slice(tensor("meta")?.bytes).map_err(|error| damaged(&error))?;
    let idle = tensor("idle")?.bytes.chunks_exact(8);
    let idle = idle.map(|b| u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]])).collect();
    let mut moments: [(Vec<f32>, Vec<f32>); 5] = Default::default();
    for (name, (first, second)) in TENSORS.iter().zip(&mut moments) {
        (*first, *second) = (values(&format!("{name}.first"))?, values(&format!("{name}.second"))?);
    }
    let sae = Sae {
        width: meta.width,
        features: meta.features,
        w_enc: values("w_enc")?,
        b_enc: values("b_enc")?,
        w_dec: values("w_dec")?,
        b_dec: values("b_dec")?,
        threshold: values("threshold")?,
    };
    let state = TrainerState { sae, moments, idle, step: meta.step, scale: meta.scale };
    Ok((meta, state))
}
