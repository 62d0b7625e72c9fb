//! The Secrets of a cluster, by label selectors: listed, and then followed by watches.
//!
//! | file | subject |
//! | --- | --- |
//! | `scope` | the places that are read: the whole cluster, or single namespaces |
//! | `named` | Secrets that are read by their names |
//! | `relist` | the lists of all places, or of those that failed, put together |
//! | `parts` | which of them have failed, and what is told of that |
//! | `listing` | one list, in pages from etcd or whole from the watch cache |
//! | `watching` | the thread that reads one watch |
//! | `following` | what becomes of what a watch says |
//! | `opening` | when the watch of a stream is opened, and which one is the first |
//! | `stream` | where one selector in one place stands between the two |
//! | `namespaces` | what is known of namespaces, if anything is asked of them |
//! | `following_namespaces` | how they are read and followed, and what becomes of their Secrets |
//! | `shard` | which of several exporters a Secret belongs to |
//! | `holdings` | what is held, and by which selectors |
//!
//! A Secret that did not change since the last list is carried over by its resource version, its values unread. A watch
//! that ends is opened again from where it was. If it cannot be opened, the source has failed. Then one watch tries whether the
//! server is back; when it has gone on for a moment, the lists are read anew and the other watches opened. A poll that failed
//! begins with the list that did. So while the server is away there is one request at a time, and when it is back one way to
//! recover. A namespace that alone is forbidden or gone keeps what it had, and is tried again by itself; one whose watch is
//! too old is listed alone.

mod following;
mod following_namespaces;
mod holdings;
mod listing;
#[cfg(test)]
mod model_tests;
mod named;
mod namespaces;
mod opening;
mod parts;
mod relist;
mod scope;
mod shard;
mod stream;
mod watching;

pub use listing::ListTimeouts;
pub use named::NamedSecret;
pub use scope::Selection;
pub use shard::Shard;
pub use watching::{LONGEST_SILENCE, Notify, StreamEvent, StreamNews};

use super::{Fault, Followed, Held, PollError, Source, Stopper, Tended};
use crate::kubernetes::object::{Labels, ObjectError, SecretObject};
use crate::kubernetes::{Cluster, Reason, RequestError};
use crate::observation::{ExtraLabels, Logins, Observer, Reading, SecretObservation, SecretView};
use crate::snapshot::ScopeStatus;
use holdings::Holdings;
use named::ANY_MOMENT;
use namespaces::{NAMESPACES, Namespaces};
use opening::TRUST;
use scope::Scope;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use stream::{State, Stream};

/// Each watch costs a thread and a connection, here and at the API server. Streams beyond so many are polled.
pub const MOST_WATCHES: usize = 32;

/// What is read of a cluster.
pub struct SecretsSource {
    name: String,
    cluster: Arc<Cluster>,
    annotation_key: String,
    observer: Observer,
    timeouts: ListTimeouts,
    silence: Duration,
    /// Where news go; without it, nothing is watched.
    notify: Option<Notify>,
    selection: Selection,
    scopes: Vec<Scope>,
    /// Each selector in each place, place by place.
    streams: Vec<Stream>,
    holdings: Holdings,
    /// `None`: nothing is asked of namespaces, and they are not read.
    namespaces: Option<Namespaces>,
    /// The list of a namespace that came to be chosen has failed: the next poll lists everything.
    awaits_poll: bool,
    trusted_until: Option<Instant>,
    /// When a watch failed last, until all are open again.
    failed_at: Option<Instant>,
    /// When lists were read last.
    listed_at: Option<Instant>,
    /// The list that is read first: the last one, if something kept it from us that is not its own.
    begin_with: Option<usize>,
    /// When lists were read last, one failed as the other.
    in_doubt: bool,
    /// The reasons of failures of parts that nobody has asked for yet.
    errors: Vec<&'static str>,
    /// Objects that lists brought.
    seen: Arc<AtomicUsize>,
}

impl SecretsSource {
    /// The Secrets that any of `selectors` matches, in the whole cluster; every Secret if there is no selector. The annotation
    /// `annotation_key` names the data keys. They are polled, until [`with_watches`](Self::with_watches).
    #[must_use]
    pub fn new(
        name: &str,
        cluster: Arc<Cluster>,
        selectors: Vec<String>,
        annotation_key: String,
        reading: Reading,
    ) -> Self {
        let selection = Selection { label_selectors: selectors, ..Selection::default() };
        let source = Self {
            name: name.to_owned(),
            cluster,
            annotation_key,
            observer: Observer::new(reading),
            timeouts: ListTimeouts::default(),
            silence: LONGEST_SILENCE,
            notify: None,
            selection: Selection::default(),
            scopes: Vec::new(),
            streams: Vec::new(),
            holdings: Holdings::default(),
            namespaces: None,
            awaits_poll: false,
            trusted_until: None,
            failed_at: None,
            listed_at: None,
            begin_with: None,
            in_doubt: false,
            errors: Vec::new(),
            seen: Arc::default(),
        };
        source.with_selection(selection)
    }

    /// With another selection of Secrets. To be called before [`with_watches`](Self::with_watches).
    #[must_use]
    pub fn with_selection(mut self, mut selection: Selection) -> Self {
        if let Some(shard) = selection.shard {
            selection.secrets.retain(|named| shard.owns(&named.namespace, &named.name));
        }
        self.namespaces = Namespaces::new(&selection, &self.observer.reading().namespace_labels);
        self.scopes = Scope::all(&selection);
        let every = [String::new()];
        let selectors =
            if selection.label_selectors.is_empty() { &every } else { selection.label_selectors.as_slice() };
        let streams_of = |(at, scope): (usize, &Scope)| {
            let selectors = if scope.named.is_some() { &every } else { selectors };
            let stream = move |(number, selector): (usize, &String)| Stream::new(at, number, selector.clone());
            selectors.iter().enumerate().map(stream)
        };
        self.streams = self.scopes.iter().enumerate().flat_map(streams_of).collect();
        self.selection = selection;
        self
    }

    /// Follows changes between two polls: `notify` brings what the watches say to whoever calls
    /// [`receive`](Source::receive).
    #[must_use]
    pub fn with_watches(mut self, notify: Notify) -> Self {
        self.notify = Some(notify);
        for stream in self.streams.iter_mut().take(MOST_WATCHES) {
            stream.state = State::Idle;
        }
        if let Some(namespaces) = &mut self.namespaces {
            namespaces.allow_watch();
        }
        if self.streams.len() > MOST_WATCHES {
            let (name, all) = (&self.name, self.streams.len());
            log::warn!(
                "{name}: the label selectors, in each namespace, and the named Secrets make {all} watches; the first \
                 {MOST_WATCHES} are opened, and the rest is polled"
            );
        }
        self
    }

    /// With other time limits than the default ones; `silence` is that of a watch.
    #[must_use]
    pub fn with_timeouts(self, timeouts: ListTimeouts, silence: Duration) -> Self {
        Self { timeouts, silence, ..self }
    }

    /// What is to be kept of an object; the same as before if it is in the same state as before.
    fn observe(
        &mut self,
        secret: &SecretObject<'_>,
        scope: usize,
        selector: &str,
    ) -> Result<Option<Arc<SecretObservation>>, ObjectError> {
        self.seen.fetch_add(1, Ordering::Relaxed);
        let named = self.scopes.get(scope).and_then(|scope| scope.named.as_ref());
        if named.is_none() && self.passes_over(&secret.namespace, &secret.name) {
            return Ok(None);
        }
        let logins = named.map(|named| named.logins.clone()).unwrap_or_default();
        let keys = named.map(|named| named.keys.join(",")).filter(|keys| !keys.is_empty());
        // With a selector or a name, somebody put just these Secrets forward.
        let picked = named.is_some() || !selector.is_empty();
        let known = self.holdings.get(&secret.namespace, &secret.name);
        if let Some(known) = known.filter(|known| known.version == secret.version) {
            return Ok(Some(Arc::clone(known)));
        }
        let labels =
            if self.observer.reading().secret_labels.is_empty() { Labels::default() } else { secret.labels()? };
        let extra = self.extra_labels(&labels, &secret.namespace);
        let mut data = Vec::new();
        secret.data(&mut data)?;
        let view = SecretView {
            namespace: &secret.namespace,
            name: &secret.name,
            annotation: keys.as_deref().or(secret.annotation.as_deref()),
            data: &data,
            logins: Logins::named_or(&logins, secret.login.as_deref()),
            picked,
            extra: &extra,
            version: secret.version,
        };
        Ok(self.observer.observe(&view).map(Arc::new))
    }

    /// Whether a Secret that a list or watch of a collection brings is not to be looked at.
    fn passes_over(&self, namespace: &str, name: &str) -> bool {
        self.selection.passes_over(namespace, name)
            || self.namespaces.as_ref().is_some_and(|namespaces| !namespaces.is_chosen(namespace))
    }

    /// The labels that the configuration adds to the samples of a Secret.
    fn extra_labels(&self, of_secret: &Labels<'_>, namespace: &str) -> ExtraLabels {
        let of_namespace = self.namespaces.as_ref().map(|namespaces| namespaces.labels_of(namespace));
        self.observer.reading().extra_labels(|key| of_secret.get(key), of_namespace)
    }

    /// The same for a Secret that cannot be had.
    fn extra_labels_of_unknown(&self, namespace: &str) -> ExtraLabels {
        self.extra_labels(&Labels::default(), namespace)
    }

    /// How many watches there may be together.
    fn watches(&self) -> usize {
        self.streams.len().min(MOST_WATCHES) + usize::from(self.namespaces.is_some())
    }

    fn stream_mut(&mut self, number: usize) -> Option<&mut Stream> {
        match &mut self.namespaces {
            Some(namespaces) if number == NAMESPACES => Some(&mut namespaces.stream),
            _ => self.streams.get_mut(number),
        }
    }
}

impl Source for SecretsSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn held(&self) -> &Held {
        self.holdings.held()
    }

    fn poll(&mut self) -> Result<(), PollError> {
        // Those that have come to be chosen are listed with all others.
        self.read_namespaces()?;
        let all_failed = self.list_streams(|_| true)?;
        self.awaits_poll = false;
        all_failed.map_or(Ok(()), |error| Err(error.into()))
    }

    fn relist(&mut self) -> Result<(), PollError> {
        let wants_list = |stream: &Stream| stream.wants_list;
        let mut joined = Vec::new();
        if self.namespaces.as_ref().is_some_and(|namespaces| wants_list(&namespaces.stream)) {
            joined = self.read_namespaces()?;
        }
        let all_failed = self.list_streams(wants_list)?;
        self.list_joined(&joined)?;
        all_failed.map_or(Ok(()), |error| Err(error.into()))
    }

    fn count_into(&mut self, seen: Arc<AtomicUsize>) {
        self.seen = seen;
    }

    fn scopes(&self) -> Vec<ScopeStatus> {
        self.scope_statuses()
    }

    fn faults(&self) -> Vec<Fault> {
        self.part_faults()
    }

    fn take_errors(&mut self) -> Vec<&'static str> {
        std::mem::take(&mut self.errors)
    }

    fn mend(&mut self) -> Result<(), PollError> {
        if self.namespaces.as_ref().is_some_and(|namespaces| !namespaces.failures.is_empty()) {
            self.read_namespaces()?;
        }
        self.list_streams(|stream| stream.list_failure.is_some())?;
        Ok(())
    }

    fn requests(&self) -> u32 {
        self.cluster.requests()
    }

    fn watches_work(&self) -> bool {
        self.failed_at.is_none()
    }

    fn receive(&mut self, event: StreamEvent) -> Followed {
        let StreamEvent { stream: number, opening, what } = event;
        let Some(stream) = self.stream_mut(number).filter(|stream| stream.opening == opening) else {
            return Followed::Nothing;
        };
        if !matches!(stream.state, State::Opening | State::Open) {
            // It was given up after it had said this.
            return Followed::Nothing;
        }
        match what {
            StreamNews::Opened => {
                stream.state = State::Open;
                stream.was_open = true;
                stream.opened = Instant::now();
                let (scope, from_any) = (stream.scope, stream.position == ANY_MOMENT);
                let named = self.scopes.get(scope).is_some_and(|scope| scope.named.is_some());
                if let Some(stream) = self.stream_mut(number).filter(|_| !named) {
                    // That of a Secret may be refused after this.
                    stream.told_denied = false;
                }
                self.trusted_until = Some(Instant::now() + TRUST);
                if named && from_any { self.get_again(number) } else { Followed::Nothing }
            }
            StreamNews::Ended => {
                self.ended_too_soon(number, Reason::CutOff, "a watch that was accepted ends at once");
                let watches = self.watches();
                if let Some(stream) = self.stream_mut(number) {
                    stream.pause(Instant::now(), watches);
                }
                Followed::Nothing
            }
            StreamNews::Line(line) if number == NAMESPACES => self.namespace_line(&line),
            StreamNews::Failed(error) if number == NAMESPACES => self.namespaces_failed(&error),
            StreamNews::Line(line) => self.line(number, &line),
            StreamNews::Failed(error) => self.failed(number, &error),
        }
    }

    fn stopper(&self) -> Option<Stopper> {
        let cluster = Arc::clone(&self.cluster);
        Some(Arc::new(move || cluster.shutdown()))
    }

    fn is_stopped(&self) -> bool {
        self.cluster.is_shut_down()
    }

    fn tend(&mut self, now: Instant) -> Tended {
        let (next, wants_lists) = self.open_paused(now);
        let (relist, looked_at) = self.look_after_emptied(now);
        let (changed, recovers) = self.look_after_recovered(now);
        let next = next.into_iter().chain(looked_at).chain(recovers).min();
        Tended { next, changed, relist: relist || wants_lists }
    }
}

impl From<RequestError> for PollError {
    fn from(error: RequestError) -> Self {
        Self {
            reason: error.reason().as_str(),
            message: error.to_string(),
            retry_after: error.retry_after(),
            needs_operator: matches!(error.reason(), Reason::Unauthorized | Reason::Forbidden | Reason::Credentials),
        }
    }
}
