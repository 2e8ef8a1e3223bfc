//! A process that runs, or has ended, and how long that is waited for.

#![allow(unsafe_code)]

use std::os::windows::io::OwnedHandle;
use std::sync::Arc;
use std::time::Duration;

use windows_sys::Win32::Foundation::{HANDLE, WAIT_TIMEOUT};
use windows_sys::Win32::System::Threading::{GetExitCodeProcess, INFINITE, WaitForSingleObject};

use super::handle::Kept;

/// A process that was started here, until nobody holds this any more; then it may go on by itself.
#[derive(Clone, Debug)]
pub struct Running(Arc<Kept>);

impl Running {
    pub(super) fn new(process: OwnedHandle) -> Running {
        Running(Arc::new(Kept::new(process)))
    }

    pub(super) fn raw(&self) -> HANDLE {
        self.0.raw()
    }

    /// Waits until it has ended, at most so long. Whether it has.
    pub fn ended_within(&self, time: Duration) -> bool {
        // SAFETY: a live handle.
        unsafe { WaitForSingleObject(self.raw(), milliseconds(Some(time))) != WAIT_TIMEOUT }
    }

    /// What it has answered; None: it runs.
    pub fn exit_code(&self) -> Option<u32> {
        let mut code = 0;
        // SAFETY: a live handle; one number is written.
        let found = self.ended_within(Duration::ZERO) && unsafe { GetExitCodeProcess(self.raw(), &mut code) } != 0;
        found.then_some(code)
    }
}

/// As the system counts, rounded up; None: for ever.
pub(super) fn milliseconds(time: Option<Duration>) -> u32 {
    time.map_or(INFINITE, |time| time.as_nanos().div_ceil(1_000_000).min(u128::from(INFINITE - 1)) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_rounded_up() {
        assert_eq!(milliseconds(None), INFINITE);
        assert_eq!(milliseconds(Some(Duration::ZERO)), 0);
        assert_eq!(milliseconds(Some(Duration::from_nanos(1))), 1);
        assert_eq!(milliseconds(Some(Duration::from_secs(u64::MAX))), INFINITE - 1);
    }
}
