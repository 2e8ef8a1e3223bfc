//! Operators that keep a shape, and those that broadcast their inputs. Of small values the numbers are followed, in the
//! engine's own types, because exporters compute sizes with them.

use super::call::{Call, Made, Rule};
use super::value::{MOST_NUMBERS, Numbers, Value, product};
use crate::error::BundleError;

/// One output of the shape of input 0; further outputs (a norm's mean) are smaller.
pub(super) fn same(call: &Call) -> Rule {
    let input = call.input(0)?;
    let numbers = match call.followed(0)? {
        Some(numbers) => folded(call, numbers)?,
        None => None,
    };
    let first = match input.shape() {
        Some(dims) => Value::with(dims, numbers),
        None => input.without_numbers(),
    };
    let mut outputs = vec![first];
    outputs.resize(call.node.outputs.len().max(1), Value::at_most(input.elements()));
    Ok(Made::from(outputs))
}

/// The numbers of an operator of one input, where they are followed.
fn folded(call: &Call, numbers: &Numbers) -> Result<Option<Numbers>, BundleError> {
    use Numbers::{Floats, Ints};
    let op = call.node.op.as_str();
    Ok(match (op, numbers) {
        ("Identity", _) => Some(numbers.clone()),
        ("Cast", _) => cast(numbers, call.int("to", 0)?),
        ("Neg", Ints(all)) => Some(Numbers::ints(all.iter().map(|n| -n).collect())),
        ("Abs", Ints(all)) => Some(Numbers::ints(all.iter().map(|n| n.abs()).collect())),
        ("Not", Ints(all)) => Some(Numbers::ints(all.iter().map(|n| i64::from(*n == 0)).collect())),
        (_, Floats(all)) => {
            let each: fn(f32) -> f32 = match op {
                "Neg" => |x| -x,
                "Abs" => f32::abs,
                "Floor" => f32::floor,
                "Ceil" => f32::ceil,
                "Round" => f32::round_ties_even,
                "Sqrt" => f32::sqrt,
                _ => return Ok(None),
            };
            Some(Numbers::floats(all.iter().map(|x| each(*x)).collect()))
        }
        _ => None,
    })
}

fn cast(numbers: &Numbers, to: i64) -> Option<Numbers> {
    match (numbers, to) {
        (Numbers::Ints(all), 6 | 7) => Some(Numbers::Ints(all.clone())),
        (Numbers::Ints(all), 1) => Some(Numbers::floats(all.iter().map(|n| *n as f32).collect())),
        (Numbers::Floats(all), 1) => Some(Numbers::Floats(all.clone())),
        (Numbers::Floats(all), 6 | 7) => Some(Numbers::ints(all.iter().map(|x| i64::from(*x as i32)).collect())),
        _ => None,
    }
}

/// One output of the inputs' common shape.
pub(super) fn broadcast(call: &Call) -> Rule {
    let inputs = call.all();
    if inputs.is_empty() {
        return Err(call.invalid(format_args!("it has no input")));
    }
    let mut common: Vec<usize> = Vec::new();
    for input in &inputs {
        let Some(dims) = input.shape() else {
            // Each element of one may meet each of another.
            let bound = inputs.iter().fold(1, |n: u64, input| n.saturating_mul(input.elements().max(1)));
            return Ok(Made::from(Value::at_most(bound)));
        };
        common = call.common(&common, dims)?;
    }
    let numbers = combined(call, &common)?;
    Ok(Made { work: product(&common).saturating_mul(inputs.len() as u64), ..Made::from(Value::with(&common, numbers)) })
}

impl Call<'_> {
    /// The shape to which two broadcast.
    pub(super) fn common(&self, a: &[usize], b: &[usize]) -> Result<Vec<usize>, BundleError> {
        let rank = a.len().max(b.len());
        let dim = |dims: &[usize], axis: usize| (axis + dims.len()).checked_sub(rank).map_or(1, |at| dims[at]);
        (0..rank)
            .map(|axis| match (dim(a, axis), dim(b, axis)) {
                (a, b) if a == b => Ok(a),
                (1, other) | (other, 1) => Ok(other),
                _ => Err(self.invalid(format_args!("{a:?} and {b:?} do not fit together"))),
            })
            .collect()
    }
}

/// For each element of `to`, the index of the element of `from` that is broadcast there.
fn places(from: &[usize], to: &[usize]) -> Vec<usize> {
    let count = product(to) as usize;
    let index = |element: usize| {
        let (mut rest, mut at, mut stride) = (element, 0, 1);
        for axis in (0..to.len()).rev() {
            let position = rest % to[axis];
            rest /= to[axis];
            if let Some(axis) = (axis + from.len()).checked_sub(to.len()) {
                at += if from[axis] == 1 { 0 } else { position * stride };
                stride *= from[axis];
            }
        }
        at
    };
    (0..count).map(index).collect()
}

/// The numbers of an operator of two inputs, or of `Where`, where they are followed.
fn combined(call: &Call, common: &[usize]) -> Result<Option<Numbers>, BundleError> {
    if !(2..=3).contains(&call.count()) {
        return Ok(None);
    }
    let mut all = Vec::with_capacity(call.count());
    for i in 0..call.count() {
        match spread(call, i, common)? {
            Some(numbers) => all.push(numbers),
            None => return Ok(None),
        }
    }
    Ok(match (&all[..], call.node.op.as_str()) {
        ([Numbers::Ints(which), yes, no], "Where") => chosen(which, yes, no),
        ([Numbers::Ints(a), Numbers::Ints(b)], op) => {
            let each = |(a, b): (&i64, &i64)| integer(op, *a, *b);
            a.iter().zip(b.iter()).map(each).collect::<Option<_>>().map(Numbers::ints)
        }
        ([Numbers::Floats(a), Numbers::Floats(b)], op) => real(op, a, b),
        _ => None,
    })
}

/// The numbers of input `i`, broadcast to a small shape.
pub(super) fn spread(call: &Call, i: usize, to: &[usize]) -> Result<Option<Numbers>, BundleError> {
    let count = product(to);
    let known = if count <= MOST_NUMBERS as u64 { call.followed(i)? } else { None };
    let Some(from) = known.and(call.optional(i).and_then(Value::shape)) else { return Ok(None) };
    call.spend(count.saturating_mul(to.len() as u64))?;
    call.picked(i, places(from, to).into_iter())
}

fn chosen(which: &[i64], yes: &Numbers, no: &Numbers) -> Option<Numbers> {
    fn merged<T: Copy>(which: &[i64], yes: &[T], no: &[T]) -> Vec<T> {
        which.iter().zip(yes.iter().zip(no)).map(|(which, (yes, no))| if *which != 0 { *yes } else { *no }).collect()
    }
    match (yes, no) {
        (Numbers::Ints(yes), Numbers::Ints(no)) => Some(Numbers::ints(merged(which, yes, no))),
        (Numbers::Floats(yes), Numbers::Floats(no)) => Some(Numbers::floats(merged(which, yes, no))),
        _ => None,
    }
}

/// `None` where the engine and ONNX could differ.
fn integer(op: &str, a: i64, b: i64) -> Option<i64> {
    match op {
        "Add" | "Sum" => a.checked_add(b),
        "Sub" => a.checked_sub(b),
        "Mul" => a.checked_mul(b),
        "Div" if a >= 0 && b > 0 => Some(a / b),
        "Mod" if a >= 0 && b > 0 => Some(a % b),
        "Pow" if a >= 0 => a.checked_pow(u32::try_from(b).ok()?),
        "Min" => Some(a.min(b)),
        "Max" => Some(a.max(b)),
        _ => comparison(op, a, b).or_else(|| {
            let (a, b) = (a != 0, b != 0);
            Some(i64::from(match op {
                "And" => a && b,
                "Or" => a || b,
                "Xor" => a != b,
                _ => return None,
            }))
        }),
    }
}

fn real(op: &str, a: &[f32], b: &[f32]) -> Option<Numbers> {
    let each: fn(f32, f32) -> f32 = match op {
        "Add" | "Sum" => |a, b| a + b,
        "Sub" => |a, b| a - b,
        "Mul" => |a, b| a * b,
        "Div" => |a, b| a / b,
        // NaN stays, and of equals the first, as in the engine.
        "Min" => |a: f32, b: f32| if a.is_nan() || a <= b { a } else { b },
        "Max" => |a: f32, b: f32| if a.is_nan() || a >= b { a } else { b },
        _ => {
            let each = |(a, b): (&f32, &f32)| comparison(op, *a, *b);
            return a.iter().zip(b).map(each).collect::<Option<_>>().map(Numbers::ints);
        }
    };
    Some(Numbers::floats(a.iter().zip(b).map(|(a, b)| each(*a, *b)).collect()))
}

fn comparison<T: PartialOrd>(op: &str, a: T, b: T) -> Option<i64> {
    Some(i64::from(match op {
        "Equal" => a == b,
        "Greater" => a > b,
        "GreaterOrEqual" => a >= b,
        "Less" => a < b,
        "LessOrEqual" => a <= b,
        _ => return None,
    }))
}
