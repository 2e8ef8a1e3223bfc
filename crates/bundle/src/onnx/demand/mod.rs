//! What a graph demands: memory and work, found before anything is run.
//!
//! Every value's size is inferred with the concrete sizes of a batch, and sizes that the graph computes from `Shape` and
//! constants are computed here too. What has no bound is refused by name. The engine brings an inference of its own, but
//! that one leaves sizes open that it cannot express; here each is a number or a refusal, whatever the graph says.

mod call;
mod elementwise;
mod lifetimes;
mod movement;
mod products;
mod rules;
mod sizes;
#[cfg(test)]
mod tests;
mod value;

use std::collections::{BTreeMap, HashMap, HashSet};

use super::model::Model;
use crate::budget::{Budget, MAX_GRAPH_DEPTH};
use crate::error::{BundleError, fail};

use call::Call;
use lifetimes::Step;
use value::{Value, product};

/// Bytes of an element. The engine has no wider ones.
const ELEMENT: u64 = 4;
/// Engines keep buffers of this many bytes and more for the next value, and free smaller ones.
const KEPT: u64 = 128;
/// Values that a single node may need beside its inputs and outputs: copies of inputs in another order.
const COPIES: usize = 3;

/// What a graph needs to run one batch.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Demand {
    /// Bytes of working memory at most, beside the weights.
    pub bytes: u64,
    /// Multiplications and additions, and elements of other operators.
    pub work: u64,
}

/// Infers what `model` demands on a batch and holds it against the budget of its weights. `image` is the input with the
/// tiles and its shape for this batch; all other inputs are weights.
///
/// # Errors
/// `TooLarge` beyond the budget, `Unsupported` for sizes that have no bound, `Invalid` for shapes that contradict each
/// other; each names the node.
pub fn demand(model: &Model, image: (&str, &[usize]), tiles: usize) -> Result<Demand, BundleError> {
    inferred(model, image, tiles).map(|(demand, _)| demand)
}

/// As [`demand`], with the shapes of the graph's outputs as far as they do not depend on the pixels.
///
/// # Errors
/// As [`demand`].
pub fn inferred(
    model: &Model,
    image: (&str, &[usize]),
    tiles: usize,
) -> Result<(Demand, HashMap<String, Vec<usize>>), BundleError> {
    let mut walk = Walk::default();
    let mut weights = 0u64;
    for constant in &model.constants {
        walk.known.insert(&constant.name, Source { value: Value::of_constant(constant), step: None, depth: 0 });
        weights = weights.saturating_add(constant.elements() as u64);
    }
    for input in &model.inputs {
        if input.name == image.0 {
            walk.known.insert(&input.name, Source { value: Value::exact(image.1), step: Some(0), depth: 0 });
            continue;
        }
        let Some(dims) = input.dims.iter().copied().collect::<Option<Vec<usize>>>() else {
            fail!(Invalid, "weight `{}` has a dimension without a size", input.name.escape_default());
        };
        weights = weights.saturating_add(product(&dims));
        // A constant of the same name is its value.
        walk.known.entry(&input.name).or_insert(Source { value: Value::exact(&dims), step: None, depth: 0 });
    }
    // The image is the first step.
    walk.steps.push(Step { values: 1, ..Step::default() });
    walk.count(product(image.1).saturating_mul(ELEMENT));
    let budget = Budget::of(weights.saturating_mul(ELEMENT), tiles);
    let outputs: HashSet<&str> = model.outputs.iter().map(|output| output.name.as_str()).collect();
    for node in &model.nodes {
        walk.node(node, &outputs, &budget)?;
    }
    let demand = walk.demand();
    if demand.bytes > budget.bytes {
        fail!(
            TooLarge,
            "the graph may need {} bytes at once for {tiles} tiles, the most of them for {}; expected at most {} beside \
             {weights} weights: export the model with smaller values",
            demand.bytes,
            walk.largest.1,
            budget.bytes
        );
    }
    let shape = |name: &&str| Some(((*name).to_owned(), walk.known.get(*name)?.value.shape()?.to_vec()));
    let shapes = outputs.iter().filter_map(shape).collect();
    Ok((demand, shapes))
}

/// A value, the step that makes it (none if it does not depend on the image), and the nodes before it in a chain.
struct Source {
    value: Value,
    step: Option<usize>,
    depth: usize,
}

#[derive(Default)]
struct Walk<'a> {
    known: HashMap<&'a str, Source>,
    steps: Vec<Step>,
    /// Number of buffers of each size that could be asked for.
    buffers: BTreeMap<u64, usize>,
    /// Bytes that are not shared: small values, and values that are computed when the graph is loaded.
    fixed: u64,
    work: u64,
    /// The largest value: its bytes, and what it is.
    largest: (u64, String),
}

impl<'a> Walk<'a> {
    fn count(&mut self, bytes: u64) {
        if bytes >= KEPT {
            *self.buffers.entry(bytes).or_default() += 1;
        } else {
            self.fixed = self.fixed.saturating_add(bytes);
        }
    }

    fn node(
        &mut self,
        node: &'a super::model::Node,
        outputs: &HashSet<&str>,
        budget: &Budget,
    ) -> Result<(), BundleError> {
        let mut inputs = Vec::with_capacity(node.inputs.len());
        let mut step = Step::default();
        let (mut copied, mut depth) = (Vec::new(), 0);
        for name in &node.inputs {
            let found = self.known.get(name.as_str());
            if found.is_none() && !name.is_empty() {
                fail!(Invalid, "`{}` is read before it is computed: the ONNX file is damaged", name.escape_default());
            }
            depth = depth.max(found.map_or(0, |source| source.depth + 1));
            step.reads.extend(found.and_then(|source| source.step));
            copied.extend(found.filter(|source| source.step.is_some()).map(|source| source.value.elements()));
            inputs.push(found.map(|source| &source.value));
        }
        let call = Call { node, inputs };
        if depth > MAX_GRAPH_DEPTH {
            fail!(
                TooLarge,
                "more than {MAX_GRAPH_DEPTH} nodes read one another in a chain, up to {}: expected the graph of a model",
                call.place()
            );
        }
        let made = rules::apply(&call)?;
        if let Some(wide) = made.outputs.iter().find(|value| !value.has_few_axes()) {
            return Err(call.invalid(format_args!("it has {:?} axes", wide.shape().map(<[usize]>::len))));
        }
        let (moving, work) = (!step.reads.is_empty(), made.work);
        let at = self.steps.len();
        copied.push(made.scratch);
        for (name, value) in node.outputs.iter().zip(made.outputs).filter(|(name, _)| !name.is_empty()) {
            let bytes = value.elements().saturating_mul(ELEMENT);
            if bytes > budget.bytes {
                fail!(
                    TooLarge,
                    "`{}` ({}) is a value of {} bytes, its shape is {:?}; expected at most {} bytes for a model of this \
                     size: export it with smaller values",
                    name.escape_default(),
                    node.op.escape_default(),
                    bytes,
                    value.shape().unwrap_or_default(),
                    budget.bytes
                );
            }
            if bytes > self.largest.0 {
                self.largest = (bytes, format!("`{}` ({})", name.escape_default(), node.op.escape_default()));
            }
            step.kept |= outputs.contains(name.as_str());
            if moving {
                step.values += usize::from(bytes >= KEPT);
                self.count(bytes);
            } else {
                self.fixed = self.fixed.saturating_add(bytes);
            }
            // Engines differ in which of two values of one name is read.
            if self.known.insert(name, Source { value, step: moving.then_some(at), depth }).is_some() {
                fail!(Invalid, "the value `{}` is made twice: the ONNX file is damaged", name.escape_default());
            }
        }
        self.work = self.work.saturating_add(work);
        if self.work > budget.work {
            fail!(
                TooLarge,
                "the graph needs more than {} operations for a batch, reached at `{}` ({}); expected at most {}: export \
                 a smaller model",
                budget.work,
                node.outputs.first().map_or("", |name| name).escape_default(),
                node.op.escape_default(),
                budget.work
            );
        }
        for elements in copied {
            self.count(elements.saturating_mul(ELEMENT));
        }
        if moving {
            self.steps.push(step);
        }
        Ok(())
    }

    /// A buffer of some size is asked for anew only while all that are as large are in use. So there are never more of a
    /// size than values alive at once.
    fn demand(&self) -> Demand {
        let alive = lifetimes::most_alive(&self.steps) + COPIES;
        let shared = self.buffers.iter().map(|(bytes, count)| bytes.saturating_mul(alive.min(*count) as u64));
        Demand { bytes: shared.fold(self.fixed, u64::saturating_add), work: self.work }
    }
}
