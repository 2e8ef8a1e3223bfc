//! A node with what is known of its inputs, and what a rule makes of it.

use std::fmt;

use super::effort::Effort;
use super::value::{MOST_AXES, MOST_NUMBERS, Numbers, Value};
use crate::budget::{MAX_INFERENCE_NUMBERS, MAX_INFERENCE_STEPS};
use crate::error::{BundleError, BundleErrorKind};
use crate::onnx::attribute::AttributeValue;
use crate::onnx::model::Node;

/// What a node makes.
#[derive(Debug)]
pub(super) struct Made {
    /// A value for each output.
    pub(super) outputs: Vec<Value>,
    /// Multiplications and additions, or elements where there are none.
    pub(super) work: u64,
    /// Elements that the engine needs beside inputs and outputs.
    pub(super) scratch: u64,
}

impl From<Value> for Made {
    fn from(value: Value) -> Made {
        Made::from(vec![value])
    }
}

impl From<Vec<Value>> for Made {
    fn from(outputs: Vec<Value>) -> Made {
        let work = outputs.iter().fold(0, |sum: u64, output| sum.saturating_add(output.elements()));
        Made { outputs, work, scratch: 0 }
    }
}

/// What a rule gives.
pub(super) type Rule = Result<Made, BundleError>;

/// A node and its inputs. What a rule reads of them is counted.
pub(super) struct Call<'a> {
    pub(super) node: &'a Node,
    inputs: Vec<Option<&'a Value>>,
    /// Whether the output's numbers matter.
    follows: bool,
    effort: &'a Effort,
    attribute_bytes: u64,
}

impl<'a> Call<'a> {
    pub(super) fn new(node: &'a Node, inputs: Vec<Option<&'a Value>>, follows: bool, effort: &'a Effort) -> Call<'a> {
        let attribute_bytes = node.attributes.iter().fold(0, |sum: u64, bytes| sum.saturating_add(bytes.len() as u64));
        Call { node, inputs, follows, effort, attribute_bytes }
    }

    /// Counts steps of the inference.
    pub(super) fn spend(&self, steps: u64) -> Result<(), BundleError> {
        if self.effort.spend(steps) {
            return Ok(());
        }
        Err(self.too_large(format_args!("inferring the graph's sizes takes more than {MAX_INFERENCE_STEPS} steps")))
    }

    /// Counts the numbers of a value that is kept.
    pub(super) fn keep(&self, value: &Value) -> Result<(), BundleError> {
        if self.effort.keep(value.numbers().map_or(0, Numbers::len)) {
            return Ok(());
        }
        Err(self.too_large(format_args!("the graph computes sizes from more than {MAX_INFERENCE_NUMBERS} numbers")))
    }

    /// All inputs that are there.
    pub(super) fn all(&self) -> Vec<&'a Value> {
        self.inputs.iter().flatten().copied().collect()
    }

    /// Number of inputs, with those that are omitted.
    pub(super) fn count(&self) -> usize {
        self.inputs.len()
    }

    /// Input `i`, which the operator needs.
    pub(super) fn input(&self, i: usize) -> Result<&'a Value, BundleError> {
        self.optional(i).ok_or_else(|| self.invalid(format_args!("input {i} is missing")))
    }

    pub(super) fn optional(&self, i: usize) -> Option<&'a Value> {
        self.inputs.get(i).copied().flatten()
    }

    /// The shape of input `i`; none where it depends on the pixels.
    pub(super) fn shape(&self, i: usize) -> Result<Option<&'a [usize]>, BundleError> {
        Ok(self.input(i)?.shape())
    }

    /// The shape of input `i`, without which the operator's output has no bound.
    pub(super) fn fixed(&self, i: usize) -> Result<&'a [usize], BundleError> {
        self.shape(i)?.ok_or_else(|| self.unbounded(format_args!("the shape of input {i}")))
    }

    /// The numbers of input `i`, if it is there and they are known.
    pub(super) fn numbers(&self, i: usize) -> Result<Option<&'a Numbers>, BundleError> {
        let numbers = self.optional(i).and_then(Value::numbers);
        self.spend(numbers.map_or(0, Numbers::len) as u64)?;
        Ok(numbers)
    }

    /// As [`Call::numbers`], where the output's numbers follow from them and matter.
    pub(super) fn followed(&self, i: usize) -> Result<Option<&'a Numbers>, BundleError> {
        if self.follows { self.numbers(i) } else { Ok(None) }
    }

    /// Elements of input `i` by their index, where the output's numbers are these and matter.
    pub(super) fn picked(
        &self,
        i: usize,
        at: impl ExactSizeIterator<Item = usize>,
    ) -> Result<Option<Numbers>, BundleError> {
        let Some(numbers) = self.followed(i)?.filter(|_| at.len() <= MOST_NUMBERS) else { return Ok(None) };
        self.spend(at.len() as u64)?;
        Ok(numbers.picked(at))
    }

    /// Whether the output's numbers matter.
    pub(super) fn follows(&self) -> bool {
        self.follows
    }

    /// The integers of input `i`, if it is there and they are known.
    pub(super) fn ints(&self, i: usize) -> Result<Option<&'a [i64]>, BundleError> {
        Ok(match self.numbers(i)? {
            Some(Numbers::Ints(all)) => Some(all),
            _ => None,
        })
    }

    /// The integers of input `i`, without which the output has no bound.
    pub(super) fn known(&self, i: usize) -> Result<&'a [i64], BundleError> {
        self.ints(i)?.ok_or_else(|| self.unbounded(format_args!("input {i}")))
    }

    /// Refuses more numbers than there can be axes.
    pub(super) fn few(&self, count: usize, what: &str) -> Result<(), BundleError> {
        if count <= MOST_AXES {
            return Ok(());
        }
        Err(self.invalid(format_args!("it has {count} {what}, expected at most {MOST_AXES}")))
    }

    pub(super) fn attribute(&self, name: &str) -> Result<Option<AttributeValue<'a>>, BundleError> {
        // To find one, all that come before it are read.
        self.spend(self.attribute_bytes)?;
        self.node.attribute(name)
    }

    pub(super) fn int(&self, name: &str, default: i64) -> Result<i64, BundleError> {
        Ok(match self.attribute(name)? {
            Some(AttributeValue::Int(value)) => value,
            Some(_) => return Err(self.other_kind(name)),
            None => default,
        })
    }

    pub(super) fn list(&self, name: &str) -> Result<Option<Vec<i64>>, BundleError> {
        Ok(match self.attribute(name)? {
            Some(AttributeValue::Ints(all)) => Some(all),
            Some(_) => return Err(self.other_kind(name)),
            None => None,
        })
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>, BundleError> {
        Ok(match self.attribute(name)? {
            Some(AttributeValue::Text(text)) => Some(text),
            Some(_) => return Err(self.other_kind(name)),
            None => None,
        })
    }

    fn other_kind(&self, name: &str) -> BundleError {
        self.invalid(format_args!("the attribute `{name}` is of another kind"))
    }

    /// An axis of a value with `rank` axes, counted from the end where it is negative.
    pub(super) fn axis(&self, axis: i64, rank: usize) -> Result<usize, BundleError> {
        let from_start = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
        usize::try_from(from_start)
            .ok()
            .filter(|axis| *axis < rank)
            .ok_or_else(|| self.invalid(format_args!("axis {axis} of a value with {rank} axes")))
    }

    /// Axes that are an input since some opset and an attribute before. The outer `None`: not known; the inner: absent.
    pub(super) fn axes(&self, i: usize, rank: usize) -> Result<Option<Option<Vec<usize>>>, BundleError> {
        let stated = match self.optional(i) {
            Some(_) => match self.ints(i)? {
                Some(axes) => axes.to_vec(),
                None => return Ok(None),
            },
            None => match self.list("axes")? {
                Some(axes) => axes,
                None => return Ok(Some(None)),
            },
        };
        self.few(stated.len(), "axes")?;
        let axes = stated.iter().map(|axis| self.axis(*axis, rank)).collect::<Result<Vec<_>, _>>()?;
        Ok(Some(Some(axes)))
    }

    pub(super) fn place(&self) -> String {
        let name = self.node.outputs.first().filter(|name| !name.is_empty()).unwrap_or(&self.node.name);
        format!("`{}` ({})", shown(name), shown(&self.node.op))
    }

    fn too_large(&self, what: fmt::Arguments<'_>) -> BundleError {
        BundleError::new(
            BundleErrorKind::TooLarge,
            format!(
                "{what}, reached at {}; expected fewer: simplify the graph (onnxsim, onnxruntime's basic optimisations), or \
                 export it with fixed sizes",
                self.place()
            ),
        )
    }

    /// The error for a node whose output could have any size.
    pub(super) fn unbounded(&self, what: fmt::Arguments<'_>) -> BundleError {
        BundleError::new(
            BundleErrorKind::Unsupported,
            format!(
                "{}: its size cannot be bounded before the graph runs, because {what} is not known: not supported in \
                 this version; simplify the graph (onnxsim, onnxruntime's basic optimisations), or export it with fixed \
                 sizes",
                self.place()
            ),
        )
    }

    /// The error for a node that contradicts its inputs.
    pub(super) fn invalid(&self, what: fmt::Arguments<'_>) -> BundleError {
        BundleError::new(BundleErrorKind::Invalid, format!("{}: {what}: the ONNX file is damaged", self.place()))
    }
}

/// A stranger's name, as much of it as a sentence takes.
pub(super) fn shown(name: &str) -> String {
    name.chars().take(128).collect::<String>().escape_default().to_string()
}
