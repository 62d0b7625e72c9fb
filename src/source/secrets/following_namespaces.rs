//! Namespaces, listed and watched or read by their names, and what becomes of their Secrets: one that comes to be chosen has
//! its Secrets listed, one that is chosen no more is forgotten, and other labels are written to the tokens of one namespace.

use super::SecretsSource;
use super::listing::{Freshness, Listed, Listing};
use super::namespaces::{Found, NAMESPACES, NamespaceChange, Namespaces};
use super::scope::{is_answer, is_refusal};
use super::stream::State;
use crate::kubernetes::object::{NamespaceObject, SecretObject, UNORDERED};
use crate::kubernetes::watch::{WatchEvent, resource_version};
use crate::kubernetes::{ApiResponse, Query, Reason, RequestError};
use crate::source::{Followed, PollError};
use std::sync::Arc;
use std::time::Instant;

impl SecretsSource {
    /// Reads the namespaces anew, if anything is asked of them; the names of those that have come to be chosen. Where their
    /// labels alone are wanted, it is no error that they may not be read.
    ///
    /// # Errors
    /// Why they could not be read; then nothing has changed.
    pub(super) fn read_namespaces(&mut self) -> Result<Vec<String>, RequestError> {
        let end = Instant::now() + self.timeouts.poll;
        let Some(namespaces) = &self.namespaces else { return Ok(Vec::new()) };
        let needed = namespaces.has_selector();
        let (found, failures) = match namespaces.names.clone() {
            Some(names) => {
                let (found, failures) = self.get_namespaces(&names, end)?;
                (Some(found), failures)
            }
            None => match self.list_namespaces(end) {
                Ok(found) => (Some(found), Vec::new()),
                Err(error) if is_answer(&error) && !needed => (None, vec![error]),
                Err(error) => return Err(error),
            },
        };
        let Some(namespaces) = &mut self.namespaces else { return Ok(Vec::new()) };
        match (namespaces.failures.first(), failures.first()) {
            (None, Some(error)) => {
                log::warn!("{}: {error}; until then labels of `namespace_labels` are not known", self.name);
            }
            (Some(_), Some(error)) => log::debug!("{}: {error}", self.name),
            (Some(_), None) => log::info!("{}: the labels of namespaces can be read again", self.name),
            (None, None) => {}
        }
        self.errors.extend(failures.iter().map(|error| error.reason().as_str()));
        namespaces.failures = failures;
        let changes = found.map(|found| namespaces.replace(found)).unwrap_or_default();
        if matches!(namespaces.stream.state, State::Idle | State::Denied { .. }) && namespaces.failures.is_empty() {
            self.open(NAMESPACES, Instant::now());
        }
        self.apply(&changes);
        Ok(changes.into_iter().filter(|change| change.joined).map(|change| change.name).collect())
    }

    fn list_namespaces(&mut self, end: Instant) -> Result<Found, RequestError> {
        let mut found = Found::default();
        let Some(namespaces) = &self.namespaces else { return Ok(found) };
        let freshness = self.freshness(&namespaces.stream);
        let (cluster, query) = (&self.cluster, namespaces.query());
        let listing = Listing { cluster, resource: "namespaces", query, timeouts: self.timeouts, end };
        let version = listing.read(&freshness, |what| {
            match what {
                Listed::Again => found = Found::default(),
                Listed::Item(item) => namespaces.find(&NamespaceObject::read(item)?, &mut found),
            }
            Ok(())
        })?;
        if let Some(namespaces) = &mut self.namespaces {
            namespaces.stream.start_from(version, freshness != Freshness::Newest);
        }
        Ok(found)
    }

    /// Reads each by its name: one that is not there has no labels, and one that cannot be read those that it had. If the first
    /// one is answered with an error, the others are left alone, and another one is the first next time.
    ///
    /// # Errors
    /// What is no answer.
    fn get_namespaces(&mut self, names: &[String], end: Instant) -> Result<(Found, Vec<RequestError>), RequestError> {
        let mut found = self.namespaces.as_ref().map(Namespaces::known).unwrap_or_default();
        let (mut failures, mut comes) = (Vec::new(), false);
        for name in names {
            let path = Query::path(&["api", "v1", "namespaces", name]).build();
            match self.get_object("namespaces", path, end).and_then(|read| self.find_namespace(name, &read, &mut found))
            {
                Ok(()) => comes = true,
                Err(error) if error.reason() == Reason::NotFound => {
                    found.forget(name);
                    comes = true;
                }
                Err(error) if is_answer(&error) => {
                    let doubt = !comes && !is_refusal(&error);
                    failures.push(error);
                    if let Some(names) =
                        self.namespaces.as_mut().and_then(|namespaces| namespaces.names.as_mut()).filter(|_| doubt)
                    {
                        names.rotate_left(1);
                        break;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok((found, failures))
    }

    fn find_namespace(
        &self,
        name: &str,
        (bytes, response): &(Vec<u8>, ApiResponse),
        found: &mut Found,
    ) -> Result<(), RequestError> {
        let object = NamespaceObject::read(bytes).map_err(|error| response.bad_answer(&error.to_string()))?;
        found.forget(name);
        if let Some(namespaces) = &self.namespaces {
            namespaces.find(&object, found);
        }
        Ok(())
    }

    /// Brings what is held in line with what namespaces have become; those that joined are not listed yet. Whether it shows.
    pub(super) fn apply(&mut self, changes: &[NamespaceChange]) -> bool {
        let Some(namespaces) = &self.namespaces else { return false };
        let mut shows = false;
        for NamespaceChange { name, left, relabelled, .. } in changes {
            if *left {
                let named = |name_of_secret: &str| self.selection.names(name, name_of_secret);
                shows |= self.holdings.leave_namespace(name, named);
            }
            if *relabelled {
                shows |= self.holdings.relabel(name, namespaces.labels_of(name));
            }
        }
        shows
    }

    /// Takes in a line of the watch of namespaces.
    pub(super) fn namespace_line(&mut self, line: &[u8]) -> Followed {
        let change = match self.namespace_event(line) {
            Ok(None) => return Followed::Nothing,
            Ok(Some(change)) => change,
            Err(error) => return self.namespaces_failed(&error),
        };
        let shows = self.apply(std::slice::from_ref(&change));
        let joined = change.joined.then_some(change.name);
        match self.list_joined(joined.as_slice()) {
            Ok(brought) if brought || shows => Followed::Changed,
            Ok(_) => Followed::Nothing,
            Err(error) => Followed::Failed(error.into()),
        }
    }

    /// What an event makes of a namespace.
    ///
    /// # Errors
    /// What it says of the watch.
    pub(super) fn namespace_event(&mut self, line: &[u8]) -> Result<Option<NamespaceChange>, RequestError> {
        let at = self.cluster.server().to_owned();
        let broken =
            |cause: String| RequestError::new(Reason::BadAnswer, format!("watch namespaces at {at}: an event {cause}"));
        let Some(namespaces) = &mut self.namespaces else { return Ok(None) };
        let event = WatchEvent::read(line).map_err(|fault| broken(fault.to_string()))?;
        let (object, deleted) = match event {
            WatchEvent::Changed(object) => (object, false),
            WatchEvent::Deleted(object) => (object, true),
            WatchEvent::Bookmark(version) => {
                namespaces.stream.advance(version);
                return Ok(None);
            }
            WatchEvent::Unknown => return Ok(None),
            WatchEvent::Error { code, message, retry_after } => {
                let message = format!("watch namespaces at {at}: {code}: {message}");
                return Err(RequestError::new(Reason::of_status(code), message).with_retry_after(retry_after));
            }
        };
        let namespace = NamespaceObject::read(object.as_bytes()).map_err(|error| broken(error.to_string()))?;
        let version = resource_version(object).unwrap_or_default();
        let listed =
            version.parse::<u64>().is_ok_and(|version| version < UNORDERED && version <= namespaces.stream.listed_at);
        namespaces.stream.advance(version);
        // What happened before the list is in the list.
        Ok(if listed { None } else { namespaces.put(&namespace, deleted) })
    }

    /// The watch of namespaces is over, by an error.
    pub(super) fn namespaces_failed(&mut self, error: &RequestError) -> Followed {
        let Some(namespaces) = &mut self.namespaces else { return Followed::Nothing };
        let stream = &mut namespaces.stream;
        stream.give_up();
        stream.state = State::Idle;
        if error.reason() == Reason::Gone {
            stream.wants_list = true;
            log::debug!("{}: the watch of namespaces is too old, they are listed again: {error}", self.name);
            self.ended_too_soon(
                NAMESPACES,
                Reason::Gone,
                &format!("the watch of namespaces is too old at once ({error})"),
            );
            return Followed::Relist;
        }
        stream.ended(Instant::now());
        if error.reason() == Reason::Forbidden || error.status() == Some(405) {
            stream.deny(Instant::now(), 1);
            if !std::mem::replace(&mut stream.told_denied, true) {
                let name = &self.name;
                log::info!(
                    "{name}: changes of namespaces show at the next poll only, since watching is not allowed: {error}"
                );
            }
            // A list from a cache has nothing that brings it up to date now.
            stream.wants_list = stream.from_cache;
            return if stream.wants_list { Followed::Relist } else { Followed::Nothing };
        }
        self.try_later(NAMESPACES);
        Followed::Failed(PollError::from(error.clone()))
    }

    /// Lists the Secrets of namespaces that were not looked at before. Whether they brought anything.
    ///
    /// # Errors
    /// The first failure: then the next poll has to list everything.
    pub(super) fn list_joined(&mut self, names: &[String]) -> Result<bool, RequestError> {
        let mut brought = false;
        for name in names {
            if self.selection.excludes(name) {
                continue;
            }
            for number in 0..self.streams.len() {
                // While one of these lists fails, or before the first poll, a poll is coming: it lists everything.
                let Some(stream) =
                    self.streams.get(number).filter(|stream| !self.awaits_poll && !stream.position.is_empty())
                else {
                    continue;
                };
                let at = stream.scope;
                let Some(scope) = self.scopes.get(at).filter(|scope| scope.namespace.is_none()) else { continue };
                // The watch goes on behind its position, and has passed over what it said of this namespace before.
                let (freshness, selector, brought_by) =
                    (self.freshness(stream), stream.selector.clone(), stream.number);
                let query = scope.query_in(name, &selector);
                let (cluster, timeouts) = (Arc::clone(&self.cluster), self.timeouts);
                let end = Instant::now() + timeouts.poll;
                let listing = Listing { cluster: &cluster, resource: "secrets", query, timeouts, end };
                let mut found = Vec::new();
                let read = listing.read(&freshness, |what| {
                    match what {
                        Listed::Again => found.clear(),
                        Listed::Item(item) => {
                            let secret = SecretObject::read(item, &self.annotation_key)?;
                            found.extend(self.observe(&secret, at, &selector)?);
                        }
                    }
                    Ok(())
                });
                if let Err(error) = read {
                    self.awaits_poll = true;
                    return Err(error);
                }
                for observation in found {
                    brought |= self.holdings.put(brought_by, observation);
                }
            }
        }
        Ok(brought)
    }
}
