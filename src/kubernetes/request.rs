//! Sending requests to an API server.

use crate::http_client::{Agent, Body, HttpError, Method, Request, Response, TimeoutPhase};
use std::fmt;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::access::{Access, AccessError, Papers};
use super::request_error::{Reason, RequestError};
use super::status;

/// Told of every HTTP request: verb, resource, and the status code or `error`.
pub type OnRequest = Arc<dyn Fn(Verb, &str, &str) + Send + Sync>;

/// One API server and the way in; used from several threads.
///
/// The lock inside is held to look at or to replace the agent, never during I/O.
pub struct Cluster {
    access: Access,
    /// The server's URL, for messages.
    server: String,
    on_request: OnRequest,
    requests: AtomicU32,
    way: Mutex<Way>,
    shut_down: AtomicBool,
}

/// The connections in use, and what they were made with.
struct Way {
    current: Option<(Papers, Arc<Agent>)>,
    /// Also those that were replaced while somebody still read a body of theirs.
    all: Vec<Weak<Agent>>,
}

/// What is done to a resource, as RBAC calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Read all of them.
    List,
    /// Follow their changes.
    Watch,
    /// Read one.
    Get,
    /// Make one.
    Create,
    /// Change one.
    Patch,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 5] = [Self::List, Self::Watch, Self::Get, Self::Create, Self::Patch];

    /// As it stands in a Role.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Watch => "watch",
            Self::Get => "get",
            Self::Create => "create",
            Self::Patch => "patch",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One request.
#[derive(Clone, Debug)]
pub struct ApiRequest<'a> {
    /// What is done.
    pub verb: Verb,
    /// To which resource: `secrets`, `namespaces`, `serviceaccounts/token`.
    pub resource: &'a str,
    /// Path and encoded query: see [`Query`](super::Query).
    pub path: String,
    /// `Content-Type` and body of a create or patch.
    pub body: Option<(&'a str, &'a [u8])>,
    /// Longest time for the whole exchange, the answer's body included; `None` for a watch.
    pub deadline: Option<Duration>,
    /// Longest wait for any next byte of the answer, its head included.
    pub per_read: Duration,
}

/// A successful answer; reads its body as it comes, unzipped.
///
/// An [`io::Error`] of a read becomes a [`RequestError`] by [`ApiResponse::read_error`]. After one that
/// [is only a pause](RequestError::is_pause) the body can be read on.
pub struct ApiResponse {
    body: Body,
    what: String,
    server: String,
    status: u16,
    // Keeps the agent, so that its shutdown reaches this body.
    _agent: Arc<Agent>,
}

impl fmt::Debug for ApiResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiResponse({} at {}: {})", self.what, self.server, self.status)
    }
}

impl ApiResponse {
    /// The status code: 200, or 201 for what was created.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// What an error of reading this body says.
    #[must_use]
    pub fn read_error(&self, error: io::Error) -> RequestError {
        let error = Body::error(error);
        let is_pause = error == HttpError::Timeout(TimeoutPhase::Read);
        RequestError::from_http(&self.what, &self.server, &error).with_pause(is_pause)
    }

    /// An error found in the body: no JSON, or not the JSON of the API. `cause` must not quote a Secret.
    #[must_use]
    pub fn bad_answer(&self, cause: &str) -> RequestError {
        RequestError::new(Reason::BadAnswer, format!("{} at {}: {cause}", self.what, self.server))
    }
}

impl Read for ApiResponse {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.body.read(buffer)
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cluster({})", self.server)
    }
}

impl Cluster {
    /// Prepares the way: reads every file of it once, and sets TLS up. Nothing is sent, and no exec plugin is run; both
    /// happen at the first request.
    ///
    /// # Errors
    /// What is wrong with trust, identity or token.
    pub fn connect(access: Access, on_request: OnRequest) -> Result<Self, AccessError> {
        let cluster = Self {
            way: Mutex::new(Way { current: None, all: Vec::new() }),
            server: access.server.to_string(),
            access,
            on_request,
            requests: AtomicU32::new(0),
            shut_down: AtomicBool::new(false),
        };
        if !cluster.access.runs_a_plugin() {
            cluster.way(false)?;
        }
        // Only now: a way that cannot be gone is tried again and again.
        for warning in cluster.access.warnings() {
            log::warn!("{warning}");
        }
        Ok(cluster)
    }

    /// Sends a request and waits for the head of a successful answer.
    ///
    /// After a 401 the credentials are read again, where they are in files or come from an exec plugin; if they are others
    /// now, the request is sent once more.
    ///
    /// # Errors
    /// What kept us from an answer, or the refusal that came.
    pub fn send(&self, request: &ApiRequest<'_>) -> Result<ApiResponse, RequestError> {
        let what = status::what(request.verb, request.resource, &request.path);
        let way = |again| {
            self.way(again).map_err(|error| {
                (self.on_request)(request.verb, request.resource, "error");
                RequestError::new(Reason::Credentials, format!("{what} at {}: {error}", self.server))
            })
        };
        let (mut papers, mut agent) = way(false)?;
        let mut response = self.send_once(request, &papers, &agent, &what)?;
        if response.status == 401 && self.access.can_be_renewed() {
            let (renewed, other_agent) = way(true)?;
            if !renewed.is_same_login(&papers) {
                // The connection can be used again only if what came is read.
                let _ = status::read_bounded(&mut response.body);
                drop(response);
                (papers, agent) = (renewed, other_agent);
                response = self.send_once(request, &papers, &agent, &what)?;
            }
        }
        if (200..300).contains(&response.status) {
            let server = self.server.clone();
            return Ok(ApiResponse { status: response.status, body: response.body, what, server, _agent: agent });
        }
        Err(status::refusal(request, &what, &self.server, response, papers.authorization.as_deref()))
    }

    fn send_once(
        &self,
        request: &ApiRequest<'_>,
        papers: &Papers,
        agent: &Agent,
        what: &str,
    ) -> Result<Response, RequestError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mut headers = vec![("Accept", "application/json")];
        if let Some((content_type, _)) = request.body {
            headers.push(("Content-Type", content_type));
        }
        headers.extend(self.access.impersonation.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let again = || (self.on_request)(request.verb, request.resource, "error");
        let message = Request {
            method: match request.verb {
                Verb::List | Verb::Watch | Verb::Get => Method::Get,
                Verb::Create => Method::Post,
                Verb::Patch => Method::Patch,
            },
            url: &self.access.server.join(&request.path),
            headers: &headers,
            authorization: papers.authorization.as_deref(),
            body: request.body.map(|(_, body)| body),
            deadline: request.deadline,
            per_read: request.per_read,
        };
        match agent.send_telling(&message, &again) {
            Ok(response) => {
                (self.on_request)(request.verb, request.resource, &response.status.to_string());
                Ok(response)
            }
            Err(error) => {
                (self.on_request)(request.verb, request.resource, "error");
                Err(RequestError::from_http(what, &self.server, &error))
            }
        }
    }

    /// How many requests were sent, whatever came of them.
    #[must_use]
    pub fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }

    /// The papers of this moment and connections made with them.
    fn way(&self, again: bool) -> Result<(Papers, Arc<Agent>), AccessError> {
        let papers = self.access.papers(again, &self.shut_down)?;
        if let Some((made_with, agent)) = &self.lock().current
            && made_with.same_connection(&papers)
        {
            return Ok((papers, Arc::clone(agent)));
        }
        let agent = Arc::new(self.access.agent(&papers)?);
        let mut way = self.lock();
        way.all.retain(|agent| agent.strong_count() > 0);
        way.all.push(Arc::downgrade(&agent));
        way.current = Some((papers.clone(), Arc::clone(&agent)));
        drop(way);
        // Shut down in the meantime: then this agent is one that nobody told.
        if self.shut_down.load(Ordering::SeqCst) {
            agent.shutdown();
        }
        Ok((papers, agent))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Way> {
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends everything that is under way in other threads at once, and refuses what comes later: for good.
    pub fn shutdown(&self) {
        self.shut_down.store(true, Ordering::SeqCst);
        let agents: Vec<_> = self.lock().all.iter().filter_map(Weak::upgrade).collect();
        for agent in agents {
            agent.shutdown();
        }
    }

    /// Whether [`Cluster::shutdown`] was called: errors are then no news.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        self.shut_down.load(Ordering::SeqCst)
    }

    /// The server's URL, for messages.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }
}
