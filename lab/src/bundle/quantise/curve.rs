//! Speed against fidelity: which layers are in int8, from the one that costs least on.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::Write;
use std::sync::Arc;

use coverslip_bundle::{
    Architecture, Bundle, Int8Block, Int8Gate, Int8Layer, Int8Mix, Int8Rest, Mlp, Precision, ReferenceOutputs,
};
use coverslip_vit::{Choice, Family, Lane, Model, of_model, outputs, smoothing};

use super::fidelity::{self, Fidelity};
use super::slides::Slides;

/// Tiles on which a layer's cost is measured, spread over the slides.
const FEW: usize = 24;
/// How much more overlap a mix must have than the gate asks for, on the tiles that choose it: they flatter it.
const MARGIN: f64 = 0.005;
/// The share of all layers in int8 at the points that are looked at beside the chosen one.
const SHARES: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];

/// A point of the curve: the first `count` layers of the order in int8.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) rest: Int8Rest,
    pub(super) count: usize,
}

/// The chosen point, and others for the page.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) point: Point,
    pub(super) others: Vec<Point>,
}

/// What all points have in common.
pub(super) struct Curve<'a> {
    bundle: &'a Bundle,
    /// Of float32, and of the mixes.
    kernels: (Choice, Choice),
    tiles: &'a Slides,
    expected: ReferenceOutputs,
    factors: Vec<[Vec<f32>; 2]>,
    /// Block and layer, the one first that costs the least fidelity for its work.
    order: Vec<(usize, Int8Layer)>,
}

impl<'a> Curve<'a> {
    /// Evens out the norms and measures what each layer costs.
    pub(super) fn new(
        bundle: &'a Bundle,
        kernels: (Choice, Choice),
        tiles: &'a Slides,
    ) -> Result<Self, Box<dyn Error>> {
        let mut lane = Lane::calibrating(&Arc::new(Model::open(bundle, kernels.0)?))?;
        let tile = tiles.pixels.len() / tiles.count().max(1);
        tiles.pixels.chunks_exact(tile).for_each(|tile| _ = lane.run(tile));
        let factors = lane.maxima().map(|maxima| smoothing(bundle, maxima)).transpose()?.unwrap_or_default();
        let expected = outputs(bundle, kernels.0, &tiles.pixels)?;
        let mut curve = Self { bundle, kernels, tiles, expected, factors, order: Vec::new() };
        curve.order = curve.ordered(tile)?;
        Ok(curve)
    }

    /// The layers by the squared distance that each adds alone, per multiply-add.
    fn ordered(&self, tile: usize) -> Result<Vec<(usize, Int8Layer)>, Box<dyn Error>> {
        let step = self.tiles.count().div_ceil(FEW);
        let few: Vec<u8> = self.tiles.pixels.chunks_exact(tile).step_by(step).flatten().copied().collect();
        let exact = outputs(self.bundle, self.kernels.0, &few)?;
        let manifest = self.bundle.manifest();
        let tap = manifest.sae_tap().unwrap_or_default();
        let mut costs = Vec::new();
        for block in 0..self.factors.len() {
            for layer in Int8Layer::ALL {
                let mut mix = self.of_layers(Int8Rest::Float32, &[]);
                mix.blocks[block].layers.insert(layer);
                let found = of_model(manifest, Model::of_mix(self.bundle, self.kernels.1, &mix)?, &few)?;
                let pairs = exact.embeddings[tap].iter().zip(&found.embeddings[tap]);
                let square: f64 = pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
                costs.push((square / self.work(block, layer), (block, layer)));
            }
        }
        costs.sort_by(|a, b| a.0.total_cmp(&b.0));
        Ok(costs.into_iter().map(|(_, layer)| layer).collect())
    }

    /// The most layers that hold the gate with a margin on the tiles that calibrate; of the two rests, the one with
    /// less work.
    pub(super) fn choose(&self, out: &mut impl Write) -> Result<Chosen, Box<dyn Error>> {
        let mut best: Option<Point> = None;
        for rest in self.rests() {
            let (mut holds, mut fails) = (None, self.order.len() + 1);
            let mut from = 1;
            while from < fails {
                let count = from.midpoint(fails);
                let point = Point { rest, count };
                let found = self.fidelity(&point)?;
                writeln!(
                    out,
                    "  {count} of {} layers in int8, the others in {}: overlap {:.4}, low {:.4}, by value {:.4}",
                    self.order.len(),
                    super::rest_name(rest),
                    found.overlap,
                    found.low,
                    found.value
                )?;
                if holds_with_margin(&found) {
                    (holds, from) = (Some(point), count + 1);
                } else {
                    fails = count;
                }
            }
            let less = |point: &Point| best.is_none_or(|best| self.work_of(point) < self.work_of(&best));
            best = holds.filter(less).or(best);
        }
        let Some(point) = best else {
            return Err(
                "not one layer holds the gate in int8 on the slides that calibrate: the bundle stays without".into()
            );
        };
        let share = |share: &f64| (share * self.order.len() as f64).round() as usize;
        let points = self.rests().into_iter().flat_map(|rest| SHARES.iter().map(move |s| (rest, s)));
        let others = points.map(|(rest, s)| Point { rest, count: share(s) }).filter(|other| *other != point).collect();
        Ok(Chosen { point, others })
    }

    /// What this machine can multiply the other layers with.
    fn rests(&self) -> Vec<Int8Rest> {
        let half = self.kernels.1.floats.precision() != Precision::Float32;
        if half { vec![Int8Rest::Half, Int8Rest::Float32] } else { vec![Int8Rest::Float32] }
    }

    fn fidelity(&self, point: &Point) -> Result<Fidelity, Box<dyn Error>> {
        let found = self.outputs(point, &self.tiles.pixels)?;
        Ok(fidelity::measure(self.bundle.manifest(), None, self.tiles, (&self.expected, &found)))
    }

    /// The outputs of a point for tiles.
    pub(super) fn outputs(&self, point: &Point, tiles: &[u8]) -> Result<ReferenceOutputs, Box<dyn Error>> {
        Ok(of_model(self.bundle.manifest(), self.model(point)?, tiles)?)
    }

    /// A point's model, packed.
    pub(super) fn model(&self, point: &Point) -> Result<Model, Box<dyn Error>> {
        Ok(Model::of_mix(self.bundle, self.kernels.1, &self.mix(point))?)
    }

    pub(super) fn bundle(&self) -> &Bundle {
        self.bundle
    }

    /// A tile, for timing.
    pub(super) fn tile(&self) -> &[u8] {
        &self.tiles.pixels[..self.tiles.pixels.len() / self.tiles.count().max(1)]
    }

    /// The kernels of float32.
    pub(super) fn floats(&self) -> Choice {
        self.kernels.0
    }

    /// Those that a mix with this rest runs on.
    pub(super) fn kernels(&self, rest: Int8Rest) -> Choice {
        let float32 = Choice { floats: Family::best(false).unwrap_or(Family::Plain), ..self.kernels.1 };
        if rest == Int8Rest::Float32 && float32.runs_here() { float32 } else { self.kernels.1 }
    }

    pub(super) fn mix(&self, point: &Point) -> Int8Mix {
        self.of_layers(point.rest, &self.order[..point.count])
    }

    fn of_layers(&self, rest: Int8Rest, layers: &[(usize, Int8Layer)]) -> Int8Mix {
        let of = |index: usize| layers.iter().filter(move |(block, _)| *block == index).map(|(_, layer)| *layer);
        let block = |(index, [norm1, norm2]): (usize, &[Vec<f32>; 2])| Int8Block {
            layers: of(index).collect::<BTreeSet<_>>(),
            norm1: norm1.clone(),
            norm2: norm2.clone(),
        };
        Int8Mix { rest, blocks: self.factors.iter().enumerate().map(block).collect() }
    }

    /// A layer's multiply-adds per token, in units of a token's width.
    fn work(&self, block: usize, layer: Int8Layer) -> f64 {
        let Architecture::Vit(vit) = &self.bundle.manifest().architecture else { return 1.0 };
        let (width, hidden) = (vit.embed_dim as f64, vit.mlp_dim as f64);
        let gates = if vit.mlp == Mlp::SwiGlu { 2.0 } else { 1.0 };
        let alone = 1.0 / vit.tokens(self.bundle.manifest().side) as f64;
        let for_class =
            self.bundle.manifest().taps.iter().all(|tap| tap.pooling == coverslip_bundle::Pooling::ClassToken);
        // A last block that only the class token leaves needs keys and values of all.
        let asked = if for_class && block + 1 == self.factors.len() { alone } else { 1.0 };
        match layer {
            Int8Layer::Qkv => width * (2.0 + asked),
            Int8Layer::Proj => width * asked,
            Int8Layer::Fc1 => gates * hidden * asked,
            Int8Layer::Fc2 => hidden * asked,
        }
    }

    /// A point's multiply-adds in units of one in float32: half precision has twice the rate, int8 four times.
    fn work_of(&self, point: &Point) -> f64 {
        let rest = if point.rest == Int8Rest::Half { 0.5 } else { 1.0 };
        let layer = |(place, (block, layer)): (usize, &(usize, Int8Layer))| {
            self.work(*block, *layer) * if place < point.count { 0.25 } else { rest }
        };
        self.order.iter().enumerate().map(layer).sum()
    }

    /// Layers in all.
    pub(super) fn layers(&self) -> usize {
        self.order.len()
    }

    /// The layers that stay in floats, the one that costs most first.
    pub(super) fn kept(&self, point: &Point) -> impl Iterator<Item = (usize, Int8Layer)> {
        self.order[point.count..].iter().rev().copied()
    }
}

/// Flags are left to the gate: among few tiles one that changes is more than it allows.
fn holds_with_margin(found: &Fidelity) -> bool {
    found.overlap >= Int8Gate::OVERLAP + MARGIN
        && found.low >= Int8Gate::OVERLAP_LOW
        && found.value >= Int8Gate::VALUE_OVERLAP
}
