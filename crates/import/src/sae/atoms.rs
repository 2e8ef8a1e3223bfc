//! The dictionaries of overcomplete, as `get_dictionary()` gives them in evaluation. They are normalised when
//! training goes over to evaluation: what was saved before that is normalised here, where it is certain how.

use super::parts::{self, Values, matrix, shape};
use crate::Checkpoint;
use coverslip_bundle::layout::Shape;
use coverslip_bundle::{BundleError, BundleErrorKind};

/// How far a row's length may be from 1 for it to be normalised.
const EXACT: f64 = 1e-4;
/// How far a step of training may have moved a row of length 1.
const MOVED: f64 = 0.05;

/// What a saved module says beside its tensors; a `state_dict` says nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    /// Whether it was saved in evaluation.
    pub(super) is_final: bool,
    /// The longest that a row of `Relax` may be.
    pub(super) delta: Option<f64>,
}

/// The tensors of the dictionary at `at`.
pub(super) fn tensors(file: &Checkpoint, at: &str) -> Result<Vec<Shape>, BundleError> {
    let name = |part: &str| format!("{at}.{part}");
    let mut tensors = if file.contains(&name("C")) {
        let ([n, d], [m, _]) = (matrix(file, &name("C"))?, matrix(file, &name("W"))?);
        vec![shape(&name("Relax"), &[m, d]), shape(&name("W"), &[m, n]), shape(&name("C"), &[n, d])]
    } else {
        vec![shape(&name("_weights"), &matrix(file, &name("_weights"))?)]
    };
    if file.contains(&name("multiplier")) {
        tensors.push(shape(&name("multiplier"), &[]));
    }
    Ok(tensors)
}

/// Features and width of a dictionary of these tensors.
pub(super) fn size(tensors: &[Shape]) -> [usize; 2] {
    let shape = &tensors[0].1;
    [shape[0], shape[1]]
}

/// D [m, d].
pub(super) fn read(file: &Checkpoint, state: State, notes: &mut Vec<String>) -> Result<Values, BundleError> {
    let multiplier = match file.contains("dictionary.multiplier") {
        true => f64::from(parts::number(file, "dictionary.multiplier")?).exp(),
        false => 1.0,
    };
    if file.contains("dictionary.C") {
        return archetypes(file, multiplier, state);
    }
    let weights = parts::read(file, "dictionary._weights")?;
    let norms = weights.row_norms();
    if state.is_final || within(&norms, EXACT) || !within(&norms, MOVED) && is_otherwise_normalised(&weights) {
        return Ok(if multiplier == 1.0 { weights } else { weights.folded(|_, value| value * multiplier) });
    }
    if !within(&norms, MOVED) {
        return Err(unfinished("the rows of `dictionary._weights` are not normalised"));
    }
    notes.push("The dictionary was saved in training: its rows were given length 1.".to_owned());
    let d = weights.shape[1];
    Ok(weights.folded(|at, value| value / (norms[at / d] + 1e-8) * multiplier))
}

fn within(norms: &[f64], distance: f64) -> bool {
    norms.iter().all(|norm| (norm - 1.0).abs() <= distance)
}

/// `max_l2`, `l1` and `max_l1`: once they are done, doing them again changes nothing.
fn is_otherwise_normalised(weights: &Values) -> bool {
    let sizes = |row: &[f32]| row.iter().map(|v| f64::from(v.abs())).sum::<f64>();
    let sums: Vec<f64> = weights.values.chunks_exact(weights.shape[1]).map(sizes).collect();
    let largest = |values: &[f64]| within(&[values.iter().copied().fold(0.0, f64::max)], EXACT);
    within(&sums, EXACT) || largest(&sums) || largest(&weights.row_norms())
}

/// (W·C + Relax)·exp(multiplier): each row a mean of points, and a little beside it.
fn archetypes(file: &Checkpoint, multiplier: f64, state: State) -> Result<Values, BundleError> {
    let part = |name: &str| parts::read(file, &format!("dictionary.{name}"));
    let (mut w, points, mut relax) = (part("W")?, part("C")?, part("Relax")?);
    let (n, d) = (points.shape[0], points.shape[1]);
    if !state.is_final {
        let positive = |row: &[f32]| row.iter().map(|v| f64::from(v.max(0.0))).sum::<f64>();
        let sums: Vec<f64> = w.values.chunks_exact(n).map(positive).collect();
        let done = w.values.iter().all(|v| *v >= 0.0) && sums.iter().all(|sum| *sum == 0.0 || within(&[*sum], EXACT));
        match state.delta {
            Some(delta) => {
                let norms = relax.row_norms();
                relax = relax.folded(|at, value| value * (delta / norms[at / d]).min(1.0));
            }
            None if done => {}
            None => return Err(unfinished("the rows of `dictionary.W` do not add up to 1")),
        }
        w = w.folded(|at, value| value.max(0.0) / (sums[at / n] + 1e-8));
    }
    let mut atoms: Vec<f64> = relax.values.iter().map(|v| f64::from(*v)).collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let rows = w.shape[0].div_ceil(threads);
    std::thread::scope(|scope| {
        for (atoms, weights) in atoms.chunks_mut(rows * d).zip(w.values.chunks(rows * n)) {
            let points = &points.values;
            scope.spawn(move || mix(atoms, weights, points, d));
        }
    });
    Ok(Values::computed(&relax.shape, atoms.into_iter().map(|value| value * multiplier)))
}

/// Adds to each row of `atoms` its weights' mix of `points`.
fn mix(atoms: &mut [f64], weights: &[f32], points: &[f32], d: usize) {
    let n = points.len() / d;
    for (atom, weights) in atoms.chunks_exact_mut(d).zip(weights.chunks_exact(n)) {
        for (weight, point) in weights.iter().zip(points.chunks_exact(d)).filter(|(weight, _)| **weight != 0.0) {
            for (value, coordinate) in atom.iter_mut().zip(point) {
                *value += f64::from(*weight) * f64::from(*coordinate);
            }
        }
    }
}

fn unfinished(what: &str) -> BundleError {
    BundleError::new(
        BundleErrorKind::Unsupported,
        format!(
            "{what}, and the file does not say how they would be in evaluation: not supported in this version; expected \
             a finished dictionary: call eval() on the SAE and save it again, or save the module itself"
        ),
    )
}
