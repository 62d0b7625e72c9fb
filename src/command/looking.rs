//! One look at every source of a configuration, for `check` and `-once`.

use super::BUILD;
use super::sources::{self, Recipe};
use super::terminal::Progress;
use crate::config::Config;
use crate::log::escape;
use crate::metrics::{BuildInfo, OwnMetrics};
use crate::poller;
use crate::snapshot::Snapshot;
use crate::source::{Held, PollError, Source};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A look that takes longer than this says how far it is.
const PATIENCE: Duration = Duration::from_millis(700);

/// Counters from zero.
pub(super) fn own_metrics() -> Result<OwnMetrics, String> {
    let build = BuildInfo { version: BUILD.version, revision: BUILD.revision, rustc: BUILD.rustc };
    OwnMetrics::new(build).map_err(|error| format!("the exporter's own metrics: {error}"))
}

/// Polls every source once, all at the same time; no server, no watch. On a terminal, standard error shows how far it is.
///
/// # Errors
/// That there is none.
pub(super) fn look(config: &Config, own: &OwnMetrics) -> Result<Snapshot, String> {
    // What is read once need not be followed.
    let config = Config { watch: false, ..config.clone() };
    let build = |recipe: &Recipe| match recipe.build(own) {
        Ok(seat) => seat.source,
        // The others are read all the same.
        Err(reason) => Box::new(Unreachable { name: recipe.name().to_owned(), held: Held::new(), reason }),
    };
    let mut sources: Vec<Box<dyn Source>> = sources::recipes(&config).iter().map(build).collect();
    if sources.is_empty() {
        return Err("there is nothing to read: `kubernetes` is false, and no other source is configured".to_owned());
    }
    let seen = Arc::new(AtomicUsize::new(0));
    for source in &mut sources {
        source.count_into(Arc::clone(&seen));
    }
    let reading: Mutex<Vec<String>> = Mutex::new(sources.iter().map(|source| source.name().to_owned()).collect());
    let done = AtomicBool::new(false);
    let progress = Progress::new();
    Ok(thread::scope(|scope| {
        let teller = progress.is_shown().then(|| scope.spawn(|| tell(&progress, &reading, &seen, &done)));
        let snapshot = poller::poll_once(sources, config.max_series, own, |name| {
            reading.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| other != name);
        });
        done.store(true, Ordering::Relaxed);
        if let Some(teller) = teller {
            teller.thread().unpark();
        }
        snapshot
    }))
}

/// A cluster that cannot even be asked: its kubeconfig or service account is not in order.
struct Unreachable {
    name: String,
    held: Held,
    reason: String,
}

impl Source for Unreachable {
    fn name(&self) -> &str {
        &self.name
    }

    fn held(&self) -> &Held {
        &self.held
    }

    fn poll(&mut self) -> Result<(), PollError> {
        Err(PollError {
            reason: crate::kubernetes::Reason::Credentials.as_str(),
            message: self.reason.clone(),
            retry_after: None,
            needs_operator: true,
        })
    }
}

fn tell(progress: &Progress, reading: &Mutex<Vec<String>>, seen: &AtomicUsize, done: &AtomicBool) {
    let begun = Instant::now();
    let mut said = false;
    while !done.load(Ordering::Relaxed) {
        thread::park_timeout(Duration::from_millis(200));
        if begun.elapsed() >= PATIENCE && !done.load(Ordering::Relaxed) {
            let what = named(&reading.lock().unwrap_or_else(PoisonError::into_inner));
            let (seen, seconds) = (seen.load(Ordering::Relaxed), begun.elapsed().as_secs());
            progress.say(&format!("reading {what}: {seen} Secrets so far, {seconds} s"));
            said = true;
        }
    }
    if said {
        progress.clear();
    }
}

/// The sources that are being read, in a few words.
fn named(reading: &[String]) -> String {
    match reading {
        [] => "what was found".to_owned(),
        [one] => escape(one).into_owned(),
        [first, others @ ..] => format!("{} and {} more", escape(first), others.len()),
    }
}
