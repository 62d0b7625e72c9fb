//! All lists of a poll, put together: what each brought, or that it alone failed.

use super::SecretsSource;
use super::holdings::bit;
use super::listing::{Freshness, Listed, Listing};
use super::named::position_of;
use super::scope::{is_answer, is_refusal};
use super::stream::{State, Stream};
use crate::kubernetes::RequestError;
use crate::kubernetes::object::SecretObject;
use crate::observation::SecretObservation;
use std::sync::Arc;
use std::time::Instant;

/// So many lists that fail, and none that comes, are the server's failure: it is not asked for the others too. While that goes
/// on, one is enough.
const DOUBTS: usize = 2;

/// What came of the lists.
#[derive(Default)]
struct Lists {
    /// By the number of the selector.
    secrets: Vec<(usize, Arc<SecretObservation>)>,
    /// The streams whose lists came, and what they can be followed from.
    listed: Vec<(usize, Start)>,
    /// The streams that failed alone. Of a list nothing is above, of a named Secret what was known of it.
    failures: Vec<(usize, RequestError)>,
}

enum Start {
    /// The resource version of a list, and whether it came from the API server's cache.
    List(String, bool),
    /// The version of a single object.
    Object(u64),
}

impl SecretsSource {
    /// Lists the streams that are `asked`, takes over what they hold now, and opens the watches that are not open. One that
    /// fails alone keeps what it had. If there is none that does not fail, the first of the failures is returned.
    ///
    /// # Errors
    /// The first failure that is not of one stream alone. Then nothing has changed.
    pub(super) fn list_streams(
        &mut self,
        asked: impl Fn(&Stream) -> bool,
    ) -> Result<Option<RequestError>, RequestError> {
        let asked: Vec<usize> =
            (0..self.streams.len()).filter(|at| self.streams.get(*at).is_some_and(&asked)).collect();
        let Lists { secrets, listed, failures } = self.list(&asked)?;

        let is_named = |stream: &Stream| self.scopes.get(stream.scope).is_some_and(|scope| scope.named.is_some());
        let came = |number: usize| listed.iter().any(|(listed, _)| *listed == number);
        let read = |number: usize, stream: &Stream| came(number) || is_named(stream) && asked.contains(&number);
        let kept = self.streams.iter().enumerate().filter(|(number, stream)| !read(*number, stream));
        let kept: Vec<_> =
            kept.filter_map(|(_, stream)| Some((bit(stream.number), self.scopes.get(stream.scope)?))).collect();
        let selection = &self.selection;
        self.holdings.replace(secrets, |known| {
            let is_named = !kept.is_empty() && selection.names(&known.namespace, &known.name);
            kept.iter().filter(|(_, scope)| scope.holds(known, is_named)).fold(0, |bits, (bit, _)| bits | bit)
        });

        let now = Instant::now();
        self.listed_at = Some(now);
        for (number, from) in listed {
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
                State::Idle | State::Denied { .. } => self.open(number, now),
                State::Opening | State::Open | State::Paused { .. } | State::Polled => {}
            }
        }
        Ok(self.keep_in_mind(&asked, failures))
    }

    /// Reads the lists. Nothing of what the source holds changes before all of them are read.
    fn list(&mut self, asked: &[usize]) -> Result<Lists, RequestError> {
        let end = Instant::now() + self.timeouts.poll;
        let mut lists = Lists { secrets: Vec::with_capacity(self.holdings.held().len()), ..Lists::default() };
        let failed_before =
            |number: usize| self.streams.get(number).is_some_and(|stream| stream.list_failure.is_some());
        // Something can be read of this server: then what fails, fails alone. What failed at its last try comes last.
        let mut comes = (0..self.streams.len()).any(|number| !asked.contains(&number) && !failed_before(number));
        let mut order = asked.to_vec();
        order.sort_by_key(|number| (Some(*number) != self.begin_with, failed_before(*number)));
        for number in order {
            // What is closed to one selector is closed to the others.
            let closed = |(other, error): &&(usize, RequestError)| {
                is_refusal(error) && self.scope_of(*other) == self.scope_of(number)
            };
            let closed = lists.failures.iter().find(closed).map(|(_, error)| error.clone());
            let before = lists.secrets.len();
            match closed.map_or_else(|| self.list_stream(number, end, &mut lists), Err) {
                Ok(came) => comes |= came,
                Err(error) if is_answer(&error) => {
                    lists.secrets.truncate(before);
                    lists.failures.push((number, error));
                }
                Err(error) => {
                    // While that goes on, it is the only request.
                    self.begin_with = Some(number);
                    return Err(error);
                }
            }
            let mut doubts = lists.failures.iter().filter(|(_, error)| !is_refusal(error));
            let most = if self.in_doubt { 1 } else { DOUBTS.min(asked.len()) };
            let many = doubts.clone().count() >= most;
            if let Some((_, error)) = doubts.next().filter(|_| many && !comes) {
                let error = error.clone();
                self.doubt(asked, &lists.failures);
                return Err(error);
            }
        }
        (self.in_doubt, self.begin_with) = (false, None);
        Ok(lists)
    }

    /// Reads one list, or the one Secret; whether it could be had.
    fn list_stream(&mut self, number: usize, end: Instant, lists: &mut Lists) -> Result<bool, RequestError> {
        let Some(stream) = self.streams.get(number) else { return Ok(false) };
        let (at, selector, brought_by) = (stream.scope, stream.selector.clone(), stream.number);
        let freshness = self.freshness(stream);
        let Some(scope) = self.scopes.get(at) else { return Ok(false) };
        if scope.named.is_some() {
            let (observation, failure) = self.get(at, end)?;
            let came = failure.is_none();
            match failure {
                Some(error) => lists.failures.push((number, error)),
                // Also of one that is not there yet.
                None => lists.listed.push((number, Start::Object(observation.version))),
            }
            lists.secrets.push((brought_by, observation));
            return Ok(came);
        }
        let (cluster, query) = (Arc::clone(&self.cluster), scope.query(&selector));
        let listing = Listing { cluster: &cluster, resource: "secrets", query, timeouts: self.timeouts, end };
        let before = lists.secrets.len();
        let version = listing.read(&freshness, |what| {
            match what {
                Listed::Again => lists.secrets.truncate(before),
                Listed::Item(item) => {
                    let observation = self.observe(&SecretObject::read(item, &self.annotation_key)?, at, &selector)?;
                    lists.secrets.extend(observation.map(|observation| (brought_by, observation)));
                }
            }
            Ok(())
        })?;
        lists.listed.push((number, Start::List(version, freshness != Freshness::Newest)));
        Ok(true)
    }

    /// How fresh a list of this stream has to be. What is not watched has nobody to bring it up to date.
    pub(super) fn freshness(&self, stream: &Stream) -> Freshness {
        match stream.state {
            State::Polled | State::Denied { .. } => Freshness::Newest,
            _ if stream.wants_list => Freshness::Newest,
            _ if stream.position.is_empty() => Freshness::Cached,
            _ => Freshness::CachedNotBefore(stream.position.clone()),
        }
    }
}
