//! The plain values that cross the line: shapes and numbered names.
//!
//! A name is a number that any release may add to, so what the library answers is kept as the number it is (a Rust
//! `enum` with a value it does not know would be undefined behaviour) and printed by name where it has one.

use std::ffi::c_char;
use std::fmt;

/// The largest rank.
pub const MAX_DIMS: usize = 8;

/// `nvinfer1::Dims64`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Dims {
    /// The rank; -1 says that there is no such tensor or that the rank is unknown.
    pub nb_dims: i32,
    /// The extents; -1 for one that is only known at run time.
    pub d: [i64; MAX_DIMS],
}

impl Dims {
    /// From a shape of at most [`MAX_DIMS`] extents.
    pub fn new(shape: &[i64]) -> Option<Self> {
        let mut d = [0; MAX_DIMS];
        d.get_mut(..shape.len())?.copy_from_slice(shape);
        Some(Self { nb_dims: shape.len() as i32, d })
    }

    /// The extents, or none where the rank is not a rank.
    pub fn shape(&self) -> Option<&[i64]> {
        self.d.get(..usize::try_from(self.nb_dims).ok()?)
    }
}

/// `nvinfer1::InterfaceInfo`, what an object of ours says of the interface that it has.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct InterfaceInfo {
    pub(super) kind: *const c_char,
    pub(super) major: i32,
    pub(super) minor: i32,
}

macro_rules! numbered {
    ($($(#[$doc:meta])* $type:ident { $($(#[$item:meta])* $name:ident = $value:literal $text:literal,)* })*) => {
        $(
            $(#[$doc])*
            #[repr(transparent)]
            #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
            pub struct $type(pub i32);

            impl $type {
                $(
                    $(#[$item])*
                    #[doc = concat!("`", $text, "`")]
                    pub const $name: Self = Self($value);
                )*
            }

            impl fmt::Display for $type {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    match self.0 {
                        $($value => f.write_str($text),)*
                        other => write!(f, "{} {other}", stringify!($type)),
                    }
                }
            }
        )*
    };
}

numbered! {
    /// The type of a tensor's elements.
    DataType {
        FLOAT = 0 "float32",
        HALF = 1 "float16",
        INT8 = 2 "int8",
        INT32 = 3 "int32",
        BOOL = 4 "bool",
        UINT8 = 5 "uint8",
        FP8 = 6 "float8",
        BF16 = 7 "bfloat16",
        INT64 = 8 "int64",
        INT4 = 9 "int4",
        FP4 = 10 "float4",
        E8M0 = 11 "e8m0",
    }
    /// How bad a log line is.
    Severity {
        INTERNAL_ERROR = 0 "internal error",
        ERROR = 1 "error",
        WARNING = 2 "warning",
        INFO = 3 "info",
        VERBOSE = 4 "verbose",
    }
    /// What a call complains about (`nvinfer1::ErrorCode`).
    ErrorCode {
        SUCCESS = 0 "success",
        UNSPECIFIED_ERROR = 1 "unspecified error",
        INTERNAL_ERROR = 2 "internal error",
        INVALID_ARGUMENT = 3 "invalid argument",
        INVALID_CONFIG = 4 "invalid configuration",
        FAILED_ALLOCATION = 5 "failed allocation",
        FAILED_INITIALIZATION = 6 "failed initialisation",
        FAILED_EXECUTION = 7 "failed execution",
        FAILED_COMPUTATION = 8 "failed computation",
        INVALID_STATE = 9 "invalid state",
        UNSUPPORTED_STATE = 10 "unsupported state",
    }
    /// What the parser complains about (`nvonnxparser::ErrorCode`).
    ParserErrorCode {
        SUCCESS = 0 "success",
        INTERNAL_ERROR = 1 "internal error",
        MEM_ALLOC_FAILED = 2 "out of memory",
        MODEL_DESERIALIZE_FAILED = 3 "not a readable model",
        INVALID_VALUE = 4 "invalid value",
        INVALID_GRAPH = 5 "invalid graph",
        INVALID_NODE = 6 "invalid node",
        UNSUPPORTED_GRAPH = 7 "unsupported graph",
        UNSUPPORTED_NODE = 8 "unsupported node",
        UNSUPPORTED_NODE_ATTR = 9 "unsupported attribute",
        UNSUPPORTED_NODE_INPUT = 10 "unsupported input",
        UNSUPPORTED_NODE_DATATYPE = 11 "unsupported data type",
        UNSUPPORTED_NODE_DYNAMIC = 12 "unsupported dynamic shape",
        UNSUPPORTED_NODE_SHAPE = 13 "unsupported shape",
        REFIT_FAILED = 14 "refit failed",
    }
    /// Whether a tensor goes in or comes out.
    TensorIoMode {
        NONE = 0 "neither",
        INPUT = 1 "input",
        OUTPUT = 2 "output",
    }
    /// Where a tensor's memory must be.
    TensorLocation {
        DEVICE = 0 "device",
        HOST = 1 "host",
    }
    /// How a tensor's elements lie.
    TensorFormat {
        LINEAR = 0 "linear",
    }
    /// Which of a profile's shapes.
    OptProfileSelector {
        MIN = 0 "min",
        OPT = 1 "opt",
        MAX = 2 "max",
    }
    /// What a limit of memory is for.
    MemoryPoolType {
        WORKSPACE = 0 "workspace",
        TACTIC_DRAM = 4 "tactic DRAM",
        TACTIC_SHARED_MEMORY = 5 "tactic shared memory",
    }
    /// Which other cards a plan runs on. RTX has [`super::ComputeCapability`] for this.
    HardwareCompatibilityLevel {
        NONE = 0 "none",
        AMPERE_PLUS = 1 "Ampere and newer",
        SAME_COMPUTE_CAPABILITY = 2 "same compute capability",
    }
    /// How much a plan tells the inspector.
    ProfilingVerbosity {
        LAYER_NAMES_ONLY = 0 "layer names only",
        NONE = 1 "none",
        DETAILED = 2 "detailed",
    }
    /// What the inspector writes.
    LayerInformationFormat {
        ONELINE = 0 "one line",
        JSON = 1 "JSON",
    }
    /// Who keeps the activations' memory of a context.
    ContextAllocation {
        STATIC = 0 "static",
        ON_PROFILE_CHANGE = 1 "on profile change",
        USER_MANAGED = 2 "user managed",
    }
    /// Whether RTX captures its own CUDA graphs.
    CudaGraphStrategy {
        DISABLED = 0 "disabled",
        WHOLE_GRAPH_CAPTURE = 1 "whole graph capture",
    }
    /// When RTX compiles kernels for a new shape.
    KernelSpecialization {
        LAZY = 0 "lazy",
        EAGER = 1 "eager",
        NONE = 2 "none",
    }
    /// What RTX thinks of a plan's header.
    EngineValidity {
        VALID = 0 "valid",
        SUBOPTIMAL = 1 "suboptimal",
        INVALID = 2 "invalid",
    }
    /// What the builder may do. The numbers are those of TensorRT 11 and RTX; TensorRT 10 has others.
    BuilderFlag {
        DEBUG = 2 "debug",
        REFIT = 4 "refit",
        DISABLE_TIMING_CACHE = 5 "disable timing cache",
        TF32 = 6 "TF32",
        SPARSE_WEIGHTS = 7 "sparse weights",
        DIRECT_IO = 11 "direct I/O",
        VERSION_COMPATIBLE = 12 "version compatible",
        EXCLUDE_LEAN_RUNTIME = 13 "exclude lean runtime",
        ERROR_ON_TIMING_CACHE_MISS = 15 "error on timing cache miss",
        DISABLE_COMPILATION_CACHE = 17 "disable compilation cache",
        STRIP_PLAN = 18 "strip plan",
        REFIT_IDENTICAL = 19 "refit identical",
        WEIGHT_STREAMING = 20 "weight streaming",
        STRICT_NANS = 23 "strict NaNs",
        MONITOR_MEMORY = 24 "monitor memory",
        EDITABLE_TIMING_CACHE = 26 "editable timing cache",
        DISTRIBUTIVE_INDEPENDENCE = 27 "distributive independence",
    }
}

/// What RTX compiles for: an SM version as one number, 86 for 8.6. Printed as `sm86`.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ComputeCapability(pub i32);

impl ComputeCapability {
    /// This machine's GPU.
    pub const CURRENT: Self = Self(1);
    /// Turing.
    pub const SM75: Self = Self(75);
    /// Ampere, in data centres.
    pub const SM80: Self = Self(80);
    /// Ampere.
    pub const SM86: Self = Self(86);
    /// Ada.
    pub const SM89: Self = Self(89);
    /// Blackwell.
    pub const SM120: Self = Self(120);
    /// Blackwell, GB10.
    pub const SM121: Self = Self(121);
}

impl fmt::Display for ComputeCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::CURRENT { f.write_str("this machine's GPU") } else { write!(f, "sm{}", self.0) }
    }
}

/// Why RTX thinks that a plan is invalid (`EngineInvalidityDiagnostics`, a mask).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct EngineInvalidity(pub u64);

impl EngineInvalidity {
    const NAMES: [&str; 7] = [
        "it was built by another version of TensorRT-RTX",
        "it was not built for this GPU's compute capability",
        "the driver is older than where it was built",
        "the CUDA runtime is older than where it was built",
        "the GPU has too little memory for its weights",
        "it is not a plan, or a damaged one",
        "the CUDA driver or runtime is not installed properly",
    ];
}

impl fmt::Display for EngineInvalidity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Self::NAMES.iter().enumerate().filter(|(bit, _)| self.0 >> bit & 1 == 1).map(|(_, name)| *name);
        let mut reasons: Vec<&str> = named.collect();
        if self.0 >> Self::NAMES.len() != 0 || self.0 == 0 {
            reasons.push("for a reason that this program has no name for");
        }
        f.write_str(&reasons.join("; "))
    }
}

impl DataType {
    /// Bits per element, or none for a type that this program does not know.
    pub fn bits(self) -> Option<u64> {
        Some(match self {
            Self::INT64 => 64,
            Self::FLOAT | Self::INT32 => 32,
            Self::HALF | Self::BF16 => 16,
            Self::INT8 | Self::BOOL | Self::UINT8 | Self::FP8 | Self::E8M0 => 8,
            Self::INT4 | Self::FP4 => 4,
            _ => return None,
        })
    }
}

impl Severity {
    /// Whether this one is as bad as `other`, or worse.
    pub fn at_least(self, other: Self) -> bool {
        self.0 <= other.0
    }
}

impl std::str::FromStr for ComputeCapability {
    type Err = String;

    /// `sm86`, `8.6` or `86`.
    fn from_str(text: &str) -> Result<Self, String> {
        let digits: String =
            text.trim().trim_start_matches(['s', 'S']).trim_start_matches(['m', 'M', '_']).replace('.', "");
        match digits.parse() {
            Ok(number @ 10..) => Ok(Self(number)),
            _ => Err(format!("'{text}' is no compute capability: expected one such as sm86, 8.6 or 86")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dims_lie_as_in_c() {
        assert_eq!(size_of::<Dims>(), 72);
        assert_eq!(std::mem::offset_of!(Dims, d), 8);
        assert_eq!(size_of::<InterfaceInfo>(), 16);
    }

    #[test]
    fn shapes_go_both_ways() {
        assert_eq!(Dims::new(&[1, 224, 224, 3]).unwrap().shape(), Some(&[1, 224, 224, 3][..]));
        assert_eq!(Dims::new(&[]).unwrap().shape(), Some(&[][..]));
        assert_eq!(Dims::new(&[1; 9]), None);
        assert_eq!(Dims { nb_dims: -1, d: [0; 8] }.shape(), None);
        assert_eq!(Dims { nb_dims: 9, d: [0; 8] }.shape(), None);
    }

    #[test]
    fn a_number_without_a_name_keeps_its_number() {
        assert_eq!(DataType(7).to_string(), "bfloat16");
        assert_eq!(DataType(99).to_string(), "DataType 99");
        assert_eq!(DataType(99).bits(), None);
    }

    #[test]
    fn reasons_against_a_plan_are_named() {
        assert!(EngineInvalidity(0b10_0001).to_string().contains("another version of TensorRT-RTX; it is not a plan"));
        assert!(EngineInvalidity(1 << 9).to_string().contains("no name"));
    }

    #[test]
    fn compute_capabilities_as_people_write_them() {
        for text in ["sm86", "8.6", "86", "SM_86"] {
            assert_eq!(text.parse(), Ok(ComputeCapability::SM86), "{text}");
        }
        assert_eq!([ComputeCapability::SM121, ComputeCapability(90)].map(|it| it.to_string()), ["sm121", "sm90"]);
        for text in ["", "sm", "eight", "-86", "1"] {
            assert!(text.parse::<ComputeCapability>().is_err(), "{text}");
        }
    }
}
