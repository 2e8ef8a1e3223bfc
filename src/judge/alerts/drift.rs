//! COLOR_DRIFT, EMBEDDING_DRIFT: a score that has become higher than it was on the same slide.
//!
//! Neighbouring tiles are alike, and an e-process over units that are alike raises false alarms: with the tissue's colour
//! correlated over 4 mm, on 4 slides of 5. So the units are tiles on a lattice, and four lattices are watched side by
//! side, each of twice the pitch, each at α/4: the finest notices a drift first where tissue allows it. A lattice may
//! raise the alarm only while its neighbours are no more alike than those at two and four times their distance (a
//! semivariance of at least 85 % of theirs). The coarsest, 1.8 mm and more, may always.
//!
//! Only pairs along the lines of the scan count. A drift is in time: it lies between the lines, and in pairs across them
//! it would look like tissue that varies slowly, and silence itself wherever it takes up much of a slide. Tissue that makes
//! false alarms is alike along the lines, whatever it is across: then many units in a row have one rank.

use std::collections::HashMap;

use coverslip_numerics::Draw;
use coverslip_plugin_abi::TileResult;
use coverslip_profile::Check;

use super::super::rules::{Calibrated, DRIFT_ALIKE_BELOW, DRIFT_FEWEST_PAIRS};
use super::finding::{Finding, Since, tile_box};
use super::scene::Scene;
use super::wealth::Wealth;
use crate::tiles::grid::Rect;
use coverslip_base::error::{Result, error};
use coverslip_base::memory::reserve;

/// The finest pitch, mm.
const FINEST_MM: f64 = 0.2;
/// Lattices: the pitch of each is twice that of the one before.
const LATTICES: usize = 4;
/// Distances at which pairs are compared: the pitches and twice the coarsest.
const LAGS: usize = LATTICES + 1;
/// Units of the finest lattice, at most: a larger slide gets a coarser one.
const MOST_UNITS: u64 = 65_536;

pub(super) struct Drift {
    code: i32,
    check: Check,
    draw: Draw,
    /// 1/α of one lattice.
    threshold: f64,
    /// The finest pitch, tiles.
    step: i32,
    watches: Vec<Watch>,
    /// The logarithm of each unit's score and its number, by its place on the finest lattice.
    units: HashMap<(i32, i32), (f32, u32)>,
    /// Pairs along rows, and along columns.
    pairs: [Pairs; 2],
    said: bool,
}

/// Pairs of units in one direction.
#[derive(Clone, Copy, Default)]
struct Pairs {
    /// By lag: sum of squared differences, pairs.
    by_lag: [(f64, f64); LAGS],
    /// Units that came between two neighbours, summed.
    between: f64,
}

impl Pairs {
    /// Half the mean squared difference at a lag; None of few pairs.
    fn semivariance(&self, lag: usize) -> Option<f64> {
        let (sum, pairs) = self.by_lag[lag];
        (pairs >= DRIFT_FEWEST_PAIRS).then(|| sum / pairs)
    }

    /// Units that come between two neighbours, in the mean; infinity without neighbours.
    fn apart(&self) -> f64 {
        let neighbours = self.by_lag[0].1;
        if neighbours > 0.0 { self.between / neighbours } else { f64::INFINITY }
    }
}

/// One lattice.
struct Watch {
    wealth: Wealth,
    since: Since,
    area: Option<Rect>,
}

/// Pitch of the finest lattice in tiles, and its units.
fn finest(scene: &Scene<'_>) -> (i32, u64) {
    let mut step = ((FINEST_MM / scene.tile_mm).ceil() as u64).max(1);
    while units(scene, step) > MOST_UNITS {
        step *= 2;
    }
    (step as i32, units(scene, step))
}

/// Units that the slide can have at a pitch.
fn units(scene: &Scene<'_>, step: u64) -> u64 {
    match scene.grid.extent {
        Some(extent) => {
            let along = |length: i64, tile: u32| (length as u64).div_ceil(u64::from(tile)).div_ceil(step).max(1);
            along(extent.x1 - extent.x0, scene.grid.tile_width) * along(extent.y1 - extent.y0, scene.grid.tile_height)
        }
        None => (scene.max_tiles as u64).div_ceil(step * step).max(1),
    }
}

impl Drift {
    pub(super) fn new(scene: &Scene<'_>, known: &Calibrated, code: i32, check: Check) -> Result<Drift> {
        let (step, most) = finest(scene);
        let mut watches = reserve(LATTICES)?;
        for i in 0..LATTICES {
            let units = units(scene, step as u64 * (1 << i)).min(MOST_UNITS);
            watches.push(Watch { wealth: Wealth::new(units as usize)?, since: Since::default(), area: None });
        }
        let mut places = HashMap::new();
        places.try_reserve(most as usize).map_err(|_| {
            error!(OUT_OF_MEMORY, "no memory for {most} units of the drift alerts: lower max_tiles or the extent")
        })?;
        Ok(Drift {
            code,
            check,
            draw: known.draw.of(check as u64),
            threshold: LATTICES as f64 / known.alpha,
            step,
            watches,
            units: places,
            pairs: [Pairs::default(); 2],
            said: false,
        })
    }

    /// Bytes that one takes at most.
    pub(super) fn bytes(scene: &Scene<'_>) -> u64 {
        // The map: 16 bytes and one of control, at least 7/16 full after a reservation. The lattices: 1 + 1/4 + 1/16 + …
        finest(scene).1 * (17 * 16 / 7 + 4 * 4 / 3 + 1) + 4096
    }

    pub(super) fn observe(&mut self, record: &TileResult) -> Option<Finding> {
        let score = record.scores[self.check.index()];
        let (column, row, step) = (record.column, record.row, self.step);
        let on_lattice = column.rem_euclid(step) == 0 && row.rem_euclid(step) == 0;
        if self.said || record.pass != 0 || !on_lattice || !score.is_finite() {
            return None;
        }
        let place = (column.div_euclid(step), row.div_euclid(step));
        self.compare(place, score.max(0.0).ln_1p());
        let draw = self.draw.of(place.0 as u64).of(place.1 as u64);
        let mut found = None;
        for i in 0..LATTICES {
            let pitch = 1 << i;
            if place.0 % pitch != 0 || place.1 % pitch != 0 {
                continue;
            }
            let watch = &mut self.watches[i];
            let (value, won) = watch.wealth.observe(score, draw.of(i as u64));
            if won <= 1.0 {
                // Nothing has been won yet: what comes may begin here.
                (watch.since, watch.area) = (Since::of(record), None);
            }
            watch.area = Some(watch.area.map_or(tile_box(record), |area| area.union(&tile_box(record))));
            let (since, area) = (watch.since, watch.area);
            if found.is_none() && value >= self.threshold && self.may_speak(i) {
                self.said = true;
                found = Some(Finding {
                    code: self.code,
                    calibrated: true,
                    area,
                    since,
                    strength: value,
                    threshold: self.threshold,
                });
            }
        }
        found
    }

    /// Adds a unit to the pairs at each lag, along its row and its column.
    fn compare(&mut self, place: (i32, i32), value: f32) {
        let number = self.units.len() as u32;
        for (pairs, direction) in self.pairs.iter_mut().zip([(1, 0), (0, 1)]) {
            for (lag, sums) in pairs.by_lag.iter_mut().enumerate() {
                for far in [1 << lag, -(1 << lag)] {
                    let other = (place.0.wrapping_add(far * direction.0), place.1.wrapping_add(far * direction.1));
                    if let Some((other, earlier)) = self.units.get(&other) {
                        *sums = (sums.0 + f64::from(value - other).powi(2), sums.1 + 1.0);
                        pairs.between += if lag == 0 { f64::from(number.saturating_sub(*earlier)) } else { 0.0 };
                    }
                }
            }
        }
        // The room was reserved: beyond it a unit is judged and not remembered.
        if self.units.len() < self.units.capacity() {
            self.units.insert(place, (value, number));
        }
    }

    /// The pairs along the lines of the scan, whose neighbours came soon after each other.
    fn along(&self) -> &Pairs {
        let [rows, columns] = &self.pairs;
        if columns.apart() < rows.apart() { columns } else { rows }
    }

    /// Whether a lattice's neighbours are as unlike as tiles farther apart.
    fn may_speak(&self, lattice: usize) -> bool {
        if lattice + 1 == LATTICES {
            return true;
        }
        let along = self.along();
        let (Some(own), Some(twice)) = (along.semivariance(lattice), along.semivariance(lattice + 1)) else {
            return false;
        };
        let farther = along.semivariance(lattice + 2).map_or(twice, |four_times| four_times.max(twice));
        own >= DRIFT_ALIKE_BELOW * farther
    }
}

#[cfg(test)]
mod tests {
    use coverslip_numerics::{Draw, SplitMix64};
    use coverslip_plugin_abi as abi;

    use super::super::finding::tests::tile;
    use super::*;
    use crate::judge::rules::tests::calibrated;
    use crate::tiles::grid::Grid;

    /// Columns and rows of a small slide.
    const SMALL: (i32, i32) = (28, 20);

    /// Of 20 small slides of unlike tiles, `size` along and across the scan's lines, those with an alert, where scores rise by
    /// up to `rise` standard deviations over the last 70 % of the scan. `turned`: the scanner moves down the columns.
    fn said(rise: f32, size: (i32, i32), turned: bool) -> usize {
        let (columns, rows) = if turned { (size.1, size.0) } else { size };
        let edge = |count: i32| i64::from(count) * 100;
        let extent = Some(Rect { x0: 0, y0: 0, x1: edge(columns), y1: edge(rows) });
        let grid = Grid { origin: (0, 0), tile_width: 100, tile_height: 100, extent };
        let most = (columns * rows) as usize;
        let slide = |seed: u64| {
            let mut known = calibrated(0.01);
            known.draw = Draw::new(seed);
            let scene = Scene { calibrated: Some(&known), grid: &grid, max_tiles: most, tile_mm: 0.112 };
            let mut drift = Drift::new(&scene, &known, abi::ALERT_COLOR_DRIFT, Check::ColorShift).unwrap();
            let mut random = SplitMix64::new(seed);
            (0..most as i32).any(|i| {
                let (line, along) = (i / size.0, i % size.0);
                let normal: f64 = (0..12).map(|_| random.unit()).sum::<f64>() - 6.0;
                let share = (i as f32 / most as f32 - 0.3).max(0.0) / 0.7;
                let (column, row) = if turned { (line, along) } else { (along, line) };
                let mut record = tile(i as u64, i64::from(column));
                (record.row, record.y) = (row, edge(row));
                record.scores[Check::ColorShift.index()] = 8.0 + normal as f32 + rise * share;
                drift.observe(&record).is_some()
            })
        };
        (0..20).filter(|&seed| slide(seed)).count()
    }

    /// With pairs across the lines too, such a drift looks like slow tissue, and is said on six of them.
    #[test]
    fn a_drift_over_most_of_a_small_slide_is_said() {
        for turned in [false, true] {
            let (none, some) = (said(0.0, SMALL, turned), said(12.0, SMALL, turned));
            assert!(none <= 1 && some >= 16, "turned {turned}: {none} and {some} of 20");
        }
    }

    /// A core of a needle: one line, along which alone there are neighbours.
    #[test]
    fn a_drift_along_a_single_line_is_said() {
        for turned in [false, true] {
            let (none, some) = (said(0.0, (560, 1), turned), said(12.0, (560, 1), turned));
            assert!(none <= 1 && some >= 16, "turned {turned}: {none} and {some} of 20");
        }
    }
}
