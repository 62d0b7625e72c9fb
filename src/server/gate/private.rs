//! The way to tiny_http that nobody else can take.
//!
//! tiny_http accepts from a listener of its own, here a Unix socket in the abstract namespace: a read-only or empty root has no
//! place for another. Whoever shares the pod's network could connect to it. So a few connections are made at once, and the
//! listener is shut down before the first request: its accept loop ends, as it does after any error, and the connections that it
//! accepted live on. Each request on them carries a ticket besides, good once, which only this process knows: it fetches the
//! client's connection. In the moment in which the listener was open a stranger may have come in, who has none.

use super::reply::Reply;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Read, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use tiny_http::{Request, Response, Server};

/// The header field with the ticket.
pub(super) const TICKET_NAME: &str = "X-Jwt-Exporter-Gate";

/// What is called for each request that passed.
type Answer = dyn Fn(&Request, &mut Reply) + Send + Sync;

/// Makes connections, and hands replies to those who answer.
#[derive(Clone)]
pub(super) struct Private {
    answer: Arc<Answer>,
    /// What is not fetched yet, by its ticket: as many as there are responders, at most.
    lent: Arc<Mutex<Vec<(String, Reply)>>>,
}

impl Private {
    pub(super) fn new(answer: impl Fn(&Request, &mut Reply) + Send + Sync + 'static) -> Self {
        Self { answer: Arc::new(answer), lent: Arc::default() }
    }

    fn lent(&self) -> MutexGuard<'_, Vec<(String, Reply)>> {
        self.lent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lays a reply aside; returns its ticket.
    pub(super) fn lend(&self, reply: Reply) -> String {
        let ticket = unpredictable();
        self.lent().push((ticket.clone(), reply));
        ticket
    }

    /// Fetches a reply.
    pub(super) fn take(&self, ticket: &str) -> Option<Reply> {
        let mut lent = self.lent();
        let at = lent.iter().position(|(known, _)| known == ticket)?;
        Some(lent.swap_remove(at).1)
    }

    /// So many connections to a tiny_http of their own, each with a thread behind it that answers.
    pub(super) fn connect(&self, count: usize) -> io::Result<Vec<UnixStream>> {
        let address = SocketAddr::from_abstract_name(unpredictable())?;
        let listener = UnixListener::bind_addr(&address)?;
        let handle = listener.try_clone()?;
        // It panics where the system has no thread for it.
        let begun = catch_unwind(|| Server::from_listener(listener, None));
        let begun = begun.map_err(|_| io::Error::other("its threads cannot be started"))?;
        let server = begun.map_err(io::Error::other)?;
        // Never dropped: its drop does not know abstract addresses, and panics.
        let server: &'static Server = Box::leak(Box::new(server));
        let mut connections = Vec::with_capacity(count);
        for number in 0..count {
            let this = self.clone();
            let answering = move || this.serve(server);
            thread::Builder::new().name(format!("http-{number}")).spawn(answering)?;
            let mut connection = UnixStream::connect_addr(&address)?;
            connection.set_write_timeout(Some(Duration::from_secs(10)))?;
            connection.set_read_timeout(Some(Duration::from_secs(10)))?;
            // One after the other: tiny_http's pool counts a thread as free until it has woken up, and would let the next
            // connection wait for ever behind one that does not end. When an answer is there, the connection was accepted.
            connection.write_all(b"HEAD / HTTP/1.1\r\nHost: gate\r\n\r\n")?;
            wait_for_answer(&mut connection)?;
            connections.push(connection);
        }
        // SAFETY: a descriptor that `handle` owns until the end of this function.
        let shut = unsafe { libc::shutdown(handle.as_raw_fd(), libc::SHUT_RDWR) };
        if shut == 0 { Ok(connections) } else { Err(io::Error::last_os_error()) }
    }

    /// Answers what comes; for good, since requests come from living connections after the accept loop has ended.
    fn serve(&self, server: &Server) {
        loop {
            // The one error is the end of the accept loop, which was our doing.
            let Ok(request) = server.recv() else { continue };
            let ticket = request.headers().iter().find(|header| header.field.equiv(TICKET_NAME));
            let reply = ticket.and_then(|ticket| self.take(ticket.value.as_str()));
            let status = if reply.is_some() { 204 } else { 404 };
            if let Some(mut reply) = reply {
                // Whatever happens in there: this thread goes on.
                let _ = catch_unwind(AssertUnwindSafe(|| (self.answer)(&request, &mut reply)));
                // Here ends what the client gets, before the responder is told.
                drop(reply);
            }
            let _ = request.respond(Response::empty(status));
        }
    }
}

/// Waits until tiny_http has answered the one request that is under way. No such answer has a body.
///
/// # Errors
/// The connection cannot be used any more.
pub(super) fn wait_for_answer(connection: &mut impl Read) -> io::Result<()> {
    let mut head = [0; 1024];
    let mut filled = 0;
    while !head.get(..filled).unwrap_or_default().ends_with(b"\r\n\r\n") {
        match connection.read(head.get_mut(filled..).unwrap_or_default()) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// 128 bits that only the system's random generator knows: the standard library's hasher is keyed by it.
fn unpredictable() -> String {
    let number = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", number(), number())
}
