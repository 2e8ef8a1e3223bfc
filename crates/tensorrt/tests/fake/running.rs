//! Every method that runs.

use std::ffi::c_void;
use std::sync::Arc;

use coverslip_tensorrt::{
    BindError, ContextAllocation, CudaGraphStrategy, DataType, DeviceMemory, Engine, EngineInvalidity, EngineValidity,
    Error, Event, Flavor, KernelSpecialization, LayerInformationFormat, Library, OptProfileSelector, PlanRefusal,
    RecorderObject, Runtime, Stream, TensorLocation,
};

use crate::Book;

/// A plan, as far as the fake is concerned.
fn plan() -> Vec<u8> {
    let mut plan = vec![b'.'; 80];
    plan[..8].copy_from_slice(b"FAKEPLAN");
    plan
}

fn memory(address: u64, bytes: u64) -> DeviceMemory {
    // SAFETY: the fake reads no memory.
    unsafe { DeviceMemory::from_raw(address, bytes, Arc::new(())) }
}

fn handle(address: usize) -> *mut c_void {
    std::ptr::without_provenance_mut(address)
}

fn stream(address: usize) -> Stream {
    // SAFETY: neither the fake nor its driver looks at a stream.
    unsafe { Stream::from_raw(handle(address), Arc::new(())) }
}

pub(crate) fn drive(library: Library, book: &Book) {
    let rtx = library.flavor() == Flavor::Rtx;
    let mut runtime = Runtime::new(library).unwrap();
    runtime.set_max_threads(2).unwrap();
    runtime.set_engine_host_code_allowed(true);
    let recorder = Arc::new(RecorderObject::new());
    runtime.set_error_recorder(recorder.clone());
    assert_eq!(
        book.take(),
        ["runtime setMaxThreads 2", "runtime setEngineHostCodeAllowed 1", "runtime setErrorRecorder",]
    );
    plans(&runtime, rtx, book);

    let engine = runtime.deserialize(&plan()).unwrap();
    drop(runtime);
    book.take();
    ask(&engine);
    assert_eq!(book.take(), ["~IEngineInspector"]);
    configured(&engine, rtx, book);
    run(engine, rtx, book);
    assert!(Arc::into_inner(recorder).is_some(), "nobody holds the recorder any more");
}

fn plans(runtime: &Runtime, rtx: bool, book: &Book) {
    let refused = |bytes: &[u8]| match runtime.deserialize(bytes).err() {
        Some(Error::PlanRefused { why, log }) => (why, log.len()),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&[0; 80]), (PlanRefusal::Library, 1));
    let header = if rtx { 64 } else { 1 };
    assert_eq!(refused(&[]), (PlanRefusal::Truncated { bytes: 0, header }, 0));
    if rtx {
        assert_eq!(refused(&[b'O'; 63]), (PlanRefusal::Truncated { bytes: 63, header: 64 }, 0));
        let mut old = plan();
        old[..8].copy_from_slice(b"OLDPLAN.");
        assert_eq!(refused(&old), (PlanRefusal::Invalid(EngineInvalidity(1)), 0));
        assert_eq!(runtime.validity(&plan()).unwrap(), Some((EngineValidity::VALID, EngineInvalidity(0))));
        assert_eq!(
            book.take(),
            [
                "runtime getEngineValidity 80",
                "runtime deserializeCudaEngine 80",
                "runtime getEngineValidity 80",
                "runtime getEngineValidity 80",
            ]
        );
    } else {
        assert_eq!(runtime.validity(&plan()).unwrap(), None);
        assert_eq!(book.take(), ["runtime deserializeCudaEngine 80"]);
    }
}

fn ask(engine: &Engine) {
    let (inputs, outputs) = (engine.inputs(), engine.outputs());
    assert_eq!((inputs.len(), inputs[0].to_string().as_str()), (1, "x float32 [-1, 8]"));
    assert_eq!((outputs.len(), outputs[0].to_string().as_str()), (1, "y float16 [-1, 4]"));
    assert_eq!((inputs[0].location, outputs[0].data_type), (TensorLocation::DEVICE, DataType::HALF));
    assert_eq!((engine.name().as_str(), engine.profiles(), engine.aux_streams()), ("fake engine", 2, 3));
    assert_eq!((engine.device_memory(), engine.device_memory_of_profile(1)), (5_000_000_000, 4_000_000_001));
    for (profile, select, batch) in [(0, OptProfileSelector::MIN, 1), (1, OptProfileSelector::MAX, 13)] {
        assert_eq!(engine.profile_shape("x", profile, select).unwrap(), [batch, 8]);
    }
    assert!(engine.profile_shape("y", 0, OptProfileSelector::MIN).is_err());
    let mut inspector = engine.inspector().unwrap();
    assert_eq!(inspector.engine(LayerInformationFormat::JSON).unwrap(), "engine 1");
    assert_eq!(inspector.layer(7, LayerInformationFormat::ONELINE).unwrap(), "layer 7 0");
}

fn configured(engine: &Engine, rtx: bool, book: &Book) {
    let mut config = engine.runtime_config().unwrap();
    config.set_allocation(ContextAllocation::USER_MANAGED);
    let cache = if rtx {
        config.set_cuda_graph_strategy(CudaGraphStrategy::WHOLE_GRAPH_CAPTURE).unwrap();
        config.set_kernel_specialization(KernelSpecialization::EAGER).unwrap();
        assert!(!config.set_runtime_cache(b"bad").unwrap().1);
        let (cache, taken) = config.set_runtime_cache(b"cached").unwrap();
        assert!(taken);
        Some(cache)
    } else {
        assert!(matches!(config.set_runtime_cache(b"cached"), Err(Error::Unsupported { .. })));
        assert!(config.set_cuda_graph_strategy(CudaGraphStrategy::DISABLED).is_err());
        assert!(config.set_kernel_specialization(KernelSpecialization::LAZY).is_err());
        None
    };
    let mut context = engine.context_by(&config).unwrap();
    drop(config);
    context.set_input_shape("x", &[1, 8]).unwrap();
    for tensor in ["x", "y"] {
        context.bind(tensor, &memory(0x1000, 32)).unwrap();
    }
    let bind = |error: Error| match error {
        Error::Bind(error) => error,
        other => panic!("{other}"),
    };
    assert!(matches!(bind(context.enqueue(&stream(0x10)).unwrap_err()), BindError::Unbound { .. }));
    let short = context.set_device_memory(&memory(0x2000, 4_999_999_999)).unwrap_err();
    assert!(matches!(bind(short), BindError::TooSmall { needed: 5_000_000_000, .. }));
    context.set_device_memory(&memory(0x2000, 5_000_000_000)).unwrap();
    context.enqueue(&stream(0x10)).unwrap();
    if let Some(cache) = &cache {
        assert_eq!(&*cache.serialize().unwrap(), b"cached");
    }
    drop((context, cache));
    let mut expected = vec!["runtime config setExecutionContextAllocationStrategy 2"];
    if rtx {
        expected.extend([
            "runtime config setCudaGraphStrategy 1",
            "runtime config setDynamicShapesKernelSpecializationStrategy 1",
            "runtime cache deserialize bad",
            "runtime config setRuntimeCache 3",
            "~IHostMemory",
            "runtime cache deserialize cached",
            "runtime config setRuntimeCache 6",
            "~IHostMemory",
        ]);
    }
    expected.extend([
        "engine createExecutionContextWithRuntimeConfig 1",
        "context setInputShape x [1,8]",
        "context setTensorAddress x 0x1000",
        "context setTensorAddress y 0x1000",
        "context setDeviceMemoryV2 0x2000 5000000000",
        "context enqueueV3 0x10",
    ]);
    if rtx {
        expected.push("~IHostMemory");
    }
    // The context kept its configuration, and that its caches, each until after it.
    expected.extend(["~IExecutionContext", "~IRuntimeConfig"]);
    if rtx {
        expected.extend(["~IRuntimeCache", "~IRuntimeCache"]);
    }
    assert_eq!(book.take(), expected);
}

fn run(engine: Engine, rtx: bool, book: &Book) {
    let mut context = engine.context().unwrap();
    drop(engine);
    let recorder = Arc::new(RecorderObject::new());
    context.set_error_recorder(recorder);
    assert!(context.infer_shapes().is_err());
    assert_eq!(context.shape("y").unwrap(), [-1, 4]);
    assert!(context.shape("z").is_err());
    context.set_input_shape("x", &[16, 8]).unwrap();
    assert!(context.set_input_shape("x", &[17, 8]).is_err());
    context.set_input_shape("x", &[16, 8]).unwrap();
    context.infer_shapes().unwrap();
    assert_eq!(context.outputs()[0].shape, [16, 4]);
    assert_eq!(context.inputs()[0].shape, [16, 8]);
    context.bind("x", &memory(0x1000, 512)).unwrap();
    assert!(matches!(context.bind("y", &memory(0xbad00, 128)), Err(Error::Bind(BindError::Refused { .. }))));
    assert!(matches!(context.enqueue(&stream(0x10)), Err(Error::Bind(BindError::Unbound { .. }))));
    context.bind("y", &memory(0x2000, 127)).unwrap();
    let error = context.enqueue(&stream(0x10)).unwrap_err();
    assert!(matches!(&error, Error::Bind(BindError::TooSmall { bytes: 127, needed: 128, .. })), "{error}");
    context.bind("y", &memory(0x2000, 128)).unwrap();
    // SAFETY: the fake does not look at it.
    context.set_input_consumed_event(&unsafe { Event::from_raw(handle(0x77), Arc::new(())) }).unwrap();
    context.set_aux_streams(&[stream(0x20), stream(0x30)]).unwrap();
    context.enqueue(&stream(0x10)).unwrap();
    assert_eq!(context.is_stream_capturable(&stream(0x10)), rtx.then_some(true));
    context.set_input_shape("x", &[13, 8]).unwrap();
    assert!(matches!(context.enqueue(&stream(0x10)), Err(Error::Call { call: "IExecutionContext::enqueueV3", .. })));
    context.set_profile(1, &stream(0x10)).unwrap();
    assert_eq!(context.profile(), Some(1));
    assert!(matches!(context.enqueue(&stream(0x10)), Err(Error::Bind(BindError::ShapeUnknown { .. }))));
    assert!(context.set_profile(2, &stream(0x10)).is_err());
    drop(context);
    let mut expected = vec![
        "engine createExecutionContext 0",
        "context setErrorRecorder",
        "context inferShapes 0 0",
        "context setInputShape x [16,8]",
        "context setInputShape x [17,8]",
        "context setInputShape x [16,8]",
        "context inferShapes 0 0",
        "context setTensorAddress x 0x1000",
        "context setTensorAddress y 0xbad00",
        "context setTensorAddress y 0x2000",
        "context setTensorAddress y 0x2000",
        "context setInputConsumedEvent 0x77",
        "context setAuxStreams 2 0x20 0x30",
        "context enqueueV3 0x10",
    ];
    if rtx {
        expected.push("context isStreamCapturable 0x10");
    }
    expected.extend([
        "context setInputShape x [13,8]",
        "context enqueueV3 0x10",
        "context setOptimizationProfileAsync 1 0x10",
        "context setOptimizationProfileAsync 2 0x10",
        // The context kept its engine, and that its runtime.
        "~IExecutionContext",
        "~ICudaEngine",
        "~IRuntime",
    ]);
    assert_eq!(book.take(), expected);
}
