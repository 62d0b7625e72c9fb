//! Where tokens are kept: each source reads its place whole and says what it holds now.
//!
//! A source keeps what it holds between two polls, so that what did not change is carried over instead of being read again.
//! One that can be followed says in between what changed.

mod changes;
mod file_glob;
mod file_set;
pub mod files;
pub mod manifests;
mod regular_file;
pub mod secrets;

pub use changes::log_changes;
pub use file_glob::FileGlob;
pub use regular_file::Links;

use crate::observation::SecretObservation;
use crate::snapshot::ScopeStatus;
use secrets::StreamEvent;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

/// What a source holds, sorted by namespace and name, each Secret once.
pub type Held = Vec<Arc<SecretObservation>>;

/// Ends a source: blocked reads return at once, its threads and connections end.
pub type Stopper = Arc<dyn Fn() + Send + Sync>;

/// A place that can be read as a whole, and perhaps followed.
pub trait Source: Send {
    /// The label `source`.
    fn name(&self) -> &str;

    /// What it holds, as far as is known.
    fn held(&self) -> &Held;

    /// Reads the place, and holds what is there now.
    ///
    /// # Errors
    /// Why it could not be read to its end; then it holds what it held before.
    fn poll(&mut self) -> Result<(), PollError>;

    /// Counts each Secret that is looked at into `seen`, for whoever watches a long poll.
    fn count_into(&mut self, seen: Arc<AtomicUsize>) {
        let _ = seen;
    }

    /// Reads again what its watches asked for, when that need not be all; see [`Followed::Relist`].
    ///
    /// # Errors
    /// As of [`poll`](Self::poll).
    fn relist(&mut self) -> Result<(), PollError> {
        self.poll()
    }

    /// How many requests it has made in all: while it fails, the poller is the more patient for them.
    fn requests(&self) -> u32 {
        0
    }

    /// Whether no watch has failed since all of them were open.
    fn watches_work(&self) -> bool {
        true
    }

    /// The parts that are read by themselves and shown by name: whether each of them worked at its last try.
    fn scopes(&self) -> Vec<ScopeStatus> {
        Vec::new()
    }

    /// What is wrong with the parts that failed at their last try, while the source as a whole worked.
    fn faults(&self) -> Vec<Fault> {
        Vec::new()
    }

    /// The reasons of all failures of parts since this was asked last, to be counted: each try that failed is one.
    fn take_errors(&mut self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Tries just these parts again.
    ///
    /// # Errors
    /// A failure of the whole source, as of [`poll`](Self::poll). That the parts fail again is none.
    fn mend(&mut self) -> Result<(), PollError> {
        Ok(())
    }

    /// Takes in what one of its own threads has to say.
    fn receive(&mut self, event: StreamEvent) -> Followed {
        let _ = event;
        Followed::Nothing
    }

    /// Ends what is under way in it, from another thread and for good.
    fn stopper(&self) -> Option<Stopper> {
        None
    }

    /// Whether it was ended so: what it answers is then no news.
    fn is_stopped(&self) -> bool {
        false
    }

    /// Does what is due between two polls.
    fn tend(&mut self, now: Instant) -> Tended {
        let _ = now;
        Tended::default()
    }
}

/// A wait that is up to a fifth longer, at random: replicas, shards and watches shall not call in step.
#[must_use]
pub fn spread(wait: Duration) -> Duration {
    // The standard library's only source of randomness; it need not be good.
    let random = RandomState::new().hash_one(0) % 1000;
    wait.mul_f64(1.0 + 0.2 * random as f64 / 1000.0)
}

/// What came of tending to a source.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tended {
    /// When there will be something to do again, if that is before the next poll.
    pub next: Option<Instant>,
    /// As [`Followed::Changed`].
    pub changed: bool,
    /// As [`Followed::Relist`].
    pub relist: bool,
}

/// What came of an event.
#[derive(Debug)]
pub enum Followed {
    /// Nothing that shows.
    Nothing,
    /// The source holds something else than before, or other parts of it have failed.
    Changed,
    /// A part of it has to be read again, soon: [`Source::relist`].
    Relist,
    /// It cannot be followed any more, as if a poll had failed.
    Failed(PollError),
}

/// A part of a source that failed at its last try, while the source as a whole worked.
#[derive(Debug)]
pub struct Fault {
    /// Why.
    pub error: PollError,
    /// It stands among what the source holds, as the error of a Secret.
    pub is_shown: bool,
    /// The source is up all the same.
    pub is_slight: bool,
}

/// Why a poll failed.
#[derive(Debug)]
pub struct PollError {
    /// A code for `jwt_exporter_source_errors_total`, from a closed list.
    pub reason: &'static str,
    /// For the log: what was asked, what came back, and what the operator can do.
    pub message: String,
    /// The server asked not to be called again before that.
    pub retry_after: Option<Duration>,
    /// Nobody but an operator can mend it: it is tried again more slowly.
    pub needs_operator: bool,
}

impl fmt::Display for PollError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for PollError {}
