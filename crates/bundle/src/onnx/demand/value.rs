//! What is known of a value before anything is run: its size and, where it is small, its numbers.

use std::rc::Rc;

use crate::onnx::model::{Constant, ConstantData};

/// Most numbers of a value that are followed. Sizes are computed from shapes, which have a few.
pub(super) const MOST_NUMBERS: usize = 4096;
/// Most axes of a value.
pub(super) const MOST_AXES: usize = 32;

/// Bytes of an element. The engine has no wider ones.
pub(super) const ELEMENT: u64 = 4;

/// The size of a value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Extent {
    /// The shape.
    Exact(Vec<usize>),
    /// At most this many elements: which of them are there depends on the pixels.
    AtMost(u64),
}

/// The numbers of a small value, in row-major order; copies share them. The engine's integers have 32 bits; so have
/// these.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Numbers {
    Ints(Rc<Vec<i64>>),
    Floats(Rc<Vec<f32>>),
}

impl Numbers {
    pub(super) fn ints(all: Vec<i64>) -> Numbers {
        Numbers::Ints(Rc::new(all))
    }

    pub(super) fn floats(all: Vec<f32>) -> Numbers {
        Numbers::Floats(Rc::new(all))
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Ints(all) => all.len(),
            Self::Floats(all) => all.len(),
        }
    }

    /// Picks elements by their index.
    pub(super) fn picked(&self, at: impl Iterator<Item = usize>) -> Option<Numbers> {
        Some(match self {
            Self::Ints(all) => Self::ints(at.map(|at| all.get(at).copied()).collect::<Option<_>>()?),
            Self::Floats(all) => Self::floats(at.map(|at| all.get(at).copied()).collect::<Option<_>>()?),
        })
    }
}

/// A value of the graph.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Value {
    extent: Extent,
    numbers: Option<Numbers>,
}

impl Value {
    pub(super) fn exact(dims: &[usize]) -> Value {
        Value { extent: Extent::Exact(dims.to_vec()), numbers: None }
    }

    pub(super) fn at_most(elements: u64) -> Value {
        Value { extent: Extent::AtMost(elements), numbers: None }
    }

    /// A value whose numbers are known. They are dropped where there are too many to follow, or where one is beyond the
    /// engine's integers: what the engine makes of it then is not known.
    pub(super) fn with(dims: &[usize], numbers: Option<Numbers>) -> Value {
        let value = Value::exact(dims);
        let numbers = numbers.filter(|numbers| {
            let narrow = || match numbers {
                Numbers::Ints(all) => all.iter().all(|n| i32::try_from(*n).is_ok()),
                Numbers::Floats(_) => true,
            };
            numbers.len() <= MOST_NUMBERS && numbers.len() as u64 == value.elements() && narrow()
        });
        Value { numbers, ..value }
    }

    /// A vector of integers.
    pub(super) fn ints(all: Vec<i64>) -> Value {
        Value::with(&[all.len()], Some(Numbers::ints(all)))
    }

    /// A constant of the graph, whose numbers are read where they are `wanted`.
    pub(super) fn of_constant(constant: &Constant, wanted: bool) -> Value {
        let numbers = match &constant.data {
            ConstantData::Here(data) if wanted && constant.elements() <= MOST_NUMBERS => {
                numbers(constant.data_type, data)
            }
            _ => None,
        };
        Value::with(&constant.dims, numbers)
    }

    /// The same size, with numbers that are not known.
    pub(super) fn without_numbers(&self) -> Value {
        Value { extent: self.extent.clone(), numbers: None }
    }

    /// The numbers, if they are known.
    pub(super) fn numbers(&self) -> Option<&Numbers> {
        self.numbers.as_ref()
    }

    /// The shape, if it does not depend on the pixels.
    pub(super) fn shape(&self) -> Option<&[usize]> {
        match &self.extent {
            Extent::Exact(dims) => Some(dims),
            Extent::AtMost(_) => None,
        }
    }

    /// Elements at most; the arithmetic saturates.
    pub(super) fn elements(&self) -> u64 {
        match &self.extent {
            Extent::Exact(dims) => product(dims),
            Extent::AtMost(elements) => *elements,
        }
    }

    /// Number of axes, as far as it is known.
    pub(super) fn axes(&self) -> usize {
        self.shape().map_or(0, <[usize]>::len)
    }
}

pub(super) fn product(dims: &[usize]) -> u64 {
    // An empty axis makes the product 0 however large the others are.
    if dims.contains(&0) { 0 } else { dims.iter().fold(1, |n: u64, dim| n.saturating_mul(*dim as u64)) }
}

/// A constant's numbers as the engine reads them: integers beyond 32 bits become the nearest.
fn numbers(data_type: u64, data: &[u8]) -> Option<Numbers> {
    let narrow = |n: i64| n.clamp(i64::from(i32::MIN), i64::from(i32::MAX));
    Some(match data_type {
        1 => Numbers::floats(data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()),
        6 => Numbers::ints(data.as_chunks::<4>().0.iter().map(|b| i64::from(i32::from_le_bytes(*b))).collect()),
        7 => Numbers::ints(data.as_chunks::<8>().0.iter().map(|b| narrow(i64::from_le_bytes(*b))).collect()),
        2 | 9 => Numbers::ints(data.iter().map(|b| i64::from(*b)).collect()),
        _ => return None,
    })
}
