//! `coverslip bundle quantise`.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;

use crate::bundle::{self, QuantiseRequest};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The bundle's directory
    bundle: PathBuf,
    /// Tiles of at least four slides, one PATH each: an image, a directory of images, or a .safetensors with `tiles` u8
    /// [n, side, side, 3], and `slide`, n of i32, if it has more than one. Every second slide only judges
    #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
    tiles: Vec<PathBuf>,
    /// A profile of the bundle, whose flags the gate counts too
    #[arg(long, value_name = "DIR")]
    profile: Option<PathBuf>,
    /// The directory of the bundle with layers in int8
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Replace the bundle that is there
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: Args, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let Args { bundle, tiles, profile, out: to, force } = args;
    bundle::quantise(&QuantiseRequest { bundle, tiles, profile, out: to, force }, out)
}
