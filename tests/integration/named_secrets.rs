//! Secrets by their names: with `get` and `watch` on just these, and nothing listed.

use crate::support::api_client::{ApiClient, Secret};
use crate::support::control_plane::ControlPlane;
use crate::support::exporter::{Exporter, Setup};
use crate::support::exposition::{find, value};
use crate::support::fake_api_server::{Answer, FakeApiServer};
use crate::support::kubeconfig::Kubeconfig;
use crate::support::{token, unique_name};
use serde_json::json;
use std::time::Duration;

const EXPIRATION: &str = "jwt_exporter_token_expiration_timestamp_seconds";

/// A namespace, and an account in it that has rights on single Secrets.
struct Scene<'a> {
    plane: &'a ControlPlane,
    namespace: String,
}

impl<'a> Scene<'a> {
    fn new(plane: &'a ControlPlane) -> Self {
        let namespace = plane.admin().create_unique_namespace("named");
        plane.admin().create_service_account(&namespace, "exporter");
        Self { plane, namespace }
    }

    fn admin(&self) -> &ApiClient {
        self.plane.admin()
    }

    fn jwt(expires: i64) -> String {
        token::hs256(&json!({"exp": expires}))
    }

    fn put(&self, name: &str, expires: i64) {
        self.admin().put_secret(&Secret::new(&self.namespace, name).data("token", Self::jwt(expires)));
    }

    /// A Role on Secrets of these names, in force a moment later.
    fn grant(&self, verbs: &[&str], names: &[&str]) {
        let (role, path) = (unique_name("role"), "/apis/rbac.authorization.k8s.io/v1/namespaces");
        let rule = json!({"apiGroups": [""], "resources": ["secrets"], "resourceNames": names, "verbs": verbs});
        let object = json!({"metadata": {"name": role}, "rules": [rule]});
        self.admin().create(&format!("{path}/{}/roles", self.namespace), &object);
        let reference = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role});
        let subject = json!({"kind": "ServiceAccount", "name": "exporter", "namespace": self.namespace});
        let object = json!({"metadata": {"name": role}, "roleRef": reference, "subjects": [subject]});
        self.admin().create(&format!("{path}/{}/rolebindings", self.namespace), &object);
        let bearer = self.admin().request_token(&self.namespace, "exporter", &[], 600);
        let account = self.plane.client_with_token(&bearer);
        for name in names {
            let target = format!("/api/v1/namespaces/{}/secrets/{name}", self.namespace);
            crate::support::wait_for("RBAC in force", Duration::from_secs(30), || {
                let (status, answer) = account.request("GET", &target, None);
                if status == 403 { Err(answer.to_string()) } else { Ok(()) }
            });
        }
    }

    /// `secrets` are the entries as YAML, in which `NS` is the namespace.
    fn start(&self, secrets: &str, config: &str) -> Exporter {
        let bearer = self.admin().request_token(&self.namespace, "exporter", &[], 3600);
        let config = format!("secrets: {}\n{config}", secrets.replace("NS", &self.namespace));
        let mut exporter = Setup::new(config).kubeconfig(&self.plane.kubeconfig().token(&bearer)).start();
        exporter.wait_until_ready();
        exporter
    }
}

/// Name, key and expiry of what is shown.
fn shown(metrics: &str) -> Vec<(String, String, i64)> {
    let samples = find(metrics, EXPIRATION, &[]);
    let of = |name, sample: &crate::support::exposition::Sample| sample.label(name).to_owned();
    samples.iter().map(|sample| (of("secret_name", sample), of("secret_key", sample), sample.value as i64)).collect()
}

fn token_of(name: &str, key: &str, expires: i64) -> (String, String, i64) {
    (name.to_owned(), key.to_owned(), expires)
}

/// Name, key and reason of the errors.
fn errors(metrics: &str) -> Vec<(String, String, String)> {
    let samples = find(metrics, "jwt_exporter_token_error", &[]);
    let of = |sample: &crate::support::exposition::Sample| {
        ["secret_name", "secret_key", "reason"].map(|name| sample.label(name).to_owned()).into()
    };
    samples.iter().map(of).collect()
}

fn error_of(name: &str, key: &str, reason: &str) -> (String, String, String) {
    (name.to_owned(), key.to_owned(), reason.to_owned())
}

fn requests(metrics: &str, verb: &str, code: &str) -> f64 {
    let labels = [("verb", verb), ("code", code)];
    find(metrics, "jwt_exporter_kube_requests_total", &labels).iter().map(|sample| sample.value).sum()
}

#[test]
fn get_and_watch_by_name_are_enough_and_nothing_is_listed() {
    let plane = require_control_plane!();
    let scene = Scene::new(plane);
    scene.put("two", 2);
    let one = Secret::new(&scene.namespace, "one").data("a", Scene::jwt(1)).data("b", Scene::jwt(9));
    scene.admin().put_secret(&one);
    scene.grant(&["get", "watch"], &["one", "two", "absent"]);
    let exporter = scene.start(
        "[{namespace: NS, name: one, key: a}, {namespace: NS, name: one, key: c}, {namespace: NS, name: two}, \
         {namespace: NS, name: absent, key: token}]",
        "",
    );
    let metrics = exporter.metrics();
    assert_eq!(shown(&metrics), [token_of("one", "a", 1), token_of("two", "token", 2)]);
    assert_eq!(errors(&metrics), [error_of("absent", "token", "not_found"), error_of("one", "c", "missing_key")]);
    assert_eq!(value(&metrics, "jwt_exporter_source_up", &[]), 1.0);
    assert_eq!(value(&metrics, "jwt_exporter_source_secrets", &[]), 3.0);
    assert_eq!(find(&metrics, "jwt_exporter_scope_up", &[]), []);

    exporter.wait_for_metrics("three watches", |metrics| requests(metrics, "watch", "200") == 3.0);
    scene.put("two", 3);
    exporter.wait_for_metrics("a rotated token", |metrics| shown(metrics).get(1) == Some(&token_of("two", "token", 3)));
    scene.admin().delete_secret(&scene.namespace, "two");
    let metrics = exporter
        .wait_for_metrics("one that went", |metrics| errors(metrics).last() == Some(&error_of("two", "", "not_found")));
    assert_eq!(shown(&metrics), [token_of("one", "a", 1)]);
    scene.put("two", 5);
    exporter.wait_for_metrics("and came back", |metrics| shown(metrics).last() == Some(&token_of("two", "token", 5)));

    let used: std::collections::BTreeSet<String> = find(&exporter.metrics(), "jwt_exporter_kube_requests_total", &[])
        .iter()
        .map(|sample| sample.label("verb").to_owned())
        .collect();
    assert_eq!(used.into_iter().collect::<Vec<_>>(), ["get", "watch"]);
    assert!(exporter.log_lines("[ERROR]").is_empty(), "{}", exporter.log());
}

#[test]
fn without_the_right_to_watch_they_are_polled() {
    let plane = require_control_plane!();
    let scene = Scene::new(plane);
    scene.put("one", 1);
    scene.put("two", 1);
    scene.grant(&["get"], &["one", "two", "zero"]);
    let secrets = "[{namespace: NS, name: one}, {namespace: NS, name: two}, {namespace: NS, name: zero}]";
    let exporter = scene.start(secrets, "polling_interval: 1s\n");
    assert_eq!(errors(&exporter.metrics()), [error_of("zero", "", "not_found")]);
    scene.put("zero", 3);
    exporter.wait_for_metrics("one that came", |metrics| shown(metrics).get(2) == Some(&token_of("zero", "token", 3)));
    scene.put("one", 2);
    exporter.wait_for_metrics("the next poll", |metrics| shown(metrics).first() == Some(&token_of("one", "token", 2)));
    exporter.wait_for_metrics("denied again", |metrics| requests(metrics, "watch", "403") >= 4.0);
    assert_eq!(exporter.log_lines("watching is not allowed").len(), 1, "{}", exporter.log());
    assert_eq!(value(&exporter.metrics(), "jwt_exporter_source_up", &[]), 1.0);
}

#[test]
fn a_forbidden_one_says_so_and_is_tried_again() {
    let plane = require_control_plane!();
    let scene = Scene::new(plane);
    scene.put("one", 1);
    scene.put("two", 2);
    scene.grant(&["get", "watch"], &["one"]);
    let secrets = "[{namespace: NS, name: one}, {namespace: NS, name: two, key: token}]";
    let exporter = scene.start(secrets, "");
    let metrics = exporter.metrics();
    assert_eq!(shown(&metrics), [token_of("one", "token", 1)]);
    assert_eq!(errors(&metrics), [error_of("two", "token", "forbidden")]);
    assert_eq!(value(&metrics, "jwt_exporter_source_up", &[]), 1.0);
    let lines = exporter.log_lines("forbidden");
    assert!(lines[0].contains("[WARN]") && lines[0].contains("verbs: [\"get\"]"), "{lines:?}");
    scene.grant(&["get", "watch"], &["two"]);
    exporter.wait_for_metrics("it may be read now", |metrics| {
        errors(metrics).is_empty() && shown(metrics).last() == Some(&token_of("two", "token", 2))
    });
    scene.put("two", 3);
    exporter.wait_for_metrics("followed", |metrics| shown(metrics).last() == Some(&token_of("two", "token", 3)));
}

#[test]
fn one_that_a_selector_brings_too_counts_once_and_the_named_key_wins() {
    let plane = require_control_plane!();
    let scene = Scene::new(plane);
    let label = unique_name("label");
    let both = |expires: i64| {
        let secret = Secret::new(&scene.namespace, "both").label(&label, "yes");
        scene.admin().put_secret(&secret.data("a", Scene::jwt(expires)).data("b", Scene::jwt(9)));
    };
    both(1);
    let config =
        format!("label_selectors: [{label}]\nsecrets: [{{namespace: {}, name: both, key: a}}]\n", scene.namespace);
    let mut exporter = Setup::new(config).kubeconfig(&plane.admin_kubeconfig()).start();
    exporter.wait_until_ready();
    let metrics = exporter.metrics();
    assert_eq!(shown(&metrics), [token_of("both", "a", 1)]);
    assert_eq!(value(&metrics, "jwt_exporter_source_secrets", &[]), 1.0);
    exporter.wait_for_metrics("two watches", |metrics| requests(metrics, "watch", "200") == 2.0);
    both(2);
    exporter.wait_for_metrics("a change by both ways", |metrics| shown(metrics) == [token_of("both", "a", 2)]);
    // It is no longer labelled, and named all the same.
    let secret = Secret::new(&scene.namespace, "both").data("a", Scene::jwt(3)).data("b", Scene::jwt(9));
    scene.admin().put_secret(&secret);
    exporter.wait_for_metrics("without its label", |metrics| shown(metrics) == [token_of("both", "a", 3)]);
}

#[test]
fn a_watch_that_is_too_old_reads_the_one_secret_again_and_lists_nothing() {
    let server = FakeApiServer::start(|request| match (request.path(), request.query("watch")) {
        ("/api/v1/namespaces/n/secrets", Some(_)) => {
            assert_eq!(request.query("fieldSelector").as_deref(), Some("metadata.name=s"));
            let gone = json!({"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}});
            Answer::chunked(200, &[format!("{gone}\n").as_bytes()])
        }
        ("/api/v1/namespaces/n/secrets/s", None) => {
            let metadata = json!({"name": "s", "namespace": "n", "resourceVersion": "5"});
            Answer::json(200, &json!({"kind": "Secret", "metadata": metadata, "data": {"password": "aGk="}}))
        }
        other => panic!("{other:?}"),
    });
    let config = "secrets: [{namespace: n, name: s}]\n";
    let mut exporter = Setup::new(config).kubeconfig(&Kubeconfig::new(server.url()).token("bearer")).start();
    exporter.wait_until_ready();
    // A reading and a watch from there; then a watch from anywhere and a reading each time.
    let requests = server.wait_for_requests(2 + 2 * 2, Duration::from_secs(60));
    let watches: Vec<_> = requests.iter().filter(|request| request.query("watch").is_some()).collect();
    let from: Vec<_> = watches.iter().filter_map(|request| request.query("resourceVersion")).collect();
    assert_eq!(from, ["5", "0", "0"]);
    assert!(watches[1].at - watches[0].at >= Duration::from_secs(1), "{:?}", watches[1].at - watches[0].at);
    assert_eq!(errors(&exporter.metrics()), [error_of("s", "", "no_token")]);
    assert_eq!(value(&exporter.metrics(), "jwt_exporter_source_up", &[]), 1.0);
}
