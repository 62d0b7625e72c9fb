//! Why a request to an API server failed, in words that an operator can act on.

use crate::http_client::HttpError;
use crate::log::escape;
use std::fmt;
use std::time::Duration;

/// What kind of failure it was. The codes are an interface: metrics carry them, and none is ever renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No connection: unknown host, refused, unreachable, shut down.
    Connect,
    /// Something took too long.
    Timeout,
    /// No TLS connection, mostly because of a certificate.
    Tls,
    /// The proxy did not let us through.
    Proxy,
    /// Our own credentials cannot be had: a file, an exec plugin.
    Credentials,
    /// 401.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 410: a resource version or continue token is too old.
    Gone,
    /// 409.
    Conflict,
    /// 429.
    TooManyRequests,
    /// 5xx.
    ServerError,
    /// 3xx: redirects are not followed.
    Redirect,
    /// Another status than expected.
    BadStatus,
    /// What came is not what the Kubernetes API sends.
    BadAnswer,
    /// The answer ended before its end.
    CutOff,
}

impl Reason {
    /// Every reason, for counters that are to be there at zero.
    pub const ALL: [Self; 16] = [
        Self::Connect,
        Self::Timeout,
        Self::Tls,
        Self::Proxy,
        Self::Credentials,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::Gone,
        Self::Conflict,
        Self::TooManyRequests,
        Self::ServerError,
        Self::Redirect,
        Self::BadStatus,
        Self::BadAnswer,
        Self::CutOff,
    ];

    /// The code.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::Proxy => "proxy",
            Self::Credentials => "credentials",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Gone => "gone",
            Self::Conflict => "conflict",
            Self::TooManyRequests => "too_many_requests",
            Self::ServerError => "server_error",
            Self::Redirect => "redirect",
            Self::BadStatus => "bad_status",
            Self::BadAnswer => "bad_answer",
            Self::CutOff => "cut_off",
        }
    }

    /// The reason for a status code that is no success.
    #[must_use]
    pub fn of_status(status: u16) -> Self {
        match status {
            300..=399 => Self::Redirect,
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            409 => Self::Conflict,
            410 => Self::Gone,
            429 => Self::TooManyRequests,
            500..=599 => Self::ServerError,
            _ => Self::BadStatus,
        }
    }

    fn of_http(error: &HttpError) -> Self {
        match error {
            HttpError::UnknownHost { .. } | HttpError::Connect { .. } | HttpError::ShutDown => Self::Connect,
            HttpError::Timeout(_) => Self::Timeout,
            HttpError::Tls { .. } => Self::Tls,
            HttpError::Proxy { .. } => Self::Proxy,
            HttpError::CutOff => Self::CutOff,
            HttpError::BadAnswer { .. } => Self::BadAnswer,
            HttpError::BadRequest { .. } => Self::BadStatus,
        }
    }
}

/// A request to an API server that failed, or a body that ended early. Its message is whole: what was asked, what came, what
/// to do. No credential is in it; what the server said is bounded and has no control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestError {
    reason: Reason,
    status: Option<u16>,
    message: String,
    retry_after: Option<Duration>,
    /// The time for a single read was up: the same body can be read on.
    read_on: bool,
}

impl RequestError {
    /// An error found by whoever reads a body: an `ERROR` event in a watch, JSON that is none. Control characters in the
    /// message are escaped.
    #[must_use]
    pub fn new(reason: Reason, message: String) -> Self {
        let message = escape(&message).into_owned();
        Self { reason, status: None, message, retry_after: None, read_on: false }
    }

    /// With the status code that came.
    #[must_use]
    pub(super) fn with_status(mut self, status: u16, retry_after: Option<Duration>) -> Self {
        self.status = Some(status);
        self.with_retry_after(retry_after)
    }

    /// The server asks to be left alone for so long, at most ten minutes.
    #[must_use]
    pub fn with_retry_after(self, retry_after: Option<Duration>) -> Self {
        Self { retry_after: retry_after.map(|wait| wait.min(super::status::MAX_RETRY_AFTER)), ..self }
    }

    pub(super) fn from_http(what: &str, server: &str, error: &HttpError) -> Self {
        Self::new(Reason::of_http(error), format!("{what} at {server}: {error}"))
    }

    /// Whether the body can be read on.
    pub(super) fn with_pause(mut self, read_on: bool) -> Self {
        self.read_on = read_on;
        self
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The status code, if one came.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// How long the server wants to be left alone (`Retry-After`); at most ten minutes.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether only the time for a single read was up, so that the same body can be read on.
    #[must_use]
    pub fn is_pause(&self) -> bool {
        self.read_on
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RequestError {}
