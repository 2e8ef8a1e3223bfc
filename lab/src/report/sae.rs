//! The section of `sae eval`: how much an SAE keeps of the embeddings, with how many features.

use super::html::{escape, fixed, number, paragraph, share, table, with_range};
use super::plot::bars;
use super::section::{Context, Section};
use crate::findings::sae::{AgreementFigures, ProbeFindings, ProbeRow, ProbedFigures, SaeFigures, SaeFindings};

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
        "Trained on {} {} ({} values, tap {}) and measured on {} of {} other {}s. FVU is the share of \
         the variance that an SAE loses: 0 keeps all, 1 is no better than the mean. Beside it stands what as many principal \
         components lose as features fire on a tile. A dead feature fires on none of these tiles; a dense one on more than a \
         tenth, which seldom has one meaning.",
        report.train_tiles,
        escape(&report.rows),
        report.width,
        report.tap,
        report.held_out_tiles,
        report.held_out_slides,
        report.grouped_by
    );
    let row = |row: &SaeFigures| {
        vec![
            escape(&row.sae),
            escape(&row.architecture),
            format!("{} of {}", fixed(row.l0, 1), row.features),
            fixed(row.fvu, 3),
            fixed(not_below_0(row.pca_fvu), 3),
            row.dead.to_string(),
            row.dense.to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = report.saes.iter().map(row).collect();
    let headers = ["SAE", "kind", "features that fire", "FVU", "FVU of components", "dead", "dense"];
    let figures: String = report.saes.iter().map(frequencies).collect();
    let mut body = paragraph(&text) + &table("What is kept, on slides held out", &headers, &rows);
    body += &(baselines(&report.saes) + &agreement(report));
    if let Some(probes) = &report.probes {
        body += &probed(probes);
    }
    body + &figures
}

/// What rounding left below 0 is 0; NaN stays.
fn not_below_0(value: f64) -> f64 {
    if value < 0.0 { 0.0 } else { value }
}

/// What each SAE has to beat.
fn baselines(saes: &[SaeFigures]) -> String {
    let row = |sae: &SaeFigures, name: &str, l0: f64, fvu: f64| {
        vec![escape(&sae.sae), escape(name), fixed(l0, 1), fixed(fvu, 3)]
    };
    let rows: Vec<Vec<String>> = saes
        .iter()
        .filter(|sae| !sae.baselines.is_empty())
        .flat_map(|sae| {
            let own = row(sae, "the SAE itself", sae.l0, sae.fvu);
            let others = sae.baselines.iter().map(|one| row(sae, &one.name, one.l0, one.fvu));
            let components = row(sae, "principal components", sae.l0, not_below_0(sae.pca_fvu));
            [own].into_iter().chain(others).chain([components]).collect::<Vec<_>>()
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let text = "What the SAE has to beat keeps as many numbers of each tile: random features with the decoder that fits them \
        best, a random decoder to which an encoder was trained, the dimensions farthest from their mean, and principal \
        components.";
    paragraph(text) + &table("What others keep", &["SAE", "", "active", "FVU"], &rows)
}

/// Whether features come again.
fn agreement(report: &SaeFindings) -> String {
    let row = |pair: &AgreementFigures| {
        vec![
            escape(&pair.saes[0]),
            escape(&pair.saes[1]),
            number(Some(pair.median)),
            number(Some(pair.chance)),
            share(Some(pair.found_again)),
        ]
    };
    if report.agreement.is_empty() {
        return String::new();
    }
    let text = "For each feature that fires, the cosine of its decoder with the nearest of the other SAE; beside it what random \
        directions give. SAEs that differ only in their seed share part of their features: \u{201c}feature 412\u{201d} \
        belongs to one SAE, and a label found on it has to be found again on another before it is more than that.";
    let headers = ["SAE", "other SAE", "cosine, median", "random directions", "features at 0.7 or more"];
    paragraph(text) + &table("Do features come again?", &headers, &report.agreement.iter().map(row).collect::<Vec<_>>())
}

/// Labels read from few columns.
fn probed(found: &ProbeFindings) -> String {
    let cell = |probe: &ProbedFigures| {
        with_range(probe.auc, probe.interval[0].zip(probe.interval[1]).map(|(low, high)| [low, high]))
    };
    let row = |row: &ProbeRow| {
        let why = row.undefined.as_deref().map(escape);
        [escape(&row.name)].into_iter().chain(why).chain(row.probes.iter().map(cell)).collect::<Vec<String>>()
    };
    let rows: Vec<Vec<String>> = found.rows.iter().map(row).collect();
    let text = format!(
        "How well {} ({} kinds) is read from the k columns that differ most between its kinds, on {} tiles of {} {}s that the \
         SAEs have not seen; columns are chosen and the probe is fitted on some {}s and read on others. Area under the ROC \
         curve with its 95 % interval over {}s: 0.5 is chance. A dictionary is of use where few of its features say more than \
         as many of the others'.",
        found.label,
        found.kinds.len(),
        found.tiles,
        found.groups,
        found.grouped_by,
        found.grouped_by,
        found.grouped_by
    );
    paragraph(&text) + &table("Read from few features", &["from", "k 1", "k 2", "k 5", "k 16"], &rows)
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

/// 10 to the power of `log10` in percent, to two digits: 0.032, 0.1, 3.2. For the edges that
/// [`Findings::check`](crate::findings::file::Findings::check) leaves.
fn percent(log10: f64) -> String {
    let percent = 10f64.powf(log10 + 2.0);
    let digits = (1.0 - percent.log10().floor()).clamp(0.0, 20.0) as usize;
    let text = format!("{percent:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_readable() {
        assert_eq!(percent(-20.0), "0.000000000000000001");
        let ends = [-5.0, -3.5, -3.0, -2.5, -2.0, -0.5, 0.0].map(percent);
        assert_eq!(ends, ["0.001", "0.032", "0.1", "0.32", "1", "32", "100"]);
    }
}
