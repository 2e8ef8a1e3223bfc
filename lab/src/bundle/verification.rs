//! Whether a graph computes on this machine what the bundle's graph computed where it was built.

use std::error::Error;
use std::io::Write;

use coverslip_bundle::{Agreement, Bundle, ComposedGraph, Tolerance};

/// Runs the reference tiles through the bundle's graph; opening has checked everything else.
///
/// # Errors
/// Where the outputs are not the stored ones.
pub(crate) fn verify(bundle: &Bundle, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    writeln!(out, "{}", bundle.digest())?;
    writeln!(out, "{} files have the stated sizes and sha256", bundle.manifest().files.len())?;
    writeln!(out, "all tensors are there, in shape and finite")?;
    if let Some(why) = disagreement(bundle, bundle.compose()?, out)? {
        return Err(format!(
            "this machine's outputs differ from the stored ones: {why}, and the same on every machine. Build the bundle \
             again, or report this processor"
        )
        .into());
    }
    Ok(writeln!(out, "verified")?)
}

/// Runs the bundle's reference tiles through `graph`, prints how far the outputs are from the stored ones, and says what
/// was expected where they are too far.
///
/// # Errors
/// Where the graph does not run.
pub(super) fn disagreement(
    bundle: &Bundle,
    graph: ComposedGraph,
    out: &mut impl Write,
) -> Result<Option<String>, Box<dyn Error>> {
    let reference = bundle.reference()?;
    let found = coverslip_runner::outputs(graph, &reference.tiles)?;
    let agreement = Agreement::between(bundle.manifest(), &reference, &found)?;
    writeln!(out, "{} reference tiles: {agreement}", reference.count)?;
    let Tolerance { embeddings, features, .. } = Tolerance::FLOAT32;
    let expected = format!("expected embeddings within 1-cos {embeddings:.0e} and features within {features:.0e}");
    Ok((!agreement.is_within(Tolerance::FLOAT32)).then_some(expected))
}
