//! A challenge: simulated faults of growing severity on good slides, played through the plugin with the profile. Says which
//! flags detect them, from which severity on, and how many tiles pass before an alert.

mod faults;

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::path::PathBuf;

use coverslip_analysis::auroc;
use coverslip_plugin_abi as abi;
use coverslip_plugin_abi::names::{FLAGS, alert_name};
use coverslip_profile::{Check, TileScores};

use super::sampler::{Sampler, Sampling};
use crate::claim;
use crate::findings::challenge::{ChallengeFindings, FaultAlert, FaultFindings, FaultLevel};
use crate::findings::file::Findings;
use crate::host::Setup;
use crate::play::Played;
use crate::term::{decimals, shortened};
use faults::Fault;

/// A challenge to play.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Good slides that the profile has not seen.
    pub(crate) slides: Vec<PathBuf>,
    /// The scanner that took the slides, as the profile names it.
    pub(crate) scanner: String,
    /// The folder of challenge.json.
    pub(crate) out: PathBuf,
    /// Names of faults; none: all.
    pub(crate) faults: Vec<String>,
    /// Whether each fault is also played from the middle of a slide on.
    pub(crate) alerts: bool,
    /// With the profile.
    pub(crate) setup: Setup,
    pub(crate) sampling: Sampling,
}

/// What the plugin said of all tiles: scores and raised flags, by flag bit.
#[derive(Default)]
struct Seen {
    scores: BTreeMap<usize, Vec<f64>>,
    raised: BTreeMap<usize, usize>,
    tiles: usize,
    /// The code of each alert, and the number of faulty tiles before it.
    alerts: Vec<(i32, usize)>,
}

impl Seen {
    fn add(&mut self, played: &Played) {
        for tile in played.collected.tiles.iter().map(|tile| &tile.result).filter(|tile| tile.status == abi::TILE_DONE)
        {
            self.tiles += 1;
            for bit in (1..FLAGS.len()).filter(|bit| tile.flags_checked & (1 << bit) != 0) {
                self.scores.entry(bit).or_default().push(f64::from(unusual(tile, bit)));
                *self.raised.entry(bit).or_default() += usize::from(tile.flags_raised & (1 << bit) != 0);
            }
        }
    }

    /// Tiles on which a flag was checked.
    fn checked(&self, bit: usize) -> usize {
        self.scores.get(&bit).map_or(0, Vec::len)
    }

    /// The share of tiles that raised a flag, of those on which it was checked.
    fn share(&self, bit: usize) -> Option<f64> {
        let checked = self.checked(bit);
        (checked > 0).then(|| self.raised.get(&bit).copied().unwrap_or(0) as f64 / checked as f64)
    }

    /// Whether a flag is raised on a tenth of the tiles more than without a fault. Of fewer tiles one is a tenth by itself.
    fn rises(&self, clean: &Seen, bit: usize) -> Option<f64> {
        let enough = self.checked(bit).min(clean.checked(bit)) >= FEWEST;
        Some(self.share(bit)? - clean.share(bit)?).filter(|rise| enough && *rise >= 0.1)
    }
}

/// Tiles of which a share says something: UNSTABLE is checked on one of many.
const FEWEST: usize = 20;

/// Plays everything, writes challenge.json and prints the table.
///
/// # Errors
/// Where a slide cannot be read, or there is no such fault.
pub(crate) fn run(request: &Request, out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    let faults = faults::chosen(&request.faults)?;
    let _claim = claim::apart(&request.out, &request.slides)?;
    let sampler = Sampler::open(&request.setup, &request.sampling)?;
    let challenge = Challenge { request, sampler };
    let clean = challenge.play(None)?;
    if clean.tiles == 0 {
        return Err("expected tiles with tissue, found none. Give slides with tissue".into());
    }
    header(out, &clean)?;
    let mut reports = Vec::new();
    for fault in &faults {
        reports.push(challenge.fault(fault, &clean, out)?);
    }
    let found = ChallengeFindings {
        format: ChallengeFindings::FORMAT.into(),
        slides: request.slides.iter().map(|path| path.display().to_string()).collect(),
        tiles: clean.tiles,
        flagged_without_a_fault: flagged(&clean),
        faults: reports,
    };
    found.save(&request.out)?;
    Ok(writeln!(out, "{}", request.out.join(ChallengeFindings::FILE).display())?)
}

fn header(out: &mut dyn Write, clean: &Seen) -> Result<(), Box<dyn Error>> {
    writeln!(out, "{} tiles with tissue; flagged without a fault:", clean.tiles)?;
    for (bit, flag) in FLAGS.iter().enumerate().skip(1) {
        if let Some(share) = clean.share(bit) {
            let checked = clean.checked(bit);
            let of = if checked < clean.tiles { format!(" of {checked}") } else { String::new() };
            writeln!(out, "  {:<20}{:>6.1} %{of}", flag.replace('_', " "), 100.0 * share)?;
        }
    }
    writeln!(out)?;
    writeln!(out, "{:<12}{:>8}  {:<19}{:>8}{:>7}  also", "fault", "severity", "flag", "flagged", "AUROC")?;
    Ok(())
}

/// A line of the table: the fault, the flag that detects it and how well, and as many other flags as 80 columns hold;
/// challenge.json has them all.
fn line((name, severity): (&str, String), flag: &str, share: Option<f64>, area: Option<f64>, also: &str) -> String {
    let share = share.map_or("-".into(), |share| format!("{:.0}", 100.0 * share));
    let area = area.map_or("-".into(), |area| format!("{area:.3}"));
    let (flag, also) = (flag.replace('_', " "), shortened(also, 22));
    format!("{name:<12}{severity:>8}  {flag:<19}{share:>6} %{area:>7}  {also}")
}

fn flagged(seen: &Seen) -> BTreeMap<String, f64> {
    let one = |(bit, flag): (usize, &&str)| Some(((*flag).to_owned(), seen.share(bit)?));
    FLAGS.iter().enumerate().skip(1).filter_map(one).collect()
}

struct Challenge<'a> {
    request: &'a Request,
    sampler: Sampler,
}

impl Challenge<'_> {
    /// Plays all slides with a fault of some severity, or as they are.
    fn play(&self, fault: Option<(&Fault, f64)>) -> Result<Seen, Box<dyn Error>> {
        let mut seen = Seen::default();
        for path in &self.request.slides {
            let mpp = self.sampler.slide_mpp(path)?;
            let change = fault.map(|(fault, severity)| (fault.change)(severity, self.sampler.model_mpp() / mpp));
            seen.add(&self.sampler.play(path, &self.request.scanner, change.map(|change| (change, 0)))?);
            if let Some(change) = change.filter(|_| self.request.alerts) {
                seen.alerts.extend(self.sampler.alerts_from_the_middle(path, &self.request.scanner, change)?);
            }
        }
        Ok(seen)
    }

    /// One fault at all its severities.
    fn fault(&self, fault: &Fault, clean: &Seen, out: &mut dyn Write) -> Result<FaultFindings, Box<dyn Error>> {
        let bit = fault.check.index();
        let mut shares = Vec::new();
        let mut levels = Vec::new();
        for &severity in fault.severities {
            let seen = self.play(Some((fault, severity)))?;
            let area = |bit: usize| Some(auroc(&finite(clean.scores.get(&bit)?), &finite(seen.scores.get(&bit)?)));
            let others = (1..FLAGS.len()).filter(|&other| other != bit);
            let risen = others.filter_map(|b| Some((FLAGS[b].replace('_', " "), 100.0 * seen.rises(clean, b)?)));
            let also: Vec<String> = risen.map(|(flag, points)| format!("{flag} {points:.0}")).take(2).collect();
            let share = seen.share(bit);
            let name_and_severity = (fault.name, decimals(severity));
            writeln!(out, "{}", line(name_and_severity, FLAGS[bit], share, area(bit), &also.join(", ")))?;
            shares.push((severity, share.unwrap_or(0.0)));
            let areas = (1..FLAGS.len()).filter_map(|b| Some((FLAGS[b].to_owned(), area(b)?)));
            let alert =
                |&(code, after_tiles): &(i32, usize)| FaultAlert { alert: alert_name(code).into(), after_tiles };
            levels.push(FaultLevel {
                severity,
                tiles: seen.tiles,
                flagged: flagged(&seen),
                auroc: areas.map(|(flag, area)| (flag, Some(area).filter(|area| area.is_finite()))).collect(),
                alerts: seen.alerts.iter().map(alert).collect(),
            });
            for (code, tiles) in &seen.alerts {
                writeln!(
                    out,
                    "{:<12}{:>8}  alert {} after {tiles} tiles",
                    "",
                    "",
                    alert_name(*code).replace('_', " ")
                )?;
            }
        }
        let half = half_flagged(&shares);
        if let Some(half) = half {
            writeln!(out, "{:<12}{:>8}  half of the tiles are flagged", "", decimals(half))?;
        }
        Ok(FaultFindings {
            fault: fault.name.into(),
            severity_is: fault.unit.into(),
            flag: Check::name(fault.check).into(),
            half_flagged_at: half,
            levels,
        })
    }
}

/// A tile's score as the profile ranks it, higher is more unusual; NaN where it was not measured.
fn unusual(tile: &abi::TileResult, bit: usize) -> f32 {
    TileScores::recorded(&tile.measurements, &tile.scores).score(Check::ALL[bit]).unwrap_or(f32::NAN)
}

/// Scores that are numbers.
fn finite(scores: &[f64]) -> Vec<f64> {
    scores.iter().copied().filter(|score| score.is_finite()).collect()
}

/// The severity at which half of the tiles are flagged, interpolated between two that were tried.
fn half_flagged(shares: &[(f64, f64)]) -> Option<f64> {
    if shares.first()?.1 >= 0.5 {
        return Some(shares[0].0);
    }
    let step = shares.windows(2).find(|pair| pair[0].1 < 0.5 && pair[1].1 >= 0.5)?;
    let ((low, before), (high, after)) = (step[0], step[1]);
    Some(low + (high - low) * (0.5 - before) / (after - before))
}

#[cfg(test)]
mod tests {
    use coverslip_profile::measurement;

    use super::*;

    #[test]
    fn a_blurrier_tile_is_more_unusual() {
        let tile = |sharpness: f32| {
            let mut tile = abi::TileResult::default();
            tile.measurements[measurement::SHARPNESS] = sharpness;
            tile.scores = [3.0; abi::SCORE_COUNT];
            tile
        };
        let bit = Check::OutOfFocus.index();
        assert!(unusual(&tile(-9.0), bit) > unusual(&tile(-4.0), bit));
        assert_eq!(unusual(&tile(-9.0), Check::Novel.index()), 3.0);
    }

    #[test]
    fn a_flag_that_was_checked_on_a_few_tiles_rises_with_no_fault() {
        let seen = |checked: usize, raised: usize| Seen {
            scores: [(3, vec![0.0; checked])].into(),
            raised: [(3, raised)].into(),
            ..Seen::default()
        };
        assert_eq!(seen(1, 1).rises(&seen(1, 0), 3), None);
        assert_eq!(seen(100, 40).rises(&seen(1, 0), 3), None);
        assert_eq!(seen(100, 40).rises(&seen(100, 15), 3), Some(0.25));
        assert_eq!(seen(100, 14).rises(&seen(100, 5), 3), None);
        assert_eq!(seen(100, 40).rises(&seen(100, 15), 4), None, "it was not checked");
    }

    #[test]
    fn a_line_stays_within_80_columns() {
        for flag in FLAGS {
            let fault = ("illumination", "1234.125".to_owned());
            let found = line(fault, flag, Some(1.0), Some(1.0), "features unreliable 100, scanner features 100");
            assert!(found.chars().count() <= 80 && found.ends_with('…'), "{found}");
        }
    }

    #[test]
    fn half_lies_between_what_was_tried() {
        assert_eq!(half_flagged(&[(1.0, 0.0), (2.0, 0.25), (3.0, 0.75)]), Some(2.5));
        assert_eq!(half_flagged(&[(1.0, 0.6), (2.0, 0.9)]), Some(1.0));
        assert_eq!(half_flagged(&[(1.0, 0.0), (2.0, 0.4)]), None);
        assert_eq!(half_flagged(&[]), None);
    }
}
