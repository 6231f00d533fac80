//! Slices of time: how a feed is cut.

use super::{Malformed, Millis, parse_duration};
use chrono::{DateTime, Datelike, Days, Months, NaiveDate};
use std::fmt;
use std::str::FromStr;

const LONGEST_MS: Millis = 366 * 86_400_000;

/// A way of cutting time: a calendar unit, or a multiple of a fixed unit aligned to the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    text: String,
    cut: Cut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Every(Millis),
    IsoWeek,
    Month,
}

/// One slice: from `start` up to, not including, `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// First millisecond of the slice.
    pub start: Millis,
    /// First millisecond after the slice.
    pub end: Millis,
}

impl Slice {
    /// The slice that holds `at`; `None` outside the calendar (years before 0 or after 9999).
    pub fn at(&self, at: Millis) -> Option<Bounds> {
        // Outside chrono's calendar there is nothing to align, and the arithmetic below would overflow.
        date(at)?;
        let bounds = match self.cut {
            Cut::Every(ms) => {
                let start = at.div_euclid(ms) * ms;
                Bounds { start, end: start + ms }
            }
            Cut::IsoWeek => {
                let date = date(at)?;
                let monday = date.checked_sub_days(Days::new(u64::from(date.weekday().num_days_from_monday())))?;
                Bounds { start: midnight(monday)?, end: midnight(monday.checked_add_days(Days::new(7))?)? }
            }
            Cut::Month => {
                let first = date(at)?.with_day(1)?;
                Bounds { start: midnight(first)?, end: midnight(first.checked_add_months(Months::new(1))?)? }
            }
        };
        let writable = date(bounds.start)?.year() >= 0 && date(bounds.end)?.year() <= 9999;
        writable.then_some(bounds)
    }

    /// As it stands in a URL.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn date(at: Millis) -> Option<NaiveDate> {
    DateTime::from_timestamp_millis(at).map(|at| at.date_naive())
}

fn midnight(date: NaiveDate) -> Option<Millis> {
    Some(date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis())
}

impl FromStr for Slice {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let malformed = || {
            Malformed::new(
                "a slice is minute, hour, day, week, month, or a whole number and a unit such as 15minutes or 6hours, at most 366 days",
            )
        };
        let cut = match text {
            "minute" => Cut::Every(60_000),
            "hour" => Cut::Every(3_600_000),
            "day" => Cut::Every(86_400_000),
            "week" => Cut::IsoWeek,
            "month" => Cut::Month,
            other => {
                // One number and one unit: a combination such as 1h30m has no name a person would look for.
                let unit = other.trim_start_matches(|c: char| c.is_ascii_digit());
                let plain = unit.len() < other.len() && unit.bytes().all(|b| b.is_ascii_lowercase()) && unit != "ms";
                let duration = plain.then(|| parse_duration(other)).ok_or_else(malformed)?.map_err(|_| malformed())?;
                let ms = Millis::try_from(duration.as_millis()).map_err(|_| malformed())?;
                if ms == 0 || ms > LONGEST_MS {
                    return Err(malformed());
                }
                Cut::Every(ms)
            }
        };
        Ok(Self { text: text.to_owned(), cut })
    }
}

impl fmt::Display for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{parse_instant, rfc3339};
    use super::*;
    use proptest::prelude::*;

    fn cut(slice: &str, at: &str) -> (String, String) {
        let bounds = slice.parse::<Slice>().unwrap().at(parse_instant(at).unwrap()).unwrap();
        (rfc3339(bounds.start), rfc3339(bounds.end))
    }

    #[test]
    fn slices_are_aligned() {
        let at = "2024-02-29T13:47:12.345Z";
        for (slice, start, end) in [
            ("minute", "2024-02-29T13:47:00.000Z", "2024-02-29T13:48:00.000Z"),
            ("hour", "2024-02-29T13:00:00.000Z", "2024-02-29T14:00:00.000Z"),
            ("day", "2024-02-29T00:00:00.000Z", "2024-03-01T00:00:00.000Z"),
            ("week", "2024-02-26T00:00:00.000Z", "2024-03-04T00:00:00.000Z"),
            ("month", "2024-02-01T00:00:00.000Z", "2024-03-01T00:00:00.000Z"),
            ("15minutes", "2024-02-29T13:45:00.000Z", "2024-02-29T14:00:00.000Z"),
            ("6hours", "2024-02-29T12:00:00.000Z", "2024-02-29T18:00:00.000Z"),
        ] {
            assert_eq!(cut(slice, at), (start.to_owned(), end.to_owned()), "{slice}");
        }
    }

    #[test]
    fn a_week_over_new_year_is_one_week() {
        assert_eq!(cut("week", "2020-12-31T00:00:00Z").0, "2020-12-28T00:00:00.000Z");
        assert_eq!(cut("week", "2021-01-03T23:59:59.999Z").0, "2020-12-28T00:00:00.000Z");
    }

    #[test]
    fn other_slices_are_refused() {
        for bad in [
            "",
            "hours",
            "0hours",
            "1.5h",
            "1h30m",
            "year",
            "-1h",
            "367days",
            "53weeks",
            "15",
            "1 hour",
            "5ms",
            "1000ms",
            "99999999999999999999s",
            "Hour",
        ] {
            assert!(bad.parse::<Slice>().is_err(), "{bad}");
        }
        assert!("366days".parse::<Slice>().is_ok());
    }

    proptest! {
        #[test]
        fn slices_tile_time(
            slice in prop::sample::select(vec!["minute", "hour", "day", "week", "month", "7m", "11hours", "366days"]),
            at in 0i64..4_000_000_000_000,
        ) {
            let slice: Slice = slice.parse().unwrap();
            let bounds = slice.at(at).unwrap();
            prop_assert!(bounds.start <= at && at < bounds.end);
            prop_assert_eq!(slice.at(bounds.start), Some(bounds));
            prop_assert_eq!(slice.at(bounds.end - 1), Some(bounds));
            prop_assert_eq!(slice.at(bounds.end).unwrap().start, bounds.end);
        }

        #[test]
        fn no_instant_panics(at in any::<i64>()) {
            for slice in ["week", "month"] {
                let _ = slice.parse::<Slice>().unwrap().at(at);
            }
        }
    }
}
