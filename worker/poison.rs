//! Tiles that end the process, for tests: `COVERSLIP_WORKER_POISON` names the colour of a tile's first pixel and what
//! happens then, as in `10,20,30:abort`; several are separated by semicolons. Only in builds with debug assertions.

use std::sync::LazyLock;
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};

static POISONS: LazyLock<Vec<([u8; 3], String)>> = LazyLock::new(|| {
    let text = std::env::var("COVERSLIP_WORKER_POISON").unwrap_or_default();
    let parse = |poison: &str| {
        let (color, effect) = poison.split_once(':')?;
        let color: Vec<u8> = color.split(',').filter_map(|level| level.parse().ok()).collect();
        Some((color.try_into().ok()?, effect.to_owned()))
    };
    text.split(';').filter_map(parse).collect()
});

/// Does what one of the tiles does.
pub(crate) fn taste(tiles: &[&[u8]]) {
    let of =
        |tile: &&[u8]| POISONS.iter().find(|(color, _)| tile.starts_with(color)).map(|(_, effect)| effect.as_str());
    match tiles.iter().find_map(of) {
        None => {}
        Some("hang") => std::thread::sleep(Duration::from_secs(3600)),
        Some("stop") => drop(kill_process(getpid(), Signal::STOP)),
        Some("panic") => panic!("a poisoned tile"),
        Some("segv") => drop(kill_process(getpid(), Signal::SEGV)),
        Some(_) => std::process::abort(),
    }
}
