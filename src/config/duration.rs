//! Durations as Go's `time.ParseDuration` reads them, and days.

use super::Expected;
use std::time::Duration;

/// What Go's `time.Duration` can hold: about 292 years.
const MAX_NANOS: u128 = i64::MAX as u128;

/// The longest first, so that `ms` is not read as `m`. Both spellings of the micro sign, as in Go.
const UNITS: [(&str, u128); 9] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// Reads `300ms`, `90s`, `1h30m`, `1.5h`, `7d`, `1d12h` and `0`. A day is 24 hours. No sign: a span is no direction.
///
/// # Errors
/// What is expected instead.
pub fn parse(text: &str) -> Result<Duration, Expected> {
    let expected = || match text.parse::<i64>() {
        // In the reference's YAML, a number alone counted nanoseconds.
        Ok(nanos @ 1_000_000_000..) => {
            let meant = written(Duration::from_nanos(nanos.unsigned_abs()));
            Expected::new(format!("a duration with its unit, such as {meant} for as many nanoseconds"))
        }
        Ok(number @ 1..) => Expected::new(format!("a duration with its unit, such as {number}s or {number}m")),
        _ => Expected::new("a duration such as 90s, 1h30m or 7d"),
    };
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.is_empty() {
        return Err(expected());
    }
    let too_long = || Expected::new("a duration of at most 106751d");
    let (mut rest, mut total) = (text, 0u128);
    while !rest.is_empty() {
        let whole = digits(&mut rest);
        let fraction = if let Some(after) = rest.strip_prefix('.') {
            rest = after;
            digits(&mut rest)
        } else {
            ""
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(expected());
        }
        let (unit, nanos) = UNITS.iter().find(|(unit, _)| rest.starts_with(unit)).ok_or_else(expected)?;
        rest = rest.get(unit.len()..).unwrap_or_default();
        let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().map_err(|_| too_long())? };
        total += u128::from(whole) * nanos + part(fraction, *nanos);
        if total > MAX_NANOS {
            return Err(too_long());
        }
    }
    u64::try_from(total).map(Duration::from_nanos).map_err(|_| too_long())
}

/// Takes the digits from the front.
fn digits<'a>(rest: &mut &'a str) -> &'a str {
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, after) = rest.split_at(end);
    *rest = after;
    digits
}

/// A decimal fraction of a unit, cut off at the nanosecond. Digits beyond the 18th are less than that in every unit.
fn part(fraction: &str, unit: u128) -> u128 {
    let (mut value, mut scale) = (0u128, 1u128);
    for digit in fraction.bytes().take(18) {
        value = value * 10 + u128::from(digit - b'0');
        scale *= 10;
    }
    value * unit / scale
}

/// The shortest form that reads back as the same: `1h30m`, `7d`, `300ms`; `0s` for nothing.
#[must_use]
pub fn written(duration: Duration) -> String {
    let (mut seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
    let mut text = String::new();
    for (unit, length) in [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)] {
        if seconds >= length {
            text.push_str(&format!("{}{unit}", seconds / length));
            seconds %= length;
        }
    }
    match nanos {
        0 => {}
        _ if nanos % 1_000_000 == 0 => text.push_str(&format!("{}ms", nanos / 1_000_000)),
        _ if nanos % 1_000 == 0 => text.push_str(&format!("{}us", nanos / 1_000)),
        _ => text.push_str(&format!("{nanos}ns")),
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_as_go_reads_them_and_days() {
        for (text, nanos) in [
            ("0", 0),
            ("0s", 0),
            ("1ns", 1),
            ("1us", 1_000),
            ("1\u{b5}s", 1_000),
            ("1\u{3bc}s", 1_000),
            ("300ms", 300_000_000),
            ("90s", 90_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("1h1h", 7_200_000_000_000),
            ("7d", 604_800_000_000_000),
            ("1d12h", 129_600_000_000_000),
            ("0.3333333333333333333h", 1_200_000_000_000 - 1),
            ("9223372036854775807ns", i64::MAX as u64),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration() {
        for text in [
            "",
            "1",
            "60",
            "s",
            ".s",
            ".",
            "1 h",
            " 1h",
            "1h ",
            "1 hour",
            "1hour",
            "-1h",
            "+1h",
            "1w",
            "1h30",
            "1e3s",
            "1_000s",
            "1H",
            "\u{661}s",
            "9223372036854775808ns",
            "300y",
            "106752d",
            "99999999999999999999999999h",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_written_short() {
        for (text, short) in [
            ("90s", "1m30s"),
            ("1.5h", "1h30m"),
            ("168h", "7d"),
            ("0.3s", "300ms"),
            ("0", "0s"),
            ("1.0005s", "1s500us"),
        ] {
            assert_eq!(written(parse(text).unwrap()), short);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(nanos in 0..=i64::MAX as u64) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(parse(&written(duration)), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,30}|[0-9.nuµmshd]{0,60}") {
            if let Ok(duration) = parse(&text) {
                prop_assert_eq!(parse(&written(duration)), Ok(duration));
            }
        }
    }
}
