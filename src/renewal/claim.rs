//! The claim: an annotation on the Secret that says who is renewing its token, or when the next try may be.
//!
//! It is what replicas know of each other, and what a restarted one knows of its own failures: `HOLDER until TIME after N
//! failures`. A claim ends by itself, so that a holder that died blocks nobody for ever.

use crate::time::UnixSeconds;
use std::fmt;

/// The key of the annotation.
pub const ANNOTATION: &str = "jwt-exporter/renewal";

/// Who is at work, until when, and how often it went wrong before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// A name that no other process has; without white space.
    pub holder: String,
    /// From then on anybody may try.
    pub until: UnixSeconds,
    /// Failures in a row.
    pub failures: u32,
}

impl Claim {
    /// Reads the annotation. What is no claim of ours is none.
    #[must_use]
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let mut next = || words.next();
        let holder = next().filter(|holder| !holder.is_empty() && holder.len() <= 300)?;
        let until = next().filter(|word| *word == "until").and_then(|_| next()).and_then(UnixSeconds::parse_rfc3339)?;
        let failures = next().filter(|word| *word == "after").and_then(|_| next())?.parse().ok()?;
        let ends = next() == Some("failures") && next().is_none();
        ends.then(|| Self { holder: holder.to_owned(), until, failures })
    }

    /// Whether it still holds. A claim that would last longer than `longest` seconds from now is a mistake, of a clock or a
    /// hand, and holds nothing.
    #[must_use]
    pub(super) fn holds(&self, now: UnixSeconds, longest: i64) -> bool {
        (1..=longest).contains(&self.until.since(now))
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} until {} after {} failures", self.holder, self.until, self.failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_claim() {
        let good = "me until 2026-01-01T00:00:00Z after 3 failures";
        assert!(Claim::parse(good).is_some());
        for end in 0..good.len() {
            assert_eq!(Claim::parse(&good[..end]), None, "{}", &good[..end]);
        }
        for text in [
            &format!("{good} more"),
            "  until 2026-01-01T00:00:00Z after 3 failures",
            "me until soon after 3 failures",
            "me until 2026-01-01T00:00:00Z after -3 failures",
        ] {
            assert_eq!(Claim::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_claim_ends_and_one_without_measure_never_began() {
        let claim = Claim { holder: "x".into(), until: UnixSeconds(100), failures: 0 };
        for (now, holds) in [(99, true), (100, false), (101, false), (40, true), (39, false), (-1_000_000, false)] {
            assert_eq!(claim.holds(UnixSeconds(now), 60), holds, "{now}");
        }
    }

    proptest! {
        #[test]
        fn a_claim_reads_back(holder in "[a-z0-9./_-]{1,80}", until in 0i64..253_402_300_799, failures in any::<u32>()) {
            let claim = Claim { holder, until: UnixSeconds(until), failures };
            prop_assert_eq!(Claim::parse(&claim.to_string()), Some(claim));
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = Claim::parse(&text);
        }
    }
}
