//! One source as its worker sees it: what it holds, whether it works, and when it is asked again.

use super::worker::Tally;
use crate::log::{Repeated, Telling};
use crate::snapshot::{ScopeStatus, SourceStatus};
use crate::source::secrets::StreamEvent;
use crate::source::{Followed, Held, PollError, Source, Tended, log_changes, spread};
use crate::time::UnixSeconds;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The first retry after a failure; each further one takes twice as long, up to one of the two below.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// The longest wait while the server cannot be reached or is in trouble: it may be back at any time.
const LONGEST_RETRY: Duration = Duration::from_secs(10);

/// The longest wait while an operator has to do something first (401, 403).
const LONGEST_RETRY_FOR_OPERATOR: Duration = Duration::from_secs(60);

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
    /// After a failure: nothing is asked before this.
    wait_until: Option<Instant>,
    /// What [`Source::requests`] was when the last poll began.
    requests_before: u32,
    /// Polls in a row that a watch asked for shortly after the one before.
    hasty: u32,
    /// When what its watches have asked for is read again, sooner than the next poll.
    relist_due: Option<Instant>,
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
            wait_until: None,
            requests_before: 0,
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

    /// Reads what its watches have asked for; the next poll is when it was. After a failure that is everything.
    pub(super) fn relist(&mut self, interval: Duration, own: &Tally) {
        if self.is_failing() {
            return self.poll(interval, own);
        }
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
        self.requests_before = self.source.requests();
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
            self.poll_failed(&error, interval, own);
            return false;
        }
        if self.source.watches_work() {
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
        self.wait_until = None;
    }

    /// It has failed and not yet worked again.
    pub(super) fn is_failing(&self) -> bool {
        self.failing.tries() > 0
    }

    /// From when on the requests since the last poll began are at most one a second.
    fn paid(&self) -> Option<Instant> {
        let requests = self.source.requests().wrapping_sub(self.requests_before);
        self.begun.map(|begun| begun + FIRST_RETRY.saturating_mul(requests))
    }

    /// Tries the parts again that failed, and them alone.
    pub(super) fn mend(&mut self, interval: Duration, own: &Tally) {
        match guarded(|| self.source.mend()).unwrap_or_else(Err) {
            _ if self.source.is_stopped() || own.is_over() => self.mend_due = None,
            Ok(()) => {
                self.mend_due = None;
                self.show(interval);
            }
            Err(error) => self.poll_failed(&error, interval, own),
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
        let waits = faults.iter().map(|fault| {
            let backoff = backoff(self.part_failures, &fault.error, interval).max(seconds_for(faults.len()));
            after(fault.error.retry_after.unwrap_or_default()).max(Instant::now() + backoff)
        });
        match waits.max() {
            None => (self.mend_due, self.part_failures) = (None, 0),
            Some(_) if self.mend_due.is_some() => {}
            due => (self.mend_due, self.part_failures) = (due, self.part_failures.saturating_add(1)),
        }
        // While it is failing, its watches have not shown yet that they work.
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
            Ok(Followed::Failed(error)) if self.wait_until.is_some_and(|until| Instant::now() < until) => {
                self.wait_until = self.wait_until.max(error.retry_after.map(after));
                self.let_wait();
            }
            Ok(Followed::Failed(error)) | Err(error) if self.source.watches_work() => {
                self.poll_failed(&error, interval, own);
                self.changed = true;
            }
            Ok(Followed::Failed(error)) | Err(error) => {
                self.fail(&error, None, interval, own);
                // As long as no watch can be opened, changes show by lists alone.
                let list = Instant::now() + LONGEST_RETRY_FOR_OPERATOR;
                self.due = self.due.min(list).max(self.paid().unwrap_or(list));
                self.let_wait();
                self.changed = true;
            }
        }
        self.count_errors(own);
    }

    /// Something of it is to be read again, but not sooner than a failure allows. What is good to be listed and cannot be
    /// watched is asked more and more slowly.
    fn relist_soon(&mut self) {
        if self.relist_due.is_some() {
            return;
        }
        let begun = self.begun.unwrap_or_else(Instant::now);
        self.hasty = if begun.elapsed() < LONGEST_RETRY { self.hasty.saturating_add(1) } else { 1 };
        let doubled = FIRST_RETRY.saturating_mul(1 << (self.hasty - 1).min(10)).min(LONGEST_RETRY);
        self.relist_due = Some(begun + doubled).max(self.wait_until);
    }

    /// Whether that is to be done now. From the second time on, what it costs counts.
    pub(super) fn is_relist_due(&mut self, now: Instant) -> bool {
        if self.hasty > 1 && self.relist_due.is_some() {
            self.relist_due = self.relist_due.max(self.paid());
        }
        self.relist_due.is_some_and(|due| due <= now)
    }

    /// Lets the source do what is due between polls; when there is something to do again.
    pub(super) fn tend(&mut self, now: Instant) -> Instant {
        // After a poll that failed, the next one comes first.
        if let Some(until) = self.wait_until.filter(|until| now < *until || self.due <= now) {
            return until.min(self.due);
        }
        let Tended { next, changed, relist } = guarded(|| self.source.tend(now)).unwrap_or_default();
        self.changed |= changed;
        if relist {
            self.relist_soon();
        }
        if self.is_failing() && self.relist_due.is_none() && self.source.watches_work() {
            self.recover();
            self.changed = true;
        }
        // While watches are tried, parts wait: the whole comes first.
        let mend_due = self.mend_due.filter(|_| !self.is_failing());
        [next, self.relist_due, mend_due].into_iter().flatten().fold(self.due, Instant::min)
    }

    /// The next try is a poll. While it goes on to fail, all the requests that polls make are at most one a second.
    fn poll_failed(&mut self, error: &PollError, interval: Duration, own: &Tally) {
        let paid = self.paid().filter(|_| self.is_failing());
        self.fail(error, paid, interval, own);
        self.due = self.wait_until.unwrap_or(self.due);
        self.let_wait();
    }

    /// Whatever else was to be asked waits as well.
    fn let_wait(&mut self) {
        let Some(until) = self.wait_until else { return };
        self.due = self.due.max(until);
        self.relist_due = self.relist_due.map(|due| due.max(until));
    }

    /// The next try is not sooner than at `least`.
    fn fail(&mut self, error: &PollError, least: Option<Instant>, interval: Duration, own: &Tally) {
        let name = &self.status.name;
        own.count_source_error(name, error.reason);
        if self.needs_operator != error.needs_operator {
            self.alike = 0;
        }
        // The wait counts from the beginning of the try that failed: a server that says nothing costs no more time than one
        // that refuses.
        let backoff = backoff(self.alike, error, interval);
        let now = Instant::now();
        let tried = self.begun.max(self.wait_until.filter(|until| *until <= now));
        let asked = after(error.retry_after.unwrap_or_default());
        let until = tried.map_or(asked, |tried| asked.max(tried + backoff)).max(least.unwrap_or(asked));
        self.wait_until = Some(until);
        self.alike = self.alike.saturating_add(1);
        self.needs_operator = error.needs_operator;
        let wait = until.saturating_duration_since(now);
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

/// How long to wait after one more failure: exponential, and hardly longer than the ordinary interval.
fn backoff(failures_before: u32, error: &PollError, interval: Duration) -> Duration {
    let longest = if error.needs_operator { LONGEST_RETRY_FOR_OPERATOR } else { LONGEST_RETRY };
    let doubled = FIRST_RETRY.saturating_mul(1 << failures_before.min(10));
    // With all that is added at random it is not longer than the longest.
    spread(doubled.min(longest * 5 / 6).min(interval.max(FIRST_RETRY)))
}

/// Not sooner than the server asked for, and in any case not at once.
fn after(asked: Duration) -> Instant {
    Instant::now() + spread(asked.clamp(FIRST_RETRY, LONGEST_RETRY_AFTER)).min(LONGEST_RETRY_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(needs_operator: bool, retry_after: Option<Duration>) -> PollError {
        PollError { reason: "", message: String::new(), retry_after, needs_operator }
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn waits_grow_and_never_exceed_their_bounds() {
        let seconds = |failures, needs_operator, interval| {
            backoff(failures, &error(needs_operator, None), interval).as_secs_f64()
        };
        for _ in 0..100 {
            for (failures, least, most) in [(0, 1.0, 1.2), (1, 2.0, 2.4), (2, 4.0, 4.8), (3, 8.0, 9.6), (4, 8.3, 10.0)]
            {
                let wait = seconds(failures, false, HOUR);
                assert!((least..=most).contains(&wait), "{failures} {wait}");
            }
            assert!((8.3..=10.0).contains(&seconds(40, false, HOUR)));
            assert!((50.0..=60.0).contains(&seconds(40, true, HOUR)));
            assert!((1.0..=1.2).contains(&seconds(40, true, Duration::from_millis(300))));
        }
    }

    #[test]
    fn a_server_is_obeyed_up_to_a_bound_and_not_by_all_at_the_same_moment() {
        let seconds = |asked| after(asked).duration_since(Instant::now()).as_secs_f64();
        for (asked, least, most) in [(0, 0.9, 1.2), (30, 29.9, 36.0), (590, 589.9, 600.0), (u64::MAX, 599.9, 600.0)] {
            let wait = seconds(Duration::from_secs(asked));
            assert!((least..=most).contains(&wait), "{asked} {wait}");
        }
        let waits: std::collections::BTreeSet<u64> = (0..20).map(|_| (seconds(HOUR / 10) * 1000.0) as u64).collect();
        assert!(waits.len() > 5, "{waits:?}");
    }
}
