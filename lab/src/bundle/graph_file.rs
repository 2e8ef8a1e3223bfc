//! The composed graph as an ONNX file: written, and read back and checked.

use std::error::Error;
use std::io::Write;
use std::path::Path;

use coverslip_bundle::{Bundle, ComposedGraph, Precision, check_onnx};
use coverslip_files::{FileSet, put};

use super::verification::disagreement;
use crate::claim;

/// Longest ONNX file, bytes: protobuf has no longer one.
const MOST_ONNX: u64 = 2 << 30;

/// Writes the graph of the bundle in `folder` to `path`, and its weights beside it where they do not fit into the file.
///
/// # Errors
/// Where the graph has no such precision, or a file cannot be written.
pub(crate) fn export(
    (bundle, folder): (&Bundle, &Path),
    precision: Precision,
    path: &Path,
    out: &mut impl Write,
) -> Result<(), Box<dyn Error>> {
    let graph = bundle.compose_at(precision)?;
    let Some(weights) = &graph.external else {
        let _claim = claim::output(path, claim::ONNX, [folder])?;
        put(path, &graph.onnx)?;
        return Ok(writeln!(out, "{}: {} bytes", path.display(), graph.onnx.len())?);
    };
    let beside = path.with_file_name(ComposedGraph::EXTERNAL_FILE);
    claim::expect_unread(path, [folder])?;
    claim::expect_unread(&beside, [folder])?;
    // Every model of a folder has its weights under this one name, so the folder is claimed.
    let claim = claim::within(path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new(".")))?;
    claim::expect_kind(path, claim::ONNX)?;
    let name = path.file_name().and_then(|name| name.to_str()).ok_or("--out: expected a file's name in UTF-8")?;
    let mut files = FileSet::prepare(&claim, &[ComposedGraph::EXTERNAL_FILE, name])?;
    files.write(ComposedGraph::EXTERNAL_FILE, |file| file.write_all(weights))?;
    files.write(name, |file| file.write_all(&graph.onnx))?;
    files.commit()?;
    writeln!(out, "{}: {} bytes", path.display(), graph.onnx.len())?;
    Ok(writeln!(out, "{}: {} bytes, the weights; keep it beside the model", beside.display(), weights.len())?)
}

/// Checks the structure of the file at `path`, runs it, and compares with the bundle's reference outputs. A precision
/// other than float32 is not run: the embedded engine computes in float32 only.
///
/// # Errors
/// Says what is wrong with the file.
pub(crate) fn check(
    bundle: &Bundle,
    precision: Precision,
    path: &Path,
    out: &mut impl Write,
) -> Result<(), Box<dyn Error>> {
    let read = |path: &Path, most: u64| {
        coverslip_files::read_at_most(path, most).map_err(|error| format!("{}: {error}", path.display()))
    };
    let mut graph = bundle.compose()?;
    let checked = check_onnx(&read(path, MOST_ONNX)?, precision.data_type())?;
    writeln!(
        out,
        "{} nodes, {} constants: every value is made once, before it is read; every operator is known",
        checked.nodes, checked.constants
    )?;
    if precision != Precision::Float32 {
        return Ok(writeln!(out, "not run: the embedded engine computes in float32, not in {precision}")?);
    }
    graph.onnx = read(path, MOST_ONNX)?;
    if let Some(weights) = &mut graph.external {
        // As many as the bundle has.
        *weights = read(&path.with_file_name(ComposedGraph::EXTERNAL_FILE), weights.len() as u64)?;
    }
    if let Some(why) = disagreement(bundle, graph, out)? {
        return Err(format!(
            "the file does not compute the bundle's reference outputs: {why}. Export it again, and report it if that does \
             not help"
        )
        .into());
    }
    Ok(writeln!(out, "checked")?)
}
