//! The crate's errors: what was expected, what was found, what to do.
//!
//! An error of a call names the method and carries the lines that TensorRT logged meanwhile: a null pointer alone
//! explains nothing.

use std::fmt;
use std::path::PathBuf;

use super::codes::{ComputeCapability, EngineInvalidity, ParserErrorCode};
use super::cuda::ALIGNMENT;
use super::driver::NoDriver;
use super::logger::LogLine;
use super::version::{Flavor, Refusal, Version};

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The loader finds no library that this crate drives.
    NotFound {
        /// The reason for each name tried.
        tried: Vec<LoadError>,
    },
    /// A library must be named by an absolute path, so that no search path decides what is loaded.
    NotAbsolute {
        /// The path given.
        path: PathBuf,
    },
    /// A file is missing, or is not a TensorRT that this crate drives.
    Load(LoadError),
    /// NVIDIA's driver is required and missing.
    NoDriver(NoDriver),
    /// This library lacks a feature.
    Unsupported {
        /// The feature.
        what: &'static str,
        /// Product and version.
        library: (Flavor, Version),
        /// What to do.
        instead: &'static str,
    },
    /// This library cannot build for one of these GPUs, or not for all of them at once.
    Targets {
        /// The GPUs asked for.
        targets: Vec<ComputeCapability>,
        /// Product and version.
        library: (Flavor, Version),
        /// What TensorRT logged meanwhile.
        log: Vec<LogLine>,
    },
    /// An invalid argument, such as a name with a zero byte or a rank beyond 8.
    Argument {
        /// What is wrong with it.
        why: String,
    },
    /// The parser refuses the ONNX model.
    Parser {
        /// Every error of the parser, with the names of the nodes.
        errors: Vec<ParserError>,
        /// What TensorRT logged meanwhile.
        log: Vec<LogLine>,
    },
    /// The model has no outputs: an empty graph, or no model at all.
    EmptyModel {
        /// The size of the model.
        bytes: usize,
    },
    /// The build failed.
    Build {
        /// Errors and warnings of the builder.
        log: Vec<LogLine>,
    },
    /// The progress monitor stopped the build.
    Cancelled,
    /// The progress monitor panicked, which stopped the build.
    MonitorPanicked,
    /// A plan cannot become an engine on this machine.
    PlanRefused {
        /// The reason.
        why: PlanRefusal,
        /// What TensorRT logged meanwhile.
        log: Vec<LogLine>,
    },
    /// A tensor's memory is missing, too small or cannot be bound.
    Bind(BindError),
    /// A call failed.
    Call {
        /// The method, as NVIDIA's documentation names it.
        call: &'static str,
        /// What TensorRT logged meanwhile.
        log: Vec<LogLine>,
    },
}

/// Why a file is not a TensorRT that this crate drives.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LoadError {
    /// There is no such file.
    NotFound {
        /// Its path.
        path: PathBuf,
    },
    /// The loader refuses the file.
    NotLoadable {
        /// Its path.
        path: PathBuf,
        /// The loader's reason.
        why: String,
    },
    /// The library is not TensorRT.
    NotTensorRt {
        /// Its path.
        path: PathBuf,
        /// A function that it does not export.
        missing: &'static str,
    },
    /// The TensorRT belongs to a generation that has no interface table here.
    WrongMajor {
        /// Its path.
        path: PathBuf,
        /// The version that it reports.
        found: Version,
        /// The reason, and what to install.
        why: Refusal,
    },
}

/// One error of the ONNX parser.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ParserError {
    /// Its kind.
    pub code: ParserErrorCode,
    /// The parser's text.
    pub description: String,
    /// The index of the node in the model; -1 if the error concerns no node.
    pub node: i32,
    /// The node's name; empty if it has none.
    pub node_name: String,
    /// The node's operator; empty if the error concerns no node.
    pub operator: String,
    /// The place in the parser's source: function, file and line.
    pub origin: String,
}

/// Why memory cannot be bound to a tensor, or a run cannot begin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum BindError {
    /// The engine has no such input or output.
    NoSuchTensor {
        /// The name given.
        tensor: String,
        /// The names of the engine's tensors.
        known: Vec<String>,
    },
    /// The tensor's memory must be on the host, or its size cannot be computed from its shape.
    Unsupported {
        /// The tensor.
        tensor: String,
        /// What it requires.
        why: String,
    },
    /// The address is null or no multiple of 256.
    Misaligned {
        /// The tensor.
        tensor: String,
        /// The address.
        address: u64,
    },
    /// No memory is bound.
    Unbound {
        /// The tensor.
        tensor: String,
    },
    /// The shapes of the inputs do not determine this tensor's size yet.
    ShapeUnknown {
        /// The tensor.
        tensor: String,
    },
    /// The memory is smaller than the tensor.
    TooSmall {
        /// The tensor.
        tensor: String,
        /// Bytes bound.
        bytes: u64,
        /// Bytes that the tensor takes at its current shape.
        needed: u64,
    },
    /// TensorRT refuses the address.
    Refused {
        /// The tensor.
        tensor: String,
    },
}

/// Why a plan is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PlanRefusal {
    /// It is shorter than a plan's header.
    Truncated {
        /// Bytes of the plan.
        bytes: usize,
        /// Bytes of a header.
        header: usize,
    },
    /// RTX refuses its header.
    Invalid(EngineInvalidity),
    /// The library gives no reason; the log may.
    Library,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { path } => write!(f, "there is no {}", path.display()),
            Self::NotLoadable { path, why } => {
                write!(f, "{} cannot be loaded: {why}; is it for this machine, and is all of it there?", path.display())
            }
            Self::NotTensorRt { path, missing } => {
                write!(f, "{} is not TensorRT: it exports no `{missing}`", path.display())
            }
            Self::WrongMajor { path, found, why } => {
                let (path, flavor) = (path.display(), found.flavor());
                write!(
                    f,
                    "{path} is {flavor} {found}; this program drives TensorRT 10, 11 and TensorRT-RTX ≥ 1.5: {why}"
                )
            }
        }
    }
}

impl std::error::Error for LoadError {}

impl fmt::Display for ParserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.node >= 0 || !self.node_name.is_empty() {
            write!(f, "node {} '{}' ({}): ", self.node, self.node_name, self.operator)?;
        }
        write!(f, "{}: {}", self.code, self.description)
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchTensor { tensor, known } => {
                write!(f, "the engine has no input or output '{tensor}'; it has {}", known.join(", "))
            }
            Self::Unsupported { tensor, why } => write!(f, "'{tensor}' cannot be bound to device memory: {why}"),
            Self::Misaligned { tensor, address } => {
                write!(f, "'{tensor}' was given the address {address:#x}: TensorRT wants multiples of {ALIGNMENT}")
            }
            Self::Unbound { tensor } => write!(f, "'{tensor}' has no memory: bind some before enqueue"),
            Self::ShapeUnknown { tensor } => {
                write!(f, "the shape of '{tensor}' is not known yet: set the shape of every input before enqueue")
            }
            Self::TooSmall { tensor, bytes, needed } => {
                write!(f, "'{tensor}' has {bytes} bytes of memory and needs {needed} at this shape")
            }
            Self::Refused { tensor } => write!(f, "TensorRT refuses the address of '{tensor}'"),
        }
    }
}

impl std::error::Error for BindError {}

impl fmt::Display for PlanRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { bytes, header } => write!(f, "it has {bytes} bytes, a plan's header alone has {header}"),
            Self::Invalid(why) => why.fmt(f),
            Self::Library => f.write_str("TensorRT does not take it"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { tried } => {
                f.write_str("no TensorRT that this program drives was found:")?;
                tried.iter().try_for_each(|one| write!(f, " {one};"))?;
                f.write_str(" install TensorRT-RTX ≥ 1.5 or TensorRT 10 or 11 and name its library by an absolute path")
            }
            Self::NotAbsolute { path } => {
                write!(f, "'{}' is not an absolute path: name the library from the root on", path.display())
            }
            Self::Load(why) => why.fmt(f),
            Self::NoDriver(why) => why.fmt(f),
            Self::Unsupported { what, library: (flavor, version), instead } => {
                write!(f, "{flavor} {version} has no {what}: {instead}")
            }
            Self::Targets { targets, library: (flavor, version), log } => {
                write!(f, "{flavor} {version} does not build for {}: leave out what it does not know", list(targets))?;
                logged(f, log)
            }
            Self::Argument { why } => f.write_str(why),
            Self::Parser { errors, log } => {
                write!(f, "the ONNX model was not taken: {}", list(errors))?;
                logged(f, log)
            }
            Self::EmptyModel { bytes } => {
                write!(f, "no graph is in these {bytes} bytes: is it an ONNX model, and does it have outputs?")
            }
            Self::Build { log } => {
                f.write_str("no plan was built")?;
                logged(f, log)
            }
            Self::Cancelled => f.write_str("the build was cancelled"),
            Self::MonitorPanicked => f.write_str("the build was stopped by a panic in its progress monitor"),
            Self::PlanRefused { why, log } => {
                write!(f, "the plan is refused: {why}; build it again for this machine")?;
                logged(f, log)
            }
            Self::Bind(why) => why.fmt(f),
            Self::Call { call, log } => {
                write!(f, "{call} failed")?;
                logged(f, log)
            }
        }
    }
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    if items.is_empty() {
        return "no reason was given".to_owned();
    }
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn logged(f: &mut fmt::Formatter<'_>, log: &[LogLine]) -> fmt::Result {
    if log.is_empty() { Ok(()) } else { write!(f, "; TensorRT says: {}", list(log)) }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Load(why) => Some(why),
            Self::NoDriver(why) => Some(why),
            Self::Bind(why) => Some(why),
            _ => None,
        }
    }
}

impl From<LoadError> for Error {
    fn from(why: LoadError) -> Self {
        Self::Load(why)
    }
}

impl From<NoDriver> for Error {
    fn from(why: NoDriver) -> Self {
        Self::NoDriver(why)
    }
}

impl From<BindError> for Error {
    fn from(why: BindError) -> Self {
        Self::Bind(why)
    }
}

#[cfg(test)]
mod tests {
    use super::super::codes::Severity;
    use super::*;

    #[test]
    fn errors_say_what_was_found_and_what_to_do() {
        let found = Version { major: 8, minor: 6, patch: 1, build: 0 };
        let path = PathBuf::from("/opt/libnvinfer.so.8");
        let error = Error::from(LoadError::WrongMajor { path, found, why: found.slots().unwrap_err() }).to_string();
        for part in ["/opt/libnvinfer.so.8", "TensorRT 8.6.1", "TensorRT 10 or 11", "install"] {
            assert!(error.contains(part), "{error}");
        }
        let tried = vec![LoadError::NotFound { path: "/no/such/a.so".into() }];
        let error = Error::NotFound { tried }.to_string();
        assert!(error.contains("/no/such/a.so") && error.contains("install"), "{error}");
        let error = Error::Parser {
            errors: vec![ParserError {
                code: ParserErrorCode::UNSUPPORTED_NODE,
                description: "no importer".into(),
                node: 3,
                node_name: "gaze".into(),
                operator: "Gaze".into(),
                origin: String::new(),
            }],
            log: vec![LogLine { severity: Severity::ERROR, text: "importer failed".into() }],
        };
        let expected = "the ONNX model was not taken: node 3 'gaze' (Gaze): unsupported node: no importer; \
                        TensorRT says: [error] importer failed";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn errors_may_be_sent() {
        fn sent<T: Send + Sync + 'static>() {}
        sent::<Error>();
    }
}
