//! `INetworkDefinition` and the ONNX parser that fills it.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use super::abi::{
    Raw, around_destructor, behind_destructor, call, call_for_dims, deleting_destructor, is_object, text,
};
use super::codes::{DataType, ParserErrorCode};
use super::error::{Error, LoadError, ParserError, Result};
use super::object::{NotSync, Object, implementation, method};
use super::tensor::{Tensor, name, shape};

/// An ONNX model in memory, with the weights that it refers to.
#[derive(Clone, Debug)]
pub struct Model<'m> {
    bytes: &'m [u8],
    weights: Vec<(String, Arc<Vec<u8>>, Range<usize>)>,
}

impl<'m> Model<'m> {
    /// A model that contains its weights.
    pub fn new(bytes: &'m [u8]) -> Self {
        Self { bytes, weights: Vec::new() }
    }

    /// Takes the values of initializers from a buffer, by name and place, instead of from the model or a file. They are
    /// little-endian and have the size that the model states. The network keeps the buffer.
    pub fn weights(mut self, buffer: &Arc<Vec<u8>>, places: &[(String, Range<usize>)]) -> Self {
        self.weights.extend(places.iter().map(|(name, place)| (name.clone(), buffer.clone(), place.clone())));
        self
    }
}

/// A graph to build a plan from. May be sent, not shared.
///
/// It keeps the parsers that filled it, since its weights may lie in their memory. They end before the network.
pub struct Network {
    parsers: Vec<Parser>,
    object: Arc<Object>,
    not_sync: NotSync,
}

impl Network {
    pub(super) fn new(object: Object) -> Self {
        Self { parsers: Vec::new(), object: Arc::new(object), not_sync: PhantomData }
    }

    pub(super) fn object(&self) -> &Object {
        &self.object
    }

    /// Reads a model into this network. After an error the network cannot be used.
    pub fn parse(&mut self, model: &Model<'_>) -> Result<()> {
        let watch = self.object.library().watch();
        let mut parser = watch.made("createNvOnnxParser", Parser::new(&self.object)?)?;
        let parsed = parser.read(model);
        // A model that was accepted may have left errors about parts that it does not need.
        let errors = parser.errors();
        self.parsers.push(parser);
        if !parsed? {
            return Err(Error::Parser { errors, log: watch.log() });
        }
        // The parser accepts many texts as a model without contents.
        if self.outputs().is_empty() { Err(Error::EmptyModel { bytes: model.bytes.len() }) } else { Ok(()) }
    }

    /// The inputs.
    pub fn inputs(&self) -> Vec<Tensor> {
        let slots = &self.object.slots().network;
        self.tensors(slots.get_nb_inputs, slots.get_input)
    }

    /// The outputs.
    pub fn outputs(&self) -> Vec<Tensor> {
        let slots = &self.object.slots().network;
        self.tensors(slots.get_nb_outputs, slots.get_output)
    }

    fn tensors(&self, count: usize, get: usize) -> Vec<Tensor> {
        let slots = &self.object.slots().tensor;
        // SAFETY: of the network, `int32_t getNb…()` and `ITensor* get…(int32_t)`; of a tensor, which the network owns,
        // `char const* getName()`, `Dims getDimensions()` and `DataType getType()`. All answers are copied here.
        unsafe {
            (0..method!(self.object, [count], () -> i32))
                .map(|index| method!(self.object, [get], (index => i32) -> Raw))
                .filter(|&tensor| is_object(tensor))
                .map(|tensor| {
                    let tensor = implementation(tensor);
                    let name = call!(tensor, behind_destructor(slots.get_name), () -> *const c_char);
                    Tensor {
                        name: text(name).unwrap_or_default(),
                        shape: shape(&call_for_dims!(tensor, behind_destructor(slots.get_dimensions), ())),
                        data_type: DataType(call!(tensor, behind_destructor(slots.get_type), () -> i32)),
                    }
                })
                .collect()
        }
    }
}

/// `nvonnxparser::IParser`, a parser of one network, which it keeps.
struct Parser {
    object: Object,
}

impl Parser {
    fn new(network: &Arc<Object>) -> Result<Option<Self>, LoadError> {
        let library = network.library();
        let destructor = deleting_destructor(library.slots().parser.destructor);
        // SAFETY: the parser keeps the network, and is ours.
        let object = unsafe {
            let raw = library.create_parser(network.raw())?;
            Object::with_destructor(raw, library, vec![network.clone()], Some(destructor))
        };
        Ok(object.map(|object| Self { object }))
    }

    fn index(&self, slot: usize) -> usize {
        around_destructor(slot, self.object.slots().parser.destructor)
    }

    /// Reads a model into the network: false where the parser refuses it.
    fn read(&mut self, model: &Model<'_>) -> Result<bool> {
        let slots = &self.object.slots().parser;
        if model.weights.is_empty() {
            return Ok(self.load(slots.parse, model.bytes));
        }
        let (Some(load_model_proto), Some(load_initializer), Some(parse_model_proto)) =
            (slots.load_model_proto, slots.load_initializer, slots.parse_model_proto)
        else {
            let instead = "leave the weights in the model, or install TensorRT 10.13 or newer";
            return Err(self.object.library().unsupported("weights apart from the model", instead));
        };
        let mut loaded = self.load(load_model_proto, model.bytes);
        for (initializer, buffer, place) in &model.weights {
            let why = || format!("the weight {initializer} lies at {place:?} of {} bytes", buffer.len());
            buffer.get(place.clone()).ok_or_else(|| Error::Argument { why: why() })?;
            loaded = loaded && self.load_initializer(load_initializer, &name(initializer)?, buffer, place.clone());
        }
        // SAFETY: `bool parseModelProto()`.
        Ok(loaded && unsafe { call!(self.object.raw(), self.index(parse_model_proto), () -> bool) })
    }

    /// `parse`, or `loadModelProto`, after which the weights can be given.
    fn load(&mut self, slot: usize, model: &[u8]) -> bool {
        let (bytes, no_path) = (model.as_ptr().cast(), std::ptr::null());
        // SAFETY: both are `bool (void const*, size_t, char const*)`. The model may end afterwards.
        unsafe {
            call!(
                self.object.raw(),
                self.index(slot),
                (bytes => *const c_void, model.len() => usize, no_path => *const c_char) -> bool
            )
        }
    }

    /// `loadInitializer`: the values of one weight, a part of `buffer`, which the parser keeps.
    fn load_initializer(&mut self, slot: usize, name: &CStr, buffer: &Arc<Vec<u8>>, part: Range<usize>) -> bool {
        let Some(values) = buffer.get(part) else { return false };
        self.object.keep(buffer.clone());
        let (name, bytes) = (name.as_ptr(), values.as_ptr().cast());
        // SAFETY: `bool loadInitializer(char const*, void const*, size_t)`. The buffer is kept, and a shared `Vec` does
        // not change.
        unsafe {
            call!(
                self.object.raw(),
                self.index(slot),
                (name => *const c_char, bytes => *const c_void, values.len() => usize) -> bool
            )
        }
    }

    /// `getNbErrors`, `getError`
    fn errors(&self) -> Vec<ParserError> {
        let slots = &self.object.slots().parser;
        let parser = self.object.raw();
        // SAFETY: `int getNbErrors()`, `IParserError const* getError(int)`. The parser owns the errors; they are
        // copied.
        unsafe {
            (0..call!(parser, self.index(slots.get_nb_errors), () -> c_int))
                .map(|index| call!(parser, self.index(slots.get_error), (index => c_int) -> Raw))
                .filter(|&error| is_object(error))
                .map(|error| self.copy(error))
                .collect()
        }
    }

    /// # Safety
    /// `error` is one of this parser's errors.
    unsafe fn copy(&self, error: Raw) -> ParserError {
        let slots = &self.object.slots().parser_error;
        // SAFETY: `ErrorCode code()`, `int line()`, `int node()`, and `char const* …()` for the others. The destructor
        // is declared after them.
        unsafe {
            let say = |slot| text(call!(error, slot, () -> *const c_char)).unwrap_or_default();
            ParserError {
                code: ParserErrorCode(call!(error, slots.code, () -> c_int)),
                description: say(slots.desc),
                node: call!(error, slots.node, () -> c_int),
                node_name: say(slots.node_name),
                operator: say(slots.node_operator),
                origin: format!("{} ({}:{})", say(slots.func), say(slots.file), call!(error, slots.line, () -> c_int)),
            }
        }
    }
}
