//! A plan for people: a page of 80 columns.

use std::error::Error;
use std::path::Path;

use coverslip_bundle::{COMPOSER, Digest, PlanFile, PlanKey};
use coverslip_tensorrt::{EngineInvalidity, EngineValidity, Library, Runtime, Tensor};

use crate::term::Page;

/// What the plan at `path` is, and whether `library` would take it here.
///
/// # Errors
/// Where the file is no whole plan.
pub(crate) fn page(path: &Path, library: Option<Library>) -> Result<String, Box<dyn Error>> {
    let (file, digest) = PlanFile::read(path)?;
    let mut page = Page::default();
    facts(&mut page, &file, digest);
    page.gap();
    match library {
        Some(library) => here(&mut page, &file, library),
        None => page.row("here", "not tried: name TensorRT's library with --library"),
    }
    Ok(page.finish())
}

fn facts(page: &mut Page, file: &PlanFile, digest: Digest) {
    let PlanKey { bundle, composer, precision, flavor, version, min_batch, opt_batch, max_batch, targets, gpu } =
        &file.key;
    page.row("plan", &format!("{:.1} MB, whole: its sha256 is that of its header", file.plan.len() as f64 / 1e6));
    page.row("sha256", &digest.to_string());
    page.row("", "of the file: what a host passes as plan_digest");
    page.row("bundle", &bundle.to_string());
    let revision = if *composer == COMPOSER { "this program's" } else { "not this program's: build it again" };
    page.row("graph", &format!("{precision}, composer's revision {composer}, {revision}"));
    page.row("built by", &format!("{flavor} {version}; no other version takes it"));
    page.row("for", &gpu.as_ref().map_or(targets.join(", "), |gpu| format!("{gpu} ({})", targets.join(", "))));
    page.row("batches", &format!("{min_batch} to {max_batch} tiles, quickest at {opt_batch}"));
}

/// What the library says: first of the header, then when the plan is brought onto the GPU.
fn here(page: &mut Page, file: &PlanFile, library: Library) {
    page.row("library", &format!("{} {}, {}", library.flavor(), library.version(), library.path().display()));
    let (found, wanted) = (format!("{} {}", library.flavor(), library.version()), &file.key);
    if found != format!("{} {}", wanted.flavor, wanted.version) {
        page.row("here", &format!("refused: it was built by {} {}", wanted.flavor, wanted.version));
        return;
    }
    let runtime = match Runtime::new(library) {
        Ok(runtime) => runtime,
        Err(error) => return page.row("here", &format!("not tried: {error}")),
    };
    match runtime.validity(&file.plan) {
        // Without a driver there is nothing to compare the header with, and no reason is given.
        Ok(Some((EngineValidity::INVALID, EngineInvalidity(0))) | None) => {}
        Ok(Some((EngineValidity::INVALID, why))) => page.row("header", &format!("the library objects: {why}")),
        Ok(Some((validity, _))) => page.row("header", &validity.to_string()),
        Err(error) => return page.row("header", &error.to_string()),
    }
    match runtime.deserialize(&file.plan) {
        Ok(engine) => {
            page.row("here", "it runs");
            page.row("memory", &format!("{:.1} MB per context, weights apart", engine.device_memory() as f64 / 1e6));
            tensors(page, "in", &engine.inputs());
            tensors(page, "out", &engine.outputs());
        }
        Err(error) => page.row("here", &format!("it does not run: {error}")),
    }
}

fn tensors(page: &mut Page, label: &str, tensors: &[Tensor]) {
    for (i, tensor) in tensors.iter().enumerate() {
        page.row(if i == 0 { label } else { "" }, &tensor.to_string());
    }
}
