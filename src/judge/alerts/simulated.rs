//! The alerts on simulated slides: in control they are silent, after a change they speak soon.
//!
//! A slide's score is a slide effect (20 to 40 % of the variance) plus a Gaussian field over 15 × 15 mm of tiles of
//! 0.112 mm, correlated as exp(−3 d / range) with ranges of 0.25 to 4 mm, scanned in serpentine rows.

use coverslip_numerics::{Fourier, SplitMix64};

use coverslip_profile::Peak;

use super::finding::tests::tile;
use super::*;
use crate::judge::history::History;
use crate::judge::rules::tests::calibrated;
use crate::tiles::grid::Grid;

/// Tiles to a side.
const SIDE: usize = 134;
/// The torus on which fields are made: a power of two of at least 1.9 sides, so that the ends do not meet.
const TORUS: usize = 256;
const TILE_MM: f64 = 0.112;
const RANGES_MM: [f64; 5] = [0.25, 0.5, 1.0, 2.0, 4.0];

struct Random(SplitMix64);

impl Random {
    /// Two standard normal numbers (Box and Muller).
    fn normals(&mut self) -> [f64; 2] {
        let (radius, angle) = ((-2.0 * (1.0 - self.0.unit()).ln()).sqrt(), 2.0 * std::f64::consts::PI * self.0.unit());
        [radius * angle.cos(), radius * angle.sin()]
    }
}

/// The transform in both directions of a square.
fn transform_square(square: &mut [[f32; 2]]) {
    let n = square.len().isqrt();
    let mut fourier = Fourier::default();
    fourier.fit(n);
    for _ in 0..2 {
        square.chunks_exact_mut(n).for_each(|line| fourier.transform(line));
        for i in 0..n {
            for j in 0..i {
                square.swap(i * n + j, j * n + i);
            }
        }
    }
}

/// Square roots of the field's spectrum.
fn spectrum(range_mm: f64) -> Vec<f64> {
    let away = |i: usize| i.min(TORUS - i) as f64 * TILE_MM;
    let mut square: Vec<[f32; 2]> = (0..TORUS * TORUS)
        .map(|i| [(-3.0 * away(i / TORUS).hypot(away(i % TORUS)) / range_mm).exp() as f32, 0.0])
        .collect();
    transform_square(&mut square);
    square.into_iter().map(|value| (f64::from(value[0].max(0.0)) / (TORUS * TORUS) as f64).sqrt()).collect()
}

/// Two independent fields of variance 1 in the order of the scan.
fn fields(spectrum: &[f64], random: &mut Random) -> [Vec<f32>; 2] {
    let mut square: Vec<[f32; 2]> = spectrum.iter().map(|root| random.normals().map(|v| (v * root) as f32)).collect();
    transform_square(&mut square);
    let place = |i: usize| {
        let (column, row) = place(i);
        row * TORUS + column
    };
    [0, 1].map(|part| (0..SIDE * SIDE).map(|i| square[place(i)][part]).collect())
}

/// Column and row of the i-th tile of the scan.
fn place(i: usize) -> (usize, usize) {
    let (row, along) = (i / SIDE, i % SIDE);
    (if row % 2 == 0 { along } else { SIDE - 1 - along }, row)
}

fn grid() -> Grid {
    let edge = SIDE as i64 * 100;
    let extent = Some(Rect { x0: 0, y0: 0, x1: edge, y1: edge });
    Grid { origin: (0, 0), tile_width: 100, tile_height: 100, extent }
}

/// The alerts of a slide with these scores, by the number of the tile that brought them. Scores 4 and 8 are the values
/// above −8, out of focus is what is above `blurry`.
fn alerts(values: &[f32], blurry: f32, seed: u64) -> Vec<(usize, i32)> {
    let mut known = calibrated(0.01);
    known.draw = coverslip_numerics::Draw::new(seed);
    let grid = grid();
    let scene = Scene { calibrated: Some(&known), grid: &grid, max_tiles: SIDE * SIDE, tile_mm: TILE_MM };
    let mut state = AlertState::new(&scene).unwrap();
    let mut found = Vec::new();
    for (i, &value) in values.iter().enumerate() {
        let (column, row) = place(i);
        let mut record = tile(i as u64, column as i64);
        (record.row, record.y, record.group_id) = (row as i32, row as i64 * 100, 1 + row as u64);
        record.scores[8] = 8.0 + value;
        record.flags_checked = abi::FLAG_OUT_OF_FOCUS;
        record.flags_raised = if value > blurry { abi::FLAG_OUT_OF_FOCUS } else { 0 };
        found.extend(state.observe(&record, false, 0).into_iter().flatten().map(|alert| (i, alert.code)));
    }
    found
}

/// Scores of slides in control, range after range.
fn slides(count: usize, seed: u64) -> impl Iterator<Item = Vec<f32>> {
    let per_range = count / RANGES_MM.len();
    RANGES_MM.into_iter().enumerate().flat_map(move |(i, range)| {
        let mut random = Random(SplitMix64::new(seed + i as u64));
        let spectrum = spectrum(range);
        (0..per_range.div_ceil(2)).flat_map(move |_| fields(&spectrum, &mut random)).zip(0..per_range).map(
            move |(mut field, slide)| {
                let mut random = Random(SplitMix64::new(seed ^ (1000 * i + slide) as u64));
                let share = 0.2 + 0.2 * random.0.unit();
                let (shift, scale) = (random.normals()[0] * share.sqrt(), (1.0 - share).sqrt());
                field.iter_mut().for_each(|value| *value = shift as f32 + scale as f32 * *value);
                field
            },
        )
    })
}

/// The 99th percentile of a slide's scores: what a profile of many slides would flag at 1 %.
const ONE_PERCENT: f32 = 2.326;

#[cfg(test)]
mod tests {
    use coverslip_numerics::Draw;
    use coverslip_profile::Calibration;
    use coverslip_testkit::note;

    use super::*;

    /// At α = 1 % ten alarms are expected of a rule that is exact, and 18 are the limit (binomial, 99 %).
    fn in_control(count: usize) -> [usize; 2] {
        let (mut drift, mut focus) = (0, 0);
        for (number, field) in slides(count, 77).enumerate() {
            let found = alerts(&field, ONE_PERCENT, number as u64);
            let of = |code: i32| usize::from(found.iter().any(|(_, c)| *c == code));
            drift += of(abi::ALERT_EMBEDDING_DRIFT);
            focus += of(abi::ALERT_FOCUS_LOSS);
        }
        [drift, focus]
    }

    /// A tenth of the evidence, for every day.
    #[test]
    fn slides_in_control_raise_no_more_alarms_than_alpha_allows() {
        let [drift, focus] = in_control(100);
        // Binomial(100, 1 %) is at most 4 with 99.7 %.
        assert!(drift <= 4 && focus <= 4, "of 100 slides {drift} with a drift alert, {focus} with a focus alert");
    }

    #[test]
    #[ignore = "minutes; the figures are in docs/measured/flags-and-alerts.md"]
    fn a_thousand_slides_in_control() {
        let [drift, focus] = in_control(1000);
        note(&format!("of 1000 slides {drift} with a drift alert, {focus} with a focus alert"));
        assert!(drift <= 18 && focus <= 18);
    }

    /// How many of `slides` are a mismatch when they are wrong by `shift` from their first tile on, each ranked among 99
    /// others that are right.
    fn mismatches(slides: &[Vec<f32>], shift: f32) -> usize {
        let means: Vec<f32> = slides.iter().map(|field| 8.0 + field.iter().sum::<f32>() / field.len() as f32).collect();
        let mut random = Random(SplitMix64::new(9));
        let mut known = calibrated(0.01);
        let mut is_mismatch = |(number, field): (usize, &Vec<f32>)| {
            let mut others: Vec<usize> = (0..means.len()).filter(|&other| other != number).collect();
            others.sort_by_cached_key(|_| random.0.unit().to_bits());
            others.truncate(99);
            let mut profile = (*known.profile).clone();
            profile.scanners[0].slide_shift = Calibration::new(others.into_iter().map(|i| means[i]).collect());
            known.profile = std::sync::Arc::new(profile);
            known.draw = Draw::new(number as u64);
            let mut rule = Mismatch::new(&known);
            for (i, value) in field.iter().enumerate() {
                let mut record = tile(i as u64, 0);
                record.scores[8] = 8.0 + value + shift;
                rule.observe(&record);
            }
            rule.conclude().is_some()
        };
        slides.iter().enumerate().filter(|&slide| is_mismatch(slide)).count()
    }

    /// Ranks on the slide itself cannot see this: it is as wrong at its first tile as at its last.
    #[test]
    fn a_slide_wrong_from_its_first_tile_is_a_mismatch() {
        let slides: Vec<Vec<f32>> = slides(120, 21).collect();
        // Binomial(120, 1 %) is at most 5 with 99.8 %.
        assert!(mismatches(&slides, 0.0) <= 5);
        assert!(mismatches(&slides, 3.0) >= 114, "{} of 120", mismatches(&slides, 3.0));
    }

    #[test]
    #[ignore = "minutes; the figures are in docs/measured/flags-and-alerts.md"]
    fn a_thousand_slides_wrong_from_their_first_tile() {
        let slides: Vec<Vec<f32>> = slides(1000, 21).collect();
        for shift in [0.0, 0.5, 1.0, 2.0, 3.0] {
            note(&format!("shifted by {shift} sd from tile 0: {} of 1000 are a mismatch", mismatches(&slides, shift)));
        }
    }

    /// The peak of a slide whose scores lie `shift` too high from its first tile on, and the running peaks on the way.
    fn peaks(field: &[f32], shift: f32) -> (f32, Vec<Option<f32>>) {
        let mut peak = Peak::new(8.0);
        let mut running = |value: &f32| {
            peak.add(8.0 + value + shift, 1.0);
            peak.highest()
        };
        let running: Vec<Option<f32>> = field.iter().map(&mut running).collect();
        (peak.highest().expect("tiles"), running)
    }

    /// 99 slides that calibrate and the numbers of all others, in an order drawn for each month.
    fn month(peaks: &[f32], random: &mut Random) -> (History, Vec<usize>) {
        let mut order: Vec<usize> = (0..peaks.len()).collect();
        order.sort_by_cached_key(|_| random.0.unit().to_bits());
        let rest = order.split_off(99);
        let mut calibration: Vec<f32> = order.into_iter().map(|slide| peaks[slide]).collect();
        calibration.sort_by(f32::total_cmp);
        (History::new(calibration), rest)
    }

    /// Of so many months of slides in control, those with an alarm, and the share of slides with one.
    fn months_in_control(peaks: &[f32], months: usize) -> (usize, f64) {
        let mut random = Random(SplitMix64::new(77));
        let (mut alarmed, mut slides, mut said) = (0, 0, 0);
        for number in 0..months as u64 {
            let (mut history, rest) = month(peaks, &mut random);
            let mut alarms = 0;
            for slide in rest {
                let p = history.rank(peaks[slide], Draw::new(number).of(slide as u64));
                alarms += usize::from(history.with(p) >= 100.0);
                history.absorb(peaks[slide], p);
                slides += 1;
            }
            alarmed += usize::from(alarms > 0);
            said += alarms;
        }
        (alarmed, said as f64 / slides as f64)
    }

    /// Slides, and tiles of the last of them, until SCANNER_DRIFT, with every slide wrong by `shift` from its first tile.
    fn until_said(fields: &[Vec<f32>], peaks_right: &[f32], shift: f32, seed: u64) -> Option<(usize, usize)> {
        let (mut history, rest) = month(peaks_right, &mut Random(SplitMix64::new(seed)));
        for (number, slide) in rest.into_iter().take(60).enumerate() {
            let (highest, running) = peaks(&fields[slide], shift);
            let draw = Draw::new(slide as u64);
            let is_said = |peak: &Option<f32>| peak.is_some_and(|peak| history.with(history.rank(peak, draw)) >= 100.0);
            if is_said(&Some(highest)) {
                return Some((number + 1, running.iter().position(is_said)?));
            }
            let p = history.rank(highest, draw);
            history.absorb(highest, p);
        }
        None
    }

    #[test]
    fn a_scanner_in_control_is_not_said_to_drift_and_a_shifted_one_is() {
        let fields: Vec<Vec<f32>> = slides(200, 33).collect();
        let right: Vec<f32> = fields.iter().map(|field| peaks(field, 0.0).0).collect();
        // Binomial(200, 1 %) is at most 7 with 99.9 %.
        let (alarmed, share) = months_in_control(&right, 200);
        assert!(alarmed <= 7 && share <= 0.01, "{alarmed} of 200 months, {share} of slides");
        let found: Vec<_> = (0..10).filter_map(|seed| until_said(&fields, &right, 3.0, seed)).collect();
        assert!(found.len() == 10 && found.iter().all(|&(slides, _)| slides <= 5), "{found:?}");
    }

    #[test]
    #[ignore = "minutes; the figures are in docs/measured/flags-and-alerts.md"]
    fn a_thousand_months_of_a_scanner() {
        let fields: Vec<Vec<f32>> = slides(1000, 33).collect();
        let right: Vec<f32> = fields.iter().map(|field| peaks(field, 0.0).0).collect();
        let (alarmed, share) = months_in_control(&right, 1000);
        note(&format!(
            "of 1000 months of 901 slides {alarmed} with SCANNER_DRIFT; on {:.4} % of slides",
            100.0 * share
        ));
        assert!(alarmed <= 18);
        for shift in [0.5, 1.0, 2.0, 3.0] {
            let mut found: Vec<_> = (0..50).filter_map(|seed| until_said(&fields, &right, shift, seed)).collect();
            found.sort_unstable();
            let middle = found.get(found.len() / 2);
            note(&format!(
                "wrong by {shift} sd from the first slide: said in {} of 50, median (slide, tile) {middle:?}",
                found.len()
            ));
        }
    }

    /// Tiles from a change of one standard deviation (of the field) to the alert, by range and place: found, median.
    fn delays(range: f64, start: usize, slides: usize) -> (usize, Option<usize>) {
        let mut random = Random(SplitMix64::new(5));
        let spectrum = spectrum(range);
        let mut delays: Vec<usize> = (0..slides.div_ceil(2))
            .flat_map(|_| fields(&spectrum, &mut random))
            .zip(0..slides as u64)
            .filter_map(|(mut field, seed)| {
                field[start..].iter_mut().for_each(|value| *value += 1.0);
                let found = alerts(&field, f32::INFINITY, seed);
                found.iter().find(|(_, code)| *code == abi::ALERT_EMBEDDING_DRIFT).map(|(at, _)| *at)
            })
            .filter_map(|at| at.checked_sub(start))
            .collect();
        delays.sort_unstable();
        (delays.len(), delays.get(delays.len() / 2).copied())
    }

    #[test]
    fn a_change_is_found_late_in_the_slide_as_soon_as_early() {
        let (early, late) = (delays(0.25, 1000, 10), delays(0.25, 5000, 10));
        assert!(early.0 >= 9 && late.0 >= 9, "found {early:?} {late:?}");
        let (early, late) = (early.1.expect("found"), late.1.expect("found"));
        assert!(early <= 2 * late && late <= 2 * early && late < 400, "{early} {late}");
    }

    #[test]
    #[ignore = "minutes; the figures are in docs/measured/flags-and-alerts.md"]
    fn delays_by_range_and_place() {
        for range in RANGES_MM {
            for start in [0, 250, 500, 1000, 2000, 5000, 10_000] {
                let (found, median) = delays(range, start, 50);
                note(&format!(
                    "range {range} mm, change at tile {start}: found on {found} of 50, median after {median:?} tiles"
                ));
            }
        }
    }
}
