//! The bytes of [`crate::wire`] over a connection, as plugin and worker read them: frame by frame, some with descriptors.

use std::fs::File;
use std::io::Write;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use coverslip_base::own::Own;
use coverslip_testkit::Scratch;
use coverslip_wire::frame::{CONTROL_BUDGET, Kind, header};
use coverslip_wire::{Broken, Due, Link, Memory, Passed, Transport};

/// What a connection holds without a reader, bytes.
const MOST: usize = 64 << 10;
/// Bytes of a lane's memory.
const MEMORY: usize = 4096;

/// A frame: its kind and its payload.
pub(crate) type Frame<'a> = (Kind, &'a [u8]);

/// Sends `data`, of which `frames` are whole, and expects that these and no others are heard. Then sends those without a
/// payload again, each with descriptors.
pub(crate) fn heard(data: &[u8], frames: &[Frame]) {
    if data.len() > MOST {
        return;
    }
    let (mut here, there) = pair();
    (&there).write_all(data).expect("room for a few frames");
    there.shutdown(Shutdown::Write).expect("an end");
    let mut payload = Vec::new();
    for (place, frame) in frames.iter().enumerate() {
        let kind = if place % 2 == 0 {
            here.receive(&mut payload, CONTROL_BUDGET, due())
        } else {
            here.receive_ready(&mut payload, CONTROL_BUDGET, due()).map(|kind| kind.expect("all of it has been sent"))
        };
        assert_eq!((kind.expect("a whole frame"), &payload[..]), *frame, "a frame is heard as it was sent");
    }
    let next = here.receive(&mut payload, CONTROL_BUDGET, due());
    assert!(matches!(next, Err(Broken::Ended | Broken::Nonsense(_))), "after the whole frames: {next:?}");
    with_descriptors(frames, data.len());
}

fn with_descriptors(frames: &[Frame], choice: usize) {
    let (mut here, there) = pair();
    let raw = there.try_clone().expect("another descriptor");
    let mut there = Link::new(OwnedFd::from(there)).expect("a descriptor");
    for (place, (kind, payload)) in frames.iter().enumerate() {
        if payload.is_empty() {
            there.send_link(*kind, &passed(choice), due()).expect("room for a few frames");
        } else {
            (&raw).write_all(&[&header(*kind, &[payload])[..], payload].concat()).expect("room for a few frames");
        }
        let mut found = Vec::new();
        if place % 3 == 2 {
            // A descriptor where none belongs breaks the connection.
            let kind = here.receive(&mut found, CONTROL_BUDGET, due());
            assert_eq!(kind.is_err(), payload.is_empty(), "a descriptor");
            if kind.is_err() {
                return;
            }
            continue;
        }
        let (heard, passed) = here.receive_link(&mut found, CONTROL_BUDGET, due()).expect("a whole frame");
        assert_eq!((heard, &found[..]), (*kind, *payload), "a frame is heard as it was sent");
        assert_eq!(passed.is_some(), payload.is_empty(), "descriptors come with their frame");
        if let Some(memory) = passed.and_then(|(_, memory)| memory).and_then(|memory| memory.map(MEMORY).ok()) {
            assert!(memory.as_ref().iter().all(|byte| *byte == 0), "memory that nobody has written");
        }
    }
}

/// A connection, with memory that is as it should be, too small, no memory, or not there.
fn passed(choice: usize) -> Passed {
    let (link, _) = Link::pair().expect("two descriptors");
    let memory = match choice % 4 {
        0 => Some(Memory::new(MEMORY).expect("memory").1),
        1 => Some(Memory::new(1).expect("memory").1),
        2 => {
            let scratch = Scratch::new("fuzz");
            let file = File::create_new(scratch.join("file")).expect("a scratch file");
            Some(Memory::of(Own::new(OwnedFd::from(file)).expect("a descriptor")))
        }
        _ => None,
    };
    (link, memory)
}

fn pair() -> (Link, UnixStream) {
    let (here, there) = UnixStream::pair().expect("two descriptors");
    (Link::new(OwnedFd::from(here)).expect("a descriptor"), there)
}

/// Nothing here waits: what is heard has been sent before.
fn due() -> Due {
    Some(Instant::now() + Duration::from_secs(20))
}
