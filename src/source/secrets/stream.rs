//! One selector in one place: from its list on, followed by a watch.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A watch that ends sooner than this did not do its work: it is opened again more and more slowly.
const SHORT: Duration = Duration::from_secs(10);

/// The first pause before a watch is opened again, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// Where a stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It waits for a list to start from.
    Idle,
    /// A thread is asking the server.
    Opening,
    /// The server has accepted.
    Open,
    /// It will be opened again, from where it was.
    Paused {
        /// Not before this.
        until: Instant,
    },
    /// It is never watched: there are too many, or the configuration says so.
    Polled,
    /// We may not watch. The next poll asks again.
    Denied,
}

/// One selector in one place.
pub(super) struct Stream {
    /// Which of the source's places.
    pub(super) scope: usize,
    /// Which of the selectors: a Secret may come by several.
    pub(super) number: usize,
    pub(super) selector: String,
    pub(super) state: State,
    /// The resource version up to which everything is known; empty before the first list.
    pub(super) position: String,
    /// The resource version of the last list, if it is a number: what happened before that is in the list.
    pub(super) listed_at: u64,
    /// The last list came from the API server's watch cache.
    pub(super) from_cache: bool,
    /// Counts how often it was opened.
    pub(super) opening: u64,
    /// Tells the thread of the last opening that nobody listens any more.
    pub(super) cancelled: Arc<AtomicBool>,
    opened: Instant,
    short_lives: u32,
}

impl Stream {
    pub(super) fn new(scope: usize, number: usize, selector: String) -> Self {
        Self {
            scope,
            number,
            selector,
            state: State::Polled,
            position: String::new(),
            listed_at: 0,
            from_cache: false,
            opening: 0,
            cancelled: Arc::default(),
            opened: Instant::now(),
            short_lives: 0,
        }
    }

    /// Takes over where a list has ended.
    pub(super) fn start_from(&mut self, resource_version: String, from_cache: bool) {
        self.from_cache = from_cache;
        self.listed_at = resource_version.parse().unwrap_or(0);
        self.position = resource_version;
    }

    /// A new opening: its number, and its flag.
    pub(super) fn open(&mut self, now: Instant) -> (u64, Arc<AtomicBool>) {
        self.give_up();
        self.state = State::Opening;
        self.opening += 1;
        self.opened = now;
        (self.opening, Arc::clone(&self.cancelled))
    }

    /// What the thread of the last opening goes on to say is not listened to.
    pub(super) fn give_up(&mut self) {
        self.cancelled.store(true, Ordering::Relaxed);
        self.cancelled = Arc::default();
    }

    /// An open watch has ended: it is paused, for longer each time that it lived for a moment only.
    pub(super) fn pause(&mut self, now: Instant) {
        let short = now.saturating_duration_since(self.opened) < SHORT;
        self.short_lives = if short { self.short_lives.saturating_add(1) } else { 0 };
        let (first, longest) = PAUSES;
        let doublings = self.short_lives.saturating_sub(1).min(10);
        self.state = State::Paused { until: now + first.saturating_mul(1 << doublings).min(longest) };
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.give_up();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_that_ends_at_once_is_opened_more_and_more_slowly() {
        let start = Instant::now();
        let mut stream = Stream::new(0, 0, String::new());
        let mut pause = |opened: u64, lived: u64| {
            let opened = start + Duration::from_secs(opened);
            let ended = opened + Duration::from_secs(lived);
            stream.open(opened);
            stream.pause(ended);
            let State::Paused { until } = stream.state else { panic!("{:?}", stream.state) };
            until.duration_since(ended).as_secs()
        };
        assert_eq!(
            [pause(0, 0), pause(1, 1), pause(2, 9), pause(3, 0), pause(4, 0), pause(5, 0)],
            [1, 2, 4, 8, 10, 10]
        );
        assert_eq!([pause(100, 3000), pause(4000, 0)], [1, 1]);
    }

    #[test]
    fn an_earlier_thread_is_told_that_it_is_over() {
        let mut stream = Stream::new(0, 0, String::new());
        let (first, flag) = stream.open(Instant::now());
        let (second, other) = stream.open(Instant::now());
        assert!(second > first && flag.load(Ordering::Relaxed) && !other.load(Ordering::Relaxed));
        drop(stream);
        assert!(other.load(Ordering::Relaxed));
    }
}
