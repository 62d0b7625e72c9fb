//! What may fail by itself: one selector in one place, or one named Secret, by its list or its watch. The others go on meanwhile.

use super::SecretsSource;
use super::scope::Scope;
use super::stream::Stream;
use crate::kubernetes::RequestError;
use crate::snapshot::ScopeStatus;
use crate::source::{Fault, PollError};
use std::sync::Arc;
use std::time::Instant;

impl SecretsSource {
    /// Each namespace that the configuration names, and whether all of it works.
    pub(super) fn scope_statuses(&self) -> Vec<ScopeStatus> {
        let status = |(at, scope): (usize, &Scope)| {
            let up = !self.streams.iter().any(|stream| stream.scope == at && stream.failure().is_some());
            scope.namespace.as_ref().map(|name| ScopeStatus { name: Arc::clone(name), up })
        };
        self.scopes.iter().enumerate().filter(|(_, scope)| scope.named.is_none()).filter_map(status).collect()
    }

    /// What is wrong with what has failed.
    pub(super) fn part_faults(&self) -> Vec<Fault> {
        let fault = |(number, stream): (usize, &Stream)| {
            let scope = self.scopes.get(stream.scope)?;
            let error = stream.failure()?;
            // What is closed to one selector is closed to the others.
            let told = |other: &Stream| other.scope == stream.scope && other.failure() == Some(error);
            if self.streams.iter().take(number).any(told) {
                return None;
            }
            let error = PollError::from(error.clone());
            let is_shown = scope.named.is_some() && stream.list_failure.is_some();
            Some(Fault { error, is_shown, is_slight: is_shown })
        };
        let of_namespaces = self.namespaces.iter().flat_map(|namespaces| &namespaces.failures);
        let of_namespaces =
            of_namespaces.map(|error| Fault { error: error.clone().into(), is_shown: false, is_slight: true });
        self.streams.iter().enumerate().filter_map(fault).chain(of_namespaces).collect()
    }

    /// [Marks](Self::mark) streams, and tells of the places that they are in. If no stream is left that has not failed, the first
    /// failure.
    pub(super) fn keep_in_mind(
        &mut self,
        asked: &[usize],
        failures: Vec<(usize, RequestError)>,
    ) -> Option<RequestError> {
        self.mark(asked, &failures);
        // A named Secret that cannot be read is no failure of the source: that is what is to be shown of it.
        let all_failed = self.streams.iter().all(|stream| stream.list_failure.is_some())
            && self.scopes.iter().all(|scope| scope.named.is_none());
        let first = failures.first().map(|(number, error)| (self.scope_of(*number), error.clone()));
        let first = first.filter(|_| all_failed);
        for (at, scope) in self.scopes.iter_mut().enumerate() {
            let mut streams = self.streams.iter().enumerate().filter(|(_, stream)| stream.scope == at);
            if !streams.clone().any(|(number, _)| asked.contains(&number)) {
                continue;
            }
            scope.emptied = None;
            let failed = failures.iter().find(|(number, _)| streams.clone().any(|(known, _)| known == *number));
            match failed {
                // What is wrong with a Secret stands beside it.
                Some(_) if scope.named.is_some() => {}
                Some((_, error)) => {
                    // The failure of the whole poll is told and counted by whoever polled.
                    scope.tried(&self.name, Some(error), first.as_ref().is_none_or(|(first, _)| *first != Some(at)));
                    self.errors.extend((!all_failed).then(|| error.reason().as_str()));
                }
                None if streams.any(|(_, stream)| stream.failure().is_some()) => {}
                None => scope.tried(&self.name, None, true),
            }
        }
        first.map(|(_, error)| error)
    }

    /// Keeps in mind which of the `asked` streams have failed.
    fn mark(&mut self, asked: &[usize], failures: &[(usize, RequestError)]) {
        for number in asked {
            let failure = failures.iter().find(|(failed, _)| failed == number).map(|(_, error)| error.clone());
            if let Some(stream) = self.streams.get_mut(*number) {
                stream.list_failure = failure;
            }
        }
    }

    /// Nothing can be read. The next poll begins with what was not asked for yet.
    pub(super) fn doubt(&mut self, asked: &[usize], failures: &[(usize, RequestError)]) {
        self.in_doubt = true;
        let tried: Vec<usize> = failures.iter().map(|(number, _)| *number).collect();
        self.mark(&tried, failures);
        if asked.iter().all(|number| self.streams.get(*number).is_some_and(|stream| stream.list_failure.is_some())) {
            self.mark(asked, &[]);
        }
    }

    pub(super) fn scope_of(&self, number: usize) -> Option<usize> {
        self.streams.get(number).map(|stream| stream.scope)
    }

    /// Watches that failed alone and that have been open for a while now have recovered. Whether there are any, and when to look
    /// again.
    pub(super) fn look_after_recovered(&mut self, now: Instant) -> (bool, Option<Instant>) {
        let (mut recovered, mut next) = (false, None);
        for stream in self.streams.iter_mut().filter(|stream| stream.watch_failure.is_some()) {
            match stream.works() {
                Some(from) if from <= now => {
                    stream.watch_failure = None;
                    recovered = true;
                }
                from => next = next.into_iter().chain(from).min(),
            }
        }
        for (at, scope) in self.scopes.iter_mut().enumerate().filter(|_| recovered) {
            if !self.streams.iter().any(|stream| stream.scope == at && stream.failure().is_some()) {
                scope.tried(&self.name, None, true);
            }
        }
        (recovered, next)
    }
}
