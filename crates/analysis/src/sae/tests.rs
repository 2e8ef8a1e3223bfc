//! The trainer against PyTorch's autograd, against finite differences, and on data whose answer is known.

use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;
use serde_json::Value;

use super::active::Active;
use super::backward::gradient;
use super::forward::{Sae, normal, normalise};
use super::gradient::Batch;
use super::*;

/// Written by tools/goldens/sae_training.py.
const GOLDEN: &str = include_str!("../../tests/golden/sae_training.json");

fn numbers(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect()
}

fn constant(objective: Objective, features: usize, rate: f32) -> Settings {
    Settings {
        learning_rate: rate,
        warmup: 0,
        decay: 0,
        sparsity_warmup: 0,
        auxiliary: 0.0,
        resample_every: 0,
        ..Settings::new(objective, features, 1000)
    }
}

#[test]
fn steps_are_those_of_pytorch() {
    let golden: Value = serde_json::from_str(GOLDEN).unwrap();
    let (width, m) = (golden["width"].as_u64().unwrap() as usize, golden["features"].as_u64().unwrap() as usize);
    let number = |value: &Value| value.as_f64().unwrap() as f32;
    for (name, case) in golden["cases"].as_object().unwrap() {
        let k = case["k"].as_u64().unwrap_or(0) as usize;
        let objective = match name.as_str() {
            "topk" | "topk_auxiliary" => Objective::TopK { k },
            "batchtopk" => Objective::BatchTopK { k },
            "matryoshka" => Objective::Matryoshka { k, levels: case["levels"].as_u64().unwrap() as u32 },
            "relu" => Objective::Relu { l1: number(&case["l1"]) },
            _ => Objective::JumpRelu { l0: number(&case["l0"]), bandwidth: number(&golden["bandwidth"]) },
        };
        let mut settings = constant(objective, m, number(&golden["rate"]));
        settings.clip = number(&golden["clip"]);
        let mut idle = vec![0; m];
        if let Some(dead) = case["dead"].as_array() {
            settings.auxiliary = number(&case["auxiliary"]);
            // They stay dead whether they fire or not: `idle` only grows past this.
            settings.dead_after = 1 << 40;
            dead.iter().for_each(|feature| idle[feature.as_u64().unwrap() as usize] = 1 << 50);
        }
        let tensor = |side: &str, name: &str| numbers(&case[side][name]);
        let sae = Sae {
            width,
            features: m,
            w_enc: tensor("before", "w_enc"),
            b_enc: tensor("before", "b_enc"),
            w_dec: tensor("before", "w_dec"),
            b_dec: tensor("before", "b_dec"),
            threshold: tensor("before", "threshold"),
        };
        let moments = [m * width, m, m * width, width, m].map(|len| (vec![0.0; len], vec![0.0; len]));
        let state = TrainerState { sae, moments, idle: idle.clone(), step: 0, scale: 1.0 };
        let mut trainer = Trainer::resume(settings, state).unwrap();
        let x = numbers(&case["x"]);
        for expected in numbers(&case["losses"]) {
            let report = trainer.step(&x);
            // Float32 against float64: 24 bits, and sums of some hundred terms.
            assert!((report.loss as f32 - expected).abs() < 1e-5 * expected, "{name}: {} {expected}", report.loss);
            let mut state = trainer.state().clone();
            state.idle = idle.clone();
            trainer = Trainer::resume(trainer.settings().clone(), state).unwrap();
        }
        let found = &trainer.state().sae;
        let pairs =
            [("w_enc", &found.w_enc), ("b_enc", &found.b_enc), ("w_dec", &found.w_dec), ("b_dec", &found.b_dec)];
        for (tensor_name, values) in pairs.into_iter().chain([("threshold", &found.threshold)]) {
            if tensor_name == "threshold" && name != "jumprelu" {
                continue;
            }
            for (value, expected) in values.iter().zip(tensor("after", tensor_name)) {
                // Six steps of 0.01: a wrong sign or a forgotten term is a thousand times this.
                assert!((value - expected).abs() < 2e-5, "{name}, {tensor_name}: {value} against {expected}");
            }
        }
    }
}

#[test]
fn a_run_that_there_is_no_memory_for_is_refused() {
    let sample: Vec<f32> = (0..64).map(|at| (at * 7 % 5) as f32).collect();
    for features in [1 << 44, usize::MAX] {
        let settings = Settings::new(Objective::TopK { k: 2 }, features, 10);
        let refused = Trainer::new(settings, &sample, 4).unwrap_err();
        assert!(refused.starts_with("no memory for an SAE of"), "{refused}");
    }
}

#[test]
fn the_first_features_of_a_matryoshka_stand_alone() {
    let (width, m, mut random) = (16, 64, Pcg64Mcg::seed_from_u64(21));
    // Four loud directions and sixty that are rare.
    let directions: Vec<f32> = (0..m * width).map(|_| normal(&mut random)).collect();
    let mut row = || {
        let mut x = vec![0.0_f32; width];
        for feature in 0..m {
            let (loud, drawn) = (feature < 4, normal(&mut random));
            if drawn > if loud { 0.0 } else { 1.8 } {
                let amount = if loud { 1.0 } else { 0.6 };
                x.iter_mut().zip(&directions[feature * width..]).for_each(|(x, d)| *x += amount * d);
            }
        }
        x
    };
    let x: Vec<f32> = (0..4096).flat_map(|_| row()).collect();
    let mut moments = Moments::new(width);
    moments.add(&x);
    let trained = |objective| {
        let settings = Settings { learning_rate: 3e-3, ..Settings::new(objective, m, 600) };
        let mut trainer = Trainer::new(settings, &x, width).unwrap();
        for step in 0..600 {
            trainer.step(&x[step % 16 * 256 * width..][..256 * width]);
        }
        let fvu = |sae: &Sae| {
            let active = sae.encode(objective, &x);
            let mut evaluation = Evaluation::new(sae.features);
            evaluation.add(&x, &active, &sae.decode(&active));
            evaluation.fvu(&moments)
        };
        let whole = trainer.sae();
        let first = Sae {
            features: 16,
            w_enc: whole.w_enc[..16 * width].to_vec(),
            b_enc: whole.b_enc[..16].to_vec(),
            w_dec: whole.w_dec[..16 * width].to_vec(),
            threshold: whole.threshold[..16].to_vec(),
            ..whole.clone()
        };
        (fvu(&first), fvu(&whole))
    };
    let (first, whole) = trained(Objective::Matryoshka { k: 4, levels: 3 });
    let (other_first, other_whole) = trained(Objective::BatchTopK { k: 4 });
    assert!(first < other_first - 0.1, "a quarter of the features: {first} against {other_first}");
    assert!(whole < other_whole + 0.15 && whole < first, "{whole} against {other_whole}");
}

/// The loss in float64 for given active features: independent of the code above.
fn plain_loss(sae: &Sae, x: &[f32], active: &Active, lambda: f64) -> f64 {
    let (d, m) = (sae.width, sae.features);
    let at = |values: &[f32], i: usize| f64::from(values[i]);
    let mut total = 0.0;
    for (row, x) in x.chunks_exact(d).enumerate() {
        let mut decoded: Vec<f64> = (0..d).map(|j| at(&sae.b_dec, j)).collect();
        for entry in active.row(row) {
            let i = entry.feature as usize;
            assert!(i < m);
            let p: f64 = (0..d).map(|j| (at(x, j) - at(&sae.b_dec, j)) * at(&sae.w_enc, i * d + j)).sum();
            let value = p + at(&sae.b_enc, i);
            total += lambda * value;
            (0..d).for_each(|j| decoded[j] += value * at(&sae.w_dec, i * d + j));
        }
        total += decoded.iter().zip(x).map(|(a, b)| (a - f64::from(*b)).powi(2)).sum::<f64>();
    }
    total / active.rows() as f64
}

/// One of the weights.
type Tensor = fn(&mut Sae) -> &mut Vec<f32>;

#[test]
fn the_gradient_is_that_of_finite_differences() {
    let mut random = Pcg64Mcg::seed_from_u64(5);
    // More rows than a chunk, a width that is no multiple of the lanes.
    let (d, rows) = (21, 150);
    let x: Vec<f32> = (0..d * rows).map(|_| normal(&mut random)).collect();
    for (objective, lambda) in [(Objective::TopK { k: 4 }, 0.0), (Objective::Relu { l1: 0.4 }, 0.4)] {
        let settings = constant(objective, 40, 0.0);
        let centre: Vec<f32> = (0..d).map(|_| normal(&mut random) / 4.0).collect();
        let mut sae = Sae::new(&settings, &centre);
        sae.w_enc.iter_mut().for_each(|value| *value += normal(&mut random) / 8.0);
        let centred = sae.centred(&x);
        let p = sae.pre_activations(&centred);
        let active = sae.choose_in_training(objective, &p);
        let batch =
            Batch { sae: &sae, objective, x: &x, centred: &centred, p: &p, active: &active, auxiliary: None, lambda };
        let found = gradient(&batch);
        let tensors: [(Tensor, &Vec<f32>); 4] = [
            (|s| &mut s.w_enc, &found.w_enc),
            (|s| &mut s.b_enc, &found.b_enc),
            (|s| &mut s.w_dec, &found.w_dec),
            (|s| &mut s.b_dec, &found.b_dec),
        ];
        for (tensor, gradient) in tensors {
            for at in (0..gradient.len()).step_by(7) {
                // The loss is a polynomial of degree 4 in all, 2 in each: central differences are exact but for rounding
                // of the step itself, which is measured.
                let mut moved = sae.clone();
                let value = tensor(&mut moved)[at];
                let (up, down) = (value + 0.01, value - 0.01);
                tensor(&mut moved)[at] = up;
                let above = plain_loss(&moved, &x, &active, f64::from(lambda));
                tensor(&mut moved)[at] = down;
                let below = plain_loss(&moved, &x, &active, f64::from(lambda));
                let expected = (above - below) / f64::from(up - down);
                let error = (f64::from(gradient[at]) - expected).abs();
                assert!(error < 1e-5 + 1e-4 * expected.abs(), "{objective:?}, {at}: {} {expected}", gradient[at]);
            }
        }
    }
}

#[test]
fn products_and_single_rows_give_the_same_gradient() {
    let mut random = Pcg64Mcg::seed_from_u64(6);
    let (d, rows) = (21, 150);
    let x: Vec<f32> = (0..d * rows).map(|_| normal(&mut random)).collect();
    for objective in [Objective::Relu { l1: 0.4 }, Objective::JumpRelu { l0: 0.3, bandwidth: 0.4 }] {
        let sae = Sae::new(&constant(objective, 100, 0.0), &vec![0.1; d]);
        let centred = sae.centred(&x);
        let p = sae.pre_activations(&centred);
        let active = sae.choose_in_training(objective, &p);
        let batch = Batch {
            sae: &sae,
            objective,
            x: &x,
            centred: &centred,
            p: &p,
            active: &active,
            auxiliary: None,
            lambda: 0.4,
        };
        let (one, other) = (super::backward::sparse(&batch), super::dense::gradient(&batch));
        let pairs = [
            (&one.w_enc, &other.w_enc),
            (&one.b_enc, &other.b_enc),
            (&one.w_dec, &other.w_dec),
            (&one.b_dec, &other.b_dec),
            (&one.log_threshold, &other.log_threshold),
        ];
        for (a, b) in pairs {
            assert_eq!(a.len(), b.len());
            // Sums of up to 150 products of float32 in another order.
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5), "{objective:?}");
        }
        assert!((one.squared_error - other.squared_error).abs() < 1e-3);
    }
}

/// Rows that are sums of three of `m` directions: what an SAE is for.
fn planted(m: usize, d: usize, rows: usize, seed: u64) -> (Vec<f32>, Vec<f32>) {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut directions: Vec<f32> = (0..m * d).map(|_| normal(&mut random)).collect();
    directions.chunks_exact_mut(d).for_each(normalise);
    let mut x = vec![0.5; rows * d];
    for row in x.chunks_exact_mut(d) {
        for _ in 0..3 {
            let which = (normal(&mut random).abs() * 1e4) as usize % m;
            let size = 1.0 + normal(&mut random).abs();
            row.iter_mut().zip(&directions[which * d..]).for_each(|(out, value)| *out += size * value);
        }
    }
    (directions, x)
}

fn train(objective: Objective, x: &[f32], d: usize, steps: u64) -> (Trainer, StepFigures) {
    let settings = Settings { learning_rate: 3e-3, dead_after: 4000, ..Settings::new(objective, 48, steps) };
    let mut trainer = Trainer::new(settings, x, d).unwrap();
    let order = Order::new(vec![true; x.len() / d], 64, 4, 9);
    let (mut epoch, mut queue, mut last) = (0, Vec::new(), None);
    while trainer.state().step < steps {
        if queue.is_empty() {
            for fill in 0..order.fills() {
                let rows = order.fill(epoch, fill);
                let read: Vec<usize> = rows.blocks.iter().flat_map(Clone::clone).collect();
                queue.extend(rows.places.iter().map(|place| read[*place as usize]));
            }
            epoch += 1;
        }
        let rows: Vec<usize> = queue.drain(..128.min(queue.len())).collect();
        let batch: Vec<f32> = rows.iter().flat_map(|row| x[row * d..][..d].to_vec()).collect();
        last = Some(trainer.step(&batch));
    }
    (trainer, last.unwrap())
}

#[test]
fn planted_directions_are_found_by_every_objective() {
    let (m, d) = (24, 16);
    let (directions, x) = planted(m, d, 2048, 1);
    let (_, fresh) = planted(m, d, 1, 1);
    assert_eq!(fresh.len(), d);
    let objectives = [
        Objective::TopK { k: 3 },
        Objective::BatchTopK { k: 3 },
        Objective::Relu { l1: 1.5 },
        Objective::JumpRelu { l0: 1.0, bandwidth: 0.5 },
    ];
    for objective in objectives {
        let (trainer, report) = train(objective, &x, d, 1500);
        let sae = trainer.sae();
        let found = directions.chunks_exact(d).filter(|direction| {
            let cosine = |row: &[f32]| row.iter().zip(*direction).map(|(a, b)| a * b).sum::<f32>();
            sae.w_dec.chunks_exact(d).map(cosine).fold(0.0, f32::max) > 0.9
        });
        let found = found.count();
        assert!(found >= m * 3 / 4 && report.fvu < 0.25 && report.l0 < 12.0, "{objective:?}: {found} {report:?}");
        // What a reader of the weights gets, in the units of x, is what the trainer saw.
        let active = sae.encode(objective, &x);
        let mut moments = Moments::new(d);
        moments.add(&x);
        let mut evaluation = Evaluation::new(sae.features);
        evaluation.add(&x, &active, &sae.decode(&active));
        assert!((evaluation.fvu(&moments) - report.fvu).abs() < 0.1, "{} {report:?}", evaluation.fvu(&moments));
        assert!(sae.w_dec.chunks_exact(d).all(|row| (row.iter().map(|v| v * v).sum::<f32>() - 1.0).abs() < 1e-5));
    }
}

#[test]
fn the_same_seed_gives_the_same_weights_on_any_number_of_threads() {
    let (_, x) = planted(24, 16, 512, 2);
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| train(Objective::TopK { k: 3 }, &x, 16, 40).0.state().clone())
    };
    assert_eq!(on(1), on(2));
}

#[test]
fn dead_features_begin_again() {
    let (_, x) = planted(24, 16, 512, 3);
    let settings = Settings { dead_after: 1, resample_every: 2, ..Settings::new(Objective::Relu { l1: 0.1 }, 48, 100) };
    let mut trainer = Trainer::new(settings, &x, 16).unwrap();
    let mut state = trainer.state().clone();
    // A bias that keeps feature 5 silent.
    state.sae.b_enc[5] = -1e6;
    state.moments[0].0.fill(1e-3);
    state.moments[0].1.fill(1.0);
    trainer = Trainer::resume(trainer.settings().clone(), state).unwrap();
    assert_eq!(trainer.step(&x).resampled, 0);
    let report = trainer.step(&x);
    assert!(report.dead >= 1 && report.resampled == report.dead, "{report:?}");
    let state = trainer.state();
    assert_eq!((state.sae.b_enc[5], state.idle[5], state.moments[0].0[5 * 16]), (0.0, 0, 0.0));
}

#[test]
fn data_without_variance_and_impossible_k_are_refused() {
    let settings = Settings::new(Objective::TopK { k: 3 }, 8, 10);
    let error = Trainer::new(settings.clone(), &[0.1; 40], 4).unwrap_err();
    assert!(error.contains("differ from tile to tile") && error.contains("over 10 tiles"), "{error}");
    assert!(Trainer::new(settings, &[1.0, 2.0], 2).is_err(), "one tile");
    let settings = Settings::new(Objective::TopK { k: 9 }, 8, 10);
    assert!(Trainer::new(settings, &[1.0, 2.0], 1).unwrap_err().contains("k from 1 to the 8 features, found 9"));
}

#[test]
fn schedules_rise_and_fall() {
    let settings = Settings { learning_rate: 1.0, ..Settings::new(Objective::Relu { l1: 1.0 }, 8, 100) };
    let rates: Vec<f32> = [0, 4, 50, 80, 90, 99].into_iter().map(|step| settings.rate(step)).collect();
    assert_eq!(rates, [0.2, 1.0, 1.0, 1.0, 0.5, 0.05]);
    assert_eq!((settings.sparsity(0), settings.sparsity(5)), (0.0, 1.0));
}

#[test]
fn a_new_encoder_has_the_length_that_reconstructs_best() {
    let (_, x) = planted(24, 16, 512, 4);
    for objective in [Objective::TopK { k: 6 }, Objective::BatchTopK { k: 6 }, Objective::Relu { l1: 1.0 }] {
        let trainer = Trainer::new(Settings::new(objective, 48, 10), &x, 16).unwrap();
        let state = trainer.state();
        let scaled: Vec<f32> = x.iter().map(|value| value * state.scale).collect();
        let error = |factor: f32| {
            let mut sae = state.sae.clone();
            sae.w_enc.iter_mut().for_each(|value| *value *= factor);
            let p = sae.pre_activations(&sae.centred(&scaled));
            let decoded = sae.decode(&sae.choose_in_training(objective, &p));
            decoded.iter().zip(&scaled).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>()
        };
        assert!(error(1.0) < error(0.98) && error(1.0) < error(1.02), "{objective:?}");
    }
}
