//! What a graph demands: memory and work, found before anything is run.
//!
//! Every value's size is inferred with the concrete sizes of a batch, and sizes that the graph computes from `Shape` and
//! constants are computed here too. What has no bound is refused by name. The engine brings an inference of its own, but
//! that one leaves sizes open that it cannot express; here each is a number or a refusal, whatever the graph says.

mod call;
mod effort;
mod elementwise;
mod lifetimes;
mod movement;
mod products;
mod rules;
mod sizes;
#[cfg(test)]
mod tests;
mod value;
mod walk;
mod wanted;

use std::collections::{HashMap, HashSet};

use super::model::Model;
use crate::budget::Budget;
use crate::error::{BundleError, fail};

use value::{ELEMENT, product};
pub use walk::Demand;
use walk::Walk;

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
    let (walk, demand) = walked(model, image, tiles)?;
    let shape = |name: &String| Some((name.clone(), walk.shape(name)?.to_vec()));
    let shapes = model.outputs.iter().filter_map(|output| shape(&output.name)).collect();
    Ok((demand, shapes))
}

/// Walks over all nodes and holds what they need against the budget.
fn walked<'a>(model: &'a Model, image: (&'a str, &[usize]), tiles: usize) -> Result<(Walk<'a>, Demand), BundleError> {
    let mut walk = Walk::of(model);
    let mut weights = 0u64;
    for constant in &model.constants {
        walk.constant(constant)?;
        weights = weights.saturating_add(constant.elements() as u64);
    }
    for input in model.inputs.iter().filter(|input| input.name != image.0) {
        let Some(dims) = input.dims.iter().copied().collect::<Option<Vec<usize>>>() else {
            fail!(Invalid, "weight `{}` has a dimension without a size", input.name.escape_default());
        };
        weights = weights.saturating_add(product(&dims));
        walk.weight(&input.name, &dims);
    }
    walk.image(image);
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
            walk.largest(),
            budget.bytes
        );
    }
    Ok((walk, demand))
}
