//! `coverslip report`.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;

use crate::report;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folders that `analyze`, `sae eval` and `profile challenge` wrote to
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// The file to write
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    out: PathBuf,
    /// Folder of the tiles' images and slides, if they were moved since they were embedded
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Title of the page
    #[arg(long, default_value = "What the features show")]
    title: String,
}

/// Writes the report, and says to `out` what is in it.
///
/// # Errors
/// When no folder has findings of an analysis, a file cannot be read, or the report cannot be written.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    report::write(&args.folders, args.images.clone(), &args.title, &args.out, out)
}
