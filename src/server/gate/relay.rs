//! tiny_http's answer, read to its end and no further, and handed on piece by piece.

use std::io::{self, Read};

/// One read of the private connection. Larger pieces made plain scrapes faster, up to about this.
const PIECE: usize = 64 * 1024;

/// A longer head is none of ours.
const MOST_HEAD: usize = 8 * 1024;

/// How the body's end is told (RFC 9112, section 6.3).
enum Framing {
    Length(u64),
    Chunked,
    None,
}

/// Hands the answer that `from` holds to `to`, with `Connection: close` in its head, for HTTP/1.0 without chunks. If `to` fails,
/// the rest of the answer is read all the same, so that the connection can carry the next one; then the value is that error.
///
/// # Errors
/// `from` did not bring a whole answer: it cannot be used any more.
pub(super) fn relay(
    from: &mut impl Read,
    is_head: bool,
    without_chunks: bool,
    to: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<io::Result<()>> {
    let mut buffer = vec![0; PIECE];
    let mut filled = 0;
    let head_end = loop {
        if let Some(at) = memchr::memmem::find(buffer.get(..filled).unwrap_or_default(), b"\r\n\r\n") {
            break at + 4;
        }
        if filled >= MOST_HEAD {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no head of an answer"));
        }
        filled += read_some(from, buffer.get_mut(filled..).unwrap_or_default())?;
    };
    let (head, framing) = rewrite(buffer.get(..head_end).unwrap_or_default(), is_head, without_chunks)?;
    let mut out = Out { to, outcome: Ok(()) };
    out.send(head.as_bytes());

    let mut first = head_end..filled;
    let mut next = |buffer: &mut [u8]| -> io::Result<std::ops::Range<usize>> {
        if first.is_empty() { Ok(0..read_some(from, buffer)?) } else { Ok(std::mem::take(&mut first)) }
    };
    match framing {
        Framing::None => {}
        Framing::Length(mut left) => {
            while left > 0 {
                let piece = next(&mut buffer)?;
                let bytes = buffer.get(piece).unwrap_or_default();
                left = left.checked_sub(bytes.len() as u64).ok_or_else(too_much)?;
                out.send(bytes);
            }
        }
        Framing::Chunked => {
            let mut chunks = Chunks::default();
            while !chunks.ended() {
                let piece = next(&mut buffer)?;
                let bytes = buffer.get(piece).unwrap_or_default();
                if without_chunks {
                    chunks.walk(bytes, &mut |payload| out.send(payload))?;
                } else {
                    chunks.walk(bytes, &mut |_| ())?;
                    out.send(bytes);
                }
            }
        }
    }
    Ok(out.outcome)
}

fn too_much() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "more came than was announced")
}

fn read_some(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// The head for the client, and how the body is framed.
fn rewrite(head: &[u8], is_head: bool, without_chunks: bool) -> io::Result<(String, Framing)> {
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "the head of an answer is malformed");
    let text = std::str::from_utf8(head).map_err(|_| bad())?;
    let mut framing = Framing::None;
    let mut rewritten = String::with_capacity(text.len() + 32);
    for line in text.trim_end_matches("\r\n").split("\r\n") {
        if let Some((name, value)) = line.split_once(':') {
            if name.eq_ignore_ascii_case("content-length") {
                framing = Framing::Length(value.trim().parse().map_err(|_| bad())?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                framing = Framing::Chunked;
                if without_chunks {
                    continue;
                }
            } else if name.eq_ignore_ascii_case("server") || name.eq_ignore_ascii_case("connection") {
                continue;
            }
        }
        rewritten.push_str(line);
        rewritten.push_str("\r\n");
    }
    rewritten.push_str("Connection: close\r\n\r\n");
    Ok((rewritten, if is_head { Framing::None } else { framing }))
}

/// The client's side. After its first failure nothing more is sent.
struct Out<'a> {
    to: &'a mut dyn FnMut(&[u8]) -> io::Result<()>,
    outcome: io::Result<()>,
}

impl Out<'_> {
    fn send(&mut self, bytes: &[u8]) {
        if self.outcome.is_ok() && !bytes.is_empty() {
            self.outcome = (self.to)(bytes);
        }
    }
}

/// Where a chunked body stands (RFC 9112, section 7.1). Trailers are not used here.
#[derive(Default)]
struct Chunks {
    state: ChunkState,
    size: u64,
}

#[derive(Default, PartialEq, Eq)]
enum ChunkState {
    #[default]
    Size,
    Payload,
    /// The line break behind the payload, or behind the last size: so many bytes of it.
    Break(u8),
    LastBreak(u8),
    End,
}

impl Chunks {
    fn ended(&self) -> bool {
        self.state == ChunkState::End
    }

    fn walk(&mut self, mut bytes: &[u8], payload: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let bad = || io::Error::new(io::ErrorKind::InvalidData, "a chunk is malformed");
        while let Some((&byte, rest)) = bytes.split_first() {
            match self.state {
                ChunkState::Payload => {
                    let length = usize::try_from(self.size).unwrap_or(usize::MAX).min(bytes.len());
                    let (now, later) = bytes.split_at(length);
                    payload(now);
                    self.size -= length as u64;
                    bytes = later;
                    if self.size == 0 {
                        self.state = ChunkState::Break(2);
                    }
                    continue;
                }
                ChunkState::Size => match byte {
                    b'\n' if self.size == 0 => self.state = ChunkState::LastBreak(2),
                    b'\n' => self.state = ChunkState::Payload,
                    b'\r' => {}
                    _ => {
                        let digit = char::from(byte).to_digit(16).ok_or_else(bad)?;
                        let size = self.size.checked_mul(16).ok_or_else(bad)?;
                        self.size = size + u64::from(digit);
                    }
                },
                ChunkState::Break(left) => {
                    self.state = if left == 1 { ChunkState::Size } else { ChunkState::Break(left - 1) };
                }
                ChunkState::LastBreak(left) => {
                    self.state = if left == 1 { ChunkState::End } else { ChunkState::LastBreak(left - 1) };
                }
                ChunkState::End => return Err(too_much()),
            }
            bytes = rest;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Hands out `step` bytes at a time.
    struct Drip<'a>(&'a [u8], usize);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(buffer.len()).min(self.0.len());
            let (now, later) = self.0.split_at(length);
            buffer[..length].copy_from_slice(now);
            self.0 = later;
            Ok(length)
        }
    }

    fn relayed(answer: &str, step: usize, is_head: bool, without_chunks: bool) -> (String, usize) {
        let mut from = Drip(answer.as_bytes(), step);
        let mut sent = Vec::new();
        let take = &mut |bytes: &[u8]| {
            sent.extend_from_slice(bytes);
            Ok(())
        };
        relay(&mut from, is_head, without_chunks, take).unwrap().unwrap();
        (String::from_utf8(sent).unwrap(), from.0.len())
    }

    #[test]
    fn an_answer_is_read_to_its_end_in_pieces_of_every_size() {
        let length = "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 5\r\n\r\nhello";
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1a\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n";
        for step in 1..chunked.len() {
            let (sent, left) = relayed(length, step, false, false);
            assert_eq!(sent, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
            assert_eq!(left, 0);
            let (sent, _) = relayed(chunked, step, false, false);
            let (head, body) = chunked.split_once("\r\n\r\n").unwrap();
            assert_eq!(sent, format!("{head}\r\nConnection: close\r\n\r\n{body}"));
            let (sent, _) = relayed(chunked, step, false, true);
            assert_eq!(sent, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhelloabcdefghijklmnopqrstuvwxyz");
        }
        assert_eq!(relayed("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", 3, true, false).1, 0);
    }

    #[test]
    fn a_client_that_fails_costs_the_rest_of_its_answer_only() {
        let mut from = Drip(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 2);
        let outcome = relay(&mut from, false, false, &mut |_| Err(io::ErrorKind::BrokenPipe.into())).unwrap();
        assert!(outcome.is_err() && from.0.is_empty());
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for answer in [
            "",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nmore",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        ] {
            let outcome = relay(&mut Drip(answer.as_bytes(), 1000), false, false, &mut |_| Ok(()));
            assert!(outcome.is_err(), "{answer:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let answer = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".as_slice(), &bytes].concat();
            let _ = relay(&mut Drip(&answer, 50), false, true, &mut |_| Ok(()));
        }
    }
}
