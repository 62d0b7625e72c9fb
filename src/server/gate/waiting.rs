//! One thread that accepts connections and reads the heads of their requests, all at once: none of them can make another wait.

use super::head::{Progress, Refusal, look};
use super::responder::{Job, Jobs, Responders};
use super::{HEAD_TIME, LINGER, MOST_HEAD_BYTES, MOST_LINGER_BYTES, MOST_WAITING, STALLED};
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often clocks are looked at.
const TICK: Duration = Duration::from_millis(100);

/// Clients that are cut off are told of so often at most.
const SUM_UP: Duration = Duration::from_secs(300);

/// How long no connection is accepted after descriptors have run out.
const PAUSE: Duration = Duration::from_millis(100);

/// The thread's state.
pub(super) struct Waiting {
    listener: TcpListener,
    jobs: Arc<Jobs>,
    responders: Responders,
    /// Oldest first.
    connections: Vec<Connection>,
    paused_until: Option<Instant>,
    /// Descriptors from this number on are left to the sources: the kernel gives the lowest that is free.
    most_descriptor: RawFd,
    /// Clients cut off that the log has not told of.
    cut: usize,
    /// When it told of some.
    told_cut: Option<Instant>,
}

/// A connection whose request has not passed.
struct Connection {
    stream: TcpStream,
    /// What it has sent so far.
    bytes: Vec<u8>,
    until: Instant,
    /// It has said that nothing more will come.
    ended: bool,
    /// It has been told why not; so many bytes may still be read and thrown away.
    lingering: Option<usize>,
}

/// What becomes of a connection.
enum Next {
    Stays,
    Goes,
}

impl Waiting {
    pub(super) fn new(listener: TcpListener, jobs: Arc<Jobs>, responders: Responders) -> Self {
        Self {
            listener,
            jobs,
            responders,
            connections: Vec::new(),
            paused_until: None,
            most_descriptor: most_descriptor(),
            cut: 0,
            told_cut: None,
        }
    }

    /// Works until the listener is broken for good.
    pub(super) fn run(mut self) -> io::Result<()> {
        loop {
            let (accept, readable) = self.wait()?;
            let now = Instant::now();
            // From the back, so that the numbers in front stay right.
            for at in (0..self.connections.len()).rev() {
                self.tend(at, readable.get(at).copied().unwrap_or_default(), now);
            }
            let waiting = self.jobs.waiting(now, TICK);
            if waiting > 0 {
                self.cut_slowest(waiting, now);
            }
            if accept {
                self.accept(now)?;
            }
        }
    }

    /// Makes room for so many. The first client is told of at once, those that follow are summed up.
    fn cut_slowest(&mut self, most: usize, now: Instant) {
        self.cut += self.responders.cut_slowest(most);
        if self.cut > 0 && self.told_cut.is_none_or(|told| now.saturating_duration_since(told) >= SUM_UP) {
            let (clients, bound) = (std::mem::take(&mut self.cut), STALLED.as_millis());
            self.told_cut = Some(now);
            log::warn!(clients; "others waited, so {clients} clients were cut off, the slowest of those that kept us waiting for {bound} ms");
        }
    }

    /// Waits for the next thing to do: whether to accept, and which connections have sent something.
    fn wait(&mut self) -> io::Result<(bool, Vec<bool>)> {
        let accepting = self.paused_until.is_none_or(|until| Instant::now() >= until);
        let entry = |descriptor, events| libc::pollfd { fd: descriptor, events, revents: 0 };
        let mut entries = Vec::with_capacity(self.connections.len() + 1);
        // A negative descriptor is passed over.
        entries.push(entry(if accepting { self.listener.as_raw_fd() } else { -1 }, libc::POLLIN));
        entries.extend(self.connections.iter().map(|connection| entry(connection.stream.as_raw_fd(), libc::POLLIN)));
        let idle = self.connections.is_empty() && self.jobs.waiting(Instant::now(), Duration::ZERO) == 0 && accepting;
        let timeout = if idle { -1 } else { i32::try_from(TICK.as_millis()).unwrap_or(100) };
        let count = libc::nfds_t::try_from(entries.len()).unwrap_or(libc::nfds_t::MAX);
        // SAFETY: `entries` has `count` entries and lives through the call.
        let ready = unsafe { libc::poll(entries.as_mut_ptr(), count, timeout) };
        if ready < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok((false, Vec::new())) } else { Err(error) };
        }
        let mut ready = entries.iter().map(|entry| entry.revents != 0);
        let accept = ready.next().unwrap_or_default();
        Ok((accept, ready.collect()))
    }

    /// Does what there is to do for one connection.
    fn tend(&mut self, at: usize, is_readable: bool, now: Instant) {
        let Some(connection) = self.connections.get_mut(at) else { return };
        let mut next = if is_readable { connection.read() } else { Next::Stays };
        if matches!(next, Next::Stays) {
            next = match connection.lingering {
                None => self.decide(at, now),
                Some(_) if now >= connection.until => Next::Goes,
                Some(_) => Next::Stays,
            };
        }
        if matches!(next, Next::Goes) {
            self.connections.remove(at);
        }
    }

    /// Looks whether a head is there, or too late.
    fn decide(&mut self, at: usize, now: Instant) -> Next {
        let Some(connection) = self.connections.get_mut(at) else { return Next::Stays };
        match look(&connection.bytes) {
            Progress::Unfinished if now >= connection.until => {
                // Nothing at all was said by a connection that was only kept open.
                if connection.bytes.is_empty() { Next::Goes } else { connection.refuse(Refusal::Timeout, now) }
            }
            Progress::Unfinished if connection.ended => Next::Goes,
            Progress::Unfinished => Next::Stays,
            Progress::Decided(Err(refusal)) => connection.refuse(refusal, now),
            Progress::Decided(Ok(admitted)) => {
                let connection = self.connections.remove(at);
                if let Some(Job { client, .. }) =
                    self.jobs.push(Job { client: connection.stream, admitted, since: now })
                {
                    let mut refused = Connection::new(client, now);
                    if matches!(refused.refuse(Refusal::Busy, now), Next::Stays) {
                        self.connections.push(refused);
                    }
                }
                Next::Stays
            }
        }
    }

    /// Accepts what has come. Out of descriptors the oldest connection goes, and there is a pause: the listener stays.
    fn accept(&mut self, now: Instant) -> io::Result<()> {
        self.paused_until = None;
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    let is_full = self.connections.len() >= MOST_WAITING || stream.as_raw_fd() >= self.most_descriptor;
                    let stream = if is_full && !self.connections.is_empty() {
                        self.connections.remove(0);
                        // Under the number that has become free.
                        stream.try_clone().unwrap_or(stream)
                    } else {
                        stream
                    };
                    if stream.set_nonblocking(true).is_err() {
                        continue;
                    }
                    let _ = stream.set_nodelay(true);
                    self.connections.push(Connection::new(stream, now));
                    // Its request is mostly there already: it must not be pushed out by those behind it.
                    self.tend(self.connections.len() - 1, true, now);
                }
                Err(error) => match (error.kind(), error.raw_os_error()) {
                    (io::ErrorKind::WouldBlock, _) => return Ok(()),
                    // A client that went away before it was accepted.
                    (io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted, _) => {}
                    (_, Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)) => {
                        if self.connections.is_empty() {
                            self.cut_slowest(1, now);
                            self.paused_until = Some(now + PAUSE);
                            return Ok(());
                        }
                        self.connections.remove(0);
                    }
                    // Linux hands errors of the network on to accept; they concern one connection.
                    (
                        _,
                        Some(
                            libc::EPROTO
                            | libc::ENETDOWN
                            | libc::EHOSTDOWN
                            | libc::EHOSTUNREACH
                            | libc::ENETUNREACH
                            | libc::EPERM,
                        ),
                    ) => {}
                    _ => return Err(error),
                },
            }
        }
    }
}

/// An eighth of the descriptors that the process may have, 64 at most, is not for connections.
pub(super) fn most_descriptor() -> RawFd {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a limit to be written to, which lives through the call.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0;
    if known {
        RawFd::try_from(limit.rlim_cur - (limit.rlim_cur / 8).min(64)).unwrap_or(RawFd::MAX)
    } else {
        RawFd::MAX
    }
}

impl Connection {
    fn new(stream: TcpStream, now: Instant) -> Self {
        Self { stream, bytes: Vec::new(), until: now + HEAD_TIME, ended: false, lingering: None }
    }

    /// Reads what has come, up to the bounds.
    fn read(&mut self) -> Next {
        let mut piece = [0; 4096];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) if self.lingering.is_some() => return Next::Goes,
                Ok(0) => {
                    self.ended = true;
                    return Next::Stays;
                }
                Ok(length) => match &mut self.lingering {
                    None => {
                        self.bytes.extend_from_slice(piece.get(..length).unwrap_or_default());
                        if self.bytes.len() > MOST_HEAD_BYTES {
                            return Next::Stays;
                        }
                    }
                    Some(left) => match left.checked_sub(length) {
                        Some(rest) => *left = rest,
                        None => return Next::Goes,
                    },
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Next::Stays,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Next::Goes,
            }
        }
    }

    /// Tells why not. The answer fits into the socket's buffer; then only what the client still sends is waited for, because a
    /// connection that is closed with something unread is reset, and the answer lost.
    fn refuse(&mut self, refusal: Refusal, now: Instant) -> Next {
        if self.stream.write_all(refusal.answer().as_bytes()).is_err() || self.stream.shutdown(Shutdown::Write).is_err()
        {
            return Next::Goes;
        }
        self.bytes = Vec::new();
        self.until = now + LINGER;
        self.lingering = Some(MOST_LINGER_BYTES);
        Next::Stays
    }
}
