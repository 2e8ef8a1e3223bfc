//! An ONNX model on its way into TensorRT.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::library::Library;
use super::tensor::Tensor;
use crate::result::{Error, Result, Watch, name, path_name};
use crate::sys;

/// An ONNX model in memory, and where its weights are if they are not in it.
#[derive(Clone, Debug)]
pub struct Model<'m> {
    bytes: &'m [u8],
    path: Option<&'m Path>,
    weights: Vec<(String, Arc<Vec<u8>>, Range<usize>)>,
}

impl<'m> Model<'m> {
    /// A model that has its weights in itself.
    pub fn new(bytes: &'m [u8]) -> Self {
        Self { bytes, path: None, weights: Vec::new() }
    }

    /// Where the model would lie, absolute: the files with its weights lie beside it.
    pub fn at(mut self, path: &'m Path) -> Self {
        self.path = Some(path);
        self
    }

    /// The values of an initializer, instead of those in the model or in a file. As many bytes as the model says,
    /// little endian; they are kept as long as the network.
    pub fn weight(mut self, initializer: impl Into<String>, values: Arc<Vec<u8>>) -> Self {
        let all = 0..values.len();
        self.weights.push((initializer.into(), values, all));
        self
    }

    /// As [`Model::weight`], for many that lie in one buffer: each initializer's name and its bytes' place there.
    pub fn weights(mut self, buffer: &Arc<Vec<u8>>, places: &[(String, Range<usize>)]) -> Self {
        self.weights.extend(places.iter().map(|(name, place)| (name.clone(), buffer.clone(), place.clone())));
        self
    }
}

/// A graph that is to be built.
pub struct Network {
    sys: sys::Network,
    library: Library,
}

impl Network {
    pub(super) fn new(sys: sys::Network, library: Library) -> Self {
        Self { sys, library }
    }

    pub(super) fn sys(&mut self) -> &mut sys::Network {
        &mut self.sys
    }

    /// Reads a model into this network. After an error the network is of no use.
    pub fn parse(&mut self, model: &Model<'_>) -> Result<()> {
        let path = model.path.map(path_name).transpose()?;
        let watch = Watch::begin(self.library.sys());
        let parser = watch.made("createNvOnnxParser", self.sys.create_parser()?)?;
        let parsed = if model.weights.is_empty() {
            parser.parse(model.bytes, path.as_deref())
        } else {
            let mut loaded = parser.load_model_proto(model.bytes, path.as_deref());
            for (initializer, buffer, place) in &model.weights {
                if buffer.get(place.clone()).is_none() {
                    let why = format!("the weight {initializer} lies at {place:?} of {} bytes", buffer.len());
                    return Err(Error::Argument { why });
                }
                loaded = loaded && parser.load_initializer(&name(initializer)?, buffer.clone(), place.clone());
            }
            loaded && parser.parse_model_proto()
        };
        // A model that was taken may have left complaints about what it does not need.
        let errors = parser.take_errors();
        if !parsed {
            return Err(Error::Parser { errors, log: watch.log() });
        }
        // The parser takes many a text for a model with nothing in it.
        if self.sys.outputs().is_empty() { Err(Error::EmptyModel { bytes: model.bytes.len() }) } else { Ok(()) }
    }

    /// What goes in.
    pub fn inputs(&self) -> Vec<Tensor> {
        self.sys.inputs().into_iter().map(Tensor::of_network).collect()
    }

    /// What comes out.
    pub fn outputs(&self) -> Vec<Tensor> {
        self.sys.outputs().into_iter().map(Tensor::of_network).collect()
    }

    /// Layers, before anything is fused.
    pub fn layers(&self) -> usize {
        usize::try_from(self.sys.nb_layers()).unwrap_or_default()
    }
}
