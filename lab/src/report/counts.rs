//! The section of `analyze counts`.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::html::{anchor, escape, fixed, number, p_value, paragraph, share, shortest, table, with_range};
use super::plot::{Estimate, correlations};
use super::section::{Context, Section};
use crate::findings::counts::{ALPHA, Association, CellType, CountsFindings, LabelTrial, Replication};
use crate::findings::reading::ColumnKind;

impl Section for CountsFindings {
    fn about(&self) -> String {
        format!("{}, {}", self.source.dataset, self.source.bundle.as_ref().unwrap_or(&self.source.tap))
    }

    fn html(&self, context: &mut Context) -> String {
        context.named.extend(named(self));
        let mut html = lead(self);
        html.push_str(&cell_types(self));
        html.push_str(&features(self));
        html.push_str(&self.replication.as_ref().map_or_else(String::new, labels));
        html.push_str(&held_out(self));
        html.push_str(&limits(self));
        html
    }
}

/// The features that the tables show: of each cell type the first three, and every discovery.
fn named(found: &CountsFindings) -> BTreeSet<(Option<String>, usize)> {
    let mut named = BTreeSet::new();
    for cell in &found.cell_types {
        let of_cell = found.features.iter().filter(|one| one.cell_type == cell.name);
        let shown = of_cell.enumerate().filter(|(place, one)| *place < 3 || one.p <= ALPHA);
        let numbers = shown.filter_map(|(_, one)| one.column.parse().ok());
        named.extend(numbers.map(|index| (found.source.bundle.clone(), index)));
    }
    named
}

fn lead(report: &CountsFindings) -> String {
    let tested = report.representations.iter().find(|one| one.kind == ColumnKind::Feature);
    let mut found: Vec<&str> =
        report.features.iter().filter(|found| found.p <= ALPHA).map(|f| f.column.as_str()).collect();
    found.sort_unstable();
    found.dedup();
    let finding = match (tested, found.len()) {
        (None, _) => {
            "These embeddings have no SAE features; the table shows what else can be read from them.".to_owned()
        }
        (Some(tested), 0) => format!(
            "None of the {} features that fire in at least {} groups follows a cell count more closely than chance alone \
             may: what looks like a relation here may be one by accident.",
            tested.tested, report.least_groups
        ),
        (Some(tested), n) => format!(
            "Of {} features that fire in at least {} groups, {n} {} a cell count more closely than chance alone would \
             (5 % risk of one false finding or more in the whole table).",
            tested.tested,
            report.least_groups,
            if n == 1 { "follows" } else { "follow" }
        ),
    };
    let data = format!(
        "{}: {} tiles in {} groups by {}. Tiles of one group resemble each other, so the {} groups, not the tiles, are what \
         certainty rests on.",
        report.source.dataset, report.tiles, report.groups, report.source.grouped_by, report.groups
    );
    format!("<p class=\"lead\">{}</p>\n{}", escape(&finding), paragraph(&data))
}

fn cell_types(report: &CountsFindings) -> String {
    let row = |cell: &CellType| {
        vec![
            escape(&cell.name),
            fixed(cell.mean, 1),
            fixed(cell.sd, 1),
            format!("{} to {}", shortest(cell.min), shortest(cell.max)),
            format!("{} of {}", cell.groups_with, report.groups),
            share(Some(cell.between_groups)),
        ]
    };
    let rows: Vec<Vec<String>> = report.cell_types.iter().map(row).collect();
    let headers = [
        "cell type",
        "mean per tile",
        "standard deviation",
        "range",
        "groups that have any",
        "variance between groups",
    ];
    table("What was counted", &headers, &rows)
}

/// For every cell type the feature that follows it most closely, and all that are more than chance.
fn features(report: &CountsFindings) -> String {
    let mut rows = Vec::new();
    for cell in &report.cell_types {
        let mut of_cell: Vec<&Association> =
            report.features.iter().filter(|found| found.cell_type == cell.name).collect();
        of_cell.sort_by(|a, b| b.pearson.abs().total_cmp(&a.pearson.abs()));
        let shown = of_cell.iter().filter(|found| found.p <= ALPHA).count().clamp(3, 12);
        rows.extend(of_cell.into_iter().take(shown).map(|found| row(report, found)));
    }
    if rows.is_empty() {
        return String::new();
    }
    let headers =
        ["cell type", "feature", "r (95 % interval)", "rank correlation ρ", "fires on", "p, adjusted", "verdict"];
    table("The features that follow each cell type most closely, on all tiles", &headers, &rows)
        + "<p class=\"note\">r is Pearson's correlation of the feature with the count; \u{2212}1 or 1: exactly proportional, 0: \
           nothing. The feature shown is the best of many, so its r is higher than it will be elsewhere; the figure below \
           corrects that.</p>\n"
}

/// The label of each cell type, and whether it holds on groups that had no part in choosing it.
fn labels(found: &Replication) -> String {
    if let Some(why) = &found.impossible {
        return paragraph(&format!("No label can be tried: {why}."));
    }
    let row = |trial: &LabelTrial| {
        let verdict = match &trial.failed[..] {
            [] => "<span class=\"yes\">replicates</span>".to_owned(),
            failed => escape(&failed.join("; ")),
        };
        let feature = trial.feature.as_deref().map_or_else(|| "\u{2212}".to_owned(), escape);
        let p = trial.p.map_or_else(|| "\u{2212}".to_owned(), p_value);
        vec![escape(&trial.cell_type), feature, number(trial.chosen), number(trial.r), number(trial.least), p, verdict]
    };
    let rows: Vec<Vec<String>> = found.trials.iter().map(row).collect();
    let headers = [
        "cell type",
        "feature",
        "r where it was chosen",
        "r on other groups",
        "least r without one group",
        "p, adjusted",
        "label",
    ];
    let partial = match &found.partial_on[..] {
        [] => "The tiles' table has no colour to take out.".to_owned(),
        names => format!("What {} say of a tile is taken out of features and counts.", names.join(" and ")),
    };
    table("Labels: chosen on half of the groups, tested on the other half", &headers, &rows)
        + &format!(
            "<p class=\"note\">Chosen on {} groups, tested on {} others ({} tiles). {} `bundle label` writes those that \
             replicate.</p>\n",
            found.choosing_groups,
            found.testing_groups,
            found.testing_tiles,
            escape(&partial)
        )
}

fn row(report: &CountsFindings, found: &Association) -> Vec<String> {
    let verdict = if found.p <= ALPHA { "<span class=\"yes\">more than chance</span>" } else { "may be chance" };
    vec![
        escape(&found.cell_type),
        format!(
            "<a href=\"#{}\">{}</a>",
            anchor(report.source.bundle.as_deref(), &found.column),
            escape(&found.column)
        ),
        with_range(Some(found.pearson), found.interval),
        with_range(found.spearman, found.spearman_interval),
        format!(
            "{} of {} tiles, {} of {} groups",
            found.tiles_firing, report.tiles, found.groups_firing, report.groups
        ),
        p_value(found.p),
        verdict.to_owned(),
    ]
}

fn held_out(report: &CountsFindings) -> String {
    let mut estimates = Vec::new();
    let mut rows = Vec::new();
    for (t, cell) in report.cell_types.iter().enumerate() {
        let mut heading = Some(cell.name.clone());
        for columns in &report.representations {
            let row = &columns.rows[t];
            for (name, reported) in [(format!("one {}", columns.kind.one()), &row.one), (columns.kind.all(), &row.all)]
            {
                rows.push(vec![
                    escape(&cell.name),
                    escape(&name),
                    with_range(reported.r, reported.interval),
                    number(Some(reported.q2)),
                    reported.chosen.as_ref().map_or("\u{2013}".into(), |(column, times)| {
                        format!("{} ({times} of {} times)", escape(column), reported.folds)
                    }),
                ]);
                estimates.push(Estimate {
                    name,
                    value: reported.r,
                    interval: reported.interval,
                    heading: heading.take(),
                });
            }
        }
    }
    let description =
        "Correlation of predicted with true counts in groups that had no part in the prediction, by cell type";
    let figure = format!(
        "<figure>{}<figcaption>Correlation of predicted and true counts in groups that had no part in choosing the feature or \
         fitting the line, with 95 % intervals from resampling groups. An SAE feature is worth something for a cell type where \
         it does better than colour, and as well as the best single dimension; \u{201c}all\u{201d} (ridge regression) is about \
         what a linear reading can say at most.</figcaption></figure>\n",
        correlations(description, &estimates)
    );
    let headers = ["cell type", "read from", "r (95 % interval)", "error saved", "chosen"];
    let numbers = table("The same in numbers", &headers, &rows);
    format!("<h3>On groups that were held out</h3>\n{figure}<details><summary>Numbers</summary>{numbers}</details>\n")
}

fn limits(report: &CountsFindings) -> String {
    let Some(first) = report.representations.first() else { return String::new() };
    let mut text = format!(
        "With {} groups and {} columns, chance alone brings some correlation above {} in one table of twenty: only what lies \
         above that can be told from chance here. p-values come from {} exchanges of whole groups, intervals from {} resamples \
         of whole groups; features that fire in fewer than {} groups are left out.",
        first.tested_groups,
        first.tested,
        number(Some(first.critical)),
        report.permutations,
        report.resamples,
        report.least_groups
    );
    if first.tested_tiles < report.tiles {
        let _ = write!(
            text,
            " Groups differ in size; for the p-values they were cut to one size ({} tiles of {} groups).",
            first.tested_tiles, first.tested_groups
        );
    }
    if let Some(shuffled) = report.shuffled {
        let _ = write!(
            text,
            " As a control, whole groups exchanged their counts {} times: {} of these tables showed a finding, as about 5 % \
             should.",
            shuffled.tables, shuffled.with_discovery
        );
    }
    format!("<h3>What this sample can tell</h3>\n{}", paragraph(&text))
}
