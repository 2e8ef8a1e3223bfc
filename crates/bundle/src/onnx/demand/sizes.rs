//! Operators whose output's size is a number in the graph. That number must be known before anything is run.

use std::ops::Add;

use super::call::{Call, Made, Rule};
use super::elementwise::spread;
use super::value::{MOST_NUMBERS, Numbers, Value, product};
use crate::error::BundleError;
use crate::onnx::attribute::AttributeValue;
use crate::onnx::model::{Constant, ConstantData};

/// Most numbers of a `Range`: as many as a picture of the largest side has pixels.
const LONGEST_RANGE: usize = 1 << 20;

/// The sizes in input `i`, one for each axis.
fn stated(call: &Call, i: usize) -> Result<Vec<usize>, BundleError> {
    let all = call.known(i)?;
    call.few(all.len(), "sizes")?;
    let size = |n: &i64| usize::try_from(*n).map_err(|_| call.invalid(format_args!("a size of {n}")));
    all.iter().map(size).collect()
}

pub(super) fn shape(call: &Call) -> Rule {
    let input = call.input(0)?;
    let Some(dims) = input.shape() else {
        // As many numbers as it has axes, which are few.
        return Ok(Made::from(Value::at_most(64)));
    };
    let rank = dims.len() as i64;
    let place = |at: i64| (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank) as usize;
    let (start, end) = (place(call.int("start", 0)?), place(call.int("end", rank)?));
    let part = dims.get(start..end.max(start)).unwrap_or_default();
    Ok(Made::from(Value::ints(part.iter().map(|dim| *dim as i64).collect())))
}

pub(super) fn size(call: &Call) -> Rule {
    let input = call.input(0)?;
    let count = input.shape().map(|dims| Numbers::ints(vec![i64::try_from(product(dims)).unwrap_or(i64::MAX)]));
    Ok(Made::from(Value::with(&[], count)))
}

pub(super) fn constant_of_shape(call: &Call) -> Rule {
    let dims = stated(call, 0)?;
    let one = match call.attribute("value")? {
        Some(AttributeValue::Tensor(bytes)) => {
            let constant = Constant::read(bytes)?;
            constant.check()?;
            if constant.elements() != 1 || matches!(constant.data, ConstantData::External { .. }) {
                return Err(call.invalid(format_args!("its `value` is not one number")));
            }
            Value::of_constant(&constant, true).numbers().cloned()
        }
        _ => Some(Numbers::floats(vec![0.0])),
    };
    let count = product(&dims);
    let numbers = match one.filter(|_| call.follows() && count <= MOST_NUMBERS as u64) {
        Some(one) => {
            call.spend(count)?;
            one.picked(std::iter::repeat_n(0, count as usize))
        }
        None => None,
    };
    Ok(Made::from(Value::with(&dims, numbers)))
}

pub(super) fn expand(call: &Call) -> Rule {
    let (input, target) = (call.input(0)?, stated(call, 1)?);
    let Some(dims) = input.shape() else {
        return Ok(Made::from(Value::at_most(input.elements().saturating_mul(product(&target).max(1)))));
    };
    let shape = call.common(dims, &target)?;
    let numbers = spread(call, 0, &shape)?;
    Ok(Made::from(Value::with(&shape, numbers)))
}

pub(super) fn tile(call: &Call) -> Rule {
    let (input, repeats) = (call.input(0)?, stated(call, 1)?);
    let Some(dims) = input.shape() else {
        return Ok(Made::from(Value::at_most(input.elements().saturating_mul(product(&repeats).max(1)))));
    };
    if repeats.len() != dims.len() {
        return Err(call.invalid(format_args!("{} repeats of {dims:?}", repeats.len())));
    }
    let shape: Vec<usize> = dims.iter().zip(&repeats).map(|(dim, n)| dim.saturating_mul(*n)).collect();
    Ok(Made::from(Value::exact(&shape)))
}

pub(super) fn pad(call: &Call) -> Rule {
    let (dims, pads) = (call.fixed(0)?, call.known(1)?);
    let axes = match (call.optional(3), call.ints(3)?) {
        (None, _) => (0..dims.len()).collect(),
        (_, Some(axes)) => {
            call.few(axes.len(), "axes")?;
            axes.iter().map(|axis| call.axis(*axis, dims.len())).collect::<Result<Vec<_>, _>>()?
        }
        (_, None) => return Err(call.unbounded(format_args!("input 3"))),
    };
    if pads.len() != 2 * axes.len() {
        return Err(call.invalid(format_args!("{} pads for {} axes", pads.len(), axes.len())));
    }
    let mut shape = dims.to_vec();
    for (i, axis) in axes.iter().enumerate() {
        let size = i64::try_from(shape[*axis]).unwrap_or(i64::MAX);
        let wider = size.saturating_add(pads[i]).saturating_add(pads[axes.len() + i]);
        shape[*axis] = usize::try_from(wider).map_err(|_| call.invalid(format_args!("pads {pads:?} of {dims:?}")))?;
    }
    Ok(Made::from(Value::exact(&shape)))
}

pub(super) fn range(call: &Call) -> Rule {
    let number = |i: usize| call.numbers(i)?.ok_or_else(|| call.unbounded(format_args!("input {i}")));
    let counted = match (number(0)?, number(1)?, number(2)?) {
        (Numbers::Ints(start), Numbers::Ints(limit), Numbers::Ints(delta)) => {
            match (&start[..], &limit[..], &delta[..]) {
                // The engine counts past the last number: beyond 32 bits its counter would wrap and never end.
                (&[start], &[limit], &[delta]) => {
                    let (count, all) = counted(call, start, limit, delta, |at| i32::try_from(at + delta).is_ok())?;
                    count.map(|count| (count, Numbers::ints(all)))
                }
                _ => None,
            }
        }
        (Numbers::Floats(start), Numbers::Floats(limit), Numbers::Floats(delta)) => {
            match (&start[..], &limit[..], &delta[..]) {
                // A step that rounding swallows never ends either.
                (&[start], &[limit], &[delta]) => {
                    let (count, all) = counted(call, start, limit, delta, |at| at + delta != at)?;
                    count.map(|count| (count, Numbers::floats(all)))
                }
                _ => None,
            }
        }
        _ => None,
    };
    let (count, numbers) = counted.ok_or_else(|| {
        call.invalid(format_args!(
            "its limits are not three numbers between which there are at most {LONGEST_RANGE} steps, all of them and the \
             next within 32 bits"
        ))
    })?;
    Ok(Made::from(Value::with(&[count], Some(numbers))))
}

/// How many numbers a range has, if that has an end, and the first of them: as many as are followed. They are added up
/// one by one, as the engine does.
fn counted<T>(
    call: &Call,
    start: T,
    limit: T,
    delta: T,
    moves: impl Fn(T) -> bool,
) -> Result<(Option<usize>, Vec<T>), BundleError>
where
    T: Copy + Default + PartialOrd + Add<Output = T>,
{
    let mut all = Vec::new();
    let (mut at, mut count) = (start, 0);
    while (delta > T::default() && at < limit) || (delta < T::default() && at > limit) {
        if count == LONGEST_RANGE || !moves(at) {
            return Ok((None, Vec::new()));
        }
        if count < MOST_NUMBERS && call.follows() {
            all.push(at);
        }
        call.spend(1)?;
        count += 1;
        at = at + delta;
    }
    // A step of 0, or one that is no number, has no end.
    let ends = delta > T::default() || delta < T::default();
    Ok((ends.then_some(count), all))
}

pub(super) fn one_hot(call: &Call) -> Rule {
    let (dims, depth) = (call.fixed(0)?, stated(call, 1)?);
    call.input(2)?;
    let [depth] = depth[..] else { return Err(call.invalid(format_args!("its depth is not one number"))) };
    let axis = call.axis(call.int("axis", -1)?, dims.len() + 1)?;
    Ok(Made::from(Value::exact(&[&dims[..axis], &[depth], &dims[axis..]].concat())))
}

pub(super) fn top_k(call: &Call) -> Rule {
    let input = call.input(0)?;
    let outputs = |value: Value| Ok(Made::from(vec![value; call.node.outputs.len().max(2)]));
    let (Some(dims), Some(k)) = (input.shape(), call.ints(1)?) else {
        call.input(1)?;
        return outputs(Value::at_most(input.elements()));
    };
    let axis = call.axis(call.int("axis", -1)?, dims.len())?;
    let k = k.first().and_then(|k| usize::try_from(*k).ok()).filter(|k| *k <= dims[axis]);
    let Some(k) = k else { return Err(call.invalid(format_args!("its k is beyond axis {axis} of {dims:?}"))) };
    let mut shape = dims.to_vec();
    shape[axis] = k;
    outputs(Value::exact(&shape))
}

/// `NonZero`: an index of each axis for at most every element.
pub(super) fn non_zero(call: &Call) -> Rule {
    let input = call.input(0)?;
    let rank = input.shape().map_or(64, <[usize]>::len).max(1) as u64;
    Ok(Made::from(Value::at_most(input.elements().saturating_mul(rank))))
}

pub(super) fn resize(call: &Call) -> Rule {
    let dims = call.fixed(0)?;
    if call.text("keep_aspect_ratio_policy")?.is_some_and(|policy| policy != "stretch") {
        return Err(call.unbounded(format_args!("what a policy of aspect ratios makes of it")));
    }
    // An empty input stands for a missing one.
    let there = |i: usize| call.optional(i).filter(|value| value.elements() > 0);
    let shape: Vec<usize> = if there(3).is_some() {
        stated(call, 3)?
    } else if there(2).is_some() {
        let Some(Numbers::Floats(scales)) = call.numbers(2)? else {
            return Err(call.unbounded(format_args!("input 2")));
        };
        // As the engine computes it.
        dims.iter().zip(scales.iter()).map(|(dim, scale)| (*dim as f32 * scale).floor() as i32 as usize).collect()
    } else {
        return Err(call.invalid(format_args!("it has neither scales nor sizes")));
    };
    if shape.len() != dims.len() {
        return Err(call.invalid(format_args!("{} sizes for {dims:?}", shape.len())));
    }
    Ok(Made::from(Value::exact(&shape)))
}
