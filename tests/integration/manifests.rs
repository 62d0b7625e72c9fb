//! Tokens in Secret manifests: no cluster anywhere.

use crate::support::api_client::Secret;
use crate::support::exporter::{Exporter, Setup};
use crate::support::exposition::{find, value};
use crate::support::token;
use jwt_exporter::kubernetes::{LabelSelector, Query};
use serde_json::json;
use std::fs;

const EXPIRES: &str = "jwt_exporter_token_expiration_timestamp_seconds";
const ERROR: &str = "jwt_exporter_token_error";

fn secret(name: &str, value: &str) -> String {
    format!("---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{token: \"{value}\"}}\n")
}

fn expiring_at(time: i64) -> String {
    token::hs256(&json!({ "exp": time }))
}

/// Paths and reasons of the files that are broken.
fn broken_files(exporter: &Exporter) -> Vec<(String, String)> {
    let errors = find(&exporter.metrics(), ERROR, &[("secret_namespace", ""), ("secret_key", "")]);
    errors.iter().map(|error| (error.label("secret_name").to_owned(), error.label("reason").to_owned())).collect()
}

#[test]
fn a_changed_file_shows_at_the_next_poll() {
    let setup = Setup::new("kubernetes: false\npolling_interval: 100ms\nmanifests: [\"secrets/**/*.yaml\"]\n");
    let folder = setup.folder().join("secrets/deep");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("a.yaml");
    fs::write(&file, secret("a", &expiring_at(1_000))).unwrap();
    let mut exporter = setup.start();
    exporter.wait_until_ready();
    let metrics = exporter.metrics();
    let location = [("secret_namespace", "default"), ("secret_name", "a"), ("secret_key", "token")];
    assert_eq!(value(&metrics, EXPIRES, &location), 1_000.0);
    assert_eq!(value(&metrics, "jwt_exporter_source_up", &[("source", "manifests")]), 1.0);
    assert_eq!(find(&metrics, "jwt_exporter_source_up", &[]).len(), 1, "{metrics}");

    fs::write(&file, secret("a", &expiring_at(2_000)) + &secret("b", &expiring_at(3_000))).unwrap();
    exporter.wait_for_metrics("both tokens", |metrics| {
        let times: Vec<f64> = find(metrics, EXPIRES, &[]).iter().map(|sample| sample.value).collect();
        times == [2_000.0, 3_000.0]
    });
    fs::remove_file(&file).unwrap();
    exporter.wait_for_metrics("no token", |metrics| find(metrics, EXPIRES, &[]).is_empty());
    assert_eq!(broken_files(&exporter), []);
    exporter.process().kill();
    assert!(!exporter.process().output().contains("eyJ"));
}

#[test]
fn broken_files_are_named_and_the_others_read() {
    let setup = Setup::new(
        "kubernetes: false\npolling_interval: 100ms\nmanifests: [\"*.yaml\", missing.json, no-folder/*.yaml, folder, nothing-here-*.yaml]\n",
    );
    let write = |name: &str, text: &str| fs::write(setup.folder().join(name), text).unwrap();
    let content = "correct-horse";
    write("good.yaml", &secret("good", &expiring_at(1_000)));
    write(
        "half.yaml",
        &format!("{}---\nkind: Secret\nmetadata: {content}: {content}\n", secret("half", &expiring_at(2_000))),
    );
    fs::create_dir(setup.folder().join("folder")).unwrap();
    let mut exporter = setup.start();
    exporter.wait_until_ready();
    let named = |path: &str, reason: &str| (path.to_owned(), reason.to_owned());
    assert_eq!(
        broken_files(&exporter),
        [
            named("folder", "unreadable"),
            named("half.yaml", "invalid_document"),
            named("missing.json", "not_found"),
            named("no-folder", "not_found"),
        ]
    );
    let names = find(&exporter.metrics(), EXPIRES, &[]);
    assert_eq!(names.iter().map(|sample| sample.label("secret_name")).collect::<Vec<_>>(), ["good", "half"]);

    // Each error is told once, however often it is polled.
    exporter.wait_for_metrics("five polls", |metrics| {
        value(metrics, "jwt_exporter_poll_duration_seconds_count", &[("source", "manifests")]) >= 5.0
    });
    exporter.process().kill();
    let log = exporter.process().output();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("half.yaml")).collect();
    assert_eq!(told.len(), 1, "{log}");
    assert!(told[0].contains("line 8 is not YAML"), "{log}");
    assert!(!log.contains(content), "{log}");
}

#[test]
fn an_unreadable_secret_counts_at_every_poll_and_is_gone_when_mended() {
    let setup = Setup::new("kubernetes: false\npolling_interval: 100ms\nmanifests: [list.json]\n");
    let file = setup.folder().join("list.json");
    let list = |value: &str| {
        let metadata = json!({"name": "a", "namespace": "n", "annotations": {"jwt-exporter/secret-key": "token"}});
        let secret =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"token": value}});
        fs::write(&file, json!({"apiVersion": "v1", "kind": "List", "items": [secret]}).to_string()).unwrap();
    };
    list("hello");
    let exporter = setup.start();
    let location = [("secret_namespace", "n"), ("secret_name", "a"), ("secret_key", "token")];
    exporter.wait_for_metrics("three errors", |metrics| value(metrics, "jwt_exporter_error_total", &[]) >= 3.0);
    assert_eq!(find(&exporter.metrics(), ERROR, &location)[0].label("reason"), "not_a_jwt");
    list(&expiring_at(4_000));
    let metrics = exporter.wait_for_metrics("the token", |metrics| !find(metrics, EXPIRES, &location).is_empty());
    assert!(find(&metrics, ERROR, &[]).is_empty(), "{metrics}");
}

/// A selector of the configuration picks the Secrets of files as the API server picks those of a cluster.
#[test]
fn selectors_match_as_those_of_the_api_server() {
    let plane = require_control_plane!();
    let namespace = plane.admin().create_unique_namespace("selectors");
    let all: [&[(&str, &str)]; 7] = [
        &[],
        &[("app", "web")],
        &[("app", "")],
        &[("app", "db"), ("example.com/n", "7")],
        &[("example.com/n", "3")],
        &[("example.com/n", "x7")],
        &[("app", "web"), ("example.com/n", "007"), ("in", "notin")],
    ];
    for (number, labels) in all.iter().enumerate() {
        let secret = Secret::new(&namespace, &format!("s{number}"));
        let labelled = labels.iter().fold(secret, |secret, (key, value)| secret.label(key, value));
        plane.admin().put_secret(&labelled);
    }
    let mut matched = 0;
    for text in [
        "app",
        "!app",
        "app=",
        "app=web",
        "app!=web",
        "app!=",
        "app in (web,db)",
        "app in (,db)",
        "app in (web,)",
        "app notin (web,db)",
        "app notin ()x",
        "app notin (,)",
        "example.com/n>6",
        "example.com/n<7",
        "example.com/n>-4,example.com/n<5",
        "example.com/n=7",
        "app,!example.com/n",
        "in in (notin)",
        "in=notin,app==web",
    ] {
        let target = Query::new(&format!("/api/v1/namespaces/{namespace}/secrets")).with("labelSelector", text).build();
        let (status, answer) = plane.admin().request("GET", &target, None);
        let Ok(selector) = LabelSelector::parse(text) else {
            assert_eq!(status, 400, "{text}: {answer}");
            continue;
        };
        assert_eq!(status, 200, "{text}: {answer}");
        let items = answer["items"].as_array().unwrap();
        let theirs: Vec<&str> = items.iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect();
        let picks = |labels: &[(&str, &'static str)]| {
            let label = |key: &str| labels.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
            selector.as_ref().unwrap().matches(label)
        };
        let ours: Vec<String> = (0..all.len()).filter(|number| picks(all[*number])).map(|n| format!("s{n}")).collect();
        assert_eq!(ours, theirs, "{text}");
        matched += ours.len();
    }
    assert!(matched > 20, "{matched}");
}
