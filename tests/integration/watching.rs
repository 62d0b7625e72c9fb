//! Changes of a real cluster show between two polls.

use crate::support::api_client::{ApiClient, Secret, Subject};
use crate::support::exporter::{Exporter, Setup};
use crate::support::exposition::{find, value};
use crate::support::kubeconfig::Kubeconfig;
use crate::support::{process, token, unique_name};
use serde_json::json;

/// Requests of a kind with this answer, or with any.
fn requests(exporter: &Exporter, verb: &str, code: Option<&str>) -> f64 {
    let metrics = exporter.metrics();
    let labels = [("verb", verb), ("resource", "secrets")].into_iter().chain(code.map(|code| ("code", code)));
    let labels: Vec<_> = labels.collect();
    find(&metrics, "jwt_exporter_kube_requests_total", &labels).iter().map(|sample| sample.value).sum()
}

fn jwt(expires: i64) -> String {
    token::hs256(&json!({"exp": expires}))
}

struct Watched<'a> {
    admin: &'a ApiClient,
    exporter: Exporter,
    namespace: String,
}

impl Watched<'_> {
    fn put(&self, name: &str, labels: &[&str], expires: i64) {
        let secret = Secret::new(&self.namespace, name).data("token", jwt(expires));
        self.admin.put_secret(&labels.iter().fold(secret, |secret, label| secret.label(label, "yes")));
    }

    fn await_expiry(&self, what: &str, name: &str, expires: Option<i64>) {
        self.exporter.wait_for_metrics(what, |metrics| {
            let labels = [("secret_namespace", self.namespace.as_str()), ("secret_name", name)];
            let found = find(metrics, "jwt_exporter_token_expiration_timestamp_seconds", &labels);
            found.iter().map(|sample| sample.value).collect::<Vec<_>>() == expires.map(|at| at as f64).as_slice()
        });
    }
}

fn follow(selectors: usize) {
    let plane = require_control_plane!();
    let admin = plane.admin();
    let namespace = admin.create_unique_namespace("watching");
    let labels: Vec<String> = (0..selectors).map(|_| unique_name("watching")).collect();
    let label = |n: usize| labels[n % selectors].as_str();
    let folder = process::folder("watching");
    let kubeconfig = Kubeconfig::new(plane.url()).ca_inline(plane.ca_pem()).token(plane.admin_token());
    let path = kubeconfig.write(folder.path());
    let config = format!("kubeconfig_path: {}\nlabel_selectors: {labels:?}\n", path.display());
    let mut watched = Watched { admin, exporter: Setup::new(config).start(), namespace };

    watched.put("there", &[label(0)], 1);
    watched.exporter.wait_until_ready();
    watched.await_expiry("a Secret that was there", "there", Some(1));
    // Lists, and polls.
    let read = |watched: &Watched<'_>| {
        let polls = value(&watched.exporter.metrics(), "jwt_exporter_poll_duration_seconds_count", &[]);
        (requests(&watched.exporter, "list", None), polls)
    };
    let read_before = read(&watched);
    watched.put("there", &[label(0)], 2);
    watched.await_expiry("a rotated token", "there", Some(2));
    for number in 0..selectors {
        watched.put(&format!("added-{number}"), &[label(number)], 3);
        watched.await_expiry("an added Secret", &format!("added-{number}"), Some(3));
    }
    watched.put("there", &[label(0), label(1)], 4);
    watched.await_expiry("a Secret that two selectors match", "there", Some(4));
    watched.put("there", &[label(1)], 5);
    watched.await_expiry("a Secret that one of them goes on to match", "there", Some(5));
    watched.put("there", &[], 6);
    watched.await_expiry("a Secret that lost its label", "there", None);
    watched.put("there", &[label(0)], 7);
    watched.await_expiry("a Secret that got it again", "there", Some(7));
    watched.admin.delete_secret(&watched.namespace, "there");
    watched.await_expiry("a deleted Secret", "there", None);

    // One list and one watch each, and nothing since: what has shown came by the watches alone. The next poll is an hour away.
    assert_eq!(read(&watched), read_before);
    assert_eq!(requests(&watched.exporter, "list", Some("200")), selectors as f64);
    assert_eq!(requests(&watched.exporter, "watch", Some("200")), selectors as f64);
    assert_eq!(value(&watched.exporter.metrics(), "jwt_exporter_source_up", &[]), 1.0);
    assert_eq!(watched.exporter.process().stderr().matches("[ERROR]").count(), 0);
}

#[test]
fn one_selector_is_followed() {
    follow(1);
}

#[test]
fn five_selectors_are_followed() {
    follow(5);
}

#[test]
fn without_the_right_to_watch_it_is_said_once_and_polled() {
    let plane = require_control_plane!();
    let admin = plane.admin();
    let (namespace, label) = (admin.create_unique_namespace("no-watch"), unique_name("no-watch"));
    admin.create_service_account(&namespace, "reader");
    admin.grant(Subject::ServiceAccount { namespace: &namespace, name: "reader" }, &["get", "list"], "secrets");
    let bearer = admin.request_token(&namespace, "reader", &[], 3600);
    let folder = process::folder("no-watch");
    let path = Kubeconfig::new(plane.url()).ca_inline(plane.ca_pem()).token(&bearer).write(folder.path());
    let config = format!("kubeconfig_path: {}\nlabel_selectors: [{label}]\npolling_interval: 1s\n", path.display());
    let mut watched = Watched { admin, exporter: Setup::new(config).start(), namespace };
    watched.exporter.wait_until_ready();
    watched.put("one", &[&label], 1);
    watched.await_expiry("a Secret that the next poll finds", "one", Some(1));
    watched.put("one", &[&label], 2);
    watched.await_expiry("a rotated token that the next poll finds", "one", Some(2));
    assert!(requests(&watched.exporter, "watch", Some("403")) >= 1.0);
    assert_eq!(value(&watched.exporter.metrics(), "jwt_exporter_source_up", &[]), 1.0);
    let log = watched.exporter.process().stderr();
    assert_eq!(log.matches("watching is not allowed").count(), 1, "{log}");
    assert_eq!(log.matches("[ERROR]").count(), 0, "{log}");
}
