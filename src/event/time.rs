//! Instants: Unix milliseconds inside, RFC 3339 in UTC with milliseconds outside.

use super::Malformed;
use chrono::DateTime;

/// Milliseconds since 1970-01-01T00:00:00Z; an instant or a span.
pub type Millis = i64;

/// Hours since 1970: the grain in which events are stored and given back.
pub fn hour_of(ms: Millis) -> i64 {
    ms.div_euclid(3_600_000)
}

/// Appends `2018-02-01T11:12:01.000Z`.
///
/// By hand, since a feed writes a thousand of them and a general formatter is ten times slower.
/// Years outside 0–9999 (which no stored event has) are clamped.
pub fn write_rfc3339(ms: Millis, out: &mut Vec<u8>) {
    const FIRST: Millis = -62_167_219_200_000;
    const LAST: Millis = 253_402_300_799_999;
    let ms = ms.clamp(FIRST, LAST);
    let (days, in_day) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    let (year, month, day) = civil(days);
    let mut text = *b"0000-00-00T00:00:00.000Z";
    put(&mut text[0..4], year);
    put(&mut text[5..7], month);
    put(&mut text[8..10], day);
    put(&mut text[11..13], in_day / 3_600_000);
    put(&mut text[14..16], in_day / 60_000 % 60);
    put(&mut text[17..19], in_day / 1000 % 60);
    put(&mut text[20..23], in_day % 1000);
    out.extend_from_slice(&text);
}

/// `2018-02-01T11:12:01.000Z`.
pub fn rfc3339(ms: Millis) -> String {
    let mut out = Vec::with_capacity(24);
    write_rfc3339(ms, &mut out);
    // Only ASCII was written.
    String::from_utf8(out).unwrap_or_default()
}

/// Reads an RFC 3339 instant with any offset; parts below a millisecond are cut.
///
/// # Errors
/// When it is not RFC 3339.
pub fn parse_instant(text: &str) -> Result<Millis, Malformed> {
    DateTime::parse_from_rfc3339(text)
        .map(|at| at.timestamp_millis())
        .map_err(|_| Malformed::new("an instant is RFC 3339, e.g. 2018-02-01T11:12:01.000Z"))
}

fn put(digits: &mut [u8], mut value: i64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Year, month and day of a count of days since 1970, in the proleptic Gregorian calendar
/// (the days-to-civil algorithm: eras of 400 years, years from March).
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let of_era = z.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_contracts_form() {
        assert_eq!(rfc3339(1_517_483_521_000), "2018-02-01T11:12:01.000Z");
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(parse_instant("2018-02-01T12:12:01.0009+01:00"), Ok(1_517_483_521_000));
        assert!(parse_instant("2018-02-01").is_err());
        assert!(parse_instant("yesterday").is_err());
    }

    proptest! {
        #[test]
        fn written_as_chrono_writes_it(ms in -62_000_000_000_000i64..253_402_300_799_999) {
            let chrono = chrono::DateTime::from_timestamp_millis(ms).unwrap();
            prop_assert_eq!(rfc3339(ms), chrono.to_rfc3339_opts(chrono::SecondsFormat::Millis, true));
            prop_assert_eq!(parse_instant(&rfc3339(ms)), Ok(ms));
        }
    }
}
