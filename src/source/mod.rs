//! Where tokens are kept: each source reads its place whole and says what it holds now.
//!
//! A source keeps nothing of what it read: the poller hands back what was held before, so that what did not change is
//! carried over instead of being read again.

mod changes;
mod file_glob;
pub mod manifests;
pub mod secrets;

pub use changes::log_changes;
pub use file_glob::{FileGlob, FolderFault, FoundFiles};

use crate::observation::SecretObservation;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What a source holds, sorted by namespace and name, each Secret once.
pub type Held = Vec<Arc<SecretObservation>>;

/// A place that can be read as a whole.
pub trait Source: Send {
    /// The label `source`.
    fn name(&self) -> &str;

    /// Reads the place. `held` is what it held after the last poll that succeeded.
    ///
    /// # Errors
    /// Why it could not be read to its end; then `held` goes on to be shown.
    fn poll(&mut self, held: &Held) -> Result<Held, PollError>;
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
