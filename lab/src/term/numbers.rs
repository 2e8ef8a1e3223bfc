//! Numbers for people.

/// Three decimals at most, none where there are none.
pub(crate) fn decimals(value: f64) -> String {
    format!("{value:.3}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Three digits and a prefix: 21.7 M.
pub(crate) fn prefixed(value: f64) -> String {
    let prefixes = [(1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")];
    let (scale, prefix) = prefixes.into_iter().find(|(scale, _)| value >= *scale).unwrap_or((1.0, ""));
    let value = value / scale;
    let decimals = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.decimals$}{prefix}")
}

/// The size of a file: 4604 bytes, 61 kB, 12 MB.
pub(crate) fn bytes(count: u64) -> String {
    match count {
        0..10_000 => format!("{count} bytes"),
        10_000..10_000_000 => format!("{} kB", count / 1000),
        _ => format!("{} MB", count / 1_000_000),
    }
}

/// Seconds as h:mm:ss, or m:ss.
pub(crate) fn clock(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_is_readable() {
        assert_eq!((clock(59.6).as_str(), clock(3661.0).as_str(), clock(0.0).as_str()), ("1:00", "1:01:01", "0:00"));
    }

    #[test]
    fn no_more_digits_than_say_something() {
        assert_eq!([0.5, 2.0, 0.653_4].map(decimals), ["0.5", "2", "0.653"]);
        assert_eq!([33.0, 131_072.0, 21_700_000.0].map(prefixed), ["33.0", "131 k", "21.7 M"]);
        assert_eq!([9_999, 61_500, 12_345_678].map(bytes), ["9999 bytes", "61 kB", "12 MB"]);
    }
}
