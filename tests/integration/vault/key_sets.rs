//! Key sets behind URLs: rotated, away, silent, enormous, moved.

use super::key::{Key, key_set};
use super::{manifest, wait_for_verdict};
use crate::support::exporter::{Exporter, Setup};
use crate::support::exposition::value;
use crate::support::fake_api_server::{Answer, FakeApiServer};
use crate::support::token;
use serde_json::{Value, json};
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const PLACE: (&str, &str, &str) = ("s", "keys", "r");

/// A key server whose answer can be changed, by path.
fn key_server(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> FakeApiServer {
    FakeApiServer::start(move |request| answer(request.path()))
}

fn exporter(source: &str, token: &str) -> Exporter {
    let setup = Setup::new(format!(
        "kubernetes: false\npolling_interval: 100ms\nmanifests: [secrets.yaml]\nlogins:\n- name: keys\n  jwt:\n    config: \
         {{{source}}}\n    roles: {{r: {{role_type: jwt, bound_subject: s, user_claim: sub}}}}\n"
    ));
    fs::write(setup.folder().join("secrets.yaml"), manifest("s", "keys/r", token)).unwrap();
    setup.start()
}

fn claims() -> Value {
    json!({"sub": "s", "exp": token::now() + 1_000, "iat": token::now()})
}

#[test]
fn a_rotated_key_is_fetched_once_out_of_turn() {
    let (old, new, stranger) = (Key::new("old"), Key::new("new"), Key::new("stranger"));
    let served = Arc::new(Mutex::new(key_set(&[&old])));
    let answer = Arc::clone(&served);
    let server = key_server(move |_| Answer::json(200, &answer.lock().unwrap()));
    let exporter = exporter(&format!("jwks_url: \"{}/keys\"", server.url()), &old.sign(&claims()));
    let metrics = wait_for_verdict(&exporter, PLACE, "accepted");
    assert_eq!(server.requests().len(), 1);
    assert!(value(&metrics, "jwt_exporter_login_config_age_seconds", &[("login", "keys")]) < 60.0);

    let secrets = exporter.folder().join("secrets.yaml");
    *served.lock().unwrap() = key_set(&[&new, &old]);
    fs::write(&secrets, manifest("s", "keys/r", &new.sign(&claims()))).unwrap();
    server.wait_for_requests(2, Duration::from_secs(60));
    wait_for_verdict(&exporter, PLACE, "accepted");
    // Whoever writes a Secret cannot make us fetch again and again, nor from a place of their own.
    for n in 0..5 {
        let header = json!({"alg": "ES256", "kid": "x", "jku": format!("{}/evil", server.url()), "x5u": "http://evil"});
        let mut claims = claims();
        let expires = token::now() + 5_000 + n;
        claims["exp"] = expires.into();
        fs::write(&secrets, manifest("s", "keys/r", &stranger.sign_with(&header, &claims))).unwrap();
        let seen = format!("{{secret_key=\"token\",secret_name=\"s\",secret_namespace=\"default\"}} {expires}\n");
        exporter.wait_for_metrics("the stranger's token", |metrics| metrics.contains(&seen));
        wait_for_verdict(&exporter, PLACE, "unknown_kid");
    }
    let requests = server.requests();
    assert!(requests.len() == 2 && requests.iter().all(|request| request.path() == "/keys"), "{requests:?}");
    assert!(requests.iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn keys_that_never_came_leave_it_open() {
    let key = Key::new("a");
    let silent = key_server(|_| Answer::silence());
    let huge = key_server(|_| Answer::drip(&[b' '; 65_536], Duration::from_millis(1)));
    let elsewhere = key_server(|_| Answer::json(200, &json!({"keys": []})));
    let away = format!("http://{}/keys", elsewhere.address());
    let leading = key_server(move |_| Answer::redirect(302, &away));
    let missing = key_server(|_| Answer::new(404, &[], ""));
    for (server, told) in
        [(&huge, "more than 1048576 bytes"), (&leading, "another server"), (&missing, "status 404"), (&silent, "")]
    {
        let exporter = exporter(&format!("jwks_url: \"{}\"", server.url()), &key.sign(&claims()));
        wait_for_verdict(&exporter, PLACE, "keys_unavailable");
        if !told.is_empty() {
            exporter.wait_for_metrics("the warning", |_| !exporter.log_lines(told).is_empty());
        }
    }
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn what_was_fetched_stays_when_the_server_breaks_and_a_redirect_at_the_same_server_is_followed() {
    let key = Key::new("a");
    let set = key_set(&[&key]);
    let server = key_server(move |path| match path {
        "/keys" => Answer::redirect(302, "/moved"),
        "/moved" => Answer::json(200, &set),
        _ => Answer::json(200, &json!({"keys": [{"kty": "new"}]})),
    });
    let good = exporter(&format!("jwks_url: \"{}/keys\"", server.url()), &key.sign(&claims()));
    wait_for_verdict(&good, PLACE, "accepted");
    let broken = exporter(&format!("jwks_url: \"{}/broken\"", server.url()), &key.sign(&claims()));
    // The server of the mount could not use them either.
    broken.wait_for_metrics("refused", |metrics| {
        super::verdict(metrics, "s", "keys", "r").as_deref() == Some("keys_unavailable")
            && metrics.contains("jwt_exporter_login_refused")
    });
}

#[test]
fn discovery_wants_its_own_name_in_the_document() {
    let key = Key::new("a");
    let set = key_set(&[&key]);
    let address = Arc::new(Mutex::new(String::new()));
    let url = Arc::clone(&address);
    let server = key_server(move |path| match path {
        "/i/.well-known/openid-configuration" => {
            let url = url.lock().unwrap();
            Answer::json(200, &json!({"issuer": format!("{url}/i"), "jwks_uri": format!("{url}/keys")}))
        }
        "/keys" => Answer::json(200, &set),
        _ => Answer::new(404, &[], ""),
    });
    *address.lock().unwrap() = server.url();
    let token = key.sign(&claims());
    let good = exporter(&format!("oidc_discovery_url: \"{}/i\"", server.url()), &token);
    wait_for_verdict(&good, PLACE, "accepted");
    let other = exporter(&format!("oidc_discovery_url: \"{}/i/\"", server.url()), &token);
    other.wait_for_metrics("refused", |metrics| metrics.contains("reason=\"keys_unavailable\",role=\"r\""));
    // The verdict is the same before anybody has asked.
    other.wait_for_metrics("the reason", |_| !other.log_lines("slash and all").is_empty());
}
