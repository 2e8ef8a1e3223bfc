//! What a technician reads in three seconds: whether something is wrong with the slide, how often, and what was not
//! checked.

use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::names::{FLAGS, alert_name};

use crate::host::{ALERTS_BY_URGENCY, ALERTS_OF_ENGINE};
use crate::play::Played;

/// The widest line.
const COLUMNS: usize = 80;
/// A flag by a general rule is reported above this rate: no rate is known that a good slide would have.
const GENERAL_RATE: f64 = 0.05;
/// A calibrated flag is reported where a good slide would raise so many with less than this probability, and where its
/// rate is twice the level. Neighbouring tiles resemble each other, so counts vary more than a binomial's: hence the
/// strict limit.
const SURPRISE: f64 = 1e-3;

/// The three lines and what they amount to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Verdict {
    /// Alerts and places; rates; what was not checked. At most 80 columns each.
    pub(super) lines: [String; 3],
    /// An alert, or a flag on more tiles than expected.
    pub(super) wrong: bool,
    /// Every check was made, and all of them against a profile.
    pub(super) complete: bool,
}

impl Verdict {
    /// Judges a slide that was played. `level` gives the false-alarm level of the calibrated check with a bit.
    pub(super) fn new(played: &Played, level: impl Fn(usize) -> f64) -> Verdict {
        let summary = &played.summary;
        // An engine that fell back is slower, and one of another precision rounds otherwise; that is nothing about the slide.
        let telling = |alert: &&abi::Alert| !ALERTS_OF_ENGINE.contains(&alert.code);
        let alerts: Vec<&abi::Alert> = played.alerts.iter().filter(telling).collect();
        let rates = Rates::new(played, level);
        let gaps = Gaps::new(played);
        let wrong = !alerts.is_empty() || !rates.high.is_empty();
        let nothing = summary.results[1] == 0;
        let first = match (alerts.is_empty(), nothing) {
            (true, true) => "NOTHING ANALYSED: no tile with enough tissue".to_owned(),
            (true, false) => "no alert".to_owned(),
            (false, _) => alerts_line(&alerts, played.extent),
        };
        Verdict {
            lines: [
                format!("QC      {first}"),
                format!("rates   {}", rates.line()),
                format!("missing {}", gaps.line()),
            ],
            wrong,
            complete: !nothing && gaps.unchecked.is_empty() && !gaps.uncalibrated,
        }
    }
}

/// Kinds of alerts, the most urgent first, each with the place of the first and how many more there are.
fn alerts_line(alerts: &[&abi::Alert], slide: (u32, u32)) -> String {
    let mut parts = Vec::new();
    for code in ALERTS_BY_URGENCY {
        let own: Vec<&&abi::Alert> = alerts.iter().filter(|alert| alert.code == code).collect();
        let Some(first) = own.first() else { continue };
        let more = if own.len() > 1 { format!(" and {} more", own.len() - 1) } else { String::new() };
        parts.push(format!("{} {}{more}", alert_name(code).replace('_', " "), place(first, slide)));
    }
    let other = alerts.iter().filter(|alert| !ALERTS_BY_URGENCY.contains(&alert.code)).count();
    if other > 0 {
        parts.push(format!("{other} of other kinds"));
    }
    fit("ALERT ", &parts, COLUMNS - 8)
}

/// Where an alert is, in words.
fn place(alert: &abi::Alert, slide: (u32, u32)) -> String {
    let whole = f64::from(slide.0) * f64::from(slide.1);
    if alert.width == 0 || alert.width as f64 * alert.height as f64 > 0.6 * whole {
        return "everywhere".into();
    }
    let third = |start: i64, length: u64, all: u32, names: [&'static str; 3]| {
        if length as f64 > 0.6 * f64::from(all) {
            return "";
        }
        let middle = (start as f64 + 0.5 * length as f64) / f64::from(all);
        names[((middle * 3.0) as usize).min(2)]
    };
    let down = third(alert.y, alert.height, slide.1, ["at the top", "in the middle", "at the bottom"]);
    let across = third(alert.x, alert.width, slide.0, ["left", "centre", "right"]);
    [down, across].iter().filter(|word| !word.is_empty()).copied().collect::<Vec<_>>().join(" ")
}

/// Flags on more tiles than a good slide has.
struct Rates {
    high: Vec<String>,
    checked: u64,
}

impl Rates {
    fn new(played: &Played, level: impl Fn(usize) -> f64) -> Rates {
        let summary = &played.summary;
        let mut high = Vec::new();
        for (bit, flag) in FLAGS.iter().enumerate().skip(1) {
            let (raised, checked) = (summary.flags_raised[bit], summary.flags_checked[bit]);
            if checked == 0 {
                continue;
            }
            let rate = raised as f64 / checked as f64;
            let name = flag.replace('_', " ");
            let text = format!("{name} {:.0} % of {checked}", 100.0 * rate);
            if calibrated(played, bit) {
                let expected = level(bit);
                if rate > 2.0 * expected && coverslip_numerics::binomial_tail(checked, raised, expected) < SURPRISE {
                    high.push((rate / expected, format!("{text} (expected {:.0} %)", 100.0 * expected)));
                }
            } else if rate > GENERAL_RATE {
                high.push((rate / GENERAL_RATE, text));
            }
        }
        high.sort_by(|a, b| b.0.total_cmp(&a.0));
        Rates { high: high.into_iter().map(|(_, text)| text).collect(), checked: summary.results[1] }
    }

    fn line(&self) -> String {
        if self.high.is_empty() {
            return format!("no flag on more of {} analysed tiles than expected", self.checked);
        }
        fit("MORE THAN EXPECTED: ", &self.high, COLUMNS - 8)
    }
}

/// Whether any tile was judged against the profile for this flag.
fn calibrated(played: &Played, bit: usize) -> bool {
    played.collected.tiles.iter().any(|tile| tile.result.flags_calibrated & (1 << bit) != 0)
}

/// Checks that were not made, or not against a profile.
struct Gaps {
    unchecked: Vec<String>,
    uncalibrated: bool,
}

impl Gaps {
    fn new(played: &Played) -> Gaps {
        let looked_at = |bit: usize| played.summary.flags_checked[bit] > 0;
        let bits = 1..FLAGS.len();
        let unchecked = bits.clone().filter(|&bit| !looked_at(bit)).map(|bit| FLAGS[bit].replace('_', " "));
        Gaps {
            unchecked: unchecked.collect(),
            uncalibrated: bits.into_iter().any(|bit| looked_at(bit) && !calibrated(played, bit)),
        }
    }

    fn line(&self) -> String {
        let general = "rates by general rules, no profile";
        match (self.unchecked.is_empty(), self.uncalibrated) {
            (true, false) => "nothing: every check was made, against the scanner's profile".into(),
            (true, true) => format!("{general}: some checks are not calibrated"),
            (false, true) => {
                let count = self.unchecked.len();
                format!(
                    "{} not checked; {general}",
                    if count == 1 { self.unchecked[0].clone() } else { format!("{count} flags") }
                )
            }
            (false, false) => fit("not checked: ", &self.unchecked, COLUMNS - 8),
        }
    }
}

/// As many parts as fit in `columns`, then the number of the others.
fn fit(head: &str, parts: &[String], columns: usize) -> String {
    for kept in (1..=parts.len()).rev() {
        let more = parts.len() - kept;
        let tail = if more == 0 { String::new() } else { format!(", {more} more") };
        let text = format!("{head}{}{tail}", parts[..kept].join(", "));
        if text.chars().count() <= columns || kept == 1 {
            return text.chars().take(columns).collect();
        }
    }
    head.to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::outputs::fabricated;
    use super::*;

    fn words(played: &Played) -> [String; 3] {
        let verdict = Verdict::new(played, |_| 0.01);
        for line in &verdict.lines {
            assert!(line.chars().count() <= COLUMNS, "{line}");
        }
        verdict.lines
    }

    #[test]
    fn an_alert_has_its_place() {
        let mut played = fabricated::played();
        let lines = words(&played);
        assert_eq!(lines[0], "QC      ALERT focus loss at the bottom", "{lines:?}");
        played.alerts.extend([
            abi::Alert { code: abi::ALERT_COLOR_DRIFT, ..Default::default() },
            abi::Alert { code: abi::ALERT_FOCUS_LOSS, width: 10, height: 10, ..Default::default() },
        ]);
        let lines = words(&played);
        assert_eq!(lines[0], "QC      ALERT focus loss at the bottom and 1 more, color drift everywhere");
        assert!(Verdict::new(&played, |_| 0.01).wrong);
    }

    #[test]
    fn what_runs_the_model_is_nothing_about_the_slide() {
        let mut played = fabricated::played();
        let alert = |code| abi::Alert { code, ..Default::default() };
        played.summary.flags_raised = Default::default();
        played.alerts = ALERTS_OF_ENGINE.map(alert).to_vec();
        assert_eq!(words(&played)[0], "QC      no alert");
        assert!(!Verdict::new(&played, |_| 0.01).wrong);
        // The last code is that of a newer library.
        for (code, line) in [
            (abi::ALERT_SCANNER_DRIFT, "QC      ALERT scanner drift everywhere"),
            (abi::ALERT_UNKNOWN_SCANNER, "QC      ALERT unknown scanner everywhere"),
            (99, "QC      ALERT 1 of other kinds"),
        ] {
            played.alerts = vec![alert(code), alert(abi::ALERT_PROFILE_PRECISION)];
            assert_eq!(words(&played)[0], line);
            assert!(Verdict::new(&played, |_| 0.01).wrong);
        }
    }

    #[test]
    fn without_a_profile_it_says_so() {
        let mut played = fabricated::played();
        played.alerts.clear();
        played.summary.flags_checked[1] = 200;
        played.summary.flags_raised[1] = 4;
        let verdict = Verdict::new(&played, |_| 0.01);
        assert_eq!(verdict.lines[0], "QC      no alert");
        assert!(verdict.lines[1].starts_with("rates   no flag on more of "), "{verdict:?}");
        assert_eq!(verdict.lines[2], "missing 10 flags not checked; rates by general rules, no profile");
        assert!(!verdict.wrong && !verdict.complete);
        played.summary.flags_raised[1] = 30;
        let verdict = Verdict::new(&played, |_| 0.01);
        assert_eq!(verdict.lines[1], "rates   MORE THAN EXPECTED: out of focus 15 % of 200");
        assert!(verdict.wrong);
    }

    #[test]
    fn with_a_profile_rates_are_held_against_the_level() {
        let mut played = fabricated::played();
        played.alerts.clear();
        for tile in &mut played.collected.tiles {
            tile.result.flags_calibrated = 0xffe;
        }
        for bit in 1..FLAGS.len() {
            played.summary.flags_checked[bit] = 1000;
            played.summary.flags_raised[bit] = 12;
        }
        let verdict = Verdict::new(&played, |_| 0.01);
        assert!(!verdict.wrong && verdict.complete, "{verdict:?}");
        assert_eq!(verdict.lines[2], "missing nothing: every check was made, against the scanner's profile");
        played.summary.flags_raised[5] = 40;
        let verdict = Verdict::new(&played, |_| 0.01);
        assert_eq!(verdict.lines[1], "rates   MORE THAN EXPECTED: banding 4 % of 1000 (expected 1 %)");
        // At a level that few calibration tiles support, 4 % is what is expected.
        assert!(!Verdict::new(&played, |_| 0.05).wrong);
        for bit in 1..FLAGS.len() {
            played.summary.flags_raised[bit] = 500;
        }
        assert!(words(&played)[1].ends_with(" more"), "{:?}", words(&played));
    }

    #[test]
    fn glass_alone_is_no_good_slide() {
        let mut played = fabricated::played();
        played.alerts.clear();
        played.summary.results[1] = 0;
        let verdict = Verdict::new(&played, |_| 0.01);
        assert!(verdict.lines[0].contains("NOTHING ANALYSED") && !verdict.complete);
    }
}
