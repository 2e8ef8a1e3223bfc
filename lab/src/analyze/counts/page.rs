//! The findings as text of 80 columns, and as a table for spreadsheets.

use std::fmt::Write;

use crate::analyze::text::{DASH, range, signed};
use crate::findings::counts::{Association, CountsFindings, Replication, RepresentationFindings};
use crate::findings::reading::{ColumnKind, HeldOutScore};
use crate::term::{paragraph, shortened};

/// A number in at most `columns` columns: with its decimals, without them, or as a power of ten. A dash where there is none.
fn fitting(value: f64, decimals: usize, columns: usize) -> String {
    if !value.is_finite() {
        return DASH.into();
    }
    let found = [decimals, 0].map(|decimals| format!("{value:.decimals$}"));
    found.into_iter().find(|text| text.len() <= columns).unwrap_or_else(|| format!("{value:.0e}"))
}

/// The page. Writing to a `String` cannot fail.
pub(super) fn page(found: &CountsFindings) -> String {
    let mut page = String::new();
    let [smallest, _, largest] = found.group_sizes;
    let sizes = if smallest == largest { format!("{smallest} each") } else { format!("{smallest} to {largest} each") };
    page.push_str(&paragraph(&format!(
        "{}: {} tiles in {} groups by {} ({sizes})",
        found.source.dataset, found.tiles, found.groups, found.source.grouped_by
    )));
    let _ = writeln!(
        page,
        "\n{:18}{:>8}{:>8}{:>12}{:>12}{:>20}",
        "cell type", "mean", "sd", "range", "in groups", "between groups"
    );
    for cell in &found.cell_types {
        let name = shortened(&cell.name, 17);
        let share = match cell.between_groups {
            share if share.is_finite() => format!("{:.0} %", 100.0 * share),
            _ => DASH.into(),
        };
        let decimals = usize::from(cell.min.fract() != 0.0 || cell.max.fract() != 0.0);
        let [min, max] = [cell.min, cell.max].map(|value| fitting(value, decimals, 5));
        let [mean, sd] = [cell.mean, cell.sd].map(|value| fitting(value, 1, 7));
        let range = format!("{min}–{max}");
        let _ = writeln!(page, "{name:18}{mean:>8}{sd:>8}{range:>12}{:>12}{share:>20}", cell.groups_with);
    }
    for representation in &found.representations {
        block(&mut page, representation);
    }
    closing(&mut page, found);
    if let Some(replication) = &found.replication {
        labels(&mut page, replication);
    }
    page
}

/// What `bundle label` would write, and what it would not.
fn labels(page: &mut String, found: &Replication) {
    page.push('\n');
    if let Some(why) = &found.impossible {
        return page.push_str(&paragraph(&format!("labels: none can be tried: {why}")));
    }
    let partial = match &found.partial_on[..] {
        [] => "the tiles' table has no colour to take out".to_owned(),
        names => format!("{} taken out", names.join(" and ")),
    };
    page.push_str(&paragraph(&format!(
        "labels: chosen on {} groups, tested on {} others ({} tiles), {partial}",
        found.choosing_groups, found.testing_groups, found.testing_tiles
    )));
    let _ = writeln!(page, "{:13}|{:>9}{:>8}{:>13}{:>8}  label", "cell type", "feature", "r", "less a group", "p");
    for trial in &found.trials {
        let p = trial.p.map_or(String::new(), |p| format!("{p:.3}"));
        let verdict = if trial.failed.is_empty() { "replicates" } else { "fails" };
        let _ = writeln!(
            page,
            "{:13}|{:>9}{:>8}{:>13}{p:>8}  {verdict}",
            shortened(&trial.cell_type, 12),
            trial.feature.as_deref().unwrap_or("-"),
            signed(trial.r),
            signed(trial.least)
        );
    }
}

/// One kind of columns: for each cell type the best, and its score on groups that had no part in choosing it.
fn block(page: &mut String, found: &RepresentationFindings) {
    let what = found.kind.one();
    let of = if found.kind == ColumnKind::Feature {
        format!("{} of {} firing", found.tested, found.columns)
    } else {
        found.tested.to_string()
    };
    let _ = writeln!(page, "\n{what}: {of} tested");
    let _ = writeln!(page, "{:13}| best of all tiles (too high)      |held out: one |held out: all", "cell type");
    let _ = writeln!(
        page,
        "{:13}|{:>7} {:>6} {:>14} {:>6}|{:>7}{:>7}|{:>7}{:>7}",
        "", "no.", "r", "95 %", "p", "r", "Q2", "r", "Q2"
    );
    for row in &found.rows {
        let best = row.best.as_ref().map_or(String::new(), |best| {
            let p = format!("{:.3}", best.p);
            format!("{:>7} {:>6} {:>14} {p:>6}", best.column, signed(Some(best.pearson)), range(best.interval))
        });
        let held = |score: &HeldOutScore| format!("{:>7}{:>7}", signed(score.r), fitting(score.q2, 2, 6));
        let name = shortened(&row.cell_type, 12);
        let _ = writeln!(page, "{name:13}|{best:36}|{}|{}", held(&row.one), held(&row.all));
    }
}

fn closing(page: &mut String, found: &CountsFindings) {
    let Some(first) = found.representations.first() else { return };
    page.push('\n');
    page.push_str(&paragraph(&format!(
        "p is adjusted for all columns and cell types of its table by permuting whole groups ({} permutations, {} tiles of {} \
         groups). Chance alone exceeds |r| = {:.2} somewhere in the first table once in twenty times.",
        found.permutations, first.tested_tiles, first.tested_groups, first.critical
    )));
    let _ = writeln!(
        page,
        "held out: chosen and fitted on other groups than it is reported on. Q2 is the\n\
         share of squared error saved against the others' mean; negative: worse than it."
    );
    let pairs = if first.discoveries == 1 { "pair" } else { "pairs" };
    let _ = writeln!(
        page,
        "More than chance (family-wise error 5 %): {} {pairs} of {} and cell type.",
        first.discoveries,
        first.kind.one()
    );
    if let Some(shuffled) = found.shuffled {
        let _ = writeln!(
            page,
            "With counts of whole groups exchanged, {} of {} tables have a discovery.",
            shuffled.with_discovery, shuffled.tables
        );
    }
}

/// A text as a cell. Spreadsheets run a text that begins like a formula, so it gets an apostrophe; no command reads the table
/// back.
fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let text = format!("{}{text}", if formula { "'" } else { "" });
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

/// All features with all cell types.
pub(super) fn csv(rows: impl Iterator<Item = Association>) -> String {
    let mut csv = String::from("feature,cell_type,pearson,low,high,spearman,p_adjusted,tiles_firing,groups_firing\n");
    for row in rows {
        let number = |value: Option<f64>| match value {
            Some(value) if value.is_finite() => format!("{value:.5}"),
            _ => String::new(),
        };
        let (low, high) = (number(row.interval.map(|i| i[0])), number(row.interval.map(|i| i[1])));
        let _ = writeln!(
            csv,
            "{},{},{},{low},{high},{},{},{},{}",
            cell(&row.column),
            cell(&row.cell_type),
            number(Some(row.pearson)),
            number(row.spearman),
            number(Some(row.p)),
            row.tiles_firing,
            row.groups_firing
        );
    }
    csv
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn association(cell_type: &str, pearson: f64) -> Association {
        serde_json::from_value(
            json!({ "column": "12", "cell_type": cell_type, "pearson": pearson, "interval": [-0.8, 0.5],
            "spearman": 0.5, "spearman_interval": null, "p": 0.25, "tiles_firing": 3, "groups_firing": 2 }),
        )
        .unwrap()
    }

    #[test]
    fn names_are_cells_and_no_formulas() {
        let names = ["plasma", "=cmd|calc", "+1", "-1", "@sum", "a, \"b\"", "=1,2"];
        let table = csv(names.into_iter().map(|name| association(name, -0.5)));
        let cells = ["plasma", "'=cmd|calc", "'+1", "'-1", "'@sum", "\"a, \"\"b\"\"\"", "\"'=1,2\""];
        for (line, cell) in table.lines().skip(1).zip(cells) {
            assert_eq!(line, format!("12,{cell},-0.50000,-0.80000,0.50000,0.50000,0.25000,3,2"));
        }
        let absent = csv([association("plasma", f64::NAN)].into_iter());
        assert!(absent.contains("12,plasma,,-0.80000,"), "{absent}");
    }

    #[test]
    fn long_names_and_large_counts_stay_within_80_columns() {
        let best = json!({ "column": "1048575", "cell_type": "c", "pearson": -0.71, "interval": [-0.83, -0.52],
            "spearman": 0.64, "spearman_interval": null, "p": 0.004, "tiles_firing": 31, "groups_firing": 9 });
        let score = json!({ "r": -0.5, "interval": null, "q2": 0.3, "chosen": null, "folds": 14 });
        let mut found: CountsFindings = serde_json::from_value(json!({
            "source": { "dataset": "a data set with a name of many words ".repeat(3), "embeddings": "e", "labels": "l",
                "tap": "last", "bundle": null, "sae_digest": null, "grouped_by": "image" },
            "tiles": 56, "groups": 14, "group_sizes": [4, 4, 4], "least_groups": 3, "permutations": 999, "resamples": 200,
            "cell_types": [{ "name": "lymphocytes and plasma cells", "mean": 3.5, "sd": 2.0, "min": 0.0, "max": 9.0,
                "groups_with": 11, "between_groups": 0.6 }],
            "representations": [{ "kind": "feature", "columns": 200, "tested": 90, "tested_tiles": 56, "tested_groups": 14,
                "critical": 0.66, "discoveries": 1, "rows": [{ "cell_type": "lymphocytes and plasma cells", "best": best,
                "one": score, "all": score }] }],
            "features": [], "shuffled": { "tables": 200, "with_discovery": 8 },
        }))
        .unwrap();
        for (min, max) in [(0.123456, 123.456789), (1.5, 99_999.9), (-123_456.7, 1_234_567.8)] {
            (found.cell_types[0].min, found.cell_types[0].max, found.cell_types[0].mean) = (min, max, max);
            found.representations[0].rows[0].one.q2 = -max;
            let page = page(&found);
            assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
            assert!(page.contains("lymphocytes and …"), "{page}");
        }
        // What does not exist is a dash.
        (found.cell_types[0].between_groups, found.cell_types[0].mean) = (f64::NAN, f64::NAN);
        found.representations[0].rows[0].one.q2 = f64::NAN;
        let page = page(&found);
        assert!(!page.contains("NaN") && page.matches('–').count() >= 3, "{page}");
    }
}
