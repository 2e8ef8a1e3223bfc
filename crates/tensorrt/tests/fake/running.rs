//! The methods that run.

use std::ffi::c_void;
use std::sync::Arc;

use coverslip_tensorrt::{
    BindError, CudaGraphStrategy, DataType, DeviceMemory, Engine, EngineInvalidity, EngineValidity, Error, Flavor,
    Library, OptProfileSelector, PlanRefusal, Runtime, Stream,
};

use crate::Book;

/// A plan that the fake accepts.
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
    let runtime = Runtime::new(library).unwrap();
    plans(&runtime, rtx, book);

    let engine = runtime.deserialize(&plan()).unwrap();
    drop(runtime);
    book.take();
    ask(&engine);
    if library.version().major == 10 {
        assert!(matches!(engine.runtime_config(), Err(Error::Unsupported { .. })));
    } else {
        configured(&engine, rtx, book);
    }
    run(engine, book);
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
    assert_eq!(outputs[0].data_type, DataType::HALF);
    assert_eq!(engine.device_memory(), 5_000_000_000);
    for (profile, select, batch) in [(0, OptProfileSelector::MIN, 1), (1, OptProfileSelector::MAX, 13)] {
        assert_eq!(engine.profile_shape("x", profile, select).unwrap(), [batch, 8]);
    }
    assert!(engine.profile_shape("y", 0, OptProfileSelector::MIN).is_err());
}

fn configured(engine: &Engine, rtx: bool, book: &Book) {
    let mut config = engine.runtime_config().unwrap();
    let cache = if rtx {
        config.set_cuda_graph_strategy(CudaGraphStrategy::WHOLE_GRAPH_CAPTURE).unwrap();
        assert!(!config.set_runtime_cache(b"bad").unwrap().1);
        let (cache, taken) = config.set_runtime_cache(b"cached").unwrap();
        assert!(taken);
        Some(cache)
    } else {
        assert!(matches!(config.set_runtime_cache(b"cached"), Err(Error::Unsupported { .. })));
        assert!(config.set_cuda_graph_strategy(CudaGraphStrategy::DISABLED).is_err());
        None
    };
    let mut context = engine.context_by(&config).unwrap();
    drop(config);
    context.set_input_shape("x", &[1, 8]).unwrap();
    for tensor in ["x", "y"] {
        context.bind(tensor, &memory(0x1000, 32)).unwrap();
    }
    context.enqueue(&stream(0x10)).unwrap();
    if let Some(cache) = &cache {
        assert_eq!(&*cache.serialize().unwrap(), b"cached");
    }
    drop((context, cache));
    let mut expected = Vec::new();
    if rtx {
        expected.extend([
            "runtime config setCudaGraphStrategy 1",
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
        "context enqueueV3 0x10",
    ]);
    if rtx {
        expected.push("~IHostMemory");
    }
    // The context kept its configuration, which kept its caches.
    expected.extend(["~IExecutionContext", "~IRuntimeConfig"]);
    if rtx {
        expected.extend(["~IRuntimeCache", "~IRuntimeCache"]);
    }
    assert_eq!(book.take(), expected);
}

fn run(engine: Engine, book: &Book) {
    let mut context = engine.context().unwrap();
    drop(engine);
    assert_eq!(context.outputs()[0].shape, [-1, 4]);
    context.set_input_shape("x", &[16, 8]).unwrap();
    assert!(context.set_input_shape("x", &[17, 8]).is_err());
    context.set_input_shape("x", &[16, 8]).unwrap();
    assert_eq!(context.outputs()[0].shape, [16, 4]);
    assert_eq!(context.inputs()[0].shape, [16, 8]);
    context.bind("x", &memory(0x1000, 512)).unwrap();
    assert!(matches!(context.bind("y", &memory(0xbad00, 128)), Err(Error::Bind(BindError::Refused { .. }))));
    assert!(matches!(context.enqueue(&stream(0x10)), Err(Error::Bind(BindError::Unbound { .. }))));
    context.bind("y", &memory(0x2000, 127)).unwrap();
    let error = context.enqueue(&stream(0x10)).unwrap_err();
    assert!(matches!(&error, Error::Bind(BindError::TooSmall { bytes: 127, needed: 128, .. })), "{error}");
    context.bind("y", &memory(0x2000, 128)).unwrap();
    for address in [0x10, 0x20, 0x30] {
        context.enqueue(&stream(address)).unwrap();
    }
    context.set_input_shape("x", &[13, 8]).unwrap();
    assert!(matches!(context.enqueue(&stream(0x10)), Err(Error::Call { call: "IExecutionContext::enqueueV3", .. })));
    drop(context);
    assert_eq!(
        book.take(),
        [
            "engine createExecutionContext 0",
            "context setInputShape x [16,8]",
            "context setInputShape x [17,8]",
            "context setInputShape x [16,8]",
            "context setTensorAddress x 0x1000",
            "context setTensorAddress y 0xbad00",
            "context setTensorAddress y 0x2000",
            "context setTensorAddress y 0x2000",
            "context enqueueV3 0x10",
            "context enqueueV3 0x20",
            "context enqueueV3 0x30",
            "context setInputShape x [13,8]",
            "context enqueueV3 0x10",
            // The context kept its engine, which kept its runtime.
            "~IExecutionContext",
            "~ICudaEngine",
            "~IRuntime",
        ]
    );
}
