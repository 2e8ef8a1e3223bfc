//! Every family that this processor has, against the plain kernels, on random and edge shapes.

use coverslip_bundle::fold::{Linear, Norm};
use coverslip_numerics::SplitMix64;

use super::plain::Plain;
use super::plain_int8::PlainInt8;
use super::{Int8Kernels, Kernels, Make, Out, Right, Scale, To};
use crate::aligned::Aligned;
use crate::choice::Int8Family;
use crate::features::Family;
use crate::layer::Layer;
use crate::panels::{Layout, Panels, Rows, padded};

/// The families, and their names for messages. What the processor lacks is said and left out.
fn families() -> Vec<(&'static str, Box<dyn Kernels>)> {
    let all = [Family::Avx2, Family::Avx512, Family::Avx512Bf16, Family::Neon];
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

/// The destinations of a product, one after the other: values, sums, an operand, GELU's, a gate's.
const DESTINATIONS: usize = 5;

/// Runs a product to one of the destinations and gives what it wrote as float32. `layout`: that of operands.
fn run(product: impl FnOnce(Out<'_>), layout: Layout, rows: usize, (destination, columns): (usize, usize)) -> Vec<f32> {
    let gate: Vec<f32> = (0..rows * columns).map(|i| (i % 23) as f32 / 4.0 - 3.0).collect();
    let mut values: Vec<f32> = (0..rows * columns).map(|i| (i % 7) as f32).collect();
    let mut words = vec![0; rows * layout.words(columns)];
    let (to, stride) = match destination {
        0 => (To::Values(&mut values), columns),
        1 => (To::Sum(&mut values), columns),
        _ => (To::Operand(&mut words), layout.words(columns)),
    };
    let make = match destination {
        3 => Make::Gelu,
        4 => Make::Gated { gate: &gate, gate_stride: columns },
        _ => Make::Product,
    };
    product(Out { make, to, stride });
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
            let b = Layer::pack(layout, &layer).unwrap();
            let a = Rows { words: &words, stride: layout.words(depth), count: rows, scales: &[] };
            let mut bias = uniform(&mut random, columns);
            bias.resize(padded(columns), 0.0);
            for destination in 0..DESTINATIONS {
                for bias in [&bias[..], &[]] {
                    let (at, b) = ((destination, padded(columns)), Right { bias, ..b.before(&b.panels) });
                    let expected = run(|out| Plain(layout).product(a, b, out), layout, rows, at);
                    let found = run(|out| kernels.product(a, b, out), layout, rows, at);
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
    let b = Layer::pack(layout, &Linear { inputs: 1, outputs: 1, weight: vec![1.0], bias: None }).unwrap();
    let a = Rows { words: &words, stride: 1, count: x.len(), scales: &[] };
    let product = |out: Out<'_>| kernels.product(a, b.before(None), out);
    run(product, layout, x.len(), (destination, 16)).chunks_exact(16).map(|row| row[0]).collect()
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

/// The families of int8 beside each family of floats, and their names for messages.
fn int8_families() -> Vec<(String, Box<dyn Int8Kernels>, Layout)> {
    let mut found: Vec<(String, Box<dyn Int8Kernels>, Layout)> = Vec::new();
    for int8 in [Int8Family::AvxVnni, Int8Family::Avx512Vnni] {
        let floats = [Family::Avx2, Family::Avx512, Family::Avx512Bf16];
        let kernels = floats.into_iter().filter_map(|floats| Some((floats, int8.kernels(floats)?)));
        let before = found.len();
        found.extend(kernels.map(|(floats, kernels)| {
            let layout = floats.kernels().unwrap().layout();
            (format!("{} {}", int8.name(), floats.name()), kernels, layout)
        }));
        if found.len() == before {
            coverslip_testkit::note(&format!("this processor lacks {}: not tested here", int8.name()));
        }
    }
    found
}

#[test]
fn int8_is_the_plain_ones_to_the_bit() {
    let mut random = SplitMix64::new(5);
    let shapes =
        [(1, 1, 1), (1, 7, 48), (2, 64, 17), (5, 3, 200), (8, 130, 64), (9, 16, 80), (13, 33, 16), (25, 100, 144)];
    for (name, kernels, floats) in int8_families() {
        let plain = PlainInt8 { lines: kernels.layout().lines, floats: Plain(floats) };
        for (rows, depth, columns) in shapes {
            let (width, stride) = (padded(depth), padded(depth) / 4);
            let mut words = [vec![0; rows * stride], vec![1; rows * stride]];
            let mut scales = [Scale::default(); 32];
            for (row, scale) in scales.iter_mut().enumerate().take(rows) {
                let mut values = uniform(&mut random, depth);
                // One-sided rows, as after GELU; a row of zeros; one of large values.
                match row % 4 {
                    1 => values.iter_mut().for_each(|value| *value = value.max(-0.1)),
                    2 => values.fill(0.0),
                    3 => values.iter_mut().for_each(|value| *value *= 1e6),
                    _ => {}
                }
                values.resize(width, 0.0);
                let at = row * stride..(row + 1) * stride;
                *scale = plain.quantise(&values, &mut words[0][at.clone()]);
                assert_eq!(kernels.quantise(&values, &mut words[1][at.clone()]), *scale, "{name} row of {depth}");
                // What was quantised is within half a step of what it was.
                for (i, value) in values.iter().enumerate() {
                    let octet = i32::from(words[0][at.start + i / 4].to_le_bytes()[i % 4]);
                    let near = scale.size * (octet - scale.zero) as f32;
                    assert!((near - value).abs() <= 0.5001 * scale.size, "{name} {value} as {near}");
                }
            }
            assert_eq!(words[0], words[1], "{name} words of {depth}");
            let weight = uniform(&mut random, depth * columns);
            let bias = Some(uniform(&mut random, columns));
            let layer = Linear { inputs: depth, outputs: columns, weight, bias };
            let b = Layer::pack(kernels.layout(), &layer).unwrap();
            let a = Rows { words: &words[0], stride, count: rows, scales: &scales };
            for b in [b.before(&b.panels), Right { bias: &[], ..b.before(None) }] {
                let largest = run(|out| plain.product(a, b, out), floats, rows, (0, padded(columns)));
                for destination in 0..DESTINATIONS {
                    let at = (destination, padded(columns));
                    let expected = run(|out| plain.product(a, b, out), floats, rows, at);
                    let found = run(|out| kernels.product(a, b, out), floats, rows, at);
                    for (i, (e, f)) in expected.iter().zip(&found).enumerate() {
                        // Values are the same bits. GELU and SiLU are computed in another way, within 3e-7 of what
                        // they multiply, which a gate of at most 3 multiplies again; bfloat16 has 8 bits.
                        let bound = match (destination, floats.values) {
                            (0..3, _) => 0.0,
                            (_, 1) => 1e-6 * largest[i].abs().max(1.0),
                            _ => 0.01 * e.abs() + 1e-6 * largest[i].abs().max(1.0),
                        };
                        assert!((e - f).abs() <= bound, "{name} {rows}x{depth}x{columns} {destination} {i}: {e} {f}");
                    }
                }
            }
        }
    }
}

#[test]
fn an_int8_layer_is_near_the_layer() {
    let mut random = SplitMix64::new(6);
    let (depth, columns) = (130, 70);
    let weight = uniform(&mut random, depth * columns);
    let layer = Linear { inputs: depth, outputs: columns, weight, bias: None };
    let plain = PlainInt8 { lines: 3, floats: Plain::FLOAT32 };
    let packed = Layer::pack(plain.layout(), &layer).unwrap();
    let mut values = Aligned::<f32>::zeroed(padded(depth)).unwrap();
    values.iter_mut().zip(uniform(&mut random, depth)).for_each(|(value, drawn)| *value = drawn);
    let mut words = vec![0; padded(depth) / 4];
    let scales = [plain.quantise(&values, &mut words)];
    let a = Rows { words: &words, stride: words.len(), count: 1, scales: &scales };
    let product = |out: Out<'_>| plain.product(a, packed.before(None), out);
    let found = run(product, Plain::FLOAT32.layout(), 1, (0, padded(columns)));
    for (column, found) in found[..columns].iter().enumerate() {
        let expected: f32 = (0..depth).map(|row| values[row] * layer.weight[row * columns + column]).sum();
        // Half a step of 2/255 and of 1/127 per term, as a random walk of 130 with 5 standard deviations.
        assert!((found - expected).abs() <= 5.0 * 130_f32.sqrt() * 0.006, "{column}: {found} {expected}");
    }
    values[3] = f32::NAN;
    assert!(plain.quantise(&values, &mut words).size.is_nan());
    for (name, kernels, _) in int8_families() {
        for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            values[3] = odd;
            assert!(kernels.quantise(&values, &mut words).size.is_nan(), "{name} {odd}");
        }
    }
}
