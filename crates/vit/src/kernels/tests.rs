//! Every family that this processor has, against the plain kernels, on random and edge shapes.

use coverslip_bundle::fold::{Linear, Norm};
use coverslip_numerics::SplitMix64;

use super::plain::Plain;
use super::{Kernels, Out, Right, To};
use crate::features::Family;
use crate::panels::{Panels, Rows, padded};

/// The families, and their names for messages. What the processor lacks is said and left out.
fn families() -> Vec<(&'static str, Box<dyn Kernels>)> {
    let all = [Family::Avx2, Family::Avx512, Family::Avx512Bf16];
    let (here, missing): (Vec<Family>, Vec<Family>) = all.into_iter().partition(|family| family.runs_here());
    for family in missing {
        coverslip_testkit::note(&format!("this processor lacks {}: not tested here", family.name()));
    }
    here.into_iter().filter_map(|family| Some((family.name(), family.kernels()?))).collect()
}

fn uniform(random: &mut SplitMix64, count: usize) -> Vec<f32> {
    (0..count).map(|_| (2.0 * random.unit() - 1.0) as f32).collect()
}

/// Rows of words of `depth` values, and the values' sizes that bound a sum's rounding.
fn operand(kernels: &dyn Kernels, values: &[f32], depth: usize) -> Vec<u32> {
    let layout = kernels.layout();
    let word = |pair: &[f32]| layout.word([pair[0], pair.get(1).copied().unwrap_or(0.0)]);
    values.chunks_exact(depth).flat_map(|row| row.chunks(layout.values).map(word)).collect()
}

/// The destinations of a product, one after the other.
const DESTINATIONS: usize = 5;

/// Runs a product to one of the destinations and gives what it wrote as float32.
fn run(
    kernels: &dyn Kernels,
    a: Rows<'_>,
    b: &Panels,
    bias: &[f32],
    (destination, columns): (usize, usize),
) -> Vec<f32> {
    let layout = kernels.layout();
    let gate: Vec<f32> = (0..a.count * columns).map(|i| (i % 23) as f32 / 4.0 - 3.0).collect();
    let mut values: Vec<f32> = (0..a.count * columns).map(|i| (i % 7) as f32).collect();
    let mut words = vec![0; a.count * layout.words(columns)];
    let (to, stride) = match destination {
        0 => (To::Values(&mut values), columns),
        1 => (To::Sum(&mut values), columns),
        2 => (To::Operand(&mut words), layout.words(columns)),
        3 => (To::Gelu(&mut words), layout.words(columns)),
        _ => (To::Gated { gate: &gate, gate_stride: columns, words: &mut words }, layout.words(columns)),
    };
    kernels.product(a, Right { panels: b, bias, next: Some(b) }, Out { to, stride });
    if destination < 2 {
        return values;
    }
    words.into_iter().flat_map(|word| layout.unword(word)[..layout.values].to_vec()).collect()
}

#[test]
fn products_are_the_plain_ones() {
    let mut random = SplitMix64::new(1);
    let shapes =
        [(1, 1, 1), (1, 7, 48), (2, 64, 17), (5, 3, 200), (8, 130, 64), (9, 16, 80), (13, 33, 16), (25, 100, 144)];
    for (name, kernels) in families() {
        for (rows, depth, columns) in shapes {
            let layout = kernels.layout();
            let values = uniform(&mut random, rows * depth);
            let weight = uniform(&mut random, depth * columns);
            let words = operand(&*kernels, &values, depth);
            let layer = Linear { inputs: depth, outputs: columns, weight, bias: None };
            let b = Panels::pack(layout, &layer).unwrap();
            let a = Rows { words: &words, stride: layout.words(depth), count: rows };
            let mut bias = uniform(&mut random, columns);
            bias.resize(padded(columns), 0.0);
            for destination in 0..DESTINATIONS {
                for bias in [&bias[..], &[]] {
                    let at = (destination, padded(columns));
                    let expected = run(&Plain(layout), a, &b, bias, at);
                    let found = run(&*kernels, a, &b, bias, at);
                    // A float32 sum of terms below 1 errs by less than depth·2⁻²⁴·depth; a gate is at most 3.
                    let mut bound = 3.0 * (depth * depth) as f32 * f32::EPSILON + 2e-6;
                    if layout.values == 2 && destination >= 2 {
                        bound += (depth as f32 + 1.0) / 128.0;
                    }
                    for (i, (e, f)) in expected.iter().zip(&found).enumerate() {
                        assert!((e - f).abs() <= bound, "{name} {rows}x{depth}x{columns} {destination} {i}: {e} {f}");
                    }
                }
            }
        }
    }
}

/// x·1 for every x, so that an activation is seen alone.
fn activation(kernels: &dyn Kernels, x: &[f32], destination: usize) -> Vec<f32> {
    let layout = kernels.layout();
    let words: Vec<u32> = x.iter().map(|x| layout.word([*x, 0.0])).collect();
    let b = Panels::pack(layout, &Linear { inputs: 1, outputs: 1, weight: vec![1.0], bias: None }).unwrap();
    let a = Rows { words: &words, stride: 1, count: x.len() };
    run(kernels, a, &b, &[], (destination, 16)).chunks_exact(16).map(|row| row[0]).collect()
}

#[test]
fn gelu_is_exact_to_float32() {
    let x: Vec<f32> = (-4000..=4000).map(|i| i as f32 / 400.0).chain([-1e6, -50.0, 0.0, 50.0, 1e6]).collect();
    for (name, kernels) in families().into_iter().filter(|(_, kernels)| kernels.layout().values == 1) {
        for (x, found) in x.iter().zip(activation(&*kernels, &x, 3)) {
            let expected = super::plain::gelu(f64::from(*x));
            let error = (f64::from(found) - expected).abs();
            assert!(error <= 3e-7 * f64::from(x.abs()).max(1.0), "{name} GELU({x}) = {found}, expected {expected}");
        }
    }
}

#[test]
fn rows_are_the_plain_ones() {
    let mut random = SplitMix64::new(2);
    for (name, kernels) in families() {
        let plain = Plain(kernels.layout());
        for width in [1, 2, 15, 16, 17, 40, 384, 1000] {
            // A mean of 100 costs digits if the squares are not centred.
            for mean in [0.0, 100.0] {
                let mut row: Vec<f32> = uniform(&mut random, width).iter().map(|value| value + mean).collect();
                row.resize(padded(width), 0.0);
                let norm = Norm { weight: uniform(&mut random, width), bias: uniform(&mut random, width), eps: 1e-6 };
                let (mut expected, mut found) = (vec![7.0; row.len()], vec![7.0; row.len()]);
                plain.normalize(&row, &norm, &mut expected);
                kernels.normalize(&row, &norm, &mut found);
                close(&expected, &found, if mean > 0.0 { 1e-3 } else { 1e-5 }, &format!("{name} norm of {width}"));
                assert!(found[width..].iter().all(|value| *value == 0.0));

                let scores: Vec<f32> = row.iter().map(|value| (value - mean) * 40.0 - 500.0).collect();
                let (mut expected, mut found) = (scores.clone(), scores);
                plain.softmax(&mut expected, width);
                kernels.softmax(&mut found, width);
                close(&expected, &found, 1e-5, &format!("{name} softmax of {width}"));
                assert!(found[width..].iter().all(|value| *value == 0.0));

                let mut words = [vec![0; plain.layout().words(row.len())], vec![1; plain.layout().words(row.len())]];
                plain.narrow(&row, &mut words[0]);
                kernels.narrow(&row, &mut words[1]);
                assert_eq!(words[0], words[1], "{name} words of {width}");

                let (mut expected, mut found) = (row.clone(), row.clone());
                plain.accumulate(&mut expected, &row, 0.3);
                kernels.accumulate(&mut found, &row, 0.3);
                assert_eq!(expected, found, "{name} sum of {width}");
            }
        }
        for (rows, columns) in [(1, 16), (2, 64), (7, 48), (33, 80)] {
            let values = uniform(&mut random, rows * 96);
            let mut panels = Panels::zeroed(kernels.layout(), rows, columns).unwrap();
            let mut expected = panels.clone();
            plain.stack(&values, 96, rows, &mut expected);
            kernels.stack(&values, 96, rows, &mut panels);
            for index in 0..panels.count() {
                assert_eq!(expected.panel(index), panels.panel(index), "{name} {rows} rows stacked");
            }
        }
    }
}

#[track_caller]
fn close(expected: &[f32], found: &[f32], bound: f32, what: &str) {
    for (i, (e, f)) in expected.iter().zip(found).enumerate() {
        assert!((e - f).abs() <= bound, "{what}, {i}: {e} expected, {f} found");
    }
}

#[test]
fn what_is_no_number_stays_none() {
    for (name, kernels) in families() {
        for destination in 0..DESTINATIONS {
            let found = activation(&*kernels, &[f32::NAN, 1.0], destination);
            assert!(found[0].is_nan() && !found[1].is_nan(), "{name} {destination}: {found:?}");
        }
        let mut scores = [0.5; 32];
        scores[3] = f32::NAN;
        kernels.softmax(&mut scores, 20);
        assert!(scores[..20].iter().all(|share| share.is_nan()), "{name}");
        let norm = Norm { weight: vec![1.0; 20], bias: vec![0.0; 20], eps: 1e-6 };
        let mut normed = [0.0; 32];
        scores.fill(0.5);
        scores[17] = f32::NAN;
        kernels.normalize(&scores, &norm, &mut normed);
        assert!(normed[..20].iter().all(|value| value.is_nan()), "{name}");
    }
}
