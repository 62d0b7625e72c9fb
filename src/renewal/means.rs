//! What renewals are made with: all that a reload may replace.

use super::admission::Admission;
use super::leaving::Leaving;
use super::plan::{Clusters, TargetPlan};
use super::request::Environment;
use crate::metrics::OwnMetrics;
use crate::observation::LoginName;
use crate::published::Published;
use crate::redacted::Redacted;
use crate::snapshot::Snapshot;
use crate::time::UnixSeconds;
use crate::vault::Foresight;
use std::sync::Arc;
use std::time::Duration;

/// The logins have so long to say whether a token would get in. What they ask for it takes a second, or hangs.
const PATIENCE: Duration = Duration::from_secs(20);
/// And so long once the program was told to stop.
const LAST_PATIENCE: Duration = Duration::from_millis(400);

/// Whether this process is the one that renews the tokens of a Secret, by its namespace and name: where Secrets are shared out
/// among several processes.
pub type Owns = dyn Fn(&str, &str) -> bool + Send + Sync;

/// The logins that a new token has to pass in this place, whose annotation names these.
pub type LoginsOf = dyn Fn(&TargetPlan, Option<&str>) -> Arc<[LoginName]> + Send + Sync;

/// What renewals are made with.
#[derive(Clone)]
pub struct Means {
    /// The API servers.
    pub clusters: Clusters,
    /// Where the metrics are.
    pub own: OwnMetrics,
    /// What the sources saw.
    pub snapshot: Arc<Published<Snapshot>>,
    /// Which Secrets are ours.
    pub owns: Arc<Owns>,
    /// Which logins a token has to pass.
    pub logins: Arc<LoginsOf>,
    /// Who knows whether it would; `None`: there are no logins.
    pub foresight: Option<Foresight>,
    /// The environment: proxies, `SSL_CERT_FILE`.
    pub environment: Arc<Environment>,
    /// Whether the program was told to stop.
    pub leaving: Arc<Leaving>,
}

impl Means {
    /// Every Secret is ours, and no token has to pass a login.
    #[must_use]
    pub fn new(clusters: Clusters, own: OwnMetrics, snapshot: Arc<Published<Snapshot>>) -> Self {
        Self {
            clusters,
            own,
            snapshot,
            owns: Arc::new(|_, _| true),
            logins: Arc::new(|_, _| Arc::default()),
            foresight: None,
            environment: Arc::new(|name| std::env::var(name).ok()),
            leaving: Arc::default(),
        }
    }

    /// What the logins of this place say of a token. Nothing is known of the token's issuer here: what counts is what the login's
    /// server would say.
    pub(super) fn admission(&self, target: &TargetPlan, annotation: Option<&str>, token: &Redacted) -> Admission {
        let names = (self.logins)(target, annotation);
        let Some(foresight) = self.foresight.as_ref().filter(|_| !names.is_empty()) else {
            return Admission::Granted;
        };
        let coming = foresight.ask(&names, token);
        let answer = coming.and_then(|coming| self.leaving.wait_for(&coming, PATIENCE, LAST_PATIENCE).ok().flatten());
        answer.map_or_else(Admission::no_answer, |foreseen| Admission::of(&foreseen, UnixSeconds::now()))
    }
}
