//! A scripted HTTP/1.1 server for the faults that a real API server does not show on demand: errors, cut and endless
//! answers, silence, garbage. It records every request that it got.
//!
//! ```ignore
//! let server = FakeApiServer::start(|request| match request.path() {
//!     "/api/v1/secrets" if request.query("continue").is_some() => Answer::status_object(410, "Expired"),
//!     "/api/v1/secrets" => Answer::json(200, &json!({"kind": "SecretList", "items": []})),
//!     _ => Answer::status_object(404, "NotFound"),
//! });
//! assert_eq!(server.requests().len(), 2);
//! ```

use super::certificates;
use super::http::{self, find_header, gzip};
use serde_json::{Value, json};
use std::io::{self, BufReader, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    /// In the order of arrival, names as sent.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Requests with the same number came over the same connection; they count from 0.
    pub connection: usize,
    /// How many requests the server had seen before this one.
    pub before: usize,
    pub at: Instant,
}

impl Request {
    /// The value of a header, by its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find_header(&self.headers, name)
    }

    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The value of a query parameter, percent-decoded.
    pub fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        let parameters = query.split('&').map(|part| part.split_once('=').unwrap_or((part, "")));
        parameters
            .map(|(known, value)| (percent_decoded(known), value))
            .find(|(known, _)| known == name)
            .map(|(_, value)| percent_decoded(value))
    }
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match (byte, code) {
            (b'%', Some(decoded)) => {
                bytes.push(decoded);
                rest = &after[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = after;
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What the server does for one request.
pub struct Answer {
    head: String,
    body: Vec<u8>,
    end: End,
}

/// What happens once the answer's bytes are sent.
enum End {
    /// The next request may come over the same connection.
    KeepAlive,
    /// The connection is closed, in TLS without a goodbye.
    Cut,
    /// Nothing more comes, and the connection stays open.
    Silence,
    /// The body's chunk is sent again and again.
    Drip { every: Duration },
    /// Chunks come as a test sends them; the answer ends when the sender is dropped.
    Feed(Receiver<Vec<u8>>),
}

impl Answer {
    /// An answer with these headers (and `Content-Length`) and this body.
    pub fn new(status: u16, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self { head: head(status, headers, &format!("Content-Length: {}", body.len())), body, end: End::KeepAlive }
    }

    pub fn json(status: u16, body: &Value) -> Self {
        Self::new(status, JSON, body.to_string())
    }

    /// A Kubernetes `Status` with this code and reason, such as `(410, "Expired")`.
    pub fn status_object(code: u16, reason: &str) -> Self {
        Self::status_object_with(code, reason, &[])
    }

    /// The same with more headers, such as `Retry-After`.
    pub fn status_object_with(code: u16, reason: &str, headers: &[(&str, &str)]) -> Self {
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": format!("scripted: {reason}"), "reason": reason, "code": code,
        });
        Self::new(code, &[JSON, headers].concat(), status.to_string())
    }

    /// A JSON answer packed with gzip.
    pub fn gzip(status: u16, body: &Value) -> Self {
        Self::new(status, &[JSON, &[("Content-Encoding", "gzip")]].concat(), gzip(body.to_string().as_bytes()))
    }

    /// A JSON answer in chunks as given.
    pub fn chunked(status: u16, chunks: &[&[u8]]) -> Self {
        let mut body: Vec<u8> = chunks.iter().flat_map(|chunk| framed(chunk)).collect();
        body.extend_from_slice(b"0\r\n\r\n");
        Self { head: head(status, JSON, "Transfer-Encoding: chunked"), body, end: End::KeepAlive }
    }

    pub fn redirect(status: u16, location: &str) -> Self {
        Self::new(status, &[("Location", location)], "")
    }

    /// Exactly these bytes, head and all, then the end of the connection.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { head: String::new(), body: bytes.into(), end: End::Cut }
    }

    /// No byte ever.
    pub fn silence() -> Self {
        Self { head: String::new(), body: Vec::new(), end: End::Silence }
    }

    /// A head, then `piece` as a chunk again and again, for ever.
    pub fn drip(piece: &[u8], every: Duration) -> Self {
        Self { head: head(200, JSON, "Transfer-Encoding: chunked"), body: framed(piece), end: End::Drip { every } }
    }

    /// A head, then each text that the test sends as a chunk of its own: a watch. Dropping the sender ends the answer.
    pub fn feed(pieces: Receiver<Vec<u8>>) -> Self {
        Self { head: head(200, JSON, "Transfer-Encoding: chunked"), body: Vec::new(), end: End::Feed(pieces) }
    }

    /// Only the first `length` bytes of the body (as framed), then the end of the connection. The head still promises all.
    pub fn cut_after(mut self, length: usize) -> Self {
        self.body.truncate(length);
        self.end = End::Cut;
        self
    }

    /// Only the first `length` bytes of the body (as framed), then nothing more, over an open connection.
    pub fn stall_after(mut self, length: usize) -> Self {
        self.body.truncate(length);
        self.end = End::Silence;
        self
    }
}

const JSON: &[(&str, &str)] = &[("Content-Type", "application/json")];

fn head(status: u16, headers: &[(&str, &str)], framing: &str) -> String {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("HTTP/1.1 {status} Scripted\r\n{headers}{framing}\r\n\r\n")
}

fn free_listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}

fn framed(chunk: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat()
}

type Script = dyn Fn(&Request) -> Answer + Send + Sync;

/// The server. It stops when dropped: its connections are closed and its threads end.
pub struct FakeApiServer {
    address: SocketAddr,
    tls: bool,
    shared: Arc<Shared>,
}

struct Shared {
    script: Box<Script>,
    tls: Option<Arc<rustls::ServerConfig>>,
    requests: Mutex<Vec<Request>>,
    arrived: Condvar,
    connections: AtomicUsize,
    open: Mutex<Vec<TcpStream>>,
    stopped: AtomicBool,
}

impl FakeApiServer {
    /// Starts a server that speaks plain HTTP.
    pub fn start(script: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_with(free_listener(), None, Box::new(script))
    }

    /// The same at an address where a server was before, or where one was expected in vain.
    pub fn start_at(address: SocketAddr, script: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = super::wait_for("the address is free", Duration::from_secs(10), || {
            TcpListener::bind(address).map_err(|error| error.to_string())
        });
        Self::start_with(listener, None, Box::new(script))
    }

    /// Starts a server that speaks TLS as this identity.
    pub fn start_tls(
        identity: &certificates::Identity,
        script: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(free_listener(), Some(certificates::server_config(identity)), Box::new(script))
    }

    /// The same at `[::1]`, where the machine has it.
    pub fn start_tls_v6(
        identity: &certificates::Identity,
        script: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap_or_else(|_| free_listener());
        Self::start_with(listener, Some(certificates::server_config(identity)), Box::new(script))
    }

    fn start_with(listener: TcpListener, tls: Option<Arc<rustls::ServerConfig>>, script: Box<Script>) -> Self {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script,
            tls,
            requests: Mutex::default(),
            arrived: Condvar::new(),
            connections: AtomicUsize::new(0),
            open: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let serving = Arc::clone(&accepting);
                std::thread::spawn(move || serving.serve(stream).ok());
            }
        });
        Self { address, tls: shared.tls.is_some(), shared }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`, or `https`.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.address)
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// How many connections were accepted so far, also those whose TLS handshake failed.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Waits until there have been `count` requests; returns all that came. Panics after `limit`.
    pub fn wait_for_requests(&self, count: usize, limit: Duration) -> Vec<Request> {
        let requests = self.shared.requests.lock().unwrap();
        let enough = |requests: &mut Vec<Request>| requests.len() < count;
        let (requests, waited) = self.shared.arrived.wait_timeout_while(requests, limit, enough).unwrap();
        assert!(!waited.timed_out(), "{} requests within {limit:?}, not {count}: {requests:?}", requests.len());
        requests.clone()
    }

    /// Closes every open connection; new ones are welcome.
    pub fn cut_connections(&self) {
        for stream in self.shared.open.lock().unwrap().drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
    }
}

impl Drop for FakeApiServer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the accept loop, which then sees that it is over.
        TcpStream::connect(self.address).ok();
        self.cut_connections();
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

impl Shared {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let connection = self.connections.fetch_add(1, Ordering::SeqCst);
        stream.set_nodelay(true)?;
        self.open.lock().unwrap().push(stream.try_clone()?);
        let closing = stream.try_clone()?;
        let stream: Box<dyn Stream> = match &self.tls {
            Some(config) => {
                let server = rustls::ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
                Box::new(rustls::StreamOwned::new(server, stream))
            }
            None => Box::new(stream),
        };
        let outcome = self.converse(connection, &mut BufReader::new(stream));
        // A copy of the socket in `open` would keep it alive.
        closing.shutdown(Shutdown::Both).ok();
        outcome
    }

    /// Answers the requests of one connection until an answer or the client ends it.
    fn converse(&self, connection: usize, stream: &mut BufReader<Box<dyn Stream>>) -> io::Result<()> {
        while !self.stopped.load(Ordering::SeqCst) {
            let (first, headers) = http::read_head(stream)?;
            let mut words = first.split(' ').map(str::to_owned);
            let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let mut body = Vec::new();
            http::read_body(stream, &headers, &mut body, false)?;
            let request = {
                let mut requests = self.requests.lock().unwrap();
                let (before, at) = (requests.len(), Instant::now());
                let request = Request { method, target, headers, body, connection, before, at };
                requests.push(request.clone());
                self.arrived.notify_all();
                request
            };
            let answer = (self.script)(&request);
            if !self.send(stream.get_mut(), answer)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Sends the answer. May another request follow?
    fn send(&self, stream: &mut dyn Stream, answer: Answer) -> io::Result<bool> {
        let mut send = |bytes: &[u8]| stream.write_all(bytes).and_then(|()| stream.flush());
        send(&[answer.head.as_bytes(), &answer.body].concat())?;
        match answer.end {
            End::KeepAlive => return Ok(true),
            End::Cut => (),
            End::Silence => self.pause(Duration::MAX),
            End::Drip { every } => {
                while !self.stopped.load(Ordering::SeqCst) {
                    self.pause(every);
                    send(&answer.body)?;
                }
            }
            End::Feed(pieces) => {
                while !self.stopped.load(Ordering::SeqCst) {
                    match pieces.recv_timeout(Duration::from_millis(20)) {
                        Ok(piece) => send(&framed(&piece))?,
                        Err(RecvTimeoutError::Timeout) => (),
                        Err(RecvTimeoutError::Disconnected) => {
                            send(b"0\r\n\r\n")?;
                            return Ok(true);
                        }
                    }
                }
            }
        }
        Ok(false)
    }

    /// Sleeps, but not past the server's end.
    fn pause(&self, length: Duration) {
        let start = Instant::now();
        while !self.stopped.load(Ordering::SeqCst) && start.elapsed() < length {
            std::thread::sleep(length.saturating_sub(start.elapsed()).min(Duration::from_millis(20)));
        }
    }
}
