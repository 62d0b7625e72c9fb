//! `/metrics`: the exposition on its way to a scraper, plain or gzipped, never held as a whole.

use super::Shown;
use super::gzip;
use crate::metrics::{CONTENT_TYPE, encode};
use crate::snapshot::Snapshot;
use crate::time::UnixSeconds;
use std::io::{self, Write};
use std::sync::Arc;
use tiny_http::{HTTPVersion, Method, Request};

/// Streams the answer. tiny_http would hold a body of unknown length for HTTP/1.0, and write it in small pieces: so this
/// writes the head itself (RFC 9112, section 7.1, chunked transfer coding; for HTTP/1.0 the end of the connection is the
/// end of the body).
pub(super) fn respond(request: Request, snapshot: &Arc<Snapshot>, shown: &Shown) -> io::Result<()> {
    let accepts = request.headers().iter().filter(|header| header.field.equiv("Accept-Encoding"));
    let zipped = accepts.map(|header| header.value.as_str()).any(accepts_gzip);
    let chunked = *request.http_version() >= HTTPVersion(1, 1);
    let is_head = *request.method() == Method::Head;

    let mut head = format!("HTTP/1.1 200 OK\r\nContent-Type: {CONTENT_TYPE}\r\nVary: Accept-Encoding\r\n");
    if zipped {
        head.push_str("Content-Encoding: gzip\r\n");
    }
    head.push_str(if chunked { "Transfer-Encoding: chunked\r\n\r\n" } else { "Connection: close\r\n\r\n" });

    let mut out = request.into_writer();
    out.write_all(head.as_bytes())?;
    if is_head {
        return out.flush();
    }
    let mut body = Body { out: &mut *out, chunked };
    let now = UnixSeconds::now();
    if zipped {
        gzip::write_gzip(snapshot, &shown.own, now, &shown.lasting, &mut body)?;
    } else {
        encode(snapshot, &shown.own, now, &mut body)?;
    }
    body.end()
}

/// The body, every write of it one chunk.
struct Body<'a> {
    out: &'a mut (dyn Write + Send),
    chunked: bool,
}

impl Body<'_> {
    fn end(self) -> io::Result<()> {
        if self.chunked {
            self.out.write_all(b"0\r\n\r\n")?;
        }
        self.out.flush()
    }
}

impl Write for Body<'_> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        // A chunk of no bytes would be the last one.
        if self.chunked && !piece.is_empty() {
            write!(self.out, "{:x}\r\n", piece.len())?;
            self.out.write_all(piece)?;
            self.out.write_all(b"\r\n")?;
        } else {
            self.out.write_all(piece)?;
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Whether an `Accept-Encoding` field lets us send gzip (RFC 9110, section 12.5.3).
fn accepts_gzip(field: &str) -> bool {
    let mut by_star = false;
    for coding in field.split(',') {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let refused = parts.any(|parameter| {
            let weight = parameter.strip_prefix(['q', 'Q']).and_then(|rest| rest.trim_start().strip_prefix('='));
            weight.and_then(|weight| weight.trim().parse::<f32>().ok()) == Some(0.0)
        });
        if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
            return !refused;
        }
        by_star |= name == "*" && !refused;
    }
    by_star
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        for yes in ["gzip", "deflate, gzip;q=1.0, *;q=0.5", "GZIP", "*", "identity;q=0, x-gzip ; q=0.1"] {
            assert!(accepts_gzip(yes), "{yes}");
        }
        for no in ["", "identity", "gzip;q=0", "*, gzip; q=0.0", "*;q=0", "br", "gzipped"] {
            assert!(!accepts_gzip(no), "{no}");
        }
    }

    #[test]
    fn chunks_are_framed_and_ended() {
        let mut sent = Vec::new();
        let mut body = Body { out: &mut sent, chunked: true };
        body.write_all(b"hello").unwrap();
        let _ = body.write(b"").unwrap();
        body.write_all(&[b'x'; 17]).unwrap();
        body.end().unwrap();
        assert_eq!(sent, b"5\r\nhello\r\n11\r\nxxxxxxxxxxxxxxxxx\r\n0\r\n\r\n");
    }
}
