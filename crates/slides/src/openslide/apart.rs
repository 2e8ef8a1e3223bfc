//! OpenSlide in a process of its own. It is a C library that reads strangers' files and ends its process where one is odd
//! enough, or takes more memory than there is: that costs the slide one sentence, and the command nothing.
//!
//! The process is started for one slide. It says what the slide is, then answers each rectangle, until nobody asks any more.
//! A request is x, y, width and height; an answer is a byte (0, or 1 for an error), its length in bytes, and what it says.
//! Numbers are of 32 bits and little-endian.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use super::described::Described;
use super::library::library;
use super::sys::Slide;
use crate::budget;
use crate::rect::Rect;

/// The program, and the argument before the slide's path, with which it calls [`serve`].
static PROGRAM: OnceLock<(PathBuf, &'static str)> = OnceLock::new();

/// Bytes of an error or of what is said of a slide.
const LONGEST: usize = 1 << 20;
/// Memory of the process: beyond it the slide is refused, and not the rest of the machine's work.
#[cfg(target_os = "linux")]
const MEMORY: u64 = 8 << 30;

/// From here on OpenSlide reads in processes of their own: this program with this argument and the slide's path.
pub fn read_apart(program: PathBuf, argument: &'static str) {
    let _ = PROGRAM.set((program, argument));
}

/// The side that asks.
pub(super) struct Apart {
    child: Child,
    requests: ChildStdin,
    answers: ChildStdout,
}

/// Starts a process that reads this slide. None: OpenSlide reads in this one.
pub(super) fn start(path: &Path) -> Option<Result<(Apart, Described), String>> {
    let (program, argument) = PROGRAM.get()?;
    let mut command = Command::new(program);
    command.arg(argument).arg("--").arg(path).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    // An interrupt at the terminal is for the command, which then ends this one.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    Some(Apart::greet(command))
}

impl Apart {
    /// Starts the process, and hears what the slide is.
    fn greet(command: Command) -> Result<(Apart, Described), String> {
        let begun = Apart::begin(command);
        let mut apart = begun.map_err(|e| format!("the process that reads with it does not start: {e}"))?;
        let said = apart.answer(LONGEST)?;
        let said = serde_json::from_slice(&said).map_err(|e| format!("the process that reads with it said {e}"))?;
        Ok((apart, said))
    }

    fn begin(mut command: Command) -> io::Result<Apart> {
        let mut child = command.spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (requests, answers) = pipes.ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Apart { child, requests, answers })
    }

    /// Fills `words` with a rectangle.
    pub(super) fn read(&mut self, rect: Rect, words: &mut Vec<u32>) -> Result<(), String> {
        let Rect { x, y, width, height } = rect;
        let request: Vec<u8> = [x, y, width, height].into_iter().flat_map(u32::to_le_bytes).collect();
        self.requests.write_all(&request).map_err(|_| self.how_ended())?;
        let size = 4 * width as usize * height as usize;
        let found = self.answer(size.max(LONGEST))?;
        if found.len() != size {
            return Err(format!("the process that reads with it gave {} bytes of {size}", found.len()));
        }
        words.clear();
        words.try_reserve_exact(size / 4).map_err(|_| budget::no_memory(size))?;
        words.extend(found.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)));
        Ok(())
    }

    /// What it answers, of at most so many bytes.
    fn answer(&mut self, most: usize) -> Result<Vec<u8>, String> {
        let mut head = [0; 5];
        self.answers.read_exact(&mut head).map_err(|_| self.how_ended())?;
        let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if length > most {
            return Err(format!("the process that reads with it gave {length} bytes, more than {most}"));
        }
        let mut bytes = budget::zeroes(length)?;
        self.answers.read_exact(&mut bytes).map_err(|_| self.how_ended())?;
        match head[0] {
            0 => Ok(bytes),
            _ => Err(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// It says no more.
    fn how_ended(&mut self) -> String {
        // One that has closed its pipes and goes on is of no use either.
        let _ = self.child.kill();
        match self.child.wait() {
            Ok(how) => format!("it crashed, or took more memory than there is ({how})"),
            Err(e) => format!("it ended: {e}"),
        }
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The side that reads: opens the slide and answers on the standard streams until nobody asks any more.
///
/// # Errors
/// The other side has gone.
pub fn serve(path: &Path) -> io::Result<()> {
    limit_memory();
    let (mut requests, mut answers) = (io::stdin().lock(), io::stdout().lock());
    let opened = library().and_then(|library| {
        let slide = Slide::open(&library.functions, path)?;
        let said = Described::of(&slide)?;
        Ok((slide, said))
    });
    let (slide, said) = match opened {
        Ok(opened) => opened,
        Err(error) => return answer(&mut answers, Err(&error)),
    };
    answer(&mut answers, Ok(&serde_json::to_vec(&said)?))?;
    let (mut words, mut bytes, mut request) = (Vec::new(), Vec::new(), [0; 16]);
    while requests.read_exact(&mut request).is_ok() {
        let number = |at: usize| i64::from(u32::from_le_bytes([0, 1, 2, 3].map(|i| request[4 * at + i])));
        match slide.read(number(0), number(1), number(2), number(3), &mut words) {
            Ok(()) => {
                bytes.clear();
                bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
                answer(&mut answers, Ok(&bytes))?;
            }
            Err(error) => answer(&mut answers, Err(&error))?,
        }
    }
    Ok(())
}

fn answer(to: &mut impl Write, what: Result<&[u8], &str>) -> io::Result<()> {
    let bytes = what.unwrap_or_else(|error| &error.as_bytes()[..error.len().min(LONGEST)]);
    to.write_all(&[u8::from(what.is_err())])?;
    to.write_all(&(bytes.len() as u32).to_le_bytes())?;
    to.write_all(bytes)?;
    to.flush()
}

#[cfg(target_os = "linux")]
fn limit_memory() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let found = getrlimit(Resource::As);
    let least = |limit: Option<u64>| Some(limit.map_or(MEMORY, |limit| limit.min(MEMORY)));
    let _ = setrlimit(Resource::As, Rlimit { current: least(found.current), maximum: least(found.maximum) });
}

#[cfg(not(target_os = "linux"))]
fn limit_memory() {}
