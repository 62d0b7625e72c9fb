//! A live mount of a real OpenBao: read with as few rights as the README says, followed, and remembered through an outage.

use super::key::Key;
use super::{manifest, verdict, wait_for_verdict};
use crate::support::exporter::{Exporter, Setup};
use crate::support::exposition::value;
use crate::support::fake_api_server::{Answer, FakeApiServer};
use crate::support::http::Connection;
use crate::support::openbao::{OpenBao, ROOT};
use crate::support::real_parts::RealPart;
use crate::support::token;
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const PLACE: (&str, &str, &str) = ("s", "live", "reader");

fn exporter(url: &str, client_token: &str, token: &str) -> Exporter {
    let setup = Setup::new(format!(
        "kubernetes: false\npolling_interval: 100ms\nmanifests: [secrets.yaml]\nlogins:\n- name: live\n  vault: {{address: \
         \"{url}\", mount: auth/team/jwt, token_file: client-token, refresh_interval: 1s}}\n"
    ))
    .argument("-level=trace");
    fs::write(setup.folder().join("client-token"), client_token).unwrap();
    fs::write(setup.folder().join("secrets.yaml"), manifest("s", "live/reader", token)).unwrap();
    setup.start()
}

/// The policy in the example that we ship, for another mount.
fn policy() -> String {
    crate::support::manifests::text("manifests/examples/vault/policy.hcl")
        .replace("auth/jwt/", "auth/team/jwt/")
        .replace("\"auth/jwt", "\"auth/team/jwt")
}

/// A mount with one role, and a token that it lets in.
fn mount(bao: &OpenBao, key: &Key) -> String {
    bao.enable("team/jwt", "jwt");
    bao.write("auth/team/jwt/config", &json!({"jwt_validation_pubkeys": [key.pem()], "bound_issuer": "me"}));
    let role = json!({"role_type": "jwt", "bound_audiences": ["api"], "user_claim": "sub"});
    bao.write("auth/team/jwt/role/reader", &role);
    let now = token::now();
    key.sign(&json!({"iss": "me", "sub": "s", "aud": "api", "exp": now + 1_000, "iat": now}))
}

/// Hands every request on, and records it; cut off when told to be.
fn recording_proxy(bao: &OpenBao, away: Arc<AtomicBool>) -> FakeApiServer {
    let address = bao.address();
    FakeApiServer::start(move |request| {
        if away.load(Ordering::SeqCst) {
            return Answer::raw("").cut_after(0);
        }
        let headers: Vec<(&str, &str)> = request
            .headers
            .iter()
            .filter(|(name, _)| !["host", "content-length"].contains(&&*name.to_lowercase()))
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let mut connection = Connection::plain(address).unwrap();
        let answer = connection.send(&request.method, &request.target, &headers, &request.body).unwrap();
        Answer::new(answer.status, &[("Content-Type", "application/json")], answer.body)
    })
}

#[test]
fn a_live_mount_is_followed_and_outlived_with_the_policy_that_we_ship() {
    require_part!(RealPart::OpenBao);
    let (bao, key) = (OpenBao::start(), Key::new("a"));
    let token = mount(&bao, &key);
    let away = Arc::new(AtomicBool::new(false));
    let proxy = recording_proxy(&bao, Arc::clone(&away));
    let client_token = bao.token_with(&policy());
    let exporter = exporter(&proxy.url(), &client_token, &token);
    let metrics = wait_for_verdict(&exporter, PLACE, "accepted");
    assert!(value(&metrics, "jwt_exporter_login_config_age_seconds", &[("login", "live")]) < 60.0);
    assert_eq!(bao.login("auth/team/jwt", "reader", &token).0, 200);

    bao.write("auth/team/jwt/config", &json!({"jwt_validation_pubkeys": [key.pem()], "bound_issuer": "you"}));
    wait_for_verdict(&exporter, PLACE, "issuer_mismatch");
    let (status, errors) = bao.login("auth/team/jwt", "reader", &token);
    assert!(status == 400 && errors.contains("invalid issuer"), "{errors}");
    bao.write("auth/team/jwt/config", &json!({"jwt_validation_pubkeys": [key.pem()], "bound_issuer": "me"}));
    wait_for_verdict(&exporter, PLACE, "accepted");

    // Away: what was known holds, and its age shows.
    away.store(true, Ordering::SeqCst);
    let old = |metrics: &str| value(metrics, "jwt_exporter_login_config_age_seconds", &[("login", "live")]) >= 4.0;
    let metrics = exporter.wait_for_metrics("an old config", old);
    assert_eq!(verdict(&metrics, "s", "live", "reader").as_deref(), Some("accepted"));
    assert!(!exporter.log_lines("what is known of it is kept").is_empty());
    away.store(false, Ordering::SeqCst);
    let young = |metrics: &str| value(metrics, "jwt_exporter_login_config_age_seconds", &[("login", "live")]) < 3.0;
    exporter.wait_for_metrics("a young config", young);

    // Revoked, and then replaced by whoever keeps the file.
    bao.write("auth/token/revoke", &json!({ "token": client_token }));
    exporter.wait_for_metrics("refused", |_| !exporter.log_lines("status 403").is_empty());
    assert_eq!(verdict(&exporter.metrics(), "s", "live", "reader").as_deref(), Some("accepted"));
    fs::write(exporter.folder().join("client-token"), bao.token_with(&policy())).unwrap();
    bao.request("DELETE", "auth/team/jwt/role/reader", ROOT, None);
    wait_for_verdict(&exporter, PLACE, "role_missing");

    // Nothing else was asked, and nothing of the Secret's token was sent.
    let asked: BTreeSet<String> =
        proxy.requests().iter().map(|request| format!("{} {}", request.method, request.target)).collect();
    let wanted = [
        "GET /v1/auth/team/jwt/config",
        "GET /v1/auth/team/jwt/role/reader",
        "GET /v1/auth/team/jwt/role?list=true",
        "GET /v1/sys/health",
    ];
    assert_eq!(asked.iter().map(String::as_str).collect::<Vec<_>>(), wanted);
    let sent = format!("{:?}", proxy.requests());
    assert!(token.split('.').all(|piece| !sent.contains(piece)));
    assert!(!exporter.log().contains(&client_token));
}

#[test]
fn check_reads_a_live_mount_once_for_all_tokens() {
    require_part!(RealPart::OpenBao);
    let (bao, key) = (OpenBao::start(), Key::new("a"));
    let token = mount(&bao, &key);
    let proxy = recording_proxy(&bao, Arc::new(AtomicBool::new(false)));
    let setup = Setup::new(format!(
        "kubernetes: false\nmanifests: [secrets.yaml]\nlogins:\n- name: live\n  vault: {{address: \"{}\", mount: \
         auth/team/jwt, token_file: client-token}}\n",
        proxy.url()
    ))
    .argument("check")
    .argument("-output=csv");
    fs::write(setup.folder().join("client-token"), bao.token_with(&policy())).unwrap();
    let all: String = (0..5).map(|n| manifest(&format!("s{n}"), "live/reader, live/nobody", &token)).collect();
    fs::write(setup.folder().join("secrets.yaml"), all).unwrap();
    let ran = setup.run();
    assert_eq!(ran.stdout.matches(",live,reader,accepted,").count(), 5, "{}", ran.stdout);
    assert_eq!(ran.stdout.matches(",live,nobody,refused,role_missing,").count(), 5, "{}", ran.stdout);
    let mut asked: Vec<String> = proxy.requests().iter().map(|request| request.target.clone()).collect();
    asked.sort();
    let wanted = [
        "/v1/auth/team/jwt/config",
        "/v1/auth/team/jwt/role/reader",
        "/v1/auth/team/jwt/role?list=true",
        "/v1/sys/health",
    ];
    assert_eq!(asked, wanted);
}

#[test]
fn a_policy_that_is_too_small_is_told_and_nothing_is_guessed() {
    require_part!(RealPart::OpenBao);
    let (bao, key) = (OpenBao::start(), Key::new("a"));
    let token = mount(&bao, &key);
    let small = policy().replace("[\"list\"]", "[\"deny\"]");
    assert_ne!(small, policy());
    let exporter = exporter(&bao.url(), &bao.token_with(&small), &token);
    let metrics = wait_for_verdict(&exporter, PLACE, "mount_unreachable");
    assert!(!metrics.contains("jwt_exporter_login_config_age_seconds{"), "nothing is known");
    exporter.wait_for_metrics("the reason", |_| !exporter.log_lines("the policy has to allow `list` there").is_empty());
}
