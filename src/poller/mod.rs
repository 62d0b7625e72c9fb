//! The one thread with state that changes: it asks the sources, takes in what their watches say, and publishes what they hold.

mod handover;
mod once;
mod polled;

pub use handover::{Handover, Lineup, Place, SourceNumber};
pub use once::poll_once;

use crate::metrics::OwnMetrics;
use crate::published::Published;
use crate::snapshot::Snapshot;
use crate::source::secrets::StreamEvent;
use polled::Polled;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Events that come close together are published together: assembling a snapshot costs about a millisecond for 20,000
/// tokens, and a change has to show within 0.3 s.
const GATHER: Duration = Duration::from_millis(30);

/// So many events at most are taken in before they are published.
const MOST_GATHERED: usize = 2_000;

/// What wakes the poller.
#[derive(Debug)]
pub enum Message {
    /// A watch of the source with this number has news.
    News(SourceNumber, StreamEvent),
    /// A lineup waits in the [`Handover`].
    Wake,
    /// The end.
    Stop,
}

/// Asks every source at once, then again each interval, and a failing one sooner.
pub struct Poller {
    sources: Vec<Polled>,
    interval: Duration,
    max_series: usize,
    own: OwnMetrics,
    published: Arc<Published<Snapshot>>,
    handover: Arc<Handover>,
    /// It was ready once, and stays it: a source that comes later changes nothing about that.
    ready: bool,
}

impl Poller {
    /// Publishes a first snapshot, in which no source has been asked yet. Further lineups come by `handover`.
    #[must_use]
    pub fn new(lineup: Lineup, own: OwnMetrics, published: Arc<Published<Snapshot>>, handover: Arc<Handover>) -> Self {
        let (sources, interval, max_series) = (Vec::new(), lineup.interval, lineup.max_series);
        let mut poller = Self { sources, interval, max_series, own, published, handover, ready: false };
        poller.take_over(lineup);
        poller
    }

    /// Polls and follows until it is told to stop, or nobody is left who could tell.
    pub fn run(mut self, messages: &Receiver<Message>) {
        loop {
            if let Some(lineup) = self.handover.take() {
                self.take_over(lineup);
            }
            let wait = self.poll_due();
            match messages.recv_timeout(wait) {
                Ok(Message::Wake) | Err(RecvTimeoutError::Timeout) => {}
                Ok(Message::News(source, event)) => {
                    if self.follow(source, event, messages).is_break() {
                        return;
                    }
                }
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Goes on with other sources. One that takes the place of another of its name shows what that one held until its own
    /// first success; whatever else is gone leaves the snapshot, and its series with it.
    fn take_over(&mut self, lineup: Lineup) {
        (self.interval, self.max_series) = (lineup.interval, lineup.max_series);
        let mut before = std::mem::take(&mut self.sources);
        for place in lineup.sources {
            match place {
                Place::New(number, source) => self.sources.push(Polled::new(number, source)),
                Place::GoesOn(number) => {
                    let Some(at) = before.iter().position(|polled| polled.number == number) else { continue };
                    let mut polled = before.remove(at);
                    polled.keep_to(self.interval);
                    self.sources.push(polled);
                }
            }
        }
        for gone in before {
            match self.sources.iter_mut().find(|polled| polled.status.name == gone.status.name) {
                Some(successor) => successor.succeed(gone),
                // A series that nothing moves any more says nothing, and names of sources may come and go without end.
                None => self.own.forget_source(&gone.status.name),
            }
        }
        self.publish();
    }

    /// Takes in an event and those that come close behind it, then publishes them together.
    fn follow(&mut self, source: SourceNumber, event: StreamEvent, messages: &Receiver<Message>) -> ControlFlow<()> {
        let until = Instant::now() + GATHER;
        let mut end = ControlFlow::Continue(());
        let mut next = Some((source, event));
        let mut gathered = 0;
        while let Some((source, event)) = next.take() {
            // What one that is gone goes on to say reaches nobody.
            if let Some(polled) = self.sources.iter_mut().find(|polled| polled.number == source) {
                polled.receive(event, self.interval, &self.own);
            }
            gathered += 1;
            if gathered == MOST_GATHERED {
                break;
            }
            match messages.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Message::News(source, event)) => next = Some((source, event)),
                Ok(Message::Stop) => end = ControlFlow::Break(()),
                Ok(Message::Wake) | Err(_) => {}
            }
        }
        self.publish_changes();
        end
    }

    /// Polls what is due, and tells how long there is nothing to do.
    fn poll_due(&mut self) -> Duration {
        for at in 0..self.sources.len() {
            if self.handover.is_waiting() {
                return Duration::ZERO;
            }
            let Some(polled) = self.sources.get_mut(at) else { break };
            let now = Instant::now();
            if polled.due <= now {
                polled.poll(self.interval, &self.own);
            } else if polled.relist_due.is_some_and(|due| due <= now) {
                polled.relist(self.interval, &self.own);
            } else if !polled.is_failing() && polled.mend_due.is_some_and(|due| due <= now) {
                polled.mend(self.interval, &self.own);
            } else {
                continue;
            }
            polled.changed = false;
            self.publish();
        }
        if self.handover.is_waiting() {
            return Duration::ZERO;
        }
        let now = Instant::now();
        let mut passed = false;
        for polled in &mut self.sources {
            passed |= polled.pass_trial(now);
        }
        if passed {
            self.publish();
        }
        let next = self.sources.iter_mut().map(|polled| polled.tend(now)).min();
        self.publish_changes();
        next.map_or(self.interval, |next| next.saturating_duration_since(Instant::now()))
    }

    fn publish_changes(&mut self) {
        let mut changed = false;
        for polled in self.sources.iter_mut().filter(|polled| polled.changed) {
            polled.show();
            polled.changed = false;
            changed = true;
        }
        if changed {
            self.publish();
        }
    }

    fn publish(&mut self) {
        let sources = self.sources.iter().map(|polled| (&polled.status, polled.shown.as_slice()));
        let mut snapshot = Snapshot::assemble(sources, self.max_series);
        self.ready |= snapshot.ready().is_ok();
        snapshot.set_ready(self.ready);
        self.published.publish(snapshot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::BuildInfo;
    use crate::observation::{ExtraLength, Reason, SecretObservation, TokenError};
    use crate::source::secrets::StreamNews;
    use crate::source::{Followed, Held, PollError, Source};
    use crate::time::UnixSeconds;
    use std::collections::VecDeque;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    /// Answers from a script; panics where it has nothing more to say.
    struct Scripted(VecDeque<Result<Held, &'static str>>, Held);

    impl Source for Scripted {
        fn name(&self) -> &str {
            "scripted"
        }

        fn held(&self) -> &Held {
            &self.1
        }

        fn poll(&mut self) -> Result<(), PollError> {
            self.1 = self.0.pop_front().expect("a panic on purpose").map_err(|reason| PollError {
                reason,
                message: reason.into(),
                retry_after: None,
                needs_operator: reason == "forbidden",
            })?;
            Ok(())
        }
    }

    /// Every event changes something; counts how often it is asked what it holds.
    struct Lively(Held, Arc<AtomicUsize>);

    impl Source for Lively {
        fn name(&self) -> &str {
            "lively"
        }

        fn held(&self) -> &Held {
            self.1.fetch_add(1, Ordering::SeqCst);
            &self.0
        }

        fn poll(&mut self) -> Result<(), PollError> {
            Ok(())
        }

        fn receive(&mut self, event: StreamEvent) -> Followed {
            self.0 = broken_secret(&event.opening.to_string());
            Followed::Changed
        }
    }

    fn broken_secret(name: &str) -> Held {
        let error = TokenError {
            location: format!("secret_key=\"{name}\"").into(),
            reason: Reason::NoToken,
            detail: "".into(),
        };
        let secret = SecretObservation {
            namespace: "ns".into(),
            name: name.into(),
            tokens: [].into(),
            errors: [error].into(),
            kept: [].into(),
            version: 0,
            extra: ExtraLength::default(),
        };
        vec![Arc::new(secret)]
    }

    fn exposition(published: &Published<Snapshot>, own: &OwnMetrics) -> String {
        let mut text = Vec::new();
        crate::metrics::encode(&published.load(), own, UnixSeconds(0), &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    const HOUR: Duration = Duration::from_secs(3600);

    fn lineup(sources: Vec<Place>) -> Lineup {
        Lineup { sources, interval: HOUR, max_series: 100 }
    }

    fn poller_of(source: Box<dyn Source>, own: OwnMetrics, published: &Arc<Published<Snapshot>>) -> Poller {
        let lineup = lineup(vec![Place::New(SourceNumber::FIRST, source)]);
        Poller::new(lineup, own, Arc::clone(published), Arc::default())
    }

    #[test]
    fn a_failed_poll_and_a_panic_keep_what_was_known() {
        let own = OwnMetrics::new(BuildInfo { version: "", revision: "", rustc: "" }).unwrap();
        let published = Arc::new(Published::new(Snapshot::default()));
        let script = [Ok(broken_secret("s")), Err("connect"), Ok(broken_secret("s"))];
        let source = Box::new(Scripted(script.into(), Held::new()));
        let mut poller = poller_of(source, own.clone(), &published);
        assert!(published.load().ready().is_err());

        let mut poll = |up: bool, lines: &[&str]| {
            poller.sources[0].due = Instant::now();
            let wait = poller.poll_due();
            assert_eq!(wait > Duration::from_secs(60), up, "{wait:?}");
            let text = exposition(&published, &own);
            assert!(text.contains("secret_name") || text.contains("reason=\"no_token\"} 1"), "{text}");
            assert!(
                text.contains(&format!("jwt_exporter_source_up{{source=\"scripted\"}} {}\n", u8::from(up))),
                "{text}"
            );
            for line in lines {
                assert!(text.contains(line), "{line} is not in\n{text}");
            }
        };
        poll(true, &["jwt_exporter_error_total 1\n", "jwt_exporter_source_secrets{source=\"scripted\"} 1\n"]);
        poll(false, &["jwt_exporter_error_total 2\n", "{reason=\"connect\",source=\"scripted\"} 1\n"]);
        // An unreadable Secret counts at every poll.
        poll(true, &["jwt_exporter_error_total 3\n", "{reason=\"no_token\",source=\"scripted\"} 2\n"]);
        poll(
            false,
            &[
                "{reason=\"panic\",source=\"scripted\"} 1\n",
                "jwt_exporter_poll_duration_seconds_count{source=\"scripted\"} 4\n",
            ],
        );
        assert!(published.load().ready().is_ok());
    }

    #[test]
    fn a_flood_of_events_is_published_in_few_snapshots() {
        const EVENTS: u64 = 5_000;
        let own = OwnMetrics::new(BuildInfo { version: "", revision: "", rustc: "" }).unwrap();
        let published = Arc::new(Published::new(Snapshot::default()));
        let asked = Arc::new(AtomicUsize::new(0));
        let source = Box::new(Lively(Held::new(), Arc::clone(&asked)));
        let poller = poller_of(source, own.clone(), &published);
        let (news, messages) = mpsc::sync_channel(4);
        let flood = std::thread::spawn(move || {
            for opening in 1..=EVENTS {
                let what = StreamNews::Line(Vec::new());
                news.send(Message::News(SourceNumber::FIRST, StreamEvent { stream: 0, opening, what })).unwrap();
            }
            news.send(Message::Stop).unwrap();
        });
        poller.run(&messages);
        flood.join().unwrap();
        assert!(exposition(&published, &own).contains(&format!("secret_key=\"{EVENTS}\"")), "the last state shows");
        let shown = asked.load(Ordering::SeqCst);
        assert!((2..100).contains(&shown), "{shown} times");
    }

    #[test]
    fn a_refusal_after_a_long_absence_is_soon_tried_again() {
        let own = OwnMetrics::new(BuildInfo { version: "", revision: "", rustc: "" }).unwrap();
        let published = Arc::new(Published::new(Snapshot::default()));
        let reasons = [["connect"; 8].as_slice(), &["forbidden"; 8], &["connect"]].concat();
        let source = Box::new(Scripted(reasons.into_iter().map(Err).collect(), Held::new()));
        let mut poller = poller_of(source, own, &published);
        let mut wait = || {
            poller.sources[0].due = Instant::now();
            poller.poll_due().as_secs_f64().round() as u64
        };
        let waits: Vec<u64> = (0..17).map(|_| wait()).collect();
        assert!(waits[7] >= 10 && waits[15] >= 60, "{waits:?}");
        assert!(waits[8] <= 1 && waits[16] <= 1, "{waits:?}");
    }
}
