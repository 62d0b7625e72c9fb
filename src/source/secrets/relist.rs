//! All lists of a poll, put together: what a place brought, or that it alone failed.

use super::SecretsSource;
use super::listing::{Freshness, Listed, Listing};
use super::named::position_of;
use super::scope::Scope;
use super::stream::{State, Stream};
use crate::kubernetes::RequestError;
use crate::kubernetes::object::SecretObject;
use crate::observation::SecretObservation;
use std::sync::Arc;
use std::time::Instant;

/// What came of the lists.
#[derive(Default)]
struct Lists {
    /// By the number of the selector.
    secrets: Vec<(usize, Arc<SecretObservation>)>,
    /// Streams, and what they can be followed from.
    versions: Vec<(usize, Start)>,
    /// Places that failed alone. Nothing of theirs is above.
    failures: Vec<(usize, RequestError)>,
}

enum Start {
    /// The resource version of a list, and whether it came from the API server's cache.
    List(String, bool),
    /// The version of a single object.
    Object(u64),
}

impl SecretsSource {
    /// Lists the places that are `asked`, takes over what they hold now, and opens the watches that are not open. A place that
    /// fails alone keeps what it had. If all places there are failed, the first of these failures is returned.
    ///
    /// # Errors
    /// The first failure that is not of one place alone. Then nothing has changed.
    pub(super) fn list_places(
        &mut self,
        asked: impl Fn(usize, &Scope) -> bool,
    ) -> Result<Option<RequestError>, RequestError> {
        let asked: Vec<bool> = self.scopes.iter().enumerate().map(|(at, scope)| asked(at, scope)).collect();
        let is_asked = |scope: usize| asked.get(scope).copied().unwrap_or_default();
        let Lists { secrets, versions, failures } = self.list(is_asked)?;
        let failure_of = |scope: usize| failures.iter().find(|(failed, _)| *failed == scope).map(|(_, error)| error);
        let is_named = |scope: usize| self.scopes.get(scope).is_some_and(|scope| scope.named.is_some());
        let listed = |scope: usize| is_asked(scope) && (is_named(scope) || failure_of(scope).is_none());

        let kept: Vec<&Scope> =
            self.scopes.iter().enumerate().filter(|(at, _)| !listed(*at)).map(|(_, scope)| scope).collect();
        let selection = &self.selection;
        self.holdings.replace(secrets, |known| {
            let is_named = !kept.is_empty() && selection.names(&known.namespace, &known.name);
            kept.iter().any(|scope| scope.holds(known, is_named))
        });

        // A named Secret that is forbidden is no failure: that is what is to be shown of it.
        let fails = |(at, scope): (usize, &Scope)| scope.named.is_none() && failure_of(at).is_some();
        let all_failed = self.scopes.iter().enumerate().all(fails);
        for (at, scope) in self.scopes.iter_mut().enumerate().filter(|(at, _)| is_asked(*at)) {
            // The failure of the whole poll is told by whoever polled.
            let told = all_failed && failures.first().is_some_and(|(first, _)| *first == at);
            scope.tried(&self.name, failure_of(at).cloned(), !told);
        }
        let now = Instant::now();
        self.listed_at = Some(now);
        for (number, from) in versions {
            let Some(stream) = self.streams.get_mut(number) else { continue };
            match from {
                Start::List(version, from_cache) => stream.start_from(version, from_cache),
                Start::Object(version) => {
                    if stream.state != State::Open {
                        stream.position = position_of(version);
                    }
                    self.follow_from(number, version);
                }
            }
            let Some(stream) = self.streams.get(number) else { continue };
            match stream.state {
                // The server has just answered: a denied watch is asked for again too, rights come and go.
                State::Idle | State::Denied => self.open(number, now),
                State::Opening | State::Open | State::Paused { .. } | State::Polled => {}
            }
        }
        Ok(failures.into_iter().next().map(|(_, error)| error).filter(|_| all_failed))
    }

    /// Reads the lists, beginning with the one that failed last time: while it fails, that is the only request. Nothing of the
    /// source changes before all of them are read.
    fn list(&mut self, is_asked: impl Fn(usize) -> bool) -> Result<Lists, RequestError> {
        let end = Instant::now() + self.timeouts.poll;
        let mut lists = Lists { secrets: Vec::with_capacity(self.holdings.held().len()), ..Lists::default() };
        let first = self.streams.get(self.begin_with).map_or(0, |stream| stream.scope);
        for at in (first..self.scopes.len()).chain(0..first).filter(|at| is_asked(*at)) {
            let before = (lists.secrets.len(), lists.versions.len());
            match self.list_scope(at, end, &mut lists) {
                Ok(()) => {}
                Err(error) if self.scopes.get(at).is_some_and(|scope| scope.fails_alone(&error)) => {
                    lists.secrets.truncate(before.0);
                    lists.versions.truncate(before.1);
                    lists.failures.push((at, error));
                }
                Err(error) => return Err(error),
            }
        }
        self.begin_with = 0;
        Ok(lists)
    }

    /// Reads the list of each selector in one place.
    fn list_scope(&mut self, at: usize, end: Instant, lists: &mut Lists) -> Result<(), RequestError> {
        if self.scopes.get(at).is_some_and(|scope| scope.named.is_some()) {
            let number = self.streams.iter().position(|stream| stream.scope == at);
            self.begin_with = number.unwrap_or_default();
            let (observation, failure) = self.get(at, end)?;
            match failure {
                Some(error) => lists.failures.push((at, error)),
                // Also of one that is not there yet.
                None => lists.versions.extend(number.map(|number| (number, Start::Object(observation.version)))),
            }
            lists.secrets.push((0, observation));
            return Ok(());
        }
        let first = self.begin_with;
        for number in (first..self.streams.len()).chain(0..first) {
            let Some(stream) = self.streams.get(number).filter(|stream| stream.scope == at) else { continue };
            self.begin_with = number;
            let (selector, brought_by, freshness) = (stream.selector.clone(), stream.number, self.freshness(stream));
            let cluster = Arc::clone(&self.cluster);
            let Some(query) = self.scopes.get(at).map(|scope| scope.query(&selector)) else { continue };
            let listing = Listing { cluster: &cluster, resource: "secrets", query, timeouts: self.timeouts, end };
            let before = lists.secrets.len();
            let version = listing.read(&freshness, |what| {
                match what {
                    Listed::Again => lists.secrets.truncate(before),
                    Listed::Item(item) => {
                        let observation =
                            self.observe(&SecretObject::read(item, &self.annotation_key)?, at, &selector)?;
                        lists.secrets.extend(observation.map(|observation| (brought_by, observation)));
                    }
                }
                Ok(())
            })?;
            lists.versions.push((number, Start::List(version, freshness != Freshness::Newest)));
        }
        Ok(())
    }

    /// How fresh a list of this stream has to be. What is not watched has nobody to bring it up to date.
    pub(super) fn freshness(&self, stream: &Stream) -> Freshness {
        match stream.state {
            State::Polled | State::Denied => Freshness::Newest,
            _ if stream.wants_list => Freshness::Newest,
            _ if stream.position.is_empty() => Freshness::Cached,
            _ => Freshness::CachedNotBefore(stream.position.clone()),
        }
    }
}
