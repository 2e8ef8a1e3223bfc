//! Who writes: this machine's name, and whether a process of it still runs.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// Letters of a host's name in the name of a draft.
const MOST: usize = 32;

/// This machine's name, as far as it can be part of a file's name.
pub(crate) fn host() -> &'static str {
    static HOST: OnceLock<String> = OnceLock::new();
    HOST.get_or_init(|| {
        let name = node();
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let plain: String = name.chars().take(MOST).map(plain).collect();
        if plain.is_empty() { "unnamed".to_owned() } else { plain }
    })
}

#[cfg(unix)]
fn node() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(not(unix))]
fn node() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}

/// Whether a process with this number runs on this machine. Where that cannot be asked, the locks alone decide.
pub(crate) fn runs(process: u32) -> bool {
    #[cfg(unix)]
    {
        let known = i32::try_from(process).ok().and_then(rustix::process::Pid::from_raw);
        known.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
    }
    #[cfg(not(unix))]
    {
        let _ = process;
        false
    }
}

/// The text of a lock file: who holds it, and since when. It informs; the operating system's lock decides.
pub(crate) fn signature() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    format!("process {} on {} since {}", std::process::id(), host(), utc(now))
}

/// Seconds since 1970 as a date and a time.
fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Years begin in March here, so that a leap day ends one (H. Hinnant, "chrono-compatible low-level date algorithms").
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = year + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The dates are those of `date -u -d @SECONDS`.
    #[test]
    fn times_are_those_of_the_calendar() {
        let known = [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (951_868_800, "2000-03-01 00:00:00 UTC"),
            (1_798_761_599, "2026-12-31 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ];
        known.iter().for_each(|(seconds, text)| assert_eq!(utc(*seconds), *text));
    }

    #[cfg(unix)]
    #[test]
    fn this_process_runs_and_one_that_has_ended_does_not() {
        assert!(runs(std::process::id()));
        assert!(!runs(crate::scratch::ended_process()));
    }
}
