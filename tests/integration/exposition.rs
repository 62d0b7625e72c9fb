//! What scrapers get: a sound exposition, whole snapshots, every way of asking.

use crate::support::exporter::{Exporter, Setup};
use crate::support::exposition::{samples, value};
use crate::support::fake_api_server::{Answer, FakeApiServer};
use crate::support::http::{Connection, gunzip};
use crate::support::kubeconfig::Kubeconfig;
use crate::support::prometheus::{Prometheus, check_metrics};
use crate::support::real_parts::RealPart;
use crate::support::token;
use crate::vault::key::{Key, key_set};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

fn secret(name: &str, version: usize, value: &str) -> Value {
    let metadata = json!({
        "name": name, "namespace": "ns", "uid": format!("uid-{name}"), "resourceVersion": version.to_string(),
        "annotations": {"jwt-exporter/secret-key": "token", "jwt-exporter/login": "keys/r,away/r"},
    });
    json!({"metadata": metadata, "data": {"token": STANDARD.encode(value)}})
}

fn list(items: &[Value]) -> Answer {
    Answer::json(200, &json!({"kind": "SecretList", "apiVersion": "v1", "metadata": {}, "items": items}))
}

fn exporter_of(server: &FakeApiServer, interval: &str) -> Exporter {
    let config = format!("polling_interval: {interval}\nwatch: false\n");
    let mut exporter = Setup::new(config).kubeconfig(&Kubeconfig::new(server.url()).token("bearer")).start();
    exporter.wait_until_ready();
    exporter
}

/// Tokens in every state: each family has a sample.
fn every_family(key: Option<&Key>) -> FakeApiServer {
    let encoded = |text: &str| token::base64url(text.as_bytes());
    let all = json!({"iss": "i", "sub": "quo\"te\\\n", "aud": ["a", "b"], "exp": token::now() + 1000, "nbf": 1, "iat": 2,
        "jti": "j", "name": "日本", "email": "e@x", "scope": "read write", "roles": ["r1", "r2"]});
    let jwe = [r#"{"alg":"dir","enc":"A128GCM"}"#, "", "iv", "text", "tag"].map(encoded).join(".");
    let values = [
        ("all", token::hs256(&all)),
        ("broken", "one.two".to_owned()),
        ("encrypted", jwe),
        ("endless", token::hs256(&json!({}))),
        ("expired", token::hs256(&json!({"exp": -1, "iat": "x"}))),
    ];
    let let_in = key.map(|key| ("let-in", key.sign(&json!({"sub": "s", "iat": token::now()}))));
    let items: Vec<Value> = values.into_iter().chain(let_in).map(|(name, value)| secret(name, 1, &value)).collect();
    FakeApiServer::start(move |_| list(&items))
}

#[test]
fn every_family_is_there_and_promtool_finds_no_fault() {
    let promtool = require_part!(RealPart::Promtool);
    // What the configuration has to ask for: namespaces, renewals, of which one fails, and logins, of which one is away.
    let key = Key::new("a");
    let keys = key_set(&[&key]);
    let endpoint = FakeApiServer::start(move |request| match request.path() {
        "/keys" => Answer::json(200, &keys),
        "/good" => Answer::json(200, &json!({"token": token::hs256(&json!({"exp": token::now() + 1000}))})),
        _ => Answer::new(500, &[], ""),
    });
    let folder = tempfile::tempdir().unwrap();
    let renewals = ["good", "bad\"\\"].map(|name| {
        let url = format!("{}/{}", endpoint.url(), &name[..3].replace("goo", "good"));
        json!({"file": folder.path().join(name), "request": {"url": url}, "token": "/token"})
    });
    let role = json!({"role_type": "jwt", "bound_subject": "s", "user_claim": "sub"});
    let keys = json!({"config": {"jwks_url": format!("{}/keys", endpoint.url())}, "roles": {"r": role}});
    let away = json!({"address": "http://127.0.0.1:9", "mount": "auth/jwt", "token_file": "/nowhere"});
    let logins = json!([{"name": "keys", "jwt": keys}, {"name": "away", "vault": away}]);
    let config = format!("1h\nnamespaces: [ns]\nrenewals: {}\nlogins: {logins}", json!(renewals));
    let exporter = exporter_of(&every_family(Some(&key)), &config);
    let exposition = exporter.wait_for_metrics("both renewals and a verdict", |metrics| {
        [
            "jwt_exporter_renewal_last_success_timestamp_seconds{",
            "jwt_exporter_renewal_error{",
            "jwt_exporter_login_accepted_until_",
        ]
        .iter()
        .all(|name| metrics.contains(name))
    });
    let families: BTreeSet<String> = samples(&exposition).into_iter().map(|sample| sample.name).collect();
    for family in jwt_exporter::metrics::FAMILIES {
        // A histogram's samples have names of their own.
        assert!(families.iter().any(|name| name.starts_with(family.name)), "{} is not in\n{exposition}", family.name);
        let lines = format!("# HELP {} {}\n# TYPE {0} ", family.name, family.help);
        assert_eq!(exposition.matches(&lines).count(), 1, "{lines}");
    }
    // Not even with the names that are not ours to choose.
    let verdict = check_metrics(&promtool, &exposition);
    assert!(verdict.clean && verdict.findings.is_empty(), "{:?}\n{exposition}", verdict.findings);
}

#[test]
fn a_real_prometheus_scrapes_and_answers() {
    let prometheus = require_part!(RealPart::Prometheus);
    let server = every_family(None);
    let exporter = exporter_of(&server, "1h");
    let prometheus = Prometheus::start(&prometheus, exporter.address());
    prometheus.wait_until_up(Duration::from_secs(60));
    assert_eq!(prometheus.last_scrape_error(), "");

    let of_all = prometheus.query("jwt_exporter_jwt_expires_in_seconds{secret_name=\"all\"}");
    let series: BTreeSet<(String, String)> = of_all
        .iter()
        .map(|sample| {
            assert_eq!(sample["metric"]["subject"], "quo\"te\\\n");
            assert_eq!(sample["metric"]["name"], "日本");
            assert_eq!(sample["metric"]["audience"], "a,b");
            let text = |name| sample["metric"][name].as_str().unwrap().to_owned();
            (text("role"), text("scope"))
        })
        .collect();
    let pair = |role: &str, scope: &str| (role.to_owned(), scope.to_owned());
    assert_eq!(series, [pair("r1", "read"), pair("r1", "write"), pair("r2", "read"), pair("r2", "write")].into());

    // What an alert asks.
    let expired = prometheus.query("jwt_exporter_token_expiration_timestamp_seconds - time() < 0");
    assert_eq!(expired.len(), 1, "{expired:?}");
    assert_eq!(expired[0]["metric"]["secret_name"], "expired");
    let errors = prometheus.query("sum by (reason) (jwt_exporter_token_error)");
    let errors: BTreeSet<&str> = errors.iter().map(|sample| sample["metric"]["reason"].as_str().unwrap()).collect();
    assert_eq!(errors, ["encrypted", "invalid_claims", "not_a_jwt"].into());
    let up = prometheus.query("jwt_exporter_source_up{source=\"kubernetes\"}");
    assert_eq!(up[0]["value"][1], "1");
    assert_eq!(prometheus.query("jwt_exporter_poll_duration_seconds_bucket{le=\"+Inf\"}")[0]["value"][1], "1");
}

/// The lines of an exposition that two scrapes have in common: without what the clock or the process moves.
pub fn unmoved(exposition: &str) -> Vec<&str> {
    let moves = ["jwt_exporter_jwt_expires_in", "jwt_exporter_jwt_issued_since", "process_"];
    exposition.lines().filter(|line| !moves.iter().any(|name| line.starts_with(name))).collect()
}

#[test]
fn a_gzip_answer_is_the_plain_one_packed_as_one_member() {
    let server = every_family(None);
    let exporter = exporter_of(&server, "1h");
    let plain = exporter.get("/metrics");
    assert_eq!((plain.header("content-type"), plain.header("content-encoding")), (Some(CONTENT_TYPE), None));
    assert_eq!(plain.header("vary"), Some("Accept-Encoding"));
    let plain = plain.text();
    for accepted in ["gzip", "deflate, GZIP ;q=0.5", "*", "identity;q=0.5, *;q=0.1", "br, x-gzip"] {
        let packed = exporter.request("GET", "/metrics", &[("Accept-Encoding", accepted)]);
        assert_eq!(packed.header("content-encoding"), Some("gzip"), "{accepted}");
        assert_eq!(packed.header("content-type"), Some(CONTENT_TYPE));
        assert_eq!(packed.header("vary"), Some("Accept-Encoding"));
        // Panics at a second member.
        let unpacked = String::from_utf8(gunzip(&packed.body)).unwrap();
        assert_eq!(unmoved(&unpacked), unmoved(&plain));
        assert_eq!(samples(&unpacked).len(), samples(&plain).len());
        assert!(packed.body.len() * 2 < plain.len(), "{} of {}", packed.body.len(), plain.len());
    }
    for refused in ["identity", "", "gzip;q=0", "br", "*;q=0", "*, gzip;q=0.000"] {
        let answer = exporter.request("GET", "/metrics", &[("Accept-Encoding", refused)]);
        assert_eq!(answer.header("content-encoding"), None, "{refused:?}");
        assert_eq!(unmoved(&answer.text()), unmoved(&plain));
    }
}

/// Sends `head` and reads until the server closes the connection.
fn until_closed(exporter: &Exporter, head: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(exporter.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("the end of a head");
    let body = answer.split_off(end + 4);
    (String::from_utf8(answer).unwrap().to_ascii_lowercase(), body)
}

#[test]
fn head_and_http_1_0_are_answered() {
    let server = every_family(None);
    let exporter = exporter_of(&server, "1h");
    for target in ["/metrics", "/", "/healthz", "/readyz"] {
        let (head, body) =
            until_closed(&exporter, &format!("HEAD {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        assert!(head.starts_with("http/1.1 200 "), "{head}");
        assert!(body.is_empty(), "{target}: a body of {} bytes", body.len());
        assert_eq!(
            exporter.get(target).header("content-type").unwrap().to_ascii_lowercase(),
            header(&head, "content-type")
        );
    }
    let (head, body) = until_closed(
        &exporter,
        "HEAD /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n",
    );
    assert_eq!((header(&head, "content-encoding"), body.len()), ("gzip", 0));

    let plain = exporter.metrics();
    let (head, body) = until_closed(&exporter, "GET /metrics HTTP/1.0\r\n\r\n");
    assert!(!head.contains("transfer-encoding"), "HTTP/1.0 has no chunks: {head}");
    assert_eq!(header(&head, "content-type"), CONTENT_TYPE);
    assert_eq!(unmoved(std::str::from_utf8(&body).unwrap()), unmoved(&plain));
    let (head, body) = until_closed(&exporter, "GET /metrics HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n");
    assert_eq!(header(&head, "content-encoding"), "gzip");
    assert_eq!(unmoved(&String::from_utf8(gunzip(&body)).unwrap()), unmoved(&plain));
    let (head, body) = until_closed(&exporter, "GET /healthz HTTP/1.0\r\n\r\n");
    assert!(head.contains(" 200 ") && body == b"ok\n", "{head}");
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let line = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {head}")).trim()
}

#[test]
fn other_methods_and_paths_are_refused_and_each_connection_closed() {
    let server = every_family(None);
    let exporter = exporter_of(&server, "1h");
    // One request a connection: the server says so, and closes it.
    let send = |method: &str, target: &str| {
        let answer = Connection::plain(exporter.address()).unwrap().send(method, target, &[], b"").unwrap();
        assert_eq!(answer.header("connection"), Some("close"), "{method} {target}");
        answer
    };
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let answer = send(method, "/metrics");
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    for target in ["/metrics/", "/metricsx", "/favicon.ico", "/..", "//metrics"] {
        assert_eq!(send("GET", target).status, 404, "{target}");
    }
    assert_eq!(send("GET", "/metrics?debug=1").status, 200);
    let page = send("GET", "/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    for link in ["metrics", "healthz", "readyz"] {
        assert!(page.text().contains(&format!("href=\"{link}\"")), "{link}");
    }
}

#[test]
fn a_scrape_during_polls_always_sees_one_whole_snapshot() {
    const TOKENS: usize = 100;
    const STATES: [i64; 2] = [1_111_111_111, 2_222_222_222];
    let poll = AtomicUsize::new(0);
    let server = FakeApiServer::start(move |request| {
        // Two pages, so that a poll takes its time; one state for both.
        let second = request.query("continue").is_some();
        let number = poll.fetch_add(usize::from(!second), Ordering::SeqCst) + usize::from(!second);
        let expires = STATES[number % 2];
        let half = if second { TOKENS / 2..TOKENS } else { 0..TOKENS / 2 };
        let value = token::hs256(&json!({"exp": expires, "iat": expires}));
        let items: Vec<Value> = half.map(|n| secret(&format!("secret-{n:03}"), number, &value)).collect();
        let more = if second { "" } else { "more" };
        Answer::json(200, &json!({"metadata": {"continue": more}, "items": items}))
    });
    let exporter = exporter_of(&server, "100ms");
    let mut seen = BTreeSet::new();
    let deadline = std::time::Instant::now() + Duration::from_secs(40);
    let mut scrapes = 0;
    while scrapes < 30 || seen.len() < 2 {
        scrapes += 1;
        assert!(std::time::Instant::now() < deadline, "only {seen:?} in {scrapes} scrapes");
        let scrape = samples(&exporter.metrics());
        let mut states = BTreeSet::new();
        for family in [
            "jwt_exporter_token_expiration_timestamp_seconds",
            "jwt_exporter_jwt_expiration_timestamp",
            "jwt_issued_at_timestamp",
        ] {
            let found: Vec<i64> =
                scrape.iter().filter(|sample| sample.name == family).map(|sample| sample.value as i64).collect();
            assert_eq!(found.len(), TOKENS, "{family}");
            states.extend(found);
        }
        assert_eq!(states.len(), 1, "a mix of two polls: {states:?}");
        seen.extend(states);
    }
}

#[test]
fn one_hundred_tokens_fit_into_little_memory() {
    let items: Vec<Value> = (0..100)
        .map(|n| secret(&format!("secret-{n}"), 1, &token::hs256(&json!({"exp": n, "iat": n, "sub": "subject"}))))
        .collect();
    let server = FakeApiServer::start(move |_| list(&items));
    let exporter = exporter_of(&server, "100ms");
    exporter.wait_for_metrics("twenty polls", |metrics| {
        value(metrics, "jwt_exporter_poll_duration_seconds_count", &[("source", "kubernetes")]) >= 20.0
    });
    // A release build stays under 8 MiB; this one carries all its names and no optimization.
    let resident = exporter.resident_bytes();
    assert!(resident < 24 << 20, "{resident} bytes");
}
