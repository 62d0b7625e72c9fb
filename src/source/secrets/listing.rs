//! One list, read to its end.

use crate::kubernetes::list::{ListError, read_list};
use crate::kubernetes::object::ObjectError;
use crate::kubernetes::{ApiRequest, ApiResponse, Cluster, Query, Reason, RequestError, Verb};
use std::time::{Duration, Instant};

/// Objects per page. The API server's own clients use 500: a page is one range read in etcd, and a page that is too large
/// runs into the server's 60 s.
const PAGE: u32 = 500;

/// A continue token lives as long as etcd keeps old revisions, five minutes by default. A list that outlives its token is
/// begun again so many times.
const RESTARTS: u32 = 2;

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

/// Which state of the cluster a list shows (Kubernetes API concepts, "Resource versions", semantics for get and list).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    /// The newest, read through to etcd, in pages: for whoever does not watch, since nothing would bring such a list up to
    /// date.
    Newest,
    /// What the API server has in its watch cache, many times cheaper and perhaps old; in one answer, because a page would
    /// go to etcd. The watch that starts from it brings it up to date at once.
    Cached,
    /// The same, but not older than what was seen before: after a fail-over to another API server no state comes back.
    CachedNotBefore(String),
}

/// Where to list what, and how long it may take.
pub(super) struct Listing<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) resource: &'static str,
    /// What is listed.
    pub(super) query: Query,
    pub(super) timeouts: ListTimeouts,
    /// The end of [`ListTimeouts::poll`].
    pub(super) end: Instant,
}

/// Told what comes.
pub(super) enum Listed<'a> {
    /// The bytes of one object.
    Item(&'a [u8]),
    /// The list begins again: what came before does not count.
    Again,
}

impl Listing<'_> {
    /// Reads the list; returns its resource version.
    ///
    /// # Errors
    /// The first failure that could not be got round.
    pub(super) fn read(
        &self,
        freshness: &Freshness,
        mut each: impl FnMut(Listed<'_>) -> Result<(), ObjectError>,
    ) -> Result<String, RequestError> {
        let mut continue_token = String::new();
        if *freshness != Freshness::Newest {
            match self.page(freshness, "", &mut each) {
                Ok(meta) if meta.continue_token.is_empty() => return Ok(meta.resource_version),
                // A server that makes pages nobody asked for.
                Ok(meta) => continue_token = meta.continue_token,
                // The cache is behind what we saw elsewhere (504), or the version is too old to be asked for.
                Err(error) if error.reason() == Reason::Gone || error.status() == Some(504) => {
                    log::debug!("the list is begun again, from etcd: {error}");
                    // Nothing can have come: both are answers instead of a list.
                }
                Err(error) => return Err(error),
            }
        }
        let mut restarts = 0;
        loop {
            match self.page(&Freshness::Newest, &continue_token, &mut each) {
                Ok(meta) if meta.continue_token.is_empty() => return Ok(meta.resource_version),
                Ok(meta) => continue_token = meta.continue_token,
                // What came of it was of an older state than what will come now.
                Err(error) if error.reason() == Reason::Gone && !continue_token.is_empty() && restarts < RESTARTS => {
                    log::debug!("the list is begun again: {error}");
                    restarts += 1;
                    continue_token.clear();
                    // Telling of a new beginning cannot fail: no object is read.
                    let _ = each(Listed::Again);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn page(
        &self,
        freshness: &Freshness,
        continue_token: &str,
        each: &mut impl FnMut(Listed<'_>) -> Result<(), ObjectError>,
    ) -> Result<crate::kubernetes::list::ListMeta, RequestError> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let message = format!(
                "list {} at {}: not at its end after {} s; are there very many, or is the server slow?",
                self.resource,
                self.cluster.server(),
                self.timeouts.poll.as_secs()
            );
            return Err(RequestError::new(Reason::Timeout, message));
        }
        let query = self.query.clone();
        let query = match freshness {
            Freshness::Newest => query.with("limit", PAGE).with_some("continue", continue_token),
            Freshness::Cached => query.with("resourceVersion", 0),
            Freshness::CachedNotBefore(version) => {
                query.with("resourceVersion", version).with("resourceVersionMatch", "NotOlderThan")
            }
        };
        // Without pages the whole list is one answer.
        let longest = if *freshness == Freshness::Newest { self.timeouts.page } else { self.timeouts.poll };
        let request = ApiRequest {
            verb: Verb::List,
            resource: self.resource,
            path: query.build(),
            body: None,
            deadline: Some(longest.min(left)),
            per_read: self.timeouts.per_read,
        };
        let mut response = self.cluster.send(&request)?;
        let mut broken = None;
        let meta = read_list(&mut response, |item| {
            if broken.is_none() {
                broken = each(Listed::Item(item)).err();
            }
        });
        match (broken, meta) {
            (Some(error), _) => Err(response.bad_answer(&error.to_string())),
            (None, Ok(meta)) => Ok(meta),
            (None, Err(error)) => Err(list_error(&response, error)),
        }
    }
}

fn list_error(response: &ApiResponse, error: ListError) -> RequestError {
    match error {
        ListError::Io(error) => response.read_error(error),
        ListError::CutOff => response.read_error(std::io::ErrorKind::UnexpectedEof.into()),
        error => response.bad_answer(&error.to_string()),
    }
}
