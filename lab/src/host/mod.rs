//! The reference host: a safe wrapper over the C ABI, and the only folder of this crate with `unsafe`.
//!
//! The library is loaded by path, as any host loads it. Handles end with their wrappers, results are copied into
//! buffers that the caller owns, and every code other than OK becomes a [`HostError`] with the library's own message.
//! [`Setup::open`] is the one place that opens a library and a runtime.

mod engine;
mod error;
mod library;
mod locate;
mod names;
mod results;
mod runtime;
mod session;
mod slide;

pub(crate) use engine::EngineChoice;
pub(crate) use error::{HostError, text};
pub(crate) use library::{Library, take_log};
#[cfg(target_os = "linux")]
pub(crate) use locate::standin as find_standin;
pub(crate) use locate::{
    WORKER, bundle as find_bundle, library as find_library, profile_beside, worker as find_worker,
};
pub(crate) use names::{ALERTS_BY_URGENCY, ALERTS_OF_ENGINE, stage_name};
pub(crate) use results::Results;
pub(crate) use session::{SCANNER_ID, Session, Setup};
pub(crate) use slide::{RgbFrame, Slide};
