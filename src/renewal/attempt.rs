//! One try, from reading what is there to writing what came: the decisions, over what they are made with.
//!
//! [`Target`] and [`Issuer`] are the world; the tests put a made-up one in their place and let a year pass.

use super::claim::Claim;
use super::course::{Course, Next, Random};
use super::reason::{Failure, Reason};
use super::verdict::{Found, judge};
use crate::redacted::Redacted;
use crate::time::UnixSeconds;

/// Where the token is kept.
pub(super) trait Target {
    /// Reads it as it is now.
    ///
    /// # Errors
    /// Why it cannot be read, or cannot be written whatever is tried.
    fn read(&mut self) -> Result<Held, Failure>;

    /// Says in the target, as it was read last, that a renewal is under way, or when the next may be.
    ///
    /// # Errors
    /// Why it cannot be said.
    fn claim(&mut self, claim: &Claim) -> Result<Claiming, Failure>;

    /// Writes the token into the target as it was read or claimed last, and takes the claim away. `false`: it has changed
    /// since.
    ///
    /// # Errors
    /// Why it cannot be written.
    fn write(&mut self, token: &Redacted) -> Result<bool, Failure>;

    /// Lets go of what a try holds by itself, such as a lock.
    fn let_go(&mut self) {}
}

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claiming {
    /// The work is ours.
    Ours,
    /// The target has changed since it was read.
    Changed,
    /// Another process is at work.
    Taken,
}

/// What a target holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// The token.
    pub found: Found,
    /// Who is at work, or was.
    pub claim: Option<Claim>,
}

/// Who hands out tokens.
pub(super) trait Issuer {
    /// Asks for a new one, with credentials read anew.
    ///
    /// # Errors
    /// Why there is none.
    fn ask(&mut self) -> Result<Redacted, Failure>;
}

/// Who we are, and what holds for every try.
pub(super) struct Terms<'a> {
    /// The name in our claims.
    pub holder: &'a str,
    /// How long a claim holds: longer than a try takes.
    pub claim_seconds: i64,
    /// The clock.
    pub clock: &'a dyn Fn() -> UnixSeconds,
    /// Whether a new token would get in where it is meant to: `Err` says why not, without a piece of it.
    pub admits: &'a dyn Fn(&Redacted) -> Result<(), String>,
}

/// What became of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// There is nothing to do; `asked`: though we had asked for a token, somebody else was faster.
    Fresh {
        /// When it expires.
        expires: Option<UnixSeconds>,
        /// A token was asked for, and is not needed.
        asked: bool,
    },
    /// A new token is wanted, and the last failure too near.
    Waiting,
    /// Somebody else is at work, or has failed just now.
    Claimed(Claim),
    /// A new token is there.
    Renewed {
        /// When it expires.
        expires: Option<UnixSeconds>,
        /// It came at an earlier try, and could not be written then.
        late: bool,
    },
    /// It went wrong.
    Failed {
        /// How.
        failure: Failure,
        /// When it is tried again.
        next: UnixSeconds,
        /// A new token is in our hands, and only has to be written.
        in_hand: bool,
    },
}

/// Others may change the target while we look at it; so often in a row it is no accident.
const MOST_CONFLICTS: usize = 5;

/// A token that came and could not be written yet.
pub(super) type InHand = Option<Redacted>;

/// Makes a try: reads the target, and if a new token is wanted, claims the work, asks, checks and writes. After a conflict it
/// reads again and decides anew. A token that cannot be written is kept in `in_hand` for the next try.
pub(super) fn attempt(
    course: &mut Course,
    in_hand: &mut InHand,
    target: &mut dyn Target,
    issuer: &mut dyn Issuer,
    terms: &Terms<'_>,
    random: Random<'_>,
) -> Outcome {
    let mut claimed = false;
    let result = steps(course, in_hand, target, issuer, terms, random, &mut claimed);
    let outcome = result.unwrap_or_else(|failure| {
        let now = (terms.clock)();
        match failure.reason {
            // Nothing is due: that the API server is away for a while is no failed renewal.
            Reason::TargetUnavailable if course.found().is_some() && !course.is_wanted(now) => return Outcome::Waiting,
            Reason::TargetNotFound => course.observe(Found::Missing, now, random),
            _ => {}
        }
        let next = course.failed(&failure, now, random);
        if claimed {
            prolong(target, &Claim { holder: terms.holder.to_owned(), until: next, failures: course.failures() });
        }
        Outcome::Failed { failure, next, in_hand: in_hand.is_some() }
    });
    target.let_go();
    outcome
}

/// Makes our claim one that lasts until the next try: the others shall wait with us. If that cannot be said, the claim ends by
/// itself.
fn prolong(target: &mut dyn Target, claim: &Claim) {
    for _ in 0..MOST_CONFLICTS {
        if !matches!(target.claim(claim), Ok(Claiming::Changed)) {
            return;
        }
        // Somebody touched it meanwhile; what is not ours any more stays as it is.
        let is_ours = |held: &Held| held.claim.as_ref().is_some_and(|known| known.holder == claim.holder);
        if !target.read().is_ok_and(|held| is_ours(&held)) {
            return;
        }
    }
}

fn steps(
    course: &mut Course,
    in_hand: &mut InHand,
    target: &mut dyn Target,
    issuer: &mut dyn Issuer,
    terms: &Terms<'_>,
    random: Random<'_>,
    claimed: &mut bool,
) -> Result<Outcome, Failure> {
    let mut asked = false;
    for _ in 0..MOST_CONFLICTS {
        let held = target.read()?;
        let now = (terms.clock)();
        course.observe(held.found.clone(), now, random);
        if !course.is_wanted(now) {
            *in_hand = None;
            return Ok(Outcome::Fresh { expires: held.found.expires(), asked });
        }
        if matches!(course.next(), Next::At(at) if at > now) {
            return Ok(Outcome::Waiting);
        }
        if in_hand.as_ref().is_some_and(|token| judge(token, &held.found, now).is_err()) {
            *in_hand = None;
        }
        let late = in_hand.is_some() && !asked;
        if in_hand.is_none() {
            if let Some(claim) = held.claim.filter(|claim| claim.holder != terms.holder) {
                if claim.holds(now, course.longest_claim(terms.claim_seconds)) {
                    course.postponed(claim.until, claim.failures);
                    return Ok(Outcome::Claimed(claim));
                }
                course.postponed(now, claim.failures);
            }
            let until = now.plus(terms.claim_seconds);
            let claim = Claim { holder: terms.holder.to_owned(), until, failures: course.failures() };
            match target.claim(&claim)? {
                Claiming::Ours => *claimed = true,
                Claiming::Changed => continue,
                Claiming::Taken => {
                    course.postponed(until, 0);
                    return Ok(Outcome::Claimed(Claim { holder: "another process".to_owned(), until, failures: 0 }));
                }
            }
            let token = issuer.ask()?;
            asked = true;
            judge(&token, &held.found, (terms.clock)())?;
            (terms.admits)(&token).map_err(|cause| {
                Failure::new(Reason::LoginRefused, format!("the token that came would not get in: {cause}"))
            })?;
            *in_hand = Some(token);
        }
        let Some(token) = in_hand.as_ref() else { continue };
        if target.write(token)? {
            let found = Found::of(token.expose().as_bytes());
            let expires = found.expires();
            *in_hand = None;
            course.succeeded(found, (terms.clock)(), random);
            return Ok(Outcome::Renewed { expires, late });
        }
        *claimed = false;
    }
    Err(Failure::new(
        Reason::Conflict,
        format!("it was changed by others {MOST_CONFLICTS} times while it was to be written"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::renewal::course::Policy;
    use crate::renewal::schedule::BeforeExpiry;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    const POLICY: Policy = Policy { before_expiry: BeforeExpiry::Seconds(10), first: 10, most: 600 };

    #[derive(Default)]
    struct Place {
        value: String,
        claims: Vec<Claim>,
        let_go: usize,
    }

    impl Target for Place {
        fn read(&mut self) -> Result<Held, Failure> {
            Ok(Held { found: Found::of(self.value.as_bytes()), claim: self.claims.last().cloned() })
        }

        fn claim(&mut self, claim: &Claim) -> Result<Claiming, Failure> {
            self.claims.push(claim.clone());
            Ok(Claiming::Ours)
        }

        fn write(&mut self, token: &Redacted) -> Result<bool, Failure> {
            self.value = token.expose().to_owned();
            self.claims.clear();
            Ok(true)
        }

        fn let_go(&mut self) {
            self.let_go += 1;
        }
    }

    struct Constant(Result<String, Failure>);

    impl Issuer for Constant {
        fn ask(&mut self) -> Result<Redacted, Failure> {
            self.0.clone().map(Redacted::new)
        }
    }

    fn jwt(expires: i64) -> String {
        let claims = format!(r#"{{"iat":0,"exp":{expires}}}"#);
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), URL_SAFE_NO_PAD.encode(claims))
    }

    fn try_once(place: &mut Place, answer: Result<String, Failure>, admits: bool) -> Outcome {
        let clock = || UnixSeconds(1_000);
        let admits = |_: &Redacted| if admits { Ok(()) } else { Err("audience_mismatch".to_owned()) };
        let terms = Terms { holder: "me", claim_seconds: 90, clock: &clock, admits: &admits };
        let mut course = Course::new(POLICY);
        attempt(&mut course, &mut None, place, &mut Constant(answer), &terms, &mut || 0.0)
    }

    #[test]
    fn a_token_that_would_not_get_in_is_not_written() {
        let mut place = Place::default();
        let Outcome::Failed { failure, .. } = try_once(&mut place, Ok(jwt(5_000)), false) else { panic!() };
        assert_eq!((failure.reason, place.value.as_str()), (Reason::LoginRefused, ""));
        assert!(failure.message.contains("audience_mismatch"), "{failure}");
        place.claims.clear();
        assert!(matches!(try_once(&mut place, Ok(jwt(5_000)), true), Outcome::Renewed { late: false, .. }));
        assert_eq!(place.value, jwt(5_000));
    }

    #[test]
    fn after_a_failure_the_claim_says_when_the_next_try_is() {
        let mut place = Place::default();
        let refused = Failure::new(Reason::CredentialsRefused, "status 401");
        let outcome = try_once(&mut place, Err(refused.clone()), true);
        let next = UnixSeconds(1_600);
        assert_eq!(outcome, Outcome::Failed { failure: refused, next, in_hand: false });
        let until: Vec<_> = place.claims.iter().map(|claim| (claim.until.0, claim.failures)).collect();
        assert_eq!(until, [(1_090, 0), (1_600, 1)]);
        assert_eq!(place.let_go, 1);
    }

    #[test]
    fn an_api_server_that_is_away_while_nothing_is_due_is_no_failed_renewal() {
        struct Away(Place, Option<Reason>);
        impl Target for Away {
            fn read(&mut self) -> Result<Held, Failure> {
                self.1.map_or_else(|| self.0.read(), |reason| Err(Failure::new(reason, "")))
            }

            fn claim(&mut self, claim: &Claim) -> Result<Claiming, Failure> {
                self.0.claim(claim)
            }

            fn write(&mut self, token: &Redacted) -> Result<bool, Failure> {
                self.0.write(token)
            }
        }
        let now = std::cell::Cell::new(1_000);
        let clock = || UnixSeconds(now.get());
        let terms = Terms { holder: "me", claim_seconds: 90, clock: &clock, admits: &|_| Ok(()) };
        let mut course = Course::new(POLICY);
        let mut try_with = |reason| {
            let mut target = Away(Place { value: jwt(5_000), ..Place::default() }, reason);
            let mut issuer = Constant(Ok(jwt(9_000)));
            match attempt(&mut course, &mut None, &mut target, &mut issuer, &terms, &mut || 0.0) {
                Outcome::Failed { failure, .. } => Some(failure.reason),
                _ => None,
            }
        };
        let (away, gone) = (Some(Reason::TargetUnavailable), Some(Reason::TargetNotFound));
        assert_eq!(try_with(away), away, "nothing is known yet");
        assert_eq!((try_with(None), try_with(away)), (None, None));
        assert_eq!(try_with(gone), gone);
        assert_eq!(try_with(away), away, "a new one is wanted");
        assert_eq!(try_with(None), None);
        now.set(4_995);
        assert_eq!(try_with(away), away, "a new one is wanted");
    }

    #[test]
    fn a_target_that_can_never_be_written_is_told_before_anybody_is_asked() {
        struct Immutable;
        impl Target for Immutable {
            fn read(&mut self) -> Result<Held, Failure> {
                Err(Failure::new(Reason::TargetImmutable, "immutable"))
            }

            fn claim(&mut self, _: &Claim) -> Result<Claiming, Failure> {
                panic!("claimed")
            }

            fn write(&mut self, _: &Redacted) -> Result<bool, Failure> {
                panic!("written")
            }
        }
        let terms = Terms { holder: "me", claim_seconds: 90, clock: &|| UnixSeconds(0), admits: &|_| Ok(()) };
        let mut issuer = Constant(Err(Failure::new(Reason::Panic, "asked")));
        let mut course = Course::new(POLICY);
        let outcome = attempt(&mut course, &mut None, &mut Immutable, &mut issuer, &terms, &mut || 0.0);
        assert!(matches!(outcome, Outcome::Failed { failure, .. } if failure.reason == Reason::TargetImmutable));
    }
}
