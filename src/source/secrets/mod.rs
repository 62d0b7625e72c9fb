//! The Secrets of a cluster, by label selectors: listed, and then followed by watches.
//!
//! | file | subject |
//! | --- | --- |
//! | `listing` | one list, in pages from etcd or whole from the watch cache |
//! | `watching` | the thread that reads one watch |
//! | `stream` | where one selector stands between the two |
//! | `holdings` | what is held, and by which selectors |
//!
//! A Secret that did not change since the last list is carried over by its resource version, its values unread. A watch
//! that ends is opened again from where it was. If it cannot be opened, the source has failed: the next poll, which lists,
//! starts everything anew. So there is one way to recover, and while the server is away one request at a time.

mod holdings;
mod listing;
#[cfg(test)]
mod model_tests;
mod stream;
mod watching;

pub use listing::ListTimeouts;
pub use watching::{LONGEST_SILENCE, Notify, StreamEvent, StreamNews};

use super::{Followed, Held, PollError, Source};
use crate::kubernetes::object::{ObjectError, SecretObject, UNORDERED};
use crate::kubernetes::watch::{WatchEvent, resource_version};
use crate::kubernetes::{Cluster, Reason, RequestError};
use crate::observation::{Observer, Reading, SecretObservation, SecretView};
use holdings::Holdings;
use listing::{Freshness, Listed, Listing};
use std::sync::Arc;
use std::time::{Duration, Instant};
use stream::{State, Stream};
use watching::Watch;

/// Each watch costs a thread and a connection, here and at the API server. Selectors beyond so many are polled.
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
    streams: Vec<Stream>,
    holdings: Holdings,
    /// The next list must show the newest state.
    distrust_cache: bool,
    trusted_until: Option<Instant>,
}

impl SecretsSource {
    /// The Secrets that any of `selectors` matches; every Secret if there is no selector. The annotation `annotation_key`
    /// names the data keys. They are polled, until [`with_watches`](Self::with_watches).
    #[must_use]
    pub fn new(
        name: &str,
        cluster: Arc<Cluster>,
        selectors: Vec<String>,
        annotation_key: String,
        reading: Reading,
    ) -> Self {
        let selectors = if selectors.is_empty() { vec![String::new()] } else { selectors };
        Self {
            name: name.to_owned(),
            cluster,
            annotation_key,
            observer: Observer::new(reading),
            timeouts: ListTimeouts::default(),
            silence: LONGEST_SILENCE,
            notify: None,
            streams: selectors.into_iter().map(|selector| Stream::new(selector, State::Polled)).collect(),
            holdings: Holdings::default(),
            distrust_cache: false,
            trusted_until: None,
        }
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
            log::warn!("{name}: of {all} label selectors the first {MOST_WATCHES} are watched; the others are polled");
        }
        self
    }

    /// With other time limits than the default ones; `silence` is that of a watch.
    #[must_use]
    pub fn with_timeouts(self, timeouts: ListTimeouts, silence: Duration) -> Self {
        Self { timeouts, silence, ..self }
    }

    /// How fresh a list of this stream has to be. What is not watched has nobody to bring it up to date.
    fn freshness(&self, stream: &Stream) -> Freshness {
        match stream.state {
            State::Polled | State::Denied => Freshness::Newest,
            _ if self.distrust_cache => Freshness::Newest,
            _ if stream.position.is_empty() => Freshness::Cached,
            _ => Freshness::CachedNotBefore(stream.position.clone()),
        }
    }

    /// Lists all selectors; returns the resource version of each list, and whether it came from the cache. Nothing of the source
    /// changes before all of them are read.
    fn list(&mut self) -> Result<Vec<(String, bool)>, RequestError> {
        let end = Instant::now() + self.timeouts.poll;
        let mut listed = Vec::with_capacity(self.holdings.held().len());
        let mut versions = Vec::with_capacity(self.streams.len());
        for number in 0..self.streams.len() {
            let Some(stream) = self.streams.get(number) else { break };
            let (selector, freshness) = (stream.selector.clone(), self.freshness(stream));
            let cluster = Arc::clone(&self.cluster);
            let (path, timeouts) = ("/api/v1/secrets", self.timeouts);
            let listing = Listing { cluster: &cluster, path, selector: &selector, timeouts, end };
            let before = listed.len();
            let version = listing.read(&freshness, |what| {
                match what {
                    Listed::Again => listed.truncate(before),
                    Listed::Item(item) => {
                        let observation = self.observe(&SecretObject::read(item, &self.annotation_key)?, &selector)?;
                        listed.extend(observation.map(|observation| (number, observation)));
                    }
                }
                Ok(())
            })?;
            versions.push((version, freshness != Freshness::Newest));
        }
        self.holdings.replace(listed);
        Ok(versions)
    }

    /// What is to be kept of an object; the same as before if it is in the same state as before.
    fn observe(
        &mut self,
        secret: &SecretObject<'_>,
        selector: &str,
    ) -> Result<Option<Arc<SecretObservation>>, ObjectError> {
        let known = self.holdings.get(&secret.namespace, &secret.name);
        if let Some(known) = known.filter(|known| known.version == secret.version) {
            return Ok(Some(Arc::clone(known)));
        }
        let mut data = Vec::new();
        secret.data(&mut data)?;
        let view = SecretView {
            namespace: &secret.namespace,
            name: &secret.name,
            annotation: secret.annotation.as_deref(),
            data: &data,
            // With a selector, somebody put just these Secrets forward.
            picked: !selector.is_empty(),
            version: secret.version,
        };
        Ok(self.observer.observe(&view).map(Arc::new))
    }

    /// Opens the watch of a stream, from where the stream is.
    fn open(&mut self, number: usize, now: Instant) {
        let (Some(notify), Some(stream)) = (&self.notify, self.streams.get_mut(number)) else { return };
        let (opening, cancelled) = stream.open(now);
        let watch = Watch {
            cluster: Arc::clone(&self.cluster),
            path: "/api/v1/secrets".to_owned(),
            selector: stream.selector.clone(),
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

    fn line(&mut self, number: usize, line: &[u8]) -> Followed {
        let event = match WatchEvent::read(line) {
            Ok(event) => event,
            Err(fault) => return self.broken(number, &format!("an event {fault}")),
        };
        match event {
            WatchEvent::Changed(object) => self.changed(number, object, false),
            WatchEvent::Deleted(object) => self.changed(number, object, true),
            WatchEvent::Bookmark(version) => {
                if let Some(stream) = self.streams.get_mut(number) {
                    stream.advance(version);
                }
                Followed::Nothing
            }
            WatchEvent::Unknown => Followed::Nothing,
            WatchEvent::Error { code: 410, message } => self.too_old(number, &message),
            WatchEvent::Error { code, message } => {
                let message = format!("watch secrets at {}: {code}: {message}", self.cluster.server());
                self.failed(number, &RequestError::new(Reason::of_status(code), message))
            }
        }
    }

    fn changed(&mut self, number: usize, object: &str, deleted: bool) -> Followed {
        let secret = match SecretObject::read(object.as_bytes(), &self.annotation_key) {
            Ok(secret) => secret,
            Err(error) => return self.broken(number, &error.to_string()),
        };
        let Some(stream) = self.streams.get_mut(number) else { return Followed::Nothing };
        if let Some(version) = resource_version(object) {
            stream.advance(version);
        }
        if secret.version < UNORDERED && secret.version <= stream.listed_at {
            // It happened before the list, which shows what came of it.
            return Followed::Nothing;
        }
        let selector = stream.selector.clone();
        let (namespace, name) = (&*secret.namespace, &*secret.name);
        let changed = if deleted {
            self.holdings.remove(number, namespace, name)
        } else {
            match self.observe(&secret, &selector) {
                Ok(Some(observation)) => self.holdings.put(number, observation),
                Ok(None) => self.holdings.remove(number, namespace, name),
                Err(error) => return self.broken(number, &error.to_string()),
            }
        };
        if changed { Followed::Changed } else { Followed::Nothing }
    }

    /// What a watch said is not what the API server says.
    fn broken(&mut self, number: usize, cause: &str) -> Followed {
        let message = format!("watch secrets at {}: {cause}", self.cluster.server());
        self.failed(number, &RequestError::new(Reason::BadAnswer, message))
    }

    fn failed(&mut self, number: usize, error: &RequestError) -> Followed {
        let Some(stream) = self.streams.get_mut(number) else { return Followed::Nothing };
        stream.give_up();
        if error.reason() == Reason::Gone {
            return self.too_old(number, &error.to_string());
        }
        // 405: something before the API server that knows no watches.
        if error.reason() == Reason::Forbidden || error.status() == Some(405) {
            stream.state = State::Denied;
            let from_cache = stream.from_cache;
            let told = self.streams.iter().any(|stream| stream.told_denied);
            if let Some(stream) = self.streams.get_mut(number) {
                stream.told_denied = true;
            }
            if !told {
                log::info!("{}: changes show at the next poll only, since watching is not allowed: {error}", self.name);
            }
            // A list from a cache has nothing that brings it up to date now.
            return if from_cache { Followed::Relist } else { Followed::Nothing };
        }
        stream.state = State::Idle;
        Followed::Failed(PollError::from(error.clone()))
    }

    /// The server no longer knows what came after our position.
    fn too_old(&mut self, number: usize, message: &str) -> Followed {
        log::debug!("{}: the watch is too old, the list is read again: {message}", self.name);
        if let Some(stream) = self.streams.get_mut(number) {
            stream.give_up();
            stream.state = State::Idle;
        }
        self.distrust_cache = true;
        Followed::Relist
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
        let versions = self.list()?;
        self.distrust_cache = false;
        let now = Instant::now();
        for (number, (version, from_cache)) in versions.into_iter().enumerate() {
            let Some(stream) = self.streams.get_mut(number) else { break };
            stream.start_from(version, from_cache);
            match stream.state {
                // The server has just answered: a denied watch is asked for again too, rights come and go.
                State::Idle | State::Denied | State::Paused { .. } => self.open(number, now),
                State::Opening | State::Open | State::Polled => {}
            }
        }
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
                stream.told_denied = false;
                self.trusted_until = Some(Instant::now() + TRUST);
                Followed::Nothing
            }
            StreamNews::Ended => {
                stream.pause(Instant::now(), watches);
                Followed::Nothing
            }
            StreamNews::Line(line) => self.line(number, &line),
            StreamNews::Failed(error) => self.failed(number, &error),
        }
    }

    fn tend(&mut self, now: Instant) -> Option<Instant> {
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
        next
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
