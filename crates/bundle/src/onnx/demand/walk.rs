//! The walk over a graph's nodes, in their order: what each makes, what is kept of it, and what it needs.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::call::{Call, Made, shown};
use super::effort::Effort;
use super::lifetimes::{self, Step};
use super::rules;
use super::value::{ELEMENT, MOST_AXES, Numbers, Value, product};
use super::wanted::wanted;
use crate::budget::{Budget, MAX_GRAPH_DEPTH, MAX_INFERENCE_NUMBERS};
use crate::error::{BundleError, fail};
use crate::onnx::model::{Constant, Model, Node};

/// Engines keep buffers of this many bytes and more for the next value, and free smaller ones.
const KEPT: u64 = 128;
/// Values that a single node may need beside its inputs and outputs: copies of inputs in another order.
const COPIES: usize = 3;
/// Steps that a node takes by itself: its names are looked up, and what is found of it is kept.
const NODE: u64 = 16;

/// What a graph needs to run one batch.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Demand {
    /// Bytes of working memory at most, beside the weights.
    pub bytes: u64,
    /// Multiplications and additions, and elements of other operators.
    pub work: u64,
}

/// A value, the step that makes it (none if it does not depend on the image), and the nodes before it in a chain.
struct Source {
    value: Value,
    step: Option<usize>,
    depth: usize,
}

pub(super) struct Walk<'a> {
    known: HashMap<&'a str, Source>,
    /// The values from whose numbers a size can be computed.
    wanted: HashSet<&'a str>,
    effort: Effort,
    steps: Vec<Step>,
    /// Number of buffers of each size that could be asked for.
    buffers: BTreeMap<u64, usize>,
    /// Bytes that are not shared: small values, and values that are computed when the graph is loaded.
    fixed: u64,
    work: u64,
    /// The largest value: its bytes, and what it is.
    largest: (u64, String),
}

/// What a node reads.
struct Read<'a> {
    inputs: Vec<Option<&'a Value>>,
    /// The nodes that make its inputs, where these depend on the image.
    steps: Vec<usize>,
    /// Elements of inputs that depend on the image: the engine may copy each.
    copied: Vec<u64>,
    depth: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn of(model: &'a Model) -> Walk<'a> {
        Walk {
            known: HashMap::new(),
            wanted: wanted(model),
            effort: Effort::new(),
            steps: Vec::new(),
            buffers: BTreeMap::new(),
            fixed: 0,
            work: 0,
            largest: (0, String::new()),
        }
    }

    pub(super) fn constant(&mut self, constant: &'a Constant) -> Result<(), BundleError> {
        let value = Value::of_constant(constant, self.wanted.contains(constant.name.as_str()));
        if !self.effort.keep(value.numbers().map_or(0, Numbers::len)) {
            fail!(
                TooLarge,
                "the graph computes sizes from more than {MAX_INFERENCE_NUMBERS} numbers, reached at the constant `{}`; \
                 expected fewer: simplify the graph (onnxsim, onnxruntime's basic optimisations)",
                shown(&constant.name)
            );
        }
        self.known.insert(&constant.name, Source { value, step: None, depth: 0 });
        Ok(())
    }

    /// An input that holds a weight. A constant of the same name is its value.
    pub(super) fn weight(&mut self, name: &'a str, dims: &[usize]) {
        self.known.entry(name).or_insert(Source { value: Value::exact(dims), step: None, depth: 0 });
    }

    /// The image is the first step.
    pub(super) fn image(&mut self, (name, dims): (&'a str, &[usize])) {
        self.known.insert(name, Source { value: Value::exact(dims), step: Some(0), depth: 0 });
        self.steps.push(Step { values: 1, ..Step::default() });
        self.count(product(dims).saturating_mul(ELEMENT));
    }

    fn count(&mut self, bytes: u64) {
        if bytes >= KEPT {
            *self.buffers.entry(bytes).or_default() += 1;
        } else {
            self.fixed = self.fixed.saturating_add(bytes);
        }
    }

    pub(super) fn node(&mut self, node: &'a Node, outputs: &HashSet<&str>, budget: &Budget) -> Result<(), BundleError> {
        let Read { inputs, steps, copied, depth } = self.read(node)?;
        let follows = node.outputs.iter().any(|output| self.wanted.contains(output.as_str()));
        let call = Call::new(node, inputs, follows, &self.effort);
        let names = node.inputs.iter().chain(&node.outputs).fold(0, |sum, name| sum + name.len() as u64 / 8 + 1);
        let axes = call.all().iter().fold(0, |sum, value| sum + value.axes() as u64);
        call.spend(NODE + names + axes)?;
        if depth > MAX_GRAPH_DEPTH {
            fail!(
                TooLarge,
                "more than {MAX_GRAPH_DEPTH} nodes read one another in a chain, up to {}: expected the graph of a model",
                call.place()
            );
        }
        let Made { outputs: mut made, work, scratch } = rules::apply(&call)?;
        for (name, value) in node.outputs.iter().zip(&mut made) {
            keep(&call, value, self.wanted.contains(name.as_str()))?;
        }
        let (moving, at) = (!steps.is_empty(), self.steps.len());
        let mut step = Step { reads: steps, ..Step::default() };
        for (name, value) in node.outputs.iter().zip(made).filter(|(name, _)| !name.is_empty()) {
            let bytes = self.held(node, name, &value, budget)?;
            step.kept |= outputs.contains(name.as_str());
            if moving {
                step.values += usize::from(bytes >= KEPT);
                self.count(bytes);
            } else {
                self.fixed = self.fixed.saturating_add(bytes);
            }
            // Engines differ in which of two values of one name is read.
            if self.known.insert(name, Source { value, step: moving.then_some(at), depth }).is_some() {
                fail!(Invalid, "the value `{}` is made twice: the ONNX file is damaged", shown(name));
            }
        }
        self.worked(node, work, budget)?;
        for elements in copied.into_iter().chain([scratch]) {
            self.count(elements.saturating_mul(ELEMENT));
        }
        if moving {
            self.steps.push(step);
        }
        Ok(())
    }

    fn read(&self, node: &Node) -> Result<Read<'_>, BundleError> {
        let mut read =
            Read { inputs: Vec::with_capacity(node.inputs.len()), steps: Vec::new(), copied: Vec::new(), depth: 0 };
        for name in &node.inputs {
            let found = self.known.get(name.as_str());
            if found.is_none() && !name.is_empty() {
                fail!(Invalid, "`{}` is read before it is computed: the ONNX file is damaged", shown(name));
            }
            if let Some(source) = found {
                read.depth = read.depth.max(source.depth + 1);
                read.steps.extend(source.step);
                read.copied.extend(source.step.map(|_| source.value.elements()));
            }
            read.inputs.push(found.map(|source| &source.value));
        }
        Ok(read)
    }

    /// The bytes of a value, which the budget must hold.
    fn held(&mut self, node: &Node, name: &str, value: &Value, budget: &Budget) -> Result<u64, BundleError> {
        let bytes = value.elements().saturating_mul(ELEMENT);
        if bytes > budget.bytes {
            fail!(
                TooLarge,
                "`{}` ({}) is a value of {bytes} bytes, its shape is {:?}; expected at most {} bytes for a model of this \
                 size: export it with smaller values",
                shown(name),
                shown(&node.op),
                value.shape().unwrap_or_default(),
                budget.bytes
            );
        }
        if bytes > self.largest.0 {
            self.largest = (bytes, format!("`{}` ({})", shown(name), shown(&node.op)));
        }
        Ok(bytes)
    }

    /// Adds a node's work, which the budget must hold.
    fn worked(&mut self, node: &Node, work: u64, budget: &Budget) -> Result<(), BundleError> {
        self.work = self.work.saturating_add(work);
        if self.work > budget.work {
            fail!(
                TooLarge,
                "the graph needs more than {} operations for a batch, reached at `{}` ({}); expected at most {}: export \
                 a smaller model",
                budget.work,
                shown(node.outputs.first().map_or("", |name| name)),
                shown(&node.op),
                budget.work
            );
        }
        Ok(())
    }

    /// The shape of a value, as far as it does not depend on the pixels.
    pub(super) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.known.get(name)?.value.shape()
    }

    /// The largest value.
    pub(super) fn largest(&self) -> &str {
        &self.largest.1
    }

    #[cfg(test)]
    pub(super) fn spent(&self) -> (u64, u64) {
        self.effort.spent()
    }

    /// A buffer of some size is asked for anew only while all that are as large are in use. So there are never more of a
    /// size than values alive at once.
    pub(super) fn demand(&self) -> Demand {
        let alive = lifetimes::most_alive(&self.steps) + COPIES;
        let shared = self.buffers.iter().map(|(bytes, count)| bytes.saturating_mul(alive.min(*count) as u64));
        Demand { bytes: shared.fold(self.fixed, u64::saturating_add), work: self.work }
    }
}

/// Counts what is kept of a value, and drops the numbers from which no size is computed.
fn keep(call: &Call, value: &mut Value, wanted: bool) -> Result<(), BundleError> {
    if value.axes() > MOST_AXES {
        return Err(call.invalid(format_args!("it has {} axes, expected at most {MOST_AXES}", value.axes())));
    }
    if !wanted {
        *value = value.without_numbers();
    }
    call.spend(value.axes() as u64)?;
    call.keep(value)
}
