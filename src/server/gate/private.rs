//! The way to tiny_http that nobody else can take.
//!
//! tiny_http accepts from a listener of its own, here a Unix socket in the abstract namespace: a read-only or empty root has no
//! place for another. Whoever shares the pod's network could connect to it. So a few connections are made at once, and the
//! listener is shut down before the first request: its accept loop ends, as it does after any error, and the connections that it
//! accepted live on. Each request on them carries a key besides, which only this process knows; in the moment in which the
//! listener was open a stranger may have come in.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tiny_http::{Request, Response, Server};

/// The header field with the key.
pub(super) const KEY_NAME: &str = "X-Jwt-Exporter-Gate";

/// Makes connections.
#[derive(Clone)]
pub(super) struct Private {
    answer: Arc<dyn Fn(Request) + Send + Sync>,
    key: Arc<str>,
}

impl Private {
    pub(super) fn new(answer: impl Fn(Request) + Send + Sync + 'static) -> Self {
        Self { answer: Arc::new(answer), key: unpredictable().into() }
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// So many connections to a tiny_http of their own, each with a thread behind it that answers.
    pub(super) fn connect(&self, count: usize) -> io::Result<Vec<UnixStream>> {
        let address = SocketAddr::from_abstract_name(unpredictable())?;
        let listener = UnixListener::bind_addr(&address)?;
        let handle = listener.try_clone()?;
        let server = Server::from_listener(listener, None).map_err(io::Error::other)?;
        // Never dropped: its drop does not know abstract addresses, and panics.
        let server: &'static Server = Box::leak(Box::new(server));
        let mut connections = Vec::with_capacity(count);
        for number in 0..count {
            let this = self.clone();
            let answering = move || this.serve(server);
            thread::Builder::new().name(format!("http-{number}")).spawn(answering)?;
            let mut connection = UnixStream::connect_addr(&address)?;
            connection.set_write_timeout(Some(Duration::from_secs(10)))?;
            // One after the other: tiny_http's pool counts a thread as free until it has woken up, and would let the next
            // connection wait for ever behind one that does not end.
            self.knock(&mut connection)?;
            connections.push(connection);
        }
        // SAFETY: a descriptor that `handle` owns until the end of this function.
        let shut = unsafe { libc::shutdown(handle.as_raw_fd(), libc::SHUT_RDWR) };
        if shut == 0 { Ok(connections) } else { Err(io::Error::last_os_error()) }
    }

    /// Asks for something: when the answer is there, the connection was accepted.
    fn knock(&self, connection: &mut UnixStream) -> io::Result<()> {
        connection.set_read_timeout(Some(Duration::from_secs(10)))?;
        connection
            .write_all(format!("HEAD / HTTP/1.1\r\nHost: gate\r\n{KEY_NAME}: {}\r\n\r\n", self.key).as_bytes())?;
        super::relay::relay(connection, true, false, &mut |_| Ok(())).map(|_| ())
    }

    /// Answers what comes; for good, since requests come from living connections after the accept loop has ended.
    fn serve(&self, server: &Server) {
        loop {
            // The one error is the end of the accept loop, which was our doing.
            let Ok(request) = server.recv() else { continue };
            let has_key =
                request.headers().iter().any(|header| header.field.equiv(KEY_NAME) && header.value == *self.key);
            if has_key {
                // Whatever happens in there: this thread goes on, and a request that is dropped is answered with 500.
                let _ = catch_unwind(AssertUnwindSafe(|| (self.answer)(request)));
            } else {
                let _ = request.respond(Response::empty(404));
            }
        }
    }
}

/// 128 bits that only the system's random generator knows: the standard library's hasher is keyed by it.
fn unpredictable() -> String {
    let number = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", number(), number())
}
