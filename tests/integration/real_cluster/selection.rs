//! Which Secrets are read: selectors, namespaces that come and go, pages.

use super::{is_up, lists, of_source, polls};
use crate::support::api_client::Secret;
use crate::support::exporter::Setup;
use crate::support::exposition::find;
use crate::support::{token, unique_name};
use serde_json::json;
use std::collections::BTreeMap;

const EXPIRATION: &str = "jwt_exporter_token_expiration_timestamp_seconds";

/// The names of the Secrets of a namespace that have a token shown, in the order of the exposition.
fn shown(metrics: &str, namespace: &str) -> Vec<String> {
    let samples = find(metrics, EXPIRATION, &[("secret_namespace", namespace)]);
    samples.iter().map(|sample| sample.label("secret_name").to_owned()).collect()
}

#[test]
fn selectors_take_a_secret_if_any_matches_and_no_selector_takes_all() {
    let plane = require_control_plane!();
    let admin = plane.admin();
    let (namespace, wanted) = (admin.create_unique_namespace("selection"), unique_name("wanted"));
    let jwt = || token::hs256(&json!({"exp": token::now() + 1000}));
    let secret = |name: &str| Secret::new(&namespace, name).data("token", jwt());
    admin.put_secret(&secret("red").label("test", &wanted).label("color", "red"));
    admin.put_secret(&secret("blue").label("test", &wanted).label("color", "blue"));
    admin.put_secret(&secret("green").label("other", &wanted).label("color", "green"));
    admin.put_secret(&secret("unlabelled"));
    // Nobody asked for these by a selector: the one is no error, the other's annotation makes it one.
    admin.put_secret(&Secret::new(&namespace, "empty").data("password", "hunter2"));
    let annotated = Secret::new(&namespace, "empty-and-annotated").data("password", "hunter2");
    admin.put_secret(&annotated.annotation("jwt-exporter/secret-key", "token"));

    let read = |selectors: &str| {
        let config = format!("label_selectors: {selectors}\nwatch: false\n");
        let mut exporter = Setup::new(config).kubeconfig(&plane.admin_kubeconfig()).start();
        exporter.wait_until_ready();
        exporter.metrics()
    };
    let one = read(&format!("[\"test={wanted}\"]"));
    assert_eq!(shown(&one, &namespace), ["blue", "red"]);
    assert_eq!(lists(&one, "200"), 1.0);
    assert_eq!(of_source(&one, "jwt_exporter_source_tokens", &[]), 2.0);

    // `red` matches two of three; reading the samples would panic at one that stands twice.
    let three = read(&format!("[\"test={wanted}\", \"other={wanted}\", \"test={wanted},color in (red, yellow)\"]"));
    assert_eq!(shown(&three, &namespace), ["blue", "green", "red"]);
    assert_eq!(lists(&three, "200"), 3.0);
    assert_eq!(of_source(&three, "jwt_exporter_source_secrets", &[]), 3.0);
    assert_eq!(of_source(&three, "jwt_exporter_source_tokens", &[]), 3.0);

    let negated = read(&format!("[\"test={wanted},color!=red\"]"));
    assert_eq!(shown(&negated, &namespace), ["blue"]);

    let all = read("[]");
    assert_eq!(shown(&all, &namespace), ["blue", "green", "red", "unlabelled"]);
    let errors = find(&all, "jwt_exporter_token_error", &[("secret_namespace", &namespace)]);
    let errors: Vec<_> = errors.iter().map(|sample| (sample.label("secret_name"), sample.label("reason"))).collect();
    assert_eq!(errors, [("empty-and-annotated", "missing_key")]);
}

#[test]
fn a_namespace_appears_and_goes_between_two_polls() {
    let plane = require_control_plane!();
    let admin = plane.admin();
    let wanted = unique_name("wanted");
    let config = format!("label_selectors: [\"test={wanted}\"]\npolling_interval: 500ms\n");
    let mut exporter = Setup::new(config).kubeconfig(&plane.admin_kubeconfig()).start();
    exporter.wait_until_ready();
    assert_eq!(of_source(&exporter.metrics(), "jwt_exporter_source_secrets", &[]), 0.0);

    let namespace = admin.create_unique_namespace("fleeting");
    let secret = |name: &str| Secret::new(&namespace, name).label("test", &wanted);
    admin.put_secret(&secret("one").data("token", token::hs256(&json!({"exp": 1}))));
    admin.put_secret(&secret("two").data("token", token::hs256(&json!({"exp": 2}))));
    exporter.wait_for_metrics("both Secrets shown", |metrics| shown(metrics, &namespace) == ["one", "two"]);

    // The same name, another object.
    admin.delete_secret(&namespace, "two");
    admin.put_secret(&secret("two").data("token", token::hs256(&json!({"exp": 3}))));
    exporter.wait_for_metrics("the new Secret in the place of the old", |metrics| {
        find(metrics, EXPIRATION, &[("secret_name", "two"), ("secret_namespace", &namespace)])
            .iter()
            .any(|sample| sample.value == 3.0)
    });

    admin.delete_namespace(&namespace);
    let metrics = exporter.wait_for_metrics("nothing of the namespace left", |metrics| !metrics.contains(&namespace));
    assert!(is_up(&metrics), "{metrics}");
    assert_eq!(of_source(&metrics, "jwt_exporter_source_secrets", &[]), 0.0);
    assert_eq!(of_source(&metrics, "jwt_exporter_source_errors_total", &[]), 0.0);
}

#[test]
fn three_thousand_secrets_are_read_in_pages_of_five_hundred() {
    // One beyond six full pages: after a full one the server offers another, whether it holds anything or not.
    const SECRETS: i64 = 3001;
    let plane = require_control_plane!();
    let admin = plane.admin();
    let (namespace, crowd) = (admin.create_unique_namespace("crowd"), unique_name("crowd"));
    let expires = |n: i64| 1_700_000_000 + n;
    let secret = |n: i64| {
        let jwt = token::hs256(&json!({"exp": expires(n)}));
        Secret::new(&namespace, &format!("secret-{n:04}")).label("test", &crowd).data("token", jwt)
    };
    admin.put_secrets(&(0..SECRETS).map(secret).collect::<Vec<_>>());

    let config = format!("label_selectors: [\"test={crowd}\"]\nwatch: false\n");
    let mut exporter = Setup::new(config).kubeconfig(&plane.admin_kubeconfig()).start();
    exporter.wait_until_ready();
    let metrics = exporter.metrics();
    assert_eq!((polls(&metrics), lists(&metrics, "200")), (1.0, 7.0), "polls and list requests");
    assert_eq!(of_source(&metrics, "jwt_exporter_source_tokens", &[]), SECRETS as f64);
    let dates: BTreeMap<String, f64> = find(&metrics, EXPIRATION, &[("secret_namespace", &namespace)])
        .into_iter()
        .map(|sample| (sample.label("secret_name").to_owned(), sample.value))
        .collect();
    let wanted = (0..SECRETS).map(|n| (format!("secret-{n:04}"), expires(n) as f64)).collect();
    assert_eq!(dates, wanted);
}
