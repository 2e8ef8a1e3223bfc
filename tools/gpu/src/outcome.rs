//! How a step ends where it does not reach its end.

use std::fmt::{self, Display};

use crate::host::Refusal;

/// Why a step stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// This machine lacks what the step needs.
    LeftOut(String),
    Failed(String),
}

impl Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::LeftOut(why) => write!(f, "left out: {why}"),
            Stop::Failed(why) => f.write_str(why),
        }
    }
}

pub(crate) type Outcome<T = ()> = Result<T, Stop>;

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Stop::Failed(format!("the plugin refuses with code {}: {}", refusal.code, refusal.message))
    }
}

impl From<coverslip_tensorrt::Error> for Stop {
    fn from(error: coverslip_tensorrt::Error) -> Self {
        Stop::Failed(error.to_string())
    }
}

impl From<coverslip_bundle::BundleError> for Stop {
    fn from(error: coverslip_bundle::BundleError) -> Self {
        Stop::Failed(error.to_string())
    }
}

impl From<libloading::Error> for Stop {
    fn from(error: libloading::Error) -> Self {
        Stop::Failed(error.to_string())
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Stop::Failed(error.to_string())
    }
}

/// The failure of a step whose expectation does not hold.
pub(crate) fn failed<T>(why: impl Display) -> Outcome<T> {
    Err(Stop::Failed(why.to_string()))
}
