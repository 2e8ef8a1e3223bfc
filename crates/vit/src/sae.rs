//! The sparse autoencoder, in float32: prepare the embedding, encode, select, decode, undo the preparation, compare.

use coverslip_bundle::fold::{Linear, SaeWeights};
use coverslip_bundle::tensors::TensorFile;
use coverslip_bundle::{BundleError, BundleErrorKind, InputStep, Manifest, SaeArchitecture};

use crate::aligned::Aligned;
use crate::kernels::{Kernels, Out, To};
use crate::layer::{Layer, rows};
use crate::panels::{Rows, padded};
use crate::top::{Feature, largest};

/// An SAE, packed. Without an activation it has no weights and reports one feature that is never active.
pub(crate) struct Sae {
    /// Index of the tap that it reads.
    pub(crate) tap: usize,
    /// Features reported.
    pub(crate) outputs: usize,
    coder: Option<Coder>,
}

struct Coder {
    architecture: SaeArchitecture,
    steps: Vec<InputStep>,
    mean: Vec<f32>,
    std: Vec<f32>,
    centred: bool,
    b_dec: Vec<f32>,
    encoder: Layer,
    /// JumpReLU's, one per feature.
    threshold: Vec<f32>,
    gate: Option<Gate>,
    /// `[d_sae, d_in in whole lines]`
    decoder: Aligned<f32>,
    features: usize,
    mean_square_deviation: f64,
}

/// What a gated SAE adds to q = x'·W_enc.
struct Gate {
    b_gate: Vec<f32>,
    magnitude: Vec<f32>,
    b_mag: Vec<f32>,
}

impl Sae {
    /// Packs the SAE for `kernels`, which multiply float32.
    pub(crate) fn pack(manifest: &Manifest, file: &TensorFile, kernels: &dyn Kernels) -> Result<Self, BundleError> {
        let sae = &manifest.sae;
        let tap = manifest.sae_tap().unwrap_or_default();
        let Some(architecture) = sae.architecture else {
            return Ok(Self { tap, outputs: sae.outputs, coder: None });
        };
        let weights = SaeWeights::new(sae, file);
        let only = |wanted: bool, name: &str| if wanted { weights.get(name) } else { Ok(Vec::new()) };
        let standard = sae.input.contains(&InputStep::Standardize);
        let (weight, bias, gate) = if architecture == SaeArchitecture::Gated {
            let gate =
                Gate { b_gate: weights.get("b_gate")?, magnitude: weights.magnitude()?, b_mag: weights.get("b_mag")? };
            (weights.get("W_enc")?, None, Some(gate))
        } else {
            let (weight, bias) = weights.encoder()?;
            (weight, Some(bias), None)
        };
        let encoder = Linear { inputs: sae.d_in, outputs: sae.d_sae, weight, bias };
        let coder = Coder {
            architecture,
            steps: sae.input.clone(),
            mean: only(standard, "input_mean")?,
            std: only(standard, "input_std")?,
            centred: sae.apply_b_dec_to_input,
            b_dec: weights.get("b_dec")?,
            encoder: Layer::pack(kernels.layout(), &encoder)?,
            threshold: only(architecture == SaeArchitecture::JumpRelu, "threshold")?,
            gate,
            decoder: rows(&weights.decoder()?, sae.d_in, padded(sae.d_in))?,
            features: sae.d_sae,
            mean_square_deviation: sae.reference.mean_square_deviation,
        };
        Ok(Self { tap, outputs: sae.outputs, coder: Some(coder) })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.coder.as_ref().map_or(0, |coder| coder.encoder.panels.bytes() + coder.decoder.bytes())
    }
}

/// The buffers of the SAE, and what it found.
pub(crate) struct Coding {
    /// The prepared embedding, in whole lines, and as an operand.
    x: Aligned<f32>,
    words: Aligned<u32>,
    /// Pre-activations, then all features of a dense SAE.
    all: Aligned<f32>,
    /// The largest of each group.
    groups: Aligned<f32>,
    decoded: Aligned<f32>,
    pub(crate) features: Vec<Feature>,
    pub(crate) active_count: u32,
    pub(crate) reconstruction_error: f32,
}

/// Undoes a step: ·factor + shift, or with the SAE's own mean and deviation.
#[derive(Clone, Copy)]
enum Undo {
    Standard,
    Affine { factor: f64, shift: f64 },
}

impl Coding {
    pub(crate) fn new(sae: &Sae) -> Result<Self, BundleError> {
        let (width, features) = sae.coder.as_ref().map_or((0, 0), |coder| (coder.b_dec.len(), coder.features));
        let mut reported = Vec::new();
        if reported.try_reserve_exact(sae.outputs).is_err() {
            let what = format!("no memory for {} features of the CPU engine: close other programs", sae.outputs);
            return Err(BundleError::new(BundleErrorKind::OutOfMemory, what));
        }
        Ok(Self {
            x: Aligned::zeroed(padded(width))?,
            words: Aligned::zeroed(padded(width))?,
            all: Aligned::zeroed(padded(features))?,
            groups: Aligned::zeroed(sae.outputs)?,
            decoded: Aligned::zeroed(padded(width))?,
            features: reported,
            active_count: 0,
            reconstruction_error: 0.0,
        })
    }

    pub(crate) fn bytes(&self) -> usize {
        let values =
            self.x.bytes() + self.words.bytes() + self.all.bytes() + self.groups.bytes() + self.decoded.bytes();
        values + self.features.capacity() * size_of::<Feature>()
    }

    /// Runs the SAE on `embedding`.
    pub(crate) fn run(&mut self, sae: &Sae, kernels: &dyn Kernels, embedding: &[f32]) {
        self.features.clear();
        (self.active_count, self.reconstruction_error) = (0, 0.0);
        if let Some(coder) = &sae.coder {
            let undo = self.prepare(coder, embedding);
            self.encode(coder, kernels);
            self.select(coder, kernels, sae.outputs);
            self.compare(coder, embedding, undo);
        }
        self.features.resize(sae.outputs, Feature::default());
    }

    /// The input steps, and what undoes each.
    fn prepare(&mut self, coder: &Coder, embedding: &[f32]) -> [Option<Undo>; 4] {
        let width = embedding.len();
        let x = &mut self.x[..width];
        x.copy_from_slice(embedding);
        let mut undo = [None; 4];
        for (step, undo) in coder.steps.iter().zip(&mut undo) {
            *undo = Some(match step {
                InputStep::Standardize => {
                    let standard = coder.mean.iter().zip(&coder.std);
                    x.iter_mut().zip(standard).for_each(|(x, (mean, std))| *x = (*x - mean) / std);
                    Undo::Standard
                }
                InputStep::L2 => scaled(x, 1.0),
                InputStep::ConstantNormRescale => scaled(x, (width as f64).sqrt()),
                InputStep::LayerNorm => {
                    let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / width as f64;
                    let squares: f64 = x.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum();
                    let deviation = (squares / (width as f64 - 1.0)).sqrt();
                    x.iter_mut().for_each(|x| *x = ((f64::from(*x) - mean) / (deviation + 1e-5)) as f32);
                    Undo::Affine { factor: deviation, shift: mean }
                }
            });
        }
        if coder.centred {
            x.iter_mut().zip(&coder.b_dec).for_each(|(x, b_dec)| *x -= b_dec);
        }
        undo
    }

    fn encode(&mut self, coder: &Coder, kernels: &dyn Kernels) {
        kernels.narrow(&self.x, &mut self.words);
        let x = Rows { words: &self.words, stride: self.words.len(), count: 1, scales: &[] };
        let stride = self.all.len();
        let out = Out::to(To::Values(&mut self.all), stride);
        kernels.product(x, coder.encoder.before(&coder.encoder.panels), out);
    }

    /// Finds the features, counts and decodes the active ones and keeps the largest.
    fn select(&mut self, coder: &Coder, kernels: &dyn Kernels, k: usize) {
        let all = &mut self.all[..coder.features];
        self.decoded.fill(0.0);
        match coder.architecture {
            SaeArchitecture::TopK | SaeArchitecture::SignedTopK => {
                largest(all, k, &mut self.features);
                if coder.architecture == SaeArchitecture::TopK {
                    self.features.iter_mut().for_each(|feature| feature.value = feature.value.max(0.0));
                }
                return self.decode_reported(coder, kernels);
            }
            SaeArchitecture::GroupMax => {
                let width = coder.features / k;
                for (group, most) in all.chunks_exact(width).zip(&mut self.groups[..]) {
                    *most = group.iter().fold(0.0, |most, value| most.max(*value));
                }
                largest(&self.groups, k, &mut self.features);
                for feature in &mut self.features {
                    let first = feature.index as usize * width;
                    let group = &all[first..first + width];
                    let place = group.iter().position(|value| value.max(0.0) == feature.value);
                    feature.index = (first + place.unwrap_or(0)) as u32;
                }
                return self.decode_reported(coder, kernels);
            }
            SaeArchitecture::Relu => all.iter_mut().for_each(|p| *p = p.max(0.0)),
            SaeArchitecture::JumpRelu => {
                let jump = |(p, threshold): (&mut f32, &f32)| *p = if *p > *threshold { p.max(0.0) } else { 0.0 };
                all.iter_mut().zip(&coder.threshold).for_each(jump);
            }
            SaeArchitecture::Gated => {
                let Some(Gate { b_gate, magnitude, b_mag }) = &coder.gate else { return };
                for (((q, b_gate), magnitude), b_mag) in all.iter_mut().zip(b_gate).zip(magnitude).zip(b_mag) {
                    *q = if *q + b_gate > 0.0 { (*q * magnitude + b_mag).max(0.0) } else { 0.0 };
                }
            }
        }
        for (index, value) in all.iter().enumerate().filter(|(_, value)| **value != 0.0) {
            self.active_count += 1;
            add_row(coder, kernels, &mut self.decoded, index, *value);
        }
        largest(all, k, &mut self.features);
    }

    /// Decodes from the reported features, which are all that can be active.
    fn decode_reported(&mut self, coder: &Coder, kernels: &dyn Kernels) {
        for feature in self.features.iter().filter(|feature| feature.value != 0.0) {
            self.active_count += 1;
            add_row(coder, kernels, &mut self.decoded, feature.index as usize, feature.value);
        }
    }

    /// ‖x−x̂‖² over the bundle's mean ‖x−x̄‖².
    fn compare(&mut self, coder: &Coder, embedding: &[f32], undo: [Option<Undo>; 4]) {
        let mut squares = 0.0;
        for (i, x) in embedding.iter().enumerate() {
            let mut decoded = f64::from(self.decoded[i]) + f64::from(coder.b_dec[i]);
            for undo in undo.iter().rev().flatten() {
                decoded = match undo {
                    Undo::Standard => decoded * f64::from(coder.std[i]) + f64::from(coder.mean[i]),
                    Undo::Affine { factor, shift } => decoded * factor + shift,
                };
            }
            squares += (f64::from(*x) - decoded).powi(2);
        }
        self.reconstruction_error = (squares / coder.mean_square_deviation) as f32;
    }
}

/// x·size/‖x‖.
fn scaled(x: &mut [f32], size: f64) -> Undo {
    let norm = x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    let factor = size / norm;
    x.iter_mut().for_each(|x| *x = (f64::from(*x) * factor) as f32);
    Undo::Affine { factor: 1.0 / factor, shift: 0.0 }
}

fn add_row(coder: &Coder, kernels: &dyn Kernels, decoded: &mut [f32], feature: usize, value: f32) {
    let row = decoded.len();
    kernels.accumulate(decoded, &coder.decoder[feature * row..(feature + 1) * row], value);
}
