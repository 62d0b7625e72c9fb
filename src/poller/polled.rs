//! One source as its worker sees it: what it holds, whether it works, and when it is asked again.

use super::worker::Tally;
use crate::log::{Repeated, Telling};
use crate::snapshot::{ScopeStatus, SourceStatus};
use crate::source::secrets::StreamEvent;
use crate::source::{Followed, Held, PollError, Source, Tended, log_changes};
use crate::time::UnixSeconds;
use std::hash::{BuildHasher as _, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The first retry after a failure; each further one takes twice as long, up to one of the two below.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// The longest wait while the server cannot be reached or is in trouble: it may be back at any time.
const LONGEST_RETRY: Duration = Duration::from_secs(10);

/// The longest wait while an operator has to do something first (401, 403).
const LONGEST_RETRY_FOR_OPERATOR: Duration = Duration::from_secs(60);

/// After a watch failed, a good list is not enough: its successor must not have failed within this time.
const TRIAL: Duration = Duration::from_secs(2);

/// A server that asks for more patience than this is asked again all the same.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(600);

/// One source, and what is known of it.
pub(super) struct Polled {
    source: Box<dyn Source>,
    pub(super) status: SourceStatus,
    /// What the source held when it was looked at last.
    pub(super) shown: Arc<Held>,
    /// Something of this is not shown yet.
    pub(super) changed: bool,
    pub(super) due: Instant,
    /// When the last poll began.
    begun: Option<Instant>,
    /// Failures since it worked the last time.
    failing: Repeated,
    /// Failures in a row that an operator has to do something about, or else failures in a row that pass by themselves: a
    /// server that comes back refuses us for a moment, and that is not to be waited for as long as it was away.
    alike: u32,
    needs_operator: bool,
    /// The last failure was that of a watch.
    watch_failed: bool,
    /// The list after it was good; from this moment on the source works again.
    trial: Option<Instant>,
    /// Polls in a row that a watch asked for shortly after the one before.
    hasty: u32,
    /// When what its watches have asked for is read again, sooner than the next poll.
    pub(super) relist_due: Option<Instant>,
    /// When the parts that failed are tried again, while the source as a whole works.
    pub(super) mend_due: Option<Instant>,
    /// How often they have failed in a row.
    part_failures: u32,
}

impl Polled {
    /// Not polled yet, and due now.
    pub(super) fn new(source: Box<dyn Source>) -> Self {
        let due = Instant::now();
        let scopes = source.scopes().into_iter().map(|scope| ScopeStatus { up: false, ..scope });
        let status = SourceStatus { scopes: scopes.collect(), ..SourceStatus::untried(source.name()) };
        Polled {
            source,
            status,
            shown: Arc::default(),
            changed: false,
            due,
            begun: None,
            failing: Repeated::default(),
            alike: 0,
            needs_operator: false,
            watch_failed: false,
            trial: None,
            hasty: 0,
            relist_due: None,
            mend_due: None,
            part_failures: 0,
        }
    }

    /// Takes the place of another source: what that one showed stays until this one has something to show itself.
    pub(super) fn succeed(&mut self, status: SourceStatus, shown: Arc<Held>) {
        self.status = status;
        self.shown = shown;
    }

    /// The interval may be another one now.
    pub(super) fn keep_to(&mut self, interval: Duration) {
        if let Some(begun) = self.begun.filter(|_| !self.is_failing()) {
            self.due = begun + interval;
        }
    }

    /// Reads all of it.
    pub(super) fn poll(&mut self, interval: Duration, own: &Tally) {
        self.due = Instant::now() + interval;
        if !self.read(|source| source.poll(), interval, own) {
            return;
        }
        self.status.last_success = Some(UnixSeconds::now());
        for error in self.shown.iter().flat_map(|secret| &secret.errors) {
            own.count_source_error(&self.status.name, error.reason.as_str());
        }
    }

    /// Reads what its watches have asked for; the next poll is when it was.
    pub(super) fn relist(&mut self, interval: Duration, own: &Tally) {
        self.read(|source| source.relist(), interval, own);
    }

    /// Whether it could be read.
    fn read(
        &mut self,
        read: impl FnOnce(&mut dyn Source) -> Result<(), PollError>,
        interval: Duration,
        own: &Tally,
    ) -> bool {
        let begun = Instant::now();
        self.begun = Some(begun);
        self.relist_due = None;
        let name = Arc::clone(&self.status.name);
        let result = guarded(|| read(&mut *self.source)).unwrap_or_else(Err);
        let took = begun.elapsed();
        if self.source.is_stopped() || own.is_over() {
            // Its place is taken already, and it was broken off.
            self.due = Instant::now() + FIRST_RETRY;
            return false;
        }
        own.observe_poll(&name, took.as_secs_f64());
        self.count_errors(own);
        self.status.tried = true;
        if let Err(error) = result {
            self.watch_failed = false;
            self.fail(&error, Duration::ZERO, interval, own);
            return false;
        }
        if self.watch_failed {
            self.trial = self.trial.or(Some(Instant::now() + TRIAL));
        } else {
            self.recover();
        }
        self.mend_due = None;
        self.show(interval);
        let SourceStatus { tokens, secrets, .. } = self.status;
        log::debug!(source = &*name, tokens, secrets; "{name}: {tokens} tokens in {secrets} Secrets, read in {} ms", took.as_millis());
        true
    }

    fn recover(&mut self) {
        if let Some(sum) = self.failing.ended(Instant::now()) {
            let source = &*self.status.name;
            log::info!(source, failures = sum.tries, lasted = sum.lasted.as_secs(); "{source}: works again after {sum}");
        }
        self.alike = 0;
        self.watch_failed = false;
        self.trial = None;
    }

    /// Whether the time is up within which a watch could have failed again.
    pub(super) fn pass_trial(&mut self, now: Instant) -> bool {
        let passed = self.trial.is_some_and(|end| end <= now);
        if passed {
            self.recover();
            judge(&mut self.status, &*self.source);
        }
        passed
    }

    /// It has failed and not yet worked again.
    pub(super) fn is_failing(&self) -> bool {
        self.failing.tries() > 0
    }

    /// The next poll will tell whether the server is back.
    fn is_waiting(&self) -> bool {
        self.is_failing() && self.trial.is_none()
    }

    /// A watch leads to another poll: how long after the one before. What is good to be listed and cannot be watched is asked
    /// more and more slowly, until there is less than one request a second.
    fn patience(&mut self) -> Duration {
        let soon = self.begun.is_some_and(|begun| begun.elapsed() < LONGEST_RETRY);
        self.hasty = if soon { self.hasty.saturating_add(1) } else { 1 };
        if self.hasty == 1 {
            return FIRST_RETRY;
        }
        let doubled = FIRST_RETRY.saturating_mul(1 << (self.hasty - 1).min(10)).min(LONGEST_RETRY);
        let requests = FIRST_RETRY.saturating_mul(self.source.requests_a_poll());
        doubled.max(requests).min(LONGEST_RETRY_FOR_OPERATOR)
    }

    /// Tries the parts again that failed, and them alone.
    pub(super) fn mend(&mut self, interval: Duration, own: &Tally) {
        match guarded(|| self.source.mend()).unwrap_or_else(Err) {
            _ if self.source.is_stopped() || own.is_over() => self.mend_due = None,
            Ok(()) => {
                self.mend_due = None;
                self.show(interval);
            }
            Err(error) => self.fail(&error, Duration::ZERO, interval, own),
        }
        self.count_errors(own);
    }

    /// Counts the failures of its parts.
    fn count_errors(&mut self, own: &Tally) {
        for reason in self.source.take_errors() {
            own.count_source_error(&self.status.name, reason);
        }
    }

    /// The source as a whole works: which of its parts do not, and when they are tried again.
    fn take_in_faults(&mut self, interval: Duration) {
        let faults = self.source.faults();
        let waits = faults.iter().map(|fault| retry_after(self.part_failures, &fault.error, interval));
        match waits.max() {
            None => (self.mend_due, self.part_failures) = (None, 0),
            Some(wait) if self.mend_due.is_none() => {
                self.mend_due = Some(Instant::now() + wait.max(seconds_for(faults.len())));
                self.part_failures = self.part_failures.saturating_add(1);
            }
            Some(_) => {}
        }
        if !self.is_failing() {
            judge(&mut self.status, &*self.source);
        }
    }

    /// Takes over what the source holds, and what is wrong with it.
    pub(super) fn show(&mut self, interval: Duration) {
        self.take_in_faults(interval);
        let held = self.source.held().clone();
        log_changes(&self.status.name, &self.shown, &held);
        self.status.secrets = held.len();
        self.status.tokens = held.iter().map(|secret| secret.tokens.len()).sum();
        self.shown = Arc::new(held);
        self.changed = true;
    }

    pub(super) fn receive(&mut self, event: StreamEvent, interval: Duration, own: &Tally) {
        match guarded(|| self.source.receive(event)) {
            _ if self.source.is_stopped() || own.is_over() => {}
            Ok(Followed::Nothing) => {}
            Ok(Followed::Changed) => self.changed = true,
            Ok(Followed::Relist) => self.relist_soon(),
            // While it is failing already, its watches end one after the other: that is no further failure.
            Ok(Followed::Failed(error)) if self.is_waiting() => {
                if let Some(asked) = error.retry_after {
                    self.due = self.due.max(Instant::now() + asked.min(LONGEST_RETRY_AFTER));
                }
            }
            Ok(Followed::Failed(error)) | Err(error) => {
                self.watch_failed = true;
                let patience = self.patience();
                self.fail(&error, patience, interval, own);
                self.changed = true;
            }
        }
        self.count_errors(own);
    }

    /// Something of it is to be read again, but not sooner than a failure allows.
    fn relist_soon(&mut self) {
        if !self.is_waiting() && self.relist_due.is_none() {
            let begun = self.begun.unwrap_or_else(Instant::now);
            self.relist_due = Some(begun + self.patience());
        }
    }

    /// Lets the source do what is due between polls; when there is something to do again.
    pub(super) fn tend(&mut self, now: Instant) -> Instant {
        if self.is_waiting() {
            return self.due;
        }
        let Tended { next, changed, relist } = guarded(|| self.source.tend(now)).unwrap_or_default();
        self.changed |= changed;
        if relist {
            self.relist_soon();
        }
        // While a trial goes on, parts wait: the whole comes first.
        let mend_due = self.mend_due.filter(|_| !self.is_failing());
        [next, self.trial, self.relist_due, mend_due].into_iter().flatten().fold(self.due, Instant::min)
    }

    /// The next poll is not sooner than after `least`, but for an interval that is shorter anyway.
    fn fail(&mut self, error: &PollError, least: Duration, interval: Duration, own: &Tally) {
        let name = &self.status.name;
        own.count_source_error(name, error.reason);
        if self.needs_operator != error.needs_operator {
            self.alike = 0;
        }
        let requests = seconds_for(self.source.faults().len());
        let wait = retry_after(self.alike, error, interval).max(least.min(interval)).max(requests);
        self.alike = self.alike.saturating_add(1);
        self.needs_operator = error.needs_operator;
        self.trial = None;
        let now = Instant::now();
        self.due = now + wait;
        self.relist_due = None;
        self.status.up = false;
        let scopes = self.source.scopes().into_iter();
        self.status.scopes = scopes.map(|scope| ScopeStatus { up: false, ..scope }).collect();
        // Messages of one and the same failure may differ in a number.
        let (level, again) = match self.failing.failed(error.reason, now) {
            Telling::First => (log::Level::Error, String::new()),
            Telling::Again => (log::Level::Debug, String::new()),
            Telling::Summary(sum) => (log::Level::Error, format!("still failing, {sum}; the last one: ")),
        };
        let (failures, retry_in) = (self.failing.tries(), wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
        let kept = if self.status.last_success.is_some() { "; what was read before stays shown" } else { "" };
        log::log!(level, source = &**name, reason = error.reason, failures, retry_in;
            "{name}: {again}{error}; next try in {retry_in} s{kept}");
        self.status.failure = Some(error.message.as_str().into());
    }
}

/// What a source says of its parts, while it works as a whole.
pub(super) fn judge(status: &mut SourceStatus, source: &dyn Source) {
    let faults = source.faults();
    status.scopes = source.scopes().into();
    status.up = faults.iter().all(|fault| fault.is_slight);
    let failure = faults.iter().find(|fault| !fault.is_shown);
    status.failure = failure.map(|fault| fault.error.message.as_str().into());
}

/// Requests that fail are at most one a second.
fn seconds_for(requests: usize) -> Duration {
    Duration::from_secs(requests as u64)
}

/// A panic in a dependency costs one poll or one event: what was known stays, and the source is asked again.
pub(super) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, PollError> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| PollError {
        reason: "panic",
        message: "broken off by a defect of this program; please report the place above".into(),
        retry_after: None,
        needs_operator: false,
    })
}

/// How long to wait after one more failure: exponential, with a jitter of a fifth so that replicas do not call in step,
/// and never longer than the ordinary interval unless the server asked for it.
fn retry_after(failures_before: u32, error: &PollError, interval: Duration) -> Duration {
    if let Some(asked) = error.retry_after {
        return asked.clamp(FIRST_RETRY, LONGEST_RETRY_AFTER);
    }
    let longest = if error.needs_operator { LONGEST_RETRY_FOR_OPERATOR } else { LONGEST_RETRY };
    let wait = FIRST_RETRY.saturating_mul(1 << failures_before.min(10)).min(longest).min(interval.max(FIRST_RETRY));
    // The standard library's only source of randomness; it need not be good.
    let random = RandomState::new().hash_one(failures_before) % 1000;
    wait.mul_f64(1.0 + 0.2 * random as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_bound_and_obey_the_server() {
        let error =
            |needs_operator, retry_after| PollError { reason: "", message: String::new(), retry_after, needs_operator };
        let hour = Duration::from_secs(3600);
        let seconds = |failures, error: &PollError, interval| retry_after(failures, error, interval).as_secs_f64();
        for (failures, least) in [(0, 1.0), (1, 2.0), (2, 4.0), (3, 8.0), (4, 10.0), (40, 10.0)] {
            let wait = seconds(failures, &error(false, None), hour);
            assert!((least..=least * 1.2).contains(&wait), "{failures} {wait}");
        }
        let wait = seconds(40, &error(true, None), hour);
        assert!((60.0..=72.0).contains(&wait), "{wait}");
        let wait = seconds(40, &error(true, None), Duration::from_millis(300));
        assert!((1.0..=1.2).contains(&wait), "{wait}");
        assert_eq!(seconds(0, &error(false, Some(Duration::from_secs(30))), hour), 30.0);
        assert_eq!(seconds(0, &error(false, Some(Duration::ZERO)), hour), 1.0);
        assert_eq!(seconds(0, &error(false, Some(hour)), hour), 600.0);
    }
}
