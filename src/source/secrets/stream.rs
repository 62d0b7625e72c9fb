//! One selector in one place: from its list on, followed by a watch.

use crate::kubernetes::RequestError;
use crate::source::spread;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A watch that ends sooner than this did not do its work: it is opened again more and more slowly.
const SHORT: Duration = Duration::from_secs(10);

/// The first pause before a watch is opened again, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A watch that has been open for so long works, and so does the server.
pub(super) const PROVEN: Duration = Duration::from_millis(1500);

/// So many of those in a row are no accident.
pub(super) const SHORT_LIVES: u32 = 3;

/// The longest pause of a watch that is forbidden now and was not before.
const LONGEST_DENIAL: Duration = Duration::from_secs(60);

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
    Denied {
        /// We could before: then it is asked again not much later than this.
        again: Option<Instant>,
    },
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
    /// It has to be listed again, from etcd, before it can be followed: the rest of the source has not.
    pub(super) wants_list: bool,
    /// Counts how often it was opened.
    pub(super) opening: u64,
    /// Tells the thread of the last opening that nobody listens any more.
    pub(super) cancelled: Arc<AtomicBool>,
    /// It was told that this one may not be watched.
    pub(super) told_denied: bool,
    /// Why its last list failed, though others came.
    pub(super) list_failure: Option<RequestError>,
    /// Why its watch failed, though others go on; until it [works](Self::works) again.
    pub(super) watch_failure: Option<RequestError>,
    /// It could be watched once.
    pub(super) was_open: bool,
    /// When it was opened last, or that was accepted.
    pub(super) opened: Instant,
    /// Watches in a row that ended too soon.
    pub(super) short_lives: u32,
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
            wants_list: false,
            opening: 0,
            cancelled: Arc::default(),
            told_denied: false,
            list_failure: None,
            watch_failure: None,
            was_open: false,
            opened: Instant::now(),
            short_lives: 0,
        }
    }

    /// Takes over where a list has ended.
    pub(super) fn start_from(&mut self, resource_version: String, from_cache: bool) {
        self.from_cache = from_cache;
        self.wants_list = false;
        self.list_failure = None;
        self.listed_at = resource_version.parse().unwrap_or(0);
        self.position = resource_version;
    }

    /// Everything up to this resource version is known. Events that waited while a list was read do not lead back behind it.
    pub(super) fn advance(&mut self, resource_version: String) {
        let number = |version: &str| version.parse::<u64>().ok();
        let (known, told) = (number(&self.position), number(&resource_version));
        if known.zip(told).is_none_or(|(known, told)| known < told) {
            self.position = resource_version;
        }
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

    /// Why it cannot be read, or not followed.
    pub(super) fn failure(&self) -> Option<&RequestError> {
        self.list_failure.as_ref().or(self.watch_failure.as_ref())
    }

    /// Since when its watch works, or from when on it will if nothing happens; `None` if it is not open.
    pub(super) fn works(&self) -> Option<Instant> {
        (self.state == State::Open).then(|| self.opened + PROVEN)
    }

    /// A watch is over, or could not be opened.
    pub(super) fn ended(&mut self, now: Instant) {
        let short = now.saturating_duration_since(self.opened) < SHORT;
        self.short_lives = if short { self.short_lives.saturating_add(1) } else { 0 };
    }

    /// A watch has [ended](Self::ended): it is opened again at once, or later and later each time that it lived for a moment only.
    /// All `watches` of the source together then open less than one a second.
    pub(super) fn pause(&mut self, now: Instant, watches: usize) {
        self.state = State::Paused { until: now + self.wait(LONGEST_PAUSE, watches) };
    }

    /// The server does not let us watch. What it allowed before is asked for again.
    pub(super) fn deny(&mut self, now: Instant, watches: usize) {
        let again = self.was_open.then(|| now + self.wait(LONGEST_DENIAL, watches));
        self.state = State::Denied { again };
    }

    fn wait(&self, longest: Duration, watches: usize) -> Duration {
        if self.short_lives == 0 {
            return Duration::ZERO;
        }
        let doublings = (self.short_lives - 1).min(10);
        let wait = spread(FIRST_PAUSE.saturating_mul(1 << doublings)).min(longest);
        let together = Duration::from_secs(watches.try_into().unwrap_or(u64::MAX));
        if doublings > 0 { wait.max(together) } else { wait }
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
        let mut pause = |opened: u64, lived: u64, watches: usize| {
            let opened = start + Duration::from_secs(opened);
            let ended = opened + Duration::from_secs(lived);
            stream.open(opened);
            stream.ended(ended);
            stream.pause(ended, watches);
            let State::Paused { until } = stream.state else { panic!("{:?}", stream.state) };
            until.duration_since(ended).as_secs_f64()
        };
        for (opened, lived, least) in [(0, 0, 1.0), (1, 1, 2.0), (2, 9, 4.0), (3, 0, 8.0), (4, 0, 10.0), (5, 0, 10.0)] {
            let paused = pause(opened, lived, 1);
            assert!((least..=10.0_f64.min(least * 1.2)).contains(&paused), "{paused} after {opened}");
        }
        assert_eq!([pause(6, 0, 32), pause(100, 3000, 32)], [32.0, 0.0]);
        assert!(pause(4000, 0, 32) < 2.0);
        assert_eq!(pause(4001, 0, 32), 32.0);
    }

    #[test]
    fn a_position_never_goes_back() {
        let mut stream = Stream::new(0, 0, String::new());
        let mut positions = Vec::new();
        for version in ["9", "10", "8", "", "x", "7"] {
            stream.advance(version.to_owned());
            positions.push(stream.position.clone());
        }
        assert_eq!(positions, ["9", "10", "10", "", "x", "7"], "only numbers have an order");
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
