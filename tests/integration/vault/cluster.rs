//! Kubernetes mounts, on a real API server: what TokenReview says decides, and our own login needs a token of its own.

use super::manifest;
use super::{verdict, wait_for_verdict};
use crate::support::api_client::Secret;
use crate::support::exporter::Setup;
use crate::support::fake_api_server::{Answer, FakeApiServer};
use crate::support::kubeconfig::{Kubeconfig, several};
use crate::support::openbao::OpenBao;
use crate::support::real_parts::RealPart;
use crate::support::unique_name;
use serde_json::json;
use std::fs;

/// Roles of the mount, by name.
fn roles(namespace: &str, other: &str) -> Vec<(&'static str, serde_json::Value)> {
    let role = |names: &[&str], namespaces: &[&str], audience: &str| json!({"bound_service_account_names": names, "bound_service_account_namespaces": namespaces, "audience": audience});
    let by_label = |label: &str| {
        json!({"bound_service_account_names": ["*"],
            "bound_service_account_namespace_selector": format!("{{\"matchLabels\":{{\"team\":\"{label}\"}}}}")})
    };
    vec![
        ("app", role(&["app"], &[namespace], "")),
        ("glob", role(&["a*"], &["*"], "")),
        ("elsewhere", role(&["app"], &[other], "")),
        ("vault-only", role(&["app", "other"], &[namespace], "vault")),
        ("red", by_label("red")),
        ("blue", by_label("blue")),
    ]
}

#[test]
fn a_live_kubernetes_mount_agrees_with_the_server() {
    require_part!(RealPart::OpenBao);
    let plane = require_control_plane!();
    let admin = plane.admin();
    let namespace = unique_name("logins");
    admin.create_namespace(&namespace, &[("team", "red")]);
    let other = admin.create_unique_namespace("logins-other");
    for account in ["app", "other", "exporter", "reviewer"] {
        admin.create_service_account(&namespace, account);
    }
    // What the mount's own server asks with.
    let role = unique_name("reviewer");
    let group = "rbac.authorization.k8s.io";
    let rules = json!([{"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]}]);
    admin.create(
        "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        &json!({"metadata": {"name": role}, "rules": rules}),
    );
    let subject = json!({"kind": "ServiceAccount", "name": "reviewer", "namespace": namespace});
    let reference = json!({"apiGroup": group, "kind": "ClusterRole", "name": role});
    let binding = json!({"metadata": {"name": role}, "roleRef": reference, "subjects": [subject]});
    admin.create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &binding);
    let reviewer = admin.request_token(&namespace, "reviewer", &[], 3_600);

    let bao = OpenBao::start();
    bao.enable("kubernetes", "kubernetes");
    let config = json!({"kubernetes_host": plane.url(), "kubernetes_ca_cert": plane.ca_pem(),
        "token_reviewer_jwt": reviewer, "disable_local_ca_jwt": true});
    bao.write("auth/kubernetes/config", &config);
    let roles = roles(&namespace, &other);
    for (name, fields) in &roles {
        bao.write(&format!("auth/kubernetes/role/{name}"), fields);
    }
    // Our own way in.
    let policy =
        crate::support::manifests::text("manifests/examples/vault/policy.hcl").replace("auth/jwt", "auth/kubernetes");
    bao.write("sys/policies/acl/jwt-exporter", &json!({ "policy": policy }));
    let own = json!({"bound_service_account_names": ["exporter"], "bound_service_account_namespaces": [namespace],
        "audience": "vault", "token_policies": ["jwt-exporter"], "token_no_default_policy": true, "token_ttl": "3s"});
    bao.write("auth/kubernetes/role/jwt-exporter", &own);

    let token = |account: &str, audiences: &[&str]| admin.request_token(&namespace, account, audiences, 3_600);
    let broken = {
        let good = token("app", &[]);
        let (input, _) = good.rsplit_once('.').unwrap();
        let other = token("other", &[]);
        format!("{input}.{}", other.rsplit_once('.').unwrap().1)
    };
    let tokens = [
        ("plain", token("app", &[])),
        ("for-vault", token("app", &["vault"])),
        ("for-both", token("other", &["vault", "x"])),
        ("stranger", token("exporter", &["vault"])),
        ("broken", broken),
        ("garbage", "a.b.c".to_owned()),
    ];
    let label = unique_name("login");
    let logins: Vec<String> = roles.iter().map(|(name, _)| format!("live/{name}")).collect();
    for (name, token) in &tokens {
        let secret = Secret::new(&namespace, name).label("test", &label).data("token", token);
        let secret = secret.annotation("jwt-exporter/secret-key", "token");
        admin.put_secret(&secret.annotation("jwt-exporter/login", &logins.join(",")));
    }
    let setup = Setup::new(format!(
        "label_selectors: [test={label}]\nlogins:\n- name: live\n  vault: {{address: \"{}\", mount: auth/kubernetes, \
         kubernetes_role: jwt-exporter, service_account_token_file: own-token, refresh_interval: 1s}}\n  review: ours\n  \
         review_interval: 1s\n",
        bao.url()
    ));
    fs::write(setup.folder().join("own-token"), token("exporter", &["vault"])).unwrap();
    let exporter = setup.argument("-level=trace").kubeconfig(&plane.admin_kubeconfig()).start();
    wait_for_verdict(&exporter, ("plain", "live", "app"), "accepted");
    let all_told = |metrics: &str| {
        tokens.iter().all(|(secret, _)| {
            roles.iter().all(|(role, _)| {
                let verdict = verdict(metrics, secret, "live", role);
                verdict.is_some_and(|verdict| !["review_unavailable", "namespace_unavailable"].contains(&&*verdict))
            })
        })
    };
    let metrics = exporter.wait_for_metrics("every review", all_told);
    for (secret, jwt) in &tokens {
        for (role, _) in &roles {
            let (status, errors) = bao.login("auth/kubernetes", role, jwt);
            let said = verdict(&metrics, secret, "live", role).unwrap();
            assert_eq!(
                said == "accepted",
                status == 200,
                "{secret} {role}: said {said}, and the server {status} {errors}"
            );
        }
    }
    let said = |secret, role| verdict(&metrics, secret, "live", role).unwrap();
    assert_eq!(said("plain", "vault-only"), "audience_mismatch");
    assert_eq!(said("stranger", "app"), "name_not_allowed");
    assert_eq!(said("plain", "elsewhere"), "namespace_not_allowed");
    assert_eq!(
        (said("for-vault", "red"), said("for-vault", "blue")),
        ("accepted".into(), "namespace_not_allowed".into())
    );
    assert_eq!(said("broken", "app"), "review_refused");

    // A deleted account lets its tokens in no more, though nothing of them has changed.
    admin.delete(&format!("/api/v1/namespaces/{namespace}/serviceaccounts/other"));
    wait_for_verdict(&exporter, ("for-both", "live", "vault-only"), "review_refused");
    assert_ne!(bao.login("auth/kubernetes", "vault-only", &tokens[2].1).0, 200);
    // Its own session has ended and begun anew in the meantime.
    assert!(exporter.log_lines("cannot be read").is_empty(), "{}", exporter.log());
    let log = exporter.log();
    for (name, token) in tokens.iter().filter(|(name, _)| *name != "garbage") {
        assert!(token.split('.').skip(1).all(|piece| !log.contains(piece)), "{name}");
    }
}

#[test]
fn nobody_is_asked_unless_the_configuration_says_so() {
    let plane = require_control_plane!();
    let admin = plane.admin();
    let namespace = admin.create_unique_namespace("logins");
    admin.create_service_account(&namespace, "app");
    let label = unique_name("login");
    let token = admin.request_token(&namespace, "app", &[], 3_600);
    let secret = Secret::new(&namespace, "s").label("test", &label).data("token", token);
    admin.put_secret(&secret.annotation("jwt-exporter/login", "cluster/app"));
    let config = |review: &str| {
        format!(
            "label_selectors: [test={label}]\nlogins:\n- name: cluster\n  kubernetes:\n    config: {{kubernetes_host: \
             \"https://10.0.0.1\"}}\n    roles: {{app: {{bound_service_account_names: [app], \
             bound_service_account_namespaces: [{namespace}]}}}}\n{review}"
        )
    };
    let place = ("s", "cluster", "app");
    let silent = Setup::new(config("")).kubeconfig(&plane.admin_kubeconfig()).start();
    let metrics = wait_for_verdict(&silent, place, "review_unavailable");
    assert!(!metrics.contains("resource=\"tokenreviews\""), "{metrics}");
    let asking = Setup::new(config("  review: ours\n")).kubeconfig(&plane.admin_kubeconfig()).start();
    let metrics = wait_for_verdict(&asking, place, "accepted");
    assert!(metrics.contains("resource=\"tokenreviews\",verb=\"create\"} 1"), "{metrics}");
}

/// The cluster of a mount need not be ours: a context of the kubeconfig names it, and it alone is asked.
#[test]
fn another_context_answers_the_review() {
    let claims = json!({"aud": ["vault"], "iat": crate::support::token::now(), "exp": crate::support::token::now() + 1_000,
        "kubernetes.io": {"namespace": "apps", "serviceaccount": {"name": "app", "uid": "u-1"}}});
    let jwt = super::key::Key::new("a").sign(&claims);
    let answer = |status: serde_json::Value| Answer::json(201, &json!({"kind": "TokenReview", "status": status}));
    let status = json!({"authenticated": true, "audiences": ["vault"],
        "user": {"username": "system:serviceaccount:apps:app", "uid": "u-1"}});
    let elsewhere = FakeApiServer::start(move |_| answer(status.clone()));
    let ours = FakeApiServer::start(|_| Answer::json(404, &json!({})));
    let setup = Setup::new(
        "kubernetes: false\nkubeconfig_path: kubeconfig\npolling_interval: 100ms\nmanifests: [secrets.yaml]\nlogins:\n\
         - name: cluster\n  server: openbao\n  kubernetes:\n    config: {}\n    roles: {app: {bound_service_account_names: \
         [app], bound_service_account_namespaces: [apps]}}\n  review: elsewhere\n",
    );
    let contexts = [("ours", &Kubeconfig::new(ours.url())), ("elsewhere", &Kubeconfig::new(elsewhere.url()))];
    fs::write(setup.folder().join("kubeconfig"), several(&contexts)).unwrap();
    fs::write(setup.folder().join("secrets.yaml"), manifest("s", "cluster/app", &jwt)).unwrap();
    let exporter = setup.start();
    wait_for_verdict(&exporter, ("s", "cluster", "app"), "accepted");
    let requests = elsewhere.requests();
    assert!(requests.iter().all(|request| request.path() == "/apis/authentication.k8s.io/v1/tokenreviews"));
    let asked: serde_json::Value = serde_json::from_slice(&requests[0].body).unwrap();
    assert_eq!(asked["spec"], json!({"token": jwt, "audiences": ["vault"]}));
    assert!(ours.requests().is_empty(), "{:?}", ours.requests());
}
