//! Where one renewal stands: what was found, how often it went wrong, and so when the next try is. No I/O, no clock.

use super::claim::Claim;
use super::reason::{Failure, Reason};
use super::schedule::{BeforeExpiry, backoff, renew_at};
use super::verdict::Found;
use crate::time::UnixSeconds;

/// Chance: numbers from 0 (inclusive) to 1.
pub(super) type Random<'a> = &'a mut dyn FnMut() -> f64;

/// When a renewal is made, and made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How long before its end a token is renewed.
    pub before_expiry: BeforeExpiry,
    /// Seconds between a try and the next one, at least.
    pub first: i64,
    /// Seconds between a failed try and the next one, at most.
    pub most: i64,
}

/// When the next try is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nobody has looked yet.
    Unknown,
    /// Then; if that has passed, at once.
    At(UnixSeconds),
    /// The token does not expire.
    Never,
}

/// One renewal from try to try.
#[derive(Debug)]
pub(super) struct Course {
    policy: Policy,
    found: Option<(Found, UnixSeconds)>,
    jitter: f64,
    not_before: Option<UnixSeconds>,
    /// The end of a claim of somebody else.
    claimed: Option<UnixSeconds>,
    failures: u32,
}

impl Course {
    /// Nothing is known.
    #[must_use]
    pub(super) fn new(policy: Policy) -> Self {
        Self { policy, found: None, jitter: 0.0, not_before: None, claimed: None, failures: 0 }
    }

    /// Takes in what is there now, however it came there.
    pub(super) fn observe(&mut self, found: Found, now: UnixSeconds, random: Random<'_>) {
        if self.found.as_ref().is_some_and(|(known, _)| *known == found) {
            return;
        }
        self.found = Some((found, now));
        self.jitter = random();
        // Somebody did our work: what went wrong before is history.
        if self.wants().is_none_or(|at| at > now) {
            self.failures = 0;
        }
    }

    /// What was found last.
    #[must_use]
    pub(super) fn found(&self) -> Option<&Found> {
        self.found.as_ref().map(|(found, _)| found)
    }

    /// When what was found calls for a new token; `None`: never. What is missing or unreadable calls at once.
    fn wants(&self) -> Option<UnixSeconds> {
        match &self.found {
            Some((Found::Token(dates), seen)) => renew_at(dates, *seen, self.policy.before_expiry, self.jitter),
            Some((_, seen)) => Some(*seen),
            None => None,
        }
    }

    /// When the next try is.
    #[must_use]
    pub(super) fn next(&self) -> Next {
        match (self.next_of_ours(), self.claimed) {
            (Next::At(at), Some(claimed)) => Next::At(at.max(claimed)),
            (next, _) => next,
        }
    }

    /// The same if nobody else were at work.
    #[must_use]
    pub(super) fn next_of_ours(&self) -> Next {
        match (&self.found, self.wants()) {
            (None, _) => self.not_before.map_or(Next::Unknown, Next::At),
            (Some(_), Some(at)) => Next::At(self.not_before.map_or(at, |not_before| not_before.max(at))),
            (Some(_), None) => Next::Never,
        }
    }

    /// Whether what was found calls for a new token now, were there no failures.
    #[must_use]
    pub(super) fn is_wanted(&self, now: UnixSeconds) -> bool {
        self.wants().is_some_and(|at| at <= now)
    }

    /// Until when a new token that is in hand may wait for what speaks for it: half of the time from when it was wanted to the
    /// end of the old one. `None`: there is none that would last.
    #[must_use]
    pub(super) fn patience(&self) -> Option<UnixSeconds> {
        let (wanted, expires) = (self.wants()?, self.found()?.expires()?);
        Some(wanted.plus(expires.since(wanted).max(0) / 2))
    }

    /// Whether a try is due now.
    #[must_use]
    pub(super) fn is_due(&self, now: UnixSeconds) -> bool {
        matches!(self.next(), Next::At(at) if at <= now)
    }

    /// A new token is there.
    pub(super) fn succeeded(&mut self, found: Found, now: UnixSeconds, random: Random<'_>) {
        self.failures = 0;
        self.observe(found, now, random);
        // Whatever the endpoint hands out, it is not asked more often than this.
        self.not_before = Some(now.plus(self.policy.first));
    }

    /// A try failed; says when the next one is. Credentials that are refused wait the longest at once: accounts get locked.
    pub(super) fn failed(&mut self, failure: &Failure, now: UnixSeconds, random: Random<'_>) -> UnixSeconds {
        let Policy { first, most, .. } = self.policy;
        self.failures = self.failures.saturating_add(1);
        let wait = match failure.reason {
            Reason::CredentialsRefused => most,
            _ => backoff(self.failures, first, most, random()),
        };
        let at = now.plus(wait.max(failure.retry_after.unwrap_or(0).min(most)));
        let at = match (failure.reason, self.patience()) {
            (Reason::LoginUndetermined, Some(until)) => at.min(until),
            _ => at,
        };
        self.not_before = Some(at);
        at
    }

    /// Somebody else is at work: nothing is tried before `until`.
    pub(super) fn postponed(&mut self, until: UnixSeconds) {
        self.not_before = Some(self.not_before.map_or(until, |known| known.max(until)));
    }

    /// The end of the claim of somebody else that was seen last.
    #[must_use]
    pub(super) fn claimed(&self) -> Option<UnixSeconds> {
        self.claimed
    }

    /// Takes in the claim of somebody else as it stands now, and gives it back if it holds: nothing is tried before its end. Its
    /// failures count as ours.
    pub(super) fn heed_claim(&mut self, claim: Option<Claim>, now: UnixSeconds, longest: i64) -> Option<Claim> {
        self.failures = claim.as_ref().map_or(0, |claim| claim.failures).max(self.failures);
        let holding = claim.filter(|claim| claim.holds(now, longest));
        self.claimed = holding.as_ref().map(|claim| claim.until);
        holding
    }

    /// Forgets a wait that no rule of ours would make: the clock was set back.
    pub(super) fn heed_clock(&mut self, now: UnixSeconds, claim: i64) {
        let longest = self.longest_claim(claim);
        self.not_before = self.not_before.filter(|at| at.since(now) <= longest);
        self.claimed = self.claimed.filter(|at| at.since(now) <= longest);
    }

    /// Failures in a row.
    #[must_use]
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// How long a claim can hold at most, in seconds: that of a try (`claim`), or the wait after a failed one.
    #[must_use]
    pub(super) fn longest_claim(&self, claim: i64) -> i64 {
        // Clocks of replicas differ.
        self.policy.most.max(claim).saturating_mul(2).max(600)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::renewal::schedule::Dates;

    const POLICY: Policy = Policy { before_expiry: BeforeExpiry::Seconds(100), first: 10, most: 600 };

    fn token(expires: i64) -> Found {
        let dates = Dates { expires: Some(UnixSeconds(expires)), issued: Some(UnixSeconds(0)), not_before: None };
        Found::Token(dates)
    }

    fn course(found: Found) -> Course {
        let mut course = Course::new(POLICY);
        course.observe(found, UnixSeconds(0), &mut || 0.0);
        course
    }

    #[test]
    fn missing_unreadable_and_expired_are_due_at_once() {
        for found in [Found::Missing, Found::Unreadable("x".into()), token(-5), token(0)] {
            assert!(course(found.clone()).is_due(UnixSeconds(0)), "{found:?}");
        }
        assert_eq!(course(token(1_000)).next(), Next::At(UnixSeconds(900)));
        let endless = Found::Token(Dates { expires: None, issued: None, not_before: None });
        assert_eq!(course(endless).next(), Next::Never);
        assert_eq!(Course::new(POLICY).next(), Next::Unknown);
    }

    #[test]
    fn refused_credentials_wait_the_longest_at_once() {
        let wait = |reason, retry_after| {
            let failure = Failure { reason, message: String::new(), retry_after };
            course(Found::Missing).failed(&failure, UnixSeconds(0), &mut || 0.5).0
        };
        assert_eq!(wait(Reason::CredentialsRefused, None), 600);
        assert_eq!(wait(Reason::ServerError, None), 10);
        assert_eq!(wait(Reason::TooManyRequests, Some(77)), 77);
        assert_eq!(wait(Reason::TooManyRequests, Some(7_777)), 600);
    }

    #[test]
    fn nothing_is_tried_sooner_than_the_first_wait() {
        let mut course = course(Found::Missing);
        // An endpoint whose tokens are due when they come.
        course.succeeded(token(30), UnixSeconds(29), &mut || 0.0);
        assert_eq!(course.next(), Next::At(UnixSeconds(39)));
    }

    #[test]
    fn a_token_from_elsewhere_ends_the_failures() {
        let mut course = course(token(50));
        course.failed(&Failure::new(Reason::Connect, ""), UnixSeconds(0), &mut || 0.0);
        assert_eq!(course.failures(), 1);
        course.observe(token(50), UnixSeconds(5), &mut || 0.0);
        assert_eq!((course.failures(), course.next()), (1, Next::At(UnixSeconds(25))));
        course.observe(token(10_000), UnixSeconds(5), &mut || 0.0);
        assert_eq!((course.failures(), course.next()), (0, Next::At(UnixSeconds(9_900))));
    }

    #[test]
    fn a_clock_that_is_set_back_stops_nothing() {
        let mut course = course(Found::Missing);
        course.failed(&Failure::new(Reason::CredentialsRefused, ""), UnixSeconds(100_000), &mut || 0.0);
        course.heed_clock(UnixSeconds(100_001), 90);
        assert_eq!(course.next(), Next::At(UnixSeconds(100_600)));
        course.heed_clock(UnixSeconds(50), 90);
        assert!(course.is_due(UnixSeconds(50)));
    }

    #[test]
    fn a_claim_that_is_given_up_holds_nobody_back() {
        let mut course = course(Found::Missing);
        let claim = |until, failures| Some(Claim { holder: "x".into(), until: UnixSeconds(until), failures });
        let mut heed = |claim| course.heed_claim(claim, UnixSeconds(0), 600).is_some().then(|| course.next());
        assert_eq!(heed(claim(90, 2)), Some(Next::At(UnixSeconds(90))));
        assert_eq!(heed(claim(0, 2)), None);
        assert_eq!(heed(claim(700, 0)), None, "no replica would claim it for so long");
        assert_eq!((course.next(), course.failures()), (Next::At(UnixSeconds(0)), 2));
        course.heed_claim(claim(90, 0), UnixSeconds(0), 600);
        course.heed_clock(UnixSeconds(-100_000), 90);
        assert_eq!(course.next(), Next::At(UnixSeconds(0)), "the clock was set back");
    }

    #[test]
    fn a_token_in_hand_waits_for_half_of_the_time_that_is_left() {
        assert_eq!(course(token(1_000)).patience(), Some(UnixSeconds(950)));
        assert_eq!(course(Found::Missing).patience(), None);
        let mut course = course(token(1_000));
        let undetermined = Failure::new(Reason::LoginUndetermined, "");
        let mut wait = |now| course.failed(&undetermined, UnixSeconds(now), &mut || 0.99).0;
        assert_eq!([900, 910, 930].map(&mut wait), [910, 929, 950]);
    }

    #[test]
    fn a_worse_token_from_elsewhere_is_renewed_when_it_wants_it() {
        let mut course = course(token(10_000));
        course.observe(Found::Missing, UnixSeconds(7), &mut || 0.0);
        assert_eq!(course.next(), Next::At(UnixSeconds(7)));
    }
}
