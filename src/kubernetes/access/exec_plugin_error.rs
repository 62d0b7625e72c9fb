//! Why an exec plugin gave no credential.

use crate::http_client::IdentityError;
use std::fmt;

/// No more of what a plugin writes is read.
pub(super) const MAX_OUTPUT: u64 = 1 << 20;

/// An exec plugin that gave no credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecPluginError {
    /// Where the plugin is configured, and its command.
    pub origin: String,
    /// What happened.
    pub problem: ExecPluginProblem,
}

/// What went wrong with an exec plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecPluginProblem {
    /// There is no such program.
    NotInstalled {
        /// What the kubeconfig says of how to get it.
        hint: String,
    },
    /// It cannot be started.
    NotStarted {
        /// The system's words.
        cause: String,
    },
    /// It did not end in time and was killed.
    TooSlow {
        /// The time it had, in seconds.
        seconds: u64,
    },
    /// It failed.
    Failed {
        /// How it ended.
        status: String,
        /// What it wrote to standard error; bounded, without control characters.
        complaint: String,
        /// What the kubeconfig says of how to get it.
        hint: String,
    },
    /// It wrote more than is read.
    TooMuch,
    /// It wrote no `ExecCredential` in JSON.
    NotACredential {
        /// Line of what it wrote, from 1.
        line: usize,
    },
    /// What it wrote is of another version than configured.
    OtherVersion {
        /// The configured version.
        expected: String,
    },
    /// No token and no certificate in it, or only one of certificate and key.
    Incomplete,
    /// The token cannot be sent.
    Token(&'static str),
    /// The expiry is no RFC 3339 date.
    Expiry,
    /// Certificate and key are no identity.
    Identity(IdentityError),
    /// We are shutting down.
    Cancelled,
}

impl fmt::Display for ExecPluginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        let with_hint = |f: &mut fmt::Formatter<'_>, hint: &str| {
            if hint.is_empty() { Ok(()) } else { write!(f, " ({hint})") }
        };
        match &self.problem {
            ExecPluginProblem::NotInstalled { hint } => {
                f.write_str(
                    "no such program here; an image without it, such as one from scratch, needs another way to log in: a token \
                     or a client certificate",
                )?;
                with_hint(f, hint)
            }
            ExecPluginProblem::NotStarted { cause } => write!(f, "cannot be started: {cause}"),
            ExecPluginProblem::TooSlow { seconds } => {
                write!(f, "did not end within {seconds} s and was killed; does it wait for somebody to type?")
            }
            ExecPluginProblem::Failed { status, complaint, hint } => {
                write!(f, "failed ({status})")?;
                if !complaint.is_empty() {
                    write!(f, ": {complaint}")?;
                }
                with_hint(f, hint)
            }
            ExecPluginProblem::TooMuch => write!(f, "wrote more than {MAX_OUTPUT} bytes"),
            ExecPluginProblem::NotACredential { line } => {
                write!(f, "what it wrote is no ExecCredential in JSON (line {line})")
            }
            ExecPluginProblem::OtherVersion { expected } => {
                write!(f, "what it wrote has another apiVersion than {expected}, which the kubeconfig asks for")
            }
            ExecPluginProblem::Incomplete => f.write_str(
                "what it wrote has neither status.token nor both of status.clientCertificateData and status.clientKeyData",
            ),
            ExecPluginProblem::Token(cause) => write!(f, "status.token: {cause}"),
            ExecPluginProblem::Expiry => f.write_str("status.expirationTimestamp is no RFC 3339 date"),
            ExecPluginProblem::Identity(error) if error.is_about_certificate() => {
                write!(f, "status.clientCertificateData: {error}")
            }
            ExecPluginProblem::Identity(error) => write!(f, "status.clientKeyData: {error}"),
            ExecPluginProblem::Cancelled => f.write_str("shut down while it ran"),
        }
    }
}

impl std::error::Error for ExecPluginError {}
