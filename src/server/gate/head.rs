//! What a request may look like (RFC 9112): GET or HEAD, a path, no body. Everything else gets its answer here.

use super::{MOST_FIELDS, MOST_HEAD_BYTES, MOST_LINE_BYTES};

/// A request that may pass, with what is handed on of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Admitted {
    /// `HEAD`; otherwise `GET`.
    pub(super) is_head: bool,
    /// Path and query, visible ASCII only.
    pub(super) target: String,
    /// The values of `Accept-Encoding`, joined.
    pub(super) accept_encoding: String,
    /// HTTP/1.0: no chunks may be sent.
    pub(super) is_1_0: bool,
}

/// Why a request does not pass. Each is a status code and one sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    BadRequest,
    HasBody,
    MethodNotAllowed,
    Timeout,
    LineTooLong,
    HeadTooLarge,
    Busy,
    /// Not the request's fault.
    Defect,
}

impl Refusal {
    fn status(self) -> (&'static str, &'static str) {
        match self {
            Self::BadRequest => ("400 Bad Request", "this is no request that HTTP/1 knows"),
            Self::HasBody => ("400 Bad Request", "a request with a body is not answered here"),
            Self::MethodNotAllowed => ("405 Method Not Allowed", "only GET and HEAD are answered here"),
            Self::Timeout => ("408 Request Timeout", "the request did not come to its end in time"),
            Self::LineTooLong => ("414 URI Too Long", "the request line is too long"),
            Self::HeadTooLarge => ("431 Request Header Fields Too Large", "there are too many header fields"),
            Self::Busy => ("503 Service Unavailable", "too many requests at once; try again in a moment"),
            Self::Defect => ("500 Internal Server Error", "a defect of this program: its log says more"),
        }
    }

    /// The whole answer.
    pub(super) fn answer(self) -> String {
        let (status, sentence) = self.status();
        let allow = if self == Self::MethodNotAllowed { "Allow: GET, HEAD\r\n" } else { "" };
        let retry = if self == Self::Busy { "Retry-After: 1\r\n" } else { "" };
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n{allow}{retry}\
             Connection: close\r\n\r\n{sentence}\n",
            sentence.len() + 1
        )
    }
}

/// What can be said of the bytes that have come so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The head has not come to its end.
    Unfinished,
    /// It has, or can no longer become one that passes.
    Decided(Result<Admitted, Refusal>),
}

/// Looks at all bytes of a connection so far. Bounded by the limits: bytes beyond them are never asked for.
pub(super) fn look(bytes: &[u8]) -> Progress {
    let is_full = bytes.len() >= MOST_HEAD_BYTES;
    // Line breaks before the request line are passed over (RFC 9112, section 2.2), and count.
    let skipped = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let bytes = bytes.get(skipped..).unwrap_or_default();
    // Text only: a TLS hello, NUL bytes and other noise end here, at the first byte.
    if bytes.iter().any(|byte| matches!(byte, 0..=8 | 11..=12 | 14..=31 | 127)) {
        return Progress::Decided(Err(Refusal::BadRequest));
    }
    let line_end = memchr::memchr(b'\n', bytes);
    if line_end.unwrap_or(bytes.len()) > MOST_LINE_BYTES {
        return Progress::Decided(Err(Refusal::LineTooLong));
    }
    let Some(head) = whole_head(bytes) else {
        let lines = memchr::memchr_iter(b'\n', bytes).count();
        return if is_full || lines > MOST_FIELDS + 1 {
            Progress::Decided(Err(Refusal::HeadTooLarge))
        } else {
            Progress::Unfinished
        };
    };
    Progress::Decided(read(head))
}

/// Up to the empty line; a line may end without a carriage return (RFC 9112, section 2.2).
fn whole_head(bytes: &[u8]) -> Option<&[u8]> {
    let mut from = 0;
    loop {
        let end = from + memchr::memchr(b'\n', bytes.get(from..)?)?;
        let line = bytes.get(from..end)?;
        if from > 0 && (line.is_empty() || line == b"\r") {
            return bytes.get(..from);
        }
        from = end + 1;
    }
}

fn read(head: &[u8]) -> Result<Admitted, Refusal> {
    let text = std::str::from_utf8(head).map_err(|_| Refusal::BadRequest)?;
    let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Refusal::BadRequest);
    };
    let is_1_0 = match version {
        "HTTP/1.1" => false,
        "HTTP/1.0" => true,
        _ => return Err(Refusal::BadRequest),
    };
    if method.is_empty() || !method.bytes().all(is_token) {
        return Err(Refusal::BadRequest);
    }
    let is_head = match method {
        "GET" => false,
        "HEAD" => true,
        _ => return Err(Refusal::MethodNotAllowed),
    };
    let target = path_of(target).ok_or(Refusal::BadRequest)?;
    let mut accept_encoding = String::new();
    for (number, line) in lines.filter(|line| !line.is_empty()).enumerate() {
        if number >= MOST_FIELDS {
            return Err(Refusal::HeadTooLarge);
        }
        let (name, value) = line.split_once(':').ok_or(Refusal::BadRequest)?;
        // White space before the colon, and folded lines, are how requests are smuggled (RFC 9112, section 5).
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(Refusal::BadRequest);
        }
        let value = value.trim_matches([' ', '\t']);
        if name.eq_ignore_ascii_case("content-length") {
            if value != "0" {
                return Err(Refusal::HasBody);
            }
        } else if name.eq_ignore_ascii_case("transfer-encoding") || name.eq_ignore_ascii_case("expect") {
            return Err(Refusal::HasBody);
        } else if name.eq_ignore_ascii_case("accept-encoding") && value.bytes().all(|byte| (32..127).contains(&byte)) {
            if !accept_encoding.is_empty() {
                accept_encoding.push_str(", ");
            }
            accept_encoding.push_str(value);
        }
    }
    Ok(Admitted { is_head, target, accept_encoding, is_1_0 })
}

/// The path and query of a request target in origin form or absolute form (RFC 9112, section 3.2).
fn path_of(target: &str) -> Option<String> {
    if !target.bytes().all(|byte| (33..127).contains(&byte)) {
        return None;
    }
    if target.starts_with('/') {
        return Some(target.to_owned());
    }
    let rest = target.strip_prefix("http://").or_else(|| target.strip_prefix("https://"))?;
    Some(rest.find('/').and_then(|slash| rest.get(slash..)).unwrap_or("/").to_owned())
}

/// RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

impl Admitted {
    /// The clean request that tiny_http gets.
    pub(super) fn request(&self, ticket_name: &str, ticket: &str) -> String {
        let method = if self.is_head { "HEAD" } else { "GET" };
        let accept = if self.accept_encoding.is_empty() {
            String::new()
        } else {
            format!("Accept-Encoding: {}\r\n", self.accept_encoding)
        };
        format!("{method} {} HTTP/1.1\r\nHost: gate\r\n{ticket_name}: {ticket}\r\n{accept}\r\n", self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decided(text: &str) -> Result<Admitted, Refusal> {
        match look(text.as_bytes()) {
            Progress::Decided(decision) => decision,
            Progress::Unfinished => panic!("unfinished: {text:?}"),
        }
    }

    #[test]
    fn what_scrapers_and_people_send_passes() {
        let prometheus = "GET /metrics HTTP/1.1\r\nHost: x:8080\r\nUser-Agent: Prometheus/3\r\nAccept: text/plain;q=0.5\r\n\
            Accept-Encoding: gzip\r\nX-Prometheus-Scrape-Timeout-Seconds: 10\r\n\r\n";
        let admitted =
            Admitted { is_head: false, target: "/metrics".into(), accept_encoding: "gzip".into(), is_1_0: false };
        assert_eq!(decided(prometheus), Ok(admitted));
        for (text, target) in [
            ("HEAD / HTTP/1.0\n\n", "/"),
            ("\r\nGET /a?b=c HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "/a?b=c"),
            ("GET http://x:1/metrics?y HTTP/1.1\r\n\r\n", "/metrics?y"),
            ("GET http://x HTTP/1.1\r\n\r\n", "/"),
            ("GET / HTTP/1.1\r\nX: \u{e9}\r\n\r\nGET /next", "/"),
        ] {
            assert_eq!(decided(text).map(|admitted| admitted.target), Ok(target.into()), "{text:?}");
        }
    }

    #[test]
    fn what_does_not_pass_is_told_why() {
        use Refusal::{BadRequest, HasBody, HeadTooLarge, LineTooLong, MethodNotAllowed};
        let long_line = format!("GET /{}", "a".repeat(MOST_LINE_BYTES));
        let many = format!("GET / HTTP/1.1\r\n{}", "A: b\r\n".repeat(MOST_FIELDS + 2));
        let many_whole = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(MOST_FIELDS + 1));
        let large = format!("GET / HTTP/1.1\r\nA: {}", "b".repeat(MOST_HEAD_BYTES));
        let breaks = "\r\n".repeat(MOST_HEAD_BYTES / 2);
        for (text, refusal) in [
            ("\u{16}\u{3}\u{1}\u{2}", BadRequest),
            ("GET /\0", BadRequest),
            ("PRI * HTTP/2.0\r\n\r\n", BadRequest),
            ("GET / HTTP/2.0\r\n\r\n", BadRequest),
            ("GET /\r\n\r\n", BadRequest),
            ("GET  / HTTP/1.1\r\n\r\n", BadRequest),
            ("GET * HTTP/1.1\r\n\r\n", BadRequest),
            ("GET /\u{e9} HTTP/1.1\r\n\r\n", BadRequest),
            ("GET / HTTP/1.1\r\nA : b\r\n\r\n", BadRequest),
            ("GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", BadRequest),
            ("GET / HTTP/1.1\r\nno colon\r\n\r\n", BadRequest),
            ("POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", MethodNotAllowed),
            ("get / HTTP/1.1\r\n\r\n", MethodNotAllowed),
            ("GET / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", HasBody),
            ("GET / HTTP/1.1\r\ncontent-length: 18446744073709551615\r\n\r\n", HasBody),
            ("GET / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n", HasBody),
            ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", HasBody),
            ("GET / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n", HasBody),
            (&long_line, LineTooLong),
            (&many, HeadTooLarge),
            (&many_whole, HeadTooLarge),
            (&large, HeadTooLarge),
            (&breaks, HeadTooLarge),
        ] {
            assert_eq!(decided(text), Err(refusal), "{text:?}");
        }
    }

    #[test]
    fn a_refusal_is_a_whole_answer() {
        let answer = Refusal::MethodNotAllowed.answer();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("HTTP/1.1 405 ")
                && head.contains("\r\nAllow: GET, HEAD\r\n")
                && head.ends_with("Connection: close")
        );
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
    }

    #[test]
    fn nothing_of_the_client_but_target_and_encoding_is_handed_on() {
        let admitted =
            decided("GET /m HTTP/1.0\r\nX-Gate: forged\r\nAccept-Encoding: gzip\r\nAccept-Encoding: br\r\n\r\n");
        assert_eq!(
            admitted.unwrap().request("X-Gate", "key"),
            "GET /m HTTP/1.1\r\nHost: gate\r\nX-Gate: key\r\nAccept-Encoding: gzip, br\r\n\r\n"
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_every_prefix_is_unfinished_or_refused(
            bytes in proptest::collection::vec(any::<u8>(), 0..300), text in "GET /[a-z]{0,9} HTTP/1[.]1\r\n([A-Z]: [a-z]\r\n){0,4}\r\n",
        ) {
            let _ = look(&bytes);
            for end in 0..text.len() {
                prop_assert_eq!(look(&text.as_bytes()[..end]), Progress::Unfinished);
            }
            prop_assert!(decided(&text).is_ok());
        }
    }
}
