//! Which state of the cluster a list asks for, as it goes over the wire.

use super::*;

/// Resource version, how it has to match, and limit.
fn wants(request: &Request) -> [String; 3] {
    ["resourceVersion", "resourceVersionMatch", "limit"].map(|name| request.query(name).unwrap_or_default())
}

const NEWEST: [&str; 3] = ["", "", "500"];

/// Waits for a list that is not older than this, and not the newest either.
fn await_list_not_before(scene: &Scene, version: &str) {
    wait_for("a list of that version", LIMIT, || {
        let lists: Vec<_> = scene.asked(false).iter().map(wants).collect();
        let found = lists.iter().any(|list| *list == [version, "NotOlderThan", ""]);
        if found { Ok(()) } else { Err(format!("{lists:?}")) }
    });
}

#[test]
fn the_first_list_is_cached_and_the_next_not_older_than_what_was_seen() {
    let scene = Scene::new();
    let exporter = scene.exporter("polling_interval: 1s\n");
    let watch = &scene.await_watches(1)[0];
    assert_eq!(wants(&scene.asked(false)[0]), ["0", "", ""]);
    assert_eq!((version_asked(watch).as_str(), watch.query("allowWatchBookmarks").as_deref()), ("10", Some("true")));
    scene.lists(|_, _| list(14, &[("a", 5), ("b", 13)]));
    scene.send(put("b", 20));
    await_list_not_before(&scene, "20");
    scene.lists(|_, _| list(30, &[("a", 5), ("b", 20)]));
    scene.send(bookmark(77));
    await_list_not_before(&scene, "77");
    // What an event says of the time before a list does not lead back there.
    scene.lists(|_, _| list(90, &[("a", 5)]));
    await_list_not_before(&scene, "90");
    scene.send(put("b", 80));
    scene.send(bookmark(81));
    scene.send(put("c", 89));
    let count = scene.asked(false).len();
    for list in &scene.await_lists(count + 3)[count..] {
        assert_eq!(wants(list), ["90", "NotOlderThan", ""]);
    }
    assert_eq!(scene.asked(true).len(), 1, "the same watch all the while");
    assert_eq!(shown(&exporter.metrics()), state(&[("a", 5)]));
}

/// All at once would be a burst each hour, of one exporter or of all shards.
#[test]
fn watches_do_not_end_in_step() {
    let scene = Scene::new();
    let _exporter = scene.followed(&["a", "b", "c", "d", "e"]);
    let seconds = |watch: &Request| watch.query("timeoutSeconds").unwrap().parse::<u32>().unwrap();
    let asked: BTreeSet<u32> = scene.await_watches(5).iter().map(seconds).collect();
    assert!(asked.len() > 1 && asked.iter().all(|seconds| (3000..=3600).contains(seconds)), "{asked:?}");
}

#[test]
fn without_watches_every_list_is_the_newest() {
    let scene = Scene::new();
    let _exporter = scene.exporter("polling_interval: 300ms\nwatch: false\n");
    for list in scene.await_lists(3) {
        assert_eq!(wants(&list), NEWEST);
    }
    assert_eq!(scene.asked(true).len(), 0);
}

#[test]
fn a_cache_that_is_behind_is_passed_by() {
    let scene = Scene::new();
    scene.lists(|request, _| match version_asked(request).as_str() {
        "0" => list(10, &[("a", 5)]),
        "" => list(60, &[("a", 55)]),
        _ => Answer::json(
            504,
            &json!({
                "kind": "Status", "status": "Failure", "code": 504, "reason": "Timeout",
                "message": "Too large resource version: 50, current: 20",
                "details": {"causes": [{"reason": "ResourceVersionTooLarge"}], "retryAfterSeconds": 1},
            }),
        ),
    });
    let exporter = scene.followed(&["x"]);
    scene.send(put("a", 50));
    await_state(&exporter, "an event", &[("a", 50)]);
    scene.send(b"garbage\n".to_vec());
    await_state(&exporter, "the newest list", &[("a", 55)]);
    let lists: Vec<_> = scene.asked(false).iter().map(wants).collect();
    assert_eq!(lists[1..], [["50", "NotOlderThan", ""].map(str::to_owned), NEWEST.map(str::to_owned)]);
    assert_eq!(version_asked(&scene.await_watches(2)[1]), "50");
    let metrics = exporter.wait_for_metrics("up again", |metrics| up(metrics) == 1.0);
    assert_eq!(errors(&metrics, ""), errors(&metrics, "bad_answer"), "the detour is no failure");
}
