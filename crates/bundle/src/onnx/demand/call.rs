//! A node with what is known of its inputs, and what a rule makes of it.

use std::fmt;

use super::value::Value;
use crate::error::{BundleError, BundleErrorKind};
use crate::onnx::model::{AttributeValue, Node};

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

/// A node and its inputs.
pub(super) struct Call<'a> {
    pub(super) node: &'a Node,
    pub(super) inputs: Vec<Option<&'a Value>>,
}

impl<'a> Call<'a> {
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

    /// The integers of input `i`, if it is there and they are known.
    pub(super) fn ints(&self, i: usize) -> Option<&'a [i64]> {
        match &self.optional(i)?.numbers {
            Some(super::value::Numbers::Ints(all)) => Some(all),
            _ => None,
        }
    }

    /// The integers of input `i`, without which the output has no bound.
    pub(super) fn known(&self, i: usize) -> Result<&'a [i64], BundleError> {
        self.ints(i).ok_or_else(|| self.unbounded(format_args!("input {i}")))
    }

    pub(super) fn int(&self, name: &str, default: i64) -> Result<i64, BundleError> {
        Ok(match self.node.attribute(name)? {
            Some(AttributeValue::Int(value)) => value,
            Some(_) => return Err(self.other_kind(name)),
            None => default,
        })
    }

    pub(super) fn list(&self, name: &str) -> Result<Option<Vec<i64>>, BundleError> {
        Ok(match self.node.attribute(name)? {
            Some(AttributeValue::Ints(all)) => Some(all),
            Some(_) => return Err(self.other_kind(name)),
            None => None,
        })
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>, BundleError> {
        Ok(match self.node.attribute(name)? {
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
            Some(_) => match self.ints(i) {
                Some(axes) => axes.to_vec(),
                None => return Ok(None),
            },
            None => match self.list("axes")? {
                Some(axes) => axes,
                None => return Ok(Some(None)),
            },
        };
        let axes = stated.iter().map(|axis| self.axis(*axis, rank)).collect::<Result<Vec<_>, _>>()?;
        Ok(Some(Some(axes)))
    }

    pub(super) fn place(&self) -> String {
        let name = self.node.outputs.first().filter(|name| !name.is_empty()).unwrap_or(&self.node.name);
        format!("`{}` ({})", name.escape_default(), self.node.op.escape_default())
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
