//! A bundle's mix of int8 and floats, with the factors that move the spread of activations into weights.
//!
//! SmoothQuant: what a norm puts out is divided by a factor per value, and the weights that read it are multiplied by it.
//! The product is the same, and the values that are quantised are more alike.

use std::collections::BTreeSet;

use crate::error::{BundleError, fail};
use crate::manifest::{Architecture, Int8Layer, Int8Rest, Manifest};
use crate::tensors::{Tensor, TensorFile, TensorMap, to_safetensors};

/// The largest factor, and one over the smallest: more would be a broken file.
const MOST: f32 = 1e6;

/// Which layers are in int8, and how their inputs are evened out.
#[derive(Clone, Debug, PartialEq)]
pub struct Int8Mix {
    /// How the layers are multiplied that are not in int8.
    pub rest: Int8Rest,
    /// The blocks that the taps read.
    pub blocks: Vec<Int8Block>,
}

/// One block of a mix.
#[derive(Clone, Debug, PartialEq)]
pub struct Int8Block {
    /// The layers in int8.
    pub layers: BTreeSet<Int8Layer>,
    /// What the values of the norm before attention are divided by, where qkv is in int8.
    pub norm1: Vec<f32>,
    /// The same of the norm before the MLP, where fc1 is.
    pub norm2: Vec<f32>,
}

impl Int8Mix {
    /// Every layer of a model in int8, not evened out: for whoever measures speed.
    pub fn everything(manifest: &Manifest) -> Int8Mix {
        let width = match &manifest.architecture {
            Architecture::Vit(vit) => vit.embed_dim,
            Architecture::Onnx(_) => 0,
        };
        let (norm1, norm2) = (vec![1.0; width], vec![1.0; width]);
        let block = Int8Block { layers: Int8Layer::ALL.into(), norm1, norm2 };
        Int8Mix { rest: Int8Rest::Half, blocks: vec![block; manifest.blocks_read()] }
    }

    /// The factors as a file.
    ///
    /// # Errors
    /// `OutOfMemory` when memory is short.
    pub fn factors(&self) -> Result<Vec<u8>, BundleError> {
        let mut tensors = TensorMap::new();
        for (index, block) in self.blocks.iter().enumerate() {
            for (name, factors) in [("norm1", &block.norm1), ("norm2", &block.norm2)] {
                tensors.insert(format!("blocks.{index}.{name}"), Tensor::f32(&[factors.len()], factors));
            }
        }
        to_safetensors(&tensors)
    }

    /// What `manifest` and its file of factors say together; `None`: the bundle has no int8.
    ///
    /// # Errors
    /// `Invalid` or `Missing` where they do not fit the model.
    pub(crate) fn read(manifest: &Manifest, file: Option<&TensorFile>) -> Result<Option<Int8Mix>, BundleError> {
        let Some(int8) = &manifest.int8 else { return Ok(None) };
        let (Architecture::Vit(vit), Some(file)) = (&manifest.architecture, file) else {
            fail!(Invalid, "`int8` is only for a ViT, with its factors in {}", crate::INT8_FILE);
        };
        if int8.layers.len() != manifest.blocks_read() {
            let (found, expected) = (int8.layers.len(), manifest.blocks_read());
            fail!(Invalid, "`int8.layers` has {found} blocks, expected the {expected} that the taps read");
        }
        let factors = |index: usize, norm: &str| {
            let name = format!("blocks.{index}.{norm}");
            let factors = file.expect(&name, &[vit.embed_dim])?.to_f32()?;
            if let Some(odd) = factors.iter().find(|factor| !(MOST.recip()..=MOST).contains(*factor)) {
                fail!(Invalid, "`{name}` has the factor {odd}, expected {:e} to {MOST:e}", MOST.recip());
            }
            Ok(factors)
        };
        let blocks = int8.layers.iter().enumerate().map(|(index, layers)| {
            let (norm1, norm2) = (factors(index, "norm1")?, factors(index, "norm2")?);
            Ok(Int8Block { layers: layers.clone(), norm1, norm2 })
        });
        Ok(Some(Int8Mix { rest: int8.rest, blocks: blocks.collect::<Result<_, BundleError>>()? }))
    }
}
