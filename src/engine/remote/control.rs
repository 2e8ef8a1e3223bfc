//! The control connection to one worker: who is there, what is opened, and the lines that the worker says while it is at
//! work. Whatever comes, every call here ends: a worker that says too much is as useless as one that says nothing.

use std::fmt::Arguments;
use std::path::Path;
use std::time::{Duration, Instant};

use coverslip_base::error::{Result as Refusable, error};
use coverslip_base::log::Log;
use coverslip_base::memory::with_room;
use coverslip_base::sync::Arc;
use coverslip_engine::{Loss, Tell};
use coverslip_plugin_abi as abi;
use coverslip_wire::control::{Hello, LINES, LogLine, Open, Opened, Progress, read_loss};
use coverslip_wire::frame::{CONTROL_BUDGET, Kind};
use coverslip_wire::{Broken, Due, Link, Malformed, Transport};

use super::loss::broken;

/// Time for a program to start and to say who it is.
const GREETING: Duration = Duration::from_secs(20);
/// While an engine is opened there may be no progress for this many times the time of a batch, and for at least this long.
const SILENCES: u32 = 10;
pub(super) const SILENCE: Duration = Duration::from_secs(300);
/// Time for what a worker does at once: a control message, the connection of a lane.
pub(super) const SOON: Duration = Duration::from_secs(10);
/// Time for the rest of a line that has begun to come. Lanes wait meanwhile.
pub(super) const REST: Duration = Duration::from_secs(1);

/// Of the plugin and its worker: version and commit.
const BUILD: &str = concat!(env!("CARGO_PKG_VERSION"), " ", env!("COVERSLIP_COMMIT"));

/// Writes or reads a message. Workers are started again in mid-slide, where memory may have ended.
fn message<T>(run: impl FnOnce() -> T) -> Refusable<T> {
    with_room("a message to or from the worker", CONTROL_BUDGET, run)
}

pub(super) fn within(time: Duration) -> Due {
    Instant::now().checked_add(time)
}

pub(super) struct Control {
    pub(super) link: Link,
    log: Arc<Log>,
    payload: Vec<u8>,
}

impl Control {
    pub(super) fn new(link: Link, log: &Arc<Log>) -> Control {
        Control { link, log: log.clone(), payload: Vec::new() }
    }

    /// Both say who they are.
    pub(super) fn greet(&mut self, program: &Path) -> Result<(), Loss> {
        let due = within(GREETING);
        let hello = message(|| Hello { build: BUILD.into(), process: std::process::id() }.write());
        let greeted = hello.map_err(Broken::Memory).and_then(|hello| self.link.send(Kind::Hello, &[&hello], due));
        let answer = greeted.and_then(|()| match self.link.receive(&mut self.payload, CONTROL_BUDGET, due)? {
            Kind::Hello => Ok(message(|| Hello::read(&self.payload)).map_err(Broken::Memory)??),
            _ => Err(Broken::System(0)),
        });
        match answer {
            Ok(hello) if hello.build == BUILD => Ok(()),
            Ok(hello) => Err(another(program, format_args!("that of coverslip {}", hello.build))),
            Err(Broken::Memory(error)) => Err(broken(Broken::Memory(error), "was greeted")),
            Err(_) => Err(another(program, format_args!("a program that does not answer as one"))),
        }
    }

    /// Says what to open, and waits until it is, at most until `due`. `timeout`: for a batch.
    pub(super) fn open(
        &mut self,
        open: &Open,
        timeout: Option<Duration>,
        due: Due,
        tell: &Tell<'_>,
    ) -> Result<Opened, Loss> {
        let open = message(|| open.write()).map_err(Broken::Memory);
        let sent = open.and_then(|open| self.link.send(Kind::Open, &[&open], within(SOON)));
        sent.map_err(|e| broken(e, "opened the engine"))?;
        let silence = timeout.map(|timeout| (timeout * SILENCES).max(SILENCE));
        self.await_opened(silence, due, tell)
    }

    /// Lines do not count as progress: between two steps they are few.
    fn await_opened(&mut self, silence: Option<Duration>, due: Due, tell: &Tell<'_>) -> Result<Opened, Loss> {
        let broken = |e| broken(e, "opened the engine");
        let nonsense = |malformed| broken(Broken::Nonsense(malformed));
        let mut quiet_until = silence.and_then(within);
        loop {
            let due = [quiet_until, due].into_iter().flatten().min();
            // What is always there to be read never waits, and is never late.
            if due.is_some_and(|due| Instant::now() >= due) {
                return Err(broken(Broken::Late));
            }
            match self.link.receive(&mut self.payload, CONTROL_BUDGET, due).map_err(broken)? {
                Kind::Progress => {
                    let Progress { stage, part } = Progress::read(&self.payload).map_err(nonsense)?;
                    tell(stage, part).map_err(|error| Loss { reason: abi::REASON_NONE, error })?;
                    quiet_until = silence.and_then(within);
                }
                Kind::Log => self.pass_on().map_err(nonsense)?,
                Kind::Opened => {
                    let opened = message(|| Opened::read(&self.payload)).map_err(|e| broken(Broken::Memory(e)))?;
                    return opened.map_err(nonsense);
                }
                Kind::Refused => return Err(read_loss(&self.payload).map_err(nonsense)?),
                _ => return Err(broken(Broken::System(0))),
            }
        }
    }

    /// Gives the host the lines that have come. A worker at work says nothing else, and says no more: LINES for each batch
    /// that was sent since the last time, of which each of its lanes has one at most, LINES before, and what threads were
    /// about to say.
    ///
    /// # Errors
    /// The worker has ended, says something else, says too much, or half of it.
    pub(super) fn hear(&mut self, lanes: usize, due: Due) -> Result<(), Broken> {
        let most = LINES * (lanes + 2);
        for said in 0.. {
            match self.link.receive_ready(&mut self.payload, LogLine::MOST, due)? {
                None => break,
                Some(Kind::Log) if said < most => self.pass_on()?,
                Some(Kind::Log) => return Err(Malformed("more lines than it may say between two batches").into()),
                Some(_) => return Err(Broken::System(0)),
            }
        }
        Ok(())
    }

    fn pass_on(&self) -> Result<(), Malformed> {
        // Where there is no memory for it, there is one line fewer.
        let Ok(line) = message(|| LogLine::read(&self.payload)) else { return Ok(()) };
        let line = line?;
        self.log.write(line.level, format_args!("{}", line.text));
        Ok(())
    }
}

/// The program is no worker of this library's.
fn another(program: &Path, found: Arguments<'_>) -> Loss {
    let program = program.display();
    let error = error!(
        ENGINE_UNAVAILABLE,
        "expected the worker of coverslip {BUILD} in {program}, found {found}: install library and worker of one build"
    );
    Loss { reason: abi::REASON_NO_WORKER, error }
}

/// A worker that was left behind ends when it goes on, also where a child that the host has forked has a copy of this end.
#[cfg(target_os = "linux")]
impl Drop for Control {
    fn drop(&mut self) {
        self.link.hang_up();
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;
    use std::sync::Mutex;

    use super::*;

    const LANES: usize = 1;
    const MOST: usize = LINES * (LANES + 2);

    /// A connection, its other end, and the lines that the host gets.
    fn connected() -> (Control, Link, Arc<Mutex<Vec<String>>>) {
        let (here, there) = Link::pair().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = lines.clone();
        let sink = move |_: i32, line: &CStr| kept.lock().unwrap().push(line.to_str().unwrap().to_owned());
        (Control::new(here, &Arc::new(Log::new(Some(Box::new(sink))))), there, lines)
    }

    fn say(there: &mut Link, text: &str) {
        there.send(Kind::Log, &[&LogLine::write(abi::LOG_INFO, text.as_bytes())], within(SOON)).unwrap();
    }

    #[test]
    fn lines_are_heard_until_they_are_too_many() {
        let (mut control, mut there, lines) = connected();
        for _ in 0..2 {
            (0..MOST).for_each(|i| say(&mut there, &i.to_string()));
            control.hear(LANES, within(REST)).unwrap();
        }
        let expected: Vec<String> = (0..MOST).chain(0..MOST).map(|i| i.to_string()).collect();
        assert_eq!(std::mem::take(&mut *lines.lock().unwrap()), expected);
        (0..=MOST).for_each(|_| say(&mut there, "again"));
        assert!(matches!(control.hear(LANES, within(REST)), Err(Broken::Nonsense(_))));
        assert_eq!(lines.lock().unwrap().len(), MOST);
    }

    #[test]
    fn what_no_worker_at_work_says_breaks_the_connection() {
        let (mut control, mut there, _) = connected();
        there.send(Kind::Progress, &[&Progress { stage: 1, part: 0.5 }.write()], None).unwrap();
        assert!(matches!(control.hear(LANES, within(REST)), Err(Broken::System(0))));
        let (mut control, mut there, _) = connected();
        there.send(Kind::Log, &[&[1, 2, 3]], None).unwrap();
        assert!(matches!(control.hear(LANES, within(REST)), Err(Broken::Nonsense(_))), "no line");
        let (mut control, mut there, _) = connected();
        there.send(Kind::Log, &[&[0; LogLine::MOST + 1]], None).unwrap();
        assert!(matches!(control.hear(LANES, within(REST)), Err(Broken::Nonsense(_))), "longer than a line");
        let (mut control, there, _) = connected();
        drop(there);
        assert!(matches!(control.hear(LANES, within(REST)), Err(Broken::Ended)));
    }

    /// The rest of it never comes.
    #[cfg(debug_assertions)]
    #[test]
    fn half_a_line_is_waited_for_once() {
        let (mut control, mut there, lines) = connected();
        say(&mut there, "whole");
        there.send_raw(&coverslip_wire::frame::header(Kind::Log, &[])[..7], None).unwrap();
        assert!(matches!(control.hear(LANES, within(Duration::from_millis(5))), Err(Broken::Late)));
        assert_eq!(*lines.lock().unwrap(), ["whole"]);
    }

    /// From a worker that says this again and again, and never that it has opened; it ends in the end, in another way.
    #[track_caller]
    fn expect_late(silence: Option<Duration>, due: Due, kind: Kind, payload: &[u8]) {
        let (mut control, mut there, _) = connected();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let _ = (0..100_000).try_for_each(|_| there.send(kind, &[payload], within(SOON)));
            });
            let found = control.await_opened(silence, due, &|_, _| Ok(()));
            assert_eq!(found.map(|_| ()).unwrap_err().reason, abi::REASON_WORKER_HUNG);
            drop(control);
        });
    }

    #[test]
    fn an_opening_ends_however_much_has_been_said() {
        let (mut control, mut there, _) = connected();
        let progress = Progress { stage: 1, part: 0.5 }.write();
        (0..50).for_each(|_| there.send(Kind::Progress, &[&progress], within(SOON)).unwrap());
        drop(there);
        // What is there to be read is read without a look at the clock.
        let found = control.await_opened(None, within(Duration::ZERO), &|_, _| Ok(()));
        assert_eq!(found.map(|_| ()).unwrap_err().reason, abi::REASON_WORKER_HUNG);
    }

    #[test]
    fn an_opening_ends_however_much_is_said() {
        let short = Duration::from_millis(30);
        let progress = Progress { stage: 1, part: 0.5 }.write();
        expect_late(Some(SILENCE), within(short), Kind::Progress, &progress);
        expect_late(Some(short), None, Kind::Log, &LogLine::write(abi::LOG_INFO, b"still here"));
    }
}
