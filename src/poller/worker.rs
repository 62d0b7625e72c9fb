//! The thread of one source: it alone asks that source, so that one that hangs keeps nobody else waiting.

use super::polled::Polled;
use crate::metrics::OwnMetrics;
use crate::snapshot::SourceStatus;
use crate::source::secrets::{Notify, StreamEvent};
use crate::source::{Held, Source};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Events that come close together are shown together: assembling a snapshot costs about a millisecond for 20,000 tokens, and
/// a change has to show within 0.3 s.
pub(super) const GATHER: Duration = Duration::from_millis(30);

/// So many events at most are taken in before they are shown.
const MOST_GATHERED: usize = 2_000;

/// Events of one source's watches that wait for it, together: each may be as large as a Secret. The next one waits in the
/// thread of its watch.
const NEWS_HELD: usize = 1;

/// What wakes a worker.
enum Mail {
    /// A watch of its source has news.
    News(StreamEvent),
    /// There is something to look at on the desk.
    Wake,
}

/// Where the threads of a source leave their news.
pub struct Inbox {
    mail: SyncSender<Mail>,
    received: Receiver<Mail>,
}

impl Inbox {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        let (mail, received) = sync_channel(NEWS_HELD);
        Self { mail, received }
    }

    /// The way into it.
    #[must_use]
    pub fn notify(&self) -> Notify {
        let mail = self.mail.clone();
        Arc::new(move |event| mail.send(Mail::News(event)).is_ok())
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new()
    }
}

/// A source that is ready for its thread.
pub struct Seat {
    /// The source.
    pub source: Box<dyn Source>,
    /// Where its own threads leave their news.
    pub inbox: Inbox,
}

impl From<Box<dyn Source>> for Seat {
    /// One that has no threads of its own.
    fn from(source: Box<dyn Source>) -> Self {
        Self { source, inbox: Inbox::new() }
    }
}

/// What the poller is told of a source.
#[derive(Clone)]
pub(super) struct Report {
    pub(super) status: SourceStatus,
    pub(super) shown: Arc<Held>,
}

/// Where the poller and one worker meet. Each lock is held for a moment only, whatever the source does.
pub(super) struct Desk {
    orders: Mutex<Orders>,
    /// The newest one that the poller has not taken.
    report: Mutex<Option<Report>>,
    /// To the poller. One wake that waits is enough for all.
    wake: SyncSender<()>,
}

struct Orders {
    interval: Duration,
    /// The source is no longer in the lineup: what it still finds out is no news.
    over: bool,
    /// The worker ended by a defect.
    died: bool,
}

impl Desk {
    fn orders(&self) -> std::sync::MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, report: Report) {
        let before = self.report.lock().unwrap_or_else(PoisonError::into_inner).replace(report);
        drop(before);
        let _ = self.wake.try_send(());
    }
}

/// The poller's end of a worker. Dropping it ends the worker, as soon as its source lets it go.
pub(super) struct Lead {
    desk: Arc<Desk>,
    mail: SyncSender<Mail>,
}

impl Lead {
    pub(super) fn take_report(&self) -> Option<Report> {
        self.desk.report.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn set_interval(&self, interval: Duration) {
        self.desk.orders().interval = interval;
        self.wake();
    }

    pub(super) fn has_died(&self) -> bool {
        self.desk.orders().died
    }

    fn wake(&self) {
        // Where there is no room, it has something to do and comes by anyway.
        let _ = self.mail.try_send(Mail::Wake);
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.desk.orders().over = true;
        self.wake();
    }
}

/// What a worker counts. Once its source is gone it counts nothing more: the series of the source are gone too.
pub(super) struct Tally {
    own: OwnMetrics,
    desk: Arc<Desk>,
}

impl Tally {
    pub(super) fn count_source_error(&self, source: &str, reason: &str) {
        let orders = self.desk.orders();
        if !orders.over {
            self.own.count_source_error(source, reason);
        }
    }

    pub(super) fn observe_poll(&self, source: &str, seconds: f64) {
        let orders = self.desk.orders();
        if !orders.over {
            self.own.observe_poll(source, seconds);
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.desk.orders().over
    }
}

/// Asks one source at once, then again each interval, and sooner when it fails; takes in what its watches say.
pub(super) struct Worker {
    pub(super) polled: Polled,
    interval: Duration,
    tally: Tally,
    received: Receiver<Mail>,
    /// Counts those that have begun.
    pub(super) alive: Option<Arc<()>>,
}

impl Worker {
    /// One that has not begun. What a predecessor showed is shown until this one has something to show itself.
    pub(super) fn new(
        seat: Seat,
        predecessor: Option<Report>,
        interval: Duration,
        own: OwnMetrics,
        wake: SyncSender<()>,
    ) -> (Self, Lead, Report) {
        let Seat { source, inbox: Inbox { mail, received } } = seat;
        let mut polled = Polled::new(source);
        if let Some(Report { status, shown }) = predecessor {
            polled.succeed(status, shown);
        }
        let orders = Mutex::new(Orders { interval, over: false, died: false });
        let desk = Arc::new(Desk { orders, report: Mutex::new(None), wake });
        let lead = Lead { desk: Arc::clone(&desk), mail };
        let first = Report { status: polled.status.clone(), shown: Arc::clone(&polled.shown) };
        (Self { polled, interval, tally: Tally { own, desk }, received, alive: None }, lead, first)
    }

    pub(super) fn is_over(&self) -> bool {
        self.tally.is_over()
    }

    /// Begins; gives the worker back if there is no thread for it.
    pub(super) fn start(self) -> Option<Self> {
        let name = Arc::clone(&self.polled.status.name);
        let slot = Arc::new(Mutex::new(Some(self)));
        let theirs = Arc::clone(&slot);
        let take = |slot: &Mutex<Option<Self>>| slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Not named for its source: the name of a context may hold what no thread's name can.
        let started = thread::Builder::new().name("source".to_owned()).spawn(move || {
            if let Some(worker) = take(&theirs) {
                worker.run();
            }
        });
        let error = started.err()?;
        log::error!("{name}: no thread for it: {error}; tried again");
        take(&slot)
    }

    /// Polls and follows until nobody wants to know any more.
    pub(super) fn run(mut self) {
        let desk = Arc::clone(&self.tally.desk);
        let work = AssertUnwindSafe(move || {
            while !self.tally.is_over() {
                let wait = self.turn();
                match self.received.recv_timeout(wait) {
                    Ok(Mail::News(event)) if !self.tally.is_over() => self.follow(event),
                    Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        });
        // A panic outside of the source must not leave old values looking fresh.
        if catch_unwind(work).is_err() {
            desk.orders().died = true;
            let _ = desk.wake.try_send(());
        }
    }

    /// Does what is due, and tells how long there is nothing to do.
    pub(super) fn turn(&mut self) -> Duration {
        let interval = self.tally.desk.orders().interval;
        if interval != self.interval {
            self.interval = interval;
            self.polled.keep_to(interval);
        }
        let now = Instant::now();
        if self.polled.due <= now {
            self.polled.poll(interval, &self.tally);
            self.report();
        } else if self.polled.is_relist_due(now) {
            self.polled.relist(interval, &self.tally);
            self.report();
        } else if !self.polled.is_failing() && self.polled.mend_due.is_some_and(|due| due <= now) {
            self.polled.mend(interval, &self.tally);
            self.report();
        }
        let next = self.polled.tend(Instant::now());
        self.report_changes();
        next.saturating_duration_since(Instant::now())
    }

    /// Takes in an event and those that come close behind it, then shows what came of them together.
    fn follow(&mut self, event: StreamEvent) {
        let until = Instant::now() + GATHER;
        let mut next = Some(event);
        let mut gathered = 0;
        while let Some(event) = next.take() {
            self.polled.receive(event, self.interval, &self.tally);
            gathered += 1;
            if gathered == MOST_GATHERED {
                break;
            }
            if let Ok(Mail::News(event)) = self.received.recv_timeout(until.saturating_duration_since(Instant::now())) {
                next = Some(event);
            }
        }
        self.report_changes();
    }

    fn report_changes(&mut self) {
        if self.polled.changed {
            self.polled.show(self.interval);
            self.report();
        }
    }

    fn report(&mut self) {
        self.polled.changed = false;
        if !self.tally.is_over() {
            let Polled { status, shown, .. } = &self.polled;
            self.tally.desk.put(Report { status: status.clone(), shown: Arc::clone(shown) });
        }
    }
}
