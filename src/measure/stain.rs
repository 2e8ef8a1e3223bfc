//! The stain of a tile's tissue, and what is not tissue by its colour: both from the blocks of 8 × 8 px, as optical
//! density −log10(level / 255).

use super::blocks::Blocks;
use super::tissue::TissueTest;

/// How far a block may lie outside before it counts, in optical density, for each of the three kinds below. Chosen on 586
/// real tiles, of which none of clean tissue lies farther out with its farthest 2 %; see
/// `docs/measured/flags-and-alerts.md`.
const COLD: f32 = 0.06;
const WARM: f32 = 0.10;
const GREY: f32 = 0.01;
/// Red that counts as ink lets more red light through than so much of what it takes of green, ...
const INK_RED: f32 = 0.15;
/// ... takes less blue than this times green (more is yellow or brown), ...
const ORANGE: f32 = 1.25;
/// ... and covers at least this share of the tile: erythrocytes are red in patches, ink in strokes.
const LEAST_INK: f32 = 0.02;
/// Tissue without eosin takes more red than so much of what it takes of green, in all but one in ten of its blocks; ...
const NO_EOSIN: f32 = 0.75;
/// ... blocks count that take at least so much green against the tile's white, in optical density, ...
const STAINED: f32 = 0.06;
/// ... and a tile is judged from so many of them on.
const FEWEST_STAINED: usize = 40;
/// Red that is no ink lies this far inside.
const INSIDE: f32 = -0.01;
/// The score is the mean of one in so many blocks, the farthest ones, ...
const FARTHEST: usize = 50;
/// ... but of at least so many.
const FEWEST: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stain {
    /// Mean optical density of tissue per channel; NaN without tissue.
    pub(crate) mean: [f32; 3],
    /// Its standard deviation between blocks.
    pub(crate) spread: [f32; 3],
    /// How far the farthest 2 % of blocks lie outside tissue's colours, or all tissue where there is no eosin, in optical
    /// density; below 0: inside.
    pub(crate) foreign: f32,
    /// Share of the area outside, 0..1.
    pub(crate) foreign_share: f32,
}

/// Measures a tile from its grid and its white point. `distances` is memory to keep between tiles.
pub(crate) fn measure(blocks: &Blocks, white_point: [f32; 3], distances: &mut Vec<[f32; 3]>) -> Stain {
    let gate = TissueTest::new(white_point);
    let white = white_point.map(density);
    let (mut count, mut sum, mut squares) = (0.0f64, [0.0f64; 3], [0.0f64; 3]);
    let (mut area, mut outside, mut ink, mut stained) = (0usize, [0usize; 2], 0usize, 0usize);
    distances.clear();
    for (mean, pixels) in blocks.iter() {
        let od = mean.map(density);
        if gate.is_tissue(mean) {
            count += 1.0;
            for channel in 0..3 {
                let value = f64::from(od[channel]);
                sum[channel] += value;
                squares[channel] += value * value;
            }
        }
        let (distance, is_ink) = outside_tissue(od, white);
        area += usize::from(pixels);
        ink += usize::from(pixels) * usize::from(is_ink);
        for (outside, distance) in outside.iter_mut().zip(distance) {
            *outside += usize::from(pixels) * usize::from(distance > 0.0);
        }
        let [red, green] = [0, 1].map(|channel| (od[channel] - white[channel]).max(0.0));
        let is_stained = gate.is_tissue(mean) && green > STAINED;
        stained += usize::from(is_stained);
        let without_eosin = if is_stained { red - NO_EOSIN * green } else { f32::INFINITY };
        distances.push([distance[0], distance[1], without_eosin]);
    }
    let with_ink = usize::from(ink as f32 >= LEAST_INK * area as f32);
    let mean = sum.map(|sum| sum / count);
    let spread = std::array::from_fn(|i| (squares[i] / count - mean[i] * mean[i]).max(0.0).sqrt() as f32);
    Stain {
        mean: mean.map(|mean| mean as f32),
        // `max` has hidden the NaN of a tile without tissue.
        spread: if count > 0.0 { spread } else { [f32::NAN; 3] },
        foreign: match farthest(distances, with_ink) {
            nothing if nothing.is_nan() => nothing,
            farthest => farthest.max(without_eosin(distances, stained)),
        },
        foreign_share: outside[with_ink] as f32 / area.max(1) as f32,
    }
}

fn density(level: f32) -> f32 {
    -(level.max(1.0) / 255.0).log10()
}

/// How far an optical density lies outside tissue's colours, without and with red ink, and whether it is such; below 0
/// inside. In every stain of tissue green is absorbed
/// most, but for brown DAB, whose scanners' profiles know it:
/// - cold: more red is absorbed than green allows: green, blue, black ink;
/// - warm: more blue is absorbed than green and red allow: red, orange, yellow ink. Erythrocytes and dense eosin are such
///   a red too, in smaller patches, or darker in red than ink is;
/// - grey: all channels alike, against the tile's own white: edges of glass and bubbles, dirt.
fn outside_tissue(od: [f32; 3], white: [f32; 3]) -> ([f32; 2], bool) {
    let [r, g, b] = od;
    let cold = r - 0.9 * g - COLD;
    let warm = b - 0.4 * g - 0.8 * r - WARM;
    let is_red = warm > 0.0 && b < ORANGE * g;
    let is_ink = is_red && r < INK_RED * g;
    // Red is inside, unless there is enough of it that is like ink.
    let warm = if is_red { [INSIDE, if is_ink { warm } else { INSIDE }] } else { [warm; 2] };
    let [r, g, b]: [f32; 3] = std::array::from_fn(|i| (od[i] - white[i]).max(0.0));
    let grey = r.min(g).min(b) - 0.75 * r.max(g).max(b) - GREY;
    (warm.map(|warm| cold.max(warm).max(grey)), is_ink)
}

/// By how much all stained blocks but one in ten take more red than eosin lets them: haematoxylin alone, or another blue
/// stain. Nothing of too few blocks.
fn without_eosin(distances: &mut [[f32; 3]], stained: usize) -> f32 {
    if stained < FEWEST_STAINED {
        return f32::NEG_INFINITY;
    }
    let (_, pinkest, _) = distances.select_nth_unstable_by(stained / 10, |a, b| a[2].total_cmp(&b[2]));
    pinkest[2]
}

/// The mean of the farthest 2 % (at least [`FEWEST`]); NaN of none.
fn farthest(distances: &mut [[f32; 3]], of: usize) -> f32 {
    let count = (distances.len() / FARTHEST).max(FEWEST).min(distances.len());
    if count == 0 {
        return f32::NAN;
    }
    let at = distances.len() - count;
    distances.select_nth_unstable_by(at, |a, b| a[of].total_cmp(&b[of]));
    // Summed in order: which of equals comes first must not matter to the last bit.
    let top = &mut distances[at..];
    top.sort_unstable_by(|a, b| a[of].total_cmp(&b[of]));
    top.iter().map(|distance| distance[of]).sum::<f32>() / count as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: usize = 224;

    fn of(pixel: impl Fn(usize, usize) -> [u8; 3], white: [f32; 3]) -> Stain {
        let rgb: Vec<u8> = (0..SIDE * SIDE).flat_map(|i| pixel(i % SIDE, i / SIDE)).collect();
        let mut blocks = Blocks::default();
        blocks.fill(&rgb, SIDE, SIDE);
        measure(&blocks, white, &mut Vec::new())
    }

    const GLASS: [u8; 3] = [243, 241, 243];
    const WHITE: [f32; 3] = [243.0, 241.0, 243.0];

    #[test]
    fn densities_are_those_of_tissue_alone() {
        let found = of(
            |x, _| {
                if x < 112 {
                    GLASS
                } else if x < 168 {
                    [200, 100, 180]
                } else {
                    [100, 50, 120]
                }
            },
            WHITE,
        );
        let od = |v: f64| -(v / 255.0).log10();
        for (channel, (a, b)) in [(200.0, 100.0), (100.0, 50.0), (180.0, 120.0)].into_iter().enumerate() {
            let (mean, spread) = ((od(a) + od(b)) / 2.0, (od(a) - od(b)).abs() / 2.0);
            assert!((f64::from(found.mean[channel]) - mean).abs() < 1e-5, "{found:?}");
            assert!((f64::from(found.spread[channel]) - spread).abs() < 1e-5, "{found:?}");
        }
        let glass = of(|_, _| GLASS, WHITE);
        assert!(glass.mean[0].is_nan() && glass.spread[2].is_nan() && glass.foreign < 0.0);
    }

    /// A capillary of erythrocytes as saturated as ink, and a tile of dense eosin or blood.
    #[test]
    fn erythrocytes_and_dense_eosin_are_tissue() {
        let erythrocytes = |x: usize, y: usize| (40..64).contains(&x) && (40..72).contains(&y);
        let capillary = of(|x, y| if erythrocytes(x, y) { [204, 22, 40] } else { [205, 140, 190] }, WHITE);
        assert!(capillary.foreign < 0.0 && capillary.foreign_share == 0.0, "{capillary:?}");
        for red in [[182, 56, 70], [171, 45, 50], [129, 34, 36], [198, 70, 87]] {
            let whole = of(|_, y| if y < 160 { red } else { GLASS }, WHITE);
            assert!(whole.foreign < 0.0, "{red:?} {whole:?}");
        }
        // The same red as the capillary's, in a stroke; and brown, which takes more blue than red ink does.
        let stroke = of(|_, y| if y < 24 { [204, 22, 40] } else { [205, 140, 190] }, WHITE);
        assert!(stroke.foreign > 0.1, "{stroke:?}");
        assert!(of(|x, _| if x < 40 { [150, 110, 62] } else { GLASS }, WHITE).foreign > 0.0);
    }

    #[test]
    fn haematoxylin_alone_is_no_h_and_e() {
        let nuclei = |x: usize, y: usize| (x / 16 + y / 16).is_multiple_of(2);
        let alone = of(|x, y| if nuclei(x, y) { [120, 105, 170] } else { [205, 200, 222] }, WHITE);
        assert!(alone.foreign > 0.0, "{alone:?}");
        // The same nuclei beside some eosin.
        let both = of(|x, y| if nuclei(x, y) || x < 160 { [120, 105, 170] } else { [215, 150, 195] }, WHITE);
        assert!(both.foreign < 0.0, "{both:?}");
        // A few nuclei on glass say nothing.
        let few = of(|x, y| if x < 40 && y < 40 { [120, 105, 170] } else { GLASS }, WHITE);
        assert!(few.foreign < 0.0, "{few:?}");
    }

    #[test]
    fn ink_dirt_and_glass_edges_are_outside_and_tissue_is_not() {
        let with = |odd: [u8; 3]| of(|x, y| if x < 32 && y < 96 { odd } else { [205, 140, 190] }, WHITE);
        for tissue in [[120, 60, 130], [90, 60, 140], [235, 120, 160], [220, 190, 215], [200, 60, 100]] {
            assert!(with(tissue).foreign < 0.0, "{tissue:?} {}", with(tissue).foreign);
        }
        for odd in [[60, 170, 140], [30, 60, 160], [25, 25, 25], [210, 40, 60], [230, 200, 60]] {
            let found = with(odd);
            assert!(found.foreign > 0.0, "{odd:?} {}", found.foreign);
            assert!((found.foreign_share - 48.0 / 784.0).abs() < 1e-6);
        }
        let edge = of(|_, y| if (100..108).contains(&y) { [172, 174, 168] } else { GLASS }, WHITE);
        assert!(edge.foreign > 0.0);
    }
}
