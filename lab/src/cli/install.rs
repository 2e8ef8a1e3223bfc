//! `coverslip install`.

use std::error::Error;
use std::path::PathBuf;

use crate::install::{self, Request};

/// Installs the shared library, headers, CMake package, pkg-config file and bills of materials under a prefix
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// The folder that gets include/, lib/ and share/
    #[arg(long, value_name = "DIR")]
    prefix: PathBuf,
    /// The shared library to install [default: the one built together with this command]
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
    /// A bundle to install with it, under share/coverslip/bundles; with X also X-profile, where it lies beside X
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
}

pub(super) fn run(args: Args) -> Result<(), Box<dyn Error>> {
    install::run(&Request { prefix: args.prefix, library: args.library, bundle: args.bundle })
}
