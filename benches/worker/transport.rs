//! The transport alone: to a program that takes batches and answers with the outputs of a ViT-S, which cost it nothing.

use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use coverslip_base::shared::{Incoming, Outgoing};
use coverslip_wire::batch::write_shared;
use coverslip_wire::frame::Kind;
use coverslip_wire::{Link, Memory, Transport};
use rustix::time::{ClockId, clock_gettime};

use crate::figure::{all, difference, quantile};

/// A tile of 224 px.
const TILE: usize = 3 * 224 * 224;
/// Bytes of a tile's outputs.
const OUTPUTS: usize = 16 + 4 * 384 + 8 * 32;
const RATES: [f64; 2] = [4_780.0, 10_000.0];
const BATCHES: [usize; 3] = [32, 64, 128];
const ROUNDS: usize = 7;
const TURN: Duration = Duration::from_millis(1_000);
/// Tiles of different places: no batch is in the processor's caches because the last one was.
const POOL: usize = 512;

const STUB: &str = "COVERSLIP_BENCH_STUB";

pub(crate) fn is_stub() -> bool {
    std::env::var_os(STUB).is_some()
}

/// As the other side.
pub(crate) fn stub() {
    let batch: usize = std::env::var(STUB).expect("the batch").parse().expect("a number");
    let control = std::io::stdin().as_fd().try_clone_to_owned().expect("a descriptor");
    let mut control = Link::new(control).expect("a socket");
    let (mut payload, outputs) = (Vec::new(), vec![0; batch * OUTPUTS]);
    let (_, passed) = control.receive_link(&mut payload, 0, None).expect("a lane");
    let (mut link, memory) = passed.expect("its connection");
    let _memory: Option<Incoming> = memory.map(|memory| memory.map(batch * TILE).expect("mapped"));
    while link.receive(&mut payload, batch * TILE + 4, None).is_ok() {
        if link.send(Kind::Outputs, &[&outputs], None).is_err() {
            return;
        }
    }
}

/// A stub, and the way to it.
struct Way {
    other: Child,
    control: Link,
    link: Link,
    memory: Option<Outgoing>,
    batch: usize,
    /// Milliseconds of each batch there and back, by turn.
    times: Vec<Vec<f64>>,
    /// Of this process, microseconds a tile, by turn.
    spent: Vec<f64>,
}

impl Way {
    fn new(batch: usize, shared: bool) -> Way {
        let (mut control, there) = Link::pair().expect("sockets");
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.env(STUB, batch.to_string()).stdin(Stdio::from(there.into_descriptor().expect("a descriptor")));
        let other = command.spawn().expect("the other side");
        drop(command);
        let (link, theirs) = Link::pair().expect("sockets");
        let (memory, passed) = shared.then(|| Memory::new(batch * TILE).expect("memory")).unzip();
        control.send_link(Kind::Lane, &(theirs, passed), None).expect("sent");
        Way { other, control, link, memory, batch, times: Vec::new(), spent: Vec::new() }
    }

    /// Batches at this rate in tiles a second.
    fn turn(&mut self, tiles: &[Vec<u8>], rate: f64) {
        let (start, before) = (Instant::now(), spent());
        let (mut times, mut answer) = (Vec::new(), Vec::new());
        while start.elapsed() < TURN {
            let due = Duration::from_secs_f64((times.len() * self.batch) as f64 / rate);
            std::thread::sleep(due.saturating_sub(start.elapsed()));
            let at = times.len() * self.batch % (POOL - self.batch + 1);
            let parts: Vec<&[u8]> = tiles[at..at + self.batch].iter().map(Vec::as_slice).collect();
            let began = Instant::now();
            match &mut self.memory {
                Some(memory) => {
                    assert!(memory.write(&parts));
                    self.link.send(Kind::RunShared, &[&write_shared(self.batch)], None).expect("sent");
                }
                None => {
                    let count = (self.batch as u32).to_le_bytes();
                    let parts: Vec<&[u8]> = std::iter::once(&count[..]).chain(parts).collect();
                    self.link.send(Kind::Run, &parts, None).expect("sent");
                }
            }
            self.link.receive(&mut answer, 1 << 24, None).expect("answered");
            times.push(1e3 * began.elapsed().as_secs_f64());
        }
        self.spent.push(1e6 * (spent() - before) / (times.len() * self.batch) as f64);
        self.times.push(times);
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        let (nothing, _) = Link::pair().expect("sockets");
        (self.link, self.control) = (nothing, Link::pair().expect("sockets").0);
        let _ = self.other.wait();
    }
}

/// The processor's seconds of this process.
fn spent() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + 1e-9 * time.tv_nsec as f64
}

pub(crate) fn compare() {
    println!("\nThe transport alone, tiles of 224 px; a batch there and back, {ROUNDS} turns of {TURN:?}:\n");
    println!(
        "| tiles/s | batch | connection: p50, p99 ms | CPU us a tile | memory: p50, p99 ms | CPU us a tile | p50, memory less \
         connection | p99 |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let tiles: Vec<Vec<u8>> = (0..POOL).map(|i| vec![i as u8; TILE]).collect();
    for batch in BATCHES {
        for rate in RATES {
            let mut ways = [Way::new(batch, false), Way::new(batch, true)];
            for round in 0..ROUNDS {
                for at in [round % 2, 1 - round % 2] {
                    ways[at].turn(&tiles, rate);
                }
            }
            let cell = |way: &mut Way| {
                let mut times = all(&way.times);
                let (p50, p99) = (quantile(&mut times, 0.5), quantile(&mut times, 0.99));
                format!("{p50:.2}, {p99:.2} | {:.1}", quantile(&mut way.spent, 0.5))
            };
            let [connection, memory] = &mut ways;
            println!(
                "| {rate:.0} | {batch} | {} | {} | {} | {} |",
                cell(connection),
                cell(memory),
                difference(&connection.times, &memory.times, 0.5),
                difference(&connection.times, &memory.times, 0.99)
            );
        }
    }
}
