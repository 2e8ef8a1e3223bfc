//! Faults on purpose, for tests: `COVERSLIP_WORKER_POISON` names the colour of a tile's first pixel and what happens then,
//! as in `10,20,30:abort`; several are separated by semicolons. `COVERSLIP_WORKER_SABOTAGE` names a file that says what
//! happens at the next batch, and is removed then. Only in builds with debug assertions.

use std::cell::Cell;
use std::path::Path;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use coverslip_plugin_abi::LOG_INFO;
use coverslip_wire::Link;
use coverslip_wire::control::{LogLine, Progress};
use coverslip_wire::frame::{Kind, header};

use crate::lines::Speaker;

static POISONS: LazyLock<Vec<([u8; 3], String)>> = LazyLock::new(|| {
    let text = std::env::var("COVERSLIP_WORKER_POISON").unwrap_or_default();
    let parse = |poison: &str| {
        let (color, effect) = poison.split_once(':')?;
        let color: Vec<u8> = color.split(',').filter_map(|level| level.parse().ok()).collect();
        Some((color.try_into().ok()?, effect.to_owned()))
    };
    text.split(';').filter_map(parse).collect()
});

thread_local! {
    static PANIC: Cell<bool> = const { Cell::new(false) };
}

/// Panics, where a tile or the file has asked for it.
pub(crate) fn panic_if_asked() {
    if PANIC.take() {
        panic!("a poisoned tile");
    }
}

/// Does what one of the tiles does, or what the file says. True: the connection has been made useless.
pub(crate) fn taste(tiles: &[&[u8]], link: &mut Link, speaker: &Speaker) -> bool {
    let of = |tile: &&[u8]| POISONS.iter().find(|(color, _)| tile.starts_with(color)).map(|(_, effect)| effect.clone());
    match tiles.iter().find_map(of).or_else(sabotage).as_deref() {
        None => return false,
        Some("hang") => std::thread::sleep(Duration::from_secs(3600)),
        // Its lane sees to it.
        Some("panic") => PANIC.set(true),
        Some("segv") => violate(),
        Some("close") => return true,
        Some("garbage") => {
            let _ = link.send_raw(&[0xa5; 4096], None);
            return true;
        }
        Some("flood") => flood(speaker),
        Some("half a line") => drop(speaker.say_raw(&header(Kind::Log, &[])[..7], Duration::ZERO)),
        Some("no line") => drop(speaker.say(Kind::Progress, &Progress { stage: 1, part: 0.5 }.write())),
        Some(_) => std::process::abort(),
    }
    false
}

/// Says lines until the connection holds no more, as one does that never stops.
fn flood(speaker: &Speaker) {
    let line = LogLine::write(LOG_INFO, b"and another line");
    let frame = [&header(Kind::Log, &[&line])[..], &line].concat();
    while speaker.say_raw(&frame, Duration::from_millis(100)).is_ok() {}
}

/// As a driver with a defect ends. The signal may reach another thread first.
#[cfg(target_os = "linux")]
fn violate() {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::SEGV);
    std::thread::sleep(Duration::from_secs(10));
}

#[cfg(windows)]
use crate::itself::violate;

/// What the file says, for the lane that removes it. Windows lets two remove it who have opened it before.
fn sabotage() -> Option<String> {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let path = std::env::var_os("COVERSLIP_WORKER_SABOTAGE")?;
    let said = coverslip_files::read_text(Path::new(&path)).ok()?;
    std::fs::remove_file(path).ok().map(|()| said.trim().to_owned())
}
