//! One namespace, selector or named Secret of several is in trouble: what is shown of it stays, it alone is down, and the others
//! go on.

use super::*;

/// The Secrets of a namespace, each with the version of its own.
fn list_of(namespace: &str, version: i64, secrets: &[(&str, i64)]) -> Answer {
    let items: Vec<_> = secrets.iter().map(|(name, version)| secret_of(namespace, name, *version)).collect();
    let metadata = json!({"resourceVersion": version.to_string()});
    Answer::json(200, &json!({"kind": "SecretList", "apiVersion": "v1", "metadata": metadata, "items": items}))
}

fn secret_of(namespace: &str, name: &str, version: i64) -> Value {
    let mut secret = secret(name, version);
    secret["metadata"]["namespace"] = json!(namespace);
    secret
}

/// `/api/v1/namespaces/NAME/…`
fn namespace(request: &Request) -> String {
    request.path().split('/').nth(4).unwrap_or_default().to_owned()
}

fn scope_up(metrics: &str, scope: &str) -> f64 {
    value(metrics, "jwt_exporter_scope_up", &[("source", "kubernetes"), ("scope", scope)])
}

fn scopes_up<const N: usize>(metrics: &str, scopes: [&str; N]) -> [f64; N] {
    scopes.map(|scope| scope_up(metrics, scope))
}

/// Reason and name of the errors of Secrets.
fn token_errors(metrics: &str) -> Vec<(String, String)> {
    let samples = find(metrics, "jwt_exporter_token_error", &[]);
    samples.iter().map(|sample| (sample.label("reason").to_owned(), sample.label("secret_name").to_owned())).collect()
}

fn watches_of(scene: &Scene, name: &str) -> Vec<Request> {
    scene.asked(true).into_iter().filter(|watch| namespace(watch) == name).collect()
}

#[test]
fn namespaces_that_are_answered_with_errors_are_down_alone_from_the_first_poll_on() {
    let scene = Scene::new();
    scene.lists(|request, _| match namespace(request).as_str() {
        "broken" => Answer::status_object(500, "InternalError"),
        "garbled" => Answer::new(200, &[], "garbage"),
        name => list_of(name, 10, &[("a", 5)]),
    });
    let exporter = scene.exporter("namespaces: [broken, good, garbled]\n");
    let metrics = exporter.wait_for_metrics("a poll", |metrics| !shown(metrics).is_empty());
    let all = ["broken", "good", "garbled"];
    assert_eq!((scopes_up(&metrics, all), up(&metrics)), ([0.0, 1.0, 0.0], 0.0), "{}", exporter.log());
    assert_eq!([errors(&metrics, "server_error"), errors(&metrics, "bad_answer")], [1.0, 1.0]);
    assert_eq!(exporter.log_lines("[ERROR]").len(), 2, "{}", exporter.log());
    let again = exporter.wait_for_metrics("more tries", |metrics| errors(metrics, "server_error") >= 3.0);
    assert_eq!(errors(&again, "bad_answer"), errors(&again, "server_error"));
    assert_eq!((scopes_up(&again, all), last_success(&again)), ([0.0, 1.0, 0.0], last_success(&metrics)));
    assert_eq!(scene.asked(false).iter().filter(|list| namespace(list) == "good").count(), 1);
    scene.send(event("MODIFIED", &secret_of("good", "a", 12)));
    await_state(&exporter, "a change in the other one", &[("a", 12)]);

    scene.lists(|request, _| list_of(&namespace(request), 20, &[("b", 15)]));
    let metrics = exporter.wait_for_metrics("all are up", |metrics| up(metrics) == 1.0);
    assert_eq!((scopes_up(&metrics, all), shown(&metrics)), ([1.0; 3], state(&[("a", 12), ("b", 15)])));
    assert_eq!(exporter.log_lines("can be read again").len(), 2, "{}", exporter.log());
}

#[test]
fn the_first_ones_of_many_may_be_broken() {
    let scene = Scene::new();
    scene.lists(|request, _| match namespace(request).as_str() {
        "good" => list_of("good", 10, &[("a", 5)]),
        _ => Answer::status_object(500, "InternalError"),
    });
    let exporter = scene.exporter("namespaces: [bad-1, bad-2, bad-3, good]\nwatch: false\n");
    let metrics = await_state(&exporter, "the good one", &[("a", 5)]);
    let all = ["bad-1", "bad-2", "bad-3", "good"];
    assert_eq!((scopes_up(&metrics, all), up(&metrics)), ([0.0, 0.0, 0.0, 1.0], 0.0));
}

#[test]
fn a_server_in_trouble_is_not_asked_for_everything() {
    let scene = Scene::new();
    scene.lists(|_, _| Answer::status_object(500, "InternalError"));
    let exporter = scene.exporter("namespaces: [n-1, n-2, n-3, n-4]\nwatch: false\n");
    let metrics = exporter.wait_for_metrics("failures", |metrics| errors(metrics, "server_error") >= 3.0);
    assert_eq!((up(&metrics), scopes_up(&metrics, ["n-1", "n-4"])), (0.0, [0.0; 2]));
    // Two, to tell the server from a namespace; and then one after the other.
    let asked: Vec<_> = scene.asked(false).iter().take(4).map(namespace).collect();
    assert_eq!(asked, ["n-1", "n-2", "n-3", "n-4"]);
    assert_eq!(exporter.log_lines("[ERROR]").len(), 1, "{}", exporter.log());
}

#[test]
fn a_selector_that_fails_keeps_what_it_brought() {
    let scene = Scene::new();
    let selector = |request: &Request| request.query("labelSelector").unwrap_or_default();
    scene.lists(move |request, _| match selector(request).as_str() {
        "x" => list(10, &[("a", 5), ("both", 6)]),
        _ => list(10, &[("b", 7), ("both", 6)]),
    });
    let exporter = scene.exporter("label_selectors: [x, y]\npolling_interval: 1s\nwatch: false\n");
    await_state(&exporter, "everything", &[("a", 5), ("b", 7), ("both", 6)]);
    scene.lists(move |request, _| match selector(request).as_str() {
        "x" => list(20, &[("a", 15)]),
        _ => Answer::status_object(500, "InternalError"),
    });
    let metrics = await_state(&exporter, "a change of the other", &[("a", 15), ("b", 7), ("both", 6)]);
    assert_eq!(up(&metrics), 0.0);
    scene.lists(|_, _| list(30, &[("a", 15)]));
    exporter.wait_for_metrics("up", |metrics| up(metrics) == 1.0 && shown(metrics) == state(&[("a", 15)]));
}

#[test]
fn a_named_secret_that_cannot_be_read_any_more_keeps_its_samples() {
    let scene = Scene::new();
    let secrets = |version: i64| {
        move |request: &Request, _: &mut Open| {
            Answer::json(200, &secret(request.path().rsplit('/').next().unwrap(), version))
        }
    };
    scene.lists(secrets(5));
    let config = "secrets: [{namespace: ns, name: a, key: token}, {namespace: ns, name: b}]\nwatch: false\n\
         polling_interval: 1s\nsecret_labels: {team: team}\n";
    let exporter = scene.exporter(config);
    await_state(&exporter, "both", &[("a", 5), ("b", 5)]);
    for (code, reason, shows) in [(403, "Forbidden", "forbidden"), (500, "InternalError", "unreadable")] {
        let good = secrets(6);
        scene.lists(move |request, open| match request.path().ends_with("/a") {
            true => Answer::status_object(code, reason),
            false => good(request, open),
        });
        let metrics = exporter
            .wait_for_metrics("the error", |metrics| token_errors(metrics) == [(shows.to_owned(), "a".to_owned())]);
        let metrics = if code == 403 { await_state(&exporter, "the other", &[("a", 5), ("b", 6)]) } else { metrics };
        assert_eq!((shown(&metrics), up(&metrics)), (state(&[("a", 5), ("b", 6)]), 1.0), "{}", exporter.log());
        let labels = [("secret_name", "a"), ("secret_key", "token"), ("team", "")];
        assert_eq!(find(&metrics, "jwt_exporter_token_error", &labels).len(), 1);
    }
    scene.lists(secrets(7));
    let metrics = await_state(&exporter, "both again", &[("a", 7), ("b", 7)]);
    assert_eq!(token_errors(&metrics), []);
}

#[test]
fn a_watch_that_fails_alone_is_tried_again_and_lists_nothing() {
    let scene = Scene::new();
    scene.lists(|request, _| list_of(&namespace(request), 10, &[("a", 5)]));
    let exporter = scene.exporter("namespaces: [bad, good]\n");
    scene.await_watches(2);
    // That of the other one has to be open for a while before it shows that the server works.
    std::thread::sleep(Duration::from_millis(2000));
    scene.watches(|request, open| match namespace(request).as_str() {
        "bad" => Answer::status_object(500, "InternalError"),
        _ => open.answer(request),
    });
    let end = |scene: &Scene, name: &str| {
        scene.script.lock().unwrap().open.0.retain(|(request, _)| namespace(request) != name);
    };
    end(&scene, "bad");
    let metrics =
        exporter.wait_for_metrics("a failure", |metrics| errors(metrics, "server_error") >= 1.0 && up(metrics) == 0.0);
    assert_eq!((scopes_up(&metrics, ["bad", "good"]), up(&metrics)), ([0.0, 1.0], 0.0), "{}", exporter.log());
    assert_eq!(exporter.log_lines("[ERROR]").len(), 1, "{}", exporter.log());
    scene.watches_stay_open();
    let metrics = exporter.wait_for_metrics("up again", |metrics| up(metrics) == 1.0);
    assert_eq!(scopes_up(&metrics, ["bad", "good"]), [1.0; 2]);
    assert_eq!((scene.asked(false).len(), exporter.log_lines("can be read again").len()), (2, 1), "{}", exporter.log());
    assert_eq!(version_asked(watches_of(&scene, "bad").last().unwrap()), "10", "from where it was");
}

#[test]
fn a_right_to_watch_that_goes_for_a_moment_is_asked_for_again() {
    let scene = Scene::new();
    let exporter = scene.followed(&["x"]);
    scene.watches(|_, _| Answer::status_object(403, "Forbidden"));
    scene.close_watches();
    // It was open, was refused, and was so again when that had led to a list.
    scene.await_watches(3);
    scene.watches_stay_open();
    let count = scene.asked(true).len();
    scene.await_watches(count + 1);
    scene.send(put("a", 31));
    let metrics = await_state(&exporter, "a change that a watch told", &[("a", 31)]);
    assert_eq!((up(&metrics), errors(&metrics, "")), (1.0, 0.0));
    assert_eq!(exporter.log_lines("watching is not allowed").len(), 1, "{}", exporter.log());
}

#[test]
fn a_list_from_the_cache_that_comes_in_pages_is_read_to_its_end() {
    let scene = Scene::new();
    scene.lists(|request, _| {
        let page = |name: &str, token: &str| {
            let metadata = json!({"resourceVersion": "10", "continue": token});
            Answer::json(200, &json!({"kind": "SecretList", "metadata": metadata, "items": [secret(name, 5)]}))
        };
        match request.query("continue").as_deref() {
            None => page("a", "more"),
            Some(_) => page("b", ""),
        }
    });
    let exporter = scene.followed(&["x"]);
    await_state(&exporter, "both pages", &[("a", 5), ("b", 5)]);
    assert_eq!(scene.asked(false).len(), 2);
    assert_eq!(version_asked(&scene.asked(false)[1]), "", "a continue token has its own");
}
