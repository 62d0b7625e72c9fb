//! Who we are and whom we trust: refusals and what is said of them, certificates, tokens, names.

use super::{is_up, lists, of_source};
use crate::support::api_client::{Secret, Subject};
use crate::support::certificates::CertificateAuthority;
use crate::support::control_plane::{ControlPlane, Settings};
use crate::support::exporter::{Exporter, Setup};
use crate::support::exposition::value;
use crate::support::kubeconfig::Kubeconfig;
use crate::support::{token, unique_name};
use serde_json::json;
use std::time::{Duration, Instant};

/// One Secret with a token, and the configuration that reads just it, twice a second.
fn one_secret(plane: &ControlPlane) -> (String, String) {
    let (namespace, wanted) = (plane.admin().create_unique_namespace("access"), unique_name("wanted"));
    let secret = Secret::new(&namespace, "one").label("test", &wanted);
    plane.admin().put_secret(&secret.data("token", token::hs256(&json!({"exp": token::now() + 1000}))));
    (namespace, format!("label_selectors: [\"test={wanted}\"]\npolling_interval: 500ms\nwatch: false\n"))
}

fn start(config: &str, kubeconfig: &Kubeconfig) -> Exporter {
    Setup::new(config).kubeconfig(kubeconfig).start()
}

/// Waits until polls have failed `times` for this reason, looks at what is said of it outside, and returns the only line
/// that the log has for it.
fn refused(exporter: &Exporter, reason: &str, times: f64) -> String {
    let errors = |metrics: &str| of_source(metrics, "jwt_exporter_source_errors_total", &[("reason", reason)]);
    let metrics = exporter.wait_for_metrics(reason, |metrics| errors(metrics) >= times);
    assert!(!is_up(&metrics), "{metrics}");
    assert_eq!(value(&metrics, "jwt_exporter_source_up", &[("source", "kubernetes")]), 0.0);
    let log = exporter.log();
    let lines = exporter.log_lines("[ERROR] kubernetes: ");
    assert_eq!(lines.len(), 1, "told once and not at every poll:\n{log}");
    lines[0].clone()
}

fn not_ready(exporter: &Exporter) {
    let answer = exporter.get("/readyz");
    assert_eq!((answer.status, answer.text().as_str()), (503, "no source could be read yet; the log says why\n"));
    assert_eq!(exporter.get("/healthz").status, 200);
}

#[test]
fn a_token_that_nobody_knows_is_told_once_and_counted_at_every_poll() {
    let plane = require_control_plane!();
    let (_, config) = one_secret(plane);
    let exporter = start(&config, &plane.kubeconfig().token("not-a-token-of-this-cluster"));
    let line = refused(&exporter, "unauthorized", 3.0);
    assert!(line.contains("list secrets in the whole cluster"), "{line}");
    assert!(line.contains(&plane.url()) && line.contains("status 401"), "{line}");
    assert!(line.contains("expired, revoked, or those of another cluster?"), "{line}");
    assert!(!line.contains("not-a-token"), "{line}");
    assert!(lists(&exporter.metrics(), "401") >= 3.0);
    not_ready(&exporter);
}

#[test]
fn an_account_without_the_right_is_told_which_rule_it_needs_and_works_once_it_has_it() {
    let plane = require_control_plane!();
    let admin = plane.admin();
    let (namespace, config) = one_secret(plane);
    admin.create_service_account(&namespace, "exporter");
    let jwt = admin.request_token(&namespace, "exporter", &[], 600);
    let mut exporter = start(&config, &plane.kubeconfig().token(&jwt));

    let line = refused(&exporter, "forbidden", 3.0);
    assert!(line.contains("list secrets in the whole cluster"), "{line}");
    assert!(line.contains("status 403"), "{line}");
    let account = format!("system:serviceaccount:{namespace}:exporter");
    assert!(line.contains(&account), "whose right is missing: {line}");
    assert!(line.contains("a ClusterRole bound to us needs the rule {"), "{line}");
    for part in ["apiGroups: [\"\"]", "resources: [\"secrets\"]", "verbs: [\"list\"]"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    not_ready(&exporter);

    let subject = Subject::ServiceAccount { namespace: &namespace, name: "exporter" };
    let grant = admin.grant(subject, &["get", "list"], "secrets");
    let granted = Instant::now();
    exporter.wait_until_ready();
    assert!(granted.elapsed() < Duration::from_secs(30), "{:?}", granted.elapsed());
    let metrics = exporter.metrics();
    assert!(is_up(&metrics), "{metrics}");
    assert_eq!(of_source(&metrics, "jwt_exporter_source_tokens", &[]), 1.0);
    assert_eq!(exporter.log_lines("kubernetes: works again after").len(), 1);

    // What was read stays shown, and the exporter stays ready.
    admin.revoke(&grant);
    let metrics = exporter.wait_for_metrics("source_up 0", |metrics| !is_up(metrics));
    assert_eq!(of_source(&metrics, "jwt_exporter_source_tokens", &[]), 1.0);
    value(&metrics, "jwt_exporter_token_info", &[("secret_namespace", &namespace)]);
    assert_eq!(exporter.get("/readyz").status, 200);
    let lines = exporter.log_lines("[ERROR] kubernetes: ");
    assert!(lines.last().unwrap().ends_with("what was read before stays shown"), "{lines:?}");
}

#[test]
fn a_client_certificate_lets_us_in() {
    let plane = require_control_plane!();
    let (_, config) = one_secret(plane);
    let group = unique_name("group");
    plane.admin().grant(Subject::Group(&group), &["list"], "secrets");
    let identity = plane.issue_client_certificate("exporter", &[&group]);

    let mut inline = start(&config, &plane.kubeconfig().certificate_inline(&identity));
    inline.wait_until_ready();
    assert!(is_up(&inline.metrics()));

    let setup = Setup::new(config);
    std::fs::write(setup.folder().join("client.crt"), &identity.certificate_pem).unwrap();
    std::fs::write(setup.folder().join("client.key"), &identity.key_pem).unwrap();
    // Relative to the kubeconfig's own folder.
    let mut files = setup.kubeconfig(&plane.kubeconfig().certificate_files("client.crt", "client.key")).start();
    files.wait_until_ready();
    assert!(is_up(&files.metrics()));
}

#[test]
fn a_certificate_of_a_stranger_is_refused_with_the_rule_and_what_to_do() {
    let plane = require_control_plane!();
    let (_, config) = one_secret(plane);
    let stranger = CertificateAuthority::new("stranger").pem();
    let kubeconfig = Kubeconfig::new(plane.url()).ca_inline(stranger).token(plane.admin_token());
    let exporter = start(&config, &kubeconfig);
    let line = refused(&exporter, "tls", 2.0);
    assert!(line.contains("127.0.0.1"), "for which name: {line}");
    assert!(line.contains("CA"), "what the operator can do: {line}");
    assert!(!line.contains(plane.admin_token()), "{line}");
    // The token is not shown to a server that nobody has vouched for.
    assert!(lists(&exporter.metrics(), "error") >= 2.0);
    not_ready(&exporter);

    let mut trusting =
        start(&config, &Kubeconfig::new(plane.url()).insecure_skip_tls_verify().token(plane.admin_token()));
    trusting.wait_until_ready();
    assert_eq!(trusting.log_lines("[WARN]").len(), 1, "{}", trusting.log());
    assert!(trusting.log_lines("[WARN]")[0].contains("insecure-skip-tls-verify"));
}

#[test]
fn a_server_under_another_name_that_is_down_at_start_is_read_once_it_comes() {
    const NAME: &str = "api.internal.example";
    let server_names = vec![NAME.to_owned()];
    let mut plane = require_own_control_plane!(Settings { server_names, ..Settings::default() });
    let (_, config) = one_secret(&plane);
    let by_address = start(&config, &plane.admin_kubeconfig());
    let line = refused(&by_address, "tls", 2.0);
    for part in ["127.0.0.1", NAME, "tls-server-name"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    drop(by_address);

    // An interval as people have it: the retries after a failure do not wait for it.
    let config = config.replace("500ms", "1h");
    plane.stop_api_server();
    let mut exporter = start(&config, &plane.admin_kubeconfig().tls_server_name(NAME));
    let line = refused(&exporter, "connect", 2.0);
    assert!(line.contains(&plane.url()), "{line}");
    not_ready(&exporter);

    plane.start_api_server();
    let started = Instant::now();
    exporter.wait_until_ready();
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    let metrics = exporter.metrics();
    assert!(is_up(&metrics), "{metrics}");
    assert_eq!(of_source(&metrics, "jwt_exporter_source_tokens", &[]), 1.0);
}
