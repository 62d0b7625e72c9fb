//! What goes wrong again and again is tried less and less often: never more than about one request a second.

use super::*;

#[test]
fn everything_fails_and_nothing_is_asked_in_a_tight_loop() {
    const WINDOW: Duration = Duration::from_secs(7);
    let answers: [fn() -> Answer; 3] =
        [|| Answer::status_object(500, "InternalError"), || Answer::raw(""), || Answer::status_object(504, "Timeout")];
    std::thread::scope(|scope| {
        for answer in answers {
            scope.spawn(move || {
                let scene = Scene::new();
                let exporter = scene.followed(&["a", "b", "c", "d", "e"]);
                scene.lists(move |_, _| answer());
                scene.watches(move |_, _| answer());
                let begun = Instant::now();
                scene.close_watches();
                scene.cut_connections();
                std::thread::sleep(WINDOW.saturating_sub(begun.elapsed()));
                let count = within(&scene.server().requests(), begun, WINDOW);
                assert!((2..=7).contains(&count), "{count} requests in 7 s");
                let metrics = exporter.metrics();
                assert_eq!((up(&metrics), shown(&metrics)), (0.0, state(&[("a", 5)])));
            });
        }
    });
}

/// The lists before it are good: they are not asked for again and again on its account.
#[test]
fn a_list_that_fails_behind_good_ones() {
    // The first one is of the server as a whole; with the other one, the good ones are shown.
    let answers: [(fn() -> Answer, bool); 2] = [
        (|| Answer::status_object_with(429, "TooManyRequests", &[("Retry-After", "1")]), false),
        (|| Answer::status_object(500, "InternalError"), true),
    ];
    std::thread::scope(|scope| {
        for (answer, alone) in answers {
            for watch in [true, false] {
                scope.spawn(move || fails_behind(answer, alone, watch));
            }
        }
    });
}

fn fails_behind(answer: fn() -> Answer, alone: bool, watch: bool) {
    const WINDOW: Duration = Duration::from_secs(8);
    let scene = Scene::new();
    scene.lists(move |request, _| match request.query("labelSelector").as_deref() {
        Some("e") => answer(),
        _ => list(10, &[("a", 5)]),
    });
    let selectors = ["a", "b", "c", "d", "e"];
    let exporter = scene.exporter(&format!("label_selectors: {selectors:?}\nwatch: {watch}\n"));
    let begun = scene.server().wait_for_requests(1, LIMIT)[0].at;
    std::thread::sleep(WINDOW.saturating_sub(begun.elapsed()));
    let count = within(&scene.server().requests(), begun, WINDOW);
    assert!((7..=8 + selectors.len()).contains(&count), "{count} requests in 8 s");
    assert_eq!(
        (up(&exporter.metrics()), shown(&exporter.metrics())),
        (0.0, state(if alone { &[("a", 5)] } else { &[] }))
    );
    scene.lists(|_, _| list(10, &[("a", 5)]));
    let back = Instant::now();
    exporter.wait_for_metrics("up", |metrics| up(metrics) == 1.0 && shown(metrics) == state(&[("a", 5)]));
    assert!(back.elapsed() < RECOVERY, "{:?}", back.elapsed());
}

/// A list in pages whose last page fails: all of them count.
#[test]
fn a_page_that_fails_behind_good_ones() {
    const WINDOW: Duration = Duration::from_secs(10);
    const PAGES: usize = 5;
    let scene = Scene::new();
    scene.lists(|request, _| match request.query("continue").map_or(0, |page| page.parse().unwrap()) {
        PAGES => Answer::status_object_with(429, "TooManyRequests", &[("Retry-After", "1")]),
        page => {
            let metadata = json!({"resourceVersion": "10", "continue": (page + 1).to_string()});
            Answer::json(200, &json!({"kind": "SecretList", "metadata": metadata, "items": []}))
        }
    });
    let _exporter = scene.exporter("watch: false\n");
    let begun = scene.server().wait_for_requests(1, LIMIT)[0].at;
    std::thread::sleep(WINDOW.saturating_sub(begun.elapsed()));
    let count = within(&scene.server().requests(), begun, WINDOW);
    // The first try, the second, and the third, which waits for what the second cost.
    assert!((2 * (PAGES + 1)..=3 * (PAGES + 1)).contains(&count), "{count} requests in 10 s");
}

#[test]
fn watches_that_end_at_once_again_and_again() {
    let cut: fn(Vec<u8>) -> Answer = |event| {
        let half = put("half", 99);
        let first = format!("{:x}\r\n\r\n", event.len()).len() + event.len();
        Answer::chunked(200, &[&event, &half]).cut_after(first + half.len() / 2)
    };
    let orderly: fn(Vec<u8>) -> Answer = |event| Answer::chunked(200, &[&event]);
    std::thread::scope(|scope| {
        for (selectors, end) in [(&["x"][..], orderly), (&["x"], cut), (&["a", "b", "c", "d", "e"], orderly)] {
            scope.spawn(move || ends_at_once(selectors, end));
        }
    });
}

/// Every watch tells one change and ends. Nothing is lost, nothing is told twice, and no list is needed.
fn ends_at_once(selectors: &[&str], end: fn(Vec<u8>) -> Answer) {
    const WINDOW: Duration = Duration::from_secs(12);
    let scene = Scene::new();
    let mut told = 10;
    scene.watches(move |_, _| {
        told += 1;
        end(put(&format!("secret-{told}"), told))
    });
    let exporter = scene.exporter(&format!("label_selectors: {selectors:?}\n"));
    let begun = scene.server().wait_for_requests(1, LIMIT)[0].at;
    std::thread::sleep(WINDOW.saturating_sub(begun.elapsed()));
    let (lists, watches) = (scene.asked(false), scene.asked(true));
    assert_eq!(lists.len(), selectors.len(), "one for each: {lists:?}");
    let early = within(&watches, begun, WINDOW / 4);
    let late = within(&watches, begun + WINDOW / 4, 3 * WINDOW / 4);
    assert!((1..=10).contains(&late), "{late} watches in nine seconds");
    assert!(early > selectors.len() && early <= 3 * selectors.len(), "{early} watches at first");

    if let [_] = selectors {
        for (number, watch) in watches.iter().enumerate() {
            assert_eq!(version_asked(watch), (10 + number).to_string(), "from where it was");
        }
    }
    let metrics = exporter.wait_for_metrics("every change", |metrics| shown(metrics).len() > watches.len());
    // From the third time on, each is counted.
    assert!(errors(&metrics, "cut_off") >= 1.0 && errors(&metrics, "cut_off") < watches.len() as f64);
    assert_eq!((up(&metrics), errors(&metrics, "")), (1.0, errors(&metrics, "cut_off")), "{}", exporter.log());
    assert_eq!(exporter.log_lines("[WARN] kubernetes").len(), 1, "told once:\n{}", exporter.log());
}

/// Each watch is answered so, while the lists are good.
struct Refusal {
    name: &'static str,
    answer: fn() -> Answer,
    /// The failure that it is; none if it only asks for a list.
    reason: Option<&'static str>,
}

const REFUSALS: &[Refusal] = &[
    Refusal { name: "410", answer: || Answer::status_object(410, "Expired"), reason: None },
    Refusal { name: "410 as an event", answer: || Answer::chunked(200, &[&error_event(410, "Expired")]), reason: None },
    Refusal { name: "500", answer: || Answer::status_object(500, "InternalError"), reason: Some("server_error") },
    Refusal {
        name: "500 as an event",
        answer: || Answer::chunked(200, &[&error_event(500, "InternalError")]),
        reason: Some("server_error"),
    },
    Refusal { name: "garbage", answer: || Answer::chunked(200, &[b"garbage\n"]), reason: Some("bad_answer") },
    Refusal { name: "a cut", answer: || Answer::raw(""), reason: Some("cut_off") },
    Refusal { name: "401", answer: || Answer::status_object(401, "Unauthorized"), reason: Some("unauthorized") },
    Refusal {
        name: "429",
        answer: || Answer::status_object_with(429, "TooManyRequests", &[("Retry-After", "1")]),
        reason: Some("too_many_requests"),
    },
];

#[test]
fn watches_that_are_refused_again_and_again() {
    let twelve = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    std::thread::scope(|scope| {
        for refusal in REFUSALS {
            let most = if refusal.name.starts_with("500") { &twelve[..] } else { &twelve[..5] };
            for selectors in [&twelve[..1], most] {
                let name = format!("{}, {} selectors", refusal.name, selectors.len());
                std::thread::Builder::new().name(name).spawn_scoped(scope, || suffer(refusal, selectors)).unwrap();
            }
        }
    });
}

/// There are never more requests than about one a second, and ever fewer; the source is down all the while.
fn suffer(refusal: &Refusal, selectors: &[&str]) {
    // The first list and watch of each selector, and the first retry, are over before this begins.
    const START: Duration = Duration::from_millis(2500);
    const WINDOW: Duration = Duration::from_secs(12);
    let scene = Scene::new();
    let answer = refusal.answer;
    scene.watches(move |_, _| answer());
    let exporter = scene.exporter(&format!("label_selectors: {selectors:?}\n"));
    let begun = scene.server().wait_for_requests(1, LIMIT)[0].at;
    std::thread::sleep((START + WINDOW).saturating_sub(begun.elapsed()));
    let asked = scene.server().requests();
    let (first, then) = (within(&asked, begun, START), within(&asked, begun + START, WINDOW));
    assert!((2..=12).contains(&then), "{then} requests");
    // A request that is cut off on a kept connection is sent once more on a new one.
    let at_most = if refusal.name == "a cut" { 6 } else { 4 };
    assert!(first > 2 * selectors.len() && first <= at_most * selectors.len(), "{first} requests at first");
    let during = exporter.metrics();
    assert_eq!(shown(&during), state(&[("a", 5)]));
    assert_eq!(exporter.log_lines("works again").len(), 0, "{}", exporter.log());
    let failed = refusal.reason.is_some();
    assert_eq!(exporter.log_lines("[ERROR]").len(), usize::from(failed), "told once:\n{}", exporter.log());
    assert_eq!(up(&during), f64::from(u8::from(!failed)), "it tells whether a watch is failing");
    assert_eq!(errors(&during, ""), errors(&during, refusal.reason.unwrap_or("gone")));
    if !failed {
        // It works by one list after the other: that is said, and counted from the third time on.
        assert!(errors(&during, "gone") >= 1.0, "{}", exporter.log());
        assert_eq!(exporter.log_lines("too old at once").len(), 1, "told once:\n{}", exporter.log());
    }

    let (back, tried) = (Instant::now(), scene.asked(true).len());
    scene.watches_stay_open();
    let watches = scene.await_watches(tried + selectors.len());
    assert!(watches.iter().all(|watch| version_asked(watch) == "10"));
    exporter.wait_for_metrics("up again", |metrics| up(metrics) == 1.0);
    // One that is only too old is no failure, and each try is a list and a watch for every selector.
    assert!(!failed || back.elapsed() < RECOVERY, "{:?}", back.elapsed());
    assert_eq!(exporter.log_lines("works again").len(), usize::from(failed), "{}", exporter.log());
}
