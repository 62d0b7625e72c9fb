//! One login: what is known of its mount, and when that has to be read again.

use super::fetch::{Environment, Failure};
use super::keys;
use super::mount::{self, Mount, Session};
use super::plan::{Login, MountPlan, Reviewer};
use crate::kubernetes::{Cluster, Reason, RequestError};
use crate::log::{Repeated, Telling};
use crate::login::{Assessment, Facts, Review, Unknown};
use crate::login::{KeySource, Keys, NamespaceLabels, Verdict};
use crate::metrics::{Judged, OwnMetrics};
use crate::redacted::Redacted;
use crate::time::UnixSeconds;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The first try after a failure; each further one waits twice as long, up to the interval.
const FIRST_RETRY: Duration = Duration::from_secs(2);

/// A login and what is known of it.
pub(super) struct Mounted {
    pub(super) login: Login,
    /// `None`: it was never read.
    mount: Option<Mount>,
    mount_read: Read,
    keys: Keys,
    keys_read: Read,
    extra: Extra,
    session: Option<Session>,
    pub(super) namespaces: HashMap<String, Namespace>,
    cluster: Option<Arc<Cluster>>,
    review_failing: Repeated,
}

/// Key sets are fetched out of turn once between two times in turn: for a token that none of them verifies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extra {
    Unused,
    Wanted,
    Used,
}

/// What is known of a namespace.
pub(super) struct Namespace {
    /// `None`: nobody could look yet. Within: there is none.
    labels: Option<Option<BTreeMap<String, String>>>,
    pub(super) due: Instant,
    failures: u32,
}

/// Something that is read again and again.
struct Read {
    /// When it was read last.
    at: Option<UnixSeconds>,
    due: Instant,
    failures: u32,
    failing: Repeated,
}

impl Read {
    fn new() -> Self {
        Self { at: None, due: Instant::now(), failures: 0, failing: Repeated::default() }
    }

    fn succeeded(&mut self, interval: Duration, what: &str) {
        (self.at, self.due, self.failures) = (Some(UnixSeconds::now()), Instant::now() + interval, 0);
        if let Some(sum) = self.failing.ended(Instant::now()) {
            log::info!("{what} can be read again after {sum}");
        }
    }

    fn failed(&mut self, interval: Duration, what: &str, failure: &Failure, own: &OwnMetrics) {
        self.due = Instant::now() + retry(self.failures, interval);
        self.failures = self.failures.saturating_add(1);
        let kept = self.at.map_or("", |_| "; what is known of it is kept");
        tell(self.failing.failed(failure.reason, Instant::now()), &format!("{what} cannot be read: {failure}{kept}"));
        own.count_error();
    }
}

/// How long to wait after so many failures before this one.
pub(super) fn retry(failures: u32, interval: Duration) -> Duration {
    FIRST_RETRY.saturating_mul(1 << failures.min(10)).min(interval)
}

fn tell(telling: Telling, message: &str) {
    match telling {
        Telling::First => log::warn!("{message}"),
        Telling::Again => log::debug!("{message}"),
        Telling::Summary(sum) => log::warn!("{message} ({sum})"),
    }
}

impl Namespace {
    fn labels(&self) -> NamespaceLabels<'_> {
        match &self.labels {
            None => NamespaceLabels::Unknown,
            Some(None) => NamespaceLabels::Missing,
            Some(Some(labels)) => NamespaceLabels::Known(labels),
        }
    }
}

impl Mounted {
    pub(super) fn new(login: Login) -> Self {
        let mount = match &login.mount {
            MountPlan::Jwt(mount) => Some(Mount::Jwt(mount.clone())),
            MountPlan::Kubernetes(mount) => Some(Mount::Kubernetes(mount.clone())),
            MountPlan::Live(_) => None,
        };
        Self {
            login,
            mount,
            mount_read: Read::new(),
            keys: Keys::Unavailable,
            keys_read: Read::new(),
            extra: Extra::Unused,
            session: None,
            namespaces: HashMap::new(),
            cluster: None,
            review_failing: Repeated::default(),
        }
    }

    /// The way into the cluster may be another one now.
    pub(super) fn forget_cluster(&mut self) {
        self.cluster = None;
    }

    fn key_source(&self) -> Option<&KeySource> {
        match &self.mount {
            Some(Mount::Jwt(mount)) => Some(&mount.config.keys).filter(|source| keys::are_fetched(source)),
            _ => None,
        }
    }

    /// Since when we know what we know of it; `None` if nothing has to be read, or never was.
    pub(super) fn known_since(&self) -> Option<UnixSeconds> {
        let is_live = matches!(self.login.mount, MountPlan::Live(_));
        let keys = self.key_source().and(self.keys_read.at);
        match (is_live, self.mount_read.at) {
            (true, at) => Some(keys.map_or(at?, |keys| keys.min(at.unwrap_or(keys)))),
            (false, _) => keys,
        }
    }

    /// When the mount is to be read.
    pub(super) fn mount_due(&self) -> Option<Instant> {
        matches!(self.login.mount, MountPlan::Live(_)).then_some(self.mount_read.due)
    }

    /// When its key sets are to be fetched.
    pub(super) fn keys_due(&self) -> Option<Instant> {
        self.key_source().map(|_| self.keys_read.due)
    }

    /// Reads the mount; whether it is another one than before.
    pub(super) fn read_mount(&mut self, environment: &Environment, own: &OwnMetrics) -> bool {
        let MountPlan::Live(plan) = &self.login.mount else { return false };
        let interval = plan.refresh_interval;
        let what = format!("login {}: the mount {}", self.login.name, plan.mount);
        match mount::read(plan, &mut self.session, environment) {
            Ok(mount) => {
                self.mount_read.succeeded(interval, &what);
                let is_new = self.mount.as_ref() != Some(&mount);
                let source_before = self.key_source().cloned();
                if is_new {
                    self.mount = Some(mount);
                }
                if self.key_source() != source_before.as_ref() {
                    // Those of another place say nothing.
                    (self.keys, self.keys_read, self.extra) = (Keys::Unavailable, Read::new(), Extra::Unused);
                }
                is_new
            }
            Err(failure) => {
                self.mount_read.failed(interval, &what, &failure, own);
                false
            }
        }
    }

    /// Fetches the key sets; whether they are others than before.
    pub(super) fn fetch_keys(&mut self, environment: &Environment, own: &OwnMetrics) -> bool {
        let Some(source) = self.key_source() else { return false };
        let interval = self.login.refresh_interval();
        let what = format!("login {}: the key set", self.login.name);
        let keys = match keys::fetch(source, environment) {
            Ok(keys) => {
                self.keys_read.succeeded(interval, &what);
                self.extra = if self.extra == Extra::Wanted { Extra::Used } else { Extra::Unused };
                keys
            }
            Err(failure) => {
                self.keys_read.failed(interval, &what, &failure, own);
                // The server of the mount goes on with what it has, too.
                match (&self.keys, failure.is_unusable) {
                    (Keys::Sets(_), _) | (_, false) => return false,
                    (_, true) => Keys::Unusable,
                }
            }
        };
        let is_new = keys != self.keys;
        self.keys = keys;
        is_new
    }

    /// No key verifies a token that has just come: perhaps they were rotated. They are fetched once out of turn.
    pub(super) fn ask_for_keys(&mut self) {
        let is_good = self.keys_read.failures == 0 && self.keys_read.at.is_some();
        if self.key_source().is_some() && is_good && self.extra == Extra::Unused {
            self.keys_read.due = Instant::now();
            self.extra = Extra::Wanted;
        }
    }

    /// Works a login out, with what is known; explained if somebody will read that.
    pub(super) fn assess(&self, role: &str, token: &Redacted, review: Option<&Review>, explains: bool) -> Judged {
        let role = Some(role).filter(|role| !role.is_empty());
        let assessment: Assessment = match &self.mount {
            None => return Judged::Always(Verdict::Undetermined(Unknown::MountUnreachable)),
            Some(Mount::Jwt(mount)) if explains => mount.assess(role, token, &self.keys, None),
            Some(Mount::Jwt(mount)) => match mount.assess_each(&[role], token, &self.keys, None).pop() {
                Some(assessment) => assessment,
                None => return Judged::Always(Verdict::Undetermined(Unknown::MountUnreachable)),
            },
            Some(Mount::Kubernetes(mount)) => {
                let labels = |name: &str| self.namespaces.get(name).map_or(NamespaceLabels::Unknown, Namespace::labels);
                let facts = Facts { source: None, labels: &labels, review };
                if explains { mount.assess(role, token, facts) } else { mount.assess_briefly(role, token, facts) }
            }
        };
        Judged::Assessed(Arc::new(assessment))
    }

    /// The same with several roles, where the token need be read but once; `None` where that is not so.
    pub(super) fn assess_each(&self, roles: &[&str], token: &Redacted) -> Option<Vec<Judged>> {
        let Some(Mount::Jwt(mount)) = &self.mount else { return None };
        let roles: Vec<Option<&str>> = roles.iter().map(|role| Some(*role).filter(|role| !role.is_empty())).collect();
        let assessments = mount.assess_each(&roles, token, &self.keys, None);
        Some(assessments.into_iter().map(|assessment| Judged::Assessed(Arc::new(assessment))).collect())
    }

    pub(super) fn may_ask_cluster(&self) -> bool {
        self.login.review != Reviewer::Nobody
    }

    /// The labels of a namespace are wanted, if a cluster may be asked.
    pub(super) fn want_namespace(&mut self, name: &str) {
        if self.may_ask_cluster() {
            let unknown = || Namespace { labels: None, due: Instant::now(), failures: 0 };
            self.namespaces.entry(name.to_owned()).or_insert_with(unknown);
        }
    }

    /// Reads the labels of a namespace; whether they are others than before.
    pub(super) fn read_namespace(&mut self, name: &str, connect: &super::errand::Connect, own: &OwnMetrics) -> bool {
        let read = self.with_cluster(connect, |cluster| super::review::labels(cluster, name), own);
        let interval = self.login.review_interval;
        let Some(namespace) = self.namespaces.get_mut(name) else { return false };
        match read {
            Some(labels) => {
                (namespace.due, namespace.failures) = (Instant::now() + interval, 0);
                let is_new = namespace.labels.as_ref() != Some(&labels);
                namespace.labels = Some(labels);
                is_new
            }
            None => {
                namespace.due = Instant::now() + retry(namespace.failures, interval);
                namespace.failures = namespace.failures.saturating_add(1);
                false
            }
        }
    }

    /// Asks the cluster something; a failure is told to the log.
    pub(super) fn with_cluster<T>(
        &mut self,
        connect: &super::errand::Connect,
        ask: impl FnOnce(&Cluster) -> Result<T, RequestError>,
        own: &OwnMetrics,
    ) -> Option<T> {
        let cluster = match &self.cluster {
            Some(cluster) => Ok(Arc::clone(cluster)),
            None => connect(&self.login.review).map_err(|message| Failure::new("connect", message)),
        };
        let name = &self.login.name;
        let asked = cluster.and_then(|cluster| {
            self.cluster = Some(Arc::clone(&cluster));
            ask(&cluster).map_err(|error| {
                if let Reason::Unauthorized | Reason::Credentials = error.reason() {
                    // Other credentials may stand in the kubeconfig by now.
                    self.cluster = None;
                }
                Failure::new(error.reason().as_str(), error.to_string())
            })
        });
        match asked {
            Ok(answer) => {
                if let Some(sum) = self.review_failing.ended(Instant::now()) {
                    log::info!("login {name}: the cluster answers again after {sum}");
                }
                Some(answer)
            }
            Err(failure) => {
                tell(
                    self.review_failing.failed(failure.reason, Instant::now()),
                    &format!("login {name}: the cluster cannot be asked: {failure}"),
                );
                own.count_error();
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::access::Kubeconfig;
    use crate::metrics::BuildInfo;
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn the_kubeconfig_is_read_again_after_credentials_that_nobody_knows() {
        const KUBECONFIG: &str = "current-context: x\nclusters: [{name: c, cluster: {server: 'http://[::1]:9'}}]\n\
            contexts: [{name: x, context: {cluster: c}}]\n";
        let config =
            "logins: [{name: k, review: ours, kubernetes: {config: {kubernetes_host: 'https://k'}, roles: {}}}]\n";
        let login = crate::config::parse(config, "x", &|_| None).unwrap().logins.remove(0);
        let own = OwnMetrics::new(BuildInfo { version: "", revision: "", rustc: "" }).unwrap();
        let mut mounted = Mounted::new(login);
        let connects = Arc::new(AtomicUsize::new(0));
        for (answer, connects_after) in [
            (None, 1),
            (None, 1),
            (Some(Reason::ServerError), 1),
            (Some(Reason::Unauthorized), 1),
            (Some(Reason::Credentials), 2),
            (None, 3),
        ] {
            let counts = Arc::clone(&connects);
            let connect = move |_: &Reviewer| {
                counts.fetch_add(1, Ordering::SeqCst);
                let access = Kubeconfig::parse(KUBECONFIG, Path::new("x")).unwrap().access(None).unwrap();
                Ok(Arc::new(Cluster::connect(access, Arc::new(|_, _, _| {})).unwrap()))
            };
            let ask = |_: &Cluster| answer.map_or(Ok(()), |reason| Err(RequestError::new(reason, String::new())));
            assert_eq!(mounted.with_cluster(&connect, ask, &own).is_some(), answer.is_none());
            assert_eq!(connects.load(Ordering::SeqCst), connects_after, "{answer:?}");
        }
    }
}
