//! `coverslip bundle inspect MODEL.onnx`: what the graph is, and which of its values could be tapped.

use std::fmt::Write;

use coverslip_bundle::PixelLayout;
use coverslip_import::{Candidate, Candidates};

use super::inspect::short;
use crate::page::Page;

/// More lines than this tell nobody anything.
const MOST: usize = 96;

/// The page.
pub(super) fn page(name: &str, found: &Candidates) -> String {
    let mut page = Page::default();
    page.row("graph", name);
    page.row("", &format!("opset {}, {} parameters", found.opset, short(found.parameters as f64)));
    let layout = match found.layout {
        PixelLayout::Nchw => "channels first",
        PixelLayout::Nhwc => "channels last",
    };
    let size = found.side.map_or("any size: state \"img_size\"".to_owned(), |side| format!("{side} × {side} px"));
    let batch = found.batch.map_or("dynamic batch".to_owned(), |batch| format!("batch fixed at {batch}"));
    page.row("input", &format!("{}: {layout}, {size}, {batch}", found.input));
    let operators: Vec<String> = found.operators.iter().map(|(name, count)| format!("{name} {count}")).collect();
    page.row("operators", &operators.join(", "));
    page.gap();
    if let Some(refused) = &found.refused {
        page.row("not run", refused);
        return page.finish();
    }
    list(&mut page, "tokens", &found.residual, "sums of the residual stream (two to a transformer's block)");
    list(&mut page, "behind them", &found.last_tokens, "tokens behind the last sum: final norm, heads");
    list(&mut page, "vectors", &found.vectors, "one vector per tile (pooling \"none\")");
    page.row(
        "next",
        "name the ones to tap in model.json: {\"taps\": [{\"name\": \"last\", \"tensor\": \"…\", \"pooling\": \
         \"class_token\"}], \"mpp\": …, \"mean\": […], \"std\": […]}",
    );
    page.finish()
}

fn list(page: &mut Page, label: &str, candidates: &[Candidate], what: &str) {
    if candidates.is_empty() {
        return;
    }
    page.row(label, what);
    for (i, candidate) in candidates.iter().take(MOST).enumerate() {
        let shape: Vec<String> = candidate.shape.iter().map(usize::to_string).collect();
        let mut line = String::new();
        // Writing to a String cannot fail.
        let _ = write!(line, "{i:3}  {:16}{}", format!("[{}]", shape.join(", ")), candidate.tensor);
        page.line("", &line);
    }
    if candidates.len() > MOST {
        page.row("", &format!("and {} more", candidates.len() - MOST));
    }
    page.gap();
}
