//! Pieces of HTML.

use std::fmt::Write;

use crate::term::plain;

/// Text as it may stand between tags and in attributes. Controls are written out as on a terminal: a browser too shows text
/// in another order where a name says so, and no XML may have them.
pub(crate) fn escape(text: &str) -> String {
    plain(text).chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
        escaped
    })
}

/// A table with a caption. Cells are HTML already; the first one names its row.
pub(crate) fn table(caption: &str, headers: &[&str], rows: &[Vec<String>]) -> String {
    let mut html = format!("<div class=\"wide\"><table><caption>{}</caption><thead><tr>", escape(caption));
    for header in headers {
        let _ = write!(html, "<th scope=\"col\">{}</th>", escape(header));
    }
    html.push_str("</tr></thead><tbody>");
    for row in rows {
        html.push_str("<tr>");
        for (place, cell) in row.iter().enumerate() {
            let _ = if place == 0 {
                write!(html, "<th scope=\"row\">{cell}</th>")
            } else {
                write!(html, "<td>{cell}</td>")
            };
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></div>\n");
    html
}

/// A paragraph of text.
pub(crate) fn paragraph(text: &str) -> String {
    format!("<p>{}</p>\n", escape(text))
}

/// `0.71`, with a true minus sign; a dash where there is nothing.
pub(super) fn number(value: Option<f64>) -> String {
    match value {
        Some(value) if value.is_finite() => format!("{value:.2}").replace('-', "\u{2212}"),
        _ => "\u{2013}".into(),
    }
}

/// A number with so many decimals; a dash where there is none.
pub(super) fn fixed(value: f64, decimals: usize) -> String {
    if value.is_finite() { format!("{value:.decimals$}") } else { "\u{2013}".into() }
}

/// A number as short as it can be said: `3`, `0.25`, `1e-200`; a dash where there is none.
pub(super) fn shortest(value: f64) -> String {
    match value {
        value if !value.is_finite() => "\u{2013}".into(),
        value if value == 0.0 || (1e-4..1e15).contains(&value.abs()) => value.to_string(),
        value => format!("{value:e}"),
    }
}

/// A share as `42 %`; a dash where there is none.
pub(super) fn share(value: Option<f64>) -> String {
    match value {
        Some(value) if value.is_finite() => format!("{:.0} %", 100.0 * value),
        _ => "\u{2013}".into(),
    }
}

/// `0.52 to 0.83`; a dash where there is nothing.
pub(super) fn range(interval: Option<[f64; 2]>) -> String {
    interval.map_or("\u{2013}".into(), |[low, high]| format!("{} to {}", number(Some(low)), number(Some(high))))
}

/// `0.71 (0.52 to 0.83)`.
pub(super) fn with_range(value: Option<f64>, interval: Option<[f64; 2]>) -> String {
    if value.is_none() || interval.is_none() {
        number(value)
    } else {
        format!("{} ({})", number(value), range(interval))
    }
}

/// `<0.001` or three digits; a dash where there is none.
pub(super) fn p_value(p: f64) -> String {
    if p < 0.001 { "&lt;0.001".into() } else { fixed(p, 3) }
}

/// The anchor of a feature of a bundle.
pub(super) fn anchor(bundle: Option<&str>, feature: &str) -> String {
    let plain =
        |text: &str| -> String { text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect() };
    format!("feature-{}-{}", plain(bundle.unwrap_or_default()), plain(feature))
}

/// The page around the sections: everything it needs is in it.
pub(crate) fn page(title: &str, contents: &[(&str, &str)], body: &str) -> String {
    let title = escape(title);
    let mut list = String::new();
    for (anchor, name) in contents {
        let _ = write!(list, "<li><a href=\"#{anchor}\">{}</a></li>", escape(name));
    }
    let nav =
        if contents.is_empty() { String::new() } else { format!("<nav aria-label=\"Contents\"><ol>{list}</ol></nav>") };
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <main>\n<h1>{title}</h1>\n{nav}\n{body}<footer><p>Written by coverslip \
         {version}. For research: not a medical device, and no diagnosis may rest on it.</p></footer>\n</main>\n</body>\n\
         </html>\n",
        version = env!("CARGO_PKG_VERSION")
    )
}

const STYLE: &str = "
:root { color-scheme: light; --ink: #1c2126; --soft: #565f68; --line: #d5dade; --accent: #1b4f8a; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: var(--ink); font: 16px/1.55 system-ui, 'Segoe UI', Roboto, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.5rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 1rem; }
h2 { font-size: 1.35rem; margin: 3rem 0 .6rem; padding-top: 1rem; border-top: 2px solid var(--ink); }
h3 { font-size: 1.05rem; margin: 1.8rem 0 .4rem; }
p, li { max-width: 46rem; }
nav ol { padding-left: 1.2rem; columns: 2; }
a { color: var(--accent); }
.lead { font-size: 1.08rem; }
.note { color: var(--soft); font-size: .92rem; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .93rem; }
caption { text-align: left; font-weight: 600; padding: 0 0 .4rem; }
th, td { text-align: left; padding: .3rem 1rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { border-bottom: 2px solid var(--ink); font-weight: 600; }
tbody th { font-weight: 500; }
figure { margin: 1.2rem 0; }
figcaption { color: var(--soft); font-size: .92rem; max-width: 46rem; }
svg { max-width: 100%; height: auto; }
svg text { font: 12px system-ui, 'Segoe UI', Roboto, sans-serif; fill: var(--ink); }
.yes { font-weight: 700; }
.feature { border-top: 1px solid var(--line); padding: .8rem 0; break-inside: avoid; }
.feature h3 { margin: 0 0 .2rem; }
.feature p { margin: 0 0 .5rem; }
.tiles { display: flex; flex-wrap: wrap; gap: .5rem; padding: 0; margin: 0; list-style: none; }
.tiles img { display: block; width: 6.8rem; height: 6.8rem; object-fit: cover; background: #eef0f2; }
.tiles li { font-size: .75rem; color: var(--soft); width: 6.8rem; overflow-wrap: anywhere; }
footer { margin-top: 3rem; border-top: 1px solid var(--line); color: var(--soft); font-size: .9rem; }
@media print { main { max-width: none; padding: 0; } nav { display: none; } h2 { break-after: avoid; } a { color: inherit; } }
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_says_is_text_whatever_is_in_it() {
        assert_eq!(escape("<a href='\"'>&"), "&lt;a href=&#39;&quot;&#39;&gt;&amp;");
        assert_eq!(escape("\u{1b}[31mred\u{202e}gnp\u{2066}"), "\\u{1b}[31mred\\u{202e}gnp\\u{2066}");
        assert_eq!(escape("µm \u{2013} Ł"), "µm \u{2013} Ł");
    }

    #[test]
    fn a_number_that_does_not_exist_is_a_dash() {
        for absent in [f64::NAN, f64::INFINITY] {
            let shown =
                [number(Some(absent)), fixed(absent, 1), shortest(absent), share(Some(absent)), p_value(absent)];
            assert!(shown.iter().all(|text| text == "\u{2013}"), "{shown:?}");
        }
        assert_eq!([fixed(0.26, 1), share(Some(0.25)), p_value(0.25)], ["0.3", "25 %", "0.250"]);
        assert_eq!([3.0, 0.25, -1e-200, 1e300].map(shortest), ["3", "0.25", "-1e-200", "1e300"]);
    }

    #[test]
    fn an_anchor_ends_no_attribute() {
        assert_eq!(anchor(Some("a b"), "1\"><b>"), "feature-a-b-1---b-");
    }
}
