//! How another set of sources gets to the poller while it is at work.

use crate::source::Source;
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
    New(SourceNumber, Box<dyn Source>),
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
            let Place::New(number, source) = place else { continue };
            let goes_on = |place: &&mut Place| matches!(place, Place::GoesOn(known) if *known == number);
            if let Some(place) = next.sources.iter_mut().find(goes_on) {
                *place = Place::New(number, source);
            }
        }
        *waiting = Some(next);
    }

    pub(super) fn take(&self) -> Option<Lineup> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Message, Poller};
    use super::*;
    use crate::metrics::{BuildInfo, OwnMetrics};
    use crate::observation::{ExtraLength, SecretObservation};
    use crate::published::Published;
    use crate::snapshot::Snapshot;
    use crate::source::secrets::{StreamEvent, StreamNews};
    use crate::source::{Followed, Held, PollError};
    use crate::time::UnixSeconds;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::mpsc;

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

    struct House {
        poller: Poller,
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
            let poller = Poller::new(lineup(vec![]), own.clone(), Arc::clone(&published), Arc::clone(&handover));
            let (fails, alive, events) = (Arc::default(), Arc::default(), Arc::default());
            Self { poller, handover, published, own, fails, alive, events, number: SourceNumber::FIRST }
        }

        /// What stands behind `#` is not of the source's name.
        fn source(&mut self, name: &str) -> (SourceNumber, Box<dyn Source>) {
            let (fails, _alive, events) = (self.fails.clone(), self.alive.clone(), self.events.clone());
            self.number = self.number.next();
            (self.number, Box::new(Counting { name: name.to_owned(), held: Held::new(), fails, _alive, events }))
        }

        fn new_place(&mut self, name: &str) -> (SourceNumber, Place) {
            let (number, source) = self.source(name);
            (number, Place::New(number, source))
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
        house.poller.poll_due();
        assert_eq!(house.shown(), ["changed#old-0", "gone-0", "kept-0"]);

        let (_, new) = house.new_place("changed#new");
        house.hand_over(vec![new, Place::GoesOn(kept)]);
        assert_eq!(house.shown(), ["changed#old-0", "kept-0"], "at once");
        let text = house.text();
        assert!(text.contains("source_up{source=\"changed\"} 1") && !text.contains("source=\"gone\""), "{text}");

        house.fails.store(true, Ordering::SeqCst);
        house.poller.poll_due();
        assert_eq!(house.shown(), ["changed#old-0", "kept-0"], "a first try that failed");
        let text = house.text();
        assert!(text.contains("source_up{source=\"changed\"} 0") && text.contains("source_up{source=\"kept\"} 1"));

        house.fails.store(false, Ordering::SeqCst);
        let begun = std::time::Instant::now();
        while house.shown()[0] == "changed#old-0" && begun.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(house.poller.poll_due().min(Duration::from_millis(100)));
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
        assert!(house.poller.poll_due() > HOUR / 2);
        let sources = vec![Place::GoesOn(kept)];
        house.poller.take_over(Lineup { sources, interval: Duration::from_millis(1), max_series: 100 });
        std::thread::sleep(Duration::from_millis(5));
        house.poller.poll_due();
        assert_eq!(house.shown(), ["kept-0", "kept-1"]);
    }

    #[test]
    fn late_news_of_a_source_that_is_gone_reach_nobody() {
        let mut house = House::empty();
        let (gone, old) = house.new_place("one");
        let (there, new) = house.new_place("one");
        house.hand_over(vec![old]);
        house.hand_over(vec![new]);
        let (news, messages) = mpsc::sync_channel(9);
        let events = Arc::clone(&house.events);
        for source in [gone, there, gone] {
            let event = StreamEvent { stream: 0, opening: 1, what: StreamNews::Line(Vec::new()) };
            news.send(Message::News(source, event)).unwrap();
        }
        news.send(Message::Stop).unwrap();
        house.poller.run(&messages);
        assert_eq!(events.load(Ordering::SeqCst), 1);
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
        house.poller.poll_due();
        assert_eq!(house.shown(), ["a-0", "c-0"]);
    }

    #[test]
    fn ten_thousand_lineups_leave_nothing_behind() {
        let mut house = House::empty();
        let (kept, place) = house.new_place("kept");
        house.hand_over(vec![place]);
        // Well, so that it is not tried again in the middle.
        house.poller.poll_due();
        let mut length = None;
        for round in 0..10_000_u32 {
            // Each name is new, and each fails once: both make series.
            let (_, other) = house.new_place(&format!("other-{:04}", round));
            let (_, changed) = house.new_place("changed");
            house.fails.store(round % 2 == 0, Ordering::SeqCst);
            house.hand_over(vec![Place::GoesOn(kept), other, changed]);
            house.poller.poll_due();
            if round % 1000 == 999 {
                // The numbers grow, and there are no more lines.
                let lines = house.text().lines().count();
                assert_eq!(*length.get_or_insert(lines), lines, "{}", house.text());
            }
        }
        assert_eq!(Arc::strong_count(&house.alive), 1 + 3, "kept, other and changed");
    }
}
