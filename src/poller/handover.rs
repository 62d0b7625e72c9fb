//! How another set of sources gets to the poller while it is at work.

use super::Seat;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Tells one source from every other that this process ever had, so that late news of an old one reach nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceNumber(u64);

impl SourceNumber {
    /// That of the first source.
    pub const FIRST: Self = Self(0);

    /// One that was not there yet.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// One place in a [`Lineup`].
pub enum Place {
    /// The source that the poller has already.
    GoesOn(SourceNumber),
    /// A new one. It takes over what one of the same name showed, if that is not in the lineup any more.
    New(SourceNumber, Seat),
}

impl Place {
    pub(super) fn goes_on(&self) -> Option<SourceNumber> {
        if let Self::GoesOn(number) = self { Some(*number) } else { None }
    }
}

/// What the poller works with.
pub struct Lineup {
    /// In the order of the configuration; names are unique. What is not here goes.
    pub sources: Vec<Place>,
    /// From the start of one poll to the start of the next.
    pub interval: Duration,
    /// Series of one of the reference's families, in all.
    pub max_series: usize,
}

/// Where a lineup waits until the poller has time.
///
/// Whoever puts one here is never kept waiting: the poller may be in the middle of a poll that takes long.
#[derive(Default)]
pub struct Handover(Mutex<Option<Lineup>>);

impl Handover {
    /// Leaves a lineup for the poller, instead of one that still waits. What was new there and goes on now is handed along.
    pub fn put(&self, mut next: Lineup) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for place in waiting.take().into_iter().flat_map(|lineup| lineup.sources) {
            let Place::New(number, seat) = place else { continue };
            let goes_on = |place: &&mut Place| matches!(place, Place::GoesOn(known) if *known == number);
            if let Some(place) = next.sources.iter_mut().find(goes_on) {
                *place = Place::New(number, seat);
            }
        }
        *waiting = Some(next);
    }

    pub(super) fn take(&self) -> Option<Lineup> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Poller;
    use super::super::worker::{Inbox, Worker};
    use super::*;
    use crate::metrics::{BuildInfo, OwnMetrics};
    use crate::observation::{ExtraLength, SecretObservation};
    use crate::published::Published;
    use crate::snapshot::Snapshot;
    use crate::source::secrets::{Notify, StreamEvent, StreamNews};
    use crate::source::{Followed, Held, PollError, Source};
    use crate::time::UnixSeconds;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::{Arc, mpsc};
    use std::time::Instant;

    /// Brings a Secret per poll or event, each of which it counts; fails while it is told to.
    struct Counting {
        name: String,
        held: Held,
        fails: Arc<AtomicBool>,
        _alive: Arc<()>,
        events: Arc<AtomicUsize>,
    }

    impl Counting {
        fn put(&mut self) {
            let name = format!("{}-{}", self.name, self.held.len());
            let detail = crate::observation::TokenError {
                location: format!("secret_name=\"{name}\"").into(),
                reason: crate::observation::Reason::NoToken,
                detail: "".into(),
            };
            let secret = SecretObservation {
                namespace: "ns".into(),
                name: name.into(),
                tokens: [].into(),
                errors: [detail].into(),
                kept: [].into(),
                version: 0,
                extra: ExtraLength::default(),
            };
            self.held.push(Arc::new(secret));
        }
    }

    impl Source for Counting {
        fn name(&self) -> &str {
            self.name.split('#').next().unwrap()
        }

        fn held(&self) -> &Held {
            &self.held
        }

        fn poll(&mut self) -> Result<(), PollError> {
            if self.fails.load(Ordering::SeqCst) {
                let message = "it is told to".into();
                return Err(PollError { reason: "connect", message, retry_after: None, needs_operator: false });
            }
            self.put();
            Ok(())
        }

        fn receive(&mut self, _: StreamEvent) -> Followed {
            self.events.fetch_add(1, Ordering::SeqCst);
            self.put();
            Followed::Changed
        }
    }

    /// Its workers are turned by hand.
    struct House {
        poller: Poller,
        hired: mpsc::Receiver<Worker>,
        workers: Vec<Worker>,
        handover: Arc<Handover>,
        published: Arc<Published<Snapshot>>,
        own: OwnMetrics,
        fails: Arc<AtomicBool>,
        alive: Arc<()>,
        events: Arc<AtomicUsize>,
        number: SourceNumber,
    }

    const HOUR: Duration = Duration::from_secs(3600);

    fn lineup(sources: Vec<Place>) -> Lineup {
        Lineup { sources, interval: HOUR, max_series: 100 }
    }

    impl House {
        fn empty() -> Self {
            let own = OwnMetrics::new(BuildInfo { version: "", revision: "", rustc: "" }).unwrap();
            let published = Arc::new(Published::new(Snapshot::default()));
            let handover = Arc::new(Handover::default());
            let (hire, hired) = mpsc::channel();
            let begin = Box::new(move |worker| hire.send(worker).err().map(|mpsc::SendError(worker)| worker));
            let (wake, _) = mpsc::sync_channel(1);
            let (cell, next) = (Arc::clone(&published), Arc::clone(&handover));
            let poller = Poller::beginning_by(begin, lineup(vec![]), own.clone(), cell, next, wake);
            let (fails, alive, events) = (Arc::default(), Arc::default(), Arc::default());
            let (workers, number) = (Vec::new(), SourceNumber::FIRST);
            Self { poller, hired, workers, handover, published, own, fails, alive, events, number }
        }

        /// What stands behind `#` is not of the source's name.
        fn source(&mut self, name: &str) -> (SourceNumber, Box<dyn Source>) {
            let (fails, _alive, events) = (self.fails.clone(), self.alive.clone(), self.events.clone());
            self.number = self.number.next();
            (self.number, Box::new(Counting { name: name.to_owned(), held: Held::new(), fails, _alive, events }))
        }

        fn new_place(&mut self, name: &str) -> (SourceNumber, Place) {
            let (number, source) = self.source(name);
            (number, Place::New(number, source.into()))
        }

        /// What its threads would tell goes where the second part leads.
        fn place_with_news(&mut self, name: &str) -> (Place, Notify) {
            let (number, source) = self.source(name);
            let inbox = Inbox::new();
            let notify = inbox.notify();
            (Place::New(number, Seat { source, inbox }), notify)
        }

        /// Each worker does what is due, or ends; how long there is nothing to do.
        fn poll_due(&mut self) -> Duration {
            self.workers.extend(self.hired.try_iter());
            self.workers.retain(|worker| !worker.is_over());
            let wait = self.workers.iter_mut().map(Worker::turn).min();
            assert!(self.poller.collect().is_continue());
            wait.unwrap_or(HOUR)
        }

        /// The poller takes the next lineup and polls nothing yet.
        fn hand_over(&mut self, sources: Vec<Place>) {
            self.handover.put(lineup(sources));
            let lineup = self.handover.take().unwrap();
            self.poller.take_over(lineup);
        }

        fn text(&self) -> String {
            let mut text = Vec::new();
            crate::metrics::encode(&self.published.load(), &self.own, UnixSeconds(0), &mut text).unwrap();
            String::from_utf8(text).unwrap()
        }

        /// The names of the Secrets that show.
        fn shown(&self) -> Vec<String> {
            let text = self.text();
            let lines = text.lines().filter_map(|line| line.strip_prefix("jwt_exporter_token_error{secret_name=\""));
            lines.map(|line| line.split('"').next().unwrap().to_owned()).collect()
        }
    }

    #[test]
    fn what_a_replaced_source_showed_stays_until_its_successor_has_succeeded() {
        let mut house = House::empty();
        let (kept, kept_place) = house.new_place("kept");
        let (_, old) = house.new_place("changed#old");
        let (_, gone) = house.new_place("gone");
        house.hand_over(vec![kept_place, old, gone]);
        house.poll_due();
        assert_eq!(house.shown(), ["changed#old-0", "gone-0", "kept-0"]);

        let (_, new) = house.new_place("changed#new");
        house.hand_over(vec![new, Place::GoesOn(kept)]);
        assert_eq!(house.shown(), ["changed#old-0", "kept-0"], "at once");
        let text = house.text();
        assert!(text.contains("source_up{source=\"changed\"} 1") && !text.contains("source=\"gone\""), "{text}");

        house.fails.store(true, Ordering::SeqCst);
        house.poll_due();
        assert_eq!(house.shown(), ["changed#old-0", "kept-0"], "a first try that failed");
        let text = house.text();
        assert!(text.contains("source_up{source=\"changed\"} 0") && text.contains("source_up{source=\"kept\"} 1"));

        house.fails.store(false, Ordering::SeqCst);
        let begun = std::time::Instant::now();
        while house.shown()[0] == "changed#old-0" && begun.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(house.poll_due().min(Duration::from_millis(100)));
        }
        assert_eq!(house.shown(), ["changed#new-0", "kept-0"], "and kept was not polled again");
        assert!(house.text().contains("source_up{source=\"changed\"} 1"));
    }

    #[test]
    fn who_was_ready_stays_ready_with_a_source_that_was_never_asked() {
        let mut house = House::empty();
        let (_, new) = house.new_place("new");
        assert!(house.published.load().ready().is_ok());
        house.hand_over(vec![new]);
        assert!(house.text().contains("source_up{source=\"new\"} 0"));
        assert!(house.published.load().ready().is_ok());
    }

    #[test]
    fn a_shorter_interval_counts_from_the_last_poll() {
        let mut house = House::empty();
        let (kept, place) = house.new_place("kept");
        house.hand_over(vec![place]);
        assert!(house.poll_due() > HOUR / 2);
        let sources = vec![Place::GoesOn(kept)];
        house.poller.take_over(Lineup { sources, interval: Duration::from_millis(1), max_series: 100 });
        std::thread::sleep(Duration::from_millis(5));
        house.poll_due();
        assert_eq!(house.shown(), ["kept-0", "kept-1"]);
    }

    #[test]
    fn late_news_of_a_source_that_is_gone_reach_nobody() {
        let mut house = House::empty();
        let ((old, tell_old), (new, tell_new)) = (house.place_with_news("one"), house.place_with_news("one"));
        let event = || StreamEvent { stream: 0, opening: 1, what: StreamNews::Line(Vec::new()) };
        house.hand_over(vec![old]);
        let worker = house.hired.recv().unwrap();
        assert!(tell_old(event()));
        house.hand_over(vec![new]);
        worker.run();
        assert!(!tell_old(event()), "and who tells it learns that");
        assert_eq!(house.events.load(Ordering::SeqCst), 0);

        let worker = house.hired.recv().unwrap();
        let running = std::thread::spawn(|| worker.run());
        assert!(tell_new(event()));
        let begun = Instant::now();
        while house.events.load(Ordering::SeqCst) == 0 {
            assert!(begun.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(5));
        }
        house.hand_over(vec![]);
        running.join().unwrap();
    }

    #[test]
    fn what_is_gone_counts_nothing_more() {
        let mut house = House::empty();
        let (_, place) = house.new_place("gone");
        house.hand_over(vec![place]);
        let mut worker = house.hired.recv().unwrap();
        house.fails.store(true, Ordering::SeqCst);
        house.hand_over(vec![]);
        // As if it had been in the middle of it.
        worker.turn();
        house.poll_due();
        assert!(!house.text().contains("source=\"gone\""), "{}", house.text());
    }

    #[test]
    fn a_lineup_that_was_not_taken_hands_on_what_was_new_in_it() {
        let mut house = House::empty();
        let ((first, a), (_, b), (third, c)) = (house.new_place("a"), house.new_place("b"), house.new_place("c"));
        house.handover.put(lineup(vec![a, b]));
        house.handover.put(lineup(vec![c, Place::GoesOn(first)]));
        house.handover.put(lineup(vec![Place::GoesOn(first), Place::GoesOn(third)]));
        assert_eq!(Arc::strong_count(&house.alive), 3, "b was dropped");
        let lineup = house.handover.take().unwrap();
        house.poller.take_over(lineup);
        house.poll_due();
        assert_eq!(house.shown(), ["a-0", "c-0"]);
    }

    #[test]
    fn ten_thousand_lineups_leave_nothing_behind() {
        let mut house = House::empty();
        let (kept, place) = house.new_place("kept");
        house.hand_over(vec![place]);
        // Well, so that it is not tried again in the middle.
        house.poll_due();
        let mut length = None;
        for round in 0..10_000_u32 {
            // Each name is new, and each fails once: both make series.
            let (_, other) = house.new_place(&format!("other-{:04}", round));
            let (_, changed) = house.new_place("changed");
            house.fails.store(round % 2 == 0, Ordering::SeqCst);
            house.hand_over(vec![Place::GoesOn(kept), other, changed]);
            house.poll_due();
            if round % 1000 == 999 {
                // The numbers grow, and there are no more lines.
                let lines = house.text().lines().count();
                assert_eq!(*length.get_or_insert(lines), lines, "{}", house.text());
            }
        }
        assert_eq!(Arc::strong_count(&house.alive), 1 + 3, "kept, other and changed");
    }
}
