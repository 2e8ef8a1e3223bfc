//! The sections of `analyze compare`, `transfer` and `depth`: models and data sets beside each other.

use super::html::{escape, number, paragraph, range, share, table, with_range};
use super::plot::{Line, lines};
use super::section::{Context, Section};
use crate::findings::models::{CompareFindings, Comparison, DepthFindings, DepthPoint, Transfer, TransferFindings};
use crate::findings::reading::Reading;

impl Section for CompareFindings {
    fn about(&self) -> String {
        self.sample.dataset.clone()
    }

    fn html(&self, _: &mut Context) -> String {
        compare(self)
    }
}

impl Section for TransferFindings {
    fn about(&self) -> String {
        format!("{} to {}", self.from.dataset, self.to.dataset)
    }

    fn html(&self, _: &mut Context) -> String {
        transfer(self)
    }
}

impl Section for DepthFindings {
    fn about(&self) -> String {
        self.sample.dataset.clone()
    }

    fn html(&self, _: &mut Context) -> String {
        depth(self)
    }
}

fn read_from(reading: &Reading) -> String {
    if reading.all_columns { reading.kind.all() } else { format!("one {}", reading.kind.one()) }
}

/// Two models on the same tiles.
fn compare(report: &CompareFindings) -> String {
    let [a, b] = &report.names;
    let text = format!(
        "{a} (tap {}) and {b} (tap {}) on the same {} tiles of {} groups of {}. Each figure is the correlation of predicted and \
         true counts in groups that had no part in the prediction. Where the interval of the difference holds 0, these tiles \
         do not tell the models apart.",
        report.taps[0], report.taps[1], report.sample.tiles, report.sample.groups, report.sample.dataset
    );
    let row = |row: &Comparison| {
        vec![
            escape(&row.reading.cell_type),
            read_from(&row.reading),
            with_range(row.a.r, row.a.interval),
            with_range(row.b.r, row.b.interval),
            number(row.difference),
            range(row.interval),
        ]
    };
    let rows: Vec<Vec<String>> = report.rows.iter().map(row).collect();
    let headers = ["cell type", "read from", a.as_str(), b.as_str(), "difference", "95 % interval"];
    paragraph(&text) + &table("Both models, on groups held out", &headers, &rows)
}

/// Chosen on one data set, reported on another.
fn transfer(report: &TransferFindings) -> String {
    let (from, to) = (&report.from, &report.to);
    let text = format!(
        "Chosen and fitted on {} ({} tiles of {} groups), then looked at on {} ({} tiles of {} groups) without any change. \
         A feature that means the same in both keeps its sign and most of its correlation.",
        from.dataset, from.tiles, from.groups, to.dataset, to.tiles, to.groups
    );
    let row = |row: &Transfer| {
        vec![
            escape(&row.reading.cell_type),
            read_from(&row.reading),
            row.column.as_deref().map_or("\u{2013}".into(), escape),
            number(row.chosen_r),
            with_range(row.there.r, row.there.interval),
        ]
    };
    let rows: Vec<Vec<String>> = report.rows.iter().map(row).collect();
    let (chosen, there) = (format!("r on {}", from.dataset), format!("r on {} (95 % interval)", to.dataset));
    let headers = ["cell type", "read from", "column", chosen.as_str(), there.as_str()];
    paragraph(&text) + &table("What holds elsewhere", &headers, &rows)
}

/// Where in the models counts can be read, and where the scanner.
fn depth(report: &DepthFindings) -> String {
    let mut text = format!(
        "How well counts can be read from each layer that the bundles tap (ridge regression, on groups held out; the mean over \
         {} cell types), on {} tiles of {} groups of {}.",
        report.cell_types.len(),
        report.sample.tiles,
        report.sample.groups,
        report.sample.dataset
    );
    if let Some((names, group)) = &report.scanners {
        text.push_str(&format!(
            " And how well the same layers tell {} apart, on other values of {group} than learnt on: 1 is always, {} is guessing.",
            names.join(" and "),
            number(Some(1.0 / names.len() as f64))
        ));
    }
    let mut models: Vec<&str> = report.points.iter().map(|point| point.model.as_str()).collect();
    models.dedup();
    let of = |model: &str| report.points.iter().filter(|point| point.model == model).collect::<Vec<_>>();
    let mut drawn = Vec::new();
    for model in models {
        let points = of(model);
        let counts = points.iter().filter_map(|point| Some((point.depth, mean_r(point)?))).collect();
        drawn.push(Line { name: format!("{model}: counts"), points: counts, minor: false });
        let told: Vec<_> = points.iter().filter_map(|point| Some((point.depth, point.scanner_accuracy?))).collect();
        if !told.is_empty() {
            drawn.push(Line { name: format!("{model}: scanner"), points: told, minor: true });
        }
    }
    let description =
        "Correlation of predicted counts and accuracy of telling scanners apart, over the depth of the models";
    let figure = format!(
        "<figure>{}<figcaption>{description}.</figcaption></figure>\n",
        lines(description, "share of the model's blocks", -0.5, &drawn)
    );
    let mut headers = vec!["model", "tap", "depth"];
    headers.extend(report.cell_types.iter().map(String::as_str));
    headers.push("scanner");
    let row = |point: &DepthPoint| {
        let mut row = vec![escape(&point.model), escape(&point.tap), share(Some(point.depth))];
        row.extend(point.counts.iter().map(|counts| with_range(counts.r, counts.interval)));
        row.push(number(point.scanner_accuracy));
        row
    };
    let rows: Vec<Vec<String>> = report.points.iter().map(row).collect();
    paragraph(&text) + &figure + &table("The same in numbers: r (95 % interval), balanced accuracy", &headers, &rows)
}

fn mean_r(point: &DepthPoint) -> Option<f64> {
    let known: Vec<f64> = point.counts.iter().filter_map(|counts| counts.r).collect();
    (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
}
