//! Every method that builds.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use coverslip_tensorrt::{
    Builder, BuilderConfig, BuilderFlag, ComputeCapability, DataType, Error, Flavor, HardwareCompatibilityLevel,
    InputRange, Library, MemoryPoolType, Model, Network, ProfilingVerbosity, ProgressMonitor, RecorderObject,
};

use crate::Book;

/// Stops after so many steps.
struct Stop(u32);

impl ProgressMonitor for Stop {
    fn phase_start(&self, phase: &str, parent: Option<&str>, steps: u32) {
        let expected = if phase == "outer" { (None, 3) } else { (Some("outer"), 1) };
        assert_eq!((parent, steps), expected);
    }

    fn step_complete(&self, phase: &str, step: u32) -> ControlFlow<()> {
        assert_eq!(phase, "outer");
        if step + 1 < self.0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

pub(crate) fn drive(library: Library, book: &Book) {
    let rtx = library.flavor() == Flavor::Rtx;
    let mut builder = Builder::new(library).unwrap();
    builder.set_max_threads(3).unwrap();
    let error = builder.set_max_threads(0).unwrap_err();
    assert!(matches!(error, Error::Call { call: "IBuilder::setMaxThreads", .. }), "{error}");
    let recorder = Arc::new(RecorderObject::new());
    builder.set_error_recorder(recorder.clone());
    assert_eq!(
        book.take(),
        [
            "createInferBuilder ILogger 1.0 C++",
            "builder setMaxThreads 3",
            "builder setMaxThreads 0",
            "builder setErrorRecorder IErrorRecorder 1.0 C++ count=1",
        ]
    );

    let mut network = builder.network().unwrap();
    parse(&mut network, library);
    let (inputs, outputs) = (network.inputs(), network.outputs());
    assert_eq!(inputs[0].to_string(), "first uint8 [1, 2, 3, 4, 5, 6, 7, -1]");
    assert_eq!((&inputs[1].shape[..], inputs[1].data_type), (&[][..], DataType::BF16));
    assert_eq!((inputs.len(), outputs.len(), outputs[0].to_string().as_str()), (2, 1, "third float16 [-1, 4]"));
    assert_eq!(network.layers(), 7);

    let mut config = builder.config().unwrap();
    assert!(config.flag(BuilderFlag::TF32));
    config.set_flag(BuilderFlag::TF32, false);
    config.set_flag(BuilderFlag::REFIT, true);
    assert!(!config.flag(BuilderFlag::TF32) && config.flag(BuilderFlag::REFIT));
    config.set_memory_pool_limit(MemoryPoolType::TACTIC_DRAM, 1 << 33);
    assert_eq!(config.memory_pool_limit(MemoryPoolType::TACTIC_DRAM), (1 << 33) + 4);
    config.set_profiling_verbosity(ProfilingVerbosity::DETAILED);
    config.set_optimization_level(5);
    config.set_hardware_compatibility(HardwareCompatibilityLevel::AMPERE_PLUS);
    config.set_max_aux_streams(2).unwrap();
    assert!(config.set_max_aux_streams(100).is_err());
    assert_eq!(
        book.take(),
        [
            "builder createNetworkV2 0",
            "config setMemoryPoolLimit 4 8589934592",
            "config setProfilingVerbosity 2",
            "config setBuilderOptimizationLevel 5",
            "config setHardwareCompatibilityLevel 1",
            "config setMaxAuxStreams 2",
            "config setMaxAuxStreams 100",
        ]
    );

    let targets = config.set_compute_capabilities(&[ComputeCapability::SM86, ComputeCapability::SM120]);
    if rtx {
        targets.unwrap();
        let error = config.set_compute_capabilities(&[ComputeCapability::SM86, ComputeCapability(999)]).unwrap_err();
        assert!(matches!(error, Error::Targets { .. }) && error.to_string().contains("sm86; sm999"), "{error}");
        assert_eq!(
            book.take(),
            [
                "config setNbComputeCapabilities 2",
                "config setComputeCapability 86 0",
                "config setComputeCapability 120 1",
                "config setNbComputeCapabilities 2",
                "config setComputeCapability 86 0",
                "config setComputeCapability 999 1",
            ]
        );
    } else {
        assert!(matches!(targets, Err(Error::Unsupported { .. })), "{targets:?}");
    }

    config.set_timing_cache(b"old").unwrap();
    assert_eq!(&*config.timing_cache().unwrap().unwrap(), b"old+");
    assert_eq!(book.take(), ["config setTimingCache old+ 0", "~IHostMemory", "~IHostMemory"]);

    no_plan_without_a_profile(&mut builder, &mut network, &mut config, &recorder, book);
    profile_and_plan(&mut builder, &mut network, &mut config, book);

    let last = recorder.take();
    assert_eq!(last, (Vec::new(), false));
    drop((builder, config, network));
    // The parsers end before their network, what the configuration points at after it, and the builder last.
    let parsers = Book::open(&parser_path(library)).take();
    assert_eq!(parsers.iter().filter(|line| *line == "~IParser of third").count(), 4);
    assert_eq!(
        book.take(),
        [
            "~IBuilderConfig",
            "~ITimingCache",
            "~INetworkDefinition",
            "~ITensor",
            "~ITensor",
            "~ITensor",
            "~IBuilder",
            "~IOptimizationProfile",
            "~IOptimizationProfile",
        ]
    );
    assert!(Arc::into_inner(recorder).is_some(), "nobody holds the recorder any more");
}

fn no_plan_without_a_profile(
    builder: &mut Builder,
    network: &mut Network,
    config: &mut BuilderConfig,
    recorder: &RecorderObject,
    book: &Book,
) {
    let error = builder.build(network, config).unwrap_err();
    let Error::Build { log } = &error else { panic!("{error}") };
    assert_eq!(
        log.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["[warning] a warning of the builder", "[error] no profile",]
    );
    let (errors, overflowed) = recorder.take();
    assert_eq!((errors.len(), errors[0].to_string().as_str()), (1, "invalid configuration: no profile"));
    assert!(!overflowed);
    assert_eq!(book.take(), ["builder buildSerializedNetwork third", "recorder 1 4 no profile 0"]);
}

fn profile_and_plan(builder: &mut Builder, network: &mut Network, config: &mut BuilderConfig, book: &Book) {
    let (min, opt, max) = ([1, 2, 3, 4, 5, 6, 7, 8], [2; 8], [1 << 40; 8]);
    let profile = builder.profile(&[InputRange { input: "first", min: &min, opt: &opt, max: &max }]).unwrap();
    assert_eq!(config.add_profile(&profile).unwrap(), 0);
    assert!(builder.profile(&[InputRange { input: "second", min: &[1], opt: &[1], max: &[1] }]).is_err());
    let large = (1i64 << 40).to_string();
    assert_eq!(
        book.take(),
        [
            "profile setDimensions first 0 [1,2,3,4,5,6,7,8]".to_owned(),
            "profile setDimensions first 1 [2,2,2,2,2,2,2,2]".to_owned(),
            format!("profile setDimensions first 2 [{}]", [large.as_str(); 8].join(",")),
            "config addOptimizationProfile valid=1".to_owned(),
            "profile setDimensions second 0 [1]".to_owned(),
        ]
    );

    config.set_progress_monitor(Stop(2));
    let error = builder.build(network, config).unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error}");
    config.set_progress_monitor(Stop(4));
    let plan = builder.build(network, config).unwrap();
    assert!(plan.starts_with(b"FAKEPLAN") && plan.len() == 80);
    drop(plan);
    assert_eq!(
        book.take(),
        [
            "config setProgressMonitor IProgressMonitor 1.0 C++",
            "builder buildSerializedNetwork third",
            "config setProgressMonitor IProgressMonitor 1.0 C++",
            "builder buildSerializedNetwork third",
            "~IHostMemory",
        ]
    );
}

fn parser_path(library: Library) -> std::path::PathBuf {
    let parser = match library.flavor() {
        Flavor::Rtx => "libtensorrt_onnxparser_rtx.so.1",
        Flavor::Enterprise => "libnvonnxparser.so.11",
    };
    library.path().with_file_name(parser)
}

fn parse(network: &mut Network, library: Library) {
    network.parse(&Model::new(b"model")).unwrap();
    let book = Book::open(&parser_path(library));
    assert_eq!(book.take(), ["createNvOnnxParser ILogger 1.0 C++ 200", "parser parse model (none)"]);

    let error = network.parse(&Model::new(b"bad").at(Path::new("/models/m.onnx"))).unwrap_err();
    let Error::Parser { errors, .. } = &error else { panic!("{error}") };
    assert_eq!(errors.len(), 2);
    assert_eq!(errors[1].to_string(), "node 5 'gaze' (): unsupported node: no importer");
    assert_eq!(errors[1].origin, "parse (fake.cpp:42)");
    assert_eq!(book.take(), ["createNvOnnxParser ILogger 1.0 C++ 200", "parser parse bad /models/m.onnx"]);

    let weights = |name: &str| Model::new(b"model").weight("w", Arc::new(b"one".to_vec())).weight(name, Arc::default());
    network.parse(&weights("v")).unwrap();
    let error = network.parse(&weights("unknown")).unwrap_err();
    assert!(matches!(error, Error::Parser { .. }), "{error}");
    assert_eq!(
        book.take(),
        [
            "createNvOnnxParser ILogger 1.0 C++ 200",
            "parser loadModelProto 5 (none)",
            "parser loadInitializer w one",
            "parser loadInitializer v ",
            "parser parseModelProto",
            "createNvOnnxParser ILogger 1.0 C++ 200",
            "parser loadModelProto 5 (none)",
            "parser loadInitializer w one",
            "parser loadInitializer unknown ",
        ]
    );
}
