//! A few threads, each with a private connection, that answer admitted requests one at a time.

use super::head::{Admitted, Refusal};
use super::private::{KEY_NAME, Private};
use super::relay::relay;
use super::{MOST_ANSWER_TIME, MOST_QUEUED, MOST_SILENCE, RESPONDERS, STALLED};
use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// An admitted request, and where its answer goes.
pub(super) struct Job {
    pub(super) client: TcpStream,
    pub(super) admitted: Admitted,
}

/// Requests that wait for a responder.
pub(super) struct Jobs {
    queue: Mutex<VecDeque<Job>>,
    more: Condvar,
}

/// What the gate sees of the responders.
pub(super) struct Responders {
    slots: Vec<Arc<Slot>>,
    start: Instant,
}

/// One responder.
struct Slot {
    /// The client that it writes to.
    client: Mutex<Option<Arc<TcpStream>>>,
    /// Since when that client has been taking the present piece, in milliseconds since the start; 0 while nothing is written.
    writing: AtomicU64,
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the threads.
pub(super) fn start(private: Private) -> io::Result<(Arc<Jobs>, Responders)> {
    let jobs = Arc::new(Jobs { queue: Mutex::default(), more: Condvar::new() });
    let start = Instant::now();
    let mut slots = Vec::with_capacity(RESPONDERS);
    for (number, connection) in private.connect(RESPONDERS)?.into_iter().enumerate() {
        let slot = Arc::new(Slot { client: Mutex::default(), writing: AtomicU64::new(0) });
        slots.push(Arc::clone(&slot));
        let (jobs, private) = (Arc::clone(&jobs), private.clone());
        let mut responder = Responder { jobs, private, connection, slot, start };
        thread::Builder::new().name(format!("answer-{number}")).spawn(move || responder.run())?;
    }
    Ok((jobs, Responders { slots, start }))
}

impl Jobs {
    /// Puts a request into the queue. If there is no room, gives the oldest one back.
    pub(super) fn push(&self, job: Job) -> Option<Job> {
        let mut queue = lock(&self.queue);
        let oldest = if queue.len() >= MOST_QUEUED { queue.pop_front() } else { None };
        queue.push_back(job);
        drop(queue);
        self.more.notify_one();
        oldest
    }

    pub(super) fn is_empty(&self) -> bool {
        lock(&self.queue).is_empty()
    }

    fn pop(&self) -> Job {
        let mut queue = lock(&self.queue);
        loop {
            // The newest first: behind a crowd that does not read its answers, a scrape would come too late for its scraper.
            match queue.pop_back() {
                Some(job) => return job,
                None => queue = self.more.wait(queue).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

impl Responders {
    /// Cuts off every client that has not taken anything for [`STALLED`]: others wait.
    pub(super) fn cut_stalled(&self) {
        let now = milliseconds(self.start);
        for slot in &self.slots {
            let client = lock(&slot.client);
            let since = slot.writing.load(Ordering::Relaxed);
            if since != 0
                && u128::from(now.saturating_sub(since)) >= STALLED.as_millis()
                && let Some(client) = &*client
            {
                // Its thread, which writes, gets an error.
                let _ = client.shutdown(Shutdown::Both);
            }
        }
    }
}

struct Responder {
    jobs: Arc<Jobs>,
    private: Private,
    connection: UnixStream,
    slot: Arc<Slot>,
    start: Instant,
}

impl Responder {
    fn run(&mut self) {
        loop {
            let job = self.jobs.pop();
            let client = Arc::new(job.client);
            *lock(&self.slot.client) = Some(Arc::clone(&client));
            if let Err(error) = self.answer(&client, &job.admitted) {
                log::debug!("an answer was not read to its end: {error}");
            }
            *lock(&self.slot.client) = None;
            close(&client);
        }
    }

    fn answer(&mut self, client: &TcpStream, admitted: &Admitted) -> io::Result<()> {
        client.set_nonblocking(false)?;
        client.set_write_timeout(Some(MOST_SILENCE))?;
        let request = admitted.request(KEY_NAME, self.private.key());
        let until = Instant::now() + MOST_ANSWER_TIME;
        // tiny_http answers within moments; what takes long is the client's reading, which is not counted here.
        self.connection.set_read_timeout(Some(MOST_SILENCE))?;
        self.connection.write_all(request.as_bytes()).or_else(|error| self.reconnect(client, false, &error))?;
        let (slot, start) = (Arc::clone(&self.slot), self.start);
        let mut sent = false;
        let outcome = relay(&mut self.connection, admitted.is_head, admitted.is_1_0, &mut |mut bytes| {
            sent = true;
            while !bytes.is_empty() {
                if Instant::now() > until {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                let mut out = client;
                slot.writing.store(milliseconds(start).max(1), Ordering::Relaxed);
                let written = out.write(bytes);
                slot.writing.store(0, Ordering::Relaxed);
                match written {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        });
        match outcome {
            Ok(outcome) => outcome,
            Err(error) => self.reconnect(client, sent, &error),
        }
    }

    /// The private connection broke: tiny_http, or what it called, has panicked. Another one takes its place, and the client
    /// is told if it has not got anything yet.
    fn reconnect(&mut self, mut client: &TcpStream, sent: bool, error: &io::Error) -> io::Result<()> {
        log::error!("an answer was broken off inside of this program ({error}); please report the place above");
        if !sent {
            let _ = client.write_all(Refusal::Busy.answer().as_bytes());
        }
        self.connection = loop {
            match self.private.connect(1).map(|connections| connections.into_iter().next()) {
                Ok(Some(connection)) => break connection,
                // No descriptors, perhaps: without a connection this responder has nothing to do.
                Ok(None) | Err(_) => thread::sleep(Duration::from_millis(200)),
            }
        };
        Err(io::ErrorKind::ConnectionAborted.into())
    }
}

/// Ends the connection after a whole answer. What the client sent behind its request must not turn the end into a reset.
fn close(mut client: &TcpStream) {
    let _ = client.shutdown(Shutdown::Write);
    let _ = client.set_nonblocking(true);
    let mut rest = [0; 4096];
    while matches!(io::Read::read(&mut client, &mut rest), Ok(1..)) {}
}
