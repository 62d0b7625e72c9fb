//! What becomes of what a watch says: events change what is held, errors lead back to a list.

use super::SecretsSource;
use super::named::ANY_MOMENT;
use super::scope::{is_answer, is_refusal};
use super::stream::{SHORT_LIVES, State, Stream};
use crate::kubernetes::object::{SecretObject, UNORDERED};
use crate::kubernetes::watch::{WatchEvent, resource_version};
use crate::kubernetes::{Reason, RequestError};
use crate::source::{Followed, PollError};
use std::time::{Duration, Instant};

/// A namespace that goes takes its Secrets and Roles with it, within seconds, and an open watch says nothing of that. One whose
/// last Secret was deleted so long ago is listed once more.
const EMPTIED_FOR: Duration = Duration::from_secs(10);

impl SecretsSource {
    /// Whether a namespace has to be listed that may be gone, and when that is to be asked again.
    pub(super) fn look_after_emptied(&mut self, now: Instant) -> (bool, Option<Instant>) {
        let (mut relist, mut next) = (false, None);
        for at in 0..self.scopes.len() {
            let Some(scope) = self.scopes.get_mut(at) else { continue };
            let Some(due) = scope.emptied.map(|emptied| emptied + EMPTIED_FOR) else { continue };
            if due > now {
                next = Some(next.map_or(due, |next: Instant| next.min(due)));
                continue;
            }
            scope.emptied = None;
            let is_empty = scope.namespace.as_ref().is_some_and(|name| !self.holdings.has_namespace(name));
            for stream in self.streams.iter_mut().filter(|stream| is_empty && stream.scope == at) {
                stream.wants_list = true;
                relist = true;
            }
        }
        (relist, next)
    }

    pub(super) fn line(&mut self, number: usize, line: &[u8]) -> Followed {
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
            WatchEvent::Error { code: 410, message, .. } => self.too_old(number, &message),
            WatchEvent::Error { code, message, retry_after } => {
                let message = format!("watch secrets at {}: {code}: {message}", self.cluster.server());
                let error = RequestError::new(Reason::of_status(code), message);
                self.failed(number, &error.with_retry_after(retry_after))
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
        let (scope, selector, brought_by) = (stream.scope, stream.selector.clone(), stream.number);
        let (namespace, name) = (&*secret.namespace, &*secret.name);
        let named = self.scopes.get(scope).and_then(|scope| scope.named.as_ref());
        let changed = if let Some(named) = named.filter(|named| deleted || !named.is(namespace, name)) {
            let missing = named.missing(&self.extra_labels_of_unknown(namespace));
            named.is(namespace, name) && self.holdings.put(brought_by, missing)
        } else if named.is_none() && self.passes_over(namespace, name) {
            false
        } else if deleted {
            let removed = self.holdings.remove(brought_by, namespace, name);
            let is_empty = removed && !self.holdings.has_namespace(namespace);
            if let Some(scope) = self.scopes.get_mut(scope).filter(|scope| is_empty && scope.namespace.is_some()) {
                scope.emptied = Some(Instant::now());
            }
            removed
        } else {
            match self.observe(&secret, scope, &selector) {
                Ok(Some(observation)) => self.holdings.put(brought_by, observation),
                Ok(None) => self.holdings.remove(brought_by, namespace, name),
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

    pub(super) fn failed(&mut self, number: usize, error: &RequestError) -> Followed {
        if error.reason() == Reason::Gone {
            return self.too_old(number, &error.to_string());
        }
        let (told, now, watches) = (self.is_told(number), Instant::now(), self.watches());
        let lasts = |stream: &Stream| stream.works().is_some_and(|from| from <= now);
        let others_last = self.streams.iter().enumerate().any(|(other, stream)| other != number && lasts(stream));
        let troubled = self.streams.iter().filter(|stream| stream.watch_failure.is_some()).count();
        let Some(stream) = self.streams.get_mut(number) else { return Followed::Nothing };
        let Some(scope) = self.scopes.get_mut(stream.scope) else { return Followed::Nothing };
        stream.give_up();
        stream.ended(now);
        // 405: something before the API server that knows no watches.
        let denied = error.status() == Some(405)
            || error.reason() == Reason::Forbidden
            || is_refusal(error) && scope.namespace.is_some();
        let from_any = scope.named.is_some() && stream.state == State::Open && stream.position == ANY_MOMENT;
        let impossible = from_any && error.reason() == Reason::ServerError;
        if denied || impossible {
            stream.deny(now, watches);
            if impossible {
                stream.state = State::Denied { again: None };
            }
            if stream.list_failure.is_some() {
                // That it may not be listed either was said, and is tried again.
                return Followed::Nothing;
            }
            // A list from a cache has nothing that brings it up to date now.
            stream.wants_list = stream.from_cache;
            let wants_list = stream.wants_list;
            stream.told_denied = true;
            if !told {
                let why = if denied { "watching is not allowed" } else { "the server cannot watch a single Secret" };
                log::info!("{}: changes show at the next poll only, since {why}: {error}", self.name);
            }
            return if wants_list { Followed::Relist } else { Followed::Nothing };
        }
        if is_answer(error) && others_last {
            // It alone: it goes on from where it was, as soon as it is let.
            stream.pause(now + error.retry_after().unwrap_or_default(), troubled + 1);
            stream.watch_failure = Some(error.clone());
            scope.tried(&self.name, Some(error), true);
            self.errors.push(error.reason().as_str());
            return Followed::Changed;
        }
        self.try_later(number);
        Followed::Failed(PollError::from(error.clone()))
    }

    /// An accepted watch has ended, or was too old to be accepted, again and again and too soon: said once, and counted each time.
    /// What it misses shows all the same, only later.
    pub(super) fn ended_too_soon(&mut self, number: usize, reason: Reason, why: &str) {
        let is_told = self.streams.iter().any(|stream| stream.short_lives >= SHORT_LIVES);
        let Some(stream) = self.stream_mut(number) else { return };
        stream.ended(Instant::now());
        if stream.short_lives < SHORT_LIVES {
            return;
        }
        self.errors.push(reason.as_str());
        let level = if is_told { log::Level::Debug } else { log::Level::Warn };
        log::log!(level, source = &*self.name, reason = reason.as_str();
            "{}: {why}, again and again; until that is over, changes show late", self.name);
    }

    /// Whether it has been said that this may not be watched. Of one place, and of all Secrets by name, once is enough.
    fn is_told(&self, number: usize) -> bool {
        let is_named = |stream: &Stream| self.scopes.get(stream.scope).is_some_and(|scope| scope.named.is_some());
        let Some(stream) = self.streams.get(number) else { return false };
        self.streams
            .iter()
            .any(|other| other.told_denied && (other.scope == stream.scope || (is_named(other) && is_named(stream))))
    }

    /// The server no longer knows what came after our position.
    fn too_old(&mut self, number: usize, message: &str) -> Followed {
        log::debug!("{}: the watch is too old, the list is read again: {message}", self.name);
        self.ended_too_soon(number, Reason::Gone, &format!("a watch is too old at once ({message})"));
        let watches = self.watches();
        if let Some(stream) = self.streams.get_mut(number) {
            stream.give_up();
            if self.scopes.get(stream.scope).is_some_and(|scope| scope.named.is_some()) {
                stream.position = ANY_MOMENT.to_owned();
                stream.pause(Instant::now(), watches);
                return Followed::Nothing;
            }
            stream.state = State::Idle;
            // After a failure everything is listed, and a server that was restarted knows no version of before: its cache will do.
            stream.wants_list = self.failed_at.is_none();
        }
        Followed::Relist
    }
}
