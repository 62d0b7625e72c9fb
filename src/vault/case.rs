//! One token and one role: its verdict, and what has to be asked for it.

use super::mounted::{Mounted, retry};
use crate::login::{Refusal, Review, ReviewRequest, Unknown, Verdict};
use crate::metrics::{Judged, LoginCase, OwnMetrics};
use crate::observation::LoginName;
use crate::redacted::Redacted;
use crate::time::UnixSeconds;
use std::sync::Arc;
use std::time::Instant;

/// One token and one role.
pub(super) struct Case {
    pub(super) location: Box<str>,
    pub(super) name: LoginName,
    /// `None` where no login of that name is known.
    pub(super) text: Option<Arc<Redacted>>,
    /// Which login; `None`: there is no such login.
    pub(super) mounted: Option<usize>,
    /// `None`: it has to be worked out (again).
    judged: Option<Judged>,
    /// For this token the key sets were fetched out of turn.
    asked_for_keys: bool,
    /// What the cluster said to the question beside it.
    review: Option<Review>,
    question: Option<ReviewRequest>,
    review_due: Instant,
    review_failures: u32,
    /// The namespace whose labels decide.
    pub(super) namespace: Option<Box<str>>,
}

impl Case {
    pub(super) fn new(location: &str, name: &LoginName, text: Option<Arc<Redacted>>) -> Self {
        Self {
            location: location.into(),
            name: name.clone(),
            text,
            mounted: None,
            judged: None,
            asked_for_keys: false,
            review: None,
            question: None,
            review_due: Instant::now(),
            review_failures: 0,
            namespace: None,
        }
    }

    /// Something that it depends on has changed.
    pub(super) fn forget(&mut self) {
        self.judged = None;
    }

    fn is_stale(&self) -> bool {
        self.judged.is_none()
    }

    /// Whether it is the same token at the same login.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        let same_text = match (&self.text, &other.text) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        same_text && self.mounted == other.mounted && self.location == other.location
    }

    /// Works out those of one token at one login that are not worked out; whether there were any. A JWT mount reads the token once
    /// for all of its roles, and verifies its signature once, unless each role is to be explained.
    pub(super) fn assess_all(beside: &mut [Self], all: &mut [Mounted], now: UnixSeconds, explains: bool) -> bool {
        let mut stale: Vec<&mut Self> = beside.iter_mut().filter(|case| case.is_stale()).collect();
        let roles: Vec<&str> = stale.iter().map(|case| &*case.name.role).collect();
        let first = stale.first().filter(|_| !explains).and_then(|case| Some((case.mounted?, case.text.as_ref()?)));
        let mounted = first.and_then(|(at, text)| Some((all.get(at)?, text)));
        let judged = mounted.and_then(|(mounted, text)| mounted.assess_each(&roles, text)).unwrap_or_default();
        let mut judged = judged.into_iter();
        for case in &mut stale {
            case.assess(judged.next(), all, now, explains);
        }
        !stale.is_empty()
    }

    /// Works it out, if `judged` does not tell. What is missing for it is noted at its login.
    fn assess(&mut self, judged: Option<Judged>, all: &mut [Mounted], now: UnixSeconds, explains: bool) {
        let mounted = self.mounted.and_then(|at| all.get_mut(at));
        let (Some(mounted), Some(text)) = (mounted, &self.text) else {
            self.judged = Some(Judged::Always(Verdict::Refused(Refusal::RoleMissing)));
            return;
        };
        let mut judged =
            judged.unwrap_or_else(|| mounted.assess(&self.name.role, text, self.review.as_ref(), explains));
        let question = match &judged {
            Judged::Assessed(assessment) => {
                if let Some(namespace) = assessment.namespace_needed() {
                    self.namespace = Some(namespace.into());
                    mounted.want_namespace(namespace);
                }
                assessment.review_needed().cloned()
            }
            Judged::Always(_) => None,
        };
        if question != self.question {
            // An answer to another question is none.
            self.question = question;
            self.review_due = Instant::now();
            if self.review.take().is_some() {
                judged = mounted.assess(&self.name.role, text, None, explains);
            }
        }
        let unverified = Verdict::Refused(Refusal::UnknownKid) == judged.at(now)
            || Verdict::Refused(Refusal::BadSignature) == judged.at(now);
        if unverified && !self.asked_for_keys {
            self.asked_for_keys = true;
            mounted.ask_for_keys();
        }
        self.judged = Some(judged);
    }

    /// When the cluster is to be asked; `None` if it is not, or need not be: the token is refused before anybody asks.
    pub(super) fn review_due(&self, all: &[Mounted], now: UnixSeconds) -> Option<Instant> {
        let mounted = all.get(self.mounted?)?;
        self.question.as_ref().filter(|_| mounted.may_ask_cluster())?;
        let counts = matches!(
            self.judged.as_ref()?.at(now),
            Verdict::Accepted
                | Verdict::Undetermined(Unknown::ReviewUnavailable)
                | Verdict::Refused(Refusal::ReviewRefused)
        );
        counts.then_some(self.review_due)
    }

    /// Asks the cluster; an answer makes it stale.
    pub(super) fn ask(&mut self, all: &mut [Mounted], connect: &super::errand::Connect, own: &OwnMetrics) {
        let mounted = self.mounted.and_then(|at| all.get_mut(at));
        let (Some(mounted), Some(text), Some(question)) = (mounted, &self.text, &self.question) else { return };
        let interval = mounted.login.review_interval;
        let asked = mounted.with_cluster(connect, |cluster| super::review::token_review(cluster, text, question), own);
        match asked {
            Some(review) => {
                (self.review_due, self.review_failures) = (Instant::now() + interval, 0);
                if self.review.as_ref() != Some(&review) {
                    self.review = Some(review);
                    self.judged = None;
                }
            }
            None => {
                self.review_due = Instant::now() + retry(self.review_failures, interval);
                self.review_failures = self.review_failures.saturating_add(1);
            }
        }
    }

    /// What is shown of it.
    pub(super) fn shown(&self) -> LoginCase {
        let unknown = Judged::Always(Verdict::Undetermined(Unknown::MountUnreachable));
        LoginCase::new(&self.location, &self.name, self.judged.clone().unwrap_or(unknown))
    }

    pub(super) fn judged(&self) -> Option<&Judged> {
        self.judged.as_ref()
    }
}
