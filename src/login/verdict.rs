//! What would become of a login, worked out once for a token, a role and what is known of the keys, and told for any instant.

use super::reason::{Refusal, Unknown};
use super::window::{Clock, Window};
use crate::time::UnixSeconds;

/// What the server would answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It would let the token in.
    Accepted,
    /// It would not; this is the first reason that it would report.
    Refused(Refusal),
    /// Nobody here can tell.
    Undetermined(Unknown),
}

impl Verdict {
    /// In one word, as programs get it.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused(_) => "refused",
            Self::Undetermined(_) => "undetermined",
        }
    }

    /// The reason's code, and the same in words; `None` if the token would get in.
    #[must_use]
    pub fn reason(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Accepted => None,
            Self::Refused(reason) => Some((reason.code(), reason.words())),
            Self::Undetermined(reason) => Some((reason.code(), reason.words())),
        }
    }
}

/// One of the server's checks, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the names are the documentation
pub enum Check {
    Role,
    Token,
    SourceAddress,
    Keys,
    Syntax,
    Algorithm,
    Signature,
    Claims,
    Issuer,
    Subject,
    Audience,
    Time,
    UnboundAudience,
    UserClaim,
    ClaimMappings,
    GroupsClaim,
    BoundClaims,
    Policies,
    ServiceAccountName,
    Namespace,
    TokenReview,
}

/// What one check came to, with what the role (or the mount) wants and what the token has. Facts, never secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which check.
    pub check: Check,
    /// What the role or the mount wants.
    pub wants: String,
    /// What the token has.
    pub has: String,
    /// `Accepted` if it passed. The time check of an [`Assessment`] stands as passed; [`Assessment::explain`] fills it in.
    pub verdict: Verdict,
}

/// Everything about a login that does not depend on the clock. [`at`](Self::at) tells the verdict of an instant, cheaply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assessment {
    /// In the server's order, up to the first check that did not pass.
    steps: Vec<Step>,
    /// What the clock decides; `None` where the checks before it did not pass.
    clock: Option<Clock>,
    /// The first check before that of the time that did not pass.
    before: Option<Verdict>,
    /// The first check behind that of the time that did not pass.
    after: Option<Verdict>,
    /// What to ask of the cluster, where every check before it passes.
    pub(super) review: Option<super::kubernetes::ReviewRequest>,
    /// The namespace whose labels decide, and are not known.
    pub(super) namespace: Option<String>,
}

impl Check {
    /// In a few words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Role => "role",
            Self::Token => "token",
            Self::SourceAddress => "source address",
            Self::Keys => "keys",
            Self::Syntax => "token syntax",
            Self::Algorithm => "signature algorithm",
            Self::Signature => "signature",
            Self::Claims => "types of the claims",
            Self::Issuer => "issuer",
            Self::Subject => "subject",
            Self::Audience => "audience",
            Self::Time => "time",
            Self::UnboundAudience => "audience without a bound one",
            Self::UserClaim => "user claim",
            Self::ClaimMappings => "claim mappings",
            Self::GroupsClaim => "groups claim",
            Self::BoundClaims => "bound claims",
            Self::Policies => "policy templates",
            Self::ServiceAccountName => "service account name",
            Self::Namespace => "namespace",
            Self::TokenReview => "TokenReview",
        }
    }
}

impl Assessment {
    /// The verdict at an instant. The second that `accepted_until` names is refused already, the one of `accepted_from` is not.
    #[must_use]
    pub fn at(&self, now: UnixSeconds) -> Verdict {
        if let Some(before) = self.before {
            return before;
        }
        if let Some(refusal) = self.clock.and_then(|clock| clock.refusal_at(now)) {
            return Verdict::Refused(refusal);
        }
        self.after.unwrap_or(Verdict::Accepted)
    }

    /// From when until when the clock lets the token in, leeways included. `None` where the verdict has nothing to do with it:
    /// the login is refused at any time, or the dates are such as no clock shows. For a login that cannot be judged it is the
    /// window that it would have.
    #[must_use]
    pub fn window(&self) -> Option<Window> {
        let refused = |verdict: Option<Verdict>| matches!(verdict, Some(Verdict::Refused(_)));
        if self.before.is_some() || refused(self.after) {
            return None;
        }
        self.clock.and_then(|clock| clock.window())
    }

    /// The window as far as it explains the verdict of this instant: also where the time is the first thing that is wrong, and
    /// another would be next.
    #[must_use]
    pub fn window_at(&self, now: UnixSeconds) -> Option<Window> {
        if self.before.is_some() {
            return None;
        }
        match self.clock {
            Some(clock) if clock.refusal_at(now).is_some() => clock.window(),
            _ => self.window(),
        }
    }

    /// The checks in the server's order, up to the first that fails at this instant. None, if it was assessed without explanation.
    #[must_use]
    pub fn explain(&self, now: UnixSeconds) -> Vec<Step> {
        let mut steps = Vec::new();
        for step in &self.steps {
            let mut step = step.clone();
            if step.check == Check::Time
                && let Some(refusal) = self.clock.and_then(|clock| clock.refusal_at(now))
            {
                step.verdict = Verdict::Refused(refusal);
            }
            let passed = step.verdict == Verdict::Accepted;
            steps.push(step);
            if !passed {
                break;
            }
        }
        steps
    }

    /// The checks noted, and what the last of them came to, where it ended before the time.
    pub(super) fn into_steps(self) -> (Vec<Step>, Verdict) {
        (self.steps, self.before.unwrap_or(Verdict::Accepted))
    }

    /// What to ask of the cluster's TokenReview, once every check before it passes; `None` if there is nothing to ask.
    #[must_use]
    pub fn review_needed(&self) -> Option<&super::kubernetes::ReviewRequest> {
        self.review.as_ref()
    }

    /// The namespace whose labels decide, where they were not known.
    #[must_use]
    pub fn namespace_needed(&self) -> Option<&str> {
        self.namespace.as_deref()
    }
}

/// Facts longer than this are cut: a claim may be megabytes.
const MAX_FACT_BYTES: usize = 512;

/// A fact for people: tokens in it are masked, and it is cut.
pub(super) fn fact(text: &str) -> String {
    let mut shown = crate::jwt::without_tokens(text).into_owned();
    if shown.len() > MAX_FACT_BYTES {
        let end = (0..=MAX_FACT_BYTES).rev().find(|end| shown.is_char_boundary(*end)).unwrap_or(0);
        shown.truncate(end);
        shown.push('…');
    }
    shown
}

/// The end of an assessment before its last check.
pub(super) type Ended = Box<Assessment>;

/// Collects steps in order, and stops at the first that does not pass.
pub(super) struct Steps {
    /// Each of them is noted, for [`Assessment::explain`]; else only what they came to. Words cost more than the checks do.
    explains: bool,
    steps: Vec<Step>,
    clock: Option<Clock>,
    before: Option<Verdict>,
}

impl Steps {
    pub(super) fn new(explains: bool) -> Self {
        Self { explains, steps: Vec::new(), clock: None, before: None }
    }

    /// Words for a step; none where nobody will read them.
    pub(super) fn words(&self, words: impl FnOnce() -> String) -> String {
        if self.explains { words() } else { String::new() }
    }

    /// Notes a check. The error is the whole assessment, which ends here.
    pub(super) fn note(
        &mut self,
        check: Check,
        wants: impl AsRef<str>,
        has: impl AsRef<str>,
        verdict: Verdict,
    ) -> Result<(), Ended> {
        self.push(check, wants.as_ref(), has.as_ref(), verdict);
        if verdict == Verdict::Accepted {
            return Ok(());
        }
        if self.clock.is_none() {
            self.before = Some(verdict);
        }
        Err(Box::new(self.end(self.clock.is_some().then_some(verdict))))
    }

    pub(super) fn pass(&mut self, check: Check, wants: impl AsRef<str>, has: impl AsRef<str>) {
        self.push(check, wants.as_ref(), has.as_ref(), Verdict::Accepted);
    }

    fn push(&mut self, check: Check, wants: &str, has: &str, verdict: Verdict) {
        if self.explains {
            self.steps.push(Step { check, wants: fact(wants), has: fact(has), verdict });
        }
    }

    /// From here on a check that fails counts only while the clock is right.
    pub(super) fn time(&mut self, clock: Clock, wants: impl AsRef<str>, has: impl AsRef<str>) {
        self.pass(Check::Time, wants, has);
        self.clock = Some(clock);
    }

    /// Takes over checks that were noted elsewhere; the last of them passed unless `verdict` says otherwise.
    pub(super) fn extend(&mut self, noted: &[Step], verdict: Verdict) -> Result<(), Ended> {
        self.steps.extend_from_slice(noted);
        if verdict == Verdict::Accepted {
            return Ok(());
        }
        self.before = Some(verdict);
        Err(Box::new(self.end(None)))
    }

    /// What was noted, for [`extend`](Self::extend).
    pub(super) fn into_steps(self) -> Vec<Step> {
        self.steps
    }

    /// What takes the place of an answer behind a check that did not pass; nobody sees it.
    pub(super) fn nothing() -> Ended {
        Box::new(Self::new(false).finish())
    }

    pub(super) fn finish(mut self) -> Assessment {
        self.end(None)
    }

    fn end(&mut self, after: Option<Verdict>) -> Assessment {
        Assessment {
            steps: std::mem::take(&mut self.steps),
            clock: self.clock,
            before: self.before,
            after,
            review: None,
            namespace: None,
        }
    }
}
