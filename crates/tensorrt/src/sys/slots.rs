//! The interface tables: the slot of each method in the virtual table of its class.
//!
//! A public object of TensorRT is `{ table, implementation }`. Its methods are inline in NVIDIA's headers and call the
//! virtual methods of the implementation. So these numbers are the contract between a program and the library: the
//! index of a method among the virtual methods of `apiv::V…`, without the destructor. They come from NVIDIA's
//! Apache-2.0 headers; the tests below compare them with `slots.tsv`, and `tests/fake` with a C++ compiler.
//!
//! Each method has two numbers: that of TensorRT 10, and that of TensorRT 11 and RTX, which share theirs. The slot of a
//! method that not every release has is an `Option`: elsewhere its number belongs to another method or lies beyond the
//! table.

/// Releases with the same table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Generation {
    /// TensorRT 10.0 to 10.12.
    Ten,
    /// TensorRT 10.13 and newer: weights can be given apart from a model.
    TenApart,
    /// TensorRT 11.
    Eleven,
    /// TensorRT-RTX 1.5 and newer.
    Rtx,
}

/// The type of a slot, and its value in a table: of `all` generations; `apart`, since weights can be given apart from a
/// model; `new`, since TensorRT 11; of `rtx` alone.
macro_rules! slot {
    (type all) => { usize };
    (type $other:ident) => { Option<usize> };
    (all $ten:literal $new:literal $of:ident) => {
        match $of {
            Generation::Ten | Generation::TenApart => $ten,
            Generation::Eleven | Generation::Rtx => $new,
        }
    };
    (apart $ten:literal $new:literal $of:ident) => {
        match $of {
            Generation::Ten => None,
            Generation::TenApart => Some($ten),
            Generation::Eleven | Generation::Rtx => Some($new),
        }
    };
    (new - $new:literal $of:ident) => {
        if matches!($of, Generation::Eleven | Generation::Rtx) { Some($new) } else { None }
    };
    (rtx - $new:literal $of:ident) => {
        if matches!($of, Generation::Rtx) { Some($new) } else { None }
    };
}

macro_rules! interfaces {
    ($($table:ident: $struct:ident = $class:literal {
        $($field:ident = $method:literal $who:ident $ten:tt $new:literal,)*
    })*) => {
        $(
            #[derive(Clone, Copy, Debug)]
            pub(super) struct $struct {
                $(#[doc = concat!("`", $class, "::", $method, "`")] pub(super) $field: slot!(type $who),)*
            }
        )*

        /// The table of one generation.
        #[derive(Clone, Copy, Debug)]
        pub(super) struct Slots {
            $(pub(super) $table: $struct,)*
        }

        impl Slots {
            const fn new(of: Generation) -> Self {
                Self { $($table: $struct { $($field: slot!($who $ten $new of),)* },)* }
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
        create_builder_config = "createBuilderConfig" all 5 3,
        create_network = "createNetworkV2" all 6 4,
        create_optimization_profile = "createOptimizationProfile" all 7 5,
        build_serialized_network = "buildSerializedNetwork" all 12 9,
        set_max_threads = "setMaxThreads" all 15 12,
    }
    builder_config: BuilderConfig = "VBuilderConfig" {
        clear_flag = "clearFlag" all 8 6,
        add_optimization_profile = "addOptimizationProfile" all 23 21,
        create_timing_cache = "createTimingCache" all 38 27,
        set_timing_cache = "setTimingCache" all 39 28,
        set_memory_pool_limit = "setMemoryPoolLimit" all 41 30,
        set_progress_monitor = "setProgressMonitor" all 54 43,
        set_nb_compute_capabilities = "setNbComputeCapabilities" rtx - 53,
        set_compute_capability = "setComputeCapability" rtx - 55,
    }
    network: NetworkDefinition = "VNetworkDefinition" {
        get_nb_inputs = "getNbInputs" all 12 12,
        get_input = "getInput" all 13 13,
        get_nb_outputs = "getNbOutputs" all 14 14,
        get_output = "getOutput" all 15 15,
    }
    tensor: Tensor = "VTensor" {
        get_name = "getName" all 1 1,
        get_dimensions = "getDimensions" all 3 3,
        get_type = "getType" all 5 4,
    }
    profile: OptimizationProfile = "VOptimizationProfile" {
        set_dimensions = "setDimensions" all 0 0,
        is_valid = "isValid" all 7 5,
    }
    host_memory: HostMemory = "VHostMemory" {
        data = "data" all 0 0,
        size = "size" all 1 1,
    }
    timing_cache: TimingCache = "VTimingCache" {
        serialize = "serialize" all 0 0,
    }
    runtime: Runtime = "VRuntime" {
        deserialize_cuda_engine = "deserializeCudaEngine" all 1 1,
        get_engine_header_size = "getEngineHeaderSize" rtx - 21,
        get_engine_validity = "getEngineValidity" rtx - 22,
    }
    engine: CudaEngine = "VCudaEngine" {
        create_execution_context = "createExecutionContext" all 3 3,
        get_tensor_shape = "getTensorShape" all 17 13,
        get_tensor_data_type = "getTensorDataType" all 18 14,
        get_tensor_location = "getTensorLocation" all 19 15,
        get_tensor_io_mode = "getTensorIOMode" all 21 17,
        get_tensor_format = "getTensorFormat" all 24 20,
        get_profile_shape = "getProfileShape" all 27 23,
        get_nb_io_tensors = "getNbIOTensors" all 28 24,
        get_io_tensor_name = "getIOTensorName" all 29 25,
        get_device_memory_size = "getDeviceMemorySizeV2" all 50 42,
        create_execution_context_with_config = "createExecutionContextWithRuntimeConfig" new - 45,
        create_runtime_config = "createRuntimeConfig" new - 46,
    }
    context: ExecutionContext = "VExecutionContext" {
        set_input_shape = "setInputShape" all 19 18,
        get_tensor_shape = "getTensorShape" all 20 19,
        set_tensor_address = "setTensorAddress" all 22 21,
        enqueue = "enqueueV3" all 35 34,
    }
    runtime_config: RuntimeConfig = "VRuntimeConfig" {
        create_runtime_cache = "createRuntimeCache" rtx - 3,
        set_runtime_cache = "setRuntimeCache" rtx - 4,
        set_cuda_graph_strategy = "setCudaGraphStrategy" rtx - 8,
    }
    runtime_cache: RuntimeCache = "VRuntimeCache" {
        serialize = "serialize" rtx - 0,
        deserialize = "deserialize" rtx - 1,
    }
    // The parser's classes have no implementation behind them: their own tables are the interface. The destructor of
    // IParser is declared in the middle and counts as one slot here.
    parser: Parser = "IParser" {
        parse = "parse" all 0 0,
        get_nb_errors = "getNbErrors" all 5 3,
        get_error = "getError" all 6 4,
        destructor = "~IParser" all 8 6,
        load_model_proto = "loadModelProto" apart 20 18,
        load_initializer = "loadInitializer" apart 21 19,
        parse_model_proto = "parseModelProto" apart 22 20,
    }
    parser_error: ParserError = "IParserError" {
        code = "code" all 0 0,
        desc = "desc" all 1 1,
        file = "file" all 2 2,
        line = "line" all 3 3,
        func = "func" all 4 4,
        node = "node" all 5 5,
        node_name = "nodeName" all 6 6,
        node_operator = "nodeOperator" all 7 7,
    }
}

/// TensorRT 10.0, which has `size_t getDeviceMemorySize()` alone.
pub(super) const TENSORRT_10_0: Slots = {
    let mut slots = TENSORRT_10_1;
    slots.engine.get_device_memory_size = 5;
    slots
};

/// TensorRT 10.1 to 10.12.
pub(super) const TENSORRT_10_1: Slots = Slots::new(Generation::Ten);

/// TensorRT 10.13 to 10.16.
pub(super) const TENSORRT_10_13: Slots = Slots::new(Generation::TenApart);

/// TensorRT 11.0 to 11.4.
pub(super) const TENSORRT_11: Slots = Slots::new(Generation::Eleven);

/// TensorRT-RTX 1.5 and newer.
pub(super) const RTX: Slots = Slots::new(Generation::Rtx);

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const LIST: &str = include_str!("slots.tsv");

    type Places = HashMap<(&'static str, &'static str), Option<usize>>;

    /// A release's column of the list. `?` stands for a header that was not at hand.
    fn release(name: &str) -> Places {
        let mut lines = LIST.lines().filter(|line| !line.starts_with('#'));
        let column = lines.next().unwrap().split('\t').position(|head| head == name).expect("a release of the list");
        let rows = lines.map(|line| line.split('\t').collect::<Vec<_>>());
        rows.filter(|cells| cells[column] != "?")
            .map(|cells| ((cells[0], cells[1]), cells[column].parse().ok()))
            .collect()
    }

    /// Where a table and a release's headers differ, leaving out what the table does without.
    fn differences(slots: &Slots, release: &Places) -> Vec<String> {
        let entries = slots.entries().into_iter().filter(|(class, method, _)| release.contains_key(&(class, method)));
        let lines = entries.map(|(class, method, slot)| {
            let listed = release[&(class, method)];
            (slot.is_some() && listed != slot)
                .then(|| format!("{class}::{method}: here {slot:?}, in the headers {listed:?}"))
        });
        lines.flatten().collect()
    }

    fn expect_same(slots: &Slots, releases: &[&str]) {
        for name in releases {
            let differences = differences(slots, &release(name));
            assert!(differences.is_empty(), "{name}: {differences:#?}");
        }
    }

    #[test]
    fn tensorrt_10() {
        let places = release("10.0");
        let memory = differences(&TENSORRT_10_0, &places);
        assert!(matches!(&memory[..], [one] if one.contains("getDeviceMemorySizeV2")), "{memory:#?}");
        let older = places[&("VCudaEngine", "getDeviceMemorySize")];
        assert_eq!(older, Some(TENSORRT_10_0.engine.get_device_memory_size));
        let second: Vec<String> = (1..=12).map(|minor| format!("10.{minor}")).collect();
        expect_same(&TENSORRT_10_1, &second.iter().map(String::as_str).collect::<Vec<_>>());
        expect_same(&TENSORRT_10_13, &["10.13", "10.14", "10.15", "10.16"]);
    }

    #[test]
    fn tensorrt_11() {
        expect_same(&TENSORRT_11, &["11.0", "11.1", "11.4"]);
    }

    #[test]
    fn tensorrt_rtx() {
        expect_same(&RTX, &["RTX1.5", "RTX1.6", "RTX1.7"]);
    }

    /// Why these have tables of their own, or are refused: a call would reach another method.
    #[test]
    fn other_generations_have_other_tables() {
        for (slots, name) in [(&TENSORRT_11, "10.16"), (&TENSORRT_10_13, "11.0"), (&RTX, "RTX1.4")] {
            assert!(differences(slots, &release(name)).len() > 20, "{name}");
        }
        // The parser of 10.12 has no weights apart.
        assert_eq!(differences(&TENSORRT_10_13, &release("10.1")).len(), 3);
    }

    /// What a generation lacks is not called: there its number belongs to another method or lies beyond the table.
    #[test]
    fn what_is_not_everywhere_is_gated() {
        let gated = |slots: &Slots| slots.entries().iter().filter(|(_, _, slot)| slot.is_none()).count();
        let tables = [&TENSORRT_10_0, &TENSORRT_10_1, &TENSORRT_10_13, &TENSORRT_11, &RTX];
        assert_eq!(tables.map(gated), [14, 14, 11, 9, 0]);
    }
}
