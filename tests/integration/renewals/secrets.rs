//! Tokens in Secrets of a real API server.

use super::{Endpoint, LIMIT, PASSWORD, answer, fresh, lives, setup};
use crate::secrecy::{everything_written, found, segments};
use crate::support::api_client::{Secret, Subject};
use crate::support::control_plane::ControlPlane;
use crate::support::exporter::{Exporter, Setup};
use crate::support::exposition::find;
use crate::support::fake_api_server::Answer;
use crate::support::token;
use crate::support::wait_for;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const ANNOTATION: &str = "jwt-exporter/renewal";

/// A namespace with credentials in it.
pub fn namespace(plane: &ControlPlane) -> String {
    let namespace = plane.admin().create_unique_namespace("renewal");
    let credentials = Secret::new(&namespace, "cpd-admin").data("username", "admin\n").data("password", PASSWORD);
    plane.admin().put_secret(&credentials);
    namespace
}

pub fn target(namespace: &str) -> Secret {
    Secret::new(namespace, "bearer")
}

pub fn path(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/secrets/bearer")
}

pub fn renewal(endpoint: &Endpoint, namespace: &str) -> Value {
    json!({
        "secret": {"namespace": namespace, "name": "bearer", "key": "token"},
        "credentials": {"namespace": namespace, "name": "cpd-admin"},
        "request": endpoint.request("/icp4d-api/v1/authorize"),
    })
}

/// An exporter of this Secret alone, which renews it.
fn exporter(namespace: &str, renewal: &Value) -> Setup {
    let secrets = format!("secrets: [{{namespace: {namespace}, name: bearer, key: token}}]\n");
    setup(&secrets, std::slice::from_ref(renewal))
}

fn of_admin(plane: &ControlPlane, namespace: &str, renewal: &Value) -> Exporter {
    exporter(namespace, renewal).kubeconfig(&plane.admin_kubeconfig()).start()
}

fn value(secret: &Value, key: &str) -> String {
    String::from_utf8(STANDARD.decode(secret["data"][key].as_str().unwrap_or_default()).unwrap()).unwrap()
}

fn wait_for_token(plane: &ControlPlane, namespace: &str, wanted: impl Fn(&str) -> bool) -> Value {
    wait_for("the new token", LIMIT, || match plane.admin().request("GET", &path(namespace), None) {
        (200, secret) if wanted(&value(&secret, "token")) => Ok(secret),
        (status, secret) => Err(format!("{status} {secret}")),
    })
}

fn wait_for_reason(exporter: &Exporter, reason: &str) -> String {
    exporter.wait_for_metrics(reason, |metrics| {
        !find(metrics, "jwt_exporter_renewal_error", &[("reason", reason)]).is_empty()
    })
}

#[test]
fn the_token_is_renewed_and_nothing_else_is_touched() {
    let plane = require_control_plane!();
    let namespace = namespace(plane);
    let old = lives(-1000, 100);
    let before = plane.admin().put_secret(
        &target(&namespace).data("token", &old).data("other", "stays").label("app", "datagate").annotation("a", "b"),
    );
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": before["metadata"]["uid"]}]);
    let owned = json!({"metadata": {"ownerReferences": owner}});
    assert_eq!(plane.admin().request("PATCH", &path(&namespace), Some(&owned)).0, 200);
    let endpoint = Endpoint::good();
    let exporter = of_admin(plane, &namespace, &renewal(&endpoint, &namespace));

    let after = wait_for_token(plane, &namespace, |token| token != old);
    assert_eq!(value(&after, "other"), "stays");
    assert_eq!(after["data"].as_object().unwrap().len(), 2);
    for (name, wanted) in [
        ("labels", json!({"app": "datagate"})),
        ("annotations", json!({"a": "b"})),
        ("ownerReferences", owner),
        ("uid", before["metadata"]["uid"].clone()),
    ] {
        assert_eq!(after["metadata"][name], wanted, "{name}");
    }
    assert_eq!((&after["type"], &after["immutable"]), (&json!("Opaque"), &Value::Null));
    let requests = endpoint.server.requests();
    assert_eq!(requests.len(), 1);
    let body: Value = serde_json::from_slice(&requests[0].body).unwrap();
    assert_eq!(body, json!({"username": "admin", "password": PASSWORD}));

    let metrics = exporter.wait_for_metrics("the new token", |metrics| {
        find(metrics, "jwt_exporter_token_expiration_timestamp_seconds", &[])
            .first()
            .is_some_and(|sample| sample.value as i64 > token::now() + 1000)
            && find(metrics, "jwt_exporter_renewals_total", &[("result", "success")])[0].value == 1.0
    });
    let place = [("secret_namespace", namespace.as_str()), ("secret_name", "bearer"), ("secret_key", "token")];
    assert_eq!(find(&metrics, "jwt_exporter_renewal_next_timestamp_seconds", &place).len(), 1, "{metrics}");
    let patches = [("verb", "patch"), ("resource", "secrets"), ("code", "200")];
    assert_eq!(find(&metrics, "jwt_exporter_kube_requests_total", &patches)[0].value, 2.0, "{metrics}");
    let line = exporter.log_lines("renewed; it expires at");
    assert_eq!(line.len(), 1, "{}", exporter.log());
    assert!(line[0].contains(&format!("renewal of {namespace}/bearer (key token)")), "{line:?}");
}

#[test]
fn a_secret_that_is_not_there_is_made_where_that_is_asked_for() {
    let plane = require_control_plane!();
    let namespace = namespace(plane);
    let endpoint = Endpoint::good();
    let mut renewal = renewal(&endpoint, &namespace);
    let exporter = of_admin(plane, &namespace, &renewal);
    wait_for_reason(&exporter, "target_not_found");
    drop(exporter);
    assert!(endpoint.server.requests().is_empty());

    renewal["create"] = json!({"labels": {"app": "datagate", "monitor.jwt.io/monitoring": "true"}});
    let _three = [(); 3].map(|()| of_admin(plane, &namespace, &renewal));
    let secret = wait_for_token(plane, &namespace, |token| !token.is_empty());
    assert_eq!(secret["metadata"]["labels"], json!({"app": "datagate", "monitor.jwt.io/monitoring": "true"}));
    assert_eq!((&secret["metadata"]["annotations"], &secret["type"]), (&Value::Null, &json!("Opaque")));
    // Time for the two others to do it again, if they would.
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(endpoint.server.requests().len(), 1);
}

#[test]
fn replicas_ask_once_and_write_once() {
    let plane = require_control_plane!();
    let namespace = namespace(plane);
    plane.admin().put_secret(&target(&namespace).data("token", "broken"));
    let endpoint = Endpoint::start(|_| {
        std::thread::sleep(Duration::from_secs(1));
        answer(&fresh())
    });
    let renewal = renewal(&endpoint, &namespace);
    let replicas = std::thread::scope(|scope| {
        let starting: Vec<_> = (0..3).map(|_| scope.spawn(|| of_admin(plane, &namespace, &renewal))).collect();
        starting.into_iter().map(|replica| replica.join().unwrap()).collect::<Vec<_>>()
    });
    let first = wait_for_token(plane, &namespace, |token| token != "broken");
    for replica in &replicas {
        replica.wait_for_metrics("everybody knows", |metrics| {
            let next = find(metrics, "jwt_exporter_renewal_next_timestamp_seconds", &[]);
            next.first().is_some_and(|next| next.value as i64 > token::now() + 1000)
        });
    }
    assert_eq!(endpoint.server.requests().len(), 1);
    assert_eq!(
        plane.admin().get(&path(&namespace))["metadata"]["resourceVersion"],
        first["metadata"]["resourceVersion"]
    );
}

#[test]
fn after_a_conflict_it_is_decided_anew() {
    let plane = require_control_plane!();
    let namespace = namespace(plane);
    plane.admin().put_secret(&target(&namespace).data("token", "broken"));
    // While the endpoint is asked, somebody labels the Secret; at the second time, somebody else renews the token.
    let theirs = lives(0, 3000);
    let (place, put) = (path(&namespace), STANDARD.encode(&theirs));
    let endpoint = Endpoint::start(move |request| {
        let change = match request.before {
            0 => json!({"metadata": {"labels": {"touched": "yes"}}}),
            _ => json!({"data": {"token": put}}),
        };
        assert_eq!(plane.admin().request("PATCH", &place, Some(&change)).0, 200);
        answer(&fresh())
    });
    let exporter = of_admin(plane, &namespace, &renewal(&endpoint, &namespace));
    let secret = wait_for_token(plane, &namespace, |token| token != "broken");
    assert_eq!(secret["metadata"]["labels"], json!({"touched": "yes"}));
    assert_eq!(endpoint.server.requests().len(), 1);

    plane.admin().request("PATCH", &path(&namespace), Some(&json!({"data": {"token": "eA=="}})));
    endpoint.server.wait_for_requests(2, LIMIT);
    wait_for("the log", LIMIT, || match exporter.log_lines("somebody else has renewed it meanwhile").len() {
        1 => Ok(()),
        _ => Err(exporter.log()),
    });
    assert_eq!(value(&plane.admin().get(&path(&namespace)), "token"), theirs);
    assert_eq!(endpoint.server.requests().len(), 2);
}

#[test]
fn an_immutable_secret_is_told_before_anybody_is_asked() {
    let plane = require_control_plane!();
    let namespace = namespace(plane);
    plane.admin().put_secret(&target(&namespace).data("token", "broken"));
    let immutable = json!({"immutable": true});
    assert_eq!(plane.admin().request("PATCH", &path(&namespace), Some(&immutable)).0, 200);
    let endpoint = Endpoint::good();
    let exporter = of_admin(plane, &namespace, &renewal(&endpoint, &namespace));
    wait_for_reason(&exporter, "target_immutable");
    assert!(!exporter.log_lines("the Secret is immutable").is_empty());
    assert!(endpoint.server.requests().is_empty());
}

#[test]
fn what_the_credentials_lack_is_told_before_anybody_is_asked() {
    let plane = require_control_plane!();
    let namespace = namespace(plane);
    plane.admin().put_secret(&target(&namespace).data("token", "broken"));
    let endpoint = Endpoint::good();
    let mut renewal = renewal(&endpoint, &namespace);
    renewal["request"]["body"] = r#"{"x":"${passwort}"}"#.into();
    let exporter = of_admin(plane, &namespace, &renewal);
    wait_for_reason(&exporter, "missing_variable");
    assert!(!exporter.log_lines("${passwort}").is_empty(), "{}", exporter.log());
    drop(exporter);
    renewal["credentials"]["name"] = "nobody".into();
    let exporter = of_admin(plane, &namespace, &renewal);
    wait_for_reason(&exporter, "credentials_unavailable");
    assert!(endpoint.server.requests().is_empty());
    // The others wait as long as we do: the claim stays, with our failure in it.
    let claim = plane.admin().get(&path(&namespace))["metadata"]["annotations"][ANNOTATION].clone();
    assert!(claim.as_str().is_some_and(|claim| claim.ends_with("failures")), "{claim}");
}

#[test]
fn a_token_in_hand_is_written_when_that_can_be_done_and_not_asked_for_again() {
    let plane = require_control_plane!();
    let namespace = namespace(plane);
    let admin = plane.admin();
    admin.put_secret(&target(&namespace).data("token", "broken"));
    admin.create_service_account(&namespace, "renewer");
    let account = format!("system:serviceaccount:{namespace}:renewer");
    admin.grant_in(&namespace, Subject::ServiceAccount { namespace: &namespace, name: "renewer" }, &["get"], "secrets");
    let user = Subject::User(&account);
    let endpoint_asked = Arc::new(Mutex::new(String::new()));
    let (granted, place) = (Arc::clone(&endpoint_asked), namespace.clone());
    // The right to patch goes away while the endpoint is asked.
    let endpoint = Endpoint::start(move |_| {
        let binding = granted.lock().unwrap().clone();
        let target = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{place}/rolebindings/{binding}");
        plane.admin().delete(&target);
        let account = format!("system:serviceaccount:{place}:renewer");
        plane.admin().await_access(Subject::User(&account), &place, "patch", "secrets", false);
        answer(&fresh())
    });
    let kubeconfig = plane.kubeconfig().token(&admin.request_token(&namespace, "renewer", &[], 3600));
    let exporter = exporter(&namespace, &renewal(&endpoint, &namespace)).kubeconfig(&kubeconfig).start();
    // First of all, without any right to patch: refused before anybody is asked.
    wait_for_reason(&exporter, "target_forbidden");
    assert!(!exporter.log_lines("verbs: [\"patch\"]").is_empty(), "{}", exporter.log());
    assert!(endpoint.server.requests().is_empty());

    {
        let mut granted = endpoint_asked.lock().unwrap();
        *granted = admin.grant_in(&namespace, user, &["patch"], "secrets");
    }
    wait_for("the token in hand", LIMIT, || match exporter.log_lines("the new token could not be written").len() {
        0 => Err(exporter.log()),
        _ => Ok(()),
    });
    admin.grant_in(&namespace, user, &["patch"], "secrets");
    wait_for_token(plane, &namespace, |token| token.split('.').count() == 3);
    assert_eq!(endpoint.server.requests().len(), 1);
}

#[test]
fn a_claim_holds_until_its_end_and_not_for_ever() {
    let plane = require_control_plane!();
    let namespace = namespace(plane);
    let until = |seconds: i64| jwt_exporter::time::UnixSeconds(token::now() + seconds);
    let claim = |seconds: i64| format!("another-pod/1 until {} after 2 failures", until(seconds));
    plane.admin().put_secret(&target(&namespace).data("token", "broken").annotation(ANNOTATION, &claim(6)));
    let endpoint = Endpoint::good();
    let started = token::now();
    let _exporter = of_admin(plane, &namespace, &renewal(&endpoint, &namespace));
    wait_for_token(plane, &namespace, |token| token != "broken");
    assert!(token::now() >= started + 4, "the claim of another was not heeded");
    assert_eq!(plane.admin().get(&path(&namespace))["metadata"]["annotations"], Value::Null);

    // No clock of a replica is a year ahead.
    plane.admin().put_secret(&target(&namespace).data("token", "broken").annotation(ANNOTATION, &claim(31_536_000)));
    wait_for_token(plane, &namespace, |token| token != "broken");
    assert_eq!(endpoint.server.requests().len(), 2);
}

#[test]
fn without_renewals_nothing_is_ever_written() {
    let plane = require_control_plane!();
    let namespace = namespace(plane);
    let before = plane.admin().put_secret(&target(&namespace).data("token", lives(-100, 1)));
    let secrets = format!("secrets: [{{namespace: {namespace}, name: bearer, key: token}}]\npolling_interval: 300ms\n");
    let exporter = Setup::new(secrets).kubeconfig(&plane.admin_kubeconfig()).start();
    let metrics = exporter.wait_for_metrics("an expired token", |metrics| {
        find(metrics, "jwt_exporter_jwt_expires_in_seconds", &[]).first().is_some_and(|sample| sample.value < 0.0)
    });
    assert!(!metrics.contains("jwt_exporter_renewal"), "{metrics}");
    assert_eq!(plane.admin().get(&path(&namespace))["metadata"], before["metadata"]);
}

#[test]
fn no_token_and_no_credential_is_in_anything_written() {
    let plane = require_control_plane!();
    let namespace = namespace(plane);
    let old = lives(-1000, 2);
    plane.admin().put_secret(&target(&namespace).data("token", &old));
    let tokens = Arc::new(Mutex::new(vec![old]));
    let handed_out = Arc::clone(&tokens);
    // At first refused with an echo, then a token that ends soon, then one that does not.
    let endpoint = Endpoint::start(move |request| {
        if request.before == 0 {
            return Answer::new(401, &[], request.body.clone());
        }
        let token = if request.before == 1 { lives(0, 4) } else { fresh() };
        handed_out.lock().unwrap().push(token.clone());
        answer(&token)
    });
    let renewal = renewal(&endpoint, &namespace);
    let setup = exporter(&namespace, &renewal).argument("-level").argument("trace");
    let exporter = setup.kubeconfig(&plane.admin_kubeconfig()).start();
    exporter.wait_for_metrics("two renewals", |metrics| {
        find(metrics, "jwt_exporter_renewals_total", &[("result", "success")])
            .first()
            .is_some_and(|count| count.value >= 2.0)
    });
    let mut hidden = Vec::new();
    for (at, token) in tokens.lock().unwrap().iter().enumerate() {
        hidden.extend(segments(&format!("token {at}"), token));
    }
    hidden.push(("the password".to_owned(), PASSWORD.into()));
    hidden.push(("the password in JSON".to_owned(), json!(PASSWORD).to_string().into_bytes()));
    hidden.push(("the password in `data`".to_owned(), STANDARD.encode(PASSWORD).into_bytes()));
    hidden.push(("the bearer token of the exporter".to_owned(), plane.admin_token().into()));
    assert_eq!(found(&everything_written(exporter), &hidden), [""; 0]);
}
