//! An API server in trouble, or in bad hands: what was read stays shown, the failure is told once and counted, and the
//! source recovers by itself.

use crate::support::exporter::{Exporter, Setup};
use crate::support::exposition::{find, value};
use crate::support::fake_api_server::{Answer, FakeApiServer, Request};
use crate::support::http::gzip;
use crate::support::kubeconfig::Kubeconfig;
use crate::support::{token, wait_for};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const BEARER: &str = "bearer-token-of-the-exporter";
const EXPIRATION: &str = "jwt_exporter_token_expiration_timestamp_seconds";

/// A Secret as the API server writes it. Another `expires` is another state of it.
fn secret(name: &str, expires: i64) -> Value {
    let jwt = token::hs256(&json!({"exp": expires, "sub": name}));
    secret_with(name, &expires.to_string(), jwt.as_bytes())
}

fn secret_with(name: &str, version: &str, value: &[u8]) -> Value {
    let metadata = json!({"name": name, "namespace": "ns", "uid": format!("uid-{name}"), "resourceVersion": version});
    json!({"metadata": metadata, "data": {"token": STANDARD.encode(value)}, "type": "Opaque"})
}

fn list(items: &[Value], continue_token: &str) -> Value {
    let metadata = json!({"resourceVersion": "1000", "continue": continue_token});
    json!({"kind": "SecretList", "apiVersion": "v1", "metadata": metadata, "items": items})
}

/// The list of two pages that a server in good health sends.
fn healthy(request: &Request, expires: i64) -> Answer {
    assert_eq!(request.path(), "/api/v1/secrets");
    match request.query("continue").as_deref() {
        None => Answer::json(200, &list(&[secret("a", expires), secret("b", expires)], "next+/=")),
        Some("next+/=") => Answer::json(200, &list(&[secret("c", expires)], "")),
        Some(other) => panic!("a continue token that nobody gave: {other}"),
    }
}

fn exporter_of(server: &FakeApiServer, interval: &str) -> Exporter {
    let config = format!("polling_interval: {interval}\nwatch: false\n");
    Setup::new(config).kubeconfig(&Kubeconfig::new(server.url()).token(BEARER)).start()
}

/// Name and expiry of everything shown.
fn shown(metrics: &str) -> BTreeSet<(String, i64)> {
    let samples = find(metrics, EXPIRATION, &[]);
    samples.iter().map(|sample| (sample.label("secret_name").to_owned(), sample.value as i64)).collect()
}

fn all_of(expires: i64) -> BTreeSet<(String, i64)> {
    ["a", "b", "c"].map(|name| (name.to_owned(), expires)).into()
}

fn errors(metrics: &str, reason: &str) -> f64 {
    find(metrics, "jwt_exporter_source_errors_total", &[("reason", reason)]).iter().map(|sample| sample.value).sum()
}

fn up(metrics: &str) -> f64 {
    value(metrics, "jwt_exporter_source_up", &[("source", "kubernetes")])
}

/// One way to fail.
struct Fault {
    name: &'static str,
    /// For the requests of a poll that fails.
    answer: fn(&Request) -> Answer,
    reason: &'static str,
    /// Words that the log has for it.
    says: &'static [&'static str],
}

/// Good for the first page, and the fault comes with the second.
fn on_second_page(request: &Request, fault: impl Fn() -> Answer) -> Answer {
    if request.query("continue").is_some() { fault() } else { healthy(request, 9) }
}

const FAULTS: &[Fault] = &[
    Fault {
        name: "500",
        answer: |_| Answer::status_object(500, "InternalError"),
        reason: "server_error",
        says: &["status 500", "scripted: InternalError"],
    },
    Fault {
        name: "503 without a body",
        answer: |_| Answer::new(503, &[], ""),
        reason: "server_error",
        says: &["status 503"],
    },
    Fault {
        name: "410 again and again",
        answer: |request| on_second_page(request, || Answer::status_object(410, "Expired")),
        reason: "gone",
        says: &["status 410", "scripted: Expired"],
    },
    Fault {
        name: "410 on the first page",
        answer: |_| Answer::status_object(410, "Expired"),
        reason: "gone",
        says: &["status 410"],
    },
    Fault {
        name: "429",
        answer: |_| Answer::status_object(429, "TooManyRequests"),
        reason: "too_many_requests",
        says: &["status 429"],
    },
    Fault {
        name: "404",
        answer: |_| Answer::new(404, &[("Content-Type", "text/html")], "<html>nginx</html>"),
        reason: "not_found",
        says: &["status 404", "is this the API server"],
    },
    Fault { name: "418", answer: |_| Answer::new(418, &[], "teapot"), reason: "bad_status", says: &["status 418"] },
    Fault {
        name: "a cut in mid-object",
        answer: |request| on_second_page(request, || Answer::json(200, &list(&[secret("c", 9)], "")).cut_after(200)),
        reason: "cut_off",
        says: &["list secrets in the whole cluster"],
    },
    Fault {
        name: "a cut in a chunk",
        answer: |_| {
            let whole = list(&[secret("a", 9)], "").to_string();
            Answer::chunked(200, &[&whole.as_bytes()[..150], &whole.as_bytes()[150..]]).cut_after(250)
        },
        reason: "cut_off",
        says: &[],
    },
    Fault {
        name: "chunks that end in mid-object",
        answer: |_| Answer::chunked(200, &[&list(&[secret("a", 9)], "").to_string().as_bytes()[..150]]),
        reason: "cut_off",
        says: &[],
    },
    Fault {
        name: "a cut in the head",
        answer: |_| Answer::raw("HTTP/1.1 200 OK\r\nContent-Le"),
        reason: "cut_off",
        says: &[],
    },
    Fault { name: "a cut before the head", answer: |_| Answer::raw(""), reason: "cut_off", says: &[] },
    Fault { name: "no HTTP", answer: |_| Answer::raw("SSH-2.0-OpenSSH_9.2\r\n\r\n"), reason: "bad_answer", says: &[] },
    Fault {
        name: "HTML",
        answer: |_| Answer::new(200, &[("Content-Type", "text/html")], "<html>Please log in</html>"),
        reason: "bad_answer",
        says: &["not a list of objects in JSON", "at byte 0"],
    },
    Fault { name: "nothing", answer: |_| Answer::new(200, &[], ""), reason: "cut_off", says: &[] },
    Fault {
        name: "garbage in mid-list",
        answer: |_| Answer::new(200, &[], format!("{{\"items\":[{},#]}}", secret("a", 9))),
        reason: "bad_answer",
        says: &["an object as item was expected at byte"],
    },
    Fault {
        name: "garbage in an item",
        answer: |_| Answer::new(200, &[], r#"{"items":[{"metadata":{"name":"a","namespace":"ns"},"data":oops}]}"#),
        reason: "bad_answer",
        says: &["an item of the list"],
    },
    Fault {
        name: "items that are no Secrets",
        answer: |_| Answer::json(200, &list(&[json!({"metadata": {"name": "cluster-wide"}})], "")),
        reason: "bad_answer",
        says: &["an item of the list has no name or no namespace"],
    },
    Fault {
        name: "a Status with 200",
        answer: |_| Answer::json(200, &json!({"kind": "Status", "metadata": {}, "status": "Failure", "code": 500})),
        reason: "bad_answer",
        says: &["a member `items` was expected"],
    },
    Fault {
        name: "gzip that is none",
        answer: |_| Answer::new(200, &[("Content-Encoding", "gzip")], "{\"items\":[]}"),
        reason: "bad_answer",
        says: &[],
    },
    Fault {
        name: "a cut in gzip",
        answer: |_| Answer::gzip(200, &list(&[secret("a", 9)], "")).cut_after(100),
        reason: "cut_off",
        says: &[],
    },
    Fault {
        name: "gzip without its end",
        answer: |_| {
            let packed = gzip(list(&[secret("a", 9)], "").to_string().as_bytes());
            Answer::new(200, &[("Content-Encoding", "gzip")], &packed[..packed.len() / 2])
        },
        reason: "cut_off",
        says: &[],
    },
    Fault {
        name: "an item over the limit",
        answer: |_| Answer::json(200, &list(&[secret_with("a", "9", &vec![b'x'; 13 << 20])], "")),
        reason: "bad_answer",
        says: &["an object of the list has more than 16777216 bytes"],
    },
];

#[test]
fn every_fault_keeps_what_was_read_and_is_told_once_and_passes() {
    let failed: Mutex<Vec<String>> = Mutex::default();
    std::thread::scope(|scope| {
        for fault in FAULTS {
            let run = || {
                let outcome = std::panic::catch_unwind(|| suffer(fault));
                if outcome.is_err() {
                    failed.lock().unwrap().push(fault.name.to_owned());
                }
            };
            std::thread::Builder::new().name(fault.name.to_owned()).spawn_scoped(scope, run).unwrap();
        }
    });
    assert_eq!(*failed.lock().unwrap(), [""; 0], "see above");
}

/// Good polls, polls with the fault, good polls.
fn suffer(fault: &'static Fault) {
    const GOOD: usize = 0;
    const FAULTY: usize = 1;
    const GOOD_AGAIN: usize = 2;
    let phase = Arc::new(AtomicUsize::new(GOOD));
    let script_phase = Arc::clone(&phase);
    let server = FakeApiServer::start(move |request| match script_phase.load(Ordering::SeqCst) {
        GOOD => healthy(request, 1111),
        // A continue token of before, if the phase changed between two pages.
        FAULTY => (fault.answer)(request),
        _ => healthy(request, 2222),
    });
    let mut exporter = exporter_of(&server, "1s");
    exporter.wait_until_ready();
    let before = exporter.metrics();
    assert_eq!((up(&before), shown(&before)), (1.0, all_of(1111)));
    assert_eq!(find(&before, "jwt_exporter_source_errors_total", &[]), []);

    phase.store(FAULTY, Ordering::SeqCst);
    let during = exporter.wait_for_metrics(fault.name, |metrics| errors(metrics, fault.reason) >= 2.0);
    assert_eq!(up(&during), 0.0);
    assert_eq!(shown(&during), all_of(1111), "what was read stays shown, and nothing of half a list");
    let last_success = |metrics: &str| {
        value(metrics, "jwt_exporter_source_last_success_timestamp_seconds", &[("source", "kubernetes")])
    };
    assert!(last_success(&during) < (token::now() as f64), "{during}");
    assert_eq!(exporter.get("/readyz").status, 200);
    let failures = find(&during, "jwt_exporter_source_errors_total", &[]);
    assert_eq!(failures.len(), 1, "one reason: {failures:?}");
    let lines = exporter.log_lines("[ERROR]");
    assert_eq!(lines.len(), 1, "told once:\n{}", exporter.log());
    for words in [&["list secrets in the whole cluster", "what was read before stays shown"], fault.says].concat() {
        assert!(lines[0].contains(words), "{words:?}: {}", lines[0]);
    }

    phase.store(GOOD_AGAIN, Ordering::SeqCst);
    let after = exporter.wait_for_metrics("a good poll", |metrics| up(metrics) == 1.0);
    assert_eq!(shown(&after), all_of(2222));
    assert_eq!(value(&after, "jwt_exporter_error_total", &[]), errors(&after, fault.reason));
    assert_eq!(exporter.log_lines("works again").len(), 1, "{}", exporter.log());
    assert!(!exporter.log().contains(BEARER));
    assert!(!exporter.log().contains("panic"), "{}", exporter.log());
}

#[test]
fn a_list_that_expires_in_the_middle_is_begun_again() {
    // The state moves on between the first try and the second: nothing of the first may be left.
    let server = FakeApiServer::start(|request| match (request.before, request.query("continue").is_some()) {
        (0, _) => Answer::json(200, &list(&[secret("a", 1), secret("gone", 1)], "old")),
        (1, true) => Answer::status_object(410, "Expired"),
        (2, true) => panic!("the expired list goes on"),
        (_, false) => Answer::json(200, &list(&[secret("a", 2)], "new")),
        (_, true) => Answer::json(200, &list(&[secret("b", 2)], "")),
    });
    let mut exporter = exporter_of(&server, "1h");
    exporter.wait_until_ready();
    let metrics = exporter.metrics();
    assert_eq!(shown(&metrics), [("a".to_owned(), 2), ("b".to_owned(), 2)].into());
    assert_eq!(find(&metrics, "jwt_exporter_source_errors_total", &[]), []);
    assert_eq!(up(&metrics), 1.0);
    let asked: Vec<_> = server.requests().iter().map(|request| request.query("continue").unwrap_or_default()).collect();
    assert_eq!(asked, ["", "old", "", "new"]);
    for request in server.requests() {
        assert_eq!(request.query("limit").as_deref(), Some("500"));
        assert_eq!(request.query("resourceVersion"), None, "with one, the server may ignore the limit");
        assert_eq!(request.query("labelSelector").as_deref(), Some("monitor.jwt.io/monitoring=true"));
        assert_eq!(request.header("authorization"), Some(format!("Bearer {BEARER}").as_str()));
    }
}

#[test]
fn a_list_that_expires_again_and_again_is_given_up_for_this_poll() {
    let server = FakeApiServer::start(|request| on_second_page(request, || Answer::status_object(410, "Expired")));
    let exporter = exporter_of(&server, "1h");
    exporter.wait_for_metrics("the poll failed", |metrics| errors(metrics, "gone") >= 1.0);
    // Three tries of two pages, and then a pause.
    let polls = value(&exporter.metrics(), "jwt_exporter_poll_duration_seconds_count", &[]) as usize;
    assert!((6 * polls..=6 * polls + 6).contains(&server.requests().len()), "{polls} {}", server.requests().len());
}

#[test]
fn a_server_that_asks_for_patience_gets_it() {
    const PATIENCE: Duration = Duration::from_secs(3);
    let server = FakeApiServer::start(|request| match request.before {
        0 => Answer::status_object_with(429, "TooManyRequests", &[("Retry-After", "3")]),
        _ => healthy(request, 1),
    });
    let mut exporter = exporter_of(&server, "1h");
    let requests = server.wait_for_requests(2, Duration::from_secs(60));
    let waited = requests[1].at - requests[0].at;
    assert!(waited >= PATIENCE, "{waited:?}");
    exporter.wait_until_ready();
    assert_eq!(shown(&exporter.metrics()), all_of(1));
    let line = &exporter.log_lines("[ERROR]")[0];
    assert!(line.contains("status 429") && line.ends_with("next try in 4 s"), "a little later: {line}");
}

#[test]
fn a_redirect_is_not_followed_and_the_token_not_sent_there() {
    let elsewhere = FakeApiServer::start(|request| healthy(request, 1));
    for status in [301, 302, 303, 307, 308] {
        let location = format!("{}/api/v1/secrets", elsewhere.url());
        let server = FakeApiServer::start(move |_| Answer::redirect(status, &location));
        let exporter = exporter_of(&server, "1h");
        let metrics = exporter.wait_for_metrics("the poll failed", |metrics| errors(metrics, "redirect") >= 1.0);
        assert_eq!(up(&metrics), 0.0);
        let line = &exporter.log_lines("[ERROR]")[0];
        for words in [&format!("status {status}"), &elsewhere.url(), "no redirects are followed with a token"] {
            assert!(line.contains(words), "{words}: {line}");
        }
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[test]
fn a_gzip_answer_is_read_like_a_plain_one() {
    let server = FakeApiServer::start(|request| {
        assert!(request.header("accept-encoding").is_some_and(|codings| codings.contains("gzip")));
        let many: Vec<Value> = (0..200).map(|n| secret(&format!("secret-{n}"), n)).collect();
        Answer::gzip(200, &list(&many, ""))
    });
    let mut exporter = exporter_of(&server, "1h");
    exporter.wait_until_ready();
    assert_eq!(shown(&exporter.metrics()), (0..200).map(|n| (format!("secret-{n}"), n)).collect());
}

#[test]
fn an_object_of_a_megabyte_is_read() {
    let server = FakeApiServer::start(|_| {
        let mut big = secret_with("big", "1", &vec![b'e'; 1 << 20]);
        big["data"]["other"] = secret("big", 7)["data"]["token"].take();
        Answer::json(200, &list(&[secret("a", 7), big, secret("z", 7)], ""))
    });
    let mut exporter = exporter_of(&server, "1h");
    exporter.wait_until_ready();
    let metrics = exporter.metrics();
    assert_eq!(shown(&metrics), ["a", "big", "z"].map(|name| (name.to_owned(), 7)).into());
    assert_eq!(find(&metrics, "jwt_exporter_token_error", &[]), []);
}

#[test]
fn kubernetes_false_calls_no_api_server() {
    let server = FakeApiServer::start(|request| healthy(request, 1));
    let address = server.address();
    let mut exporter = Setup::new("kubernetes: false\npolling_interval: 100ms\n")
        .kubeconfig(&Kubeconfig::new(server.url()).token(BEARER))
        .env("KUBERNETES_SERVICE_HOST", &address.ip().to_string())
        .env("KUBERNETES_SERVICE_PORT", &address.port().to_string())
        .env("HTTP_PROXY", &server.url())
        .env("HTTPS_PROXY", &server.url())
        .start();
    exporter.wait_until_ready();
    assert_eq!(find(&exporter.metrics(), "jwt_exporter_source_up", &[("source", "kubernetes")]), []);
    // It would have called at once.
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(server.connections(), 0);
    assert_eq!(exporter.get("/metrics").status, 200);
}

/// The source by itself, with timeouts that a test can wait for.
mod without_end {
    use super::*;
    use jwt_exporter::jwt::ClaimPaths;
    use jwt_exporter::kubernetes::Cluster;
    use jwt_exporter::kubernetes::access::Access;
    use jwt_exporter::observation::{Bounds, Reading};
    use jwt_exporter::source::secrets::{ListTimeouts, SecretsSource};
    use jwt_exporter::source::{PollError, Source};
    use std::time::Instant;

    const SHORT: Duration = Duration::from_millis(700);
    const LONG: Duration = Duration::from_secs(3600);
    /// Far from what an endless answer would take, and from what a slow machine needs.
    const LIMIT: Duration = Duration::from_secs(30);

    fn poll(server: &FakeApiServer, timeouts: ListTimeouts) -> (PollError, Duration) {
        let folder = crate::support::process::folder("without-end");
        let path = Kubeconfig::new(server.url()).token(BEARER).write(folder.path());
        let access = Access::from_kubeconfig(&path, None, &|_| None).unwrap();
        let cluster = Arc::new(Cluster::connect(access, Arc::new(|_, _, _| ())).unwrap());
        let bounds = Bounds { max_tokens_per_secret: 32, max_series_per_token: 100 };
        let reading = Reading::new(ClaimPaths::default(), bounds);
        let source = SecretsSource::new("kubernetes", cluster, vec![], "jwt-exporter/secret-key".into(), reading);
        let begun = Instant::now();
        let error = source.with_timeouts(timeouts, LONG).poll().expect_err("an answer without end has no end");
        (error, begun.elapsed())
    }

    fn ends(answer: fn() -> Answer, timeouts: ListTimeouts) {
        let server = FakeApiServer::start(move |_| answer());
        let (error, took) = poll(&server, timeouts);
        assert_eq!(error.reason, "timeout", "{error}");
        assert!(took >= SHORT && took < LIMIT, "{took:?}");
        assert!(!error.needs_operator && error.retry_after.is_none());
    }

    #[test]
    fn silence_ends_after_the_time_for_a_read() {
        let timeouts = ListTimeouts { per_read: SHORT, page: LONG, poll: LONG };
        ends(Answer::silence, timeouts);
        ends(|| Answer::json(200, &list(&[secret("a", 1)], "")).stall_after(100), timeouts);
    }

    #[test]
    fn dripping_ends_after_the_time_for_a_page() {
        let timeouts = ListTimeouts { per_read: LONG, page: SHORT, poll: LONG };
        // White space before the list, and an object after the other in it.
        ends(|| Answer::drip(b" ", Duration::from_millis(20)), timeouts);
        ends(|| Answer::drip(b"{\"items\":[{\"metadata\":{", Duration::from_millis(20)), timeouts);
        ends(Answer::silence, timeouts);
    }

    #[test]
    fn pages_without_end_end_after_the_time_for_a_poll() {
        let timeouts = ListTimeouts { per_read: LONG, page: LONG, poll: SHORT };
        ends(|| Answer::json(200, &list(&[secret("a", 1)], "more")), timeouts);
        ends(Answer::silence, timeouts);
    }
}

#[test]
fn a_server_that_cuts_kept_connections_is_asked_again() {
    let server = FakeApiServer::start(|request| healthy(request, 1));
    let mut exporter = exporter_of(&server, "300ms");
    exporter.wait_until_ready();
    for _ in 0..5 {
        let seen = server.requests().len();
        wait_for("more polls", Duration::from_secs(60), || {
            if server.requests().len() >= seen + 2 { Ok(()) } else { Err(server.requests().len().to_string()) }
        });
        server.cut_connections();
    }
    // Cut while idle it is no failure; in the middle of an answer it may be one.
    let metrics = exporter.wait_for_metrics("up", |metrics| up(metrics) == 1.0);
    assert_eq!(shown(&metrics), all_of(1));
    assert!(server.connections() >= 5, "{}", server.connections());
}
