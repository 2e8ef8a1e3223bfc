//! `INetworkDefinition` and `ITensor`: the graph, as far as a program that parses ONNX needs to see it.

use std::ffi::c_char;
use std::marker::PhantomData;
use std::sync::Arc;

use super::abi::{Raw, behind_destructor, call, call_for_dims, is_object};
use super::callback::text;
use super::library::LoadError;
use super::object::{NotSync, Object, implementation};
use super::parser::Parser;
use super::types::{DataType, Dims};

/// The graph. May be sent, not shared.
///
/// The parsers that filled it stay with it, since its weights may lie in their memory; they end before it.
pub struct Network {
    parsers: Vec<Parser>,
    object: Arc<Object>,
    not_sync: NotSync,
}

/// An input or output of a graph.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TensorInfo {
    /// Its name in the ONNX model.
    pub name: String,
    /// Its extents; -1 for those that a profile leaves open.
    pub dims: Dims,
    /// The type of its elements.
    pub data_type: DataType,
}

impl Network {
    pub(super) fn new(object: Object) -> Self {
        Self { parsers: Vec::new(), object: Arc::new(object), not_sync: PhantomData }
    }

    pub(super) fn object(&self) -> &Arc<Object> {
        &self.object
    }

    /// A parser that fills this network: an error where the parser's library cannot be loaded, nothing where it makes
    /// none.
    pub fn create_parser(&mut self) -> Result<Option<&mut Parser>, LoadError> {
        let Some(parser) = Parser::new(&self.object)? else { return Ok(None) };
        self.parsers.push(parser);
        Ok(self.parsers.last_mut())
    }

    /// `getNbLayers`
    pub fn nb_layers(&self) -> i32 {
        let slot = self.object.slots().network.get_nb_layers;
        // SAFETY: `int32_t getNbLayers()`.
        unsafe { call!(self.object.implementation(), behind_destructor(slot), () -> i32) }
    }

    /// What goes in.
    pub fn inputs(&self) -> Vec<TensorInfo> {
        let slots = &self.object.slots().network;
        self.tensors(slots.get_nb_inputs, slots.get_input)
    }

    /// What comes out.
    pub fn outputs(&self) -> Vec<TensorInfo> {
        let slots = &self.object.slots().network;
        self.tensors(slots.get_nb_outputs, slots.get_output)
    }

    fn tensors(&self, count: usize, get: usize) -> Vec<TensorInfo> {
        let network = self.object.implementation();
        let slots = &self.object.slots().tensor;
        // SAFETY: `int32_t getNb…()` and `ITensor* get…(int32_t)`; of a tensor, which the network owns,
        // `char const* getName()`, `Dims getDimensions()` and `DataType getType()`. All is copied before this returns.
        unsafe {
            (0..call!(network, behind_destructor(count), () -> i32))
                .map(|index| call!(network, behind_destructor(get), (index => i32) -> Raw))
                .filter(|&tensor| is_object(tensor))
                .map(|tensor| {
                    let tensor = implementation(tensor);
                    TensorInfo {
                        name: text(call!(tensor, behind_destructor(slots.get_name), () -> *const c_char))
                            .unwrap_or_default(),
                        dims: call_for_dims!(tensor, behind_destructor(slots.get_dimensions), ()),
                        data_type: DataType(call!(tensor, behind_destructor(slots.get_type), () -> i32)),
                    }
                })
                .collect()
        }
    }
}
