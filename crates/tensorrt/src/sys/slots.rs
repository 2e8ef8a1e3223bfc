//! The interface tables: the slot of each method in the virtual table of its class.
//!
//! A public object of TensorRT is `{ table, implementation }`. Its methods are inline in NVIDIA's headers and call the
//! virtual methods of the implementation. So these numbers are the contract between a program and the library: the
//! index of a method among the virtual methods of `apiv::V…`, without the destructor. They come from NVIDIA's
//! Apache-2.0 headers; the tests below compare them with `slots.tsv`, and `tests/fake` with a C++ compiler.
//!
//! Both products share the numbers. The slot of a method that only RTX has is an `Option`: on TensorRT it belongs to
//! another method or lies beyond the table. TensorRT 10 would need a second table.

/// The type of a slot, and its value in a table.
macro_rules! slot {
    (type both) => { usize };
    (type rtx) => { Option<usize> };
    (both $slot:literal $rtx:ident) => { $slot };
    (rtx $slot:literal $rtx:ident) => { if $rtx { Some($slot) } else { None } };
}

macro_rules! interfaces {
    ($($table:ident: $struct:ident = $class:literal {
        $($field:ident = $method:literal $who:ident $slot:literal,)*
    })*) => {
        $(
            #[derive(Clone, Copy, Debug)]
            pub(super) struct $struct {
                $(#[doc = concat!("`", $class, "::", $method, "`")] pub(super) $field: slot!(type $who),)*
            }
        )*

        /// The table of one product.
        #[derive(Clone, Copy, Debug)]
        pub(super) struct Slots {
            $(pub(super) $table: $struct,)*
        }

        impl Slots {
            const fn new(rtx: bool) -> Self {
                Self { $($table: $struct { $($field: slot!($who $slot rtx),)* },)* }
            }

            /// Every class, method and slot.
            #[cfg(test)]
            fn entries(&self) -> Vec<(&'static str, &'static str, Option<usize>)> {
                vec![$($(($class, $method, self.$table.$field.into()),)*)*]
            }
        }
    };
}

interfaces! {
    builder: Builder = "VBuilder" {
        create_builder_config = "createBuilderConfig" both 3,
        create_network = "createNetworkV2" both 4,
        create_optimization_profile = "createOptimizationProfile" both 5,
        build_serialized_network = "buildSerializedNetwork" both 9,
        set_max_threads = "setMaxThreads" both 12,
    }
    builder_config: BuilderConfig = "VBuilderConfig" {
        clear_flag = "clearFlag" both 6,
        add_optimization_profile = "addOptimizationProfile" both 21,
        create_timing_cache = "createTimingCache" both 27,
        set_timing_cache = "setTimingCache" both 28,
        set_memory_pool_limit = "setMemoryPoolLimit" both 30,
        set_progress_monitor = "setProgressMonitor" both 43,
        set_nb_compute_capabilities = "setNbComputeCapabilities" rtx 53,
        set_compute_capability = "setComputeCapability" rtx 55,
    }
    network: NetworkDefinition = "VNetworkDefinition" {
        get_nb_inputs = "getNbInputs" both 12,
        get_input = "getInput" both 13,
        get_nb_outputs = "getNbOutputs" both 14,
        get_output = "getOutput" both 15,
    }
    tensor: Tensor = "VTensor" {
        get_name = "getName" both 1,
        get_dimensions = "getDimensions" both 3,
        get_type = "getType" both 4,
    }
    profile: OptimizationProfile = "VOptimizationProfile" {
        set_dimensions = "setDimensions" both 0,
        is_valid = "isValid" both 5,
    }
    host_memory: HostMemory = "VHostMemory" {
        data = "data" both 0,
        size = "size" both 1,
    }
    timing_cache: TimingCache = "VTimingCache" {
        serialize = "serialize" both 0,
    }
    runtime: Runtime = "VRuntime" {
        deserialize_cuda_engine = "deserializeCudaEngine" both 1,
        get_engine_header_size = "getEngineHeaderSize" rtx 21,
        get_engine_validity = "getEngineValidity" rtx 22,
    }
    engine: CudaEngine = "VCudaEngine" {
        create_execution_context = "createExecutionContext" both 3,
        get_tensor_shape = "getTensorShape" both 13,
        get_tensor_data_type = "getTensorDataType" both 14,
        get_tensor_location = "getTensorLocation" both 15,
        get_tensor_io_mode = "getTensorIOMode" both 17,
        get_tensor_format = "getTensorFormat" both 20,
        get_profile_shape = "getProfileShape" both 23,
        get_nb_io_tensors = "getNbIOTensors" both 24,
        get_io_tensor_name = "getIOTensorName" both 25,
        get_device_memory_size = "getDeviceMemorySizeV2" both 42,
        create_execution_context_with_config = "createExecutionContextWithRuntimeConfig" both 45,
        create_runtime_config = "createRuntimeConfig" both 46,
    }
    context: ExecutionContext = "VExecutionContext" {
        set_input_shape = "setInputShape" both 18,
        get_tensor_shape = "getTensorShape" both 19,
        set_tensor_address = "setTensorAddress" both 21,
        enqueue = "enqueueV3" both 34,
    }
    runtime_config: RuntimeConfig = "VRuntimeConfig" {
        create_runtime_cache = "createRuntimeCache" rtx 3,
        set_runtime_cache = "setRuntimeCache" rtx 4,
        set_cuda_graph_strategy = "setCudaGraphStrategy" rtx 8,
    }
    runtime_cache: RuntimeCache = "VRuntimeCache" {
        serialize = "serialize" rtx 0,
        deserialize = "deserialize" rtx 1,
    }
    // The parser's classes have no implementation behind them: their own tables are the interface. The destructor of
    // IParser is declared in the middle, at 6, and counts as one slot here.
    parser: Parser = "IParser" {
        parse = "parse" both 0,
        get_nb_errors = "getNbErrors" both 3,
        get_error = "getError" both 4,
        destructor = "~IParser" both 6,
        load_model_proto = "loadModelProto" both 18,
        load_initializer = "loadInitializer" both 19,
        parse_model_proto = "parseModelProto" both 20,
    }
    parser_error: ParserError = "IParserError" {
        code = "code" both 0,
        desc = "desc" both 1,
        file = "file" both 2,
        line = "line" both 3,
        func = "func" both 4,
        node = "node" both 5,
        node_name = "nodeName" both 6,
        node_operator = "nodeOperator" both 7,
    }
}

/// TensorRT 11.0 to 11.4.
pub(super) const TENSORRT_11: Slots = Slots::new(false);

/// TensorRT-RTX 1.5 and newer.
pub(super) const RTX: Slots = Slots::new(true);

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const LIST: &str = include_str!("slots.tsv");

    type Places = HashMap<(&'static str, &'static str), Option<usize>>;

    /// A release's column of the list.
    fn release(name: &str) -> Places {
        let mut lines = LIST.lines().filter(|line| !line.starts_with('#'));
        let column = lines.next().unwrap().split('\t').position(|head| head == name).expect("a release of the list");
        lines
            .map(|line| {
                let cells: Vec<&str> = line.split('\t').collect();
                ((cells[0], cells[1]), cells[column].parse().ok())
            })
            .collect()
    }

    fn differences(slots: &Slots, release: &Places) -> Vec<String> {
        let lines = slots.entries().into_iter().map(|(class, method, slot)| {
            let listed = release.get(&(class, method)).expect("the list has every method");
            (*listed != slot).then(|| format!("{class}::{method}: here {slot:?}, in the headers {listed:?}"))
        });
        lines.flatten().collect()
    }

    #[test]
    fn tensorrt_11() {
        for name in ["11.0", "11.1", "11.4"] {
            let differences = differences(&TENSORRT_11, &release(name));
            assert!(differences.is_empty(), "{name}: {differences:#?}");
        }
    }

    #[test]
    fn tensorrt_rtx() {
        for name in ["RTX1.5", "RTX1.6", "RTX1.7"] {
            let differences = differences(&RTX, &release(name));
            assert!(differences.is_empty(), "{name}: {differences:#?}");
        }
    }

    /// Why these are refused: a call would reach another method.
    #[test]
    fn refused_releases_have_other_tables() {
        for name in ["10.16", "RTX1.4"] {
            let slots = if name.starts_with("RTX") { &RTX } else { &TENSORRT_11 };
            assert!(differences(slots, &release(name)).len() > 20, "{name}");
        }
    }

    /// On TensorRT, the slot of a method that only RTX has belongs to another method or lies beyond the table.
    #[test]
    fn what_only_rtx_has_is_gated() {
        let gated = |slots: &Slots| slots.entries().iter().filter(|(_, _, slot)| slot.is_none()).count();
        assert_eq!((gated(&TENSORRT_11), gated(&RTX)), (9, 0));
    }
}
