//! What TensorRT answers, as `Result`s: the error type, and the turning of "false" and "nothing" into it.
//!
//! An error names the call, and brings the lines that TensorRT logged meanwhile: a null pointer alone says nothing.

mod check;
mod error;

pub use check::{Watch, dims, name, path_name};
pub use error::{Error, PlanRefusal, Result};
