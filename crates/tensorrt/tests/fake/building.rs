//! The methods that build.

use std::ops::ControlFlow;
use std::sync::Arc;

use coverslip_tensorrt::{
    Builder, BuilderConfig, ComputeCapability, DataType, Error, Flavor, InputRange, Library, Model, Network,
    ProgressMonitor,
};

use crate::Book;

/// Stops after this many steps.
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
    let ten = library.version().major == 10;
    let logger = if ten { "ILogger" } else { "ILogger 1.0 C++" };
    assert_eq!(
        book.take(),
        [&format!("createInferBuilder {logger}"), "builder setMaxThreads 3", "builder setMaxThreads 0"]
    );

    let mut network = builder.network().unwrap();
    parse(&mut network, library);
    let (inputs, outputs) = (network.inputs(), network.outputs());
    assert_eq!(inputs[0].to_string(), "first uint8 [1, 2, 3, 4, 5, 6, 7, -1]");
    assert_eq!((&inputs[1].shape[..], inputs[1].data_type), (&[][..], DataType::BF16));
    assert_eq!((inputs.len(), outputs.len(), outputs[0].to_string().as_str()), (2, 1, "third float16 [-1, 4]"));

    let mut config = builder.config().unwrap();
    config.disable_tf32();
    config.set_workspace(1 << 33);
    assert_eq!(
        book.take(),
        [
            if ten { "builder createNetworkV2 2" } else { "builder createNetworkV2 0" },
            "config clearFlag 6",
            "config setMemoryPoolLimit 0 8589934592",
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

    no_plan_without_a_profile(&mut builder, &mut network, &mut config, book);
    profile_and_plan(&mut builder, &mut network, &mut config, book);

    drop((builder, config, network));
    // Parsers end before their network, a timing cache after its configuration, and the builder last.
    let parses = if library.takes_weights_apart() { 4 } else { 3 };
    let parsers = Book::open(&parser_path(library)).take();
    assert_eq!(parsers.iter().filter(|line| *line == "~IParser of third").count(), parses);
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
}

fn no_plan_without_a_profile(builder: &mut Builder, network: &mut Network, config: &mut BuilderConfig, book: &Book) {
    let error = builder.build(network, config).unwrap_err();
    let Error::Build { log } = &error else { panic!("{error}") };
    assert_eq!(
        log.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["[warning] a warning of the builder", "[error] no profile",]
    );
    assert_eq!(book.take(), ["builder buildSerializedNetwork third"]);
}

fn profile_and_plan(builder: &mut Builder, network: &mut Network, config: &mut BuilderConfig, book: &Book) {
    let (min, opt, max) = ([1, 2, 3, 4, 5, 6, 7, 8], [2; 8], [1 << 40; 8]);
    let profile = builder.profile(&[InputRange { input: "first", min: &min, opt: &opt, max: &max }]).unwrap();
    config.add_profile(&profile).unwrap();
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
        Flavor::Rtx => "libtensorrt_onnxparser_rtx.so.1".to_owned(),
        Flavor::Enterprise => format!("libnvonnxparser.so.{}", library.version().major),
    };
    library.path().with_file_name(parser)
}

fn parse(network: &mut Network, library: Library) {
    let logger = if library.version().major == 10 { "ILogger" } else { "ILogger 1.0 C++" };
    let created = format!("createNvOnnxParser {logger} 200");
    network.parse(&Model::new(b"model")).unwrap();
    let book = Book::open(&parser_path(library));
    assert_eq!(book.take(), [&created[..], "parser parse model (none)"]);

    let error = network.parse(&Model::new(b"bad")).unwrap_err();
    let Error::Parser { errors, .. } = &error else { panic!("{error}") };
    assert_eq!(errors.len(), 2);
    assert_eq!(errors[1].to_string(), "node 5 'gaze' (): unsupported node: no importer");
    assert_eq!(errors[1].origin, "parse (fake.cpp:42)");
    assert_eq!(book.take(), [&created[..], "parser parse bad (none)"]);

    let buffer = Arc::new(b"-one".to_vec());
    let weights = |name: &str| Model::new(b"model").weights(&buffer, &[("w".into(), 1..4), (name.into(), 4..4)]);
    if !library.takes_weights_apart() {
        let error = network.parse(&weights("v")).unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }) && error.to_string().contains("10.13"), "{error}");
        assert_eq!(book.take(), [&created[..]]);
        return;
    }
    network.parse(&weights("v")).unwrap();
    let error = network.parse(&weights("unknown")).unwrap_err();
    assert!(matches!(error, Error::Parser { .. }), "{error}");
    assert_eq!(
        book.take(),
        [
            &created[..],
            "parser loadModelProto 5 (none)",
            "parser loadInitializer w one",
            "parser loadInitializer v ",
            "parser parseModelProto",
            &created[..],
            "parser loadModelProto 5 (none)",
            "parser loadInitializer w one",
            "parser loadInitializer unknown ",
        ]
    );
}
