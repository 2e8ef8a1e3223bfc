//! The report as text of 80 columns, and as a table for spreadsheets.

use std::fmt::Write;

use super::report::{Association, CountsReport, Reported, RepresentationReport};
use crate::analyze::representation::Kind;
use crate::term::{paragraph, shortened};

/// `+0.71`, or a dash.
pub(in crate::analyze) fn signed(value: Option<f64>) -> String {
    value.map_or("–".into(), |value| format!("{value:+.2}"))
}

/// `[+0.52, +0.83]`, or a dash.
pub(in crate::analyze) fn range(interval: Option<[f64; 2]>) -> String {
    interval.map_or("–".into(), |[low, high]| format!("[{low:+.2}, {high:+.2}]"))
}

/// A number in at most so many columns: with its decimals, without, or as a power of ten.
fn fitting(value: f64, decimals: usize, columns: usize) -> String {
    let found = [decimals, 0].map(|decimals| format!("{value:.decimals$}"));
    found.into_iter().find(|text| text.len() <= columns).unwrap_or_else(|| format!("{value:.0e}"))
}

/// The page. Writing to a `String` cannot fail.
pub(super) fn page(report: &CountsReport) -> String {
    let mut page = String::new();
    let [smallest, _, largest] = report.group_sizes;
    let sizes = if smallest == largest { format!("{smallest} each") } else { format!("{smallest} to {largest} each") };
    page.push_str(&paragraph(&format!(
        "{}: {} tiles in {} groups by {} ({sizes})",
        report.source.dataset, report.tiles, report.groups, report.source.grouped_by
    )));
    let _ = writeln!(
        page,
        "\n{:18}{:>8}{:>8}{:>12}{:>12}{:>20}",
        "cell type", "mean", "sd", "range", "in groups", "between groups"
    );
    for cell in &report.cell_types {
        let (name, share) = (shortened(&cell.name, 17), format!("{:.0} %", 100.0 * cell.between_groups));
        let decimals = usize::from(cell.min.fract() != 0.0 || cell.max.fract() != 0.0);
        let [min, max] = [cell.min, cell.max].map(|value| fitting(value, decimals, 5));
        let [mean, sd] = [cell.mean, cell.sd].map(|value| fitting(value, 1, 7));
        let range = format!("{min}–{max}");
        let _ = writeln!(page, "{name:18}{mean:>8}{sd:>8}{range:>12}{:>12}{share:>20}", cell.groups_with);
    }
    for representation in &report.representations {
        block(&mut page, representation);
    }
    closing(&mut page, report);
    page
}

/// A kind of columns: for each cell type the best, and what it is worth on groups that had no part in choosing it.
fn block(page: &mut String, report: &RepresentationReport) {
    let what = report.kind.one();
    let of = if report.kind == Kind::Feature {
        format!("{} of {} firing", report.tested, report.columns)
    } else {
        report.tested.to_string()
    };
    let _ = writeln!(page, "\n{what}: {of} tested");
    let _ = writeln!(page, "{:13}| best of all tiles (too high)      |held out: one |held out: all", "cell type");
    let _ = writeln!(
        page,
        "{:13}|{:>7} {:>6} {:>14} {:>6}|{:>7}{:>7}|{:>7}{:>7}",
        "", "no.", "r", "95 %", "p", "r", "Q2", "r", "Q2"
    );
    for row in &report.rows {
        let best = row.best.as_ref().map_or(String::new(), |best| {
            let p = format!("{:.3}", best.p);
            format!("{:>7} {:>6} {:>14} {p:>6}", best.column, signed(Some(best.pearson)), range(best.interval))
        });
        let held = |reported: &Reported| format!("{:>7}{:>7}", signed(reported.r), fitting(reported.q2, 2, 6));
        let name = shortened(&row.cell_type, 12);
        let _ = writeln!(page, "{name:13}|{best:36}|{}|{}", held(&row.one), held(&row.all));
    }
}

fn closing(page: &mut String, report: &CountsReport) {
    let Some(first) = report.representations.first() else { return };
    page.push('\n');
    page.push_str(&paragraph(&format!(
        "p is adjusted for all columns and cell types of its table by permuting whole groups ({} permutations, {} tiles of {} \
         groups). Chance alone exceeds |r| = {:.2} somewhere in the first table once in twenty times.",
        report.permutations, first.tested_tiles, first.tested_groups, first.critical
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
    if let Some(shuffled) = report.shuffled {
        let _ = writeln!(
            page,
            "With counts of whole groups exchanged, {} of {} tables have a discovery.",
            shuffled.with_discovery, shuffled.tables
        );
    }
}

/// All features with all cell types.
pub(super) fn csv(rows: impl Iterator<Item = Association>) -> String {
    let mut csv = String::from("feature,cell_type,pearson,low,high,spearman,p_adjusted,tiles_firing,groups_firing\n");
    for row in rows {
        let number = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.5}"));
        let (low, high) = (number(row.interval.map(|i| i[0])), number(row.interval.map(|i| i[1])));
        let _ = writeln!(
            csv,
            "{},{},{:.5},{low},{high},{},{:.5},{},{}",
            row.column,
            row.cell_type,
            row.pearson,
            number(row.spearman),
            row.p,
            row.tiles_firing,
            row.groups_firing
        );
    }
    csv
}
