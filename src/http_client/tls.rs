//! TLS over a transport of `ureq`.

use rustls::client::Resumption;
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;
use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, LazyBuffers, NextTimeout, Transport, TransportAdapter};

use super::certificate::{AcceptsAnyone, Verifier};
use super::error::TlsFailure;
use super::identity::{ClientIdentity, provider};
use super::trust::Trust;

/// HTTP/1.1 is all that is spoken here (RFC 7301).
const ALPN: &[u8] = b"http/1.1";

/// The configuration of rustls for one trust and one identity.
///
/// # Errors
/// What rustls has against it. Trust and identity were checked when they were made, so that this is not expected.
pub(super) fn config(trust: &Trust, identity: Option<&ClientIdentity>) -> Result<Arc<ClientConfig>, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13, &TLS12])?;
    let builder = match trust {
        Trust::Bundle(bundle) => builder.dangerous().with_custom_certificate_verifier(Arc::new(Verifier::new(bundle)?)),
        Trust::Anyone => builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptsAnyone)),
    };
    let mut config = match identity {
        Some(ClientIdentity(key)) => {
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(key))))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Connections are kept open and few. A resumed session would skip the look at the certificate, and cost memory.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Wraps a connection in TLS and waits for the end of the handshake, for no longer than `timeout`.
pub(super) fn wrap(
    transport: Box<dyn Transport>,
    config: Arc<ClientConfig>,
    server_name: ServerName<'static>,
    details: &ConnectionDetails<'_>,
    timeout: NextTimeout,
) -> Result<TlsTransport, ureq::Error> {
    let name = server_name.to_str().into_owned();
    let mut conn =
        ClientConnection::new(config, server_name).map_err(|error| failure(&name, TlsFailure::from_rustls(&error)))?;
    let mut sock = TransportAdapter::new(transport, Arc::clone(&details.current_time));
    sock.set_timeout(timeout);
    conn.complete_io(&mut sock).map_err(|error| convert(&name, error))?;
    let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
    Ok(TlsTransport { buffers, stream: StreamOwned { conn, sock }, name })
}

pub(super) struct TlsTransport {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
    name: String,
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.sock.set_timeout(timeout);
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        self.stream.write_all(output).and_then(|()| self.stream.flush()).map_err(|error| convert(&self.name, error))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.sock.set_timeout(timeout);
        let input = self.buffers.input_append_buf();
        // With TLS 1.3 a server refuses a client certificate only after the handshake: the alert comes here.
        let amount = self.stream.read(input).map_err(|error| convert(&self.name, error))?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.sock.get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsTransport({})", self.name)
    }
}

/// Takes the TLS error out of the I/O error that carries it; everything else stays what it is.
fn convert(name: &str, error: io::Error) -> ureq::Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(tls) => failure(name, TlsFailure::from_rustls(tls)),
        None => ureq::Error::from(error),
    }
}

fn failure(name: &str, mut failure: TlsFailure) -> ureq::Error {
    if let TlsFailure::Refused(refused) = &mut failure {
        name.clone_into(&mut refused.server_name);
    }
    ureq::Error::Other(Box::new(super::error::HttpError::Tls { server_name: name.to_owned(), failure }))
}
