//! Operators that multiply and add up: matrix products, convolutions, pools and reductions.

use std::collections::BTreeMap;

use super::call::{Call, Made, Rule};
use super::value::{Numbers, Value, product};
use crate::error::BundleError;

/// Longest equation of an `Einsum`, bytes: a letter for each axis of some 30 values.
const LONGEST_EQUATION: usize = 1024;

fn times(a: u64, b: usize) -> u64 {
    a.saturating_mul(b as u64)
}

pub(super) fn mat_mul(call: &Call) -> Rule {
    let (left, right) = (call.input(0)?, call.input(1)?);
    let (Some(a), Some(b)) = (left.shape(), right.shape()) else {
        let most = left.elements().saturating_mul(right.elements());
        return Ok(Made { work: most, ..Made::from(Value::at_most(most)) });
    };
    let misfit = || call.invalid(format_args!("a product of {a:?} and {b:?}"));
    // A vector is a matrix of one row, or of one column.
    let (m, k, batch_a) = match a {
        [k] => (None, *k, &[][..]),
        [batch @ .., m, k] => (Some(*m), *k, batch),
        [] => return Err(misfit()),
    };
    let (k2, n, batch_b) = match b {
        [k] => (*k, None, &[][..]),
        [batch @ .., k, n] => (*k, Some(*n), batch),
        [] => return Err(misfit()),
    };
    if k != k2 {
        return Err(misfit());
    }
    let mut shape = call.common(batch_a, batch_b)?;
    shape.extend(m.into_iter().chain(n));
    Ok(Made { work: times(product(&shape), k), ..Made::from(Value::exact(&shape)) })
}

pub(super) fn gemm(call: &Call) -> Rule {
    let (a, b) = (call.fixed(0)?, call.fixed(1)?);
    let (&[a0, a1], &[b0, b1]) = (a, b) else { return Err(call.invalid(format_args!("a product of {a:?} and {b:?}"))) };
    let (m, k) = if call.int("transA", 0)? == 0 { (a0, a1) } else { (a1, a0) };
    let (k2, n) = if call.int("transB", 0)? == 0 { (b0, b1) } else { (b1, b0) };
    if k != k2 {
        return Err(call.invalid(format_args!("a product of {a:?} and {b:?}")));
    }
    Ok(Made { work: times(product(&[m, n]), k), ..Made::from(Value::exact(&[m, n])) })
}

/// The window of a convolution or pool along each axis behind batch and channels.
struct Window {
    kernel: Vec<usize>,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    /// At the start and at the end.
    pads: Vec<(i64, i64)>,
    /// Whether the padding keeps the size, apart from the stride.
    same: bool,
}

impl Window {
    fn of(call: &Call, kernel: &[usize]) -> Result<Window, BundleError> {
        let axes = kernel.len();
        let list = |name: &str, default: i64, length: usize| {
            let all = call.list(name)?.unwrap_or_else(|| vec![default; length]);
            if all.len() == length { Ok(all) } else { Err(call.invalid(format_args!("{} `{name}`", all.len()))) }
        };
        let positive = |name: &str| {
            let size = |n: &i64| usize::try_from(*n).ok().filter(|n| *n > 0);
            let all = list(name, 1, axes)?.iter().map(size).collect::<Option<Vec<_>>>();
            all.ok_or_else(|| call.invalid(format_args!("`{name}` below 1")))
        };
        let auto = call.text("auto_pad")?.unwrap_or("NOTSET");
        let same = auto.starts_with("SAME");
        // The engine reads `pads` with VALID too.
        let pads = if same { vec![0; 2 * axes] } else { list("pads", 0, 2 * axes)? };
        if pads.iter().any(|pad| *pad < 0) {
            return Err(call.invalid(format_args!("`pads` below 0")));
        }
        Ok(Window {
            kernel: kernel.to_vec(),
            strides: positive("strides")?,
            dilations: positive("dilations")?,
            pads: (0..axes).map(|axis| (pads[axis], pads[axes + axis])).collect(),
            same,
        })
    }

    /// The reach of the dilated kernel along an axis, less one.
    fn reach(&self, axis: usize) -> i64 {
        let reach = self.kernel[axis].saturating_sub(1).saturating_mul(self.dilations[axis]);
        i64::try_from(reach).unwrap_or(i64::MAX)
    }

    /// The size of an axis of `size`, for a convolution or pool.
    fn narrower(&self, axis: usize, size: usize, up: bool) -> Option<usize> {
        if self.same {
            return Some(size.div_ceil(self.strides[axis]));
        }
        let (start, end) = self.pads[axis];
        let room = i64::try_from(size)
            .ok()?
            .checked_add(start)?
            .checked_add(end)?
            .checked_sub(self.reach(axis))?
            .checked_sub(1)?;
        let room = usize::try_from(room).ok()?;
        let stride = self.strides[axis];
        Some(if up { room.div_ceil(stride) } else { room / stride } + 1)
    }

    /// The size of an axis of `size`, for a transposed convolution.
    fn wider(&self, axis: usize, size: usize, extra: i64) -> Option<usize> {
        let stride = i64::try_from(self.strides[axis]).ok()?;
        if self.same {
            return usize::try_from(i64::try_from(size).ok()?.checked_mul(stride)?).ok();
        }
        let (start, end) = self.pads[axis];
        let whole = i64::try_from(size).ok()?.checked_sub(1)?.checked_mul(stride)?.checked_add(extra)?;
        let whole = whole.checked_add(self.reach(axis))?.checked_add(1)?;
        usize::try_from(whole.checked_sub(start)?.checked_sub(end)?).ok()
    }
}

pub(super) fn conv(call: &Call) -> Rule {
    let (dims, weight) = (call.fixed(0)?, call.fixed(1)?);
    let misfit = || call.invalid(format_args!("a convolution of {dims:?} by {weight:?}"));
    let ([batch, _, sizes @ ..], [channels, inner @ ..]) = (dims, weight) else { return Err(misfit()) };
    if sizes.is_empty() || inner.len() != sizes.len() + 1 {
        return Err(misfit());
    }
    let window = Window::of(call, &inner[1..])?;
    let mut shape = vec![*batch, *channels];
    for (axis, size) in sizes.iter().enumerate() {
        shape.push(window.narrower(axis, *size, false).ok_or_else(misfit)?);
    }
    Ok(Made { work: product(&shape).saturating_mul(product(inner)), ..Made::from(Value::exact(&shape)) })
}

pub(super) fn conv_transpose(call: &Call) -> Rule {
    let (dims, weight) = (call.fixed(0)?, call.fixed(1)?);
    let misfit = || call.invalid(format_args!("a transposed convolution of {dims:?} by {weight:?}"));
    let ([batch, _, sizes @ ..], [_, channels, kernel @ ..]) = (dims, weight) else { return Err(misfit()) };
    if sizes.is_empty() || kernel.len() != sizes.len() {
        return Err(misfit());
    }
    if call.list("output_shape")?.is_some() {
        return Err(call.unbounded(format_args!("what an `output_shape` makes of it")));
    }
    let window = Window::of(call, kernel)?;
    let extra = call.list("output_padding")?.unwrap_or_else(|| vec![0; sizes.len()]);
    let groups = usize::try_from(call.int("group", 1)?).map_err(|_| misfit())?;
    let mut shape = vec![*batch, channels.saturating_mul(groups)];
    for (axis, size) in sizes.iter().enumerate() {
        let extra = extra.get(axis).copied().ok_or_else(misfit)?;
        shape.push(window.wider(axis, *size, extra).ok_or_else(misfit)?);
    }
    let work = product(dims).saturating_mul(product(&weight[1..]));
    // The engine makes all products first and adds them up afterwards.
    Ok(Made { work, scratch: work, ..Made::from(Value::exact(&shape)) })
}

pub(super) fn pool(call: &Call) -> Rule {
    let dims = call.fixed(0)?;
    let misfit = || call.invalid(format_args!("a pool of {dims:?}"));
    let kernel = call.list("kernel_shape")?.ok_or_else(misfit)?;
    call.few(kernel.len(), "sizes of a kernel")?;
    let kernel = kernel.iter().map(|n| usize::try_from(*n).ok()).collect::<Option<Vec<_>>>().ok_or_else(misfit)?;
    if dims.len() < 3 || kernel.len() != dims.len() - 2 {
        return Err(misfit());
    }
    let (window, up) = (Window::of(call, &kernel)?, call.int("ceil_mode", 0)? != 0);
    let mut shape = dims[..2].to_vec();
    for (axis, size) in dims[2..].iter().enumerate() {
        shape.push(window.narrower(axis, *size, up).ok_or_else(misfit)?);
    }
    let work = product(&shape).saturating_mul(product(&kernel));
    Ok(Made { work, ..Made::from(vec![Value::exact(&shape); call.node.outputs.len().max(1)]) })
}

pub(super) fn global_pool(call: &Call) -> Rule {
    let dims = call.fixed(0)?;
    let shape: Vec<usize> = dims.iter().enumerate().map(|(axis, dim)| if axis < 2 { *dim } else { 1 }).collect();
    Ok(Made { work: product(dims), ..Made::from(Value::exact(&shape)) })
}

pub(super) fn reduce(call: &Call) -> Rule {
    let input = call.input(0)?;
    let Some(dims) = input.shape() else { return Ok(Made::from(Value::at_most(input.elements()))) };
    let Some(axes) = call.axes(1, dims.len())? else { return Ok(Made::from(Value::at_most(input.elements()))) };
    let keep = call.int("keepdims", 1)? != 0;
    let whole = axes.as_ref().is_none_or(Vec::is_empty);
    let gone = |axis: usize| whole || axes.as_ref().is_some_and(|axes| axes.contains(&axis));
    let shape: Vec<usize> = (0..dims.len())
        .filter(|axis| keep || !gone(*axis))
        .map(|axis| if gone(axis) { 1 } else { dims[axis] })
        .collect();
    let numbers = match call.followed(0)? {
        Some(Numbers::Ints(all)) if dims.len() == 1 && gone(0) => total(&call.node.op, all),
        _ => None,
    };
    Ok(Made { work: product(dims), ..Made::from(Value::with(&shape, numbers)) })
}

fn total(op: &str, all: &[i64]) -> Option<Numbers> {
    let total = match op {
        "ReduceProd" => all.iter().try_fold(1i64, |n, value| n.checked_mul(*value))?,
        "ReduceSum" => all.iter().try_fold(0i64, |n, value| n.checked_add(*value))?,
        "ReduceMax" => all.iter().copied().max()?,
        "ReduceMin" => all.iter().copied().min()?,
        _ => return None,
    };
    Some(Numbers::ints(vec![total]))
}

pub(super) fn einsum(call: &Call) -> Rule {
    let equation = call.text("equation")?.unwrap_or_default();
    if equation.len() > LONGEST_EQUATION {
        let length = equation.len();
        return Err(call.invalid(format_args!("its equation has {length} bytes, expected at most {LONGEST_EQUATION}")));
    }
    let equation: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
    let misfit = || call.invalid(format_args!("the equation `{}`", equation.escape_default()));
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (equation.as_str(), None),
    };
    if equation.contains('.') {
        return Err(call.unbounded(format_args!("what an ellipsis in an equation stands for")));
    }
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != call.count() {
        return Err(misfit());
    }
    let mut sizes: BTreeMap<char, (usize, usize)> = BTreeMap::new();
    for (i, term) in terms.iter().enumerate() {
        let dims = call.fixed(i)?;
        if term.chars().count() != dims.len() {
            return Err(misfit());
        }
        for (label, dim) in term.chars().zip(dims) {
            let (size, count) = sizes.entry(label).or_insert((*dim, 0));
            if *size != *dim && *size != 1 && *dim != 1 {
                return Err(misfit());
            }
            (*size, *count) = ((*size).max(*dim), *count + 1);
        }
    }
    let once: String = sizes.iter().filter(|(_, (_, count))| *count == 1).map(|(label, _)| *label).collect();
    let shape = right.unwrap_or(&once).chars().map(|label| sizes.get(&label).map(|(size, _)| *size));
    let shape = shape.collect::<Option<Vec<_>>>().ok_or_else(misfit)?;
    let all: Vec<usize> = sizes.values().map(|(size, _)| *size).collect();
    let work = product(&all);
    // Two terms are one product; of more, the order is the engine's, and a step may have every label.
    let scratch = times(work, terms.len().saturating_sub(2));
    Ok(Made { work, scratch, ..Made::from(Value::exact(&shape)) })
}
