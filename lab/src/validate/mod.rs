//! `coverslip validate host`: runs a host against the library that stands in (`crates/standin`), and says what it heard.

mod verdict;
mod wire;

use std::error::Error;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::claim;
use crate::host::{find_library, find_standin};
use crate::term::{plain, screen};

use verdict::Verdict;
use wire::Wire;

/// What is validated, and how.
#[derive(Debug)]
pub(crate) struct Request {
    /// The host and its arguments.
    pub(crate) command: Vec<OsString>,
    /// None: the library that was built with this command.
    pub(crate) library: Option<PathBuf>,
    /// Seconds that results may wait while frames come.
    pub(crate) poll_within: u64,
    pub(crate) json: Option<PathBuf>,
}

/// Runs the host. Ends with 1 if a rule was broken, with the host's own code if it failed, with 0 otherwise.
///
/// # Errors
/// Where a library is missing or the host does not start.
pub(crate) fn run(request: &Request) -> Result<ExitCode, Box<dyn Error>> {
    // Before the host runs: another run that writes there would show after minutes.
    let words = request.command.iter().map(Path::new);
    let _claim = request.json.as_deref().map(|path| claim::output(path, claim::VERDICT, words)).transpose()?;
    let library = find_library(request.library.as_deref())?;
    let standin = find_standin()?;
    let wire = Wire::listen()?;
    let mut words = request.command.iter().map(|word| match word.to_str() {
        Some("{library}") => standin.clone().into_os_string(),
        _ => word.clone(),
    });
    let program = words.next().ok_or("expected a command after --")?;
    let mut command = Command::new(&program);
    command.args(words);
    command.env("COVERSLIP_VALIDATE_LIBRARY", &library).env("COVERSLIP_VALIDATE_SOCKET", wire.name());
    command.env("COVERSLIP_VALIDATE_POLL_WITHIN", request.poll_within.to_string());
    // A host that is linked with the library finds the symbol here first; the Python package reads its path.
    command.env("LD_PRELOAD", &standin).env("COVERSLIP_LIBRARY", &standin);
    let mut child = command
        .spawn()
        .map_err(|error| format!("{}: expected a program, found: {error}", program.to_string_lossy()))?;
    let status = child.wait();
    let events = wire.hear_all();
    let verdict = Verdict::of(&events, status?);
    let mut screen = screen();
    for line in verdict.lines() {
        writeln!(screen, "{}", plain(&line))?;
    }
    if let Some(path) = &request.json {
        coverslip_files::put(path, format!("{}\n", verdict.json()?).as_bytes())?;
    }
    Ok(verdict.exit_code())
}
