//! The one thread of all renewals: what can hang hangs here, and delays no poll and no scrape.
//!
//! It knows when each renewal is due by looking itself: the Secret is read a few minutes after the last look at the latest, at
//! once when what the sources saw of it has changed, and always directly before a claim. So a token that somebody else renewed
//! is not renewed again, and one that somebody broke does not wait for its old date.

use super::attempt::{Claiming, Held, InHand, Issuer, Outcome, Target, Terms, attempt};
use super::claim::Claim;
use super::course::{Course, Next};
use super::means::Means;
use super::plan::{Renewal, TargetPlan};
use super::reason::{Failure, Reason};
use super::report;
use super::request::Endpoint;
use super::target::file::FileTarget;
use super::target::secret::SecretTarget;
use crate::metrics::RenewalStatus;
use crate::redacted::Redacted;
use crate::snapshot::Snapshot;
use crate::time::UnixSeconds;
use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::time::Duration;

/// A Secret is looked at so often, whatever the sources see. One small request.
pub(super) const LOOK_SECRET: i64 = 300;
/// A file is looked at so often.
const LOOK_FILE: i64 = 20;
/// The sources' snapshot is looked at so often: two pointers are compared.
const TICK: Duration = Duration::from_secs(1);
/// A claim holds for the request's `timeout` and this much longer, for what is asked of the API server.
const CLAIM_MARGIN: i64 = 90;

/// What led to a defect may lead there again.
const AFTER_DEFECT: Duration = Duration::from_secs(60);

const DEFECT: &str = "a defect of this program; please report the place above";

enum Order {
    Replace(Vec<Renewal>, Box<Means>),
    Stop,
}

/// The running thread. It ends when this is dropped, behind the try that is under way.
pub struct Errand {
    orders: Sender<Order>,
}

impl Errand {
    /// Starts it.
    ///
    /// # Errors
    /// Those of starting a thread.
    pub fn start(renewals: Vec<Renewal>, means: Means) -> std::io::Result<Self> {
        let (orders, received) = mpsc::channel();
        let mut desk = Desk::new(renewals, means);
        std::thread::Builder::new().name("renewals".to_owned()).spawn(move || desk.run(&received))?;
        Ok(Self { orders })
    }

    /// Goes on with another configuration. A renewal that is in both as it was keeps its state: failures, waits, counters.
    pub fn replace(&self, renewals: Vec<Renewal>, means: Means) {
        // A thread that is gone has said so.
        let _ = self.orders.send(Order::Replace(renewals, Box::new(means)));
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::Stop);
    }
}

/// A renewal and where it stands.
struct Task {
    renewal: Renewal,
    course: Course,
    in_hand: InHand,
    status: RenewalStatus,
    /// When it was looked at last; `None`: it is to be looked at now.
    looked: Option<UnixSeconds>,
    /// When a failed try is made again, also if nothing is due: an immutable Secret is told at once, and looked at again.
    retry: Option<UnixSeconds>,
    /// The state of the Secret that the sources saw at the last look.
    seen: Option<u64>,
    /// A question to the endpoint that did not come to an end in its time.
    hung: Option<Answer>,
}

/// Where the answer of the endpoint arrives.
type Answer = Receiver<Result<Redacted, Failure>>;

/// The thread's state.
struct Desk {
    tasks: Vec<Task>,
    means: Means,
    /// Our name in claims.
    holder: String,
    /// The snapshot that was looked into last.
    snapshot: Option<Arc<Snapshot>>,
}

impl Desk {
    fn new(renewals: Vec<Renewal>, means: Means) -> Self {
        let mut desk = Self { tasks: Vec::new(), means, holder: holder(), snapshot: None };
        desk.take(renewals);
        desk
    }

    /// Takes in a configuration.
    fn take(&mut self, renewals: Vec<Renewal>) {
        let mut old: VecDeque<Task> = std::mem::take(&mut self.tasks).into();
        for renewal in renewals {
            let at = old.iter().position(|task| task.renewal == renewal);
            let task = at.and_then(|at| old.remove(at)).unwrap_or_else(|| Task::new(renewal));
            self.tasks.push(task);
        }
        self.snapshot = None;
        self.publish();
    }

    fn run(&mut self, orders: &Receiver<Order>) {
        loop {
            let rest = if self.is_well_through(Self::work) { TICK } else { AFTER_DEFECT };
            match orders.recv_timeout(rest) {
                Ok(Order::Replace(renewals, means)) => {
                    self.means = *means;
                    self.is_well_through(|desk| desk.take(renewals));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// A defect costs this one step; the thread goes on.
    fn is_well_through(&mut self, step: impl FnOnce(&mut Self)) -> bool {
        let is_well = catch_unwind(AssertUnwindSafe(|| step(self))).is_ok();
        if !is_well {
            self.means.own.count_error();
            log::error!("renewals: broken off by {DEFECT}");
        }
        is_well
    }

    /// Does what is due.
    fn work(&mut self) {
        self.notice();
        let mut worked = false;
        for task in &mut self.tasks {
            let now = UnixSeconds::now();
            if task.is_ours(&self.means) && task.wakes(now) {
                let Some(_try) = self.means.leaving.begin() else { return };
                task.work(&self.means, &self.holder);
                worked = true;
            }
        }
        if worked {
            self.publish();
        }
    }

    /// What the sources saw anew is looked at at once.
    fn notice(&mut self) {
        let snapshot = self.means.snapshot.load();
        if self.snapshot.as_ref().is_some_and(|known| Arc::ptr_eq(known, &snapshot)) {
            return;
        }
        for task in &mut self.tasks {
            let seen = snapshot.version_at(&task.status.location);
            if seen != task.seen {
                task.seen = seen;
                task.looked = None;
            }
        }
        self.snapshot = Some(snapshot);
    }

    fn publish(&self) {
        let ours = self.tasks.iter().filter(|task| task.is_ours(&self.means));
        self.means.own.publish_renewals(ours.map(|task| task.status.clone()).collect());
    }
}

impl Task {
    fn new(renewal: Renewal) -> Self {
        let status = RenewalStatus::new(renewal.target.to_string(), renewal.location(), renewal.request.is_insecure());
        let course = Course::new(renewal.policy);
        Self { renewal, course, in_hand: None, status, looked: None, retry: None, seen: None, hung: None }
    }

    fn is_ours(&self, means: &Means) -> bool {
        match &self.renewal.target {
            TargetPlan::Secret { namespace, name, .. } => (means.owns)(namespace, name),
            TargetPlan::File(_) => true,
        }
    }

    fn wakes(&self, now: UnixSeconds) -> bool {
        let interval = match self.renewal.target {
            TargetPlan::Secret { .. } => LOOK_SECRET,
            TargetPlan::File(_) => LOOK_FILE,
        };
        // A clock that was set back makes the last look one of the future.
        let rests = self.looked.is_some_and(|looked| (0..interval).contains(&now.since(looked)));
        !rests || self.course.is_due(now) || self.retry.is_some_and(|at| at <= now)
    }

    fn work(&mut self, means: &Means, holder: &str) {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.attempt(means, holder))).unwrap_or_else(|_| {
            let failure = Failure::new(Reason::Panic, DEFECT);
            let next = self.course.failed(&failure, UnixSeconds::now(), &mut chance);
            Outcome::Failed { failure, next, in_hand: self.in_hand.is_some() }
        });
        let now = UnixSeconds::now();
        self.looked = Some(now);
        self.note(&outcome, now);
        if let Some((level, line)) = report::line(&outcome, &self.course, now) {
            log::log!(level, "renewal of {}: {line}", self.renewal.target);
        }
    }

    fn attempt(&mut self, means: &Means, holder: &str) -> Outcome {
        let plan = &self.renewal;
        let timeout = i64::try_from(plan.request.timeout.as_secs()).unwrap_or(i64::MAX - CLAIM_MARGIN);
        let claim_seconds = timeout.saturating_add(CLAIM_MARGIN);
        let patience = Duration::from_secs(claim_seconds.unsigned_abs());
        let mut endpoint = Aside { renewal: plan, means, patience, hung: &mut self.hung };
        let terms = Terms {
            holder,
            claim_seconds,
            clock: &UnixSeconds::now,
            is_leaving: &|| means.leaving.is_told(),
            admits: &|annotation, token| means.admission(&plan.target, annotation, token),
        };
        self.course.heed_clock(UnixSeconds::now(), terms.claim_seconds);
        let mut of_secret;
        let mut of_file;
        let target: &mut dyn Target = match &plan.target {
            TargetPlan::Secret { context, namespace, name, key, create } => {
                match means.clusters.get(context.as_deref()) {
                    Some(cluster) => {
                        of_secret = SecretTarget::new(cluster, (namespace, name, key), create.as_deref());
                        &mut of_secret
                    }
                    None => &mut Unreachable,
                }
            }
            TargetPlan::File(path) => {
                of_file = FileTarget::new(path);
                &mut of_file
            }
        };
        attempt(&mut self.course, &mut self.in_hand, target, &mut endpoint, &terms, &mut chance)
    }

    /// Moves the metrics.
    fn note(&mut self, outcome: &Outcome, now: UnixSeconds) {
        match outcome {
            Outcome::Renewed { .. } => {
                self.status.successes += 1;
                self.status.last_success = Some(now);
                (self.status.error, self.status.failure) = (None, None);
            }
            Outcome::Failed { failure, .. } => {
                self.status.failures += 1;
                self.status.error = Some(failure.reason.as_str());
                self.status.failure = Some(failure.message.clone());
            }
            Outcome::Fresh { .. } => (self.status.error, self.status.failure) = (None, None),
            Outcome::Waiting | Outcome::Claimed(_) | Outcome::BrokenOff => {}
        }
        self.retry = match outcome {
            Outcome::Failed { next, .. } => Some(*next),
            Outcome::Waiting => self.retry.filter(|at| *at > now),
            _ => None,
        };
        self.status.next = match self.course.next() {
            _ if self.retry.is_some() => self.retry,
            Next::At(at) => Some(at),
            Next::Unknown | Next::Never => None,
        };
    }
}

/// The endpoint, asked by a thread of its own: whatever it hangs in, the try ends when the program does.
struct Aside<'a> {
    renewal: &'a Renewal,
    means: &'a Means,
    /// No answer takes longer than a claim holds.
    patience: Duration,
    hung: &'a mut Option<Answer>,
}

impl Aside<'_> {
    fn hangs(&self) -> Failure {
        let message = format!(
            "nothing came in {} s, though the request has less: reading the credentials or `ca_file` hangs; nothing more is asked \
             until that ends",
            self.patience.as_secs()
        );
        Failure::new(Reason::Timeout, message)
    }
}

impl Issuer for Aside<'_> {
    fn ask(&mut self) -> Result<Redacted, Failure> {
        // Each try would leave another thread behind.
        if self.hung.as_ref().is_some_and(|coming| matches!(coming.try_recv(), Err(TryRecvError::Empty))) {
            return Err(self.hangs());
        }
        *self.hung = None;
        let (renewal, means) = (self.renewal.clone(), self.means.clone());
        let (answer, coming) = mpsc::channel();
        let asking = move || {
            let (clusters, environment) = (&means.clusters, &*means.environment);
            let _ = answer.send(Endpoint { renewal: &renewal, clusters, environment }.ask());
        };
        std::thread::Builder::new()
            .name("renewal".to_owned())
            .spawn(asking)
            .map_err(|error| Failure::new(Reason::BadSettings, format!("a thread cannot be started: {error}")))?;
        match self.means.leaving.wait_for(&coming, self.patience, Duration::ZERO) {
            Ok(Some(asked)) => asked,
            Ok(None) if self.means.leaving.is_told() => Err(Failure::new(Reason::Connect, "the program stops")),
            Ok(None) => {
                *self.hung = Some(coming);
                Err(self.hangs())
            }
            Err(_) => Err(Failure::new(Reason::Panic, DEFECT)),
        }
    }
}

/// A Secret where no API server is ever called. The configuration refuses it.
struct Unreachable;

impl Target for Unreachable {
    fn read(&mut self) -> Result<Held, Failure> {
        Err(Failure::new(Reason::TargetUnavailable, "no API server is called (`kubernetes: false`)"))
    }

    fn claim(&mut self, _: &Claim) -> Result<Claiming, Failure> {
        Ok(Claiming::Changed)
    }

    fn write(&mut self, _: &Redacted) -> Result<bool, Failure> {
        Ok(false)
    }
}

/// Chance for waits, not for secrets: the standard library seeds its hashers from the system.
#[allow(clippy::cast_precision_loss)] // 53 bits
fn chance() -> f64 {
    (RandomState::new().hash_one(0) >> 11) as f64 / (1u64 << 53) as f64
}

/// The pod's name, as its host name, and a number that no other process has.
fn holder() -> String {
    let host = std::env::var("HOSTNAME").or_else(|_| std::fs::read_to_string("/etc/hostname")).unwrap_or_default();
    let host: String =
        host.trim().chars().filter(|c| c.is_ascii_alphanumeric() || "-.".contains(*c)).take(100).collect();
    let host = if host.is_empty() { "jwt-exporter".to_owned() } else { host };
    format!("{host}/{:08x}", RandomState::new().hash_one(0) >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::metrics::{BuildInfo, OwnMetrics};
    use crate::published::Published;
    use crate::renewal::means::Owns;
    use crate::renewal::plan::Clusters;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    fn means(owns: bool) -> Means {
        let own = OwnMetrics::new(BuildInfo { version: "", revision: "", rustc: "" }).unwrap();
        let snapshot = Arc::new(Published::new(Snapshot::default()));
        let owns: Arc<Owns> = Arc::new(move |_, _| owns);
        Means { owns, ..Means::new(Clusters::default(), own, snapshot) }
    }

    fn renewals(paths: &[&str]) -> Vec<Renewal> {
        let item = |path: &&str| {
            format!(
                "- {{secret: {{namespace: a, name: {path}, key: c}}, request: {{url: 'http://[::1]:9'}}, token: /t}}\n"
            )
        };
        let text: String = paths.iter().map(item).collect();
        config::parse(&format!("renewals:\n{text}"), "x", &|_| None).unwrap().renewals
    }

    #[test]
    fn a_renewal_that_stays_as_it_was_keeps_its_state() {
        let mut desk = Desk::new(renewals(&["one", "two"]), means(true));
        desk.work();
        let failures = |desk: &Desk| {
            desk.tasks.iter().map(|task| (task.course.failures(), task.status.failures)).collect::<Vec<_>>()
        };
        assert_eq!(failures(&desk), [(1, 1), (1, 1)]);
        desk.take(renewals(&["three", "two"]));
        assert_eq!(failures(&desk), [(0, 0), (1, 1)]);
        let next = |desk: &Desk| desk.tasks[1].status.next;
        let before = next(&desk);
        desk.work();
        assert_eq!((failures(&desk), next(&desk)), (vec![(1, 1), (1, 1)], before), "the wait of the old one goes on");
    }

    #[test]
    fn what_belongs_to_another_shard_is_left_alone() {
        let mut desk = Desk::new(renewals(&["one"]), means(false));
        desk.work();
        assert_eq!((desk.tasks[0].course.failures(), desk.tasks[0].status.failures), (0, 0));
    }

    #[test]
    fn an_endpoint_that_cannot_even_be_asked_is_given_up_and_left_alone_until_it_ends() {
        let (hanging, asked) = (Arc::new(Mutex::new(())), Arc::new(AtomicUsize::new(0)));
        let (hangs, counts) = (Arc::clone(&hanging), Arc::clone(&asked));
        let environment = move |_: &str| {
            counts.fetch_add(1, Ordering::SeqCst);
            drop(hangs.lock());
            None
        };
        let means = Means { environment: Arc::new(environment), ..means(true) };
        let (renewal, mut hung) = (renewals(&["one"]).remove(0), None);
        let mut ask =
            |patience| Aside { renewal: &renewal, means: &means, patience, hung: &mut hung }.ask().unwrap_err();
        let held = hanging.lock().unwrap();
        for patience in [Duration::from_millis(1), Duration::from_secs(5)] {
            assert_eq!(ask(patience).reason, Reason::Timeout);
        }
        assert!(asked.load(Ordering::SeqCst) <= 1, "it is asked by one thread");
        drop(held);
        while ask(Duration::from_secs(600)).reason == Reason::Timeout {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_defect_does_not_end_the_thread() {
        let breaks = Arc::new(AtomicBool::new(false));
        let breaking = Arc::clone(&breaks);
        let owns: Arc<Owns> = Arc::new(move |_, _| {
            assert!(!breaking.swap(false, Ordering::SeqCst), "a defect, as wanted");
            true
        });
        let means = Means { owns, ..means(true) };
        let mut desk = Desk::new(renewals(&["one"]), means.clone());
        breaks.store(true, Ordering::SeqCst);
        let (orders, received) = mpsc::channel();
        orders.send(Order::Replace(renewals(&["two"]), Box::new(means.clone()))).unwrap();
        orders.send(Order::Stop).unwrap();
        assert!(std::thread::spawn(move || desk.run(&received)).join().is_ok());
        let shown: Vec<_> =
            means.own.renewals().iter().map(|status| (status.target.clone(), status.failures)).collect();
        assert_eq!(shown, [("a/two (key c)".to_owned(), 1)]);
        assert!(!breaks.load(Ordering::SeqCst));
    }

    #[test]
    fn names_in_claims_differ_and_are_one_word() {
        let (one, other) = (holder(), holder());
        assert_ne!(one, other);
        assert!(!one.contains(char::is_whitespace), "{one}");
    }
}
