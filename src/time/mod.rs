//! Points in time as whole Unix seconds, and how they are written for people.
//!
//! Tokens carry NumericDates (RFC 7519, section 2), Kubernetes writes RFC 3339, people read UTC. Everything below the
//! edges of the program takes `now` as an argument; [`UnixSeconds::now`] is for those edges alone.

mod http_date;
mod words;

pub use words::{date, expiry, from_now, minute, span};

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// Whole seconds since 1970-01-01T00:00:00Z, leap seconds not counted; negative before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixSeconds(pub i64);

const SECONDS_PER_DAY: i64 = 86_400;

impl UnixSeconds {
    /// The system's clock. Floor 2 (decoding, observing, encoding) never calls this: it is handed the time.
    #[must_use]
    pub fn now() -> Self {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => Self(i64::try_from(since.as_secs()).unwrap_or(i64::MAX)),
            Err(before) => Self(-i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX)),
        }
    }

    /// Seconds from `earlier` until `self`; negative if `self` comes first. Saturates at the ends of `i64`.
    #[must_use]
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// `self` plus `seconds`, saturating.
    #[must_use]
    pub fn plus(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// Reads an RFC 3339 date-time such as `2026-11-22T01:02:03Z` or `2026-11-22T01:02:03.5+02:00`; the fraction is cut
    /// off. `None` for anything else, and for dates that do not exist.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let number = |from: usize, to: usize| -> Option<i64> {
            let digits = bytes.get(from..to)?;
            digits
                .iter()
                .try_fold(0i64, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
        };
        let is = |at: usize, wanted: &[u8]| bytes.get(at).is_some_and(|byte| wanted.contains(byte));
        if !(is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":")) {
            return None;
        }
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
            return None;
        }
        // 60 is a leap second; POSIX time gives it the number of the second that follows.
        if hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let mut at = 19;
        if is(at, b".") {
            at += 1;
            let first = at;
            while bytes.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
            if at == first {
                return None;
            }
        }
        let offset = if is(at, b"Zz") {
            (at + 1 == bytes.len()).then_some(0)?
        } else if is(at, b"+-") && is(at + 3, b":") && at + 6 == bytes.len() {
            let (hours, minutes) = (number(at + 1, at + 3)?, number(at + 4, at + 6)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = hours * 3600 + minutes * 60;
            if is(at, b"-") { -seconds } else { seconds }
        } else {
            return None;
        };
        Some(Self(days_from_civil(year, month, day) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second - offset))
    }
}

/// `2026-11-22T01:02:03Z`; years beyond 9999 keep all their digits.
impl fmt::Display for UnixSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, seconds) = (self.0.div_euclid(SECONDS_PER_DAY), self.0.rem_euclid(SECONDS_PER_DAY));
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar. The year is turned so that it begins in March:
/// the leap day is then its last day, and months have a regular length.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days.saturating_add(719_468);
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_dates() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (1_300_819_380, "2011-03-22T18:43:00Z"), // `exp` of RFC 7519, section 3.1
            (951_782_400, "2000-02-29T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
            (-62_135_596_800, "0001-01-01T00:00:00Z"),
        ] {
            assert_eq!(UnixSeconds(seconds).to_string(), text);
            assert_eq!(UnixSeconds::parse_rfc3339(text), Some(UnixSeconds(seconds)), "{text}");
        }
    }

    #[test]
    fn offsets_and_fractions() {
        for (text, seconds) in
            [("1970-01-01T02:00:00+02:00", 0), ("1969-12-31T22:30:00.999999-01:30", 0), ("1970-01-01t00:00:01z", 1)]
        {
            assert_eq!(UnixSeconds::parse_rfc3339(text), Some(UnixSeconds(seconds)), "{text}");
        }
    }

    #[test]
    fn what_is_no_date() {
        for text in [
            "",
            "2026",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+0200",
            "2026-01-01T00:00:00Zz",
            "2026-01-01T00:00:é0Z",
        ] {
            assert_eq!(UnixSeconds::parse_rfc3339(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn display_then_parse_is_identity(seconds in -62_167_219_200i64..253_402_300_800) {
            let at = UnixSeconds(seconds);
            prop_assert_eq!(UnixSeconds::parse_rfc3339(&at.to_string()), Some(at));
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = UnixSeconds::parse_rfc3339(&text);
        }

        #[test]
        fn every_instant_can_be_written(seconds in any::<i64>()) {
            let _ = UnixSeconds(seconds).to_string();
        }
    }
}
