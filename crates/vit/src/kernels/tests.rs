//! Every family that this processor has, against the plain kernels, on random and edge shapes.

use coverslip_bundle::fold::{Linear, Norm};
use coverslip_bundle::tensors::{f16_to_f32, f32_to_f16};
use coverslip_numerics::SplitMix64;

#[cfg(target_arch = "x86_64")]
use super::avx512_fp16::{Float16, emulated::Emulated};
use super::float16::{BLOCK, SUBNORMAL, error_of_a_block};
use super::plain::Plain;
use super::plain_int8::PlainInt8;
use super::{Int8Kernels, Kernels, Make, Out, Right, To};
use crate::aligned::Aligned;
use crate::choice::Int8Family;
use crate::features::Family;
use crate::layer::Layer;
use crate::panels::{LINE, Layout, Panels, Rows, Scale, Word, padded};

/// The families, and their names for messages. What the processor lacks is said and left out.
fn families() -> Vec<(&'static str, Box<dyn Kernels>)> {
    let (here, missing): (Vec<Family>, Vec<Family>) = Family::TABLE.into_iter().partition(|family| family.runs_here());
    for family in missing {
        coverslip_testkit::note(&format!("this processor lacks {}: not tested here", family.name()));
    }
    let here = here.into_iter().filter_map(|family| Some((family.name(), family.kernels()?)));
    here.chain(emulated()).collect()
}

/// The kernels of avx512-fp16 on any AVX-512, all but the instruction that multiplies.
fn emulated() -> Option<(&'static str, Box<dyn Kernels>)> {
    #[cfg(target_arch = "x86_64")]
    if let Some(kernels) = Float16::<Emulated>::on_any_avx512() {
        return Some(("avx512-fp16, emulated,", Box::new(kernels)));
    }
    None
}

fn uniform(random: &mut SplitMix64, count: usize) -> Vec<f32> {
    (0..count).map(|_| (2.0 * random.unit() - 1.0) as f32).collect()
}

/// Rows of words of `depth` values, and the values' sizes that bound a sum's rounding.
fn operand(kernels: &dyn Kernels, values: &[f32], depth: usize) -> Vec<u32> {
    let layout = kernels.layout();
    let word = |pair: &[f32]| layout.word([pair[0], pair.get(1).copied().unwrap_or(0.0)]);
    values.chunks_exact(depth).flat_map(|row| row.chunks(layout.values()).map(word)).collect()
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
    words.into_iter().flat_map(|word| layout.unword(word)[..layout.values()].to_vec()).collect()
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
                    let half_unit = match layout.word {
                        Word::BFloat16 => 1.0 / 256.0,
                        _ => 1.0 / 2048.0,
                    };
                    if layout.values() == 2 && destination >= 2 {
                        bound += 2.0 * half_unit * (depth as f32 + 1.0);
                    }
                    if layout.word == Word::Float16 {
                        // Terms of a third: the root of their number times that of a block, and 9 deviations.
                        let block = depth.div_ceil(2).min(BLOCK);
                        bound += 3.0 * half_unit * ((depth * block) as f32).sqrt();
                    }
                    for (i, (e, f)) in expected.iter().zip(&found).enumerate() {
                        assert!((e - f).abs() <= bound, "{name} {rows}x{depth}x{columns} {destination} {i}: {e} {f}");
                    }
                }
            }
        }
    }
}

/// sum + a·b of float16, rounded once: the exact sum to odd in float64, then to float16's step.
fn fused(a: u16, b: u16, sum: u16) -> u16 {
    let [a, b, c] = [a, b, sum].map(|bits| f64::from(f16_to_f32(bits)));
    let product = a * b;
    let near = product + c;
    // What rounding to float64 lost (Knuth's TwoSum).
    let of_c = near - product;
    let lost = (product - (near - of_c)) + (c - of_c);
    let odd = match lost == 0.0 || lost.is_nan() || near.to_bits() & 1 == 1 {
        true => near,
        false if lost > 0.0 => near.next_up(),
        false => near.next_down(),
    };
    let exponent = ((odd.to_bits() >> 52 & 0x7ff) as i32 - 1023).max(-14);
    let step = 2_f64.powi(exponent - 10);
    f32_to_f16(((odd / step).round_ties_even() * step) as f32)
}

#[test]
fn the_oracle_of_float16_rounds_once() {
    let (one, step) = (0x3c00, 0x1400);
    assert_eq!(f16_to_f32(step), 1.0 / 1024.0);
    assert_eq!(fused(one, step, one), 0x3c01);
    // Half a step is a tie, which the even one gets; more by 2⁻³⁴ is none.
    let half = 0x1000;
    assert_eq!(fused(one, half, one), one);
    assert_eq!(fused(half, 0x3c01, one), 0x3c01);
    assert_eq!(fused(0x7bff, 0x7bff, 0xfbff), 0x7c00, "beyond float16");
    assert_eq!(fused(0x0001, 0x3800, 0), 0, "half of the smallest, a tie");
    assert_eq!(fused(0x0001, 0x3801, 0), 0x0001);
    // 2⁻²⁴ less than 2,048 is 2,048.
    assert_eq!(f16_to_f32(fused(0x6800, one, 0x8001)), 2048.0);
}

/// A product of float16 as `float16` says, lane by lane, each with the sum of its terms' sizes.
fn blockwise(a: Rows<'_>, b: &Panels, bias: &[f32]) -> Vec<(f32, f32)> {
    let (depth, columns) = (b.depth(), bias.len());
    let block = depth.div_ceil(depth.div_ceil(BLOCK));
    let column = |row: usize, column: usize| {
        let index = (0..b.count()).rev().find(|panel| b.span(*panel).0 <= column / LINE).unwrap();
        let (first, lines) = b.span(index);
        let words = b.panel(index).chunks_exact(lines).map(|step| step[column / LINE - first][column % LINE]);
        let pairs: Vec<(u32, u32)> = a.row(row)[..depth].iter().copied().zip(words).collect();
        let (mut total, mut size) = (None, 0.0);
        for pairs in pairs.chunks(block) {
            let mut sums = [0_u16; 2];
            for (a, b) in pairs {
                for (sum, shift) in sums.iter_mut().zip([0, 16]) {
                    let (a, b) = ((a >> shift) as u16, (b >> shift) as u16);
                    *sum = fused(a, b, *sum);
                    size += (f16_to_f32(a) * f16_to_f32(b)).abs();
                }
            }
            let sum = f16_to_f32(sums[0]) + f16_to_f32(sums[1]);
            total = Some(total.map_or(sum, |total| total + sum));
        }
        (total.unwrap_or(0.0) + bias[column], size)
    };
    (0..a.count * columns).map(|i| column(i / columns, i % columns)).collect()
}

#[test]
fn float16_is_summed_block_by_block_to_the_bit() {
    let mut random = SplitMix64::new(8);
    let shapes = [(1, 1, 1), (1, 130, 48), (3, 192, 17), (9, 193, 64), (5, 386, 33), (8, 1000, 16)];
    let families = families().into_iter().filter(|(_, kernels)| kernels.layout().word == Word::Float16);
    for (name, kernels) in families {
        let layout = kernels.layout();
        for (rows, depth, columns) in shapes {
            let spreads: [fn(f32, f32) -> f32; 3] = [
                |value, _| value,
                // Of all sizes, down to subnormal sums.
                |value, size| value * (12.0 * (size - 1.0)).exp2(),
                // So large that a sum of all is beyond float16.
                |value, _| 16.0 + value,
            ];
            for spread in spreads {
                let mut values = |count: usize| -> Vec<f32> {
                    let [drawn, sizes] = [(); 2].map(|()| uniform(&mut random, count).into_iter());
                    drawn.zip(sizes).map(|(value, size)| spread(value, size)).collect()
                };
                let (left, weight, bias) = (values(rows * depth), values(depth * columns), values(padded(columns)));
                let words = operand(&*kernels, &left, depth);
                let b = Layer::pack(layout, &Linear { inputs: depth, outputs: columns, weight, bias: None }).unwrap();
                let a = Rows { words: &words, stride: layout.words(depth), count: rows, scales: &[] };
                let expected = blockwise(a, &b.panels, &bias);
                let right = Right { bias: &bias, ..b.before(None) };
                let found = run(|out| kernels.product(a, right, out), layout, rows, (0, padded(columns)));
                let exact = run(|out| Plain(layout).product(a, right, out), layout, rows, (0, padded(columns)));
                for (i, (f, (e, size))) in found.iter().zip(&expected).enumerate() {
                    let what = format!("{name} {rows}x{depth}x{columns} {i}: {f}, {e} expected, {} exactly", exact[i]);
                    assert_eq!(e.to_bits(), f.to_bits(), "{what}");
                    let bound = error_of_a_block() * f64::from(*size) + SUBNORMAL * depth as f64 + 1e-3;
                    assert!(f64::from((exact[i] - f).abs()) <= bound, "{what}");
                }
            }
        }
        // Without blocks a sum of ones stays at 2,048.
        let (ones, words) = (vec![1.0; 3 * 4097], vec![layout.word([1.0, 1.0]); 2049]);
        let layer = Linear { inputs: 4097, outputs: 3, weight: ones, bias: None };
        let b = Layer::pack(layout, &layer).unwrap();
        let a = Rows { words: &words, stride: 2049, count: 1, scales: &[] };
        let found = run(|out| kernels.product(a, b.before(None), out), layout, 1, (0, 16));
        assert_eq!(found[..4], [4097.0, 4097.0, 4097.0, 0.0], "{name}");
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
    for (name, kernels) in families().into_iter().filter(|(_, kernels)| kernels.layout().word == Word::Float32) {
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

#[test]
fn shares_are_the_plain_ones_and_none_depends_on_the_rows_beside_it() {
    let mut random = SplitMix64::new(9);
    for (name, kernels) in families() {
        let layout = kernels.layout();
        let values = |words: &[u32]| -> Vec<f32> {
            words.iter().flat_map(|word| layout.unword(*word)[..layout.values()].to_vec()).collect()
        };
        // Shares are at most 1.
        let bound = match layout.word {
            Word::BFloat16 => 1.0 / 256.0,
            Word::Float16 => 1.0 / 2048.0,
            _ => 1e-5,
        };
        for (rows, count, stride) in [(1, 1, 16), (3, 15, 16), (4, 16, 32), (5, 17, 32), (9, 40, 48), (24, 261, 288)] {
            let scores: Vec<f32> =
                uniform(&mut random, rows * stride).iter().map(|value| value * 40.0 - 500.0).collect();
            let of = |kernels: &dyn Kernels, scores: &[f32]| {
                let mut words = vec![u32::MAX; layout.words(scores.len())];
                kernels.softmax(&mut scores.to_vec(), stride, count, &mut words);
                words
            };
            let (expected, found) = (of(&Plain(layout), &scores), of(&*kernels, &scores));
            let what = format!("{name} softmax of {rows} rows, {count} of {stride}");
            close(&values(&expected), &values(&found), bound, &what);
            for (row, (scores, found)) in scores.chunks(stride).zip(found.chunks(layout.words(stride))).enumerate() {
                assert_eq!(of(&*kernels, scores), found, "{what}, row {row} alone");
                assert!(values(found)[count..].iter().all(|share| *share == 0.0), "{what}");
            }
        }
    }
}

#[test]
fn rows_become_the_plain_columns() {
    for (name, kernels) in families() {
        let layout = kernels.layout();
        for (count, depth, stride) in [(1, 1, 3), (5, 16, 16), (16, 7, 40), (17, 32, 33), (50, 40, 48), (261, 64, 384)]
        {
            let words: Vec<u32> = (1..=(count * stride) as u32).collect();
            let rows = Rows { words: &words, stride, count, scales: &[] };
            let mut found = Panels::zeroed(layout, depth * layout.values(), count).unwrap();
            let mut expected = found.clone();
            Plain(layout).transpose(rows, &mut expected);
            kernels.transpose(rows, &mut found);
            for index in 0..found.count() {
                assert_eq!(expected.panel(index), found.panel(index), "{name} {count} rows of {depth} words");
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
        let layout = kernels.layout();
        let mut shares = vec![0; layout.words(32)];
        kernels.softmax(&mut scores, 32, 20, &mut shares);
        for share in shares[..layout.words(20)].iter().flat_map(|word| layout.unword(*word)[..layout.values()].to_vec())
        {
            assert!(share.is_nan(), "{name}");
        }
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
    for int8 in Int8Family::TABLE {
        let kernels = Family::TABLE.into_iter().filter_map(|floats| Some((floats, int8.kernels(floats)?)));
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
        let plain = PlainInt8 { layout: kernels.layout(), floats: Plain(floats) };
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
                    let octet = words[0][at.start + i / 4].to_le_bytes()[i % 4];
                    let signed = plain.layout().word == Word::Int8Signed;
                    let octet = if signed { i32::from(octet.cast_signed()) } else { i32::from(octet) };
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
                        let bound = match (destination, floats.values()) {
                            (0..3, _) => 0.0,
                            (_, 1) => 1e-6 * largest[i].abs().max(1.0),
                            _ => 0.01 * e.abs() + 1e-6 * largest[i].abs().max(1.0),
                        };
                        // The row of large values is beyond float16: infinite in both.
                        let near = e == f || e.is_finite() && (e - f).abs() <= bound;
                        assert!(near, "{name} {rows}x{depth}x{columns} {destination} {i}: {e} {f}");
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
    let plain = PlainInt8 { layout: Layout { word: Word::Int8, lines: 3 }, floats: Plain::FLOAT32 };
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
