//! The section of `sae eval`: how much an SAE keeps of the embeddings, with how many features.

use super::html::{escape, paragraph, table};
use super::plot::bars;
use super::section::{Context, Section};
use crate::findings::sae::{SaeFigures, SaeFindings};

impl Section for SaeFindings {
    fn about(&self) -> String {
        self.tap.clone()
    }

    fn html(&self, _: &mut Context) -> String {
        section(self)
    }
}

/// SAEs beside each other, on slides held out.
fn section(report: &SaeFindings) -> String {
    let text = format!(
        "Trained on {} tiles' embeddings ({} values, tap {}) and measured on {} tiles of {} other slides. FVU is the share of \
         the variance that an SAE loses: 0 keeps all, 1 is no better than the mean. Beside it stands what as many principal \
         components lose as features fire on a tile. A dead feature fires on none of these tiles; a dense one on more than a \
         tenth, which seldom has one meaning.",
        report.train_tiles, report.width, report.tap, report.held_out_tiles, report.held_out_slides
    );
    let row = |row: &SaeFigures| {
        vec![
            escape(&row.sae),
            escape(&row.architecture),
            format!("{:.1} of {}", row.l0, row.features),
            format!("{:.3}", row.fvu),
            format!("{:.3}", row.pca_fvu.max(0.0)),
            row.dead.to_string(),
            row.dense.to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = report.saes.iter().map(row).collect();
    let headers = ["SAE", "kind", "features that fire", "FVU", "FVU of components", "dead", "dense"];
    let figures: String = report.saes.iter().map(frequencies).collect();
    paragraph(&text) + &table("What is kept, on slides held out", &headers, &rows) + &figures
}

/// How many features fire how often.
fn frequencies(row: &SaeFigures) -> String {
    let name = |low: f64| format!("{}\u{2013}{} %", percent(low), percent(low + 0.5));
    let counted: Vec<(String, usize)> = row.histogram.iter().map(|&(low, count)| (name(low), count)).collect();
    let first = counted.iter().position(|(_, count)| *count > 0).unwrap_or_default();
    let description = format!("Features of {} by the share of tiles on which they fire", row.sae);
    let figure = bars(&description, &counted[first..]);
    format!("<figure>{figure}<figcaption>{}.</figcaption></figure>\n", escape(&description))
}

/// 10 to the power of `log10` in percent, to two digits: 0.032, 0.1, 3.2.
fn percent(log10: f64) -> String {
    let percent = 10f64.powf(log10 + 2.0);
    let digits = usize::try_from(1 - percent.log10().floor() as i64).unwrap_or_default();
    let text = format!("{percent:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_readable() {
        let ends = [-5.0, -3.5, -3.0, -2.5, -2.0, -0.5, 0.0].map(percent);
        assert_eq!(ends, ["0.001", "0.032", "0.1", "0.32", "1", "32", "100"]);
    }
}
