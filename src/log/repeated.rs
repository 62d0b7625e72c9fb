//! Something that fails again and again: told when it begins, summed up more and more seldom, and its end is told with the sum.

use std::fmt;
use std::time::{Duration, Instant};

/// So long after the beginning it is summed up for the first time, then after three times as long, and so on.
const FIRST_SUMMARY: Duration = Duration::from_secs(5 * 60);

/// But at least so often.
const LONGEST_SILENCE: Duration = Duration::from_secs(24 * 3600);

/// What is known of the failures in a row.
#[derive(Debug, Default)]
pub struct Repeated {
    since: Option<Instant>,
    sum: Sum,
    /// The reasons that were told.
    told: Vec<&'static str>,
    next_summary: Duration,
}

/// Failures in a row, and how long they have gone on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many.
    pub tries: u32,
    /// From the first one on.
    pub lasted: Duration,
}

/// How one more failure is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// In full: it is the first for its reason.
    First,
    /// At debug level only.
    Again,
    /// In full, with the sum so far.
    Summary(Sum),
}

impl Repeated {
    /// One more failure. Messages may differ in a number; `reason` is what makes two failures the same.
    pub fn failed(&mut self, reason: &'static str, now: Instant) -> Telling {
        let since = *self.since.get_or_insert(now);
        self.sum = Sum { tries: self.sum.tries.saturating_add(1), lasted: now.saturating_duration_since(since) };
        if self.told.is_empty() {
            self.next_summary = FIRST_SUMMARY;
        }
        if !self.told.contains(&reason) {
            self.told.push(reason);
            return Telling::First;
        }
        if self.sum.lasted < self.next_summary {
            return Telling::Again;
        }
        let lasted = self.sum.lasted;
        self.next_summary = lasted.saturating_mul(3).min(lasted.saturating_add(LONGEST_SILENCE));
        Telling::Summary(self.sum)
    }

    /// It works. What the failures before amounted to, if there were any.
    pub fn ended(&mut self, now: Instant) -> Option<Sum> {
        let since = self.since?;
        let tries = std::mem::take(self).sum.tries;
        Some(Sum { tries, lasted: now.saturating_duration_since(since) })
    }

    /// How many there are up to now.
    #[must_use]
    pub fn tries(&self) -> u32 {
        self.sum.tries
    }
}

/// `12 failures in 5 m`.
impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.lasted.as_secs();
        let (count, unit) = match seconds {
            0..120 => (seconds, "s"),
            120..7_200 => (seconds / 60, "m"),
            7_200..172_800 => (seconds / 3_600, "h"),
            _ => (seconds / 86_400, "d"),
        };
        let failures = if self.tries == 1 { "failure" } else { "failures" };
        write!(f, "{} {failures} in {count} {unit}", self.tries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_outage_is_a_few_lines() {
        let begin = Instant::now();
        let mut repeated = Repeated::default();
        let mut told = Vec::new();
        // A week, a try every ten seconds, for two reasons that alternate.
        for second in (0..7 * 86_400).step_by(10) {
            let reason = if second % 20 == 0 { "connect" } else { "timeout" };
            match repeated.failed(reason, begin + Duration::from_secs(second)) {
                Telling::First => told.push(reason.to_owned()),
                Telling::Again => {}
                Telling::Summary(sum) => told.push(sum.to_string()),
            }
        }
        let wanted = [
            "connect",
            "timeout",
            "31 failures in 5 m",
            "91 failures in 15 m",
            "271 failures in 45 m",
            "811 failures in 2 h",
        ];
        assert_eq!(told[..6], wanted);
        assert_eq!(told.len(), 14, "{told:?}");
        assert_eq!(told[13], "59131 failures in 6 d");
        let ended = repeated.ended(begin + Duration::from_secs(7 * 86_400)).unwrap();
        assert_eq!(ended.to_string(), "60480 failures in 7 d");
        assert_eq!(repeated.ended(begin), None);
        assert_eq!(repeated.failed("connect", begin), Telling::First, "the next outage is another");
    }
}
