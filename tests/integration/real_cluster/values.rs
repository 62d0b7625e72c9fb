//! Values that are no token and carry some, in Secrets of the types that the API server checks.

use super::polls;
use crate::support::api_client::Secret;
use crate::support::exporter::Setup;
use crate::support::exposition::{find, value};
use crate::support::{token, unique_name};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

const EXPIRES: &str = "jwt_exporter_token_expiration_timestamp_seconds";

#[test]
fn every_value_that_carries_tokens_is_searched() {
    let plane = require_control_plane!();
    let admin = plane.admin();
    let (namespace, wanted) = (admin.create_unique_namespace("values"), unique_name("wanted"));
    let secret = |name: &str| Secret::new(&namespace, name).label("test", &wanted);
    let jwt = |expires: u32| token::hs256(&json!({ "exp": expires }));
    let auth = |expires| STANDARD.encode(format!("user:{}", jwt(expires)));
    let login = json!({"auths": {
        "registry.example": {"username": "u", "password": jwt(1), "email": "u@x", "auth": auth(1)},
        "https://other.example/v1/": {"auth": auth(2)},
        "plain.example": {"username": "u", "password": "hunter2", "auth": STANDARD.encode("u:hunter2")},
    }});
    let kubeconfig = format!(
        "# mine\napiVersion: v1\nkind: Config\nclusters:\n- {{name: c, cluster: {{server: https://c}}}}\nusers:\n\
         - name: a\n  user:\n    token: {}\n- name: b\n  user:\n    token: {}\n- name: c\n  user: {{username: x, password: 123456789012345678901234}}\n",
        jwt(3),
        jwt(4)
    );
    let argo = json!({"bearerToken": jwt(5), "tlsClientConfig": {"insecure": false}}).to_string();
    let deep = json!({"a": [{"b": {"c": [[jwt(6)]]}}], "d/e~f": jwt(7)}).to_string();
    admin.put_secrets(&[
        secret("registry").kind("kubernetes.io/dockerconfigjson").data(".dockerconfigjson", login.to_string()),
        secret("kubeconfig").data("value", kubeconfig),
        secret("argo")
            .label("argocd.argoproj.io/secret-type", "cluster")
            .data("name", "c")
            .data("server", "https://c")
            .data("config", argo),
        secret("json").data("tokens.json", deep),
        secret("headers").data("header", format!("Bearer {}\n", jwt(8))).data("token", jwt(9)).data("password", "x"),
        secret("basic").kind("kubernetes.io/basic-auth").data("username", "u").data("password", jwt(10)),
        secret("ssh").kind("kubernetes.io/ssh-auth").data("ssh-privatekey", [0xff; 100_000]),
    ]);
    let config = format!("label_selectors: [\"test={wanted}\"]\npolling_interval: 1h\n");
    let mut exporter = Setup::new(config).kubeconfig(&plane.admin_kubeconfig()).start();
    exporter.wait_until_ready();
    let metrics = exporter.metrics();
    assert_eq!(polls(&metrics), 1.0);
    let shown: Vec<(String, String, f64)> = find(&metrics, EXPIRES, &[("secret_namespace", &namespace)])
        .iter()
        .map(|sample| (sample.label("secret_name").to_owned(), sample.label("secret_key").to_owned(), sample.value))
        .collect();
    let wanted = [
        ("argo", "config/bearerToken", 5.0),
        ("basic", "password", 10.0),
        ("headers", "header", 8.0),
        ("headers", "token", 9.0),
        ("json", "tokens.json/a/0/b/c/0/0", 6.0),
        ("json", "tokens.json/d~1e~0f", 7.0),
        ("kubeconfig", "value/users/0/user/token", 3.0),
        ("kubeconfig", "value/users/1/user/token", 4.0),
        ("registry", ".dockerconfigjson/auths/https:~1~1other.example~1v1~1/auth", 2.0),
        ("registry", ".dockerconfigjson/auths/registry.example/password", 1.0),
    ];
    assert_eq!(shown, wanted.map(|(name, key, expires)| (name.to_owned(), key.to_owned(), expires)));
    // The label picked it, and there is nothing in it.
    let errors = find(&metrics, "jwt_exporter_token_error", &[("secret_namespace", &namespace)]);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!((errors[0].label("secret_name"), errors[0].label("reason")), ("ssh", "no_token"));
    assert_eq!(value(&metrics, "jwt_exporter_source_tokens", &[("source", "kubernetes")]), 10.0);
}
