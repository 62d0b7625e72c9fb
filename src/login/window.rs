//! The three dates and the three leeways: from when until when a token is let in.

use super::reason::Refusal;
use crate::time::UnixSeconds;

/// From when until when a token is let in, leeways included. The second of `until` is refused already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// `None`: nothing holds it back.
    pub from: Option<UnixSeconds>,
    /// `None`: nothing ends it.
    pub until: Option<UnixSeconds>,
}

/// What a role says about clocks, in seconds. 0 stands for the default, what is negative for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Leeways {
    /// `expiration_leeway`: added to `iat` or `nbf` where there is no `exp`.
    pub expiration: i64,
    /// `not_before_leeway`: taken from `exp` where there is neither `nbf` nor `iat`.
    pub not_before: i64,
    /// `clock_skew_leeway`: widens the window at both ends.
    pub clock_skew: i64,
}

impl Leeways {
    const DEFAULT: i64 = 150;
    const DEFAULT_SKEW: i64 = 60;

    fn effective(leeway: i64, default: i64) -> i64 {
        match leeway {
            0 => default,
            leeway => leeway.max(0),
        }
    }

    /// `expiration_leeway` as it works.
    #[must_use]
    pub fn expiration(self) -> i64 {
        Self::effective(self.expiration, Self::DEFAULT)
    }

    /// `not_before_leeway` as it works.
    #[must_use]
    pub fn not_before(self) -> i64 {
        Self::effective(self.not_before, Self::DEFAULT)
    }

    /// `clock_skew_leeway` as it works.
    #[must_use]
    pub fn clock_skew(self) -> i64 {
        Self::effective(self.clock_skew, Self::DEFAULT_SKEW)
    }
}

/// Whole seconds as the servers cut them out of a claim; 0 is as good as absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Dates {
    pub(super) expires: i64,
    pub(super) not_before: i64,
    pub(super) issued: i64,
}

/// A NumericDate as the servers read it: cut toward zero; what a 64-bit integer cannot hold becomes the smallest one.
pub(super) fn seconds(number: f64) -> i64 {
    // 2^63 as a float; Rust's cast would stop at the largest integer.
    if number >= 9_223_372_036_854_775_808.0 { i64::MIN } else { number as i64 }
}

/// Seconds between the year 1 and 1970, which Go adds to every instant, and wraps doing so.
const GO_EPOCH: i64 = 62_135_596_800;

/// The check of the time, with everything but the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    not_before: i64,
    expires: i64,
    issued: i64,
    skew: i64,
    unlimited: bool,
}

impl Clock {
    /// `None` if the token has none of the three dates.
    pub(super) fn new(dates: Dates, leeways: Leeways) -> Option<Self> {
        if dates == Dates::default() {
            return None;
        }
        let expires = match dates.expires {
            0 => dates.issued.max(dates.not_before).wrapping_add(leeways.expiration()),
            expires => expires,
        };
        let not_before = match (dates.not_before, dates.issued) {
            (0, 0) => expires.wrapping_sub(leeways.not_before()),
            (0, issued) => issued,
            (not_before, _) => not_before,
        };
        let skew = leeways.clock_skew();
        Some(Self { not_before, expires, issued: dates.issued, skew, unlimited: false })
    }

    /// Of a token that no clock concerns.
    pub(super) fn unlimited() -> Self {
        Self { not_before: 0, expires: 0, issued: 0, skew: 0, unlimited: true }
    }

    /// What the server says at an instant, in its order.
    pub(super) fn refusal_at(&self, now: UnixSeconds) -> Option<Refusal> {
        if self.unlimited {
            return None;
        }
        let now = i128::from(now.0) + i128::from(GO_EPOCH);
        let at = |seconds: i64| i128::from(seconds.wrapping_add(GO_EPOCH));
        let skew = i128::from(self.skew);
        if now + skew < at(self.not_before) {
            Some(Refusal::NotYetValid)
        } else if now - skew >= at(self.expires) {
            // To the nanosecond the first instant still counts; whole seconds end with it.
            Some(Refusal::Expired)
        } else if now + skew < at(self.issued) {
            Some(Refusal::IssuedInFuture)
        } else {
            None
        }
    }

    /// `None` for dates that wrap.
    pub(super) fn window(&self) -> Option<Window> {
        if self.unlimited {
            return Some(Window { from: None, until: None });
        }
        let fits = |seconds: i64| (i64::MIN / 2..=i64::MAX - GO_EPOCH).contains(&seconds);
        if ![self.not_before, self.expires, self.issued].into_iter().all(fits) {
            return None;
        }
        let from = self.not_before.max(self.issued).saturating_sub(self.skew);
        let until = self.expires.saturating_add(self.skew);
        Some(Window { from: Some(UnixSeconds(from)), until: Some(UnixSeconds(until)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_795_307_298;

    fn window(expires: i64, not_before: i64, issued: i64, leeways: [i64; 3]) -> Option<(i64, i64)> {
        let leeways = Leeways { expiration: leeways[0], not_before: leeways[1], clock_skew: leeways[2] };
        let window = Clock::new(Dates { expires, not_before, issued }, leeways)?.window()?;
        Some((window.from?.0, window.until?.0))
    }

    #[test]
    fn formulas() {
        for (dates, leeways, wanted) in [
            ((1000, 500, 400), [0, 0, 0], (440, 1060)),
            ((1000, 400, 500), [0, 0, 0], (440, 1060)),
            ((1000, 500, 400), [900, 900, 0], (440, 1060)),
            ((1000, 500, 400), [0, 0, -1], (500, 1000)),
            ((1000, 500, 400), [0, 0, 10], (490, 1010)),
            ((1000, 0, 0), [0, 0, 0], (790, 1060)),
            ((1000, 0, 0), [0, -1, 0], (940, 1060)),
            ((0, 0, 1000), [0, 0, 0], (940, 1210)),
            ((0, 1000, 0), [0, 0, 0], (940, 1210)),
            ((0, 1000, 1200), [40, 0, 0], (1140, 1300)),
            ((0, 0, 1000), [-1, -1, -1], (1000, 1000)),
        ] {
            assert_eq!(window(dates.0, dates.1, dates.2, leeways), Some(wanted), "{dates:?} {leeways:?}");
        }
        assert!(Clock::new(Dates::default(), Leeways::default()).is_none());
    }

    #[test]
    fn numbers_are_cut_and_wrap() {
        for (number, wanted) in [(0.9, 0), (-0.9, 0), (-1.9, -1), (1.9, 1), (9.3e18, i64::MIN), (-1e30, i64::MIN)] {
            assert_eq!(seconds(number), wanted, "{number}");
        }
        let refusal = |expires| {
            let dates = Dates { expires, not_before: 0, issued: NOW - 10 };
            Clock::new(dates, Leeways::default()).unwrap().refusal_at(UnixSeconds(NOW))
        };
        assert_eq!(refusal(i64::MIN), Some(Refusal::Expired));
        assert_eq!(refusal(i64::MAX - GO_EPOCH + 1), Some(Refusal::Expired));
        assert_eq!(refusal(i64::MAX - GO_EPOCH), None);
        assert_eq!(refusal(100_000_000_000_000_000), None);
        assert_eq!(refusal(-5), Some(Refusal::Expired));
        assert_eq!(window(i64::MIN, 0, 5, [0; 3]), None);
    }

    #[test]
    fn the_order_of_the_three() {
        let refusal = |expires, not_before, issued| {
            Clock::new(Dates { expires, not_before, issued }, Leeways::default()).unwrap().refusal_at(UnixSeconds(NOW))
        };
        assert_eq!(refusal(NOW - 1000, NOW + 1000, 0), Some(Refusal::NotYetValid));
        assert_eq!(refusal(NOW - 1000, NOW - 2000, NOW + 1000), Some(Refusal::Expired));
        assert_eq!(refusal(NOW + 1000, NOW - 10, NOW + 500), Some(Refusal::IssuedInFuture));
        assert_eq!(refusal(NOW + 1000, 0, NOW + 500), Some(Refusal::NotYetValid));
    }

    proptest! {
        #[test]
        fn accepted_is_inside_the_window(
            expires in proptest::option::of(1i64..4_000_000_000), not_before in proptest::option::of(1i64..4_000_000_000),
            issued in proptest::option::of(1i64..4_000_000_000), leeways in [-5i64..2_000, -5i64..2_000, -5i64..2_000],
            edge in 0usize..2, off in -2i64..3,
        ) {
            let dates = Dates { expires: expires.unwrap_or(0), not_before: not_before.unwrap_or(0), issued: issued.unwrap_or(0) };
            let leeways = Leeways { expiration: leeways[0], not_before: leeways[1], clock_skew: leeways[2] };
            let Some(clock) = Clock::new(dates, leeways) else { return Ok(()) };
            let window = clock.window().unwrap();
            let (from, until) = (window.from.unwrap().0, window.until.unwrap().0);
            let now = [from, until][edge] + off;
            prop_assert_eq!(clock.refusal_at(UnixSeconds(now)).is_none(), from <= now && now < until);
        }

        #[test]
        fn no_dates_panic(expires: i64, not_before: i64, issued: i64, now: i64) {
            if let Some(clock) = Clock::new(Dates { expires, not_before, issued }, Leeways::default()) {
                let _ = (clock.refusal_at(UnixSeconds(now)), clock.window());
            }
        }
    }
}
