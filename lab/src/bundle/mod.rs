//! `coverslip bundle`: build, inspect, verify and export the model as one artefact.

mod builder;
mod candidates;
mod graph_file;
mod labels;
mod memory;
mod model;
mod outputs;
mod page;
mod quantise;
mod request;
mod tiles;
mod verification;

pub(crate) use builder::run as build;
pub(crate) use candidates::page as candidates;
pub(crate) use graph_file::{check, export};
pub(crate) use labels::{LabelRequest, run as label};
pub(crate) use model::is_onnx;
pub(crate) use outputs::run as run_tiles;
pub(crate) use page::page;
pub(crate) use quantise::{QuantiseRequest, run as quantise};
pub(crate) use request::{BuildRequest, Stated};
pub(crate) use verification::verify;
