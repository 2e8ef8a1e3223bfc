//! The command `coverslip`.

use std::process::ExitCode;

fn main() -> ExitCode {
    coverslip_lab::cli::run()
}
