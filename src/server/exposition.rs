//! `/metrics`: the exposition on its way to a scraper, plain or gzipped, never held as a whole.

use super::Shown;
use super::gzip;
use crate::metrics::{CONTENT_TYPE, encode};
use crate::snapshot::Snapshot;
use crate::time::UnixSeconds;
use std::io::{self, Write};
use std::sync::Arc;
use tiny_http::{Method, Request};

/// Streams the answer. tiny_http would write it in small pieces, so this writes the head and the chunks itself (RFC 9112,
/// section 7.1); the gate speaks HTTP/1.1 and takes the chunks away for a client that does not.
pub(super) fn respond(request: Request, snapshot: &Arc<Snapshot>, shown: &Shown) -> io::Result<()> {
    let accepts = request.headers().iter().filter(|header| header.field.equiv("Accept-Encoding"));
    let zipped = accepts.map(|header| header.value.as_str()).any(accepts_gzip);
    let is_head = *request.method() == Method::Head;
    let coding = if zipped { "Content-Encoding: gzip\r\n" } else { "" };

    let mut out = request.into_writer();
    write!(
        out,
        "HTTP/1.1 200 OK\r\nContent-Type: {CONTENT_TYPE}\r\nVary: Accept-Encoding\r\n{coding}\
         Transfer-Encoding: chunked\r\n\r\n"
    )?;
    if is_head {
        return out.flush();
    }
    let mut body = Chunked(&mut *out);
    let now = UnixSeconds::now();
    if zipped {
        gzip::write_gzip(snapshot, &shown.own, now, &shown.lasting, &mut body)?;
    } else {
        encode(snapshot, &shown.own, now, &mut body)?;
    }
    body.end()
}

/// A body, every write of it one chunk.
struct Chunked<'a>(&'a mut (dyn Write + Send));

impl Chunked<'_> {
    fn end(self) -> io::Result<()> {
        self.0.write_all(b"0\r\n\r\n")?;
        self.0.flush()
    }
}

impl Write for Chunked<'_> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        // A chunk of no bytes would be the last one.
        if !piece.is_empty() {
            write!(self.0, "{:x}\r\n", piece.len())?;
            self.0.write_all(piece)?;
            self.0.write_all(b"\r\n")?;
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
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
        let mut body = Chunked(&mut sent);
        body.write_all(b"hello").unwrap();
        let _ = body.write(b"").unwrap();
        body.write_all(&[b'x'; 17]).unwrap();
        body.end().unwrap();
        assert_eq!(sent, b"5\r\nhello\r\n11\r\nxxxxxxxxxxxxxxxxx\r\n0\r\n\r\n");
    }
}
