//! When the watch of a stream is opened: after a list at once; from where it was, one that tries and then the others.

use super::SecretsSource;
use super::namespaces::NAMESPACES;
use super::stream::{PROVEN, State, Stream};
use super::watching::Watch;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// After one watch could be opened, the others that wait are opened without waiting for each other.
pub(super) const TRUST: Duration = Duration::from_secs(1);

impl SecretsSource {
    /// The watch of a stream has failed: whoever is told decides when it is tried again, from where it was.
    pub(super) fn try_later(&mut self, number: usize) {
        let now = Instant::now();
        self.failed_at = Some(now);
        if let Some(stream) = self.stream_mut(number) {
            stream.state = State::Paused { until: now };
        }
    }

    /// All streams, with that of namespaces.
    fn all_streams(&self) -> impl Iterator<Item = &Stream> {
        self.streams.iter().chain(self.namespaces.as_ref().map(|namespaces| &namespaces.stream))
    }

    /// Opens the watch of a stream, from where the stream is.
    pub(super) fn open(&mut self, number: usize, now: Instant) {
        let Some(notify) = self.notify.clone() else { return };
        let (resource, query, stream) = match &mut self.namespaces {
            Some(namespaces) if number == NAMESPACES => ("namespaces", namespaces.query(), &mut namespaces.stream),
            _ => {
                let Some(stream) = self.streams.get_mut(number) else { return };
                let Some(scope) = self.scopes.get(stream.scope) else { return };
                ("secrets", scope.query(&stream.selector), stream)
            }
        };
        let (opening, cancelled) = stream.open(now);
        let watch = Watch {
            cluster: Arc::clone(&self.cluster),
            resource,
            query,
            position: stream.position.clone(),
            silence: self.silence,
            stream: number,
            opening,
            cancelled,
            notify,
        };
        if let Err(error) = watch.start() {
            log::error!("{}: no thread for a watch: {error}; tried again at the next poll", self.name);
            stream.state = State::Idle;
        }
    }

    /// Opens the watches whose pause is over, and takes note when all are open again after a failure. When there is something to
    /// do again, and whether the lists have to be read before.
    pub(super) fn open_paused(&mut self, now: Instant) -> (Option<Instant>, bool) {
        let mut opening = self.all_streams().any(|stream| stream.state == State::Opening);
        let mut trusted = self.trusted_until.is_some_and(|until| now < until);
        let mut next: Option<Instant> = None;
        if self.failed_at.is_some() {
            // Of those that were answered since then, be they open or at their end already, the last.
            let answered = |stream: &&Stream| stream.state != State::Opening && Some(stream.opened) > self.failed_at;
            let trial = self.all_streams().filter(answered).map(|stream| stream.opened + PROVEN).max();
            next = trial.filter(|end| *end > now);
            opening |= next.is_some();
            trusted = trial.is_some() && next.is_none();
        }
        let wants_lists = trusted && self.listed_at < self.failed_at;
        for number in (0..self.streams.len()).chain([NAMESPACES]) {
            let Some(State::Paused { until } | State::Denied { again: Some(until) }) =
                self.stream_mut(number).map(|stream| stream.state)
            else {
                continue;
            };
            // One tries whether the server is there; the others follow when it was accepted.
            if until <= now && !wants_lists && (trusted || !opening) {
                opening = true;
                self.open(number, now);
            } else if until > now {
                next = Some(next.map_or(until, |next| next.min(until)));
            }
        }
        if trusted && !wants_lists && !opening {
            self.failed_at = None;
        }
        (next, wants_lists)
    }
}
