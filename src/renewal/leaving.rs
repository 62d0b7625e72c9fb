//! Told to stop: no try begins any more, and one that is under way ends well, if that can be done in a moment.
//!
//! A try that has its token writes it. One that still waits for it gives it up, and ends its claim, so that a restarted pod or
//! another replica goes on at once. Whatever takes longer than the moment ends with the process, and the claim by itself.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Whoever waits for something else looks so often whether it was told to stop.
const LOOK: Duration = Duration::from_millis(50);

/// Whether the program was told to stop, and how many tries are under way.
#[derive(Debug, Default)]
pub struct Leaving {
    state: Mutex<State>,
    quiet: Condvar,
}

#[derive(Debug, Default)]
struct State {
    told: Option<Instant>,
    tries: usize,
}

/// A try that is under way.
pub(super) struct Try<'a>(&'a Leaving);

impl Leaving {
    /// Tells it, and waits until no try is under way, at most so long.
    pub fn leave(&self, moment: Duration) {
        let mut state = self.state();
        state.told.get_or_insert_with(Instant::now);
        drop(self.quiet.wait_timeout_while(state, moment, |state| state.tries > 0));
    }

    /// Begins a try; `None`: none begins any more.
    pub(super) fn begin(&self) -> Option<Try<'_>> {
        let mut state = self.state();
        if state.told.is_some() {
            return None;
        }
        state.tries += 1;
        Some(Try(self))
    }

    /// Whether it was told.
    pub(super) fn is_told(&self) -> bool {
        self.state().told.is_some()
    }

    /// Waits for what another thread sends: at most `patience`, and once told at most `grace` from then on. `None`: nothing
    /// came. An error: nothing can come any more.
    pub(super) fn wait_for<T>(
        &self,
        coming: &Receiver<T>,
        patience: Duration,
        grace: Duration,
    ) -> Result<Option<T>, RecvTimeoutError> {
        let begun = Instant::now();
        loop {
            match coming.recv_timeout(LOOK) {
                Ok(come) => return Ok(Some(come)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(error) => return Err(error),
            }
            let is_over = self.state().told.is_some_and(|told| told.elapsed() >= grace);
            if is_over || begun.elapsed() >= patience {
                return Ok(None);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Try<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.tries = state.tries.saturating_sub(1);
        drop(state);
        self.0.quiet.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn whoever_leaves_waits_for_the_try_that_is_under_way_and_for_no_other() {
        let leaving = Leaving::default();
        let first = leaving.begin();
        assert!(first.is_some() && !leaving.is_told());
        std::thread::scope(|scope| {
            let left = scope.spawn(|| leaving.leave(LONG));
            while !leaving.is_told() {
                std::thread::yield_now();
            }
            assert!(leaving.begin().is_none());
            assert!(!left.is_finished());
            drop(first);
        });
        leaving.leave(LONG);
    }

    #[test]
    fn a_try_that_does_not_end_keeps_nobody() {
        let leaving = Leaving::default();
        let _hangs = leaving.begin();
        let (begun, moment) = (Instant::now(), Duration::from_millis(10));
        leaving.leave(moment);
        // It is waited for, but not to its end.
        assert!((moment..LONG).contains(&begun.elapsed()) && leaving.is_told());
    }

    #[test]
    fn once_told_nobody_waits_long_for_another_thread() {
        let leaving = Leaving::default();
        let (sender, coming) = mpsc::channel();
        sender.send(1).unwrap();
        assert_eq!(leaving.wait_for(&coming, LONG, Duration::ZERO), Ok(Some(1)));
        assert_eq!(leaving.wait_for(&coming, Duration::ZERO, LONG), Ok(None));
        leaving.leave(Duration::ZERO);
        assert_eq!(leaving.wait_for(&coming, LONG, Duration::ZERO), Ok(None));
        sender.send(2).unwrap();
        assert_eq!(leaving.wait_for(&coming, LONG, Duration::ZERO), Ok(Some(2)), "what has come is taken");
        drop(sender);
        assert!(leaving.wait_for(&coming, LONG, LONG).is_err());
    }
}
