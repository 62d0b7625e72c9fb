use super::*;
use crate::metrics::BuildInfo;
use crate::observation::{ExtraLength, Reason, SecretObservation, TokenError};
use crate::source::secrets::{StreamEvent, StreamNews};
use crate::source::{Followed, Held, PollError, Source};
use crate::time::UnixSeconds;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};

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

/// Once asked, it answers when it is let go.
struct Hanging(Held, Arc<Mutex<()>>);

impl Source for Hanging {
    fn name(&self) -> &str {
        "hanging"
    }

    fn held(&self) -> &Held {
        &self.0
    }

    fn poll(&mut self) -> Result<(), PollError> {
        drop(self.1.lock());
        self.0 = broken_secret("hung");
        Ok(())
    }
}

/// Panics where nobody expects it.
struct Treacherous;

impl Source for Treacherous {
    fn name(&self) -> &str {
        "treacherous"
    }

    fn held(&self) -> &Held {
        panic!("on purpose")
    }

    fn poll(&mut self) -> Result<(), PollError> {
        Ok(())
    }
}

fn broken_secret(name: &str) -> Held {
    let error =
        TokenError { location: format!("secret_key=\"{name}\"").into(), reason: Reason::NoToken, detail: "".into() };
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

fn own_metrics() -> OwnMetrics {
    OwnMetrics::new(BuildInfo { version: "", revision: "", rustc: "" }).unwrap()
}

fn lineup(sources: Vec<Box<dyn Source>>) -> Lineup {
    let mut number = SourceNumber::FIRST;
    let place = |source: Box<dyn Source>| {
        number = number.next();
        Place::New(number, source.into())
    };
    Lineup { sources: sources.into_iter().map(place).collect(), interval: HOUR, max_series: 100 }
}

/// A poller whose only worker is turned by hand.
fn by_hand(source: Box<dyn Source>, own: OwnMetrics, published: &Arc<Published<Snapshot>>) -> (Poller, Worker) {
    let (hired, worker) = mpsc::channel();
    let begin = Box::new(move |worker| {
        hired.send(worker).unwrap();
        None
    });
    let (wake, _) = mpsc::sync_channel(1);
    let poller = Poller::beginning_by(begin, lineup(vec![source]), own, Arc::clone(published), Arc::default(), wake);
    (poller, worker.recv().unwrap())
}

/// What runs by itself; ends with the test's process at the latest.
struct House {
    own: OwnMetrics,
    published: Arc<Published<Snapshot>>,
    ended: mpsc::Receiver<()>,
}

impl House {
    fn of(lineup: Lineup) -> Self {
        let own = own_metrics();
        let published = Arc::new(Published::new(Snapshot::default()));
        let (wake, woken) = mpsc::sync_channel(1);
        let poller = Poller::new(lineup, own.clone(), Arc::clone(&published), Arc::default(), wake);
        let (end, ended) = mpsc::channel();
        std::thread::spawn(move || {
            poller.run(&woken);
            let _ = end.send(());
        });
        Self { own, published, ended }
    }

    /// Waits until the exposition has such a text.
    fn shows(&self, wanted: &str) -> String {
        let begun = Instant::now();
        loop {
            let text = exposition(&self.published, &self.own);
            if text.contains(wanted) {
                return text;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{wanted} is not in\n{text}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn a_failed_poll_and_a_panic_keep_what_was_known() {
    let own = own_metrics();
    let published = Arc::new(Published::new(Snapshot::default()));
    let script = [Ok(broken_secret("s")), Err("connect"), Ok(broken_secret("s"))];
    let source = Box::new(Scripted(script.into(), Held::new()));
    let (mut poller, mut worker) = by_hand(source, own.clone(), &published);
    assert!(published.load().ready().is_err());

    let mut poll = |up: bool, lines: &[&str]| {
        worker.polled.due = Instant::now();
        let wait = worker.turn();
        assert!(poller.collect().is_continue());
        assert_eq!(wait > Duration::from_secs(60), up, "{wait:?}");
        let text = exposition(&published, &own);
        assert!(text.contains("secret_name") || text.contains("reason=\"no_token\"} 1"), "{text}");
        assert!(text.contains(&format!("jwt_exporter_source_up{{source=\"scripted\"}} {}\n", u8::from(up))), "{text}");
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
    let asked = Arc::new(AtomicUsize::new(0));
    let inbox = Inbox::new();
    let notify = inbox.notify();
    let source = Box::new(Lively(Held::new(), Arc::clone(&asked)));
    let sources = vec![Place::New(SourceNumber::FIRST, Seat { source, inbox })];
    let house = House::of(Lineup { sources, interval: HOUR, max_series: 100 });
    for opening in 1..=EVENTS {
        assert!(notify(StreamEvent { stream: 0, opening, what: StreamNews::Line(Vec::new()) }));
    }
    house.shows(&format!("secret_key=\"{EVENTS}\""));
    let shown = asked.load(Ordering::SeqCst);
    assert!((2..100).contains(&shown), "{shown} times");
}

#[test]
fn a_refusal_after_a_long_absence_is_soon_tried_again() {
    let published = Arc::new(Published::new(Snapshot::default()));
    let reasons = [["connect"; 8].as_slice(), &["forbidden"; 8], &["connect"]].concat();
    let source = Box::new(Scripted(reasons.into_iter().map(Err).collect(), Held::new()));
    let (_poller, mut worker) = by_hand(source, own_metrics(), &published);
    let mut wait = || {
        worker.polled.due = Instant::now();
        worker.turn().as_secs_f64().round() as u64
    };
    let waits: Vec<u64> = (0..17).map(|_| wait()).collect();
    assert!((8..=10).contains(&waits[7]) && (50..=60).contains(&waits[15]), "{waits:?}");
    assert!(waits[8] <= 1 && waits[16] <= 1, "{waits:?}");
}

/// It recovers soon after the server's return, since it is asked again soon, however long it was away.
#[test]
fn an_outage_of_hours_does_not_lengthen_the_waits() {
    for (reason, longest) in [("connect", 10), ("forbidden", 60)] {
        let published = Arc::new(Published::new(Snapshot::default()));
        let script = [vec![Err(reason); 400], vec![Ok(broken_secret("s"))]].concat();
        let source = Box::new(Scripted(script.into(), Held::new()));
        let (mut poller, mut worker) = by_hand(source, own_metrics(), &published);
        let mut turn = || {
            worker.polled.due = Instant::now();
            worker.turn()
        };
        for failure in 0..400 {
            let wait = turn();
            assert!(wait <= Duration::from_secs(longest), "{reason}: {wait:?} after {failure}");
        }
        assert!(turn() > HOUR / 2, "it worked");
        assert!(poller.collect().is_continue());
        assert!(exposition(&published, &poller.own).contains("source_up{source=\"scripted\"} 1"));
    }
}

#[test]
fn a_source_that_hangs_delays_no_other() {
    let hangs = Arc::new(Mutex::new(()));
    let held = hangs.lock().unwrap();
    let inbox = Inbox::new();
    let notify = inbox.notify();
    let mut lineup = lineup(vec![Box::new(Hanging(Held::new(), Arc::clone(&hangs)))]);
    let lively = Box::new(Lively(Held::new(), Arc::default()));
    lineup.sources.push(Place::New(SourceNumber::FIRST, Seat { source: lively, inbox }));
    let house = House::of(lineup);
    house.shows("source_up{source=\"lively\"} 1");
    for opening in 1..=3 {
        assert!(notify(StreamEvent { stream: 0, opening, what: StreamNews::Line(Vec::new()) }));
        let text = house.shows(&format!("secret_key=\"{opening}\""));
        assert!(text.contains("source_up{source=\"hanging\"} 0"), "{text}");
        assert!(house.published.load().ready().unwrap_err().contains("hanging"));
    }
    drop(held);
    assert!(house.shows("secret_key=\"hung\"").contains("secret_key=\"3\""));
    assert!(house.published.load().ready().is_ok());
}

#[test]
fn a_defect_outside_of_a_source_ends_the_poller() {
    let house = House::of(lineup(vec![Box::new(Treacherous)]));
    house.ended.recv_timeout(Duration::from_secs(60)).unwrap();
}

#[test]
fn sources_that_never_let_go_cost_so_many_threads_and_no_more() {
    let hangs = Arc::new(Mutex::new(()));
    let held = hangs.lock().unwrap();
    let hanging = || -> Box<dyn Source> { Box::new(Hanging(Held::new(), Arc::clone(&hangs))) };
    let own = own_metrics();
    let (wake, _) = mpsc::sync_channel(1);
    let published = Arc::new(Published::new(Snapshot::default()));
    let mut poller = Poller::new(lineup(vec![hanging()]), own.clone(), Arc::clone(&published), Arc::default(), wake);
    let begun = Instant::now();
    let (mut rounds, mut rounds_full) = (0, 0);
    // A worker that is told to go before it polls goes: until all hang, it may take more rounds than there are threads.
    while rounds < 100 || rounds_full < 50 {
        let workers = Arc::strong_count(&poller.alive) - 1;
        assert!(workers <= 1 + MOST_STUCK, "{workers}");
        poller.take_over(lineup(vec![hanging()]));
        assert!(poller.waiting.len() <= 1);
        let full = (Arc::strong_count(&poller.alive), poller.waiting.len()) == (1 + 1 + MOST_STUCK, 1);
        rounds_full = if full { rounds_full + 1 } else { 0 };
        rounds += 1;
        assert!(begun.elapsed() < Duration::from_secs(60), "after {rounds} rounds not every thread is in use");
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(held);
    let begun = Instant::now();
    while Arc::strong_count(&poller.alive) > 2 || !poller.waiting.is_empty() {
        poller.begin_with_waiting();
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(10));
    }
    while published.load().rows().count() == 0 {
        assert!(poller.collect().is_continue() && begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(10));
    }
    let text = exposition(&published, &own);
    assert!(text.contains("poll_duration_seconds_count{source=\"hanging\"} 1\n"), "only the last one counts: {text}");
}
