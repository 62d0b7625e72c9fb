//! When a token is to be renewed, and how long to wait after a failure: arithmetic alone. Clock and chance are arguments.

use crate::time::UnixSeconds;

/// How long before its end a token is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeforeExpiry {
    /// So many seconds.
    Seconds(i64),
    /// So many ten-thousandths of its life: 20% is 2,000.
    Share(u16),
}

/// The dates of a token that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dates {
    /// `exp`
    pub expires: Option<UnixSeconds>,
    /// `iat`
    pub issued: Option<UnixSeconds>,
    /// `nbf`
    pub not_before: Option<UnixSeconds>,
}

impl Dates {
    /// Where its life begins: `iat`, else `nbf`, else when we saw it first. A date that is not before its end is none.
    fn begins(&self, expires: UnixSeconds, first_seen: UnixSeconds) -> UnixSeconds {
        let dates = [self.issued, self.not_before].into_iter().flatten();
        dates.chain([first_seen]).find(|begin| *begin < expires).unwrap_or(expires)
    }
}

/// When a token is to be renewed; `None` for one that never expires. `jitter` is from 0 (inclusive) to 1.
///
/// A `before_expiry` longer than half of the token's life counts as that half: else an endpoint that hands out short tokens
/// would be asked without end. Jitter makes it up to a tenth of that time earlier, at most ten minutes.
#[must_use]
pub(super) fn renew_at(
    dates: &Dates,
    first_seen: UnixSeconds,
    before: BeforeExpiry,
    jitter: f64,
) -> Option<UnixSeconds> {
    let expires = dates.expires?;
    let life = expires.since(dates.begins(expires, first_seen)).max(0);
    let wanted = match before {
        BeforeExpiry::Seconds(seconds) => seconds,
        BeforeExpiry::Share(share) => i64::try_from(i128::from(life) * i128::from(share) / 10_000).unwrap_or(life),
    };
    let ahead = wanted.min(life / 2);
    let earlier = part((ahead / 10).min(600), jitter);
    Some(expires.plus(-(ahead + earlier)))
}

/// How long to wait after so many failures in a row (one or more): between `first` and `most`, doubled each time, and of the
/// doubled time between a half and the whole. `chance` is from 0 (inclusive) to 1.
#[must_use]
pub(super) fn backoff(failures: u32, first: i64, most: i64, chance: f64) -> i64 {
    let doubled = first.saturating_mul(1 << failures.clamp(1, 32).saturating_sub(1)).min(most);
    let half = doubled / 2;
    (half + part(doubled - half, chance)).clamp(first.min(most), most)
}

/// A part of so many seconds.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)] // between 0 and `seconds`
fn part(seconds: i64, chance: f64) -> i64 {
    ((seconds as f64 * chance) as i64).clamp(0, seconds.max(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: i64 = 3600;

    fn at(expires: i64, issued: Option<i64>, not_before: Option<i64>) -> Dates {
        let seconds = |at: Option<i64>| at.map(UnixSeconds);
        Dates { expires: Some(UnixSeconds(expires)), issued: seconds(issued), not_before: seconds(not_before) }
    }

    fn due(dates: Dates, first_seen: i64, before: BeforeExpiry, jitter: f64) -> i64 {
        renew_at(&dates, UnixSeconds(first_seen), before, jitter).unwrap().0
    }

    #[test]
    fn a_duration_and_a_share_of_the_life() {
        let token = at(12 * HOUR, Some(0), None);
        assert_eq!(due(token, 0, BeforeExpiry::Seconds(HOUR), 0.0), 11 * HOUR);
        assert_eq!(due(token, 0, BeforeExpiry::Share(2_000), 0.0), 12 * HOUR * 8 / 10);
        assert_eq!(due(token, 0, BeforeExpiry::Seconds(HOUR), 0.5), 11 * HOUR - 180);
        let endless = Dates { expires: None, ..token };
        assert_eq!(renew_at(&endless, UnixSeconds(0), BeforeExpiry::Seconds(1), 0.0), None);
    }

    #[test]
    fn a_life_without_a_beginning_is_counted_from_nbf_or_from_when_we_saw_it() {
        let share = BeforeExpiry::Share(1_000);
        assert_eq!(due(at(1_000, None, Some(0)), 500, share, 0.0), 900);
        assert_eq!(due(at(1_000, None, None), 500, share, 0.0), 950);
        assert_eq!(due(at(1_000, Some(2_000), None), 500, share, 0.0), 950, "issued behind its end");
    }

    #[test]
    fn a_token_that_lives_shorter_than_before_expiry_is_renewed_at_half_of_its_life() {
        assert_eq!(due(at(600, Some(0), None), 0, BeforeExpiry::Seconds(HOUR), 0.0), 300);
    }

    #[test]
    fn waits_double_up_to_the_most() {
        let waits = |chance| (1..=9).map(|n| backoff(n, 10, 600, chance)).collect::<Vec<_>>();
        assert_eq!(waits(0.999_999), [10, 19, 39, 79, 159, 319, 599, 599, 599]);
        assert_eq!(waits(0.0), [10, 10, 20, 40, 80, 160, 300, 300, 300]);
        assert_eq!(backoff(u32::MAX, i64::MAX, i64::MAX, 0.0), i64::MAX);
    }

    proptest! {
        #[test]
        fn it_is_due_in_the_second_part_of_its_life_and_before_its_end(
            expires in 2i64..1_000_000_000, life in 2i64..1_000_000_000, seconds in 1i64..100_000_000,
            share in 1u16..10_000, by_share in any::<bool>(), jitter in 0.0f64..1.0,
        ) {
            let before = if by_share { BeforeExpiry::Share(share) } else { BeforeExpiry::Seconds(seconds) };
            let due = due(at(expires, Some(expires - life), None), 0, before, jitter);
            prop_assert!(due <= expires && due >= expires - life * 56 / 100 - 1, "{due}");
        }

        #[test]
        fn a_wait_is_between_first_and_most(
            failures in 1u32..100, first in 1i64..100_000, more in 0i64..100_000, chance in 0.0f64..1.0,
        ) {
            let wait = backoff(failures, first, first + more, chance);
            prop_assert!((first..=first + more).contains(&wait), "{wait}");
        }
    }
}
