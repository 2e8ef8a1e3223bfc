//! `coverslip validate`.

use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use crate::validate::{self, Request};

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Run a host against a library that stands in for the real one, and say which rules of the contract it breaks
    Host(HostArgs),
}

#[derive(clap::Args, Debug)]
struct HostArgs {
    /// The host and its arguments; {library} becomes the path of the library that stands in, for hosts that load by path
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<OsString>,
    /// The real library, which answers [default: the one built together with this command]
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
    /// How long results may wait while frames come, before that is said
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    poll_within: u64,
    /// Writes the summary here as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(super) fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let What::Host(HostArgs { command, library, poll_within, json }) = args.what;
    validate::run(&Request { command, library, poll_within, json })
}
