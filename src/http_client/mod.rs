//! The one door to `ureq` and `rustls`: HTTP/1.1 requests to one server, over TLS that we set up ourselves.
//!
//! An [`Agent`] speaks to servers with one set of [`AgentSettings`]: whom it trusts ([`Trust`]), who it says it is
//! ([`ClientIdentity`]), which way it goes ([`Proxy`]). Nothing is taken from the environment here; whoever makes the
//! settings decides.
//!
//! `ureq` brings HTTP, keep-alive and gzip; connecting, proxies and TLS are ours, through its connector interface:
//! - every error of TLS keeps its facts, up to the names that a refused certificate does carry;
//! - the name that a certificate must have can differ from the host of the URL;
//! - a host is looked up when a connection is made, not at every request, and never on a thread of its own if it is an
//!   address already;
//! - no redirect is followed: a bearer token goes to the server that it was meant for, or nowhere.

mod agent;
mod base_url;
mod body;
mod certificate;
mod connect;
mod error;
mod identity;
mod proxy;
mod resolve;
mod retry_after;
mod tcp;
mod tls;
mod trust;

pub use agent::{Agent, AgentSettings, Method, Request, Response};
pub use base_url::{BaseUrl, BaseUrlError};
pub use body::Body;
pub use certificate::{CertificateRefused, RefusalRule};
pub use error::{HttpError, TimeoutPhase, TlsFailure};
pub use identity::{ClientIdentity, IdentityError};
pub use proxy::{Proxy, ProxyUrlError};
pub use trust::{Trust, TrustBundle, TrustError};

#[cfg(test)]
pub(crate) mod test_server;
#[cfg(test)]
mod tests;
