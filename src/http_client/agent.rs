//! Requests and answers.

use rustls_pki_types::ServerName;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use ureq::config::AutoHeaderValue;
use ureq::http;

use crate::redacted::Redacted;

use super::body::Body;
use super::connect::{Dialer, server_name};
use super::error::HttpError;
use super::identity::ClientIdentity;
use super::proxy::{Proxy, ProxyKind};
use super::resolve::LaterResolver;
use super::tls;
use super::trust::{Trust, TrustBundle};

/// Buffers of a connection, where `ureq` would take 128 KiB each way: a TLS record has 16 KiB. The head of an answer has to
/// fit into the one for input.
const OUTPUT_BYTES: usize = 16 << 10;
const INPUT_BYTES: usize = 32 << 10;
/// Longest head of an answer. Only below the buffer's size does `ureq` say that it is too long.
const MAX_HEAD_BYTES: usize = INPUT_BYTES - 1;
/// Idle connections that are kept: one for the lists, one for something at the same time.
const IDLE_CONNECTIONS: usize = 2;

/// Longest wait for the server to take what is sent.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest wait for the head of an answer that has no end. The answer itself comes when there is something to tell.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(10);

/// How an [`Agent`] reaches its servers.
#[derive(Clone, Debug)]
pub struct AgentSettings {
    /// Which server certificates are accepted.
    pub trust: Trust,
    /// The client certificate, if there is one.
    pub identity: Option<ClientIdentity>,
    /// The name that the server's certificate must be for, instead of the URL's host.
    pub server_name: Option<String>,
    /// The proxy that everything goes through.
    pub proxy: Option<Proxy>,
    /// Whom to trust as a proxy that is reached over TLS. The server's CA says nothing about a proxy, and our client
    /// certificate is none of its business.
    pub proxy_trust: Option<TrustBundle>,
    /// Whether answers may come gzipped.
    pub compression: bool,
    /// Longest time for a connection: look-up, TCP, proxy and TLS together.
    pub connect_timeout: Duration,
}

/// Sends requests over kept-alive connections; `&self` from several threads.
#[derive(Debug)]
pub struct Agent {
    ureq: ureq::Agent,
    connections_made: Arc<AtomicU64>,
    shut_down: Arc<AtomicBool>,
}

/// The methods that are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `PATCH`
    Patch,
}

/// One request.
#[derive(Debug)]
pub struct Request<'a> {
    /// Its method.
    pub method: Method,
    /// The whole URL, encoded.
    pub url: &'a str,
    /// Headers besides those that HTTP itself needs.
    pub headers: &'a [(&'a str, &'a str)],
    /// The `Authorization` header, if there is one.
    pub authorization: Option<&'a Redacted>,
    /// The body; its `Content-Type` is one of the headers.
    pub body: Option<&'a [u8]>,
    /// Longest time for the whole exchange, the answer's body included; `None` for one without an end, whose head has to come
    /// within ten seconds.
    pub deadline: Option<Duration>,
    /// Longest wait for any next byte of the answer, its head included.
    pub per_read: Duration,
}

/// An answer, whatever its status; nothing of the body is read yet.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    headers: http::HeaderMap,
    /// The body.
    pub body: Body,
}

impl Response {
    /// A header as text; `None` if it is not there or not ASCII.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Agent {
    /// # Errors
    /// If `server_name` is no name that a certificate can have, or a proxy over TLS is to be used and nobody is trusted.
    pub fn new(settings: &AgentSettings) -> Result<Self, HttpError> {
        let tls_error = |error: &rustls::Error| HttpError::Tls {
            server_name: settings.server_name.clone().unwrap_or_default(),
            failure: super::error::TlsFailure::from_rustls(error),
        };
        let tls = tls::config(&settings.trust, settings.identity.as_ref()).map_err(|error| tls_error(&error))?;
        let server_name: Option<ServerName<'static>> = settings.server_name.as_deref().map(server_name).transpose()?;
        let proxy = match &settings.proxy {
            Some(proxy) if proxy.kind == ProxyKind::Https => {
                let bundle = settings
                    .proxy_trust
                    .clone()
                    .ok_or_else(|| proxy.failed("no CA is trusted for a proxy over TLS".to_owned()))?;
                let tls = tls::config(&Trust::Bundle(bundle), None).map_err(|error| tls_error(&error))?;
                Some((proxy.clone(), Some(tls)))
            }
            Some(proxy) => Some((proxy.clone(), None)),
            None => None,
        };
        let connections_made = Arc::new(AtomicU64::new(0));
        let dialer = Dialer { tls, server_name, proxy, made: Arc::clone(&connections_made) };
        let config = ureq::Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("jwt-exporter/", env!("CARGO_PKG_VERSION")))
            .accept_encoding(if settings.compression { AutoHeaderValue::Default } else { AutoHeaderValue::None })
            .input_buffer_size(INPUT_BYTES)
            .output_buffer_size(OUTPUT_BYTES)
            .max_response_header_size(MAX_HEAD_BYTES)
            .max_idle_connections(IDLE_CONNECTIONS)
            .max_idle_connections_per_host(IDLE_CONNECTIONS)
            .timeout_connect(Some(settings.connect_timeout))
            .build();
        let ureq = ureq::Agent::with_parts(config, dialer, LaterResolver);
        Ok(Self { ureq, connections_made, shut_down: Arc::new(AtomicBool::new(false)) })
    }

    /// Sends a request and waits for the head of the answer. A redirect is an answer like any other.
    ///
    /// A `GET` whose kept-alive connection turns out to be closed is sent once more.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn send(&self, request: &Request<'_>) -> Result<Response, HttpError> {
        self.send_telling(request, &|| ())
    }

    /// The same; `again` is told before a request is sent once more.
    ///
    /// # Errors
    /// As of [`send`](Self::send).
    pub fn send_telling(&self, request: &Request<'_>, again: &dyn Fn()) -> Result<Response, HttpError> {
        let before = self.connections_made.load(Ordering::SeqCst);
        match self.send_once(request) {
            Err(HttpError::CutOff)
                if request.method == Method::Get && self.connections_made.load(Ordering::SeqCst) == before =>
            {
                again();
                self.send_once(request)
            }
            result => result,
        }
    }

    fn send_once(&self, request: &Request<'_>) -> Result<Response, HttpError> {
        let method = match request.method {
            Method::Get => http::Method::GET,
            Method::Post => http::Method::POST,
            Method::Put => http::Method::PUT,
            Method::Patch => http::Method::PATCH,
        };
        let mut builder = http::Request::builder().method(method).uri(request.url);
        for (name, value) in request.headers {
            builder = builder.header(*name, *value);
        }
        if let Some(authorization) = request.authorization {
            let mut value = http::HeaderValue::from_str(authorization.expose())
                .map_err(|_| HttpError::BadRequest { cause: "the credentials hold a control character".to_owned() })?;
            value.set_sensitive(true);
            builder = builder.header(http::header::AUTHORIZATION, value);
        }
        let result = match request.body {
            Some(body) => self.run(builder.body(body), request),
            None => self.run(builder.body(()), request),
        };
        let response = result.map_err(|error| match HttpError::from_ureq(error) {
            _ if self.shut_down.load(Ordering::SeqCst) => HttpError::ShutDown,
            error => error,
        })?;
        let (head, body) = response.into_parts();
        Ok(Response {
            status: head.status.as_u16(),
            headers: head.headers,
            body: Body { reader: body.into_reader(), shut_down: Arc::clone(&self.shut_down) },
        })
    }

    fn run<S: ureq::AsSendBody>(
        &self,
        message: Result<http::Request<S>, http::Error>,
        request: &Request<'_>,
    ) -> Result<http::Response<ureq::Body>, ureq::Error> {
        let message = self
            .ureq
            .configure_request(message?)
            .timeout_global(request.deadline)
            .timeout_recv_response(request.deadline.is_none().then_some(ACCEPT_TIMEOUT))
            .timeout_per_read(Some(request.per_read))
            .timeout_per_write(Some(WRITE_TIMEOUT))
            .build();
        self.ureq.run(message)
    }

    /// Ends everything that is under way: blocked reads in other threads return at once, with [`HttpError::ShutDown`], and
    /// so does every later request.
    pub fn shutdown(&self) {
        self.shut_down.store(true, Ordering::SeqCst);
        self.ureq.clone().shutdown();
    }
}
