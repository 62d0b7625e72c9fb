//! Why there is no answer, or no whole answer.

use std::fmt;
use std::io;
use ureq::Timeout;

use super::certificate::{CertificateRefused, refused_in};

/// Why a request got no answer, or its body ended early. No credential is ever in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpError {
    /// The host has no address.
    UnknownHost {
        /// The host.
        host: String,
        /// The system's words.
        cause: String,
    },
    /// No connection to any address of the host.
    Connect {
        /// `host:port`.
        address: String,
        /// The system's words.
        cause: String,
    },
    /// It took too long.
    Timeout(TimeoutPhase),
    /// No TLS connection, or TLS ended it.
    Tls {
        /// The name that the server's certificate has to be for.
        server_name: String,
        /// What went wrong.
        failure: TlsFailure,
    },
    /// The proxy did not give us a way to the server.
    Proxy {
        /// The proxy, without credentials.
        proxy: String,
        /// What it did.
        cause: String,
    },
    /// The connection was closed before the end of the answer.
    CutOff,
    /// What came is no HTTP answer, or no sound gzip.
    BadAnswer {
        /// What is wrong with it.
        cause: String,
    },
    /// The request cannot be sent: a header or the URL holds what HTTP does not allow.
    BadRequest {
        /// What is wrong with it; never the header's value.
        cause: String,
    },
    /// The agent was shut down.
    ShutDown,
}

/// What was waited for when the time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeoutPhase {
    /// The name server.
    Lookup,
    /// A connection: TCP, the proxy, TLS.
    Connect,
    /// Any next byte from the server.
    Read,
    /// The server to take what is sent.
    Write,
    /// The whole exchange.
    Deadline,
}

/// What went wrong with TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsFailure {
    /// The server's certificate was refused by us.
    Refused(Box<CertificateRefused>),
    /// The server wants a client certificate, or refuses the one it got.
    ClientCertificate {
        /// The alert that it sent.
        alert: String,
    },
    /// The server sent another alert.
    Alert {
        /// The alert.
        alert: String,
    },
    /// The server's name is none that a certificate can have.
    NoName,
    /// The other side speaks no TLS.
    NotTls,
    /// No protocol version or cipher suite in common.
    Incompatible {
        /// The TLS library's words.
        cause: String,
    },
    /// Something else.
    Other {
        /// The TLS library's words.
        cause: String,
    },
}

impl TlsFailure {
    pub(super) fn from_rustls(error: &rustls::Error) -> Self {
        use rustls::AlertDescription as Alert;
        if let Some(refused) = refused_in(error) {
            return Self::Refused(Box::new(refused.clone()));
        }
        match error {
            rustls::Error::AlertReceived(alert) => {
                let words = format!("{alert:?}");
                match alert {
                    Alert::CertificateRequired
                    | Alert::BadCertificate
                    | Alert::UnsupportedCertificate
                    | Alert::CertificateRevoked
                    | Alert::CertificateExpired
                    | Alert::CertificateUnknown
                    | Alert::UnknownCA
                    | Alert::NoCertificate => Self::ClientCertificate { alert: words },
                    Alert::ProtocolVersion | Alert::HandshakeFailure | Alert::InsufficientSecurity => {
                        Self::Incompatible { cause: format!("the server says {words}") }
                    }
                    _ => Self::Alert { alert: words },
                }
            }
            rustls::Error::InvalidMessage(_) => Self::NotTls,
            rustls::Error::PeerIncompatible(_) | rustls::Error::NoApplicationProtocol => {
                Self::Incompatible { cause: error.to_string() }
            }
            other => Self::Other { cause: other.to_string() },
        }
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => refused.fmt(f),
            Self::ClientCertificate { alert } => write!(
                f,
                "the server refuses our client certificate, or wants one that we do not have (alert {alert}); look at \
                 client-certificate and client-key"
            ),
            Self::Alert { alert } => write!(f, "the server ended the TLS connection (alert {alert})"),
            Self::NoName => f.write_str("neither a DNS name nor an address, so that no certificate can be for it"),
            Self::NotTls => f.write_str(
                "what answers there speaks no TLS; is the port right, and is the URL's scheme meant to be http?",
            ),
            Self::Incompatible { cause } => {
                write!(f, "no TLS version or cipher in common with the server ({cause}); TLS 1.2 or 1.3 is needed")
            }
            Self::Other { cause } => write!(f, "TLS failed: {cause}"),
        }
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownHost { host, cause } => write!(f, "no address found for the host \"{host}\": {cause}"),
            Self::Connect { address, cause } => write!(f, "no connection to {address}: {cause}"),
            Self::Timeout(phase) => f.write_str(match phase {
                TimeoutPhase::Lookup => "timed out while the host's address was looked up",
                TimeoutPhase::Connect => "timed out while connecting",
                TimeoutPhase::Read => "timed out waiting for the server to send something",
                TimeoutPhase::Write => "timed out waiting for the server to take the request",
                TimeoutPhase::Deadline => "timed out: the whole exchange took too long",
            }),
            Self::Tls { failure, .. } => failure.fmt(f),
            Self::Proxy { proxy, cause } => write!(f, "the proxy {proxy}: {cause}"),
            Self::CutOff => f.write_str("the connection was closed before the end of the answer"),
            Self::BadAnswer { cause } => write!(f, "not a sound HTTP answer: {cause}"),
            Self::BadRequest { cause } => write!(f, "the request cannot be sent: {cause}"),
            Self::ShutDown => f.write_str("shut down while waiting for the server"),
        }
    }
}

impl std::error::Error for HttpError {}

impl HttpError {
    /// The facts of an error of `ureq`.
    pub(super) fn from_ureq(error: ureq::Error) -> Self {
        match error {
            ureq::Error::Other(inner) => match inner.downcast::<Self>() {
                Ok(ours) => *ours,
                Err(other) => Self::BadAnswer { cause: other.to_string() },
            },
            ureq::Error::Io(error) => Self::from_io(error),
            ureq::Error::Timeout(timeout) => Self::Timeout(phase(timeout)),
            ureq::Error::Http(error) => Self::BadRequest { cause: error.to_string() },
            ureq::Error::BadUri(_) => Self::BadRequest { cause: "not a URL".to_owned() },
            ureq::Error::LargeResponseHeader(_, limit) => {
                Self::BadAnswer { cause: format!("its headers have more than {limit} bytes") }
            }
            // What was cut off under the unpacker is cut off, not badly packed.
            ureq::Error::Decompress(_, error) => match Self::from_io(error) {
                Self::BadAnswer { cause } => Self::BadAnswer { cause: format!("gzip: {cause}") },
                other => other,
            },
            other => Self::BadAnswer { cause: other.to_string() },
        }
    }

    /// The facts of an I/O error, which may carry one of `ureq` or our own.
    pub(super) fn from_io(error: io::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
        if error.get_ref().is_some_and(|inner| inner.is::<ureq::Error>()) {
            return Self::from_ureq(ureq::Error::from(error));
        }
        if let Some(ours) = error.get_ref().and_then(|inner| inner.downcast_ref::<Self>()) {
            return ours.clone();
        }
        match error.kind() {
            UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe | NotConnected => Self::CutOff,
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Self::Timeout(TimeoutPhase::Read),
            _ => Self::BadAnswer { cause: error.to_string() },
        }
    }
}

/// An error of ours on its way through an interface that wants `ureq`'s.
impl From<HttpError> for ureq::Error {
    fn from(error: HttpError) -> Self {
        Self::Other(Box::new(error))
    }
}

fn phase(timeout: Timeout) -> TimeoutPhase {
    match timeout {
        Timeout::Resolve => TimeoutPhase::Lookup,
        Timeout::Connect => TimeoutPhase::Connect,
        Timeout::PerWrite | Timeout::SendRequest | Timeout::SendBody => TimeoutPhase::Write,
        Timeout::Global | Timeout::PerCall => TimeoutPhase::Deadline,
        _ => TimeoutPhase::Read,
    }
}
