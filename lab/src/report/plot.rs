//! Plots as inline SVG: sharp in print, self-contained, with a text alternative.

use std::fmt::Write;

use super::html::{escape, number};

/// Colours that people with any colour vision tell apart (Okabe and Ito), dark enough on white; dashes tell them apart
/// in print.
const STROKES: [(&str, &str); 6] = [
    ("#0072b2", ""),
    ("#d55e00", "7 3"),
    ("#009e73", "2 3"),
    ("#cc79a7", "9 3 2 3"),
    ("#7a5c00", "4 4"),
    ("#444444", "1 2"),
];

/// A value with its interval.
pub(super) struct Estimate {
    pub(super) name: String,
    pub(super) value: Option<f64>,
    pub(super) interval: Option<[f64; 2]>,
    /// Starts a block of estimates that belong together, under this heading.
    pub(super) heading: Option<String>,
}

/// Correlations from −1 to 1, one below the other, with their intervals.
pub(super) fn correlations(description: &str, estimates: &[Estimate]) -> String {
    const LEFT: f64 = 250.0;
    const WIDTH: f64 = 420.0;
    const ROW: f64 = 22.0;
    let x = |r: f64| LEFT + (r.clamp(-1.0, 1.0) + 1.0) / 2.0 * WIDTH;
    let rows = estimates.len() + estimates.iter().filter(|e| e.heading.is_some()).count();
    let bottom = ROW * rows as f64 + 8.0;
    let mut svg = open(LEFT + WIDTH + 70.0, bottom + 26.0, description);
    for tick in [-1.0, -0.5, 0.0, 0.5, 1.0] {
        let (at, stroke) = (x(tick), if tick == 0.0 { "#1c2126" } else { "#d5dade" });
        let _ = write!(svg, "<path d=\"M{at:.1} 4V{bottom:.1}\" stroke=\"{stroke}\"/>");
        let _ = write!(
            svg,
            "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            bottom + 17.0,
            number(Some(tick))
        );
    }
    let mut y = ROW / 2.0 + 4.0;
    for estimate in estimates {
        if let Some(heading) = &estimate.heading {
            let _ = write!(svg, "<text x=\"0\" y=\"{:.1}\" font-weight=\"600\">{}</text>", y + 4.0, escape(heading));
            y += ROW;
        }
        let _ = write!(svg, "<text x=\"12\" y=\"{:.1}\">{}</text>", y + 4.0, escape(&estimate.name));
        if let Some([low, high]) = estimate.interval.filter(|ends| ends.iter().all(|end| end.is_finite())) {
            let _ =
                write!(svg, "<path d=\"M{:.1} {y:.1}H{:.1}\" stroke=\"#0072b2\" stroke-width=\"2\"/>", x(low), x(high));
        }
        if let Some(value) = estimate.value.filter(|value| value.is_finite()) {
            let _ = write!(svg, "<circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"4.5\" fill=\"#0072b2\"/>", x(value));
            let _ = write!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                LEFT + WIDTH + 14.0,
                y + 4.0,
                number(Some(value))
            );
        }
        y += ROW;
    }
    svg + "</svg>"
}

/// A line through points whose x lies in 0..1; a point that is no number is left out.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
    /// Drawn thin, as a background for the others.
    pub(super) minor: bool,
}

/// Lines over the share of a model's depth, y from `low` to 1.
pub(super) fn lines(description: &str, x_name: &str, low: f64, lines: &[Line]) -> String {
    const LEFT: f64 = 46.0;
    const WIDTH: f64 = 400.0;
    const HEIGHT: f64 = 240.0;
    let x = |share: f64| LEFT + share * WIDTH;
    let y = |value: f64| 10.0 + (1.0 - (value.clamp(low, 1.0) - low) / (1.0 - low)) * HEIGHT;
    let mut svg = open(LEFT + WIDTH + 260.0, HEIGHT + 56.0, description);
    let steps = ((1.0 - low) / 0.25).round() as i32;
    for step in 0..=steps {
        let value = low + f64::from(step) * 0.25;
        let stroke = if value.abs() < 1e-9 { "#1c2126" } else { "#e3e7ea" };
        let _ = write!(svg, "<path d=\"M{LEFT} {:.1}h{WIDTH}\" stroke=\"{stroke}\"/>", y(value));
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            y(value) + 4.0,
            number(Some(value))
        );
    }
    for percent in [0, 25, 50, 75, 100] {
        let at = x(f64::from(percent) / 100.0);
        let _ = write!(svg, "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{percent} %</text>", HEIGHT + 28.0);
    }
    let middle = LEFT + WIDTH / 2.0;
    let _ = write!(
        svg,
        "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
        HEIGHT + 48.0,
        escape(x_name)
    );
    for (place, line) in lines.iter().enumerate() {
        let (stroke, dash) = STROKES[place % STROKES.len()];
        let width = if line.minor { 1.2 } else { 2.4 };
        let points: Vec<(f64, f64)> =
            line.points.iter().copied().filter(|(a, b)| a.is_finite() && b.is_finite()).collect();
        let path: Vec<String> = points.iter().map(|&(a, b)| format!("{:.1} {:.1}", x(a), y(b))).collect();
        let style = format!("fill=\"none\" stroke=\"{stroke}\" stroke-width=\"{width}\" stroke-dasharray=\"{dash}\"");
        let _ = write!(svg, "<path d=\"M{}\" {style}/>", path.join("L"));
        for &(a, b) in &points {
            let _ = write!(svg, "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\" fill=\"{stroke}\"/>", x(a), y(b));
        }
        let (from, at) = (LEFT + WIDTH + 16.0, 18.0 + 20.0 * place as f64);
        let _ = write!(svg, "<path d=\"M{from} {at}h30\" {style}/>");
        let _ = write!(svg, "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>", from + 38.0, at + 4.0, escape(&line.name));
    }
    svg + "</svg>"
}

/// Bars for shares of a whole, by name.
pub(super) fn bars(description: &str, bars: &[(String, usize)]) -> String {
    const WIDTH: f64 = 560.0;
    let most = bars.iter().map(|(_, count)| *count).max().unwrap_or(1).max(1) as f64;
    let each = WIDTH / bars.len().max(1) as f64;
    let mut svg = open(WIDTH + 10.0, 170.0, description);
    for (place, (name, count)) in bars.iter().enumerate() {
        let (left, height) = (place as f64 * each, 110.0 * *count as f64 / most);
        let (middle, top) = (left + each / 2.0, 130.0 - height);
        let width = each - 4.0;
        let _ = write!(
            svg,
            "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"#0072b2\"/>"
        );
        let _ = write!(svg, "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{count}</text>", top - 5.0);
        let _ = write!(svg, "<text x=\"{middle:.1}\" y=\"148\" text-anchor=\"middle\">{}</text>", escape(name));
    }
    svg + "</svg>"
}

fn open(width: f64, height: f64, description: &str) -> String {
    let description = escape(description);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" role=\"img\" aria-label=\"{description}\"><title>{description}</title>"
    )
}
