//! Requests to the servers of mounts and key sets: bounded in size and time, to no other place than the one that was named.

use crate::http_client::{
    Agent, AgentSettings, BaseUrl, BaseUrlError, Body, HttpError, Method, Proxy, Request, Response, Trust, TrustBundle,
};
use crate::json::{Duplicates, Value};
use crate::kubernetes::access::choose_proxy;
use crate::redacted::{Redacted, read_wiped};
use crate::whole_file;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// No more of an answer is read: a key set or a role has a few KiB.
pub(super) const MOST_BYTES: usize = 1 << 20;

/// Longest time for one exchange.
pub(super) const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Longest time for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Redirects that are followed, at the same server only.
const MOST_REDIRECTS: usize = 3;

/// A file of a credential has a few KiB.
const MOST_FILE_BYTES: usize = 1 << 20;

/// A variable of the environment.
pub type Environment = dyn Fn(&str) -> Option<String> + Send + Sync;

/// Why something could not be had. The message is for the log and holds nothing that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What makes two failures the same.
    pub reason: &'static str,
    /// What was asked, what came back, what can be done.
    pub message: String,
    /// The answer's status, if there was one.
    pub status: Option<u16>,
    /// What was read is such as the server of the mount cannot use either.
    pub is_unusable: bool,
}

impl Failure {
    pub(super) fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), status: None, is_unusable: false }
    }

    pub(super) fn unusable(message: impl Into<String>) -> Self {
        Self { is_unusable: true, ..Self::new("unusable", message) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Whom to trust.
pub(super) enum Ca<'a> {
    /// The system's.
    System,
    /// PEM text.
    Pem(&'a str),
    /// PEM text in a file.
    File(&'a Path),
}

impl<'a> Ca<'a> {
    /// Of a field that may be empty.
    pub(super) fn of_pem(pem: &'a str) -> Self {
        if pem.is_empty() { Self::System } else { Self::Pem(pem) }
    }
}

/// The server of a URL, which may have a path and a query.
///
/// # Errors
/// If it is none.
pub(super) fn origin(url: &str) -> Result<BaseUrl, BaseUrlError> {
    let (scheme, rest) = url.split_once("://").ok_or(BaseUrlError::Syntax)?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    BaseUrl::parse(&format!("{scheme}://{authority}"))
}

/// A server, and connections to it that are made anew each time: a replaced CA counts.
pub(super) struct Server {
    origin: BaseUrl,
    agent: Agent,
}

impl Server {
    /// Prepares the way; nothing is sent.
    ///
    /// # Errors
    /// What is wrong with trust or proxy.
    pub(super) fn new(origin: &BaseUrl, ca: &Ca<'_>, environment: &Environment) -> Result<Self, Failure> {
        let bad = |cause: String| Failure::new("settings", format!("{origin}: {cause}"));
        let system = || {
            let named = environment("SSL_CERT_FILE").filter(|path| !path.is_empty()).map(PathBuf::from);
            TrustBundle::system(named.as_deref()).map_err(|error| bad(error.to_string()))
        };
        let bundle = |pem: &[u8], from: &str| TrustBundle::from_pem(pem, from).map_err(|error| bad(error.to_string()));
        let trust = match ca {
            _ if !origin.is_https() => Trust::Anyone,
            Ca::System => Trust::Bundle(system()?),
            Ca::Pem(pem) => Trust::Bundle(bundle(pem.as_bytes(), "its CA in the mount's config")?),
            Ca::File(path) => {
                let pem = read_file("ca_file", path)?;
                Trust::Bundle(bundle(&pem, &format!("ca_file: {}", path.display()))?)
            }
        };
        let proxy = choose_proxy(origin, &|name| environment(name)).map_err(|error| bad(error.to_string()))?;
        let proxy_trust = proxy.as_ref().filter(|proxy| Proxy::is_https(proxy)).map(|_| system()).transpose()?;
        let settings = AgentSettings {
            trust,
            identity: None,
            server_name: None,
            proxy,
            proxy_trust,
            compression: false,
            connect_timeout: CONNECT_TIMEOUT,
        };
        let agent = Agent::new(&settings).map_err(|error| bad(error.to_string()))?;
        Ok(Self { origin: origin.clone(), agent })
    }

    /// Sends a request and reads the whole answer, whatever its status.
    ///
    /// # Errors
    /// Why there is no answer, or none that is small enough.
    pub(super) fn exchange(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        authorization: Option<&Redacted>,
        body: Option<&[u8]>,
    ) -> Result<(u16, Zeroizing<Vec<u8>>), Failure> {
        let (response, answer) = self.send(url, headers, authorization, body)?;
        Ok((response.status, answer))
    }

    /// Gets a document. Redirects are followed as far as they stay at this server.
    ///
    /// # Errors
    /// Any status but 200 is one.
    pub(super) fn get(&self, url: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let mut url = url.to_owned();
        for _ in 0..=MOST_REDIRECTS {
            let (response, answer) = self.send(&url, &[("Accept", "application/json")], None, None)?;
            match response.status {
                200 => return Ok(answer),
                301 | 302 | 303 | 307 | 308 => match self.redirected(&response) {
                    Some(next) => url = next,
                    None => {
                        return Err(self.refused(
                            &url,
                            response.status,
                            "a redirect to another server is not followed",
                        ));
                    }
                },
                status => return Err(self.refused(&url, status, "expected 200")),
            }
        }
        Err(Failure::new("status", format!("{}: more than {MOST_REDIRECTS} redirects", self.origin)))
    }

    /// Where a redirect leads, if that is at this server.
    fn redirected(&self, response: &Response) -> Option<String> {
        let location = response.header("location")?;
        if location.starts_with('/') && !location.starts_with("//") {
            return Some(self.origin.join(location));
        }
        (origin(location).ok()? == self.origin).then(|| location.to_owned())
    }

    pub(super) fn refused(&self, url: &str, status: u16, advice: &str) -> Failure {
        let path = path_of(url);
        let message = format!("{}: {path}: status {status}; {advice}", self.origin);
        Failure { status: Some(status), ..Failure::new("status", message) }
    }

    fn send(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        authorization: Option<&Redacted>,
        body: Option<&[u8]>,
    ) -> Result<(Response, Zeroizing<Vec<u8>>), Failure> {
        let failed = |error: &HttpError| {
            let reason = match error {
                HttpError::Timeout(_) => "timeout",
                HttpError::Tls { .. } => "tls",
                HttpError::UnknownHost { .. } | HttpError::Connect { .. } | HttpError::Proxy { .. } => "connect",
                _ => "answer",
            };
            Failure::new(reason, format!("{}: {}: {error}", self.origin, path_of(url)))
        };
        let request = Request {
            method: if body.is_some() { Method::Post } else { Method::Get },
            url,
            headers,
            authorization,
            body,
            deadline: Some(TIME_LIMIT),
            per_read: TIME_LIMIT,
        };
        let mut response = self.agent.send(&request).map_err(|error| failed(&error))?;
        let answer = read_wiped(&mut response.body, MOST_BYTES).map_err(|error| failed(&Body::error(error)))?;
        if answer.len() > MOST_BYTES {
            let message = format!("{}: {}: the answer has more than {MOST_BYTES} bytes", self.origin, path_of(url));
            return Err(Failure::new("too_large", message));
        }
        Ok((response, answer))
    }
}

/// What messages say of a URL: no query, which may hold what is nobody's business.
fn path_of(url: &str) -> &str {
    let behind = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = behind.find('/').and_then(|at| behind.get(at..)).unwrap_or("/");
    path.split(['?', '#']).next().unwrap_or("/")
}

/// Reads JSON; of a repeated name the last one counts.
pub(super) fn json(document: &[u8]) -> Option<Value> {
    Value::parse(document, Duplicates::LastWins).ok()
}

/// Reads a small file that may hold a credential.
///
/// # Errors
/// The system's; `key` names the file's key in the configuration.
pub(super) fn read_file(key: &str, path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    whole_file::read(path, MOST_FILE_BYTES)
        .map_err(|error| Failure::new("file", format!("{key}: {}: {error}", path.display())))
}

/// Reads a file that holds a token and nothing else.
///
/// # Errors
/// The system's, and that there is no token in it.
pub(super) fn read_token(key: &str, path: &Path) -> Result<Redacted, Failure> {
    let bytes = read_file(key, path)?;
    let text = std::str::from_utf8(&bytes).unwrap_or_default().trim();
    if text.is_empty() || text.contains(char::is_whitespace) {
        return Err(Failure::new("file", format!("{key}: {}: expected a token and nothing else", path.display())));
    }
    Ok(Redacted::new(text.to_owned()))
}
