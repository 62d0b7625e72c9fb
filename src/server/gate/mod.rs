//! The public listener. Nothing reaches tiny_http that the gate has not read, bounded and written anew.
//!
//! | file | subject |
//! | --- | --- |
//! | `waiting` | one thread that accepts, and reads the heads of all requests at once, without waiting for any |
//! | `head` | what a request may look like, and the answers to those that may not pass |
//! | `responder` | a few threads, each of which sees to one admitted request at a time |
//! | `private` | the connections to tiny_http that nobody else can have; tiny_http finds out which answer is wanted |
//! | `reply` | the answer, on the client's own connection |
//!
//! Every bound is one of the constants below. One connection carries one request, and is closed.

mod head;
mod private;
mod reply;
mod responder;
mod waiting;

pub(super) use reply::Reply;

use std::io;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

/// A request line longer than this is answered with 414, a head with 431.
const MOST_LINE_BYTES: usize = 8 * 1024;
/// See [`MOST_LINE_BYTES`].
const MOST_HEAD_BYTES: usize = 16 * 1024;
/// More header fields than this are answered with 431.
const MOST_FIELDS: usize = 100;
/// A head has to be here by then, or is answered with 408.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// Connections whose request is not finished. One more, and the oldest goes.
const MOST_WAITING: usize = 256;
/// Requests that are read and wait for a responder. One more is answered with 503.
const MOST_QUEUED: usize = 64;
/// Answers on their way at the same time, so that ten slow clients are all served and a scrape beside them. Each costs two threads here,
/// one in tiny_http, and three descriptors: 50 KB.
const RESPONDERS: usize = 12;
/// So many of them where the process may not have [`FEW_DESCRIPTORS`].
const FEW_RESPONDERS: usize = 6;
/// See [`FEW_RESPONDERS`].
const FEW_DESCRIPTORS: i32 = 64;
/// A client that keeps us waiting for so long with a piece of its answer may be cut off, if others wait and no responder is free: as
/// many as wait, the slowest first. One that reads slowly and steadily is spared as long as that can be; but a probe has a second,
/// and if it fails, nobody gets anything.
const STALLED: Duration = Duration::from_millis(250);
/// A client that leaves no room for a byte for so long is cut off in any case.
const MOST_SILENCE: Duration = Duration::from_secs(30);
/// No answer takes longer than this.
const MOST_ANSWER_TIME: Duration = Duration::from_secs(300);
/// What a client still sends while it is told that its request does not pass is read for so long, so that it reads the answer.
const LINGER: Duration = Duration::from_secs(2);
/// And so much of it.
const MOST_LINGER_BYTES: usize = 8 * 1024 * 1024;

/// Starts the gate's threads. `answer` is called by tiny_http's side, from several threads, for each request that passed. If it
/// panics, or does not send a whole answer, the client is told or its connection is reset.
/// `on_end` is told why if the gate can no longer do its work.
pub(super) fn start(
    listener: TcpListener,
    answer: impl Fn(&tiny_http::Request, &mut Reply) + Send + Sync + 'static,
    on_end: impl Fn(String) + Send + Sync + 'static,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let (jobs, responders) = responder::start(private::Private::new(answer))?;
    let body = move || {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            waiting::Waiting::new(listener, jobs, responders).run()
        }));
        on_end(match outcome {
            Ok(Err(error)) => format!("connections can no longer be accepted: {error}"),
            Ok(Ok(())) => "connections are no longer accepted".to_owned(),
            Err(_) => "the gate broke down by a defect of this program".to_owned(),
        });
    };
    thread::Builder::new().name("gate".into()).spawn(body).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpStream};

    fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn serve(answer: impl Fn(&tiny_http::Request, &mut Reply) + Send + Sync + 'static) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        start(listener, answer, |reason| panic!("{reason}")).unwrap();
        address
    }

    /// What came, and whether the connection was reset behind it.
    fn exchange(address: SocketAddr, request: &str) -> (String, bool) {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let outcome = stream.read_to_end(&mut answer);
        let reset = outcome.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset);
        (String::from_utf8(answer).unwrap(), reset)
    }

    #[test]
    fn a_panic_costs_that_answer_alone() {
        let address = serve(|request, reply| match request.url() {
            "/panic" => panic!("on purpose"),
            "/silent" => {}
            "/halfway" => {
                let mut body = reply.stream(&[]).unwrap().unwrap();
                body.write_all(b"half of").unwrap();
                panic!("on purpose");
            }
            _ => reply.send(200, &[], "fine").unwrap(),
        });
        // More often than there are threads.
        for _ in 0..RESPONDERS * 2 {
            assert!(ask(address, "/panic").starts_with("HTTP/1.1 500 "));
            assert!(ask(address, "/silent").starts_with("HTTP/1.1 500 "));
            // A reset may overtake what was sent before it.
            let (answer, reset) = exchange(address, "GET /halfway HTTP/1.1\r\n\r\n");
            assert!(reset && !answer.contains("0\r\n\r\n"), "{answer}");
            assert!(exchange(address, "GET /halfway HTTP/1.0\r\n\r\n").1);
            assert!(ask(address, "/").ends_with("\r\n\r\nfine"));
        }
    }

    #[test]
    fn an_answer_is_framed_as_the_client_understands_it() {
        let address = serve(|request, reply| match request.url() {
            "/stream" => {
                if let Some(mut body) = reply.stream(&[("A", "b")]).unwrap() {
                    body.write_all(b"hello").unwrap();
                    let _ = body.write(b"").unwrap();
                    body.write_all(&[b'x'; 17]).unwrap();
                    body.end().unwrap();
                }
            }
            _ => reply.send(404, &[("A", "b")], "no\n").unwrap(),
        });
        let xs = "x".repeat(17);
        let chunks = format!("5\r\nhello\r\n11\r\n{xs}\r\n0\r\n\r\n");
        let (chunked, length) = ("Transfer-Encoding: chunked\r\n", "Content-Length: 3\r\n");
        for (request, status, framing, wanted) in [
            ("GET /stream HTTP/1.1", "200 OK", chunked, chunks.as_str()),
            ("GET /stream HTTP/1.0", "200 OK", "", &format!("hello{xs}")),
            ("HEAD /stream HTTP/1.1", "200 OK", chunked, ""),
            ("HEAD /stream HTTP/1.0", "200 OK", "", ""),
            ("GET / HTTP/1.1", "404 Not Found", length, "no\n"),
            ("GET / HTTP/1.0", "404 Not Found", length, "no\n"),
            ("HEAD / HTTP/1.1", "404 Not Found", length, ""),
        ] {
            let (answer, reset) = exchange(address, &format!("{request}\r\nA: b\r\n\r\n"));
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let (first, rest) = head.split_once("\r\n").unwrap();
            let (date, rest) = rest.split_once("\r\n").unwrap();
            assert_eq!(first, format!("HTTP/1.1 {status}"), "{request}");
            assert!(date.starts_with("Date: ") && date.ends_with(" GMT"), "{date}");
            assert_eq!(rest, format!("A: b\r\n{framing}Connection: close"), "{request}");
            assert_eq!(body, wanted, "{request}");
            assert!(!reset);
        }
    }

    #[test]
    fn a_large_answer_comes_whole_in_every_size_of_writes() {
        const SIZE: usize = 3_000_000;
        let address = serve(|request, reply| {
            let step: usize = request.url()[1..].parse().unwrap();
            let text: Vec<u8> = (0..SIZE).map(|at| b'a' + (at % 26) as u8).collect();
            let mut body = reply.stream(&[]).unwrap().unwrap();
            text.chunks(step).try_for_each(|piece| body.write_all(piece)).unwrap();
            body.end().unwrap();
        });
        for step in [1_000, 65_537, SIZE] {
            let (answer, _) = exchange(address, &format!("GET /{step} HTTP/1.0\r\n\r\n"));
            let body = answer.split_once("\r\n\r\n").unwrap().1;
            assert!(body.len() == SIZE && body.bytes().enumerate().all(|(at, byte)| byte == b'a' + (at % 26) as u8));
        }
    }

    #[test]
    fn a_client_that_does_not_read_is_left_alone_while_there_are_responders_for_others() {
        const SIZE: usize = 32 << 20;
        let address = serve(|request, reply| match request.url() {
            "/large" => {
                let mut body = reply.stream(&[]).unwrap().unwrap();
                let _ = body.write_all(&vec![b'x'; SIZE]).and_then(|()| body.end());
            }
            _ => reply.send(200, &[], "fine").unwrap(),
        });
        let mut slow = TcpStream::connect(address).unwrap();
        slow.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        slow.write_all(b"GET /large HTTP/1.0\r\n\r\n").unwrap();
        slow.read_exact(&mut [0; 1]).unwrap();
        thread::sleep(2 * STALLED);
        for _ in 0..20 {
            let mut other = TcpStream::connect(address).unwrap();
            // Until it is accepted: then the gate reads the request in the turn in which it looks whether anybody waits.
            thread::sleep(Duration::from_millis(10));
            other.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
            let mut answer = String::new();
            other.read_to_string(&mut answer).unwrap();
            assert!(answer.ends_with("fine"));
        }
        let mut answer = Vec::new();
        slow.read_to_end(&mut answer).unwrap();
        assert!(answer.len() > SIZE, "{} bytes", answer.len());
    }

    #[test]
    fn a_client_that_has_said_all_and_closed_its_side_is_answered() {
        let address = serve(|_, reply| reply.send(200, &[], "fine").unwrap());
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("\r\n\r\nfine"), "{answer}");
    }
}
