//! Numbered names: the enumerations of TensorRT's headers.
//!
//! Any release may add a number. So an answer keeps the number it came with (a Rust `enum` with an unknown value would
//! be undefined behaviour) and prints as its name if it has one.

use std::fmt;

macro_rules! numbered {
    ($($(#[$doc:meta])* $visibility:vis $type:ident { $($name:ident = $value:literal $text:literal,)* })*) => {
        $(
            $(#[$doc])*
            #[repr(transparent)]
            #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
            $visibility struct $type(pub i32);

            #[allow(dead_code, reason = "a number may only ever be printed")]
            impl $type {
                $(
                    #[doc = concat!("`", $text, "`")]
                    $visibility const $name: Self = Self($value);
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
    pub DataType {
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
    /// The severity of a log line.
    pub Severity {
        INTERNAL_ERROR = 0 "internal error",
        ERROR = 1 "error",
        WARNING = 2 "warning",
        INFO = 3 "info",
        VERBOSE = 4 "verbose",
    }
    /// The kind of a parser error (`nvonnxparser::ErrorCode`).
    pub ParserErrorCode {
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
    /// Whether a tensor is an input or an output.
    pub(super) TensorIoMode {
        INPUT = 1 "input",
        OUTPUT = 2 "output",
    }
    /// Where a tensor's memory must be.
    pub(super) TensorLocation {
        DEVICE = 0 "device",
        HOST = 1 "host",
    }
    /// The memory layout of a tensor's elements.
    pub(super) TensorFormat {
        LINEAR = 0 "linear",
    }
    /// One of the three shapes of a profile.
    pub OptProfileSelector {
        MIN = 0 "min",
        OPT = 1 "opt",
        MAX = 2 "max",
    }
    /// Whether RTX captures its own CUDA graphs.
    pub CudaGraphStrategy {
        DISABLED = 0 "disabled",
        WHOLE_GRAPH_CAPTURE = 1 "whole graph capture",
    }
    /// RTX's verdict on a plan's header.
    pub EngineValidity {
        VALID = 0 "valid",
        SUBOPTIMAL = 1 "suboptimal",
        INVALID = 2 "invalid",
    }
}

impl DataType {
    /// Bits per element; `None` for an unknown type.
    pub(super) fn bits(self) -> Option<u64> {
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
    /// Whether this is as severe as `other`, or more.
    pub(super) fn at_least(self, other: Self) -> bool {
        self.0 <= other.0
    }
}

/// An SM version as one number, 86 for 8.6. Prints as `sm86`.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ComputeCapability(pub i32);

impl ComputeCapability {
    /// Turing.
    pub const SM75: Self = Self(75);
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
        write!(f, "sm{}", self.0)
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

/// Why RTX refuses a plan (`EngineInvalidityDiagnostics`, a bit mask).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct EngineInvalidity(pub u64);

impl EngineInvalidity {
    /// By bit, from the lowest.
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

#[cfg(test)]
mod tests {
    use super::*;

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
