//! The API server refuses: 401, 403, 410, 429, 5xx; on a list, on a watch, or inside of one.

use super::*;

fn refused(code: u16, reason: &str) -> Answer {
    Answer::status_object(code, reason)
}

fn patient(code: u16, reason: &str) -> Answer {
    Answer::status_object_with(code, reason, &[("Retry-After", "3")])
}

const PATIENCE: Duration = Duration::from_secs(3);

/// The server knows no other token from now on.
fn only_knows(scene: &Scene, bearer: &'static str) {
    let known = move |request: &Request| request.header("authorization") == Some(&format!("Bearer {bearer}"));
    scene.lists(move |request, _| if known(request) { list(30, &[("a", 25)]) } else { refused(401, "Unauthorized") });
    scene.watches(
        move |request, open| {
            if known(request) { open.answer(request) } else { refused(401, "Unauthorized") }
        },
    );
}

#[test]
fn a_token_that_is_rotated_in_mid_watch() {
    let scene = Scene::new();
    only_knows(&scene, "first");
    let setup = Setup::new("");
    let token_file = setup.folder().join("token");
    std::fs::write(&token_file, "first").unwrap();
    let mut exporter = scene.start(setup.kubeconfig(&Kubeconfig::new(scene.url()).token_file("token")));
    exporter.wait_until_ready();
    scene.await_watches(1);
    scene.send(put("a", 31));
    await_state(&exporter, "a change before", &[("a", 31)]);

    // In time: nobody notices.
    std::fs::write(&token_file, "second").unwrap();
    only_knows(&scene, "second");
    scene.close_watches();
    let opened = wait_for("a watch with the new token", LIMIT, || {
        let watches = scene.asked(true);
        let found = watches.into_iter().find(|watch| watch.header("authorization") == Some("Bearer second"));
        found.ok_or_else(|| exporter.log())
    });
    assert_eq!(version_asked(&opened), "31");
    scene.send(put("a", 32));
    let metrics = await_state(&exporter, "a change after", &[("a", 32)]);
    assert_eq!((up(&metrics), errors(&metrics, "")), (1.0, 0.0), "{}", exporter.log());

    // Too late.
    only_knows(&scene, "third");
    scene.close_watches();
    let during = exporter.wait_for_metrics("failures", |metrics| up(metrics) == 0.0);
    assert_eq!(shown(&during), state(&[("a", 32)]));
    assert_eq!(errors(&during, ""), errors(&during, "unauthorized"));
    assert_eq!(last_success(&during), last_success(&metrics));
    assert_eq!(exporter.log_lines("[ERROR]").len(), 1, "{}", exporter.log());
    std::fs::write(&token_file, "third").unwrap();
    exporter.wait_for_metrics("up again", |metrics| up(metrics) == 1.0 && shown(metrics) == state(&[("a", 25)]));
}

#[test]
fn the_right_to_watch_goes_and_comes() {
    let scene = Scene::new();
    let exporter = scene.exporter("polling_interval: 1s\n");
    scene.await_watches(1);
    scene.send(put("a", 12));
    await_state(&exporter, "a change that a watch told", &[("a", 12)]);

    scene.lists(|_, _| list(30, &[("a", 25)]));
    scene.watches(|_, _| refused(403, "Forbidden"));
    scene.close_watches();
    await_state(&exporter, "a change that a list told", &[("a", 25)]);
    scene.lists(|_, _| list(40, &[("a", 35)]));
    let metrics = await_state(&exporter, "a change that the next list told", &[("a", 35)]);
    assert_eq!((up(&metrics), errors(&metrics, "")), (1.0, 0.0));
    let lists = scene.await_lists(scene.asked(false).len() + 2);
    let last = lists.last().unwrap();
    assert_eq!((version_asked(last).as_str(), last.query("limit").as_deref()), ("", Some("500")), "{last:?}");
    assert_eq!(exporter.log_lines("watching is not allowed").len(), 1, "{}", exporter.log());

    scene.watches_stay_open();
    let count = scene.asked(true).len();
    assert_eq!(version_asked(scene.await_watches(count + 1).last().unwrap()), "40");
    scene.lists(|_, _| list(40, &[("a", 35), ("b", 36)]));
    scene.send(put("b", 41));
    await_state(&exporter, "a change that a watch told again", &[("a", 35), ("b", 41)]);
    assert_eq!(exporter.log_lines("[ERROR]").len(), 0, "{}", exporter.log());
}

/// A webhook may allow one watch and not another.
#[test]
fn one_watch_of_two_that_is_forbidden_is_told_once() {
    let scene = Scene::new();
    scene.watches(|request, open| match request.query("labelSelector").as_deref() {
        Some("x") => open.answer(request),
        _ => refused(403, "Forbidden"),
    });
    let exporter = scene.exporter("label_selectors: [x, y]\npolling_interval: 1s\n");
    scene.await_watches(5);
    assert_eq!(exporter.log_lines("watching is not allowed").len(), 1, "{}", exporter.log());
    assert_eq!(up(&exporter.metrics()), 1.0);
}

#[test]
fn the_right_to_list_goes_and_comes() {
    let scene = Scene::new();
    let exporter = scene.exporter("polling_interval: 1s\n");
    let before = await_state(&exporter, "the first list", &[("a", 5)]);
    scene.lists(|_, _| refused(403, "Forbidden"));
    let during = exporter.wait_for_metrics("failures", |metrics| errors(metrics, "forbidden") >= 2.0);
    assert_eq!((up(&during), shown(&during)), (0.0, state(&[("a", 5)])));
    assert!(last_success(&during) <= last_success(&before) + 2.0);
    assert_eq!(exporter.log_lines("[ERROR]").len(), 1, "{}", exporter.log());
    // The watch goes on as long as it is let.
    scene.send(put("a", 12));
    assert_eq!(up(&await_state(&exporter, "a change meanwhile", &[("a", 12)])), 0.0);
    scene.lists(|_, _| list(40, &[("a", 35)]));
    exporter.wait_for_metrics("up again", |metrics| up(metrics) == 1.0 && shown(metrics) == state(&[("a", 35)]));
}

/// In each form in which it comes, it leads to a list of the newest state, in pages, and to a watch from there.
fn gone(during: impl FnOnce(&Scene)) {
    let scene = Scene::new();
    let exporter = scene.followed(&["x"]);
    assert_eq!(version_asked(&scene.asked(false)[0]), "0");
    // In mid-list too, once.
    let mut begun = 0;
    scene.lists(move |request, _| {
        if request.query("continue").is_some() {
            return refused(410, "Expired");
        }
        begun += 1;
        if begun > 1 {
            return list(30, &[("a", 25), ("b", 26)]);
        }
        let metadata = json!({"resourceVersion": "20", "continue": "expires"});
        Answer::json(200, &json!({"kind": "SecretList", "metadata": metadata, "items": [secret("old", 19)]}))
    });
    during(&scene);
    let metrics = await_state(&exporter, "the state of the list", &[("a", 25), ("b", 26)]);
    assert_eq!((up(&metrics), errors(&metrics, "")), (1.0, 0.0), "{}", exporter.log());
    let lists = scene.asked(false);
    assert_eq!(lists.len(), 4, "{lists:?}");
    for list in &lists[1..] {
        assert_eq!((version_asked(list).as_str(), list.query("limit").as_deref()), ("", Some("500")), "{list:?}");
    }
    wait_for("a watch from the list's version", LIMIT, || {
        let last = version_asked(scene.asked(true).last().unwrap());
        if last == "30" { Ok(()) } else { Err(last) }
    });
    scene.send(put("a", 31));
    await_state(&exporter, "a change after that", &[("a", 31), ("b", 26)]);
}

#[test]
fn gone_as_an_event() {
    gone(|scene| scene.send(error_event(410, "Expired")));
}

#[test]
fn gone_as_a_status() {
    gone(|scene| {
        scene.watches(|request, open| match version_asked(request).as_str() {
            "10" => refused(410, "Expired"),
            _ => open.answer(request),
        });
        scene.close_watches();
    });
}

#[test]
fn a_server_that_asks_for_patience_gets_it() {
    std::thread::scope(|scope| {
        for (code, reason) in [(429, "TooManyRequests"), (503, "ServiceUnavailable")] {
            scope.spawn(move || a_list_has_patience(code, reason));
            scope.spawn(move || a_watch_has_patience(code, reason));
        }
    });
}

fn a_list_has_patience(code: u16, reason: &'static str) {
    let scene = Scene::new();
    scene.lists(move |request, _| match request.before {
        0 => patient(code, reason),
        _ => list(10, &[("a", 5)]),
    });
    let exporter = scene.exporter("");
    let requests = scene.server().wait_for_requests(2, LIMIT);
    assert!(requests[1].at - requests[0].at >= PATIENCE, "{code}");
    await_state(&exporter, "the list", &[("a", 5)]);
}

fn a_watch_has_patience(code: u16, reason: &'static str) {
    let scene = Scene::new();
    // One of the two asks for more patience than the other.
    scene.watches(move |request, open| match (request.before < 4, request.query("labelSelector").as_deref()) {
        (true, Some("x")) => refused(500, "InternalError"),
        (true, _) => patient(code, reason),
        _ => open.answer(request),
    });
    let exporter = scene.exporter("label_selectors: [x, y]\n");
    let requests = scene.server().wait_for_requests(5, LIMIT);
    let refusal = requests[2].at.max(requests[3].at);
    assert!(requests[4].at - refusal >= PATIENCE - Duration::from_millis(100), "{code} {requests:?}");
    exporter.wait_for_metrics("up again", |metrics| up(metrics) == 1.0);
}
