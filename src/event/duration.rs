//! Durations as people write them: `24days`, `1h30m`, `2 weeks`.

use super::Malformed;
use std::time::Duration;

/// The units of the contract; `humantime` knows more, whose meaning would surprise (`M` is a month).
const UNITS: &[&str] = &[
    "ms", "s", "sec", "second", "seconds", "m", "min", "minute", "minutes", "h", "hour", "hours", "d", "day", "days",
    "w", "week", "weeks",
];

/// Numbers with units `ms s sec second(s) m min minute(s) h hour(s) d day(s) w week(s)`, combinable,
/// spaces optional.
///
/// # Errors
/// When a unit is missing or unknown, or the sum is too large to count.
pub fn parse_duration(text: &str) -> Result<Duration, Malformed> {
    let malformed = || {
        Malformed::new(
            "a duration is numbers with units s, m, h, d, w or their long names, e.g. \"24days\", \"1h30m\", \"2 weeks\"",
        )
    };
    let known = text
        .split(|c: char| c.is_ascii_digit() || c == ' ')
        .filter(|unit| !unit.is_empty())
        .all(|unit| UNITS.contains(&unit));
    // `humantime` reads a bare 0.
    if !known || text == "0" {
        return Err(malformed());
    }
    humantime::parse_duration(text).map_err(|_| malformed())
}

/// A duration as [`parse_duration`] reads it back, e.g. `1h 30m`; parts below a millisecond are cut.
pub fn format_duration(duration: Duration) -> String {
    let mut left = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut out = String::new();
    for (unit, size) in [("days", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
        if left >= size {
            out.push_str(&format!("{}{unit}", left / size));
            left %= size;
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_units_of_the_contract_are_read() {
        for (text, seconds) in [
            ("24days", 24 * 86_400),
            ("1h30m", 5400),
            ("2 weeks", 14 * 86_400),
            ("1 day 2 hours", 93_600),
            ("90s", 90),
            ("5min", 300),
            ("1w", 604_800),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
    }

    #[test]
    fn other_units_and_shapes_are_refused() {
        for bad in [
            "",
            " ",
            "5",
            "0",
            "0 ",
            "1h5",
            "days",
            "1M",
            "1y",
            "1month",
            "1us",
            "-1s",
            "1.5h",
            "1 s s",
            "5 dayz",
            "9999999999999999999d",
        ] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(ms in 0u64..10_000_000_000_000) {
            let duration = Duration::from_millis(ms);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = parse_duration(&text);
        }
    }
}
