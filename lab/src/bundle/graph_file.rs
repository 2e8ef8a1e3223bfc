//! `coverslip bundle export-onnx --check`: the file that was written, read back and checked.

use std::io::Write;
use std::path::Path;

use coverslip_bundle::{Agreement, Bundle, Precision, Tolerance, check_onnx};

/// Checks the structure of the file at `path`, runs it, and compares with the bundle's reference outputs. The embedded
/// engine runs float32 alone.
///
/// # Errors
/// Says what is wrong with the file.
pub(super) fn run(bundle: &Bundle, precision: Precision, path: &Path, out: &mut impl Write) -> super::Outcome {
    let read = |path: &Path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let mut graph = bundle.compose()?;
    let checked = check_onnx(&read(path)?)?;
    writeln!(
        out,
        "{} nodes, {} constants: every value is made once, before it is read; every operator is known",
        checked.nodes, checked.constants
    )?;
    if precision != Precision::Float32 {
        return Ok(writeln!(out, "not run: the embedded engine computes in float32, not in {precision}")?);
    }
    graph.onnx = read(path)?;
    if graph.external.is_some() {
        graph.external = Some(read(&path.with_file_name(coverslip_bundle::ComposedGraph::EXTERNAL_FILE))?);
    }
    let reference = bundle.reference()?;
    let found = super::run_graph(graph, &reference.tiles)?;
    let agreement = Agreement::between(bundle.manifest(), &reference, &found)?;
    writeln!(out, "{} reference tiles: {agreement}", reference.count)?;
    if !agreement.is_within(Tolerance::FLOAT32) {
        return Err(format!(
            "the file does not compute the bundle's reference outputs (more than {:?} apart): export it again, and \
             report it when that does not help",
            Tolerance::FLOAT32
        )
        .into());
    }
    Ok(writeln!(out, "checked")?)
}
