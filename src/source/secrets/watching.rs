//! The thread that reads one watch, and hands its lines to the poller.
//!
//! It holds one event at a time and waits while the poller is busy, so that a flood of events costs the server's memory and
//! not ours. It changes nothing by itself and tries nothing again: what to do at its end is the poller's to decide.

use super::namespaces::NAMESPACES;
use crate::kubernetes::watch::{LineError, Lines};
use crate::kubernetes::{ApiRequest, Cluster, Query, RequestError, Verb};
use crate::source::spread;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// The server sends a bookmark once a minute. One that says nothing for longer than this may be gone without a word:
/// then the watch is opened anew, from where it was.
pub const LONGEST_SILENCE: Duration = Duration::from_secs(70);

/// How long the server should keep a watch open, and up to a fifth longer, so that not all of them end together. Without this it
/// chooses 30 to 60 minutes itself.
const OPEN: Duration = Duration::from_secs(3000);

/// What a watch tells, with the number of its stream and of its opening: what an earlier opening still says is stale.
#[derive(Debug)]
pub struct StreamEvent {
    /// Which of the source's streams; the last number there is for that of namespaces.
    pub stream: usize,
    /// Which opening of it.
    pub opening: u64,
    /// What happened.
    pub what: StreamNews,
}

/// See [`StreamEvent`].
#[derive(Debug)]
pub enum StreamNews {
    /// The server has accepted the watch.
    Opened,
    /// One line.
    Line(Vec<u8>),
    /// An open watch is over, in an orderly way or cut: it can be opened again from where it was.
    Ended,
    /// It could not be opened, or what it said was no watch.
    Failed(RequestError),
}

/// Hands a piece of news to the poller and waits until it has room; `false` if there is no poller any more.
pub type Notify = Arc<dyn Fn(StreamEvent) -> bool + Send + Sync>;

/// One opening of one stream.
pub(super) struct Watch {
    pub(super) cluster: Arc<Cluster>,
    pub(super) resource: &'static str,
    /// What is watched, as a list would ask for it.
    pub(super) query: Query,
    /// The resource version to go on from.
    pub(super) position: String,
    pub(super) silence: Duration,
    pub(super) stream: usize,
    pub(super) opening: u64,
    pub(super) cancelled: Arc<AtomicBool>,
    pub(super) notify: Notify,
}

impl Watch {
    /// Starts the thread.
    pub(super) fn start(self) -> std::io::Result<()> {
        let name = if self.stream == NAMESPACES { "watch-ns".to_owned() } else { format!("watch-{}", self.stream) };
        thread::Builder::new().name(name).spawn(move || self.run()).map(|_| ())
    }

    fn run(self) {
        // A panic in a dependency must not leave a stream that looks open and is deaf.
        let end = match catch_unwind(AssertUnwindSafe(|| self.follow())) {
            Ok(Ok(())) | Err(_) => StreamNews::Ended,
            Ok(Err(error)) => StreamNews::Failed(error),
        };
        if !self.is_cancelled() {
            self.tell(end);
        }
    }

    fn tell(&self, what: StreamNews) -> bool {
        (self.notify)(StreamEvent { stream: self.stream, opening: self.opening, what })
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    fn follow(&self) -> Result<(), RequestError> {
        let path = self
            .query
            .clone()
            .with("watch", 1)
            .with("allowWatchBookmarks", true)
            .with("timeoutSeconds", spread(OPEN).as_secs())
            .with_some("resourceVersion", &self.position)
            .build();
        let request = ApiRequest {
            verb: Verb::Watch,
            resource: self.resource,
            path,
            body: None,
            deadline: None,
            per_read: self.silence,
        };
        let response = self.cluster.send(&request)?;
        if !self.tell(StreamNews::Opened) {
            return Ok(());
        }
        let mut lines = Lines::new(response);
        while !self.is_cancelled() {
            let line = match lines.next_line() {
                Ok(Some(line)) => line.to_vec(),
                // The end, a cut, or a long silence: nothing that was said is lost.
                Ok(None) | Err(LineError::Io(_)) => return Ok(()),
                Err(error @ LineError::TooLong) => return Err(lines.body().bad_answer(&error.to_string())),
            };
            if !self.tell(StreamNews::Line(line)) {
                return Ok(());
            }
        }
        Ok(())
    }
}
