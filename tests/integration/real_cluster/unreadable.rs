//! Secrets that cannot be read, or not in full: shown with their reason, told once, counted at every poll.

use super::{is_up, of_source, polls};
use crate::support::api_client::Secret;
use crate::support::exporter::Setup;
use crate::support::exposition::{find, samples};
use crate::support::{token, unique_name};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Name, `secret_key` of the error, reason, and whether samples of a token stand beside it.
const UNREADABLE: [(&str, &str, &str, bool); 10] = [
    ("encrypted", "token", "encrypted", true),
    ("invalid-claims", "token", "invalid_claims", false),
    ("invalid-date", "token", "invalid_claims", true),
    ("invalid-document", "token", "invalid_document", false),
    ("invalid-header", "token", "invalid_header", false),
    ("missing-key", "token", "missing_key", false),
    ("no-token", "", "no_token", false),
    ("not-a-jwt", "token", "not_a_jwt", false),
    ("too-large", "token", "too_large", false),
    ("too-many-series", "token", "too_many_series", true),
];

/// As the test makes them, in the same order. `make` has namespace, name and label.
fn unreadable(make: impl Fn(&str) -> Secret) -> Vec<Secret> {
    let encoded = |text: &str| token::base64url(text.as_bytes());
    let roles: Vec<String> = (0..101).map(|n| format!("role-{n}")).collect();
    let five = [r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#, "key", "iv", "text", "tag"].map(encoded).join(".");
    let value = |name: &str| -> Vec<u8> {
        match name {
            "encrypted" => five.clone().into(),
            "invalid-claims" => format!("{}.{}.c2ln", encoded(r#"{"alg":"HS256"}"#), encoded("[1]")).into(),
            "invalid-date" => token::hs256(&json!({"exp": "tomorrow"})).into(),
            "invalid-document" => br#"{"token": "#.to_vec(),
            "invalid-header" => format!("{}.{}.c2ln", encoded(r#"{"typ":"JWT"}"#), encoded("{}")).into(),
            "not-a-jwt" => b"one.two".to_vec(),
            "too-large" => token::hs256(&json!({"sub": "x".repeat(300 * 1024)})).into(),
            "too-many-series" => token::hs256(&json!({"roles": roles})).into(),
            "missing-key" | "no-token" => b"hunter2".to_vec(),
            _ => panic!("{name}"),
        }
    };
    let secret = |name: &str| match name {
        "no-token" => make(name).data("password", value(name)),
        "missing-key" => make(name).annotation("jwt-exporter/secret-key", "token").data("tokens", value(name)),
        _ => make(name).annotation("jwt-exporter/secret-key", "token").data("token", value(name)),
    };
    UNREADABLE.iter().map(|(name, ..)| secret(name)).collect()
}

type Errors = Vec<(String, String, String)>;

/// Name, key and reason of every `token_error` sample of the namespace.
fn errors(metrics: &str, namespace: &str) -> Errors {
    let found = find(metrics, "jwt_exporter_token_error", &[("secret_namespace", namespace)]);
    assert!(found.iter().all(|sample| sample.value == 1.0), "{found:?}");
    let label = |sample: &crate::support::exposition::Sample, name| sample.label(name).to_owned();
    let place = |sample| (label(sample, "secret_name"), label(sample, "secret_key"), label(sample, "reason"));
    found.iter().map(place).collect()
}

#[test]
fn each_has_one_error_told_once_and_counted_at_every_poll() {
    let plane = require_control_plane!();
    let admin = plane.admin();
    let (namespace, wanted) = (admin.create_unique_namespace("unreadable"), unique_name("wanted"));
    admin.put_secrets(&unreadable(|name| Secret::new(&namespace, name).label("test", &wanted)));
    let crowded = (0..33).fold(Secret::new(&namespace, "too-many-tokens").label("test", &wanted), |secret, n| {
        secret.data(&format!("token-{n:02}"), token::hs256(&json!({})))
    });
    admin.put_secret(&crowded);

    let config = format!("label_selectors: [\"test={wanted}\"]\npolling_interval: 300ms\nwatch: false\n");
    let mut exporter = Setup::new(config).kubeconfig(&plane.admin_kubeconfig()).start();
    exporter.wait_until_ready();

    let mut expected: Errors =
        UNREADABLE.iter().map(|&(name, key, reason, _)| (name.into(), key.into(), reason.into())).collect();
    expected.push(("too-many-tokens".into(), String::new(), "too_many_tokens".into()));
    expected.sort();
    let mut per_poll = BTreeMap::new();
    for (_, _, reason) in &expected {
        *per_poll.entry(reason.clone()).or_insert(0.0) += 1.0;
    }
    let counted = |metrics: &str| -> BTreeMap<String, f64> {
        let all = find(metrics, "jwt_exporter_source_errors_total", &[("source", "kubernetes")]);
        all.iter().map(|sample| (sample.label("reason").to_owned(), sample.value)).collect()
    };
    let metrics = exporter.wait_for_metrics("four polls, every error counted in each", |metrics| {
        // A scrape in the middle of a poll may see a part of it.
        let polls = polls(metrics);
        polls >= 4.0 && counted(metrics) == per_poll.iter().map(|(reason, n)| (reason.clone(), n * polls)).collect()
    });
    let all: f64 = counted(&metrics).values().sum();
    assert_eq!(find(&metrics, "jwt_exporter_error_total", &[])[0].value, all);
    assert!(is_up(&metrics), "a broken Secret is no failure of the source");
    assert_eq!(errors(&metrics, &namespace), expected, "{metrics}");
    assert_eq!(of_source(&metrics, "jwt_exporter_source_secrets", &[]), 11.0);

    for (name, _, _, beside) in UNREADABLE {
        let of_secret = |sample: &&_| is_of(sample, &namespace, name);
        let families: Vec<String> =
            samples(&metrics).iter().filter(of_secret).map(|sample| sample.name.clone()).collect();
        assert_eq!(families.iter().any(|family| family == "jwt_exporter_token_info"), beside, "{name}: {families:?}");
        if !beside {
            assert_eq!(families, ["jwt_exporter_token_error"], "{name}");
        }
        assert_eq!(exporter.log_lines(&format!("secret_name=\"{name}\"")).len(), 1, "{name}:\n{}", exporter.log());
    }
    let tokens = find(&metrics, "jwt_exporter_token_info", &[("secret_name", "too-many-tokens")]);
    assert_eq!(tokens.len(), 32, "the rest of them is the error");
    for (name, key, reason) in &expected {
        let place =
            format!("{{secret_key=\"{key}\",secret_name=\"{name}\",secret_namespace=\"{namespace}\"}} {reason}: ");
        assert_eq!(exporter.log_lines(&place).len(), 1, "{place}:\n{}", exporter.log());
        assert!(exporter.log_lines(&place)[0].contains("[WARN]"));
    }
}

fn is_of(sample: &crate::support::exposition::Sample, namespace: &str, name: &str) -> bool {
    sample.label("secret_namespace") == namespace && sample.label("secret_name") == name
}

#[test]
fn a_mended_secret_loses_its_error_and_a_broken_one_its_samples() {
    let plane = require_control_plane!();
    let admin = plane.admin();
    let (namespace, wanted) = (admin.create_unique_namespace("mending"), unique_name("wanted"));
    let put = |name: &str, value: &str| {
        let secret = Secret::new(&namespace, name).label("test", &wanted);
        admin.put_secret(&secret.annotation("jwt-exporter/secret-key", "token").data("token", value));
    };
    let good = |claims: Value| token::hs256(&claims);
    put("left", "one.two");
    put("right", &good(json!({"exp": 1, "iat": 2})));
    let config = format!("label_selectors: [\"test={wanted}\"]\npolling_interval: 300ms\nwatch: false\n");
    let mut exporter = Setup::new(config).kubeconfig(&plane.admin_kubeconfig()).start();
    exporter.wait_until_ready();
    let broken = |name: &str| vec![(name.to_owned(), "token".to_owned(), "not_a_jwt".to_owned())];
    let count =
        |metrics: &str, name: &str| samples(metrics).iter().filter(|sample| is_of(sample, &namespace, name)).count();
    assert_eq!(errors(&exporter.metrics(), &namespace), broken("left"));

    put("left", &good(json!({"exp": 1, "iat": 2})));
    put("right", "one.two");
    // Five families marked S, and three of one sample per token.
    const SAMPLES: usize = 8;
    let metrics = exporter.wait_for_metrics("the other way round", |metrics| {
        errors(metrics, &namespace) == broken("right") && count(metrics, "left") == SAMPLES
    });
    assert_eq!(count(&metrics, "right"), 1, "{metrics}");

    put("right", &good(json!({"exp": 3, "iat": 4})));
    let metrics = exporter.wait_for_metrics("no error left", |metrics| errors(metrics, &namespace).is_empty());
    assert_eq!((count(&metrics, "left"), count(&metrics, "right")), (SAMPLES, SAMPLES));
    for name in ["left", "right"] {
        let lines = exporter.log_lines(&format!("secret_name=\"{name}\""));
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("[WARN]") && lines[0].contains("not_a_jwt: "), "{lines:?}");
        assert!(lines[1].contains("[INFO]") && lines[1].ends_with("no more not_a_jwt"), "{lines:?}");
    }
}
