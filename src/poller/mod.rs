//! Puts together and publishes what the sources hold.
//!
//! Each source has a thread of its own, its *worker*, which alone asks it and takes in what its watches say: a cluster that is
//! away or a file system that hangs delays nothing but itself. A worker leaves its newest report on a desk; the poller, the only
//! one that publishes, collects the reports and waits for nobody.
//!
//! | file | subject |
//! | --- | --- |
//! | `worker` | the thread of one source, and where it meets the poller |
//! | `polled` | the source as its worker sees it: what it holds, whether it works, when it is asked again |
//! | `handover` | how another set of sources gets here |
//! | `once` | one look at every source, for the commands that answer and end |

mod handover;
mod once;
mod polled;
mod worker;

pub use handover::{Handover, Lineup, Place, SourceNumber};
pub use once::poll_once;
pub use worker::{Inbox, Seat};

use crate::metrics::OwnMetrics;
use crate::published::Published;
use crate::snapshot::Snapshot;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};
use worker::{GATHER, Lead, Report, Worker};

/// Workers whose sources are gone, and which these do not let go. With more of them no further worker begins: a file system
/// that hangs must not cost a thread at every reload.
const MOST_STUCK: usize = 16;

/// How soon it is tried again to begin with a source for which there was no thread.
const BEGIN_AGAIN: Duration = Duration::from_secs(1);

/// Begins with a worker, or gives it back.
type Begin = Box<dyn FnMut(Worker) -> Option<Worker> + Send>;

/// Has every source asked, and publishes what they hold.
pub struct Poller {
    sources: Vec<Watched>,
    interval: Duration,
    max_series: usize,
    own: OwnMetrics,
    published: Arc<Published<Snapshot>>,
    handover: Arc<Handover>,
    /// It was ready once, and stays it: a source that comes later changes nothing about that.
    ready: bool,
    /// For workers: to this poller.
    wake: SyncSender<()>,
    begin: Begin,
    /// Those that could not begin yet.
    waiting: Vec<Worker>,
    /// Each worker that has begun holds one of it.
    alive: Arc<()>,
    last_published: Instant,
}

/// One source as the poller sees it.
struct Watched {
    number: SourceNumber,
    lead: Lead,
    last: Report,
}

impl Poller {
    /// Publishes a first snapshot, in which no source has been asked yet, and begins to ask them. Further lineups come by
    /// `handover`. `wake` leads to what [`run`](Self::run) is told by; it needs room for one.
    #[must_use]
    pub fn new(
        lineup: Lineup,
        own: OwnMetrics,
        published: Arc<Published<Snapshot>>,
        handover: Arc<Handover>,
        wake: SyncSender<()>,
    ) -> Self {
        Self::beginning_by(Box::new(Worker::start), lineup, own, published, handover, wake)
    }

    fn beginning_by(
        begin: Begin,
        lineup: Lineup,
        own: OwnMetrics,
        published: Arc<Published<Snapshot>>,
        handover: Arc<Handover>,
        wake: SyncSender<()>,
    ) -> Self {
        let mut poller = Self {
            sources: Vec::new(),
            interval: lineup.interval,
            max_series: lineup.max_series,
            own,
            published,
            handover,
            ready: false,
            wake,
            begin,
            waiting: Vec::new(),
            alive: Arc::default(),
            last_published: Instant::now(),
        };
        poller.take_over(lineup);
        poller
    }

    /// Publishes what changes, whenever it is woken. Returns only if a worker died by a defect.
    pub fn run(mut self, woken: &Receiver<()>) {
        loop {
            if let Some(lineup) = self.handover.take() {
                self.take_over(lineup);
            }
            if self.collect().is_break() {
                return;
            }
            self.begin_with_waiting();
            let told = if self.waiting.is_empty() {
                woken.recv().map_err(RecvTimeoutError::from)
            } else {
                woken.recv_timeout(BEGIN_AGAIN)
            };
            if told == Err(RecvTimeoutError::Disconnected) {
                return;
            }
            // What comes close behind what was just published waits a little, and is published together. Before it is ready it has
            // shown nothing, and somebody may be waiting for it.
            if self.ready {
                std::thread::sleep(GATHER.saturating_sub(self.last_published.elapsed()));
            }
        }
    }

    /// Goes on with other sources. One that takes the place of another of its name shows what that one held until its own
    /// first success; whatever else is gone leaves the snapshot, and its series with it.
    fn take_over(&mut self, lineup: Lineup) {
        for watched in &mut self.sources {
            watched.take_report();
        }
        (self.interval, self.max_series) = (lineup.interval, lineup.max_series);
        let mut before = std::mem::take(&mut self.sources);
        let going_on: Vec<SourceNumber> = lineup.sources.iter().filter_map(Place::goes_on).collect();
        for place in lineup.sources {
            match place {
                Place::New(number, seat) => {
                    let is_predecessor = |old: &&Watched| {
                        !going_on.contains(&old.number) && *old.last.status.name == *seat.source.name()
                    };
                    let predecessor = before.iter().find(is_predecessor).map(|old| old.last.clone());
                    let (own, wake) = (self.own.clone(), self.wake.clone());
                    let (worker, lead, last) = Worker::new(seat, predecessor, self.interval, own, wake);
                    self.sources.push(Watched { number, lead, last });
                    self.waiting.push(worker);
                }
                Place::GoesOn(number) => {
                    let Some(at) = before.iter().position(|watched| watched.number == number) else { continue };
                    let watched = before.remove(at);
                    watched.lead.set_interval(self.interval);
                    self.sources.push(watched);
                }
            }
        }
        for Watched { lead, last, .. } in before {
            // From now on it counts nothing.
            drop(lead);
            if self.sources.iter().all(|watched| watched.last.status.name != last.status.name) {
                // A series that nothing moves any more says nothing, and names of sources may come and go without end.
                self.own.forget_source(&last.status.name);
            }
        }
        self.waiting.retain(|worker| !worker.is_over());
        self.begin_with_waiting();
        self.publish();
    }

    fn begin_with_waiting(&mut self) {
        for mut worker in std::mem::take(&mut self.waiting) {
            if Arc::strong_count(&self.alive) > self.sources.len() + MOST_STUCK {
                self.waiting.push(worker);
                continue;
            }
            worker.alive = Some(Arc::clone(&self.alive));
            if let Some(mut worker) = (self.begin)(worker) {
                worker.alive = None;
                self.waiting.push(worker);
            }
        }
    }

    /// Publishes what the workers have to tell, if there is anything.
    fn collect(&mut self) -> ControlFlow<()> {
        let mut changed = false;
        for watched in &mut self.sources {
            if watched.lead.has_died() {
                return ControlFlow::Break(());
            }
            changed |= watched.take_report();
        }
        if changed {
            self.publish();
        }
        ControlFlow::Continue(())
    }

    fn publish(&mut self) {
        let sources = self.sources.iter().map(|watched| (&watched.last.status, watched.last.shown.as_slice()));
        let mut snapshot = Snapshot::assemble(sources, self.max_series);
        self.ready |= snapshot.ready().is_ok();
        snapshot.set_ready(self.ready);
        self.published.publish(snapshot);
        self.last_published = Instant::now();
    }
}

impl Watched {
    /// Whether there was a new one.
    fn take_report(&mut self) -> bool {
        self.lead.take_report().map(|report| self.last = report).is_some()
    }
}

#[cfg(test)]
mod tests;
