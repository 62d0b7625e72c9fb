//! An endpoint that does everything wrong: nothing is written, the reason is told, and no credential is.

use super::{Endpoint, PASSWORD, answer, fresh, lives, setup};
use crate::secrecy::{everything_written, found, segments};
use crate::support::exposition::find;
use crate::support::fake_api_server::{Answer, FakeApiServer, Request};
use crate::support::process;
use crate::support::token;
use serde_json::{Value, json};
use std::time::Duration;

/// What the endpoint does at this path, and the reason that is told.
const CASES: [(&str, &str); 23] = [
    ("401", "credentials_refused"),
    ("403", "credentials_refused"),
    ("429", "too_many_requests"),
    ("500", "server_error"),
    ("418", "bad_status"),
    ("redirect", "redirect"),
    ("html", "bad_answer"),
    ("empty", "bad_answer"),
    ("garbage", "bad_answer"),
    ("cut", "bad_answer"),
    ("list", "bad_answer"),
    ("silence", "timeout"),
    ("drip", "timeout"),
    ("large", "answer_too_large"),
    ("nothing", "no_token"),
    ("number", "no_token"),
    ("opaque", "not_a_jwt"),
    ("jwe", "encrypted"),
    ("expired", "expired"),
    ("endless", "no_expiry"),
    ("later", "not_yet_valid"),
    ("worse", "not_later"),
    ("same", "not_later"),
];

fn misbehave(request: &Request, old: &str, elsewhere: &str) -> Answer {
    // Endpoints repeat what they refuse.
    let echo = String::from_utf8_lossy(&request.body).into_owned();
    match &request.path()[1..] {
        "429" => Answer::new(429, &[("Retry-After", "3600")], echo),
        "redirect" => Answer::new(307, &[("Location", elsewhere)], echo),
        "html" => Answer::new(200, &[("Content-Type", "text/html")], format!("<html>{echo}")),
        "empty" => Answer::new(200, &[], ""),
        "garbage" => Answer::raw(format!("garbage {echo}\r\n\r\n")),
        "cut" => answer(&fresh()).cut_after(40),
        "list" => Answer::json(200, &json!([fresh()])),
        "silence" => Answer::silence(),
        "drip" => Answer::drip(b" ", Duration::from_millis(50)),
        "large" => Answer::json(200, &json!({"token": fresh(), "more": "x".repeat(2 << 20)})),
        "nothing" => Answer::json(200, &json!({"Token": fresh()})),
        "number" => Answer::json(200, &json!({"token": 7})),
        "opaque" => answer(&format!("opaque {echo}")),
        "jwe" => answer(&format!("{}.YQ.YQ.YQ.YQ", token::base64url(br#"{"alg":"dir","enc":"A256GCM"}"#))),
        "expired" => answer(&lives(-100, -1)),
        "endless" => answer(&token::hs256(&json!({"iat": token::now()}))),
        "later" => answer(&token::hs256(&json!({"nbf": token::now() + 600, "exp": token::now() + 3600}))),
        "worse" => answer(&lives(0, 5)),
        "same" => answer(old),
        status => Answer::new(status.parse().unwrap(), &[], echo),
    }
}

#[test]
fn whatever_the_endpoint_does_nothing_is_written_and_the_reason_is_told() {
    let old = lives(-1000, 500);
    let elsewhere = FakeApiServer::start(|_| answer(&fresh()));
    let (same, url) = (old.clone(), format!("{}/", elsewhere.url()));
    let endpoint = Endpoint::start(move |request| misbehave(request, &same, &url));
    let stranger = Endpoint::good();
    let folder = tempfile::tempdir().unwrap();
    let (user_file, password_file) = (folder.path().join("username"), folder.path().join("password"));
    std::fs::write(&user_file, "the-user-of-all-renewals\n").unwrap();
    std::fs::write(&password_file, format!("{PASSWORD}\n")).unwrap();

    let mut renewals = Vec::new();
    let mut cases: Vec<(String, &str)> = Vec::new();
    let mut add = |name: &str, reason, request: Value| {
        let file = folder.path().join(format!("{name}.token"));
        std::fs::write(&file, &old).unwrap();
        let mut renewal = json!({"file": file, "before_expiry": "50%", "request": request});
        renewal["credentials_files"] = json!({"username": user_file, "password": password_file});
        renewals.push(renewal);
        cases.push((file.display().to_string(), reason));
    };
    for (name, reason) in CASES {
        let mut request = endpoint.request(&format!("/{name}"));
        request["timeout"] = if reason == "timeout" { "1s" } else { "30s" }.into();
        add(name, reason, request);
    }
    let mut request = stranger.request("/");
    request["ca_file"] = endpoint.request("/")["ca_file"].clone();
    add("stranger", "tls", request);
    let mut request = endpoint.request("/");
    request["url"] = format!("https://127.0.0.1:{}/", process::free_port()).into();
    add("nobody", "connect", request);
    let mut request = endpoint.request("/");
    request["headers"]["X-Password"] = "x${password}".into();
    add("header", "bad_value", request);
    let mut request = endpoint.request("/");
    request["ca_file"] = "/nowhere/ca.crt".into();
    add("no-ca", "bad_settings", request);

    let exporter = setup("kubernetes: false\n", &renewals).argument("-level").argument("trace").start();
    let metrics = exporter.wait_for_metrics("a reason for each", |metrics| {
        find(metrics, "jwt_exporter_renewal_error", &[]).len() == cases.len()
    });
    for (file, reason) in &cases {
        let labels = [("secret_name", file.as_str()), ("secret_namespace", ""), ("reason", reason)];
        assert_eq!(find(&metrics, "jwt_exporter_renewal_error", &labels).len(), 1, "{file} {reason}\n{metrics}");
        assert_eq!(std::fs::read_to_string(file).unwrap(), old, "{file}");
        let success = [("secret_name", file.as_str()), ("result", "success")];
        assert_eq!(find(&metrics, "jwt_exporter_renewals_total", &success)[0].value, 0.0, "{file}");
        assert!(!exporter.log_lines(file).is_empty(), "{file}");
    }
    assert!(elsewhere.requests().is_empty(), "credentials went elsewhere");
    assert!(stranger.server.requests().is_empty(), "credentials went to a stranger");

    let mut hidden = segments("the old token", &old);
    hidden.push(("the password".to_owned(), PASSWORD.into()));
    hidden.push(("the password in JSON".to_owned(), json!(PASSWORD).to_string().into_bytes()));
    hidden.push(("the user".to_owned(), b"the-user-of-all-renewals".to_vec()));
    let written = everything_written(exporter);
    assert_eq!(found(&written, &hidden), [""; 0]);
}
