//! Making a connection: look the host up, TCP, through the proxy where there is one, TLS where the URL says so.

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::fmt;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use ureq::unversioned::transport::time::{Duration, Instant};
use ureq::unversioned::transport::{ConnectionDetails, Connector, Either, NextTimeout, Transport, TransportAdapter};

use super::base_url::{host_and_port, without_brackets};
use super::error::{HttpError, TlsFailure};
use super::proxy::{Proxy, ProxyKind};
use super::resolve::look_up;
use super::tcp::TcpTransport;
use super::tls::{self, TlsTransport};

/// Makes the connections of one agent.
pub(super) struct Dialer {
    pub(super) tls: Arc<ClientConfig>,
    /// The name that the server's certificate must have, if not the URL's host.
    pub(super) server_name: Option<ServerName<'static>>,
    pub(super) proxy: Option<(Proxy, Option<Arc<ClientConfig>>)>,
    /// Counts connections, so that a failure on a connection that was kept open can be told from one on a fresh one.
    pub(super) made: Arc<AtomicU64>,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dialer")
    }
}

impl Connector<()> for Dialer {
    type Out = Either<Box<dyn Transport>, TlsTransport>;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Self::Out>, ureq::Error> {
        self.made.fetch_add(1, Ordering::SeqCst);
        let host = details.uri.host().map(without_brackets).unwrap_or_default();
        let port = details.uri.port_u16().unwrap_or(if details.needs_tls() { 443 } else { 80 });
        let transport = match &self.proxy {
            None => tcp(details, host, port)?,
            Some((proxy, tls)) => through(proxy, tls.as_ref(), details, host, port)?,
        };
        if !details.needs_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => server_name(host)?,
        };
        let config = Arc::clone(&self.tls);
        Ok(Some(Either::B(tls::wrap(transport, config, name, details, remaining(details))?)))
    }
}

/// The name or address that a certificate has to be for.
pub(super) fn server_name(host: &str) -> Result<ServerName<'static>, HttpError> {
    // A dot at the end keeps search domains away; it is no part of the name in a certificate.
    let name = host.strip_suffix('.').unwrap_or(host);
    ServerName::try_from(name.to_owned())
        .map_err(|_| HttpError::Tls { server_name: host.to_owned(), failure: TlsFailure::NoName })
}

fn tcp(details: &ConnectionDetails<'_>, host: &str, port: u16) -> Result<Box<dyn Transport>, ureq::Error> {
    let mut addresses = look_up(host, port, *remaining(details).after)?.into_iter();
    let mut failure = ureq::Error::ConnectionFailed;
    while let Some(address) = addresses.next() {
        let timeout = remaining(details);
        if timeout.after.is_zero() {
            return Err(ureq::Error::Timeout(timeout.reason));
        }
        // Each of those that are left gets as much of the time that is left.
        let share = *timeout.after / u32::try_from(addresses.len() + 1).unwrap_or(u32::MAX);
        failure = match TcpTransport::connect(&address, share, details) {
            Ok(transport) => return Ok(Box::new(transport)),
            Err(ureq::Error::Io(error)) if error.kind() == ErrorKind::TimedOut => ureq::Error::Timeout(timeout.reason),
            Err(ureq::Error::Io(error)) => {
                HttpError::Connect { address: host_and_port(host, port), cause: error.to_string() }.into()
            }
            Err(other) => return Err(other),
        };
    }
    Err(failure)
}

fn through(
    proxy: &Proxy,
    tls: Option<&Arc<ClientConfig>>,
    details: &ConnectionDetails<'_>,
    host: &str,
    port: u16,
) -> Result<Box<dyn Transport>, ureq::Error> {
    let explained = |error: ureq::Error| match HttpError::from_ureq(error) {
        timeout @ HttpError::Timeout(_) => timeout,
        HttpError::ShutDown => HttpError::ShutDown,
        HttpError::Connect { cause, .. } => proxy.failed(format!("no connection: {cause}")),
        other => proxy.failed(other.to_string()),
    };
    let mut transport = tcp(details, &proxy.host, proxy.port).map_err(explained)?;
    if let (ProxyKind::Https, Some(config)) = (proxy.kind, tls) {
        let name = server_name(&proxy.host)?;
        let wrapped = tls::wrap(transport, Arc::clone(config), name, details, remaining(details)).map_err(explained)?;
        transport = Box::new(wrapped);
    }
    let mut stream = TransportAdapter::new(transport, Arc::clone(&details.current_time));
    stream.set_timeout(remaining(details));
    proxy.open_tunnel(&mut stream, host, port)?;
    Ok(stream.into_inner())
}

/// What is left of the time for connecting. That alone counts here: the time for a single read may be short, and is meant
/// for bodies.
fn remaining(details: &ConnectionDetails<'_>) -> NextTimeout {
    let mut timeout = NextTimeout { per_read: None, per_write: None, ..details.timeout };
    if let (Duration::Exact(after), Instant::Exact(started), Instant::Exact(now)) =
        (timeout.after, details.now, (details.current_time)())
    {
        timeout.after = Duration::Exact(after.saturating_sub(now.saturating_duration_since(started)));
    }
    timeout
}
