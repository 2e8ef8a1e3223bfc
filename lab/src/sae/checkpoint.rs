//! A checkpoint: everything that a run needs to go on, in one file that is written whole. If the disk is full, the
//! checkpoint before it stays.

use std::io::Write;
use std::ops::Range;
use std::path::Path;

use coverslip_analysis::sae::{Sae, TrainerState};
use coverslip_bundle::tensors::{Element, Tensor, TensorFile, TensorMap, to_safetensors};
use coverslip_bundle::{BundleError, Digest};
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

/// The tensor with the file's digest.
const DIGEST: &str = "sha256";

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
    let bytes = sealed(tensors).map_err(|error| error.to_string())?;
    whole(path, |file| file.write_all(&bytes)).map_err(|error| {
        format!(
            "{}: the checkpoint could not be written: {error}. The one before it is intact: make room and give the same \
             command again",
            path.display()
        )
    })
}

/// The file of these tensors, with the sha256 of all its bytes; those of the digest itself count as zeros.
fn sealed(mut tensors: TensorMap) -> Result<Vec<u8>, BundleError> {
    tensors.insert(DIGEST.into(), Tensor::u8(&[32], &[0; 32]));
    let file = TensorFile::parse(to_safetensors(&tensors)?)?;
    let place = digest_place(&file);
    let mut bytes = file.into_bytes();
    let digest = Digest::of(&bytes);
    if let Some(place) = place {
        bytes[place].copy_from_slice(&digest.0);
    }
    Ok(bytes)
}

/// The tensors of a file whose bytes are those that were written.
fn opened(bytes: Vec<u8>) -> Result<TensorFile, String> {
    let file = TensorFile::parse(bytes).map_err(|error| error.to_string())?;
    let place = digest_place(&file).ok_or("no digest: another version of Coverslip wrote it")?;
    let mut bytes = file.into_bytes();
    let mut stated = [0; 32];
    bytes[place.clone()].swap_with_slice(&mut stated);
    let found = Digest::of(&bytes);
    if found.0 != stated {
        let stated = Digest(stated);
        return Err(format!("the sha256 {found} where it states {stated}: its bytes were altered or damaged"));
    }
    bytes[place].copy_from_slice(&stated);
    TensorFile::parse(bytes).map_err(|error| error.to_string())
}

/// Where the digest lies in the file.
fn digest_place(file: &TensorFile) -> Option<Range<usize>> {
    let digest = file.get(DIGEST).filter(|digest| digest.bytes.len() == 32)?;
    let start = digest.bytes.as_ptr().addr() - file.bytes().as_ptr().addr();
    Some(start..start + 32)
}

/// Longest checkpoint of an SAE of this size, bytes: each weight with its two moments, and the steps that each feature was
/// idle. What else is there is short.
pub(super) fn most(width: usize, features: usize) -> u64 {
    const REST: u64 = 16 << 20;
    let (width, features) = (width as u64, features as u64);
    let weights = width.saturating_mul(features).saturating_mul(2).saturating_add(width + 2 * features);
    weights.saturating_mul(3 * 4).saturating_add(8 * features + REST)
}

/// Reads a checkpoint of at most `most` bytes.
///
/// # Errors
/// When it is longer or damaged, or a byte of it was altered.
pub(super) fn load(path: &Path, most: u64) -> Result<(Meta, TrainerState), String> {
    let damaged = |error: &dyn std::fmt::Display| {
        format!("{}: expected a checkpoint of `sae train`, found: {error}. Begin again with --restart", path.display())
    };
    let bytes = coverslip_files::read_at_most(path, most).map_err(|error| damaged(&error))?;
    let file = opened(bytes).map_err(|error| damaged(&error))?;
    let tensor = |name: &str| file.get(name).ok_or_else(|| damaged(&format!("no tensor {name}")));
    let values = |name: &str| tensor(name)?.to_f32().map_err(|error| damaged(&error));
    let meta: Meta = coverslip_bundle::json::parse(tensor("meta")?.bytes).map_err(|error| damaged(&error))?;
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

#[cfg(test)]
mod tests {
    use coverslip_testkit::Scratch;

    use super::*;

    /// Every byte counts, also those of the header and of the digest, and of numbers that look like any other.
    #[test]
    fn no_altered_byte_is_accepted() {
        let sae = Sae {
            width: 1,
            features: 2,
            w_enc: vec![0.5, 1.0],
            b_enc: vec![0.0, 0.25],
            w_dec: vec![1.0, -1.0],
            b_dec: vec![0.125],
            threshold: vec![0.0, 0.0],
        };
        let weights = [&sae.w_enc, &sae.b_enc, &sae.w_dec, &sae.b_dec, &sae.threshold];
        let moments = weights.map(|values| (values.clone(), values.clone()));
        let state = TrainerState { sae: sae.clone(), moments, idle: vec![3, 4], step: 7, scale: 1.5 };
        let meta =
            Meta { key: "k".into(), step: 7, scale: 1.5, width: 1, features: 2, best: None, stale: 0, seconds: 0.5 };
        let folder = Scratch::new("checkpoint");
        let path = folder.join(FILE);
        save(&path, &meta, &state).unwrap();
        assert_eq!(load(&path, most(meta.width, meta.features)).unwrap().0, meta);
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut altered = whole.clone();
            altered[at] ^= 1;
            std::fs::write(&path, &altered).unwrap();
            let refused = load(&path, most(meta.width, meta.features)).expect_err(&format!("byte {at} was altered"));
            assert!(refused.contains("checkpoint.safetensors") && refused.contains("--restart"), "{refused}");
        }
    }
}
