//! The main job: tokens in a real cluster, their dates in a scrape.

use crate::support::api_client::Secret;
use crate::support::exporter::Setup;
use crate::support::exposition::value;
use crate::support::{token, unique_name};
use serde_json::json;

#[test]
fn tokens_of_a_real_cluster_are_scraped() {
    let plane = require_control_plane!();
    let admin = plane.admin();
    let (namespace, wanted) = (admin.create_unique_namespace("first"), unique_name("first"));
    let expires = token::now() + 3600;
    let jwt =
        token::hs256(&json!({"iss": "issuer", "sub": "me", "aud": ["a", "b"], "exp": expires, "roles": ["r", "s"]}));
    let secret = Secret::new(&namespace, "one").label("test", &wanted).annotation("jwt-exporter/secret-key", "token");
    admin.put_secret(&secret.data("token", &jwt));
    admin.put_secret(&Secret::new(&namespace, "broken").label("test", &wanted).data("token", "hello"));

    let config = format!("label_selectors: [\"test={wanted}\"]\nwatch: false\n");
    let mut exporter = Setup::new(config).kubeconfig(&plane.admin_kubeconfig()).start();
    exporter.wait_until_ready();
    let metrics = exporter.metrics();
    let location = [("secret_namespace", namespace.as_str()), ("secret_name", "one"), ("secret_key", "token")];
    assert_eq!(value(&metrics, "jwt_exporter_token_expiration_timestamp_seconds", &location), expires as f64);
    for role in ["r", "s"] {
        let labels = [&location[..], &[("role", role), ("scope", ""), ("audience", "a,b"), ("subject", "me")]].concat();
        let left = value(&metrics, "jwt_exporter_jwt_expires_in_seconds", &labels);
        assert!((3500.0..=3600.0).contains(&left), "{left}");
    }
    let broken = [("secret_namespace", namespace.as_str()), ("secret_name", "broken"), ("reason", "no_token")];
    assert_eq!(value(&metrics, "jwt_exporter_token_error", &broken), 1.0);
}
