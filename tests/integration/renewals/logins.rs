//! A new token has to pass the logins of its place before it is written.

use super::secrets::{namespace, path, renewal, target};
use super::{Endpoint, LIMIT, answer, lives, setup};
use crate::secrecy::segments;
use crate::support::api_client::Secret;
use crate::support::control_plane::ControlPlane;
use crate::support::exporter::{Exporter, Setup};
use crate::support::exposition::{find, value};
use crate::support::fake_api_server::{Answer, FakeApiServer};
use crate::support::token;
use crate::support::wait_for;
use crate::vault::key::{Key, key_set};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// A login with a role that wants this audience; `keys` is a field of `auth/jwt/config`.
fn login(keys: &str, audience: &str) -> String {
    format!(
        "logins: [{{name: partner, jwt: {{config: {{{keys}}}, roles: {{reader: {{role_type: jwt, bound_audiences: [{audience}], \
         user_claim: sub}}}}}}}}]\n"
    )
}

fn static_key(key: &Key) -> String {
    format!("jwt_validation_pubkeys: [\"{}\"]", key.pem().replace('\n', "\\n"))
}

fn claims() -> Value {
    json!({"sub": "s", "aud": "api", "iat": token::now(), "exp": token::now() + 3600})
}

fn with_config(plane: &ControlPlane, namespace: &str, login: &str, of_secret: &str, renewal: &Value) -> Setup {
    let secrets = format!("secrets: [{{namespace: {namespace}, name: bearer, key: token{of_secret}}}]\n");
    setup(&format!("{secrets}{login}"), std::slice::from_ref(renewal)).kubeconfig(&plane.admin_kubeconfig())
}

fn is_there(plane: &ControlPlane, namespace: &str) -> String {
    let secret = plane.admin().get(&path(namespace));
    String::from_utf8(STANDARD.decode(secret["data"]["token"].as_str().unwrap()).unwrap()).unwrap()
}

fn wait_for_reason(exporter: &Exporter, reason: &str) -> String {
    exporter.wait_for_metrics(reason, |metrics| {
        !find(metrics, "jwt_exporter_renewal_error", &[("reason", reason)]).is_empty()
    })
}

fn wait_for_token(exporter: &Exporter, plane: &ControlPlane, namespace: &str, wanted: &str) {
    wait_for(
        "the new token",
        LIMIT,
        || {
            if is_there(plane, namespace) == wanted { Ok(()) } else { Err(exporter.log()) }
        },
    );
}

#[test]
fn a_token_for_another_audience_is_not_written() {
    let plane = require_control_plane!();
    let key = Key::new("a");
    let new = key.sign(&claims());
    let handed_out = new.clone();
    let endpoint = Endpoint::start(move |_| answer(&handed_out));
    // Named by the annotation of the Secret, which is read just before; and by the configuration.
    let namespaces = [namespace(plane), namespace(plane)];
    let of_secret = ["", ", login: [partner/reader]"];
    let old = lives(-1000, 100);
    for (namespace, of_secret) in namespaces.iter().zip(of_secret) {
        let secret: Secret = target(namespace).data("token", &old);
        let secret =
            if of_secret.is_empty() { secret.annotation("jwt-exporter/login", "partner/reader") } else { secret };
        plane.admin().put_secret(&secret);
        let renewal = renewal(&endpoint, namespace);
        let wrong = login(&static_key(&key), "another");
        let dry_run = with_config(plane, namespace, &wrong, of_secret, &renewal).argument("renew").argument("-dry-run");
        let shown = dry_run.run_arguments_first().stdout;
        assert!(shown.contains("  the new token would have to pass the logins partner/reader\n"), "{shown}");

        let exporter = with_config(plane, namespace, &wrong, of_secret, &renewal).argument("-level=trace").start();
        let metrics = wait_for_reason(&exporter, "login_refused");
        let success = [("result", "success"), ("secret_namespace", namespace)];
        assert_eq!(value(&metrics, "jwt_exporter_renewals_total", &success), 0.0);
        assert_eq!(is_there(plane, namespace), old);
        let lines = exporter.log_lines("the token that came would not get in: partner/reader: ");
        assert!(lines.first().is_some_and(|line| line.contains("(audience_mismatch)")), "{}", exporter.log());
        let page = exporter.get("/").text();
        assert!(page.contains("would not get in: partner/reader"), "{page}");
        for (name, segment) in segments("the new token", &new) {
            let shown = [exporter.log(), metrics.clone(), page.clone()].join("\n");
            assert!(!shown.as_bytes().windows(segment.len()).any(|piece| piece == segment), "{name}");
        }
        drop(exporter);

        let right = login(&static_key(&key), "api");
        let exporter = with_config(plane, namespace, &right, of_secret, &renewal).start();
        wait_for_token(&exporter, plane, namespace, &new);
        exporter.wait_for_metrics("the verdict", |metrics| {
            let accepted = find(metrics, "jwt_exporter_login_accepted", &[("login", "partner")]);
            accepted.first().is_some_and(|sample| sample.value == 1.0)
        });
    }
}

#[test]
fn a_token_signed_with_a_key_that_is_new_too_gets_in() {
    let plane = require_control_plane!();
    let namespace = namespace(plane);
    let (old_key, new_key) = (Key::new("old"), Key::new("new"));
    let served = Arc::new(Mutex::new(key_set(&[&old_key])));
    let answering = Arc::clone(&served);
    let keys = FakeApiServer::start(move |_| Answer::json(200, &answering.lock().unwrap()));
    let mut claims = claims();
    let new = new_key.sign(&claims);
    claims["exp"] = (token::now() + 100).into();
    claims["iat"] = (token::now() - 1000).into();
    plane.admin().put_secret(&target(&namespace).data("token", old_key.sign(&claims)));
    let (handed_out, set) = (new.clone(), key_set(&[&new_key]));
    let endpoint = Endpoint::start(move |_| {
        *served.lock().unwrap() = set.clone();
        answer(&handed_out)
    });
    let login = login(&format!("jwks_url: \"{}/keys\"", keys.url()), "api");
    let of_secret = ", login: [partner/reader]";
    let exporter = with_config(plane, &namespace, &login, of_secret, &renewal(&endpoint, &namespace)).start();
    wait_for_token(&exporter, plane, &namespace, &new);
    assert_eq!(endpoint.server.requests().len(), 1, "{}", exporter.log());
}

#[test]
fn what_cannot_be_told_waits_while_the_old_token_is_good_and_is_written_then() {
    let plane = require_control_plane!();
    let key = Key::new("a");
    let away = FakeApiServer::start(|_| Answer::new(503, &[], ""));
    let login = login(&format!("jwks_url: \"{}/keys\"", away.url()), "api");
    let new = key.sign(&claims());
    // What is due is half of a minute before its end, so a quarter of one is waited for; and what is broken waits for nothing.
    for (old, waits) in [(lives(-30, 30), true), ("broken".to_owned(), false)] {
        let namespace = namespace(plane);
        plane.admin().put_secret(&target(&namespace).data("token", &old));
        let handed_out = new.clone();
        let endpoint = Endpoint::start(move |_| answer(&handed_out));
        let mut renewal = renewal(&endpoint, &namespace);
        renewal["before_expiry"] = "50%".into();
        let exporter = with_config(plane, &namespace, &login, ", login: [partner/reader]", &renewal).start();
        if waits {
            wait_for_reason(&exporter, "login_undetermined");
            assert_eq!(is_there(plane, &namespace), old);
            assert!(!exporter.log_lines("the new token waits (login_undetermined)").is_empty(), "{}", exporter.log());
        }
        wait_for_token(&exporter, plane, &namespace, &new);
        wait_for("the log", LIMIT, || match exporter.log_lines("nobody could tell whether it gets in: ").len() {
            1 => Ok(()),
            _ => Err(exporter.log()),
        });
        assert_eq!(endpoint.server.requests().len(), 1, "{}", exporter.log());
    }
}
