//! The interface tables: at which place of its virtual table a class has a method.
//!
//! A public object of TensorRT is `{ table, implementation }`; its methods are inline in NVIDIA's headers and call the
//! implementation's virtual methods. So the contract between a program and the library is these numbers: the place of a
//! method among the virtual methods of `apiv::V…`, its destructor not counted. They were read from NVIDIA's Apache-2.0
//! headers; `tests/slots.rs` compares them with that list.
//!
//! [`TENSORRT_11`] holds for TensorRT 11.0 to 11.4. [`RTX`] is the same but for what only RTX has, so that a flavour is
//! gated by `Option`: at the place where RTX has `isStreamCapturable`, TensorRT has `setCommunicator`. TensorRT 10 is
//! one more table (and `setMaxAuxStreams` without an answer).

/// One line of the tables, for tests and diagnosis.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Entry {
    /// The class as the headers name it.
    pub class: &'static str,
    /// The method as the headers name it.
    pub method: &'static str,
    /// Its place, or none where the flavour has no such method.
    pub slot: Option<usize>,
}

macro_rules! interfaces {
    ($($(#[$doc:meta])* $table:ident = $class:literal { $($field:ident: $kind:ty = $method:literal,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug)]
            pub struct $table {
                $(#[doc = concat!("`", $method, "`")] pub $field: $kind,)*
            }

            impl $table {
                fn entries(&self) -> impl Iterator<Item = Entry> {
                    [$(Entry { class: $class, method: $method, slot: self.$field.into() },)*].into_iter()
                }
            }
        )*
    };
}

interfaces! {
    /// Makes networks and configurations, and builds plans.
    Builder = "VBuilder" {
        create_builder_config: usize = "createBuilderConfig",
        create_network: usize = "createNetworkV2",
        create_optimization_profile: usize = "createOptimizationProfile",
        set_error_recorder: usize = "setErrorRecorder",
        build_serialized_network: usize = "buildSerializedNetwork",
        set_max_threads: usize = "setMaxThreads",
    }
    /// How to build.
    BuilderConfig = "VBuilderConfig" {
        clear_flag: usize = "clearFlag",
        set_flag: usize = "setFlag",
        get_flag: usize = "getFlag",
        add_optimization_profile: usize = "addOptimizationProfile",
        set_profiling_verbosity: usize = "setProfilingVerbosity",
        create_timing_cache: usize = "createTimingCache",
        set_timing_cache: usize = "setTimingCache",
        set_memory_pool_limit: usize = "setMemoryPoolLimit",
        get_memory_pool_limit: usize = "getMemoryPoolLimit",
        set_builder_optimization_level: usize = "setBuilderOptimizationLevel",
        set_hardware_compatibility_level: usize = "setHardwareCompatibilityLevel",
        set_max_aux_streams: usize = "setMaxAuxStreams",
        set_progress_monitor: usize = "setProgressMonitor",
        set_nb_compute_capabilities: Option<usize> = "setNbComputeCapabilities",
        set_compute_capability: Option<usize> = "setComputeCapability",
    }
    /// The graph.
    NetworkDefinition = "VNetworkDefinition" {
        get_nb_layers: usize = "getNbLayers",
        get_nb_inputs: usize = "getNbInputs",
        get_input: usize = "getInput",
        get_nb_outputs: usize = "getNbOutputs",
        get_output: usize = "getOutput",
    }
    /// An edge of the graph.
    Tensor = "VTensor" {
        get_name: usize = "getName",
        get_dimensions: usize = "getDimensions",
        get_type: usize = "getType",
    }
    /// The range of shapes a plan is for.
    OptimizationProfile = "VOptimizationProfile" {
        set_dimensions: usize = "setDimensions",
        is_valid: usize = "isValid",
    }
    /// Bytes that belong to the library.
    HostMemory = "VHostMemory" {
        data: usize = "data",
        size: usize = "size",
    }
    /// What was measured when kernels were chosen.
    TimingCache = "VTimingCache" {
        serialize: usize = "serialize",
        combine: usize = "combine",
    }
    /// Turns plans into engines.
    Runtime = "VRuntime" {
        deserialize_cuda_engine: usize = "deserializeCudaEngine",
        set_error_recorder: usize = "setErrorRecorder",
        set_max_threads: usize = "setMaxThreads",
        set_engine_host_code_allowed: usize = "setEngineHostCodeAllowed",
        get_engine_header_size: Option<usize> = "getEngineHeaderSize",
        get_engine_validity: Option<usize> = "getEngineValidity",
    }
    /// A plan on the device.
    CudaEngine = "VCudaEngine" {
        create_execution_context: usize = "createExecutionContext",
        get_name: usize = "getName",
        get_nb_optimization_profiles: usize = "getNbOptimizationProfiles",
        create_engine_inspector: usize = "createEngineInspector",
        get_tensor_shape: usize = "getTensorShape",
        get_tensor_data_type: usize = "getTensorDataType",
        get_tensor_location: usize = "getTensorLocation",
        get_tensor_io_mode: usize = "getTensorIOMode",
        get_tensor_format: usize = "getTensorFormat",
        get_profile_shape: usize = "getProfileShape",
        get_nb_io_tensors: usize = "getNbIOTensors",
        get_io_tensor_name: usize = "getIOTensorName",
        get_nb_aux_streams: usize = "getNbAuxStreams",
        get_device_memory_size: usize = "getDeviceMemorySizeV2",
        get_device_memory_size_for_profile: usize = "getDeviceMemorySizeForProfileV2",
        create_execution_context_with_config: usize = "createExecutionContextWithRuntimeConfig",
        create_runtime_config: usize = "createRuntimeConfig",
    }
    /// One run at a time of an engine.
    ExecutionContext = "VExecutionContext" {
        get_optimization_profile: usize = "getOptimizationProfile",
        set_error_recorder: usize = "setErrorRecorder",
        set_optimization_profile_async: usize = "setOptimizationProfileAsync",
        set_input_shape: usize = "setInputShape",
        get_tensor_shape: usize = "getTensorShape",
        set_tensor_address: usize = "setTensorAddress",
        infer_shapes: usize = "inferShapes",
        set_input_consumed_event: usize = "setInputConsumedEvent",
        enqueue: usize = "enqueueV3",
        set_aux_streams: usize = "setAuxStreams",
        set_device_memory: usize = "setDeviceMemoryV2",
        is_stream_capturable: Option<usize> = "isStreamCapturable",
    }
    /// How a context is to be made.
    RuntimeConfig = "VRuntimeConfig" {
        set_execution_context_allocation_strategy: usize = "setExecutionContextAllocationStrategy",
        create_runtime_cache: Option<usize> = "createRuntimeCache",
        set_runtime_cache: Option<usize> = "setRuntimeCache",
        set_dynamic_shapes_kernel_specialization_strategy: Option<usize> =
            "setDynamicShapesKernelSpecializationStrategy",
        set_cuda_graph_strategy: Option<usize> = "setCudaGraphStrategy",
    }
    /// What RTX compiled on this machine.
    RuntimeCache = "VRuntimeCache" {
        serialize: Option<usize> = "serialize",
        deserialize: Option<usize> = "deserialize",
    }
    /// Tells what became of the graph.
    EngineInspector = "VEngineInspector" {
        get_layer_information: usize = "getLayerInformation",
        get_engine_information: usize = "getEngineInformation",
    }
    /// The ONNX parser. It has no implementation behind it: its own table is the interface, its destructor stands in
    /// the middle, at 6, and is counted as one place here.
    Parser = "IParser" {
        parse: usize = "parse",
        get_nb_errors: usize = "getNbErrors",
        get_error: usize = "getError",
        clear_errors: usize = "clearErrors",
        destructor: usize = "~IParser",
        load_model_proto: usize = "loadModelProto",
        load_initializer: usize = "loadInitializer",
        parse_model_proto: usize = "parseModelProto",
    }
    /// One complaint of the parser; its own table too.
    ParserError = "IParserError" {
        code: usize = "code",
        desc: usize = "desc",
        file: usize = "file",
        line: usize = "line",
        func: usize = "func",
        node: usize = "node",
        node_name: usize = "nodeName",
        node_operator: usize = "nodeOperator",
    }
}

/// The tables of one generation and flavour.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "each field's type says what it is")]
pub struct Slots {
    pub builder: Builder,
    pub builder_config: BuilderConfig,
    pub network: NetworkDefinition,
    pub tensor: Tensor,
    pub profile: OptimizationProfile,
    pub host_memory: HostMemory,
    pub timing_cache: TimingCache,
    pub runtime: Runtime,
    pub engine: CudaEngine,
    pub context: ExecutionContext,
    pub runtime_config: RuntimeConfig,
    pub runtime_cache: RuntimeCache,
    pub inspector: EngineInspector,
    pub parser: Parser,
    pub parser_error: ParserError,
}

impl Slots {
    /// Every line of every table.
    pub fn entries(&self) -> Vec<Entry> {
        (self.builder.entries())
            .chain(self.builder_config.entries())
            .chain(self.network.entries())
            .chain(self.tensor.entries())
            .chain(self.profile.entries())
            .chain(self.host_memory.entries())
            .chain(self.timing_cache.entries())
            .chain(self.runtime.entries())
            .chain(self.engine.entries())
            .chain(self.context.entries())
            .chain(self.runtime_config.entries())
            .chain(self.runtime_cache.entries())
            .chain(self.inspector.entries())
            .chain(self.parser.entries())
            .chain(self.parser_error.entries())
            .collect()
    }
}

/// TensorRT 11.
pub const TENSORRT_11: Slots = Slots {
    builder: Builder {
        create_builder_config: 3,
        create_network: 4,
        create_optimization_profile: 5,
        set_error_recorder: 6,
        build_serialized_network: 9,
        set_max_threads: 12,
    },
    builder_config: BuilderConfig {
        clear_flag: 6,
        set_flag: 7,
        get_flag: 8,
        add_optimization_profile: 21,
        set_profiling_verbosity: 23,
        create_timing_cache: 27,
        set_timing_cache: 28,
        set_memory_pool_limit: 30,
        get_memory_pool_limit: 31,
        set_builder_optimization_level: 34,
        set_hardware_compatibility_level: 36,
        set_max_aux_streams: 41,
        set_progress_monitor: 43,
        set_nb_compute_capabilities: None,
        set_compute_capability: None,
    },
    network: NetworkDefinition {
        get_nb_layers: 10,
        get_nb_inputs: 12,
        get_input: 13,
        get_nb_outputs: 14,
        get_output: 15,
    },
    tensor: Tensor { get_name: 1, get_dimensions: 3, get_type: 4 },
    profile: OptimizationProfile { set_dimensions: 0, is_valid: 5 },
    host_memory: HostMemory { data: 0, size: 1 },
    timing_cache: TimingCache { serialize: 0, combine: 1 },
    runtime: Runtime {
        deserialize_cuda_engine: 1,
        set_error_recorder: 6,
        set_max_threads: 9,
        set_engine_host_code_allowed: 18,
        get_engine_header_size: None,
        get_engine_validity: None,
    },
    engine: CudaEngine {
        create_execution_context: 3,
        get_name: 5,
        get_nb_optimization_profiles: 6,
        create_engine_inspector: 12,
        get_tensor_shape: 13,
        get_tensor_data_type: 14,
        get_tensor_location: 15,
        get_tensor_io_mode: 17,
        get_tensor_format: 20,
        get_profile_shape: 23,
        get_nb_io_tensors: 24,
        get_io_tensor_name: 25,
        get_nb_aux_streams: 27,
        get_device_memory_size: 42,
        get_device_memory_size_for_profile: 43,
        create_execution_context_with_config: 45,
        create_runtime_config: 46,
    },
    context: ExecutionContext {
        get_optimization_profile: 9,
        set_error_recorder: 11,
        set_optimization_profile_async: 14,
        set_input_shape: 18,
        get_tensor_shape: 19,
        set_tensor_address: 21,
        infer_shapes: 25,
        set_input_consumed_event: 26,
        enqueue: 34,
        set_aux_streams: 39,
        set_device_memory: 46,
        is_stream_capturable: None,
    },
    runtime_config: RuntimeConfig {
        set_execution_context_allocation_strategy: 1,
        create_runtime_cache: None,
        set_runtime_cache: None,
        set_dynamic_shapes_kernel_specialization_strategy: None,
        set_cuda_graph_strategy: None,
    },
    runtime_cache: RuntimeCache { serialize: None, deserialize: None },
    inspector: EngineInspector { get_layer_information: 3, get_engine_information: 4 },
    parser: Parser {
        parse: 0,
        get_nb_errors: 3,
        get_error: 4,
        clear_errors: 5,
        destructor: 6,
        load_model_proto: 18,
        load_initializer: 19,
        parse_model_proto: 20,
    },
    parser_error: ParserError { code: 0, desc: 1, file: 2, line: 3, func: 4, node: 5, node_name: 6, node_operator: 7 },
};

/// TensorRT-RTX 1.5 and newer: TensorRT 11's tables and what RTX alone has.
pub const RTX: Slots = Slots {
    builder_config: BuilderConfig {
        set_nb_compute_capabilities: Some(53),
        set_compute_capability: Some(55),
        ..TENSORRT_11.builder_config
    },
    runtime: Runtime { get_engine_header_size: Some(21), get_engine_validity: Some(22), ..TENSORRT_11.runtime },
    context: ExecutionContext { is_stream_capturable: Some(50), ..TENSORRT_11.context },
    runtime_config: RuntimeConfig {
        create_runtime_cache: Some(3),
        set_runtime_cache: Some(4),
        set_dynamic_shapes_kernel_specialization_strategy: Some(6),
        set_cuda_graph_strategy: Some(8),
        ..TENSORRT_11.runtime_config
    },
    runtime_cache: RuntimeCache { serialize: Some(0), deserialize: Some(1) },
    ..TENSORRT_11
};
