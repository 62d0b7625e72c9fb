//! Secrets that the configuration names: each is read and watched by its name, so that `get` and `watch` with `resourceNames`
//! are enough.

use super::SecretsSource;
use super::scope::{Scope, is_answer};
use crate::kubernetes::list::MAX_OBJECT_BYTES;
use crate::kubernetes::object::{SecretObject, UNORDERED};
use crate::kubernetes::{ApiRequest, ApiResponse, Reason, RequestError, Verb};
use crate::observation::{self, ExtraLabels, LoginName, SecretObservation};
use crate::source::Followed;
use std::io::Read as _;
use std::sync::Arc;
use std::time::Instant;

/// The resource version of a watch that begins with whatever state the server has at hand (Kubernetes API concepts, "Semantics
/// for watch"): for a Secret that is not there, or whose own version is too old to watch from. It is read again when such a
/// watch is open. Where etcd is older than 3.4.25, an API server with the feature gate `WatchList` refuses it.
pub(super) const ANY_MOMENT: &str = "0";

/// Where a watch of a Secret in this state begins.
pub(super) fn position_of(version: u64) -> String {
    if version < UNORDERED { version.to_string() } else { ANY_MOMENT.to_owned() }
}

/// A Secret by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedSecret {
    /// The context of the kubeconfig, where the configuration names several clusters.
    pub context: Option<String>,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its data keys that hold tokens; empty: those that its annotation names, or all.
    pub keys: Vec<String>,
    /// What its tokens are held against: of one data key, or of all. Empty: what its annotation names.
    pub logins: Vec<(Option<String>, LoginName)>,
}

impl NamedSecret {
    pub(super) fn is(&self, namespace: &str, name: &str) -> bool {
        self.namespace == namespace && self.name == name
    }

    /// That there is no such Secret, or that it cannot be read.
    pub(super) fn unread(
        &self,
        reason: observation::Reason,
        detail: &str,
        extra: &ExtraLabels,
    ) -> Arc<SecretObservation> {
        // In no order with the versions of the Secret itself.
        let version = UNORDERED | reason as u64;
        let place = (&*self.namespace, &*self.name);
        Arc::new(SecretObservation::unread(place, &self.keys, (reason, detail), extra, version))
    }

    pub(super) fn missing(&self, extra: &ExtraLabels) -> Arc<SecretObservation> {
        self.unread(observation::Reason::NotFound, "`secrets` names it, and there is no such Secret", extra)
    }
}

impl SecretsSource {
    /// Reads the named Secret of a place. That it is not there, forbidden or answered with an error is shown for it, beside what
    /// was known of it before; the latter two are also returned.
    ///
    /// # Errors
    /// What says nothing of this Secret: failures of the server as a whole, and of the way to it.
    pub(super) fn get(
        &mut self,
        at: usize,
        end: Instant,
    ) -> Result<(Arc<SecretObservation>, Option<RequestError>), RequestError> {
        let Some((named, path)) = self.scopes.get(at).and_then(Scope::object) else {
            return Err(RequestError::new(Reason::BadStatus, "a place without a Secret was to be read".into()));
        };
        let error = match self.get_named(at, &named, path, end) {
            Ok(observation) => return Ok((observation, None)),
            Err(error) if is_answer(&error) => error,
            Err(error) => return Err(error),
        };
        let extra = self.extra_labels_of_unknown(&named.namespace);
        let reason = match error.reason() {
            Reason::NotFound => return Ok((named.missing(&extra), None)),
            Reason::Forbidden => observation::Reason::Forbidden,
            _ => observation::Reason::Unreadable,
        };
        let unread = named.unread(reason, &error.to_string(), &extra);
        let unread = match self.holdings.get(&named.namespace, &named.name) {
            Some(known) if known.version == unread.version => Arc::clone(known),
            Some(known) => Arc::new(known.unread_since(&unread)),
            None => unread,
        };
        Ok((unread, Some(error)))
    }

    fn get_named(
        &mut self,
        at: usize,
        named: &NamedSecret,
        path: String,
        end: Instant,
    ) -> Result<Arc<SecretObservation>, RequestError> {
        let (object, response) = self.get_object("secrets", path, end)?;
        let observation = SecretObject::read(&object, &self.annotation_key)
            .and_then(|secret| self.observe(&secret, at, ""))
            .map_err(|error| response.bad_answer(&error.to_string()))?;
        observation
            .filter(|observation| named.is(&observation.namespace, &observation.name))
            .ok_or_else(|| response.bad_answer("another object than the one that was asked for"))
    }

    /// Reads a single object to its end.
    ///
    /// # Errors
    /// Why there is none, or none of a sane size.
    pub(super) fn get_object(
        &self,
        resource: &'static str,
        path: String,
        end: Instant,
    ) -> Result<(Vec<u8>, ApiResponse), RequestError> {
        let left = end.saturating_duration_since(Instant::now());
        let request = ApiRequest {
            verb: Verb::Get,
            resource,
            path,
            body: None,
            deadline: Some(self.timeouts.page.min(left)),
            per_read: self.timeouts.per_read,
        };
        let mut object = Vec::new();
        let mut bounded = self.cluster.send(&request)?.take(MAX_OBJECT_BYTES as u64 + 1);
        let read = bounded.read_to_end(&mut object);
        let response = bounded.into_inner();
        read.map_err(|error| response.read_error(error))?;
        if object.len() > MAX_OBJECT_BYTES {
            return Err(response.bad_answer(&format!("the object has more than {MAX_OBJECT_BYTES} bytes")));
        }
        Ok((object, response))
    }

    /// A watch from [`ANY_MOMENT`] has begun: what happened between the last reading and then is told by nobody.
    pub(super) fn get_again(&mut self, number: usize) -> Followed {
        let Some(at) = self.streams.get(number).map(|stream| stream.scope) else { return Followed::Nothing };
        match self.get(at, Instant::now() + self.timeouts.poll) {
            Ok((observation, failure)) => {
                let failed = failure.is_some();
                if let Some(stream) = self.streams.get_mut(number) {
                    stream.list_failure = failure;
                }
                self.follow_from(number, observation.version);
                if self.holdings.put(0, observation) || failed { Followed::Changed } else { Followed::Nothing }
            }
            Err(error) => Followed::Failed(error.into()),
        }
    }

    /// The stream of a named Secret knows this state of it.
    pub(super) fn follow_from(&mut self, number: usize, version: u64) {
        if let Some(stream) = self.streams.get_mut(number) {
            stream.from_cache = false;
            stream.listed_at = if version < UNORDERED { version } else { 0 };
        }
    }
}
