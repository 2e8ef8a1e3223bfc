//! Operators that move elements: other shapes, parts, and parts put together.

use super::call::{Call, Made, Rule};
use super::value::{MOST_NUMBERS, Numbers, Value, product};
use crate::error::BundleError;

pub(super) fn reshape(call: &Call) -> Rule {
    let input = call.input(0)?;
    let elements = input.elements();
    let (Some(dims), Some(target)) = (input.shape(), call.ints(1)?) else {
        // However it is cut, there are no more elements than before.
        call.input(1)?;
        return Ok(Made::from(Value::at_most(elements)));
    };
    call.few(target.len(), "sizes")?;
    let keeps = call.int("allowzero", 0)? == 0;
    let mut shape = Vec::with_capacity(target.len());
    for (axis, size) in target.iter().enumerate() {
        shape.push(match *size {
            0 if keeps => *dims.get(axis).ok_or_else(|| call.invalid(format_args!("axis {axis} of {dims:?}")))?,
            -1 => 1,
            size => usize::try_from(size).map_err(|_| call.invalid(format_args!("a size of {size}")))?,
        });
    }
    if let Some(open) = target.iter().position(|size| *size == -1) {
        let others = product(&shape);
        shape[open] = elements.checked_div(others).map_or(0, |size| size as usize);
    }
    if product(&shape) != elements {
        return Err(call.invalid(format_args!("{dims:?} does not fill {target:?}")));
    }
    Ok(Made::from(Value::with(&shape, call.followed(0)?.cloned())))
}

pub(super) fn flatten(call: &Call) -> Rule {
    let input = call.input(0)?;
    let Some(dims) = input.shape() else { return Ok(Made::from(input.without_numbers())) };
    let axis = call.int("axis", 1)?;
    let axis = if axis == dims.len() as i64 { dims.len() } else { call.axis(axis, dims.len())? };
    let size = |dims: &[usize]| product(dims) as usize;
    Ok(Made::from(Value::with(&[size(&dims[..axis]), size(&dims[axis..])], call.followed(0)?.cloned())))
}

pub(super) fn squeeze(call: &Call) -> Rule {
    let input = call.input(0)?;
    let Some(dims) = input.shape() else { return Ok(Made::from(input.without_numbers())) };
    let Some(axes) = call.axes(1, dims.len())? else { return Ok(Made::from(Value::at_most(input.elements()))) };
    let gone = |axis: usize| axes.as_ref().map_or(dims[axis] == 1, |axes| axes.contains(&axis));
    if let Some(axis) = (0..dims.len()).find(|axis| gone(*axis) && dims[*axis] != 1) {
        return Err(call.invalid(format_args!("axis {axis} of {dims:?} is not 1")));
    }
    let kept: Vec<usize> = (0..dims.len()).filter(|axis| !gone(*axis)).map(|axis| dims[axis]).collect();
    Ok(Made::from(Value::with(&kept, call.followed(0)?.cloned())))
}

pub(super) fn unsqueeze(call: &Call) -> Rule {
    let input = call.input(0)?;
    let Some(dims) = input.shape() else { return Ok(Made::from(input.without_numbers())) };
    let count = call.ints(1)?.map(<[i64]>::len).or(call.list("axes")?.map(|axes| axes.len()));
    let Some(count) = count else { return Ok(Made::from(Value::at_most(input.elements()))) };
    call.few(dims.len().saturating_add(count), "axes")?;
    let rank = dims.len() + count;
    let axes = call.axes(1, rank)?.flatten().unwrap_or_default();
    let mut rest = dims.iter();
    let shape: Vec<usize> =
        (0..rank).map(|axis| if axes.contains(&axis) { 1 } else { rest.next().copied().unwrap_or(1) }).collect();
    Ok(Made::from(Value::with(&shape, call.followed(0)?.cloned())))
}

pub(super) fn transpose(call: &Call) -> Rule {
    let input = call.input(0)?;
    let Some(dims) = input.shape() else { return Ok(Made::from(input.without_numbers())) };
    let order = match call.list("perm")? {
        Some(perm) if perm.len() != dims.len() => {
            return Err(call.invalid(format_args!("an order of {} axes for {dims:?}", perm.len())));
        }
        Some(perm) => perm.iter().map(|axis| call.axis(*axis, dims.len())).collect::<Result<Vec<_>, _>>()?,
        None => (0..dims.len()).rev().collect(),
    };
    if (0..dims.len()).any(|axis| !order.contains(&axis)) {
        return Err(call.invalid(format_args!("{order:?} is no order of the axes of {dims:?}")));
    }
    let shape: Vec<usize> = order.iter().map(|axis| dims[*axis]).collect();
    let numbers = if dims.len() < 2 { call.followed(0)?.cloned() } else { None };
    Ok(Made::from(Value::with(&shape, numbers)))
}

pub(super) fn concat(call: &Call) -> Rule {
    let inputs = call.all();
    let Some(shapes) = inputs.iter().map(|value| value.shape()).collect::<Option<Vec<_>>>() else {
        let bound = inputs.iter().fold(0, |sum: u64, input| sum.saturating_add(input.elements()));
        return Ok(Made::from(Value::at_most(bound)));
    };
    let first = *shapes.first().ok_or_else(|| call.invalid(format_args!("it has no input")))?;
    let axis = call.axis(call.int("axis", 0)?, first.len())?;
    let mut shape = first.to_vec();
    for other in &shapes[1..] {
        let fits = other.len() == first.len() && (0..first.len()).all(|at| at == axis || other[at] == first[at]);
        if !fits {
            return Err(call.invalid(format_args!("{first:?} and {other:?} do not fit together")));
        }
        shape[axis] = shape[axis].saturating_add(other[axis]);
    }
    let numbers = if first.len() == 1 { joined(call, shape[0])? } else { None };
    Ok(Made::from(Value::with(&shape, numbers)))
}

/// The numbers of vectors one after the other, `length` in all, where these are followed and of one type.
fn joined(call: &Call, length: usize) -> Result<Option<Numbers>, BundleError> {
    if length > MOST_NUMBERS {
        return Ok(None);
    }
    let (mut ints, mut floats) = (Vec::new(), Vec::new());
    for i in 0..call.count() {
        match call.followed(i)? {
            Some(Numbers::Ints(all)) => ints.extend_from_slice(all),
            Some(Numbers::Floats(all)) => floats.extend_from_slice(all),
            None if call.optional(i).is_none() => {}
            None => return Ok(None),
        }
    }
    Ok(match (ints.is_empty(), floats.is_empty()) {
        (_, true) => Some(Numbers::ints(ints)),
        (true, false) => Some(Numbers::floats(floats)),
        (false, false) => None,
    })
}

pub(super) fn slice(call: &Call) -> Rule {
    let input = call.input(0)?;
    let (starts, ends) = (call.ints(1)?, call.ints(2)?);
    let steps = if call.optional(4).is_some() { call.ints(4)?.map(Some) } else { Some(None) };
    let (Some(dims), Some(starts), Some(ends), Some(steps)) = (input.shape(), starts, ends, steps) else {
        call.input(1)?;
        call.input(2)?;
        return Ok(Made::from(Value::at_most(input.elements())));
    };
    let axes = match (call.optional(3), call.ints(3)?) {
        // Before opset 10 they were an attribute, which the engine still reads.
        (None, _) => call.list("axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect()),
        (_, Some(axes)) => axes.to_vec(),
        (_, None) => return Ok(Made::from(Value::at_most(input.elements()))),
    };
    if ends.len() != starts.len() || axes.len() != starts.len() || steps.is_some_and(|s| s.len() != starts.len()) {
        return Err(call.invalid(format_args!("starts, ends, axes and steps differ in length")));
    }
    call.few(axes.len(), "axes")?;
    let mut shape = dims.to_vec();
    let mut part = Part { start: 0, step: 1, count: dims.first().copied().unwrap_or(0) };
    for (i, axis) in axes.iter().enumerate() {
        let axis = call.axis(*axis, dims.len())?;
        let step = steps.map_or(1, |steps| steps[i]);
        if step == 0 {
            return Err(call.invalid(format_args!("a step of 0")));
        }
        part = Part::of(dims[axis], starts[i], ends[i], step);
        shape[axis] = part.count;
    }
    let numbers = match dims {
        [_] if part.count <= MOST_NUMBERS => call.picked(0, part.places())?,
        _ => None,
    };
    Ok(Made::from(Value::with(&shape, numbers)))
}

/// What a slice takes of an axis.
struct Part {
    start: i64,
    step: i64,
    count: usize,
}

impl Part {
    /// Of an axis of `size`; the bounds count from the end where they are negative.
    fn of(size: usize, start: i64, end: i64, step: i64) -> Part {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        let whole = |at: i64| if at < 0 { at.saturating_add(size) } else { at };
        let (start, end) = if step > 0 {
            (whole(start).clamp(0, size), whole(end).clamp(0, size))
        } else {
            (whole(start).clamp(-1, size - 1), if end < -size { -1 } else { whole(end).clamp(-1, size - 1) })
        };
        let distance = if step > 0 { end - start } else { start - end };
        let count = if distance > 0 { (distance as u64).div_ceil(step.unsigned_abs()) as usize } else { 0 };
        Part { start, step, count }
    }

    fn places(&self) -> impl ExactSizeIterator<Item = usize> {
        let (start, step) = (self.start, self.step);
        (0..self.count).map(move |k| (start + k as i64 * step) as usize)
    }
}

pub(super) fn split(call: &Call) -> Rule {
    let input = call.input(0)?;
    let parts = call.node.outputs.len().max(1);
    let bounded = || Ok(Made::from(vec![Value::at_most(input.elements()); parts]));
    let Some(dims) = input.shape() else { return bounded() };
    let axis = call.axis(call.int("axis", 0)?, dims.len())?;
    let stated = match (call.optional(1), call.ints(1)?) {
        (Some(_), None) => return bounded(),
        (Some(_), Some(sizes)) => Some(sizes.to_vec()),
        // Before opset 13 they were an attribute, which the engine still reads.
        (None, _) => call.list("split")?,
    };
    let sizes: Vec<usize> = match stated {
        Some(sizes) => sizes.iter().map(|size| usize::try_from(*size).unwrap_or(usize::MAX)).collect(),
        None if call.int("num_outputs", parts as i64)? != parts as i64 => {
            return Err(call.invalid(format_args!("`num_outputs` is not {parts}")));
        }
        None => {
            let part = dims[axis].div_ceil(parts);
            (0..parts).map(|i| part.min(dims[axis].saturating_sub(part.saturating_mul(i)))).collect()
        }
    };
    let sum = sizes.iter().fold(0, |sum: usize, size| sum.saturating_add(*size));
    if sizes.len() != parts || sum != dims[axis] {
        return Err(call.invalid(format_args!(
            "{} sizes of {sum} in all are not the {parts} parts of axis {axis} of {dims:?}",
            sizes.len()
        )));
    }
    let mut start = 0;
    let mut outputs = Vec::with_capacity(parts);
    for size in sizes {
        let mut shape = dims.to_vec();
        shape[axis] = size;
        let numbers = if dims.len() == 1 { call.picked(0, start..start + size)? } else { None };
        outputs.push(Value::with(&shape, numbers));
        start = start.saturating_add(size);
    }
    Ok(Made::from(outputs))
}

pub(super) fn gather(call: &Call) -> Rule {
    let (data, indices) = (call.input(0)?, call.input(1)?);
    let (Some(dims), Some(at)) = (data.shape(), indices.shape()) else {
        return Ok(Made::from(Value::at_most(data.elements().max(1).saturating_mul(indices.elements()))));
    };
    let axis = call.axis(call.int("axis", 0)?, dims.len())?;
    let shape = [&dims[..axis], at, &dims[axis + 1..]].concat();
    let numbers = if dims.len() == 1 { found(call, dims[0])? } else { None };
    Ok(Made::from(Value::with(&shape, numbers)))
}

/// The numbers of a vector of `size` that indices name, where both are followed.
fn found(call: &Call, size: usize) -> Result<Option<Numbers>, BundleError> {
    let Some(Numbers::Ints(indices)) = call.followed(1)? else { return Ok(None) };
    let place = |index: &i64| call.axis(*index, size).ok();
    match indices.iter().map(place).collect::<Option<Vec<_>>>() {
        Some(places) => call.picked(0, places.into_iter()),
        None => Ok(None),
    }
}

/// `GatherElements`: an element for each index.
pub(super) fn gather_elements(call: &Call) -> Rule {
    call.input(0)?;
    let indices = call.input(1)?;
    Ok(Made::from(indices.without_numbers()))
}

pub(super) fn gather_nd(call: &Call) -> Rule {
    let (data, indices) = (call.input(0)?, call.input(1)?);
    let (Some(dims), Some(at)) = (data.shape(), indices.shape()) else {
        return Ok(Made::from(Value::at_most(data.elements().max(1).saturating_mul(indices.elements()))));
    };
    let batch = usize::try_from(call.int("batch_dims", 0)?).unwrap_or(usize::MAX);
    let Some((depth, outer)) = at.split_last() else { return Err(call.invalid(format_args!("an index of no axis"))) };
    let Some(inner) = batch.checked_add(*depth).and_then(|from| dims.get(from..)) else {
        return Err(call.invalid(format_args!("indices {at:?} into {dims:?}")));
    };
    Ok(Made::from(Value::exact(&[outer, inner].concat())))
}

pub(super) fn depth_to_space(call: &Call) -> Rule {
    let dims = call.fixed(0)?;
    let block = usize::try_from(call.int("blocksize", 0)?).unwrap_or(0);
    let square = block.saturating_mul(block);
    match dims {
        [n, channels, height, width] if square > 0 && channels.is_multiple_of(square) => {
            Ok(Made::from(Value::exact(&[
                *n,
                channels / square,
                height.saturating_mul(block),
                width.saturating_mul(block),
            ])))
        }
        _ => Err(call.invalid(format_args!("blocks of {block} from {dims:?}"))),
    }
}
