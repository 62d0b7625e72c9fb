//! Points and spans of time in words, for a terminal and for a browser.

use super::UnixSeconds;

/// `3 d 4 h`: the two largest units of a span. A year has 365 days.
#[must_use]
pub fn span(seconds: u64) -> String {
    const UNITS: [(u64, &str); 5] = [(365 * 86_400, "y"), (86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let first = UNITS.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(UNITS.len() - 1);
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (unit, name) in UNITS.iter().skip(first).take(2) {
        if rest >= *unit || parts.is_empty() {
            parts.push(format!("{} {name}", rest / unit));
        }
        rest %= unit;
    }
    parts.join(" ")
}

/// `in 3 d 4 h`, `2 h ago`, `now`.
#[must_use]
pub fn from_now(at: UnixSeconds, now: UnixSeconds) -> String {
    match at.since(now) {
        0 => "now".to_owned(),
        ahead @ 1.. => format!("in {}", span(ahead.unsigned_abs())),
        behind => format!("{} ago", span(behind.unsigned_abs())),
    }
}

/// When something expires: `in 3 d 4 h`, `expired 2 h ago`, `never`.
#[must_use]
pub fn expiry(expires: Option<UnixSeconds>, now: UnixSeconds) -> String {
    match expires {
        None => "never".to_owned(),
        Some(at) if at > now => from_now(at, now),
        Some(at) if at == now => "expired now".to_owned(),
        Some(at) => format!("expired {}", from_now(at, now)),
    }
}

/// `2026-11-22 04:30:00 UTC`
#[must_use]
pub fn date(at: UnixSeconds) -> String {
    at.to_string().replacen('T', " ", 1).replacen('Z', " UTC", 1)
}

/// `2026-11-22 04:30`, for columns whose heading says UTC.
#[must_use]
pub fn minute(at: UnixSeconds) -> String {
    let text = at.to_string().replacen('T', " ", 1);
    text.get(..text.len().saturating_sub(4)).unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3599, "59 min 59 s"),
            (7200, "2 h"),
            (273_600, "3 d 4 h"),
            (86_400, "1 d"),
            (86_459, "1 d"),
            (10 * 365 * 86_400 + 3 * 86_400, "10 y 3 d"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn dates_in_words() {
        let now = UnixSeconds(1_795_321_800);
        assert_eq!(date(now), "2026-11-22 04:30:00 UTC");
        assert_eq!(minute(now), "2026-11-22 04:30");
        for (ahead, text) in [(273_600, "in 3 d 4 h"), (-7200, "expired 2 h ago"), (0, "expired now"), (1, "in 1 s")] {
            assert_eq!(expiry(Some(now.plus(ahead)), now), text);
        }
        assert_eq!(expiry(None, now), "never");
        let _ = (expiry(Some(UnixSeconds(i64::MIN)), now), minute(UnixSeconds(i64::MAX)));
    }
}
