//! A live mount of a real OpenBao: read with as few rights as the README says, followed, and remembered through an outage.

use super::key::Key;
use super::{manifest, verdict, wait_for_verdict};
use crate::support::certificates::CertificateAuthority;
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
    exporter.wait_for_metrics("the warning", |_| !exporter.log_lines("what is known of it is kept").is_empty());
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

/// A scripted server: a mount far down in a namespace, behind a CA of its own, and sessions that end early.
#[test]
fn our_own_session_is_begun_anew_after_a_403_and_before_its_lease_ends() {
    let (key, authority) = (Key::new("a"), CertificateAuthority::new("of the mount"));
    let config = json!({"data": {"jwt_validation_pubkeys": [key.pem()], "bound_issuer": "me"}});
    let role = json!({"data": {"role_type": "jwt", "bound_audiences": ["api"], "user_claim": "sub"}});
    let logins = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = Arc::clone(&logins);
    let server = FakeApiServer::start_tls_v6(&authority.server(&["::1", "127.0.0.1"]), move |request| {
        let bearer = request.header("Authorization").unwrap_or_default().to_owned();
        match request.path() {
            "/v1/sys/health" => Answer::json(200, &json!({"version": "2.7.2"})),
            "/v1/auth/kubernetes/login" => {
                let session = count.fetch_add(1, Ordering::SeqCst) + 1;
                // The first is revoked at once, the second is short, the third lasts.
                let lease = if session == 2 { 2 } else { 3_600 };
                let auth = json!({"client_token": format!("session-{session}"), "lease_duration": lease});
                Answer::json(200, &json!({ "auth": auth }))
            }
            _ if bearer == "Bearer session-1" => Answer::json(403, &json!({"errors": ["permission denied"]})),
            "/v1/auth/a/b/jwt/config" => Answer::json(200, &config),
            "/v1/auth/a/b/jwt/role" => Answer::json(200, &json!({"data": {"keys": ["reader"]}})),
            "/v1/auth/a/b/jwt/role/reader" => Answer::json(200, &role),
            _ => Answer::json(404, &json!({"errors": []})),
        }
    });
    let setup = Setup::new(format!(
        "kubernetes: false\npolling_interval: 100ms\nmanifests: [secrets.yaml]\nlogins:\n- name: live\n  vault: {{address: \
         \"{}\", mount: auth/a/b/jwt, ca_file: ca.pem, namespace: team/dev, kubernetes_role: us, \
         service_account_token_file: own, refresh_interval: 1s}}\n",
        server.url()
    ));
    fs::write(setup.folder().join("ca.pem"), authority.pem()).unwrap();
    fs::write(setup.folder().join("own"), "our.own.token\n").unwrap();
    let now = token::now();
    let jwt = key.sign(&json!({"iss": "me", "sub": "s", "aud": "api", "exp": now + 1_000, "iat": now}));
    fs::write(setup.folder().join("secrets.yaml"), manifest("s", "live/reader", &jwt)).unwrap();
    let exporter = setup.start();
    wait_for_verdict(&exporter, PLACE, "accepted");
    exporter.wait_for_metrics("a third session", |_| logins.load(Ordering::SeqCst) == 3);
    wait_for_verdict(&exporter, PLACE, "accepted");
    let failed = exporter.log_lines("cannot be read");
    assert!(failed.is_empty(), "{failed:?}");

    let requests = server.requests();
    for request in requests.iter().filter(|request| request.path() != "/v1/sys/health") {
        assert_eq!(request.header("X-Vault-Namespace"), Some("team/dev"), "{}", request.target);
    }
    let own: Vec<_> = requests.iter().filter(|request| request.path().ends_with("/login")).collect();
    assert_eq!(own[0].body, br#"{"role":"us","jwt":"our.own.token"}"#);
    let sent = format!("{requests:?}");
    assert!(jwt.split('.').all(|piece| !sent.contains(piece)));
    assert!((1..4).all(|session| !exporter.log().contains(&format!("session-{session}"))));
}
