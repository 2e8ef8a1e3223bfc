//! The command `coverslip` as a library: plays slides through the plugin, builds bundles, profiles and plans, trains SAEs,
//! analyses embeddings, signs, installs, validates hosts.

mod analyze;
mod bundle;
mod claim;
pub mod cli;
mod doctor;
mod embed;
pub mod embeddings;
mod engine;
pub mod findings;
mod host;
mod install;
mod play;
mod profile;
mod report;
mod resume;
mod sae;
mod scan;
mod sign;
mod term;
#[cfg(target_os = "linux")]
mod validate;
