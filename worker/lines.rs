//! Log lines on their way to the host.

use std::ffi::CStr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use coverslip_wire::control::{LINES, LogLine};
use coverslip_wire::frame::Kind;
use coverslip_wire::{Broken, Link, Transport};

/// Time for the host to read what it is waiting for.
const PATIENCE: Duration = Duration::from_secs(30);

/// The end of the control connection that is written to.
pub(crate) struct Speaker {
    control: Mutex<Link>,
    left: AtomicI32,
}

impl Speaker {
    pub(crate) fn new(control: Link) -> Arc<Speaker> {
        Arc::new(Speaker { control: Mutex::new(control), left: AtomicI32::new(LINES as i32) })
    }

    pub(crate) fn say(&self, kind: Kind, payload: &[u8]) -> Result<(), Broken> {
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        control.send(kind, &[payload], Some(Instant::now() + PATIENCE))
    }

    /// Sends a line, or leaves it out where the host has not read the last ones: nobody waits for a log.
    pub(crate) fn line(&self, level: i32, line: &CStr) {
        if self.left.fetch_sub(1, Ordering::Relaxed) > 0 {
            // An error is the end of the host, which another thread sees.
            let _ = self.say(Kind::Log, &LogLine::write(level, line.to_bytes()));
        }
    }

    /// Writes what may be no frame.
    #[cfg(debug_assertions)]
    pub(crate) fn say_raw(&self, bytes: &[u8], patience: Duration) -> Result<(), Broken> {
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        control.send_raw(bytes, Some(Instant::now() + patience))
    }

    /// The host has read what there was.
    pub(crate) fn heard(&self) {
        self.left.store(LINES as i32, Ordering::Relaxed);
    }
}
