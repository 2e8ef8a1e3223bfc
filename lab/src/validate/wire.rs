//! The socket on which the library that stands in reports, from as many processes as the host has.

use std::io::{self, BufRead, BufReader};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;

/// What was reported, in the order in which it came.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(super) enum Event {
    Broken { rule: String, call: String, what: String, sentence: String },
    Opened { runtime: String, rule: String, sentence: String },
    Closed { runtime: String },
    Slide { calls: u64, frames: u64, results: u64, longest_wait_ms: u64 },
}

/// A socket that listens.
pub(super) struct Wire {
    name: String,
    address: SocketAddr,
    events: Arc<Mutex<Vec<Event>>>,
    over: Arc<AtomicBool>,
    listener: JoinHandle<()>,
}

impl Wire {
    pub(super) fn listen() -> io::Result<Wire> {
        let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let name = format!("coverslip-validate-{}-{nanoseconds}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name)?;
        let socket = UnixListener::bind_addr(&address)?;
        let (events, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let listener = std::thread::spawn({
            let (events, over) = (events.clone(), over.clone());
            move || accept(&socket, &events, &over)
        });
        Ok(Wire { name, address, events, over, listener })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The host has ended: all that it reported.
    pub(super) fn hear_all(self) -> Vec<Event> {
        self.over.store(true, Ordering::Release);
        // Wakes the listener.
        drop(UnixStream::connect_addr(&self.address));
        let _ = self.listener.join();
        std::mem::take(&mut *self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn accept(socket: &UnixListener, events: &Arc<Mutex<Vec<Event>>>, over: &AtomicBool) {
    let mut readers = Vec::new();
    for stream in socket.incoming().flatten() {
        if over.load(Ordering::Acquire) {
            break;
        }
        let events = events.clone();
        readers.push(std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                if let Ok(event) = serde_json::from_str(&line) {
                    events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
                }
            }
        }));
    }
    readers.into_iter().for_each(|reader| drop(reader.join()));
}
