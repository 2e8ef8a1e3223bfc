//! `nvonnxparser::IParser`: an ONNX model becomes a network.
//!
//! Unlike the other classes these have no implementation behind them; see [`super::slots::Parser`].

use std::ffi::{CStr, c_char, c_int, c_void};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use super::abi::{Raw, around_destructor, call, deleting_destructor, is_object};
use super::callback::text;
use super::library::LoadError;
use super::object::{NotSync, Object};
use super::types::ParserErrorCode;

/// A parser of one network, which keeps it. May be sent, not shared.
pub struct Parser {
    object: Object,
    not_sync: NotSync,
}

/// One complaint of the parser.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ParserError {
    /// Its kind.
    pub code: ParserErrorCode,
    /// In the parser's words.
    pub description: String,
    /// The node's place in the model, -1 where no node is meant.
    pub node: i32,
    /// The node's name; empty where it has none.
    pub node_name: String,
    /// The node's operator; empty where no node is meant.
    pub operator: String,
    /// Where in the parser's source: function, file and line.
    pub origin: String,
}

impl fmt::Display for ParserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.node >= 0 || !self.node_name.is_empty() {
            write!(f, "node {} '{}' ({}): ", self.node, self.node_name, self.operator)?;
        }
        write!(f, "{}: {}", self.code, self.description)
    }
}

impl Parser {
    /// A parser for `network`, which it keeps.
    pub(super) fn new(network: &Arc<Object>) -> Result<Option<Self>, LoadError> {
        let library = network.library();
        let parser = library.parser()?;
        let destructor = deleting_destructor(library.slots().parser.destructor);
        // SAFETY: the logger lives as long as the process, the network as long as the parser, which is ours.
        let object = unsafe {
            let raw = (parser.create)(network.raw(), library.logger().raw(), parser.version);
            Object::with_destructor(raw, library, vec![network.clone()], Some(destructor))
        };
        Ok(object.map(|object| Self { object, not_sync: PhantomData }))
    }

    fn index(&self, slot: usize) -> usize {
        around_destructor(slot, self.object.slots().parser.destructor)
    }

    /// `parse`: a model in memory. `path` is where it would lie, for weights in files beside it.
    pub fn parse(&mut self, model: &[u8], path: Option<&CStr>) -> bool {
        self.read(self.object.slots().parser.parse, model, path)
    }

    /// `loadModelProto`: as [`Parser::parse`] without building the network yet, so that weights can be given.
    pub fn load_model_proto(&mut self, model: &[u8], path: Option<&CStr>) -> bool {
        self.read(self.object.slots().parser.load_model_proto, model, path)
    }

    fn read(&mut self, slot: usize, model: &[u8], path: Option<&CStr>) -> bool {
        let path = path.map_or(std::ptr::null(), CStr::as_ptr);
        // SAFETY: `bool parse(void const*, size_t, char const*)` and `loadModelProto` alike; the model may end
        // afterwards.
        unsafe {
            call!(
                self.object.raw(),
                self.index(slot),
                (model.as_ptr().cast() => *const c_void, model.len() => usize, path => *const c_char) -> bool
            )
        }
    }

    /// `loadInitializer`: the values of one of the model's weights, a part of `data`, kept as long as the parser. False
    /// where there is no such part.
    pub fn load_initializer(&mut self, name: &CStr, data: Arc<Vec<u8>>, part: Range<usize>) -> bool {
        let slot = self.index(self.object.slots().parser.load_initializer);
        let Some(values) = data.get(part) else { return false };
        let (bytes, size) = (values.as_ptr(), values.len());
        self.object.keep(data);
        // SAFETY: `bool loadInitializer(char const*, void const*, size_t)`. The bytes are kept, and a shared `Vec` does
        // not change.
        unsafe {
            call!(
                self.object.raw(),
                slot,
                (name.as_ptr() => *const c_char, bytes.cast() => *const c_void, size => usize) -> bool
            )
        }
    }

    /// `parseModelProto`: builds the network from what was loaded.
    pub fn parse_model_proto(&mut self) -> bool {
        let slot = self.index(self.object.slots().parser.parse_model_proto);
        // SAFETY: `bool parseModelProto()`.
        unsafe { call!(self.object.raw(), slot, () -> bool) }
    }

    /// Every complaint since the last `clearErrors`, and clears them.
    pub fn take_errors(&mut self) -> Vec<ParserError> {
        let slots = self.object.slots().parser;
        let parser = self.object.raw();
        // SAFETY: `int getNbErrors()`, `IParserError const* getError(int)`, `void clearErrors()`. Errors belong to the
        // parser and are copied before they are cleared.
        unsafe {
            let errors = (0..call!(parser, self.index(slots.get_nb_errors), () -> c_int))
                .map(|index| call!(parser, self.index(slots.get_error), (index => c_int) -> Raw))
                .filter(|&error| is_object(error))
                .map(|error| self.copy(error))
                .collect();
            call!(parser, self.index(slots.clear_errors), ());
            errors
        }
    }

    /// # Safety
    /// `error` is one of this parser's errors.
    unsafe fn copy(&self, error: Raw) -> ParserError {
        let slots = &self.object.slots().parser_error;
        // SAFETY: all of them are methods without arguments: `ErrorCode code()`, `int line()`, `int node()`, the others
        // `char const* …()`. The error's destructor is declared behind them.
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
