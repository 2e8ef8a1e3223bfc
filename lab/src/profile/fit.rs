//! What a profile has before calibration: the geometry of every tap, the features that follow a scanner, colours.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;

use coverslip_analysis::Categories;
use coverslip_analysis::SparseRows;
use coverslip_analysis::scanners::{Geometry, scanner_effects};
use coverslip_plugin_abi as abi;
use coverslip_profile::{ColorBaseline, MAX_FEATURES, TapGeometry, color_vector, measurement};
use faer::Mat;

use super::sampler::{Sample, SampleTile};

/// The most axes in a tap's geometry: they are what scoring a tile costs.
const MOST_AXES: usize = 128;
/// Tiles per axis: an axis from few tiles is noise.
const TILES_PER_AXIS: usize = 4;
/// The fewest tiles of a scanner.
const FEWEST_TILES: usize = 30;
/// A feature is marked where its effect is at least Cohen's medium one, whichever slide is left out.
const LEAST_EFFECT: f64 = 0.5;

/// The slides of one scanner, real or simulated, that the profile is fitted on.
pub(super) struct Fitted {
    pub(super) id: String,
    pub(super) simulated: bool,
    pub(super) samples: Vec<Sample>,
}

/// What was fitted.
pub(super) struct Fit {
    pub(super) taps: Vec<TapGeometry>,
    /// By scanner, then by tap.
    pub(super) means: Vec<Vec<Vec<f32>>>,
    pub(super) features: Vec<u32>,
    /// By scanner, then by feature.
    pub(super) effects: Vec<Vec<f32>>,
    pub(super) colors: Vec<Option<ColorBaseline>>,
    /// By scanner.
    pub(super) tiles: Vec<usize>,
    /// For each tap: how far the scanners spread along each direction, in standard deviations within a scanner.
    pub(super) spread: Vec<Vec<f64>>,
    /// For each tap: tiles that count less, because they are unlike the others.
    pub(super) counting_less: Vec<usize>,
}

/// Refuses slides from which no profile can be made.
///
/// # Errors
/// Too little tissue; slides that are blurry or wrongly exposed, which a profile would take for normal.
pub(super) fn check(id: &str, samples: &[Sample]) -> Result<(), Box<dyn Error>> {
    let tiles: Vec<&SampleTile> = samples.iter().flat_map(|sample| &sample.tiles).collect();
    let all: usize = samples.iter().map(|sample| sample.all_tiles).sum();
    let names: Vec<&str> = samples.iter().map(|sample| sample.name.as_str()).collect();
    if tiles.len() < FEWEST_TILES {
        return Err(format!(
            "scanner {id}: expected {FEWEST_TILES} tiles with tissue or more, found {} among {all} of {}. Glass says \
             nothing about a scanner: give slides with tissue, or more of them",
            tiles.len(),
            names.join(", ")
        )
        .into());
    }
    let plain = tiles.iter().filter(|tile| !tile.measurements[measurement::SHARPNESS].is_finite()).count();
    if 2 * plain > tiles.len() {
        return Err(format!(
            "scanner {id}: expected tissue, found {plain} of {} tiles without any detail. A single colour says nothing \
             about a scanner: give slides with tissue",
            tiles.len()
        )
        .into());
    }
    let rules = [
        (abi::FLAG_OUT_OF_FOCUS, "out of focus"),
        (abi::FLAG_OVEREXPOSED, "overexposed"),
        (abi::FLAG_UNDEREXPOSED, "underexposed"),
    ];
    for (flag, what) in rules {
        let count = tiles.iter().filter(|tile| tile.flags & flag != 0).count();
        if 2 * count > tiles.len() {
            return Err(format!(
                "scanner {id}: expected good slides, found {count} of {} tiles {what} by the general rule. A profile made \
                 of them would call that normal: give slides that were checked by eye",
                tiles.len()
            )
            .into());
        }
    }
    Ok(())
}

/// Fits the profile's parts. `widths` are the taps' names and widths in the order of the embeddings. With `paired` only
/// places that every scanner has count, so that differences in tissue are not taken for scanners.
pub(super) fn fit(scanners: &[Fitted], widths: &[(String, usize)], paired: bool) -> Result<Fit, Box<dyn Error>> {
    let tiles: Vec<(usize, &SampleTile)> = rows(scanners, paired)?;
    let labels = Categories::new(&tiles.iter().map(|(scanner, ..)| format!("{scanner:04}")).collect::<Vec<_>>());
    if labels.kinds() < scanners.len() {
        return Err("expected tiles of every scanner at places that all have, found none of some. Are the slides of \
                    --paired in the same order, and registered?"
            .into());
    }
    let mut fit = Fit {
        taps: Vec::new(),
        means: vec![Vec::new(); scanners.len()],
        features: Vec::new(),
        effects: vec![Vec::new(); scanners.len()],
        colors: scanners.iter().map(colors).collect(),
        tiles: scanners.iter().map(|one| one.samples.iter().map(|sample| sample.tiles.len()).sum()).collect(),
        spread: Vec::new(),
        counting_less: Vec::new(),
    };
    let mut first = 0;
    for (name, width) in widths {
        let rows = Mat::from_fn(tiles.len(), *width, |row, column| f64::from(tiles[row].1.embedding[first + column]));
        first += width;
        let rank = MOST_AXES.min(*width).min((tiles.len() / TILES_PER_AXIS).max(1));
        let geometry = Geometry::fit(rows.as_ref(), &labels, rank).map_err(|why| format!("tap {name}: {why}"))?;
        fit.taps.push(stored(name, *width, &geometry));
        for (scanner, means) in fit.means.iter_mut().enumerate() {
            means.push(geometry.means.row(scanner).iter().map(|&value| value as f32).collect());
        }
        fit.spread.push(geometry.spread);
        fit.counting_less.push(geometry.weights.iter().filter(|&&weight| weight < 1.0).count());
    }
    mark(&mut fit, scanners)?;
    Ok(fit)
}

/// Every tile with its scanner, or those at places that all scanners have.
fn rows(scanners: &[Fitted], paired: bool) -> Result<Vec<(usize, &SampleTile)>, Box<dyn Error>> {
    let places = |one: &Fitted| -> BTreeSet<(usize, (i32, i32))> {
        let of = |(slide, sample): (usize, &Sample)| {
            sample.tiles.iter().map(move |tile| (slide, tile.place)).collect::<Vec<_>>()
        };
        one.samples.iter().enumerate().flat_map(of).collect()
    };
    let common = scanners.iter().map(places).reduce(|a, b| a.intersection(&b).copied().collect()).unwrap_or_default();
    if paired && common.len() < FEWEST_TILES {
        return Err(format!(
            "--paired: expected {FEWEST_TILES} places that every scanner has tissue at or more, found {}",
            common.len()
        )
        .into());
    }
    let mut found = Vec::new();
    for (scanner, one) in scanners.iter().enumerate() {
        for (slide, sample) in one.samples.iter().enumerate() {
            let own = sample.tiles.iter().filter(|tile| !paired || common.contains(&(slide, tile.place)));
            found.extend(own.map(|tile| (scanner, tile)));
        }
    }
    Ok(found)
}

/// A geometry as profiles store it.
fn stored(name: &str, width: usize, geometry: &Geometry) -> TapGeometry {
    let whitening = &geometry.whitening;
    let line = |matrix: &Mat<f64>| -> Vec<f32> {
        (0..matrix.nrows()).flat_map(|row| matrix.row(row).iter().map(|&value| value as f32)).collect()
    };
    let mut tap = TapGeometry {
        name: name.to_owned(),
        width,
        variances: whitening.scales.iter().map(|scale| (scale * scale).recip() as f32).collect(),
        axes: line(&whitening.directions),
        floor: (whitening.rest * whitening.rest).recip() as f32,
        scanner_axes: Vec::new(),
    };
    tap.set_scanner_basis(&line(&geometry.subspace));
    tap
}

/// White point and stain of a scanner, where enough tiles have them.
fn colors(one: &Fitted) -> Option<ColorBaseline> {
    let tiles: Vec<_> = one
        .samples
        .iter()
        .flat_map(|sample| &sample.tiles)
        .filter_map(|tile| color_vector(&tile.measurements))
        .collect();
    ColorBaseline::fit(&tiles).ok()
}

/// Marks the features that follow a scanner whichever slide is left out.
fn mark(fit: &mut Fit, scanners: &[Fitted]) -> Result<(), Box<dyn Error>> {
    let (mut ends, mut index, mut value) = (Vec::new(), Vec::new(), Vec::new());
    let (mut of_scanner, mut of_slide) = (Vec::new(), Vec::new());
    for (scanner, one) in scanners.iter().enumerate() {
        for (slide, sample) in one.samples.iter().enumerate() {
            for tile in &sample.tiles {
                index.extend(tile.features.iter().map(|feature| feature.0));
                value.extend(tile.features.iter().map(|feature| feature.1));
                ends.push(index.len());
                of_scanner.push(format!("{scanner:04}"));
                of_slide.push(slide.to_string());
            }
        }
    }
    let rows = SparseRows { ends: &ends, index: &index, value: &value };
    let effects = scanner_effects(rows, &Categories::new(&of_scanner), &Categories::new(&of_slide))?;
    let mut marked: BTreeMap<u32, Vec<f32>> = BTreeMap::new();
    for effect in effects.iter().filter(|effect| effect.least >= LEAST_EFFECT) {
        if marked.len() < MAX_FEATURES {
            marked.entry(effect.feature).or_insert_with(|| vec![0.0; scanners.len()]);
        }
    }
    for effect in &effects {
        if let Some(of) = marked.get_mut(&effect.feature) {
            of[effect.scanner] = effect.size as f32;
        }
    }
    fit.features = marked.keys().copied().collect();
    for (scanner, effects) in fit.effects.iter_mut().enumerate() {
        *effects = marked.values().map(|of| of[scanner]).collect();
    }
    Ok(())
}
