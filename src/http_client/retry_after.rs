//! How long a server wants to be left alone.

use super::Response;
use crate::time::UnixSeconds;
use std::time::Duration;

impl Response {
    /// `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date that lies ahead. Whoever waits bounds it.
    #[must_use]
    pub fn retry_after(&self, now: UnixSeconds) -> Option<Duration> {
        self.header("retry-after").and_then(|value| wait(value.trim(), now))
    }
}

fn wait(value: &str, now: UnixSeconds) -> Option<Duration> {
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More than a number holds is for ever.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let at = UnixSeconds::parse_http_date(value, now)?;
    u64::try_from(at.since(now)).ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_or_a_date() {
        let now = UnixSeconds(784_111_770);
        for (value, seconds) in [
            ("7", Some(7)),
            ("0", Some(0)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(7)),
            ("Sun Nov  6 08:49:37 1994", Some(7)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", None),
            ("soon", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("", None),
        ] {
            assert_eq!(wait(value, now), seconds.map(Duration::from_secs), "{value}");
        }
    }
}
