//! The Secrets of a cluster, by label selectors.
//!
//! Every poll lists them anew, in pages, each object streamed and looked at where it lies in the buffer. A Secret that did
//! not change since the last poll is carried over by its version, its values unread.

use super::{Held, PollError, Source};
use crate::kubernetes::list::{ListError, read_list};
use crate::kubernetes::object::{ObjectError, SecretObject};
use crate::kubernetes::{ApiRequest, Cluster, Query, Reason, RequestError, Verb};
use crate::observation::{Observer, Reading, SecretObservation, SecretView};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Objects per page. The API server's own clients use 500: a page is one range read in etcd, and a page that is too large
/// runs into the server's 60 s.
const PAGE: u32 = 500;

/// How long a list may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListTimeouts {
    /// Longest silence of the server within a page.
    pub per_read: Duration,
    /// Longest time for one page.
    pub page: Duration,
    /// Longest time for all pages of all selectors: a server that always has one more must not hold the poll for ever.
    pub poll: Duration,
}

impl Default for ListTimeouts {
    /// The API server itself ends a request after 60 s. 100,000 Secrets are 200 pages, each of them well under a second.
    fn default() -> Self {
        Self { per_read: Duration::from_secs(30), page: Duration::from_secs(120), poll: Duration::from_secs(900) }
    }
}

/// A continue token lives as long as etcd keeps old revisions, five minutes by default. A list that outlives its token is
/// begun again so many times.
const RESTARTS: u32 = 2;

/// What is read of a cluster.
pub struct SecretsSource {
    name: String,
    cluster: Arc<Cluster>,
    selectors: Vec<String>,
    annotation_key: String,
    observer: Observer,
    timeouts: ListTimeouts,
}

impl SecretsSource {
    /// The Secrets that any of `selectors` matches; every Secret if there is no selector. The annotation `annotation_key`
    /// names the data keys.
    #[must_use]
    pub fn new(
        name: &str,
        cluster: Arc<Cluster>,
        selectors: Vec<String>,
        annotation_key: String,
        reading: Reading,
    ) -> Self {
        let (name, observer) = (name.to_owned(), Observer::new(reading));
        Self { name, cluster, selectors, annotation_key, observer, timeouts: ListTimeouts::default() }
    }

    /// With other timeouts than the default ones.
    #[must_use]
    pub fn with_timeouts(self, timeouts: ListTimeouts) -> Self {
        Self { timeouts, ..self }
    }

    fn list(&mut self, selector: &str, end: Instant, held: &Held, found: &mut Held) -> Result<(), RequestError> {
        let before = found.len();
        let mut restarts = 0;
        let mut continue_token = String::new();
        loop {
            match self.page(selector, &continue_token, end, held, found) {
                Ok(next) if next.is_empty() => return Ok(()),
                Ok(next) => continue_token = next,
                // What came of it was of an older state than what will come now.
                Err(error) if error.reason() == Reason::Gone && !continue_token.is_empty() && restarts < RESTARTS => {
                    log::debug!("{}: the list is begun again: {error}", self.name);
                    restarts += 1;
                    continue_token.clear();
                    found.truncate(before);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads one page; returns the continue token of the next.
    fn page(
        &mut self,
        selector: &str,
        continue_token: &str,
        end: Instant,
        held: &Held,
        found: &mut Held,
    ) -> Result<String, RequestError> {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let message = format!(
                "list secrets at {}: not at its end after {} s; are there very many, or is the server slow?",
                self.cluster.server(),
                self.timeouts.poll.as_secs()
            );
            return Err(RequestError::new(Reason::Timeout, message));
        }
        let request = ApiRequest {
            verb: Verb::List,
            resource: "secrets",
            path: Query::new("/api/v1/secrets")
                .with_some("labelSelector", selector)
                .with("limit", PAGE)
                .with_some("continue", continue_token)
                .build(),
            body: None,
            deadline: Some(self.timeouts.page.min(left)),
            per_read: self.timeouts.per_read,
        };
        let cluster = Arc::clone(&self.cluster);
        let mut response = cluster.send(&request)?;
        let mut broken = None;
        // With a selector, somebody put just these Secrets forward.
        let picked = !selector.is_empty();
        let meta = read_list(&mut response, |item| {
            if broken.is_none() {
                match self.observe(item, picked, held) {
                    Ok(observation) => found.extend(observation),
                    Err(error) => broken = Some(error),
                }
            }
        });
        if let Some(error) = broken {
            return Err(response.bad_answer(&error.to_string()));
        }
        match meta {
            Ok(meta) => Ok(meta.continue_token),
            Err(ListError::Io(error)) => Err(response.read_error(error)),
            Err(ListError::CutOff) => Err(response.read_error(std::io::Error::from(std::io::ErrorKind::UnexpectedEof))),
            Err(error) => Err(response.bad_answer(&error.to_string())),
        }
    }

    fn observe(
        &mut self,
        item: &[u8],
        picked: bool,
        held: &Held,
    ) -> Result<Option<Arc<SecretObservation>>, ObjectError> {
        let secret = SecretObject::read(item, &self.annotation_key)?;
        let place = (&*secret.namespace, &*secret.name);
        let known = held.binary_search_by(|known| (&*known.namespace, &*known.name).cmp(&place));
        if let Some(known) = known.ok().and_then(|at| held.get(at)).filter(|known| known.version == secret.version) {
            return Ok(Some(Arc::clone(known)));
        }
        let mut data = Vec::new();
        secret.data(&mut data)?;
        let view = SecretView {
            namespace: &secret.namespace,
            name: &secret.name,
            annotation: secret.annotation.as_deref(),
            data: &data,
            picked,
            version: secret.version,
        };
        Ok(self.observer.observe(&view).map(Arc::new))
    }
}

impl Source for SecretsSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn poll(&mut self, held: &Held) -> Result<Held, PollError> {
        let mut found = Held::new();
        let end = Instant::now() + self.timeouts.poll;
        if self.selectors.is_empty() {
            self.list("", end, held, &mut found)?;
        }
        for selector in self.selectors.clone() {
            self.list(&selector, end, held, &mut found)?;
        }
        found.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        // A Secret that several selectors match.
        found.dedup_by(|a, b| (&a.namespace, &a.name) == (&b.namespace, &b.name));
        found.shrink_to_fit();
        Ok(found)
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
