//! The thread of the logins: there only while there are some.

use super::sources;
use crate::config::Config;
use crate::metrics::{Judged, LoginBoard, OwnMetrics};
use crate::observation::{self, LoginName};
use crate::published::Published;
use crate::renewal::{LoginsOf, TargetPlan};
use crate::snapshot::Snapshot;
use crate::vault::{Connect, Errand, Foresight, Means, Reviewer, look_once};
use std::sync::Arc;

/// The thread, if it runs. It stops when this is dropped.
pub(super) struct Logins {
    own: OwnMetrics,
    snapshot: Arc<Published<Snapshot>>,
    errand: Option<Errand>,
}

impl Logins {
    /// No thread yet.
    pub(super) fn new(own: OwnMetrics, snapshot: Arc<Published<Snapshot>>) -> Self {
        Self { own, snapshot, errand: None }
    }

    /// Goes on with the logins of a configuration, started or stopped as they want it. One that was there before as it is now
    /// keeps what is known of it.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(super) fn take(&mut self, config: &Config) -> Result<(), String> {
        let logins = config.logins.clone();
        match &self.errand {
            Some(errand) if !logins.is_empty() => errand.replace(logins, self.means(config)),
            Some(_) => {
                self.errand = None;
                self.own.publish_logins(LoginBoard::default());
            }
            None if logins.is_empty() => {}
            None => {
                let errand = Errand::start(logins, self.means(config))
                    .map_err(|error| format!("the thread logins cannot be started: {error}"))?;
                self.errand = Some(errand);
            }
        }
        Ok(())
    }

    /// The way to ask about tokens that are yet to come, while there are logins.
    pub(super) fn foresight(&self) -> Option<Foresight> {
        self.errand.as_ref().map(Errand::foresight)
    }

    fn means(&self, config: &Config) -> Means {
        means(config, self.own.clone(), Arc::clone(&self.snapshot))
    }
}

/// The logins that a renewed token has to pass: those that the token which is there is held against. Files have none.
pub(super) fn of_renewals(config: &Config) -> Arc<LoginsOf> {
    let (secrets, is_any) = (config.secrets.clone(), !config.logins.is_empty());
    Arc::new(move |target, annotation| match target {
        TargetPlan::Secret { context, namespace, name, key, .. } if is_any => {
            let named = secrets
                .iter()
                .find(|one| (&one.context, &one.namespace, &one.name) == (context, namespace, name))
                .map_or(&[][..], |one| &one.logins);
            observation::Logins::named_or(named, annotation).of_key(key)
        }
        _ => Arc::default(),
    })
}

/// Judges the tokens of a snapshot once. Their verdicts are among the metrics from then on; they are returned, too.
pub(super) fn judge_once(
    config: &Config,
    own: &OwnMetrics,
    snapshot: Arc<Published<Snapshot>>,
) -> Vec<(String, LoginName, Judged)> {
    look_once(config.logins.clone(), means(config, own.clone(), snapshot))
}

/// The same, as it is shown. Without logins nobody is asked anything.
pub(super) fn board_once(config: &Config, own: &OwnMetrics, snapshot: Arc<Published<Snapshot>>) -> Arc<LoginBoard> {
    if !config.logins.is_empty() {
        judge_once(config, own, snapshot);
    }
    own.logins()
}

fn means(config: &Config, own: OwnMetrics, snapshot: Arc<Published<Snapshot>>) -> Means {
    let (config, counted) = (config.clone(), own.clone());
    let connect: Arc<Connect> = Arc::new(move |reviewer: &Reviewer| {
        let context = match reviewer {
            Reviewer::Nobody => return Err("`review` names no cluster".to_owned()),
            Reviewer::Ours => None,
            Reviewer::Context(context) => Some(context.as_str()),
        };
        sources::cluster(&config, context, &counted).map(Arc::new)
    });
    Means { own, snapshot, connect, environment: Arc::new(|name| std::env::var(name).ok()) }
}
