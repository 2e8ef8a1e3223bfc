//! What is embedded, how, and where it goes.

use std::path::PathBuf;

use super::embedder::Naming;
use super::grid::Cutting;
use super::rows::TokensAsked;
use crate::host::Setup;

#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Slides, images and directories of these.
    pub(crate) inputs: Vec<PathBuf>,
    /// The file to write.
    pub(crate) out: PathBuf,
    /// Whether a finished file is replaced.
    pub(crate) force: bool,
    pub(crate) cutting: Cutting,
    /// Whether tiles without tissue are embedded.
    pub(crate) background: bool,
    pub(crate) naming: Naming,
    /// Patch tokens instead of pooled taps.
    pub(crate) tokens: Option<TokensAsked>,
    pub(crate) setup: Setup,
}
