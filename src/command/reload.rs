//! Takes over another configuration while the exporter runs, or refuses it and goes on with what it has.
//!
//! A thread of its own looks at the file every [`LOOK`] and reads it when it has changed, and at once when SIGHUP asks for it.
//! Everything that can go wrong goes wrong here, before anything has changed: what reaches the poller is checked and built.
//! Sources whose [`Recipe`] is the same as before go on untouched. The others are ended as soon as their successors wait for
//! the poller, so that it is not kept by a server that does not answer.

use super::logins::{self, Logins};
use super::renewals::Renewals;
use super::sources::{self, Recipe, recipes};
use crate::config::{self, Config, ConfigError, ConfigFile, Loaded, WatchedFile};
use crate::metrics::OwnMetrics;
use crate::poller::{Handover, Lineup, Place, SourceNumber};
use crate::published::Published;
use crate::renewal::{Clusters, Leaving, Means};
use crate::snapshot::Snapshot;
use crate::source::Stopper;
use std::hash::{BuildHasher as _, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

/// From one look at the file to the next.
const LOOK: Duration = Duration::from_secs(2);

/// A configuration that is good by itself and cannot be taken over, since a kubeconfig is not there yet, is tried again after so
/// many looks.
const LOOKS_TO_RETRY: u32 = 15;

/// What the exporter runs with, and the file that may say otherwise.
pub(super) struct Reloader {
    /// As `-config` names it.
    named: Option<String>,
    file: WatchedFile,
    current: Loaded,
    running: Vec<Running>,
    renewals: Renewals,
    leaving: Arc<Leaving>,
    snapshot: Arc<Published<Snapshot>>,
    next_number: SourceNumber,
    own: OwnMetrics,
    handover: Arc<Handover>,
    /// The poller, when something waits there.
    wake: SyncSender<()>,
    /// Whether the server shows its page.
    status_page: Arc<AtomicBool>,
    logins: Logins,
    hasher: RandomState,
    /// The content that was read last; of none, why it could not be read.
    last_read: Option<u64>,
    /// What was said of that content, if it was refused.
    refused: Option<Refusal>,
    looks_since_refusal: u32,
}

/// A source that the poller has.
#[derive(Clone)]
struct Running {
    number: SourceNumber,
    recipe: Recipe,
    stopper: Option<Stopper>,
}

/// Why a configuration is not taken over.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    /// It is wrong, or asks for what only a restart can do.
    Wrong(String),
    /// Something that it names is not there or not good.
    Unbuilt(String),
}

/// Why the file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// Somebody asked, and wants an answer.
    Asked,
    /// It looks changed.
    Changed,
    /// What it names may be there by now.
    Retry,
}

/// What has become of a configuration that was asked for.
enum Taken {
    Unchanged,
    /// In words.
    Changed(String),
}

impl Reloader {
    /// Builds what the exporter starts with.
    ///
    /// # Errors
    /// Why a source cannot be built.
    pub(super) fn start(
        named: Option<String>,
        loaded: Loaded,
        own: OwnMetrics,
        (handover, wake): (Arc<Handover>, SyncSender<()>),
        snapshot: Arc<Published<Snapshot>>,
    ) -> Result<(Self, Lineup), String> {
        let status_page = loaded.config.status_page;
        let logins = Logins::new(own.clone(), Arc::clone(&snapshot));
        let mut reloader = Self {
            named,
            file: WatchedFile::new(&loaded.path),
            current: loaded,
            running: Vec::new(),
            renewals: Renewals::default(),
            leaving: Arc::default(),
            snapshot,
            next_number: SourceNumber::FIRST,
            own,
            handover,
            wake,
            status_page: Arc::new(AtomicBool::new(status_page)),
            logins,
            hasher: RandomState::new(),
            last_read: None,
            refused: None,
            looks_since_refusal: 0,
        };
        let config = reloader.current.config.clone();
        let (running, lineup) = reloader.line_up(&config)?;
        reloader.running = running;
        Ok((reloader, lineup))
    }

    /// Starts the threads of the renewals and of the logins, if there are any.
    ///
    /// # Errors
    /// If there is no way into the cluster, or the thread cannot be started.
    pub(super) fn start_errands(&mut self) -> Result<(), String> {
        self.logins.take(&self.current.config)?;
        let means = self.means(&self.current.config)?;
        let foresight = self.logins.foresight();
        self.renewals.take(self.current.config.renewals.clone(), Means { foresight, ..means })
    }

    /// What the renewals of a configuration are made with: clusters of their own, since those of the sources come and go.
    fn means(&self, config: &Config) -> Result<Means, String> {
        let own = self.own.clone();
        let clusters = Clusters::of(&config.renewals, |context| sources::cluster(config, context, &own))?;
        let shard = config.shard;
        let owns = move |namespace: &str, name: &str| shard.is_none_or(|shard| shard.owns(namespace, name));
        let logins = logins::of_renewals(config);
        let leaving = Arc::clone(&self.leaving);
        Ok(Means { owns: Arc::new(owns), logins, leaving, ..Means::new(clusters, own, Arc::clone(&self.snapshot)) })
    }

    /// Whether the page is to be shown, now and after each reload.
    pub(super) fn status_page(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.status_page)
    }

    /// Whom to tell when the program is to stop.
    pub(super) fn leaving(&self) -> Arc<Leaving> {
        Arc::clone(&self.leaving)
    }

    /// Looks and reads until nobody can ask any more.
    pub(super) fn run(mut self, asked: &Receiver<()>) {
        loop {
            let asked = match asked.recv_timeout(LOOK) {
                Ok(()) => true,
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            // A defect costs this one reload.
            let outcome = catch_unwind(AssertUnwindSafe(|| if asked { self.reload() } else { self.look() }));
            if outcome.is_err() {
                self.own.set_reload(false);
                log::error!("a reload was broken off by a defect of this program; please report the place above");
            }
        }
    }

    /// Somebody asks for it: the file is read now, whatever it looks like, and there is an answer in the log.
    fn reload(&mut self) {
        self.file.forget();
        self.read(Cause::Asked);
    }

    fn look(&mut self) {
        self.looks_since_refusal = self.looks_since_refusal.saturating_add(1);
        let unbuilt = matches!(self.refused, Some(Refusal::Unbuilt(_)));
        if self.file.look() {
            self.read(Cause::Changed);
        } else if unbuilt && self.looks_since_refusal >= LOOKS_TO_RETRY {
            self.read(Cause::Retry);
        }
    }

    fn read(&mut self, cause: Cause) {
        let read = ConfigFile::read(self.named.as_deref(), &config::environment).map_err(in_words);
        let content = self.hasher.hash_one(&read);
        let before = self.last_read.replace(content);
        let is_new = before != Some(content);
        if !is_new && cause == Cause::Changed {
            return;
        }
        let path = self.current.path.clone();
        let loaded = read.and_then(|file| file.check(&config::environment).map_err(in_words)).map_err(Refusal::Wrong);
        let refused = match loaded.and_then(|loaded| self.take(loaded)) {
            // What the start has read is read a second time, when it has been quiet.
            Ok(Taken::Unchanged) if before.is_none() && cause == Cause::Changed => None,
            Ok(Taken::Unchanged) => {
                log::info!("{path}: read again, unchanged");
                None
            }
            Ok(Taken::Changed(what)) => {
                log::info!("{path}: read again, {what}");
                None
            }
            Err(refusal) => Some(refusal),
        };
        self.own.set_reload(refused.is_none());
        self.looks_since_refusal = 0;
        if let Some(Refusal::Wrong(reason) | Refusal::Unbuilt(reason)) = &refused
            && (is_new || cause == Cause::Asked || refused != self.refused)
        {
            self.own.count_error();
            log::error!("the configuration was read again and is refused, the one before goes on: {reason}");
        }
        self.refused = refused;
    }

    /// All or nothing.
    fn take(&mut self, loaded: Loaded) -> Result<Taken, Refusal> {
        let path = &loaded.path;
        if self.current.from_file && !loaded.from_file {
            return Err(Refusal::Wrong(format!("{path}: the file is gone")));
        }
        let (address, other) = (&self.current.config.address, &loaded.config.address);
        if address != other {
            let reason = format!("{path}: `address` is {other}; it stays {address} until a restart");
            return Err(Refusal::Wrong(reason));
        }
        sources::check_contexts(&loaded.config).map_err(|reason| Refusal::Unbuilt(format!("{path}: {reason}")))?;
        let (running, lineup) = self.line_up(&loaded.config).map_err(Refusal::Unbuilt)?;
        let means = self.means(&loaded.config).map_err(Refusal::Unbuilt)?;
        let mut changes: Vec<String> = Vec::new();
        let ended: Vec<Running> = self.running.iter().filter(|old| !is_in(&running, old)).cloned().collect();
        for source in running.iter().filter(|new| !is_in(&self.running, new)) {
            let name = source.recipe.name();
            let is_replaced = ended.iter().any(|old| old.recipe.name() == name);
            changes.push(format!("{name} {}", if is_replaced { "begins anew" } else { "is added" }));
        }
        for name in ended.iter().map(|old| old.recipe.name()) {
            if running.iter().all(|new| new.recipe.name() != name) {
                changes.push(format!("{name} is left out"));
            }
        }
        if changes.is_empty() && loaded.config == self.current.config {
            self.current = loaded;
            return Ok(Taken::Unchanged);
        }
        if loaded.config.logins != self.current.config.logins {
            changes.push("other logins".to_owned());
        }
        self.running = running;
        self.current = loaded;
        self.handover.put(lineup);
        self.status_page.store(self.current.config.status_page, Ordering::Relaxed);
        // Where there is no room, the poller has something to do and comes by anyway.
        let _ = self.wake.try_send(());
        for stop in ended.into_iter().filter_map(|old| old.stopper) {
            stop();
        }
        // Their clusters may be others, too.
        if let Err(error) = self.logins.take(&self.current.config) {
            log::error!("{error}");
        }
        let foresight = self.logins.foresight();
        if let Err(error) = self.renewals.take(self.current.config.renewals.clone(), Means { foresight, ..means }) {
            log::error!("{error}");
        }
        if changes.is_empty() {
            changes.push("the sources go on, with other values".to_owned());
        }
        Ok(Taken::Changed(changes.join(", ")))
    }

    /// What the poller is to work with, built where it is not there yet. Nothing has changed before it is handed over.
    fn line_up(&mut self, config: &Config) -> Result<(Vec<Running>, Lineup), String> {
        let (mut running, mut sources) = (Vec::new(), Vec::new());
        for recipe in recipes(config) {
            if let Some(known) = self.running.iter().find(|known| known.recipe == recipe) {
                sources.push(Place::GoesOn(known.number));
                running.push(known.clone());
                continue;
            }
            let number = self.next_number;
            self.next_number = number.next();
            let seat = recipe.build(&self.own)?;
            running.push(Running { number, recipe, stopper: seat.source.stopper() });
            sources.push(Place::New(number, seat));
        }
        let Config { polling_interval: interval, max_series, .. } = *config;
        Ok((running, Lineup { sources, interval, max_series }))
    }
}

fn is_in(all: &[Running], one: &Running) -> bool {
    all.iter().any(|other| other.number == one.number)
}

fn in_words(error: ConfigError) -> String {
    super::with_cause(&error)
}
