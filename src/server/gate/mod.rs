//! The public listener. Nothing reaches tiny_http that the gate has not read, bounded and written anew.
//!
//! | file | subject |
//! | --- | --- |
//! | `waiting` | one thread that accepts, and reads the heads of all requests at once, without waiting for any |
//! | `head` | what a request may look like, and the answers to those that may not pass |
//! | `responder` | a few threads, each of which answers one admitted request at a time |
//! | `relay` | tiny_http's answer on its way to the client: where it ends, and what of it passes |
//! | `private` | the connections to tiny_http that nobody else can have |
//!
//! Every bound is one of the constants below. One connection carries one request, and is closed.

mod head;
mod private;
mod relay;
mod responder;
mod waiting;

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
/// Answers on their way at the same time. Each costs a thread here, one in tiny_http, three descriptors and some 0.5 MiB.
const RESPONDERS: usize = 6;
/// While others wait, a client that has not taken a byte for so long is cut off.
const STALLED: Duration = Duration::from_millis(250);
/// A client that takes no byte for so long is cut off in any case.
const MOST_SILENCE: Duration = Duration::from_secs(30);
/// No answer takes longer than this.
const MOST_ANSWER_TIME: Duration = Duration::from_secs(300);
/// What a client still sends while it is told that its request does not pass is read for so long, so that it reads the answer.
const LINGER: Duration = Duration::from_secs(2);
/// And so much of it.
const MOST_LINGER_BYTES: usize = 8 * 1024 * 1024;

/// Starts the gate's threads. `answer` is called by tiny_http's side, from several threads, for each request that passed.
/// `on_end` is told why if the gate can no longer do its work.
pub(super) fn start(
    listener: TcpListener,
    answer: impl Fn(tiny_http::Request) + Send + Sync + 'static,
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
    use tiny_http::Response;

    fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn a_panic_and_a_broken_answer_cost_that_answer_alone() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answer = |request: tiny_http::Request| match request.url() {
            "/panic" => panic!("on purpose"),
            "/broken" => {
                let mut out = request.into_writer();
                out.write_all(b"no answer\r\nContent-Length: x\r\n\r\n").and_then(|()| out.flush()).unwrap();
            }
            _ => request.respond(Response::from_string("fine")).unwrap(),
        };
        start(listener, answer, |reason| panic!("{reason}")).unwrap();
        // More often than there are threads.
        for _ in 0..RESPONDERS * 2 {
            assert!(ask(address, "/panic").starts_with("HTTP/1.1 500 "));
            assert!(ask(address, "/broken").starts_with("HTTP/1.1 503 "));
            assert!(ask(address, "/").ends_with("\r\n\r\nfine"));
        }
    }

    #[test]
    fn a_client_that_has_said_all_and_closed_its_side_is_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        start(listener, |request| request.respond(Response::from_string("fine")).unwrap(), |_| ()).unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("\r\n\r\nfine"), "{answer}");
    }
}
