//! The command `coverslip` as a library: plays slides through the plugin, builds bundles, profiles and plans, trains SAEs,
//! analyses embeddings, installs.

mod analyze;
mod bundle;
pub mod cli;
mod doctor;
mod embed;
mod embeddings;
mod engine_args;
mod host;
mod install;
mod locate;
mod output;
mod page;
mod plans;
mod profile;
mod report;
mod sae;
mod scan;
