//! One try, from reading what is there to writing what came: the decisions, over what they are made with.
//!
//! [`Target`] and [`Issuer`] are the world; the tests put a made-up one in their place and let a year pass.

use super::admission::Admission;
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
    /// The logins that are named beside it, as they stand in the annotation.
    pub logins: Option<String>,
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
    /// Whether the program was told to stop: nothing is begun any more, and what waits for an answer is given up.
    pub is_leaving: &'a dyn Fn() -> bool,
    /// Whether a new token would get in where it is meant to, in a place with this annotation.
    pub admits: &'a dyn Fn(Option<&str>, &Redacted) -> Admission,
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
    /// The program stops, and gives up what it waited for: others may go on.
    BrokenOff,
    /// A new token is there.
    Renewed {
        /// When it expires.
        expires: Option<UnixSeconds>,
        /// It came at an earlier try, which could not write it, or not judge it.
        late: bool,
        /// Nobody could tell whether it gets in; the cause, and whether somebody may be able to tell later.
        doubt: Option<(String, bool)>,
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
            // Nobody was refused anything: there is nothing to wait for.
            Reason::Connect | Reason::LoginUndetermined if (terms.is_leaving)() => {
                if claimed {
                    let over = Claim { holder: terms.holder.to_owned(), until: now, failures: course.failures() };
                    move_end(target, &over);
                }
                return Outcome::BrokenOff;
            }
            _ => {}
        }
        let next = course.failed(&failure, now, random);
        if claimed {
            move_end(target, &Claim { holder: terms.holder.to_owned(), until: next, failures: course.failures() });
        }
        Outcome::Failed { failure, next, in_hand: in_hand.is_some() }
    });
    target.let_go();
    outcome
}

/// Makes our claim one that lasts until the next try, for the others shall wait with us, or one that is over. If that cannot be
/// said, the claim ends by itself.
fn move_end(target: &mut dyn Target, claim: &Claim) {
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
        let others = held.claim.filter(|claim| claim.holder != terms.holder);
        let (longest, known) = (course.longest_claim(terms.claim_seconds), course.claimed());
        let others = course.heed_claim(others, now, longest);
        if matches!(course.next_of_ours(), Next::At(at) if at > now) {
            return Ok(Outcome::Waiting);
        }
        if in_hand.as_ref().is_some_and(|token| judge(token, &held.found, now).is_err()) {
            *in_hand = None;
        }
        let late = in_hand.is_some() && !asked;
        if in_hand.is_none() {
            if let Some(claim) = others {
                let is_news = known != Some(claim.until);
                return Ok(if is_news { Outcome::Claimed(claim) } else { Outcome::Waiting });
            }
            if (terms.is_leaving)() {
                return Ok(Outcome::Waiting);
            }
            let until = now.plus(terms.claim_seconds);
            let claim = Claim { holder: terms.holder.to_owned(), until, failures: course.failures() };
            match target.claim(&claim)? {
                Claiming::Ours => *claimed = true,
                Claiming::Changed => continue,
                Claiming::Taken => {
                    course.postponed(until);
                    return Ok(Outcome::Claimed(Claim { holder: "another process".to_owned(), until, failures: 0 }));
                }
            }
            let token = issuer.ask()?;
            asked = true;
            judge(&token, &held.found, (terms.clock)())?;
            *in_hand = Some(token);
        }
        let Some(token) = in_hand.as_ref() else { continue };
        let doubt = match (terms.admits)(held.logins.as_deref(), token) {
            Admission::Granted => None,
            Admission::Refused(cause) => {
                *in_hand = None;
                let message = format!("the token that came would not get in: {cause}");
                return Err(Failure::new(Reason::LoginRefused, message));
            }
            Admission::Unknown { cause, passes } => {
                let patience = course.patience().filter(|until| passes && *until > (terms.clock)());
                if let Some(until) = patience {
                    let message = format!(
                        "nobody can tell yet whether the token that came would get in: {cause}; at {until} it is written all \
                         the same"
                    );
                    return Err(Failure::new(Reason::LoginUndetermined, message));
                }
                Some((cause, passes))
            }
        };
        if target.write(token)? {
            let found = Found::of(token.expose().as_bytes());
            let expires = found.expires();
            *in_hand = None;
            course.succeeded(found, (terms.clock)(), random);
            return Ok(Outcome::Renewed { expires, late, doubt });
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
    use std::cell::{Cell, RefCell};

    const POLICY: Policy = Policy { before_expiry: BeforeExpiry::Seconds(10), first: 10, most: 600 };

    #[derive(Default)]
    struct Place {
        value: String,
        claims: Vec<Claim>,
        logins: Option<String>,
        let_go: usize,
    }

    impl Target for Place {
        fn read(&mut self) -> Result<Held, Failure> {
            Ok(Held {
                found: Found::of(self.value.as_bytes()),
                claim: self.claims.last().cloned(),
                logins: self.logins.clone(),
            })
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

    fn try_once(place: &mut Place, answer: Result<String, Failure>, admission: &Admission) -> Outcome {
        let clock = || UnixSeconds(1_000);
        let admits = |_: Option<&str>, _: &Redacted| admission.clone();
        let terms = Terms { holder: "me", claim_seconds: 90, clock: &clock, is_leaving: &|| false, admits: &admits };
        let mut course = Course::new(POLICY);
        attempt(&mut course, &mut None, place, &mut Constant(answer), &terms, &mut || 0.0)
    }

    #[test]
    fn a_token_that_would_not_get_in_is_not_written() {
        let mut place = Place::default();
        let refused = Admission::Refused("a/r: wrong (audience_mismatch)".to_owned());
        let Outcome::Failed { failure, in_hand, .. } = try_once(&mut place, Ok(jwt(5_000)), &refused) else { panic!() };
        assert_eq!((failure.reason, in_hand, place.value.as_str()), (Reason::LoginRefused, false, ""));
        assert!(failure.message.contains("audience_mismatch"), "{failure}");
        place.claims.clear();
        let outcome = try_once(&mut place, Ok(jwt(5_000)), &Admission::Granted);
        assert!(matches!(outcome, Outcome::Renewed { late: false, doubt: None, .. }));
        assert_eq!(place.value, jwt(5_000));
    }

    #[test]
    fn where_nobody_can_tell_whether_it_gets_in_it_is_written_unless_the_old_one_lasts_a_while() {
        let unknown = |passes| Admission::Unknown { cause: "a/r: away".to_owned(), passes };
        for (old, passes, written) in [
            (String::new(), true, true),
            (jwt(1_004), true, true),
            (jwt(1_010), false, true),
            (jwt(1_010), true, false),
        ] {
            let mut place = Place { value: old.clone(), ..Place::default() };
            let outcome = try_once(&mut place, Ok(jwt(5_000)), &unknown(passes));
            assert_eq!(place.value == jwt(5_000), written, "{old} {outcome:?}");
            match outcome {
                Outcome::Renewed { doubt, .. } => assert_eq!(doubt, Some(("a/r: away".to_owned(), passes))),
                // Half of the ten seconds that were left: the wait would have been longer.
                Outcome::Failed { failure, next, in_hand: true } => {
                    assert_eq!((failure.reason, next), (Reason::LoginUndetermined, UnixSeconds(1_005)));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_token_in_hand_is_held_against_the_logins_anew_and_not_asked_for_again() {
        let (now, asked, away) = (Cell::new(1_000), Cell::new(0), Cell::new(true));
        let seen = RefCell::new(Vec::new());
        let clock = || UnixSeconds(now.get());
        let admits = |named: Option<&str>, token: &Redacted| {
            seen.borrow_mut().push((named.map(str::to_owned), token.expose() == jwt(5_000)));
            match away.get() {
                true => Admission::Unknown { cause: "a/r: away".to_owned(), passes: true },
                false => Admission::Granted,
            }
        };
        struct Counting<'a>(&'a Cell<u32>);
        impl Issuer for Counting<'_> {
            fn ask(&mut self) -> Result<Redacted, Failure> {
                self.0.set(self.0.get() + 1);
                Ok(Redacted::new(jwt(5_000)))
            }
        }
        let terms = Terms { holder: "me", claim_seconds: 90, clock: &clock, is_leaving: &|| false, admits: &admits };
        let (mut course, mut in_hand) = (Course::new(POLICY), None);
        let mut place = Place { value: jwt(1_010), logins: Some("a/r".to_owned()), ..Place::default() };
        let mut go =
            |place: &mut Place| attempt(&mut course, &mut in_hand, place, &mut Counting(&asked), &terms, &mut || 0.0);
        assert!(matches!(go(&mut place), Outcome::Failed { in_hand: true, .. }));
        now.set(1_002);
        assert_eq!(go(&mut place), Outcome::Waiting);
        away.set(false);
        now.set(1_005);
        assert!(matches!(go(&mut place), Outcome::Renewed { late: true, doubt: None, .. }));
        assert_eq!((asked.get(), place.value), (1, jwt(5_000)));
        assert_eq!(seen.take(), vec![(Some("a/r".to_owned()), true); 2]);
    }

    #[test]
    fn after_a_failure_the_claim_says_when_the_next_try_is() {
        let mut place = Place::default();
        let refused = Failure::new(Reason::CredentialsRefused, "status 401");
        let outcome = try_once(&mut place, Err(refused.clone()), &Admission::Granted);
        let next = UnixSeconds(1_600);
        assert_eq!(outcome, Outcome::Failed { failure: refused, next, in_hand: false });
        let until: Vec<_> = place.claims.iter().map(|claim| (claim.until.0, claim.failures)).collect();
        assert_eq!(until, [(1_090, 0), (1_600, 1)]);
        assert_eq!(place.let_go, 1);
    }

    #[test]
    fn a_program_that_stops_gives_its_claim_up_and_begins_nothing() {
        let leaving = Cell::new(false);
        let (clock, is_leaving) = (|| UnixSeconds(1_000), || leaving.get());
        let admits = |_: Option<&str>, _: &Redacted| Admission::Granted;
        let terms = Terms { holder: "me", claim_seconds: 90, clock: &clock, is_leaving: &is_leaving, admits: &admits };
        struct Told<'a>(&'a Cell<bool>, Result<String, Failure>);
        impl Issuer for Told<'_> {
            fn ask(&mut self) -> Result<Redacted, Failure> {
                self.0.set(true);
                self.1.clone().map(Redacted::new)
            }
        }
        let go = |answer| {
            leaving.set(false);
            let mut place = Place::default();
            let mut course = Course::new(POLICY);
            let outcome = attempt(&mut course, &mut None, &mut place, &mut Told(&leaving, answer), &terms, &mut || 0.0);
            (outcome, place.claims.iter().map(|claim| claim.until.0).collect::<Vec<_>>(), place.value)
        };
        let given_up = Failure::new(Reason::Connect, "the program stops");
        assert_eq!(go(Err(given_up)), (Outcome::BrokenOff, vec![1_090, 1_000], String::new()));
        // A refusal is one for everybody.
        assert_eq!(go(Err(Failure::new(Reason::CredentialsRefused, ""))).1, [1_090, 1_600]);
        let (outcome, claims, value) = go(Ok(jwt(5_000)));
        assert!(matches!(outcome, Outcome::Renewed { .. }) && claims.is_empty() && value == jwt(5_000));
        leaving.set(true);
        let (mut place, mut course) = (Place::default(), Course::new(POLICY));
        let mut never = Constant(Err(Failure::new(Reason::Panic, "asked")));
        let outcome = attempt(&mut course, &mut None, &mut place, &mut never, &terms, &mut || 0.0);
        assert_eq!((outcome, place.claims.len()), (Outcome::Waiting, 0));
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
        let now = Cell::new(1_000);
        let clock = || UnixSeconds(now.get());
        let terms = Terms {
            holder: "me",
            claim_seconds: 90,
            clock: &clock,
            is_leaving: &|| false,
            admits: &|_, _| Admission::Granted,
        };
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
        let terms = Terms {
            holder: "me",
            claim_seconds: 90,
            clock: &|| UnixSeconds(0),
            is_leaving: &|| false,
            admits: &|_, _| Admission::Granted,
        };
        let mut issuer = Constant(Err(Failure::new(Reason::Panic, "asked")));
        let mut course = Course::new(POLICY);
        let outcome = attempt(&mut course, &mut None, &mut Immutable, &mut issuer, &terms, &mut || 0.0);
        assert!(matches!(outcome, Outcome::Failed { failure, .. } if failure.reason == Reason::TargetImmutable));
    }
}
