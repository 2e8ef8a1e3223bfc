//! `coverslip openslide-reader SLIDE`: the process in which OpenSlide reads a slide for another command. No user calls it.

use std::error::Error;
use std::path::PathBuf;

pub(super) const NAME: &str = "openslide-reader";

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    slide: PathBuf,
}

pub(super) fn run(args: Args) -> Result<(), Box<dyn Error>> {
    Ok(coverslip_slides::serve_openslide(&args.slide)?)
}

/// OpenSlide reads in processes of their own from here on.
pub(super) fn stand_apart() {
    if let Ok(program) = std::env::current_exe() {
        coverslip_slides::read_openslide_apart(program, NAME);
    }
}
