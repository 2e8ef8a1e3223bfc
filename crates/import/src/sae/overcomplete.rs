//! KempnerInstitute's overcomplete: a module or its `state_dict`, saved by torch.
//!
//! ```text
//! p = x·Wᵀ + b, through a BatchNorm if there is one        x̂ = f·D
//! SAE: ReLU(p)     TopKSAE: the k largest of ReLU(p)     JumpSAE: ReLU(p)·1[p ≥ exp(thresholds)]
//! D = dictionary._weights·exp(multiplier), rows normalised
//! D = (W·C + Relax)·exp(multiplier) if archetypal, rows of W with sum 1, norms of Relax's rows at most delta
//! ```
//!
//! Source: overcomplete 0.3, `sae/*.py`.

use super::atoms;
use super::found::{Found, SaeOptions};
use super::parts::{self, Parts, Values, check, shape};
use crate::Checkpoint;
use crate::pickle::Value;
use crate::torch::{Node, TorchFile};
use coverslip_bundle::SaeArchitecture;
use coverslip_bundle::layout::Shape;
use coverslip_bundle::{BundleError, fail};

pub(super) const FORMAT: &str = "overcomplete";

/// torch's default ε of a BatchNorm, for a `state_dict`, which cannot state another.
const BATCH_NORM_EPS: f64 = 1e-5;

/// Reads an SAE of overcomplete. `torch` has the file's content beside tensors.
pub(super) fn read(file: &Checkpoint, torch: Option<&TorchFile>, options: &SaeOptions) -> Result<Found, BundleError> {
    let saved = Saved { file, torch };
    saved.refuse()?;
    let mut expected = atoms::tensors(file, "dictionary")?;
    let [m, d] = atoms::size(&expected);
    let encoder = saved.encoder([m, d], &mut expected)?;
    let jump = file.contains("thresholds");
    if jump {
        expected.push(shape("thresholds", &[m]));
    }
    check(file, "this SAE of overcomplete", &expected, &["encoder.final_block.1.num_batches_tracked"])?;
    let mut notes = Vec::new();
    let is_final = saved.leaf(&["dictionary", "training"]) == Some(&Value::Bool(false));
    let state = atoms::State { is_final, delta: saved.float(&["dictionary", "delta"]) };
    let dictionary = atoms::read(file, state, &mut notes)?;
    let (w_enc, b_enc) = saved.folded_encoder(encoder, &dictionary, &mut notes)?;
    let mut tensors = Parts::from([("W_enc", w_enc), ("b_enc", b_enc), ("b_dec", Values::filled(d, 0.0))]);
    tensors.insert("W_dec", dictionary);
    let (architecture, k) = if jump {
        let thresholds = parts::read(file, "thresholds")?;
        // overcomplete compares p ≥ exp(θ) in float32.
        let strict = thresholds.values.iter().map(|v| f64::from(parts::strict(f64::from(*v).exp() as f32)));
        tensors.insert("threshold", Values::computed(&[m], strict));
        (SaeArchitecture::JumpRelu, None)
    } else {
        if encoder == Encoder::Linear || encoder == Encoder::BatchNorm {
            notes.push("The encoder's last activation is not in the file: ReLU, overcomplete's default.".to_owned());
        }
        saved.k(options)?
    };
    Ok(Found { k, notes, ..Found::new(architecture, tensors) })
}

/// The form of the encoder, which computes p.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Encoder {
    /// `encoder.final_block.0`, a linear layer.
    Linear,
    /// A linear layer followed by a BatchNorm.
    BatchNorm,
    /// `TieableEncoder` with a weight of its own.
    Untied,
    /// `TieableEncoder` with the dictionary's weight.
    Tied,
}

struct Saved<'a> {
    file: &'a Checkpoint,
    torch: Option<&'a TorchFile>,
}

impl Saved<'_> {
    fn leaf(&self, path: &[&str]) -> Option<&Value> {
        match self.torch?.value(path)? {
            Node::Leaf(value) => Some(value),
            _ => None,
        }
    }

    fn float(&self, path: &[&str]) -> Option<f64> {
        match self.leaf(path)? {
            Value::Float(value) => Some(*value),
            Value::Int(value) => Some(*value as f64),
            _ => None,
        }
    }

    /// Whether the whole module was saved, with its attributes.
    fn is_module(&self) -> bool {
        self.leaf(&["nb_concepts"]).is_some()
    }

    fn refuse(&self) -> Result<(), BundleError> {
        let within = |part: &str| self.file.names().any(|name| name.starts_with(part));
        let refused = [
            (self.leaf(&["threshold_momentum"]).is_some(), "BatchTopKSAE, whose running threshold torch does not save"),
            (self.file.contains("Q"), "QSAE (quantised features)"),
            (within("encoder.mlp_blocks."), "an encoder of several layers (MLPEncoder)"),
            (within("encoder.attention_blocks."), "AttentionEncoder"),
            (within("encoder.resnet_blocks."), "ResNetEncoder"),
            (!within("encoder."), "an SAE without an encoder (matching pursuit: MpSAE, OMPSAE)"),
            (
                within("encoder.final_block.1.") && !self.file.contains("encoder.final_block.1.running_mean"),
                "an encoder with a LayerNorm over its features",
            ),
        ];
        for (is, what) in refused {
            if is {
                fail!(
                    Unsupported,
                    "{what}: not supported in this version; expected SAE, TopKSAE or JumpSAE with a linear encoder"
                );
            }
        }
        Ok(())
    }

    /// Determines the encoder's form and adds its tensors to `expected`.
    fn encoder(&self, [m, d]: [usize; 2], expected: &mut Vec<Shape>) -> Result<Encoder, BundleError> {
        let mut expect = |name: &str, dims: &[usize]| expected.push(shape(name, dims));
        let encoder = if self.file.names().any(|name| name.starts_with("encoder.tied_to.")) {
            atoms::tensors(self.file, "encoder.tied_to")?.iter().for_each(|(name, dims)| expect(name, dims));
            Encoder::Tied
        } else if self.file.contains("encoder.weight") {
            expect("encoder.weight", &[m, d]);
            Encoder::Untied
        } else {
            expect("encoder.final_block.0.weight", &[m, d]);
            expect("encoder.final_block.0.bias", &[m]);
            if !self.file.contains("encoder.final_block.1.running_mean") {
                return Ok(Encoder::Linear);
            }
            for part in ["weight", "bias", "running_mean", "running_var"] {
                expect(&format!("encoder.final_block.1.{part}"), &[m]);
            }
            return Ok(Encoder::BatchNorm);
        };
        if self.file.contains("encoder.bias") {
            expect("encoder.bias", &[m]);
        }
        Ok(encoder)
    }

    /// `W_enc` and `b_enc`, with a BatchNorm γ·(p − μ)/√(σ² + ε) + β folded in.
    fn folded_encoder(
        &self,
        encoder: Encoder,
        dictionary: &Values,
        notes: &mut Vec<String>,
    ) -> Result<(Values, Values), BundleError> {
        let m = dictionary.shape[0];
        let block = |part: &str| parts::read(self.file, &format!("encoder.final_block.{part}"));
        let bias = || match self.file.contains("encoder.bias") {
            true => parts::read(self.file, "encoder.bias"),
            false => Ok(Values::filled(m, 0.0)),
        };
        match encoder {
            Encoder::Tied => {
                self.check_tie()?;
                Ok((dictionary.clone().transposed(), bias()?))
            }
            Encoder::Untied => Ok((parts::read(self.file, "encoder.weight")?.transposed(), bias()?)),
            Encoder::Linear => Ok((block("0.weight")?.transposed(), block("0.bias")?)),
            Encoder::BatchNorm => {
                let eps = self.float(&["encoder", "final_block", "1", "eps"]).unwrap_or(BATCH_NORM_EPS);
                let (gamma, beta) = (block("1.weight")?.values, block("1.bias")?.values);
                let (mean, variance) = (block("1.running_mean")?.values, block("1.running_var")?.values);
                let factor = |at: usize| f64::from(gamma[at]) / (f64::from(variance[at]) + eps).sqrt();
                let w_enc = block("0.weight")?.transposed().folded(|at, value| value * factor(at % m));
                let b_enc = block("0.bias")?
                    .folded(|at, value| (value - f64::from(mean[at])) * factor(at) + f64::from(beta[at]));
                notes.push(format!("The encoder's BatchNorm (ε {eps}) was folded into its weights."));
                Ok((w_enc, b_enc))
            }
        }
    }

    /// Checks that a tied encoder's dictionary, which torch saves under a second name, is the SAE's own.
    fn check_tie(&self) -> Result<(), BundleError> {
        for (name, _) in atoms::tensors(self.file, "dictionary")? {
            let tied = format!("encoder.tied_to.{}", name.trim_start_matches("dictionary."));
            if self.file.read(&tied)? != self.file.read(&name)? {
                fail!(
                    Invalid,
                    "`{tied}` differs from `{name}`; expected an encoder that is tied to the SAE's own dictionary"
                );
            }
        }
        Ok(())
    }

    /// The activation of an SAE that is not a JumpSAE. A module states whether it is a TopKSAE; a `state_dict` does
    /// not.
    fn k(&self, options: &SaeOptions) -> Result<(SaeArchitecture, Option<usize>), BundleError> {
        match (self.leaf(&["top_k"]), self.is_module(), options.k) {
            (Some(Value::Int(k)), ..) if *k > 0 => Ok((SaeArchitecture::TopK, Some(*k as usize))),
            (None, true, _) => Ok((SaeArchitecture::Relu, None)),
            (None, false, Some(k)) => Ok((SaeArchitecture::TopK, Some(k))),
            (None, false, None) => fail!(
                Missing,
                "found a state_dict of overcomplete's TopKSAE or SAE, which have the same tensors but compute \
                 differently; expected the module itself (torch.save(sae, …)), or --sae-k with the k of a TopKSAE"
            ),
            (Some(Value::Int(k)), ..) => fail!(Invalid, "top_k is {k}, expected a number of at least 1"),
            (Some(_), ..) => fail!(Invalid, "top_k is no whole number, expected a number of at least 1"),
        }
    }
}
