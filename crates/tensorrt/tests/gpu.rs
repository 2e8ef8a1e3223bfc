//! On a machine with a GPU: builds for it, runs, and compares with arithmetic. `COVERSLIP_TENSORRT_RTX` or
//! `COVERSLIP_TENSORRT` name the library (`libtensorrt_rtx.so.1`, `libnvinfer.so.11`); without one, or without a
//! driver, these tests are left out and say so.

#![cfg(target_os = "linux")]

mod common;
#[path = "common/cuda.rs"]
mod cuda;

use common::{INNER, OUTER, Weights, library, model, values};
use coverslip_tensorrt::{Builder, CudaGraphStrategy, Engine, Error, Flavor, InputRange, Library, Model, Runtime};
use cuda::Cuda;

const BATCH: usize = 5;

/// Runs a test on each library that can run here.
fn each(test: impl Fn(Library)) {
    for variable in ["COVERSLIP_TENSORRT_RTX", "COVERSLIP_TENSORRT"] {
        let Some(library) = library(variable) else { continue };
        match library.driver() {
            Ok(_) => test(library),
            Err(why) => say(&format!("left out: {why}")),
        }
    }
}

#[allow(clippy::print_stderr, reason = "a test says what it leaves out")]
fn say(text: &str) {
    eprintln!("{text}");
}

/// An engine for this machine's GPU; `None` if the library does not support it.
fn engine(library: Library) -> Option<Engine> {
    let mut builder = Builder::new(library).unwrap();
    let mut network = builder.network().unwrap();
    network.parse(&Model::new(&model(&Weights::Inside, "Relu"))).unwrap();
    let mut config = builder.config().unwrap();
    let [min, opt, max] = [1, 4, 16].map(|batch| [batch, INNER as i64]);
    let profile = builder.profile(&[InputRange { input: "x", min: &min, opt: &opt, max: &max }]).unwrap();
    config.add_profile(&profile).unwrap();
    let built = builder.build(&mut network, &mut config);
    match built.and_then(|plan| Runtime::new(library)?.deserialize(&plan)) {
        Ok(engine) => Some(engine),
        Err(error @ (Error::Build { .. } | Error::PlanRefused { .. })) => {
            say(&format!("left out: {library:?} does not support this GPU: {error}"));
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// x, and y = relu(x · w).
fn example() -> (Vec<f32>, Vec<f32>) {
    let (x, w): (Vec<f32>, _) = ((0..BATCH * INNER).map(|i| i as f32 / 8.0 - 2.0).collect(), floats(&values()));
    let y = (0..BATCH * OUTER).map(|i| {
        let (row, column) = (i / OUTER, i % OUTER);
        (0..INNER).map(|k| x[row * INNER + k] * w[k * OUTER + column]).sum::<f32>().max(0.0)
    });
    let y = y.collect();
    (x, y)
}

#[test]
fn a_run_computes_the_graph() {
    each(|library| {
        let cuda = Cuda::new();
        let Some(engine) = engine(library) else { return };
        let (x, expected) = example();
        let bytes: Vec<u8> = x.iter().flat_map(|value| value.to_le_bytes()).collect();
        let (x, y, stream) = (cuda.memory(&bytes), cuda.memory(&[0xff; BATCH * OUTER * 4]), cuda.stream());

        let mut contexts = vec![engine.context().unwrap()];
        if library.flavor() == Flavor::Rtx {
            let mut config = engine.runtime_config().unwrap();
            config.set_cuda_graph_strategy(CudaGraphStrategy::WHOLE_GRAPH_CAPTURE).unwrap();
            let (cache, taken) = config.set_runtime_cache(&[]).unwrap();
            assert!(!taken);
            contexts.push(engine.context_by(&config).unwrap());
            assert!(!cache.serialize().unwrap().is_empty());
        }
        drop(engine);
        for mut context in contexts {
            context.set_input_shape("x", &[BATCH as i64, INNER as i64]).unwrap();
            assert_eq!(context.outputs()[0].shape, [BATCH as i64, OUTER as i64]);
            context.bind("x", &x).unwrap();
            context.bind("y", &y).unwrap();
            for _ in 0..3 {
                context.enqueue(&stream).unwrap();
            }
            // TF32, where the builder takes it, keeps 10 bits of each factor; factors are at most 3 and 1, eight terms.
            let worst = floats(&cuda.read(&y)).iter().zip(&expected).map(|(y, e)| (y - e).abs()).fold(0.0, f32::max);
            assert!(worst <= 8.0 * 3.0 * 2.0 / 1024.0, "{library:?}: off by {worst}");
        }
    });
}

#[test]
fn an_engine_refuses_what_does_not_fit() {
    each(|library| {
        let cuda = Cuda::new();
        let Some(engine) = engine(library) else { return };
        assert_eq!((engine.inputs()[0].name.as_str(), engine.outputs()[0].name.as_str()), ("x", "y"));
        let mut context = engine.context().unwrap();
        assert!(context.set_input_shape("x", &[17, INNER as i64]).is_err(), "beyond the profile");
        context.set_input_shape("x", &[16, INNER as i64]).unwrap();
        context.bind("x", &cuda.memory(&[0; 16 * INNER * 4])).unwrap();
        context.bind("y", &cuda.memory(&[0; 15 * OUTER * 4])).unwrap();
        assert!(matches!(context.enqueue(&cuda.stream()), Err(Error::Bind(_))), "memory for 15 of 16");
    });
}
