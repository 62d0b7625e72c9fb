//! Watches that break off, or fall silent: they go on from where they were.

use super::*;
use jwt_exporter::jwt::ClaimPaths;
use jwt_exporter::kubernetes::Cluster;
use jwt_exporter::kubernetes::access::Access;
use jwt_exporter::observation::{Bounds, Reading};
use jwt_exporter::source::secrets::{ListTimeouts, SecretsSource, StreamEvent, StreamNews};
use jwt_exporter::source::{Followed, Source};
use std::sync::mpsc::Receiver;

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
        scene.cut_connections();
        let watches = scene.await_watches(count);
        assert_eq!(version_asked(&watches[count - 1]), (version + 100).to_string(), "from the bookmark on");
    }
    scene.send(put("a", 300));
    let metrics = await_state(&exporter, "a change after the reset", &[("a", 300)]);
    assert_eq!((up(&metrics), errors(&metrics, "")), (1.0, 0.0), "{}", exporter.log());
    assert_eq!(scene.asked(false).len(), 1);
}

/// The source by itself, with a silence that a test can wait for.
fn source(scene: &Scene, silence: Duration) -> (SecretsSource, Receiver<StreamEvent>) {
    let folder = crate::support::process::folder("silence");
    let path = Kubeconfig::new(scene.url()).token("bearer").write(folder.path());
    let access = Access::from_kubeconfig(&path, None, &|_| None).unwrap();
    let cluster = Arc::new(Cluster::connect(access, Arc::new(|_, _, _| ())).unwrap());
    let bounds = Bounds { max_tokens_per_secret: 32, max_series_per_token: 100 };
    let reading = Reading::new(ClaimPaths::default(), bounds);
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
    let again = source.tend(Instant::now()).next.expect("it is opened again");
    source.tend(again);
    assert_eq!(version_asked(&scene.await_watches(2)[1]), "20");
    assert!(matches!(next(&mut source), (false, Followed::Nothing)));
    scene.send(put("a", 21));
    assert!(matches!(next(&mut source), (false, Followed::Changed)));
    assert_eq!(source.held()[0].version, 21);
    assert_eq!(scene.asked(false).len(), 1);
}
