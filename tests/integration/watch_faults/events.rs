//! What a watch says: in any order, not as expected, very much of it.

use super::*;

#[test]
fn events_of_two_selectors_in_any_order() {
    let scene = Scene::new();
    scene.lists(|request, _| match request.query("labelSelector").as_deref() {
        Some("x") => list(10, &[("a", 5), ("both", 6)]),
        _ => list(12, &[("both", 6)]),
    });
    let exporter = scene.followed(&["x", "y"]);
    await_state(&exporter, "both lists", &[("a", 5), ("both", 6)]);

    // The second stream is behind the first; its last event tells when all before it was read.
    scene.send_to("x", put("both", 21));
    scene.send_to("x", put("a", 22));
    await_state(&exporter, "the first stream", &[("a", 22), ("both", 21)]);
    scene.send_to("y", put("both", 20));
    scene.send_to("y", put("seen", 23));
    await_state(&exporter, "an older state changes nothing", &[("a", 22), ("both", 21), ("seen", 23)]);

    // It loses the label of the first, then that of the second.
    scene.send_to("x", deleted("both", 30));
    scene.send_to("x", put("a", 31));
    await_state(&exporter, "the other still matches", &[("a", 31), ("both", 21), ("seen", 23)]);
    scene.send_to("y", put("both", 30));
    await_state(&exporter, "its state without that label", &[("a", 31), ("both", 30), ("seen", 23)]);
    scene.send_to("y", deleted("both", 32));
    await_state(&exporter, "neither matches", &[("a", 31), ("seen", 23)]);

    // Older than the list: it shows what came of it.
    scene.send_to("y", put("late", 11));
    scene.send_to("y", deleted("seen", 12));
    scene.send_to("x", deleted("a", 10));
    // A type of a later version, and a member that nobody knows.
    scene.send_to("x", event("REPLACED", &secret("a", 40)));
    scene.send_to("x", event("BOOKMARK", &json!({"metadata": {"resourceVersion": "41"}, "new": [1, {}]})));
    scene.send_to("y", put("last", 42));
    scene.send_to("x", put("first", 43));
    let last = [("a", 31), ("first", 43), ("last", 42), ("seen", 23)];
    let metrics = await_state(&exporter, "what is left", &last);
    assert_eq!((up(&metrics), errors(&metrics, "")), (1.0, 0.0), "{}", exporter.log());
    assert_eq!(scene.server().requests().len(), 4, "two lists and two watches");
}

/// Something that ends the watch, after which it is tried again from where it was, and costs a list, from the cache and not
/// older than what was seen; and nothing else.
fn costs_a_list(piece: Vec<u8>, reason: &str, says: &str) {
    let scene = Scene::new();
    let exporter = scene.followed(&["x"]);
    scene.send(put("a", 11));
    let before = await_state(&exporter, "a change before", &[("a", 11)]);
    // At the list there is no failure any more: a change shows that it came.
    scene.lists(|_, _| list(30, &[("a", 11), ("b", 26)]));
    scene.send(piece);
    let during = exporter.wait_for_metrics("the failure", |metrics| up(metrics) == 0.0);
    assert_eq!((errors(&during, reason), errors(&during, "")), (1.0, 1.0));
    assert!(shown(&during).is_superset(&state(&[("a", 11)])));
    let line = &exporter.log_lines("[ERROR]")[0];
    assert!(line.contains(says) && line.contains("what was read before stays shown"), "{line}");
    let after = exporter.wait_for_metrics("up again", |metrics| up(metrics) == 1.0);
    assert_eq!(shown(&after), state(&[("a", 11), ("b", 26)]));
    assert!(last_success(&after) >= last_success(&before));
    let lists = scene.asked(false);
    assert_eq!((lists.len(), version_asked(&lists[1]).as_str()), (2, "11"));
    assert_eq!(version_asked(&scene.await_watches(2)[1]), "11");
    scene.send(put("b", 31));
    await_state(&exporter, "a change after", &[("a", 11), ("b", 31)]);
}

#[test]
fn what_no_watch_says() {
    let cases: &[(&[u8], &str, &str)] = &[
        (b"garbage\n", "bad_answer", "an event"),
        (b"{\"type\":\"MODIFIED\"}\n", "bad_answer", "an event"),
        (b"{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"name\":\"a\"}}}\n", "bad_answer", "no namespace"),
        (b"{\"type\":\"MODIFIED\",\"object\":\"\xff\"}\n", "bad_answer", "an event"),
        (b"{\"type\":\"BOOKMARK\",\"object\":{}}\n", "bad_answer", "an event"),
        (&error_event(500, "InternalError"), "server_error", "500: InternalError"),
        (&error_event(429, "TooManyRequests"), "too_many_requests", "429: TooManyRequests"),
    ];
    std::thread::scope(|scope| {
        for &(piece, reason, says) in cases {
            let piece = piece.to_vec();
            scope.spawn(move || costs_a_list(piece, reason, says));
        }
    });
}

const MEBIBYTE: u64 = 1 << 20;

#[test]
fn a_line_without_an_end() {
    let scene = Scene::new();
    let exporter = scene.followed(&["x"]);
    let before = exporter.resident_bytes();
    let mut most = 0;
    scene.send(b"{\"type\":\"".to_vec());
    for _ in 0..64 {
        let piece = vec![b'x'; MEBIBYTE as usize];
        let sent = {
            let script = scene.script.lock().unwrap();
            script.open.0[0].1.send(piece)
        };
        if sent.is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(15));
        most = most.max(exporter.resident_bytes());
    }
    let metrics = exporter.wait_for_metrics("the failure", |metrics| errors(metrics, "bad_answer") >= 1.0);
    assert_eq!(shown(&metrics), state(&[("a", 5)]));
    assert!(exporter.log_lines("[ERROR]")[0].contains("more than 16777216 bytes"), "{}", exporter.log());
    assert!(most - before < 28 * MEBIBYTE, "{} MiB more", (most - before) / MEBIBYTE);
    exporter.wait_for_metrics("up again", |metrics| up(metrics) == 1.0);
    assert!(exporter.resident_bytes() < before + 8 * MEBIBYTE, "its memory goes back");
}

#[test]
fn an_object_of_a_mebibyte() {
    let scene = Scene::new();
    let exporter = scene.followed(&["x"]);
    let before = exporter.resident_bytes();
    for version in 11..31 {
        let mut big = secret("big", version);
        big["data"]["other"] = base64(&vec![b'e'; MEBIBYTE as usize]).into();
        scene.send(event("MODIFIED", &big));
    }
    await_state(&exporter, "the last of them", &[("a", 5), ("big", 30)]);
    let more = exporter.resident_bytes().saturating_sub(before);
    assert!(more < 24 * MEBIBYTE, "{} MiB more after 20 of 1.4 MiB each", more / MEBIBYTE);
}

#[test]
fn a_flood_of_events() {
    const EVENTS: i64 = 5_000;
    let scene = Scene::new();
    let exporter = scene.followed(&["x"]);
    let before = exporter.resident_bytes();
    for number in 0..EVENTS {
        // Each of 500 Secrets in ten states, one of them gone at the end.
        let name = format!("secret-{:03}", number % 500);
        scene.send(put(&name, 11 + number));
    }
    scene.send(deleted("secret-000", 11 + EVENTS));
    let names: Vec<_> = (1..500).map(|number| (format!("secret-{number:03}"), 11 + EVENTS - 500 + number)).collect();
    let mut expected: Vec<_> = names.iter().map(|(name, version)| (name.as_str(), *version)).collect();
    expected.push(("a", 5));
    let metrics = await_state(&exporter, "every last state", &expected);
    assert_eq!((up(&metrics), errors(&metrics, "")), (1.0, 0.0));
    assert_eq!(scene.server().requests().len(), 2, "a list and a watch");
    let more = exporter.resident_bytes().saturating_sub(before);
    assert!(more < 16 * MEBIBYTE, "{} MiB more", more / MEBIBYTE);
}
