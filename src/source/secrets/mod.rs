//! The Secrets of a cluster, by label selectors: listed, and then followed by watches.
//!
//! | file | subject |
//! | --- | --- |
//! | `scope` | the places that are read: the whole cluster, or single namespaces |
//! | `named` | Secrets that are read by their names |
//! | `relist` | the lists of all places, or of those that failed, put together |
//! | `listing` | one list, in pages from etcd or whole from the watch cache |
//! | `watching` | the thread that reads one watch |
//! | `following` | what becomes of what a watch says |
//! | `stream` | where one selector in one place stands between the two |
//! | `holdings` | what is held, and by which selectors |
//!
//! A Secret that did not change since the last list is carried over by its resource version, its values unread. A watch
//! that ends is opened again from where it was. If it cannot be opened, the source has failed: the next poll, which lists,
//! starts everything anew. So there is one way to recover, and while the server is away one request at a time. A namespace
//! that alone is forbidden or gone keeps what it had, and is tried again by itself.

mod following;
mod holdings;
mod listing;
#[cfg(test)]
mod model_tests;
mod named;
mod relist;
mod scope;
mod stream;
mod watching;

pub use listing::ListTimeouts;
pub use named::NamedSecret;
pub use scope::Selection;
pub use watching::{LONGEST_SILENCE, Notify, StreamEvent, StreamNews};

use super::{Fault, Followed, Held, PollError, Source, Stopper, Tended};
use crate::kubernetes::object::{ObjectError, SecretObject};
use crate::kubernetes::{Cluster, Reason, RequestError};
use crate::observation::{Logins, Observer, Reading, SecretObservation, SecretView};
use crate::snapshot::ScopeStatus;
use holdings::Holdings;
use named::ANY_MOMENT;
use scope::Scope;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use stream::{State, Stream};
use watching::Watch;

/// Each watch costs a thread and a connection, here and at the API server. Streams beyond so many are polled.
pub const MOST_WATCHES: usize = 32;

/// After one watch could be opened, the others that wait are opened without waiting for each other.
const TRUST: Duration = Duration::from_secs(1);

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
    /// The next list must show the newest state.
    distrust_cache: bool,
    trusted_until: Option<Instant>,
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
            distrust_cache: false,
            trusted_until: None,
            seen: Arc::default(),
        };
        source.with_selection(selection)
    }

    /// With another selection of Secrets. To be called before [`with_watches`](Self::with_watches).
    #[must_use]
    pub fn with_selection(mut self, selection: Selection) -> Self {
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
        if named.is_none() && self.selection.passes_over(&secret.namespace, &secret.name) {
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
        let mut data = Vec::new();
        secret.data(&mut data)?;
        let view = SecretView {
            namespace: &secret.namespace,
            name: &secret.name,
            annotation: keys.as_deref().or(secret.annotation.as_deref()),
            data: &data,
            logins: Logins::named_or(&logins, secret.login.as_deref()),
            picked,
            version: secret.version,
        };
        Ok(self.observer.observe(&view).map(Arc::new))
    }

    /// Opens the watch of a stream, from where the stream is.
    fn open(&mut self, number: usize, now: Instant) {
        let (Some(notify), Some(stream)) = (&self.notify, self.streams.get_mut(number)) else { return };
        let Some(scope) = self.scopes.get(stream.scope) else { return };
        let (opening, cancelled) = stream.open(now);
        let watch = Watch {
            cluster: Arc::clone(&self.cluster),
            query: scope.query(&stream.selector),
            position: stream.position.clone(),
            silence: self.silence,
            stream: number,
            opening,
            cancelled,
            notify: Arc::clone(notify),
        };
        if let Err(error) = watch.start() {
            log::error!("{}: no thread for a watch: {error}; tried again at the next poll", self.name);
            stream.state = State::Idle;
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
        let all_failed = self.relist(|_| true)?;
        self.distrust_cache = false;
        all_failed.map_or(Ok(()), |error| Err(error.into()))
    }

    fn count_into(&mut self, seen: Arc<AtomicUsize>) {
        self.seen = seen;
    }

    fn scopes(&self) -> Vec<ScopeStatus> {
        let status = |scope: &Scope| {
            let up = scope.failure.is_none();
            scope.namespace.as_ref().map(|name| ScopeStatus { name: Arc::clone(name), up })
        };
        self.scopes.iter().filter(|scope| scope.named.is_none()).filter_map(status).collect()
    }

    fn faults(&self) -> Vec<Fault> {
        let fault = |scope: &Scope| {
            let error = PollError::from(scope.failure.clone()?);
            Some(Fault { error, is_shown: scope.named.is_some() })
        };
        self.scopes.iter().filter_map(fault).collect()
    }

    fn mend(&mut self) -> Result<(), PollError> {
        self.relist(|scope| scope.failure.is_some())?;
        Ok(())
    }

    fn requests_a_poll(&self) -> u32 {
        u32::try_from(self.streams.len()).unwrap_or(u32::MAX).saturating_mul(2)
    }

    fn receive(&mut self, event: StreamEvent) -> Followed {
        let StreamEvent { stream: number, opening, what } = event;
        let watches = self.streams.len().min(MOST_WATCHES);
        let Some(stream) = self.streams.get_mut(number).filter(|stream| stream.opening == opening) else {
            return Followed::Nothing;
        };
        if !matches!(stream.state, State::Opening | State::Open) {
            // It was given up after it had said this.
            return Followed::Nothing;
        }
        match what {
            StreamNews::Opened => {
                stream.state = State::Open;
                let named = self.scopes.get(stream.scope).is_some_and(|scope| scope.named.is_some());
                // That of a Secret may be refused after this.
                stream.told_denied &= named;
                self.trusted_until = Some(Instant::now() + TRUST);
                if named && stream.position == ANY_MOMENT { self.get_again(number) } else { Followed::Nothing }
            }
            StreamNews::Ended => {
                stream.pause(Instant::now(), watches);
                Followed::Nothing
            }
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
        let trusted = self.trusted_until.is_some_and(|until| now < until);
        let mut opening = self.streams.iter().any(|stream| stream.state == State::Opening);
        let mut next: Option<Instant> = None;
        for number in 0..self.streams.len() {
            let Some(State::Paused { until }) = self.streams.get(number).map(|stream| stream.state) else { continue };
            // One tries whether the server is there; the others follow when it was accepted.
            if until <= now && (trusted || !opening) {
                opening = true;
                self.open(number, now);
            } else if until > now {
                next = Some(next.map_or(until, |next| next.min(until)));
            }
        }
        Tended { next, changed: false }
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
