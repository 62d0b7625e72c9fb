//! Why a renewal failed: the codes of the label `reason` of `jwt_exporter_renewal_error`.

use crate::http_client::HttpError;
use std::fmt;

/// What kind of failure it was. The codes are an interface: metrics carry them, and none is ever renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The Secret is not there, and is not to be created.
    TargetNotFound,
    /// We may not read, patch or create the Secret.
    TargetForbidden,
    /// The Secret is immutable.
    TargetImmutable,
    /// The API server did not answer, or the file cannot be read.
    TargetUnavailable,
    /// The Secret or file cannot be written.
    TargetUnwritable,
    /// Others changed the Secret each time that we wanted to, or are at work on the file.
    Conflict,
    /// The credentials' Secret or file cannot be read.
    CredentialsUnavailable,
    /// The credentials lack a variable of the request.
    MissingVariable,
    /// The value of a variable cannot stand where the request has it.
    BadValue,
    /// `ca_file`, or the proxy of the environment, cannot be used.
    BadSettings,
    /// No connection to the endpoint.
    Connect,
    /// The endpoint took too long.
    Timeout,
    /// No TLS connection, mostly because of a certificate.
    Tls,
    /// The proxy did not let us through.
    Proxy,
    /// 401 or 403: the endpoint refuses the credentials.
    CredentialsRefused,
    /// 429.
    TooManyRequests,
    /// 3xx: credentials are not sent to another place.
    Redirect,
    /// 5xx.
    ServerError,
    /// Another status than 2xx.
    BadStatus,
    /// The answer is larger than what is read of it.
    AnswerTooLarge,
    /// The answer is no JSON, or ended before its end.
    BadAnswer,
    /// The JSON Pointer leads to no text.
    NoToken,
    /// The text is no JSON Web Token.
    NotAJwt,
    /// The token is encrypted: nobody can tell when it expires.
    Encrypted,
    /// The token has expired already.
    Expired,
    /// The token does not say when it expires.
    NoExpiry,
    /// The token is valid only later.
    NotYetValid,
    /// The token does not expire later than the one that is there.
    NotLater,
    /// The token would not get in: see `logins`.
    LoginRefused,
    /// Nobody can tell yet whether the token would get in.
    LoginUndetermined,
    /// A defect of this program.
    Panic,
}

impl Reason {
    /// Every reason, for the documents.
    pub const ALL: [Self; 31] = [
        Self::TargetNotFound,
        Self::TargetForbidden,
        Self::TargetImmutable,
        Self::TargetUnavailable,
        Self::TargetUnwritable,
        Self::Conflict,
        Self::CredentialsUnavailable,
        Self::MissingVariable,
        Self::BadValue,
        Self::BadSettings,
        Self::Connect,
        Self::Timeout,
        Self::Tls,
        Self::Proxy,
        Self::CredentialsRefused,
        Self::TooManyRequests,
        Self::Redirect,
        Self::ServerError,
        Self::BadStatus,
        Self::AnswerTooLarge,
        Self::BadAnswer,
        Self::NoToken,
        Self::NotAJwt,
        Self::Encrypted,
        Self::Expired,
        Self::NoExpiry,
        Self::NotYetValid,
        Self::NotLater,
        Self::LoginRefused,
        Self::LoginUndetermined,
        Self::Panic,
    ];

    /// The code.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TargetNotFound => "target_not_found",
            Self::TargetForbidden => "target_forbidden",
            Self::TargetImmutable => "target_immutable",
            Self::TargetUnavailable => "target_unavailable",
            Self::TargetUnwritable => "target_unwritable",
            Self::Conflict => "conflict",
            Self::CredentialsUnavailable => "credentials_unavailable",
            Self::MissingVariable => "missing_variable",
            Self::BadValue => "bad_value",
            Self::BadSettings => "bad_settings",
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::Proxy => "proxy",
            Self::CredentialsRefused => "credentials_refused",
            Self::TooManyRequests => "too_many_requests",
            Self::Redirect => "redirect",
            Self::ServerError => "server_error",
            Self::BadStatus => "bad_status",
            Self::AnswerTooLarge => "answer_too_large",
            Self::BadAnswer => "bad_answer",
            Self::NoToken => "no_token",
            Self::NotAJwt => "not_a_jwt",
            Self::Encrypted => "encrypted",
            Self::Expired => "expired",
            Self::NoExpiry => "no_expiry",
            Self::NotYetValid => "not_yet_valid",
            Self::NotLater => "not_later",
            Self::LoginRefused => "login_refused",
            Self::LoginUndetermined => "login_undetermined",
            Self::Panic => "panic",
        }
    }

    /// Of a request to the endpoint that got no answer.
    pub(super) fn of_http(error: &HttpError) -> Self {
        match error {
            HttpError::UnknownHost { .. } | HttpError::Connect { .. } | HttpError::ShutDown => Self::Connect,
            HttpError::Timeout(_) => Self::Timeout,
            HttpError::Tls { .. } => Self::Tls,
            HttpError::Proxy { .. } => Self::Proxy,
            HttpError::CutOff | HttpError::BadAnswer { .. } => Self::BadAnswer,
            HttpError::BadRequest { .. } => Self::BadValue,
        }
    }

    /// Of an answer that is no success.
    pub(super) fn of_status(status: u16) -> Self {
        match status {
            300..=399 => Self::Redirect,
            401 | 403 => Self::CredentialsRefused,
            429 => Self::TooManyRequests,
            500..=599 => Self::ServerError,
            _ => Self::BadStatus,
        }
    }
}

/// A failed try. No credential and no piece of a token is in the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The code.
    pub reason: Reason,
    /// The same for people: what was asked, what came, what to do.
    pub message: String,
    /// So many seconds the endpoint wants to be left alone.
    pub retry_after: Option<i64>,
}

impl Failure {
    /// A failure after which nobody asked for patience.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), retry_after: None }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_reason_has_a_code_of_its_own() {
        let codes: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
    }
}
