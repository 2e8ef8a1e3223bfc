//! The error type of this crate: what was expected, what was found, what to do.

use std::fmt;
use std::path::PathBuf;

use crate::sys::{
    BindError, ComputeCapability, EngineInvalidity, Flavor, LoadError, LogLine, NoDriver, ParserError, Version,
};

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// No library was found.
    NotFound {
        /// What became of each place that was looked at.
        tried: Vec<LoadError>,
    },
    /// A library must be named by an absolute path, so that nobody's search path decides what is loaded.
    NotAbsolute {
        /// The path that was given.
        path: PathBuf,
    },
    /// A file is not a TensorRT that this crate drives, or not there.
    Load(LoadError),
    /// NVIDIA's driver is needed for this and not there.
    NoDriver(NoDriver),
    /// This library has no such thing.
    Unsupported {
        /// What was asked for.
        what: &'static str,
        /// Of which product and version.
        library: (Flavor, Version),
        /// What to do.
        instead: &'static str,
    },
    /// This library builds for no such GPUs, or not for all of them at once.
    Targets {
        /// The GPUs that were asked for.
        targets: Vec<ComputeCapability>,
        /// Which library it is.
        library: (Flavor, Version),
        /// What was logged meanwhile.
        log: Vec<LogLine>,
    },
    /// An argument that cannot be passed on: a name with a zero byte, a rank beyond 8.
    Argument {
        /// What is wrong with it.
        why: String,
    },
    /// The ONNX model was not taken.
    Parser {
        /// Every complaint of the parser, with the nodes' names.
        errors: Vec<ParserError>,
        /// What was logged meanwhile.
        log: Vec<LogLine>,
    },
    /// What was given as a model has no outputs: an empty graph, or no model at all.
    EmptyModel {
        /// How much was given.
        bytes: usize,
    },
    /// No plan was built.
    Build {
        /// Errors and warnings of the builder.
        log: Vec<LogLine>,
    },
    /// The progress monitor stopped the build.
    Cancelled,
    /// The progress monitor panicked, which stopped the build.
    MonitorPanicked,
    /// A plan does not become an engine on this machine.
    PlanRefused {
        /// Why.
        why: PlanRefusal,
        /// What was logged meanwhile.
        log: Vec<LogLine>,
    },
    /// Memory is missing, too small or not bindable.
    Bind(BindError),
    /// A call that TensorRT refused.
    Call {
        /// The method, as NVIDIA's documentation names it.
        call: &'static str,
        /// What was logged meanwhile.
        log: Vec<LogLine>,
    },
}

/// Why a plan is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PlanRefusal {
    /// It has fewer bytes than a plan's header.
    Truncated {
        /// Bytes that are there.
        bytes: usize,
        /// Bytes of a header.
        header: usize,
    },
    /// RTX looked at its header.
    Invalid(EngineInvalidity),
    /// The library does not say; the log may.
    Library,
}

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
            Self::NotFound { tried } if tried.is_empty() => {
                f.write_str("no TensorRT was named: give the path of libtensorrt_rtx.so.1 or libnvinfer.so.11")
            }
            Self::NotFound { tried } => {
                f.write_str("no TensorRT that this program drives was found:")?;
                tried.iter().try_for_each(|one| write!(f, " {one};"))?;
                f.write_str(" install TensorRT-RTX ≥ 1.5 or TensorRT 11 and name its library by an absolute path")
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
    use super::*;
    use crate::sys::{ParserErrorCode, Severity};

    #[test]
    fn errors_say_what_was_found_and_what_to_do() {
        let found = Version { major: 10, minor: 16, patch: 0, build: 0 };
        let path = PathBuf::from("/opt/libnvinfer.so.10");
        let error = Error::from(LoadError::WrongMajor { path, found, why: found.slots().unwrap_err() }).to_string();
        for part in ["/opt/libnvinfer.so.10", "TensorRT 10.16.0", "TensorRT 11", "install"] {
            assert!(error.contains(part), "{error}");
        }
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
