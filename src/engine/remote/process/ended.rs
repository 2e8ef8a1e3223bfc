//! How a process has ended, as far as the system says.

use std::fmt;

/// The end of a process that nobody here has killed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::engine::remote) enum Ended {
    /// It ended by itself with this code.
    Code(i32),
    /// By this signal.
    #[cfg(unix)]
    Signal(i32),
    /// By this exception of Windows'.
    #[cfg_attr(not(windows), allow(dead_code, reason = "no process ends so here"))]
    Exception(u32),
}

impl Ended {
    /// The number, for an error's `native`.
    pub(in crate::engine::remote) fn number(self) -> i64 {
        match self {
            Ended::Code(code) => code.into(),
            #[cfg(unix)]
            Ended::Signal(signal) => signal.into(),
            Ended::Exception(code) => code.into(),
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Code(code) => write!(f, "with code {code}"),
            #[cfg(unix)]
            Ended::Signal(signal) => match nix::sys::signal::Signal::try_from(*signal) {
                Ok(known) => write!(f, "by signal {signal}, {}", known.as_str()),
                Err(_) => write!(f, "by signal {signal}"),
            },
            Ended::Exception(code) => match exception(*code) {
                Some(name) => write!(f, "by {name}, 0x{code:08X}"),
                None => write!(f, "by the exception 0x{code:08X}"),
            },
        }
    }
}

/// What Windows' codes mean that a driver's faults, and a worker that does not start, give.
fn exception(code: u32) -> Option<&'static str> {
    Some(match code {
        0x8000_0003 => "a breakpoint, as of an assertion",
        0xC000_0005 => "an access violation",
        0xC000_0006 => "a page that could not be read",
        0xC000_0017 | 0xC000_012D => "a lack of memory",
        0xC000_001D => "an illegal instruction",
        0xC000_008C..=0xC000_0093 => "a fault of floating-point arithmetic",
        0xC000_0094 => "a division by zero",
        0xC000_00FD => "a stack overflow",
        0xC000_0135 => "a DLL that is missing",
        0xC000_0139 => "a function that is missing in a DLL",
        0xC000_013A => "Ctrl-C or the end of the session",
        0xC000_0142 => "a DLL that did not start",
        0xC000_0374 => "a corrupted heap",
        0xC000_0409 => "an abort, or a corrupted stack",
        0xE06D_7363 => "an exception of C++ that nothing caught",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_says_what_it_was() {
        assert_eq!(Ended::Code(2).to_string(), "with code 2");
        assert_eq!(Ended::Exception(0xC000_0005).to_string(), "by an access violation, 0xC0000005");
        assert_eq!(Ended::Exception(0xC123_4567).to_string(), "by the exception 0xC1234567");
        assert_eq!(Ended::Exception(0xC000_0409).number(), 0xC000_0409);
        #[cfg(unix)]
        {
            assert_eq!(Ended::Signal(libc::SIGSEGV).to_string(), "by signal 11, SIGSEGV");
            assert_eq!(Ended::Signal(60).to_string(), "by signal 60");
        }
    }
}
