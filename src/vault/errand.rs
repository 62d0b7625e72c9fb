//! The one thread of all logins: what can hang hangs here, and delays no poll and no scrape.
//!
//! It sleeps until the sources see something else, or something is due. First it works out what can be worked out with what is
//! known, and publishes that; only then it goes on one errand, and looks again.

use super::case::Case;
use super::fetch::Environment;
use super::foresight::{Foreseen, Foresight, Inquiry};
use super::mounted::Mounted;
use super::plan::{Login, Reviewer};
use crate::kubernetes::Cluster;
use crate::metrics::{Judged, LoginBoard, OwnMetrics};
use crate::observation::LoginName;
use crate::published::Published;
use crate::redacted::Redacted;
use crate::snapshot::Snapshot;
use crate::time::UnixSeconds;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::time::{Duration, Instant};

/// Orders are looked for so often.
const TICK: Duration = Duration::from_secs(1);

/// Answers of a cluster that come close together are published together.
const GATHER: Duration = Duration::from_millis(100);

/// For one answer no more is asked than a mount, its keys, its keys once more, labels and a review.
const MOST_ERRANDS: usize = 5;

/// The way into the cluster that answers TokenReviews; an error is what is missing, for the log.
pub type Connect = dyn Fn(&Reviewer) -> Result<Arc<Cluster>, String> + Send + Sync;

/// What logins are judged with.
#[derive(Clone)]
pub struct Means {
    /// Where verdicts are published.
    pub own: OwnMetrics,
    /// What the sources saw.
    pub snapshot: Arc<Published<Snapshot>>,
    /// The clusters.
    pub connect: Arc<Connect>,
    /// The environment: proxies, `SSL_CERT_FILE`.
    pub environment: Arc<Environment>,
}

pub(super) enum Order {
    Replace(Vec<Login>, Box<Means>),
    Foresee(Inquiry),
    Stop,
}

/// The running thread. It ends when this is dropped, behind the request that is under way.
pub struct Errand {
    orders: Sender<Order>,
}

impl Errand {
    /// Starts it.
    ///
    /// # Errors
    /// Those of starting a thread.
    pub fn start(logins: Vec<Login>, means: Means) -> std::io::Result<Self> {
        let (orders, received) = mpsc::channel();
        let mut desk = Desk::new(logins, means, false);
        std::thread::Builder::new().name("logins".to_owned()).spawn(move || desk.run(&received))?;
        Ok(Self { orders })
    }

    /// Goes on with another configuration. A login that is in both as it was keeps what is known of it.
    pub fn replace(&self, logins: Vec<Login>, means: Means) {
        // A thread that is gone has said so.
        let _ = self.orders.send(Order::Replace(logins, Box::new(means)));
    }

    /// The way to ask about tokens that are yet to come, as long as this runs.
    #[must_use]
    pub fn foresight(&self) -> Foresight {
        Foresight(self.orders.clone())
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::Stop);
    }
}

/// Judges the tokens of a snapshot once, asking whomever there is to ask, and publishes what came of it. The verdicts are
/// returned too: location labels, login and role, verdict.
#[must_use]
pub fn look_once(logins: Vec<Login>, means: Means) -> Vec<(String, LoginName, Judged)> {
    let mut desk = Desk::new(logins, means, true);
    while desk.work().is_some_and(|next| next <= Instant::now()) {}
    let judged = |case: &Case| Some((case.location.to_string(), case.name.clone(), case.judged()?.clone()));
    desk.cases.iter().filter_map(judged).collect()
}

/// What is due.
enum Due {
    Mount(usize),
    Keys(usize),
    Namespace(usize, String),
    Review(usize),
}

/// The thread's state.
struct Desk {
    means: Means,
    mounted: Vec<Mounted>,
    /// In the order of the snapshot.
    cases: Vec<Case>,
    /// The one that was looked into last.
    snapshot: Option<Arc<Snapshot>>,
    /// Something of it is not published yet.
    changed: bool,
    /// When something was published last.
    published: Option<Instant>,
    /// Somebody will read what each check came to.
    explains: bool,
}

impl Desk {
    fn new(logins: Vec<Login>, means: Means, explains: bool) -> Self {
        let mut desk = Self {
            means,
            mounted: Vec::new(),
            cases: Vec::new(),
            snapshot: None,
            changed: true,
            published: None,
            explains,
        };
        desk.take(logins);
        desk
    }

    /// Takes in a configuration.
    fn take(&mut self, logins: Vec<Login>) {
        let mut old = std::mem::take(&mut self.mounted);
        let mut kept = Vec::new();
        for login in logins {
            let at = old.iter().position(|mounted| mounted.login == login);
            if at.is_some() {
                kept.push(login.name.clone());
            }
            let mounted = at.map_or_else(|| Mounted::new(login), |at| old.swap_remove(at));
            self.mounted.push(mounted);
        }
        for mounted in &mut self.mounted {
            mounted.forget_cluster();
        }
        // What a case knows belongs to its login, which may be another one now.
        self.cases.retain(|case| kept.iter().any(|name| **name == *case.name.login));
        for case in &mut self.cases {
            case.mounted = self.mounted.iter().position(|mounted| *mounted.login.name == *case.name.login);
        }
        self.snapshot = None;
        self.changed = true;
    }

    fn run(&mut self, orders: &Receiver<Order>) {
        loop {
            let next = catch_unwind(AssertUnwindSafe(|| self.work())).unwrap_or_else(|_| {
                self.means.own.count_error();
                log::error!("logins: broken off by a defect of this program; please report the place above");
                // What led there may lead there again.
                Some(Instant::now() + Duration::from_secs(60))
            });
            loop {
                match orders.try_recv() {
                    Ok(Order::Replace(logins, means)) => {
                        self.means = *means;
                        self.take(logins);
                        break;
                    }
                    Ok(Order::Foresee(inquiry)) => {
                        self.answer(&inquiry);
                        break;
                    }
                    Ok(Order::Stop) | Err(TryRecvError::Disconnected) => return,
                    Err(TryRecvError::Empty) => {}
                }
                let left = next.map(|next| next.saturating_duration_since(Instant::now()));
                let Some(known) = self.snapshot.clone() else { break };
                if left.is_some_and(|left| left.is_zero()) {
                    break;
                }
                self.means.snapshot.wait_for_other(&known, left.unwrap_or(TICK).min(TICK));
                if !Arc::ptr_eq(&known, &self.means.snapshot.load()) {
                    break;
                }
            }
        }
    }

    /// Works out what can be, publishes it, and goes on one errand if one is due; when there is something to do again. Between two
    /// errands orders are looked for.
    fn work(&mut self) -> Option<Instant> {
        self.notice();
        let now = UnixSeconds::now();
        for beside in self.cases.chunk_by_mut(Case::is_beside) {
            self.changed |= Case::assess_all(beside, &mut self.mounted, now, self.explains);
        }
        let next = self.next_due(now);
        // Of many reviews in a row, not each one makes a board of its own.
        let is_one_of_many = matches!(&next, Some((Due::Review(_), at)) if *at <= Instant::now())
            && self.published.is_some_and(|published| published.elapsed() < GATHER);
        if self.changed && !is_one_of_many {
            self.publish();
            (self.changed, self.published) = (false, Some(Instant::now()));
        }
        let (due, at) = next?;
        if at > Instant::now() {
            return Some(at);
        }
        self.go(due);
        Some(Instant::now())
    }

    /// Answers a question. A defect costs the answer; whoever asked waits no longer.
    fn answer(&mut self, inquiry: &Inquiry) {
        let foreseen = catch_unwind(AssertUnwindSafe(|| {
            inquiry.names.iter().map(|name| self.foresee(name, &inquiry.token)).collect::<Vec<_>>()
        }));
        if let Ok(foreseen) = foreseen {
            let _ = inquiry.answer.send(foreseen);
        }
    }

    /// What would become of a login with a token that is in no Secret yet. Whatever is due for it is asked first.
    fn foresee(&mut self, name: &LoginName, token: &Arc<Redacted>) -> Foreseen {
        let mut case = Case::new("", name, Some(Arc::clone(token)));
        case.mounted = self.mounted.iter().position(|mounted| *mounted.login.name == *name.login);
        let Some(at) = case.mounted else {
            return Foreseen { name: name.clone(), judged: None, asks_cluster: false };
        };
        for _ in 0..MOST_ERRANDS {
            let now = UnixSeconds::now();
            Case::assess_all(slice::from_mut(&mut case), &mut self.mounted, now, false);
            let is_due = |due: Option<Instant>| due.is_some_and(|due| due <= Instant::now());
            let Some(mounted) = self.mounted.get(at) else { break };
            let namespace = case.namespace.as_deref().and_then(|name| mounted.namespaces.get_key_value(name));
            let due = if is_due(mounted.mount_due()) {
                Due::Mount(at)
            } else if is_due(mounted.keys_due()) {
                Due::Keys(at)
            } else if let Some((name, _)) = namespace.filter(|(_, namespace)| namespace.due <= Instant::now()) {
                Due::Namespace(at, name.clone())
            } else if is_due(case.review_due(&self.mounted, now)) {
                case.ask(&mut self.mounted, &*self.means.connect, &self.means.own);
                continue;
            } else {
                break;
            };
            self.go(due);
            case.forget();
        }
        Case::assess_all(slice::from_mut(&mut case), &mut self.mounted, UnixSeconds::now(), false);
        let asks_cluster = self.mounted.get(at).is_some_and(Mounted::may_ask_cluster);
        Foreseen { name: name.clone(), judged: case.judged().cloned(), asks_cluster }
    }

    /// Takes in what the sources saw anew.
    fn notice(&mut self) {
        let snapshot = self.means.snapshot.load();
        if self.snapshot.as_ref().is_some_and(|known| Arc::ptr_eq(known, &snapshot)) {
            return;
        }
        let kept = || snapshot.kept().flat_map(|token| token.logins.iter().map(move |name| (token, name)));
        let known = self.cases.iter().map(|case| (&case.location, &case.name, &case.text));
        if kept().map(|(token, name)| (&token.location, name, &token.text)).eq(known) {
            self.snapshot = Some(snapshot);
            return;
        }
        let mut before: HashMap<(Box<str>, LoginName), Case> = std::mem::take(&mut self.cases)
            .into_iter()
            .map(|case| ((case.location.clone(), case.name.clone()), case))
            .collect();
        for (token, name) in kept() {
            let known = before.remove(&(token.location.clone(), name.clone()));
            let case = known.filter(|case| case.text == token.text).unwrap_or_else(|| {
                self.changed = true;
                let mut case = Case::new(&token.location, name, token.text.clone());
                case.mounted = self.mounted.iter().position(|mounted| *mounted.login.name == *name.login);
                case
            });
            self.cases.push(case);
        }
        self.changed |= !before.is_empty();
        drop(before);
        for (at, mounted) in self.mounted.iter_mut().enumerate() {
            if !mounted.namespaces.is_empty() {
                let of_this = self.cases.iter().filter(|case| case.mounted == Some(at));
                let used: Vec<&str> = of_this.filter_map(|case| case.namespace.as_deref()).collect();
                mounted.namespaces.retain(|name, _| used.contains(&name.as_str()));
            }
        }
        self.snapshot = Some(snapshot);
    }

    fn publish(&self) {
        let cases = self.cases.iter().map(Case::shown).collect();
        let read = |mounted: &Mounted| Some((mounted.login.name.clone(), mounted.known_since()?));
        self.means.own.publish_logins(LoginBoard::new(cases, self.mounted.iter().filter_map(read).collect()));
    }

    fn next_due(&self, now: UnixSeconds) -> Option<(Due, Instant)> {
        let of_mounts = self.mounted.iter().enumerate().flat_map(|(at, mounted)| {
            let mount = mounted.mount_due().map(|due| (Due::Mount(at), due));
            let keys = mounted.keys_due().map(|due| (Due::Keys(at), due));
            let namespace = mounted.namespaces.iter().min_by_key(|(_, namespace)| namespace.due);
            let namespace = namespace.map(|(name, namespace)| (Due::Namespace(at, name.clone()), namespace.due));
            [mount, keys, namespace].into_iter().flatten()
        });
        let reviews = self.cases.iter().enumerate();
        let reviews = reviews.filter_map(|(at, case)| Some((Due::Review(at), case.review_due(&self.mounted, now)?)));
        of_mounts.chain(reviews).min_by_key(|(_, due)| *due)
    }

    fn go(&mut self, due: Due) {
        let Means { own, connect, environment, .. } = &self.means;
        let (at, is_new, namespace) = match due {
            Due::Review(at) => {
                if let Some(case) = self.cases.get_mut(at) {
                    case.ask(&mut self.mounted, &**connect, own);
                }
                return;
            }
            Due::Mount(at) => (at, self.mounted.get_mut(at).map(|one| one.read_mount(&**environment, own)), None),
            Due::Keys(at) => (at, self.mounted.get_mut(at).map(|one| one.fetch_keys(&**environment, own)), None),
            Due::Namespace(at, name) => {
                let is_new = self.mounted.get_mut(at).map(|one| one.read_namespace(&name, &**connect, own));
                (at, is_new, Some(name))
            }
        };
        // Its age is another one now.
        self.changed = true;
        if is_new == Some(true) {
            let of_this = |case: &&mut Case| {
                case.mounted == Some(at)
                    && namespace.as_deref().is_none_or(|name| case.namespace.as_deref() == Some(name))
            };
            self.cases.iter_mut().filter(of_this).for_each(Case::forget);
        }
    }
}
