//! The curve for people: speed on this machine against fidelity.

use std::error::Error;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use coverslip_vit::{Lane, Model};

use super::curve::{Curve, Point};
use super::fidelity::Fidelity;

/// Runs of each point; the quickest counts, since a neighbour only slows.
const RUNS: usize = 8;

/// Writes a line per point: the others in their order, then the chosen one.
///
/// # Errors
/// Where a model cannot be packed or the page cannot be written.
pub(super) fn write(
    out: &mut impl Write,
    curve: &Curve<'_>,
    chosen: (&Point, &Fidelity),
    others: &[(&Point, Fidelity)],
) -> Result<(), Box<dyn Error>> {
    let float32 = milliseconds(curve, Model::open(curve.bundle(), curve.floats())?)?;
    writeln!(out, "on the tiles that judge; a tile on one thread takes {float32:.1} ms in float32")?;
    let points = others.iter().map(|(point, found)| ("", *point, found));
    for (what, point, found) in points.chain([("  chosen", chosen.0, chosen.1)]) {
        let time = milliseconds(curve, curve.model(point)?)?;
        writeln!(
            out,
            "  {:3} of {} in int8, others in {:7} {time:6.1} ms {:5.2} x float32  overlap {:.3} low {:.3} by value {:.3} \
             flags {:.4}{what}",
            point.count,
            curve.layers(),
            super::rest_name(point.rest),
            float32 / time,
            found.overlap,
            found.low,
            found.value,
            found.flags
        )?;
    }
    let kept: Vec<String> = curve.kept(chosen.0).map(|(block, layer)| format!("{block}.{layer:?}")).collect();
    Ok(writeln!(out, "not in int8, by block: {}", kept.join(" ").to_lowercase())?)
}

/// The time of a tile.
fn milliseconds(curve: &Curve<'_>, model: Model) -> Result<f64, Box<dyn Error>> {
    let mut lane = Lane::new(&Arc::new(model))?;
    let mut least = f64::INFINITY;
    for _ in 0..RUNS {
        let begun = Instant::now();
        lane.run(curve.tile());
        least = least.min(begun.elapsed().as_secs_f64());
    }
    Ok(1e3 * least)
}
