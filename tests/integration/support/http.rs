//! A small HTTP/1.1 client, plain or over TLS, with keep-alive: enough for the servers that the tests talk to. It follows
//! nothing, repairs nothing and forgives nothing.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// How long one read or write may take before the client gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A complete answer.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    /// In the order of arrival, names as sent.
    pub headers: Vec<(String, String)>,
    /// As sent, without the chunked framing: perhaps gzip.
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header, by its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find_header(&self.headers, name)
    }

    /// The body as text, unpacked if it came as gzip.
    pub fn text(&self) -> String {
        let body = match self.header("Content-Encoding") {
            Some("gzip") => gunzip(&self.body),
            _ => self.body.clone(),
        };
        String::from_utf8(body).expect("a body in UTF-8")
    }

    /// The body as JSON, `Null` if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Unpacks exactly one gzip member that must be the whole input.
pub fn gunzip(packed: &[u8]) -> Vec<u8> {
    let mut decoder = flate2::bufread::GzDecoder::new(packed);
    let mut plain = Vec::new();
    decoder.read_to_end(&mut plain).expect("a gzip member");
    assert!(decoder.into_inner().is_empty(), "bytes after the end of the gzip member");
    plain
}

/// Packs `plain` as one gzip member.
pub fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn find_header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// One connection, to be used again and again.
pub struct Connection {
    stream: BufReader<Box<dyn Stream>>,
    host: String,
}

impl Connection {
    /// Connects without TLS.
    pub fn plain(address: SocketAddr) -> io::Result<Self> {
        let stream = connect(address)?;
        Ok(Self { stream: BufReader::new(Box::new(stream)), host: address.to_string() })
    }

    /// Connects with TLS and expects a certificate for `server_name`.
    pub fn tls(address: SocketAddr, server_name: &str, config: &Arc<rustls::ClientConfig>) -> io::Result<Self> {
        let name = server_name.to_owned().try_into().map_err(io::Error::other)?;
        let client = rustls::ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        let stream = rustls::StreamOwned::new(client, connect(address)?);
        Ok(Self { stream: BufReader::new(Box::new(stream)), host: address.to_string() })
    }

    /// Sends a request and reads the whole answer.
    pub fn send(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Response> {
        let mut request = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n", self.host);
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            request += &format!("Content-Length: {}\r\n", body.len());
        }
        request += "\r\n";
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body);
        self.send_raw(&bytes)?;
        self.receive(method == "HEAD")
    }

    /// Sends bytes as they are, for requests that no client would send.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)?;
        self.stream.get_mut().flush()
    }

    /// Reads one answer; `no_body` for the answer to a HEAD request.
    pub fn receive(&mut self, no_body: bool) -> io::Result<Response> {
        let (status_line, headers) = read_head(&mut self.stream)?;
        let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status line: {status_line:?}")))?;
        let mut body = Vec::new();
        if !no_body && status >= 200 && status != 204 && status != 304 {
            read_body(&mut self.stream, &headers, &mut body, true)?;
        }
        Ok(Response { status, headers, body })
    }
}

/// One GET over a connection of its own, without TLS.
pub fn get(address: SocketAddr, target: &str) -> io::Result<Response> {
    Connection::plain(address)?.send("GET", target, &[("Connection", "close")], b"")
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Reads a first line and the headers after it, of a request or an answer.
pub(super) fn read_head(from: &mut impl BufRead) -> io::Result<(String, Vec<(String, String)>)> {
    let first = read_line(from)?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(from)?;
        if line.is_empty() {
            return Ok((first, headers));
        }
        let (name, value) = line.split_once(':').ok_or_else(|| io::Error::other(format!("no header: {line:?}")))?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

fn read_line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 || !line.ends_with('\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Reads a body into `body` as its headers frame it. `or_to_the_end`: without framing it lasts until the connection's end.
pub(super) fn read_body(
    from: &mut impl BufRead,
    headers: &[(String, String)],
    body: &mut Vec<u8>,
    or_to_the_end: bool,
) -> io::Result<()> {
    if find_header(headers, "Transfer-Encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        loop {
            let line = read_line(from)?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let length = u64::from_str_radix(size, 16).map_err(|_| io::Error::other(format!("no chunk: {line:?}")))?;
            read_exactly(from, length, body)?;
            let end = read_line(from)?;
            if !end.is_empty() {
                return Err(io::Error::other(format!("no end of chunk: {end:?}")));
            }
            if length == 0 {
                return Ok(());
            }
        }
    }
    match find_header(headers, "Content-Length") {
        Some(length) => read_exactly(from, length.parse().map_err(io::Error::other)?, body),
        None if or_to_the_end => from.read_to_end(body).map(drop),
        None => Ok(()),
    }
}

fn read_exactly(from: &mut impl BufRead, length: u64, into: &mut Vec<u8>) -> io::Result<()> {
    let read = from.take(length).read_to_end(into)? as u64;
    if read == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
