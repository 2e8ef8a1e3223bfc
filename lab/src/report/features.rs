//! The section of `analyze features`: a gallery.

use std::fmt::Write;

use super::gallery::Gallery;
use super::html::{anchor, escape, fixed, paragraph};
use super::plot::bars;
use super::section::{Context, Section};
use crate::findings::features::{FeatureProfile, FeaturesFindings, TopTile};

/// Features that are shown when nothing names them.
const SHOWN: usize = 24;

impl Section for FeaturesFindings {
    fn about(&self) -> String {
        self.bundle.clone().unwrap_or_default()
    }

    fn html(&self, context: &mut Context) -> String {
        section(self, context)
    }
}

/// Each feature's strongest tiles: first those that another section names, then the labelled, then the most frequent.
fn section(report: &FeaturesFindings, context: &mut Context) -> String {
    let all = &report.features;
    let rank = |feature: &FeatureProfile| match (
        context.named.contains(&(report.bundle.clone(), feature.index)),
        &feature.label,
    ) {
        (true, _) => 0,
        (false, Some(_)) => 1,
        (false, None) => 2,
    };
    let mut order: Vec<&FeatureProfile> = all.iter().collect();
    order.sort_by_key(|feature| rank(feature));
    let wanted = order.iter().take_while(|feature| rank(feature) < 2).count();
    order.truncate(wanted.max(SHOWN));
    let mut html = format!(
        "<p class=\"lead\">{} features fire on {} tiles of {} groups. Below are the {} that the other sections name, that are \
         labelled, or that fire most often, each with the tiles on which it is strongest.</p>\n",
        all.len(),
        report.sample.tiles,
        report.sample.groups,
        order.len()
    );
    html.push_str(&frequencies(report));
    order.iter().for_each(|feature| html.push_str(&card(report, feature, &mut context.gallery)));
    let (there, missing, why) = context.gallery.account();
    if let Some(why) = why {
        html.push_str(&paragraph(&format!("{missing} of {} pictures are missing: {why}.", there + missing)));
    }
    html
}

fn frequencies(report: &FeaturesFindings) -> String {
    let edges = [0.01, 0.03, 0.1, 0.3, 0.6, 1.0];
    let names = ["≤ 1 %", "1–3 %", "3–10 %", "10–30 %", "30–60 %", "60–100 %"];
    let mut counts = [0; 6];
    for feature in &report.features {
        let share = feature.tiles_firing as f64 / report.sample.tiles as f64;
        counts[edges.iter().position(|&edge| share <= edge).unwrap_or(5)] += 1;
    }
    let pairs: Vec<(String, usize)> = names.map(str::to_owned).into_iter().zip(counts).collect();
    let description = "Number of features by the share of tiles on which they fire";
    format!("<figure>{}<figcaption>{description}.</figcaption></figure>\n", bars(description, &pairs))
}

fn card(report: &FeaturesFindings, feature: &FeatureProfile, gallery: &mut Gallery) -> String {
    let label = feature.label.as_ref();
    let name = label.map_or(String::new(), |label| format!(": {}", escape(&label.label)));
    let anchor = anchor(report.bundle.as_deref(), &feature.index.to_string());
    let mut html = format!("<section class=\"feature\" id=\"{anchor}\"><h3>Feature {}{name}</h3>\n", feature.index);
    let [least, median, most] = feature.range.map(|value| fixed(value, 2));
    let mut text = format!(
        "Fires on {} of {} tiles, in {} of {} groups; from {least} to {most}, median {median}.",
        feature.tiles_firing, report.sample.tiles, feature.groups_firing, report.sample.groups
    );
    if let Some(label) = label.filter(|label| !label.evidence.is_empty()) {
        let _ = write!(text, " {} ({}).", label.evidence, label.dataset);
    }
    html.push_str(&paragraph(&text));
    html.push_str("<ul class=\"tiles\">");
    feature.top.iter().for_each(|tile| html.push_str(&picture(feature.index, tile, gallery)));
    html.push_str("</ul></section>\n");
    html
}

fn picture(index: usize, tile: &TopTile, gallery: &mut Gallery) -> String {
    let name = if tile.tile.is_empty() { &tile.image } else { &tile.tile };
    let value = fixed(tile.value, 2);
    let image = gallery.picture(tile).map_or(String::new(), |url| {
        let text = format!("Tile {name}, on which feature {index} is {value}");
        format!("<img src=\"{url}\" alt=\"{}\" width=\"112\" height=\"112\">", escape(&text))
    });
    format!("<li>{image}{value} · {}</li>", escape(name))
}
