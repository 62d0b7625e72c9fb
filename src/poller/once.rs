//! One look at every source, for the commands that answer and end.

use super::polled::{guarded, judge};
use crate::metrics::OwnMetrics;
use crate::snapshot::{ScopeStatus, Snapshot, SourceStatus};
use crate::source::{Held, Source};
use crate::time::UnixSeconds;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

/// Polls each source once, all at the same time, whatever becomes of the others, and tells `done` the name of each behind it.
/// What they hold is one snapshot, in the order of `sources`.
pub fn poll_once(
    mut sources: Vec<Box<dyn Source>>,
    max_series: usize,
    own: &OwnMetrics,
    done: impl Fn(&str) + Sync,
) -> Snapshot {
    let mut looked: Vec<Option<(SourceStatus, Held)>> = sources.iter().map(|_| None).collect();
    let helpers = sources.len().saturating_sub(1);
    let jobs = Mutex::new(sources.iter_mut().zip(&mut looked));
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        while let Some((source, looked)) = next() {
            *looked = Some(look(source.as_mut(), own));
            done(source.name());
        }
    };
    thread::scope(|scope| {
        for _ in 0..helpers {
            // Where there is no thread, those that there are do it one after the other.
            let _ = thread::Builder::new().name("source".to_owned()).spawn_scoped(scope, work);
        }
        work();
    });
    let looked = looked.iter().flatten();
    Snapshot::assemble(looked.map(|(status, held)| (status, held.as_slice())), max_series)
}

fn look(source: &mut dyn Source, own: &OwnMetrics) -> (SourceStatus, Held) {
    let mut status = SourceStatus { tried: true, ..SourceStatus::untried(source.name()) };
    let begun = Instant::now();
    let result = guarded(|| source.poll()).unwrap_or_else(Err);
    own.observe_poll(&status.name, begun.elapsed().as_secs_f64());
    let held = source.held().clone();
    for reason in source.take_errors() {
        own.count_source_error(&status.name, reason);
    }
    match result {
        Err(error) => {
            own.count_source_error(&status.name, error.reason);
            status.scopes = source.scopes().into_iter().map(|scope| ScopeStatus { up: false, ..scope }).collect();
            status.failure = Some(error.message.as_str().into());
        }
        Ok(()) => {
            for error in held.iter().flat_map(|secret| &secret.errors) {
                own.count_source_error(&status.name, error.reason.as_str());
            }
            judge(&mut status, source);
            status.last_success = Some(UnixSeconds::now());
        }
    }
    status.secrets = held.len();
    status.tokens = held.iter().map(|secret| secret.tokens.len()).sum();
    (status, held)
}
