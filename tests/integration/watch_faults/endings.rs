//! Watches that end, or fall silent: they go on from where they were, and never in a tight loop.

use super::*;
use jwt_exporter::jwt::ClaimPaths;
use jwt_exporter::kubernetes::Cluster;
use jwt_exporter::kubernetes::access::Access;
use jwt_exporter::observation::{Bounds, Reading};
use jwt_exporter::source::secrets::{ListTimeouts, SecretsSource, StreamEvent, StreamNews};
use jwt_exporter::source::{Followed, Source};
use std::sync::mpsc::Receiver;

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
    assert_eq!((up(&metrics), errors(&metrics, "")), (1.0, 0.0), "{}", exporter.log());
}

#[test]
fn a_reset_connection() {
    let scene = Scene::new();
    let exporter = scene.followed(&["x"]);
    for (count, version) in [(2, 11), (3, 12)] {
        scene.send(put("a", version));
        await_state(&exporter, "a change", &[("a", version)]);
        scene.send(bookmark(version + 100));
        // Long enough for a bookmark, of which nothing shows.
        std::thread::sleep(Duration::from_millis(300));
        scene.server().cut_connections();
        let watches = scene.await_watches(count);
        assert_eq!(version_asked(&watches[count - 1]), (version + 100).to_string(), "from the bookmark on");
    }
    scene.send(put("a", 300));
    let metrics = await_state(&exporter, "a change after the reset", &[("a", 300)]);
    assert_eq!((up(&metrics), errors(&metrics, "")), (1.0, 0.0), "{}", exporter.log());
    assert_eq!(scene.asked(false).len(), 1);
}

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
                scene.server().cut_connections();
                std::thread::sleep(WINDOW.saturating_sub(begun.elapsed()));
                let count = within(&scene.server().requests(), begun, WINDOW);
                assert!((2..=7).contains(&count), "{count} requests in 7 s");
                let metrics = exporter.metrics();
                assert_eq!((up(&metrics), shown(&metrics)), (0.0, state(&[("a", 5)])));
            });
        }
    });
}

/// The source by itself, with a silence that a test can wait for.
fn source(scene: &Scene, silence: Duration) -> (SecretsSource, Receiver<StreamEvent>) {
    let folder = crate::support::process::folder("silence");
    let path = Kubeconfig::new(scene.url()).token("bearer").write(folder.path());
    let access = Access::from_kubeconfig(&path, None, &|_| None).unwrap();
    let cluster = Arc::new(Cluster::connect(access, Arc::new(|_, _, _| ())).unwrap());
    let bounds = Bounds { max_tokens_per_secret: 32, max_series_per_token: 100 };
    let reading = Reading { claims: ClaimPaths::default(), bounds };
    let source = SecretsSource::new("kubernetes", cluster, vec!["x".into()], "jwt-exporter/secret-key".into(), reading);
    let (news, messages) = channel();
    let notify = Arc::new(move |event| news.send(event).is_ok());
    (source.with_watches(notify).with_timeouts(ListTimeouts::default(), silence), messages)
}

#[test]
fn a_half_open_connection() {
    const SILENCE: Duration = Duration::from_millis(700);
    let scene = Scene::new();
    let (mut source, messages) = source(&scene, SILENCE);
    source.poll().unwrap();
    let next = |source: &mut SecretsSource| {
        let event = messages.recv_timeout(LIMIT).expect("news");
        let ended = matches!(event.what, StreamNews::Ended);
        (ended, source.receive(event))
    };
    assert!(matches!(next(&mut source), (false, Followed::Nothing)), "it was accepted");
    scene.send(put("a", 11));
    assert!(matches!(next(&mut source), (false, Followed::Changed)));
    scene.send(bookmark(20));
    assert!(matches!(next(&mut source), (false, Followed::Nothing)));
    let silent = Instant::now();
    // Nothing more comes, and the connection stays.
    assert!(matches!(next(&mut source), (true, Followed::Nothing)));
    assert!(silent.elapsed() >= SILENCE / 2, "{:?}", silent.elapsed());
    let again = source.tend(Instant::now()).expect("it is opened again");
    source.tend(again);
    assert_eq!(version_asked(&scene.await_watches(2)[1]), "20");
    assert!(matches!(next(&mut source), (false, Followed::Nothing)));
    scene.send(put("a", 21));
    assert!(matches!(next(&mut source), (false, Followed::Changed)));
    assert_eq!(source.held()[0].version, 21);
    assert_eq!(scene.asked(false).len(), 1);
}
