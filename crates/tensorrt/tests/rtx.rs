//! The real TensorRT-RTX. `COVERSLIP_TENSORRT_RTX` names `libtensorrt_rtx.so.1`, for instance of PyPI's
//! `tensorrt-rtx-cu13-libs`; without it these tests are left out and say so. No GPU is needed: RTX builds ahead of
//! time.

mod common;

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use common::{INNER, Message, OUTER, Weights, library, model, values};
use coverslip_tensorrt::plan::{self, Batch, Progress, Recipe};
use coverslip_tensorrt::{
    Builder, BuilderConfig, ComputeCapability, DataType, Error, Flavor, HostMemory, InputRange, Library, Model,
    Network, ParserError, ParserErrorCode, PlanRefusal, ProgressMonitor, Runtime, Severity,
};

fn rtx() -> Option<Library> {
    library("COVERSLIP_TENSORRT_RTX")
}

const TARGETS: [ComputeCapability; 2] = [ComputeCapability::SM86, ComputeCapability::SM89];

fn parsed(builder: &mut Builder) -> Network {
    let mut network = builder.network().unwrap();
    network.parse(&Model::new(&model(&Weights::Inside, "Relu"))).unwrap();
    network
}

fn configured(builder: &mut Builder) -> BuilderConfig {
    let mut config = builder.config().unwrap();
    let [min, opt, max] = [1, 4, 16].map(|batch| [batch, INNER as i64]);
    let profile = builder.profile(&[InputRange { input: "x", min: &min, opt: &opt, max: &max }]).unwrap();
    config.add_profile(&profile).unwrap();
    config.set_compute_capabilities(&TARGETS).unwrap();
    config
}

fn tiny_plan(library: Library) -> HostMemory {
    let mut builder = Builder::new(library).unwrap();
    let (mut network, mut config) = (parsed(&mut builder), configured(&mut builder));
    // Ends before the plan does.
    builder.build(&mut network, &mut config).unwrap()
}

#[test]
fn the_library_says_what_it_is() {
    let Some(library) = rtx() else { return };
    assert_eq!(library.flavor(), Flavor::Rtx);
    let version = library.version();
    assert!((version.major, version.minor) >= (1, 5), "{version}");
    assert!(version.build > 0 && library.has_builder());
    let again = Library::load(library.path()).unwrap();
    assert_eq!(library, again, "one library, one logger");
}

#[test]
fn a_plan_is_built_ahead_of_time() {
    let Some(library) = rtx() else { return };
    let mut builder = Builder::new(library).unwrap();
    builder.set_max_threads(2).unwrap();
    let mut network = parsed(&mut builder);
    let (inputs, outputs) = (network.inputs(), network.outputs());
    assert_eq!(inputs.len(), 1);
    assert_eq!((inputs[0].name.as_str(), &inputs[0].shape[..]), ("x", &[-1, INNER as i64][..]));
    assert_eq!(inputs[0].data_type, DataType::FLOAT);
    assert_eq!((outputs[0].name.as_str(), &outputs[0].shape[..]), ("y", &[-1, OUTER as i64][..]));

    let mut config = configured(&mut builder);
    config.disable_tf32();
    config.set_workspace(64 << 20);
    let plan = builder.build(&mut network, &mut config).unwrap();
    drop((network, config, builder));
    assert!(plan.len() > 1000, "{plan:?}");
}

#[derive(Clone, Default)]
struct Follower {
    steps: Arc<AtomicU32>,
    phases: Arc<Mutex<Vec<String>>>,
    cancel_after: Option<u32>,
    panic: bool,
}

impl ProgressMonitor for Follower {
    fn phase_start(&self, phase: &str, _parent: Option<&str>, steps: u32) {
        assert!(steps > 0 && !phase.is_empty());
        self.phases.lock().unwrap().push(phase.to_owned());
    }

    fn step_complete(&self, _phase: &str, _step: u32) -> ControlFlow<()> {
        let steps = self.steps.fetch_add(1, Ordering::Relaxed) + 1;
        assert!(!self.panic, "in the monitor");
        if self.cancel_after.is_some_and(|last| steps >= last) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

#[test]
fn a_build_is_followed_and_cancelled_half_way() {
    let Some(library) = rtx() else { return };
    let mut builder = Builder::new(library).unwrap();
    let (mut network, mut config) = (parsed(&mut builder), configured(&mut builder));
    let whole = Follower::default();
    config.set_progress_monitor(whole.clone());
    builder.build(&mut network, &mut config).unwrap();
    let steps = whole.steps.load(Ordering::Relaxed);
    assert!(steps >= 2 && !whole.phases.lock().unwrap().is_empty());

    let half = Follower { cancel_after: Some(steps / 2), ..Follower::default() };
    config.set_progress_monitor(half.clone());
    let error = builder.build(&mut network, &mut config).unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error}");
    assert!(half.steps.load(Ordering::Relaxed) < steps);

    // The same builder goes on.
    config.set_progress_monitor(Follower::default());
    builder.build(&mut network, &mut config).unwrap();
}

#[test]
fn a_monitor_that_panics_stops_the_build() {
    let Some(library) = rtx() else { return };
    let mut builder = Builder::new(library).unwrap();
    let (mut network, mut config) = (parsed(&mut builder), configured(&mut builder));
    config.set_progress_monitor(Follower { panic: true, ..Follower::default() });
    let error = builder.build(&mut network, &mut config).unwrap_err();
    assert!(matches!(error, Error::MonitorPanicked), "{error}");
}

#[test]
fn it_says_which_gpus_it_builds_for() {
    let Some(library) = rtx() else { return };
    for capability in [ComputeCapability::SM75, ComputeCapability::SM89, ComputeCapability::SM120] {
        plan::accepts(library, capability).unwrap();
    }
    // An H100: its plan is built without a word when no GPU is named, and refused when it is opened.
    let error = plan::accepts(library, ComputeCapability(90)).unwrap_err();
    assert!(matches!(error, Error::Targets { .. }), "{error}");
}

#[test]
fn a_recipe_becomes_a_plan_and_is_cancelled() {
    let Some(library) = rtx() else { return };
    let onnx = model(&Weights::Missing, "Relu");
    // The weight lies behind something else.
    let buffer = Arc::new([&[0; 64][..], &values()].concat());
    let places = [("w".to_owned(), 64..buffer.len())];
    let batch = Batch { min: 1, opt: 4, max: 16 };
    let recipe = |model| Recipe { targets: TARGETS.to_vec(), workspace: Some(64 << 20), ..Recipe::new(model, batch) };

    let progress = Progress::new();
    let located = model(&Weights::File("nowhere.bin"), "Relu");
    let built = plan::build(library, &recipe(Model::new(&located).weights(&buffer, &places)), &progress).unwrap();
    assert!(built.plan.len() > 1000 && built.timing_cache.is_none());
    assert_eq!(progress.fraction(), 1.0);

    let stopped = Progress::new();
    stopped.cancel();
    let error = plan::build(library, &recipe(Model::new(&located).weights(&buffer, &places)), &stopped).unwrap_err();
    assert!(matches!(error, Error::Cancelled) && stopped.fraction() < 1.0, "{error}");

    let beyond = [("w".to_owned(), 64..buffer.len() + 1)];
    let error = plan::build(library, &recipe(Model::new(&located).weights(&buffer, &beyond)), &progress).unwrap_err();
    assert!(matches!(&error, Error::Argument { why } if why.contains("64..193 of 192 bytes")), "{error}");
    let error = plan::build(library, &recipe(Model::new(&onnx)), &progress).unwrap_err();
    assert!(matches!(error, Error::Parser { .. }), "{error}");
    let reversed = Recipe::new(Model::new(&onnx), Batch { min: 4, opt: 1, max: 16 });
    assert!(matches!(plan::build(library, &reversed, &progress), Err(Error::Argument { .. })));
}

fn complaints(library: Library, model: &Model<'_>) -> Vec<ParserError> {
    let mut builder = Builder::new(library).unwrap();
    match builder.network().unwrap().parse(model) {
        Err(Error::Parser { errors, .. }) => errors,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_the_parser_refuses_it_names() {
    let Some(library) = rtx() else { return };
    // A length beyond the end; what protobuf reads as the end of a group; nothing.
    let errors = complaints(library, &Model::new(b"\x0a\xffno model"));
    assert_eq!(errors[0].code, ParserErrorCode::MODEL_DESERIALIZE_FAILED, "{errors:?}");
    for text in [&b"this is not a model"[..], b""] {
        let error = Builder::new(library).unwrap().network().unwrap().parse(&Model::new(text)).unwrap_err();
        assert!(matches!(error, Error::EmptyModel { .. } | Error::Parser { .. }), "{error}");
    }

    let whole = model(&Weights::Inside, "Relu");
    for bytes in [whole.len() - 1, whole.len() / 2, 10] {
        let errors = complaints(library, &Model::new(&whole[..bytes]));
        assert!(!errors.is_empty(), "cut to {bytes} bytes");
    }

    let errors = complaints(library, &Model::new(&model(&Weights::Inside, "Gaze")));
    let error = &errors[0];
    assert_eq!((error.node_name.as_str(), error.operator.as_str(), error.node), ("activate", "Gaze", 1), "{errors:?}");
    assert!(error.to_string().contains("node 1 'activate' (Gaze)"), "{error}");

    let errors = complaints(library, &Model::new(&model(&Weights::Missing, "Relu")));
    assert!(errors.iter().any(|error| error.node_name == "project"), "{errors:?}");

    // A graph that ONNX's own rules forbid: nothing in it.
    let empty = Message::default().int(1, 8).message(7, Message::default().bytes(2, "empty")).finish();
    let error = Builder::new(library).unwrap().network().unwrap().parse(&Model::new(&empty)).unwrap_err();
    assert!(matches!(error, Error::EmptyModel { .. } | Error::Parser { .. }), "{error}");
}

#[test]
fn weights_lie_in_memory() {
    let Some(library) = rtx() else { return };
    let onnx = model(&Weights::File("w.bin"), "Relu");
    let build = |name: &str, values: Vec<u8>| {
        let (all, buffer) = (0..values.len(), Arc::new(values));
        let mut builder = Builder::new(library)?;
        let mut network = builder.network()?;
        network.parse(&Model::new(&onnx).weights(&buffer, &[(name.to_owned(), all)]))?;
        let mut config = configured(&mut builder);
        builder.build(&mut network, &mut config)
    };
    build("w", values()).unwrap();
    let short = build("w", values()[4..].to_vec());
    assert!(matches!(short, Err(Error::Parser { .. })), "of another size than the model says");
    assert!(matches!(build("v", values()), Err(Error::Parser { .. })), "no such weight");
    let missing = Builder::new(library).unwrap().network().unwrap().parse(&Model::new(&onnx));
    assert!(matches!(missing, Err(Error::Parser { .. })), "no such file");
}

#[test]
fn what_cannot_be_built_is_said_with_the_log() {
    let Some(library) = rtx() else { return };
    let mut builder = Builder::new(library).unwrap();
    let mut network = parsed(&mut builder);
    // No profile for an input with an open extent.
    let mut config = builder.config().unwrap();
    config.set_compute_capabilities(&TARGETS).unwrap();
    let error = builder.build(&mut network, &mut config).unwrap_err();
    assert!(matches!(&error, Error::Build { log } if !log.is_empty()), "{error}");
}

#[test]
fn profiles_are_checked() {
    let Some(library) = rtx() else { return };
    let mut builder = Builder::new(library).unwrap();
    let (small, large) = ([1, 8], [16, 8]);
    let reversed = InputRange { input: "x", min: &large, opt: &small, max: &small };
    let error = builder.profile(&[reversed]).err().expect("min beyond max");
    assert!(matches!(error, Error::Call { .. }), "{error}");
    let nine = [1; 9];
    let deep = InputRange { input: "x", min: &nine, opt: &nine, max: &nine };
    assert!(matches!(builder.profile(&[deep]), Err(Error::Argument { .. })));
}

#[test]
fn timing_caches_are_taken_and_ignored() {
    let Some(library) = rtx() else { return };
    let mut builder = Builder::new(library).unwrap();
    let mut config = configured(&mut builder);
    assert!(config.timing_cache().unwrap().is_none());
    match config.set_timing_cache(&[]) {
        Ok(()) => drop(config.timing_cache()),
        Err(error) => assert!(matches!(error, Error::Call { .. }), "{error}"),
    }
}

#[test]
fn plans_become_engines_or_typed_errors() {
    let Some(library) = rtx() else { return };
    let plan = tiny_plan(library);
    let runtime = Runtime::new(library).unwrap();
    let refused = |bytes: &[u8]| runtime.deserialize(bytes).err().expect("not a plan");

    assert!(matches!(refused(&[]), Error::PlanRefused { why: PlanRefusal::Truncated { bytes: 0, .. }, .. }));
    assert!(matches!(refused(&plan[..20]), Error::PlanRefused { why: PlanRefusal::Truncated { bytes: 20, .. }, .. }));
    let garbage: Vec<u8> = (0..100_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut foreign = plan.to_vec();
    foreign[..4].copy_from_slice(b"ELF\0");
    for (what, bytes) in [
        ("garbage", &garbage[..]),
        ("zeros", &[0; 4096]),
        ("cut in half", &plan[..plan.len() / 2]),
        ("another magic number", &foreign),
    ] {
        let error = refused(bytes);
        assert!(matches!(error, Error::PlanRefused { .. } | Error::NoDriver(_)), "{what}: {error}");
    }

    match (library.driver(), runtime.deserialize(&plan)) {
        (Err(_), Err(Error::NoDriver(_))) => {}
        (Ok(_), Ok(engine)) => {
            assert_eq!((engine.inputs()[0].name.as_str(), engine.outputs()[0].name.as_str()), ("x", "y"));
        }
        // A GPU that the plan is not for.
        (Ok(_), Err(Error::PlanRefused { why: PlanRefusal::Invalid(_), .. })) => {}
        (driver, engine) => panic!("{driver:?}: {:?}", engine.err()),
    }
}

#[test]
fn objects_move_between_threads() {
    let Some(library) = rtx() else { return };
    let mut builder = Builder::new(library).unwrap();
    let (mut network, mut config) = (parsed(&mut builder), configured(&mut builder));
    let plan = std::thread::spawn(move || builder.build(&mut network, &mut config).unwrap()).join().unwrap();
    let runtime = Runtime::new(library).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| runtime.validity(&plan).unwrap());
        }
    });
}

#[test]
fn the_log_reaches_its_listener() {
    let Some(library) = rtx() else { return };
    let heard = Arc::new(AtomicBool::new(false));
    let listener = heard.clone();
    library.on_log(Severity::VERBOSE, move |_, line| {
        listener.fetch_or(!line.is_empty(), Ordering::Relaxed);
    });
    let mut builder = Builder::new(library).unwrap();
    let mut network = parsed(&mut builder);
    let mut config = builder.config().unwrap();
    config.set_compute_capabilities(&TARGETS).unwrap();
    assert!(builder.build(&mut network, &mut config).is_err());
    library.on_log(Severity::WARNING, |_, _| {});
    assert!(heard.load(Ordering::Relaxed));
}
