//! COLOR_DRIFT, EMBEDDING_DRIFT: a score that has become higher than it was on the same slide.
//!
//! Neighbouring tiles are alike, and an e-process over units that are alike raises false alarms: with the tissue's colour
//! correlated over 4 mm, on 4 slides of 5. So the units are tiles on a lattice, and four lattices are watched side by
//! side, each of twice the pitch, each at α/4: the finest notices a drift first where tissue allows it. A lattice may
//! raise the alarm only while its neighbours are no more alike than those at two and four times their distance (a
//! semivariance of at least 85 % of theirs); a drift raises all three alike, but for the pairs across its beginning. The
//! coarsest, 1.8 mm and more, may always.

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
    /// The logarithm of each unit's score, by its place on the finest lattice.
    units: HashMap<(i32, i32), f32>,
    /// By lag: sum of squared differences, pairs.
    pairs: [(f64, f64); LAGS],
    said: bool,
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
            pairs: [(0.0, 0.0); LAGS],
            said: false,
        })
    }

    /// Bytes that one takes at most.
    pub(super) fn bytes(scene: &Scene<'_>) -> u64 {
        // The map: 12 bytes and one of control, at least 7/16 full after a reservation. The lattices: 1 + 1/4 + 1/16 + …
        finest(scene).1 * (13 * 16 / 7 + 4 * 4 / 3 + 1) + 4096
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

    /// Adds a unit to the pairs at each lag, across and down.
    fn compare(&mut self, place: (i32, i32), value: f32) {
        for (lag, pairs) in self.pairs.iter_mut().enumerate() {
            let far = 1 << lag;
            for (dx, dy) in [(far, 0), (-far, 0), (0, far), (0, -far)] {
                if let Some(other) = self.units.get(&(place.0.wrapping_add(dx), place.1.wrapping_add(dy))) {
                    *pairs = (pairs.0 + f64::from(value - other).powi(2), pairs.1 + 1.0);
                }
            }
        }
        // The room was reserved: beyond it a unit is judged and not remembered.
        if self.units.len() < self.units.capacity() {
            self.units.insert(place, value);
        }
    }

    /// Whether a lattice's neighbours are as unlike as tiles farther apart.
    fn may_speak(&self, lattice: usize) -> bool {
        let semivariance = |lag: usize| {
            let (sum, pairs) = self.pairs[lag];
            (pairs >= DRIFT_FEWEST_PAIRS).then(|| sum / pairs)
        };
        if lattice + 1 == LATTICES {
            return true;
        }
        let (Some(own), Some(twice)) = (semivariance(lattice), semivariance(lattice + 1)) else { return false };
        let farther = semivariance(lattice + 2).map_or(twice, |four_times| four_times.max(twice));
        own >= DRIFT_ALIKE_BELOW * farther
    }
}
