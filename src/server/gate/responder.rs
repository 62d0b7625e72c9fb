//! A few threads, each with a private connection, that see to one admitted request at a time.

use super::head::Admitted;
use super::private::{Private, TICKET_NAME, wait_for_answer};
use super::reply::{Client, Reply};
use super::waiting::most_descriptor;
use super::{FEW_DESCRIPTORS, FEW_RESPONDERS, MOST_ANSWER_TIME, MOST_QUEUED, MOST_SILENCE, RESPONDERS, STALLED};
use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// An admitted request, and where its answer goes.
pub(super) struct Job {
    pub(super) client: TcpStream,
    pub(super) admitted: Admitted,
    pub(super) since: Instant,
}

/// Requests that wait for a responder.
#[derive(Default)]
pub(super) struct Jobs {
    queue: Mutex<Queue>,
    more: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Responders that have nothing to do, also those that have been called and not yet come.
    idle: usize,
}

/// Whom each of the responders is writing to.
pub(super) struct Responders(Vec<Slot>);

type Slot = Arc<Mutex<Option<Arc<Client>>>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the threads.
pub(super) fn start(private: Private) -> io::Result<(Arc<Jobs>, Responders)> {
    let jobs = Arc::new(Jobs::default());
    let count = if most_descriptor() < FEW_DESCRIPTORS { FEW_RESPONDERS } else { RESPONDERS };
    let mut slots = Vec::with_capacity(count);
    for (number, connection) in private.connect(count)?.into_iter().enumerate() {
        let slot = Slot::default();
        slots.push(Arc::clone(&slot));
        let (jobs, private) = (Arc::clone(&jobs), private.clone());
        let mut responder = Responder { private, connection, slot };
        let body = move || {
            loop {
                responder.answer(jobs.pop());
            }
        };
        thread::Builder::new().name(format!("answer-{number}")).spawn(body)?;
    }
    Ok((jobs, Responders(slots)))
}

impl Jobs {
    /// Puts a request into the queue. If there is no room, gives the oldest one back.
    pub(super) fn push(&self, job: Job) -> Option<Job> {
        let mut queue = lock(&self.queue);
        let oldest = if queue.jobs.len() >= MOST_QUEUED { queue.jobs.pop_front() } else { None };
        queue.jobs.push_back(job);
        drop(queue);
        self.more.notify_one();
        oldest
    }

    /// How many requests have waited for so long that no responder is free for.
    pub(super) fn waiting(&self, now: Instant, long: Duration) -> usize {
        let queue = lock(&self.queue);
        let waiting = queue.jobs.iter().filter(|job| now.saturating_duration_since(job.since) >= long).count();
        waiting.saturating_sub(queue.idle)
    }

    fn pop(&self) -> Job {
        let mut queue = lock(&self.queue);
        queue.idle += 1;
        loop {
            // The newest first: behind a crowd that does not read its answers, a scrape would come too late for its scraper.
            match queue.jobs.pop_back() {
                Some(job) => {
                    queue.idle -= 1;
                    return job;
                }
                None => queue = self.more.wait(queue).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

impl Responders {
    /// Cuts off clients that have kept us waiting for [`STALLED`], the slowest first, so many at most. How many it were.
    pub(super) fn cut_slowest(&self, most: usize) -> usize {
        let slow = |slot: &Slot| {
            let client = lock(slot).clone()?;
            Some((client.pace(STALLED)?, client))
        };
        let mut slow: Vec<_> = self.0.iter().filter_map(slow).collect();
        slow.sort_by_key(|(pace, _)| *pace);
        slow.iter().take(most).filter(|(_, client)| client.cut()).count()
    }
}

struct Responder {
    private: Private,
    connection: UnixStream,
    slot: Slot,
}

impl Responder {
    fn answer(&mut self, job: Job) {
        // A client that cannot be written to has gone.
        let Ok(client) = Client::new(job.client).map(Arc::new) else { return };
        *lock(&self.slot) = Some(Arc::clone(&client));
        let ticket = self.private.lend(Reply::new(client, &job.admitted));
        if let Err(error) = self.hand_on(&job.admitted.request(TICKET_NAME, &ticket)) {
            log::error!("an answer was broken off inside of this program ({error}); please report the place above");
            // If nobody has fetched it, this tells the client.
            drop(self.private.take(&ticket));
            self.reconnect();
        }
        *lock(&self.slot) = None;
    }

    /// Gives tiny_http the request, and waits until it has been answered: to the client, not to us.
    fn hand_on(&mut self, request: &str) -> io::Result<()> {
        self.connection.set_read_timeout(Some(MOST_ANSWER_TIME + 2 * MOST_SILENCE))?;
        self.connection.write_all(request.as_bytes())?;
        wait_for_answer(&mut self.connection)
    }

    /// The private connection broke: tiny_http has panicked. Another one takes its place.
    fn reconnect(&mut self) {
        self.connection = loop {
            match self.private.connect(1).map(|connections| connections.into_iter().next()) {
                Ok(Some(connection)) => break connection,
                // No descriptors, perhaps: without a connection this responder has nothing to do.
                Ok(None) | Err(_) => thread::sleep(Duration::from_millis(200)),
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::gate::reply::tests::{pair, say_hello};
    use std::io::Read as _;
    use std::net::{Shutdown, TcpListener};

    #[test]
    fn of_those_that_keep_us_waiting_the_slowest_are_cut_off() {
        let pairs = [pair(), pair(), pair(), pair()];
        let clients = pairs.map(|(client, asking)| (Arc::new(client), asking));
        let slots = clients.iter().map(|(client, _)| Arc::new(Mutex::new(Some(Arc::clone(client)))));
        let responders = Responders(slots.collect());
        assert_eq!(responders.cut_slowest(9), 0, "they take what they get");
        for ((client, _), taken) in clients.iter().zip([5, 0, 3]) {
            say_hello(client);
            client.pretend(taken);
        }
        let slow = || clients.iter().map(|(client, _)| client.pace(STALLED).is_some()).collect::<Vec<_>>();
        assert_eq!(responders.cut_slowest(1), 1);
        assert_eq!(slow(), [true, false, true, false]);
        assert_eq!(responders.cut_slowest(1), 1);
        assert_eq!(slow(), [true, false, false, false]);
        assert_eq!(responders.cut_slowest(9), 1);
    }

    #[test]
    fn a_request_waits_only_where_no_responder_is_free() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (now, long) = (Instant::now(), Duration::from_millis(100));
        let job = || Job {
            since: now,
            client: TcpStream::connect(listener.local_addr().unwrap()).unwrap(),
            admitted: Admitted { is_head: false, target: "/".into(), accept_encoding: String::new(), is_1_0: false },
        };
        let jobs = Jobs::default();
        // Two that were called, and have not come yet.
        lock(&jobs.queue).idle = 2;
        let waits = [(); 3].map(|()| {
            jobs.push(job());
            [jobs.waiting(now + long, long), jobs.waiting(now, long)]
        });
        assert_eq!(waits, [[0, 0], [0, 0], [1, 0]]);
    }

    #[test]
    fn a_private_connection_that_breaks_costs_one_answer() {
        let private = Private::new(|_, reply| reply.send(200, &[], "fine").unwrap());
        let connection = private.connect(1).unwrap().remove(0);
        connection.shutdown(Shutdown::Both).unwrap();
        let mut responder = Responder { private, connection, slot: Slot::default() };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        for wanted in ["HTTP/1.1 500 ", "HTTP/1.1 200 "] {
            let mut asking = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let admitted =
                Admitted { is_head: false, target: "/".into(), accept_encoding: String::new(), is_1_0: false };
            responder.answer(Job { client: listener.accept().unwrap().0, admitted, since: Instant::now() });
            let mut answer = String::new();
            asking.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with(wanted), "{answer}");
        }
    }
}
