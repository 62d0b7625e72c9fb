//! The demo that the README begins with: without a cluster, and the same Secrets in one.

use crate::support::exporter::{Finished, Setup};
use crate::support::exposition::{Sample, find, samples, value};
use crate::support::kubeconfig::Kubeconfig;
use crate::support::manifests::{collection, in_checkout, objects, text};
use crate::support::{process, token};
use jwt_exporter::metrics::FAMILIES;
use jwt_exporter::observation::Reason;
use std::collections::BTreeSet;
use std::process::Command;

const NAMESPACE: &str = "jwt-exporter-demo";
const EXPIRES: &str = "jwt_exporter_token_expiration_timestamp_seconds";

/// The lines of the demo's configuration without those keys.
fn config_without(keys: &[&str]) -> String {
    let config = text("manifests/demo/config.yaml");
    let unwanted = |line: &&str| !keys.iter().any(|key| line.starts_with(&format!("{key}:")));
    config.lines().filter(unwanted).map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_demos_configuration_is_valid_as_it_stands() {
    let path = in_checkout("manifests/demo/config.yaml").display().to_string();
    let Finished { status, stdout, .. } = crate::support::exporter::run(&["-check-config", "-config", &path]);
    assert!(status.success() && stdout.contains("127.0.0.1:8080"), "{stdout}");
}

#[test]
fn the_demo_shows_every_state() {
    let mut exporter = Setup::new(config_without(&["address"])).in_checkout().start();
    exporter.wait_until_ready();
    let metrics = exporter.metrics();
    let now = token::now() as f64;
    let expires = |name: &str| value(&metrics, EXPIRES, &[("secret_name", name), ("secret_namespace", NAMESPACE)]);
    assert!(expires("fresh") > now + 1e9);
    assert!(expires("expired") < now);
    // How much is left of it depends on when the demo was made.
    assert!(expires("expiring") > expires("expired"));
    let series = |name: &str| find(&metrics, "jwt_exporter_jwt_expires_in_seconds", &[("secret_name", name)]);
    assert!(series("expired")[0].value < 0.0);
    assert_eq!(series("roles-and-scopes").len(), 6);
    assert_eq!(series("audience-list")[0].label("audience"), "api,billing,reports");
    assert_eq!(series("unsigned")[0].label("algorithm"), "none");
    let keys = |name: &str| -> Vec<String> {
        find(&metrics, "jwt_exporter_token_info", &[("secret_name", name)])
            .iter()
            .map(|sample| sample.label("secret_key").to_owned())
            .collect()
    };
    assert_eq!(keys("several-keys"), ["access-token", "refresh-token"]);
    assert_eq!(keys("not-annotated"), ["token"]);
    assert_eq!(keys("bearer"), ["token"]);
    assert_eq!(keys("json-document"), ["tokens.json/access_token", "tokens.json/sessions/0/refresh_token"]);
    assert_eq!(keys("registry-login"), [".dockerconfigjson/auths/registry.example/password"]);
    assert_eq!(keys("kubeconfig"), ["kubeconfig/users/0/user/token"]);
    assert_eq!(keys("too-many-tokens").len(), 4);
    assert!(
        value(&metrics, "jwt_exporter_token_not_before_timestamp_seconds", &[("secret_name", "not-yet-valid")]) > now
    );
    value(&metrics, "jwt_exporter_token_never_expires", &[("secret_name", "never-expires")]);

    // A Secret is named after its reason. A value of 256 KiB is nothing to look at, and no API server refuses us here.
    let left_out = [Reason::TooLarge, Reason::Forbidden];
    for reason in Reason::ALL.into_iter().filter(|reason| !left_out.contains(reason)) {
        let found = find(&metrics, "jwt_exporter_token_error", &[("reason", reason.as_str())]);
        assert_eq!(found.len(), 1, "{}: {found:?}", reason.as_str());
        match reason {
            Reason::NotFound => assert_eq!(found[0].label("secret_name"), "manifests/demo/secrets/not-there.yaml"),
            Reason::Unreadable => assert_eq!(found[0].label("secret_name"), "manifests/demo/secrets"),
            _ => assert_eq!(found[0].label("secret_name"), reason.as_str().replace('_', "-")),
        }
    }
    // What only a cluster has, and what renewals and logins have: the demo writes nothing and names no server.
    let others =
        ["jwt_exporter_kube_requests_total", "jwt_exporter_scope_up", "jwt_exporter_renewal", "jwt_exporter_login"];
    let is_other = |name: &str| others.iter().any(|other| name.starts_with(other));
    for family in FAMILIES.iter().filter(|family| !is_other(family.name)) {
        let shown = samples(&metrics).iter().any(|sample| sample.name.starts_with(family.name));
        assert!(shown, "no sample of {}", family.name);
    }
}

/// What a scrape says of the demo's Secrets, but for what the clock changes.
fn demo_samples(metrics: &str) -> Vec<Sample> {
    let of_the_clock = ["jwt_exporter_jwt_expires_in_seconds", "jwt_exporter_jwt_issued_since_seconds"];
    let mut found = samples(metrics);
    found.retain(|sample| sample.label("secret_namespace") == NAMESPACE);
    found.iter_mut().filter(|sample| of_the_clock.contains(&&*sample.name)).for_each(|sample| sample.value = 0.0);
    found
}

#[test]
fn the_demo_in_a_cluster_gives_the_same_samples() {
    let plane = require_control_plane!();
    for object in objects("manifests/demo/secrets") {
        let target = format!("{}?fieldValidation=Strict", collection(&object));
        plane.admin().create(&target, &object);
    }
    let folder = process::folder("demo");
    let kubeconfig = Kubeconfig::new(plane.url()).ca_inline(plane.ca_pem()).token(plane.admin_token());
    let bounds: String =
        config_without(&[]).lines().filter(|line| line.starts_with("max_")).map(|line| format!("{line}\n")).collect();
    let config = format!("kubeconfig_path: {}\nwatch: false\n{bounds}", kubeconfig.write(folder.path()).display());
    let mut in_cluster = Setup::new(config).start();
    let mut in_files = Setup::new(config_without(&["address"])).in_checkout().start();
    in_cluster.wait_until_ready();
    in_files.wait_until_ready();
    let (in_cluster, in_files) = (demo_samples(&in_cluster.metrics()), demo_samples(&in_files.metrics()));
    assert!(in_files.len() > 100, "{}", in_files.len());
    assert_eq!(in_cluster, in_files);
}

/// The text with every token, and every secret in base64, made equal.
fn without_tokens(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.=".contains(c);
    let mut out = String::new();
    for word in text.split_inclusive(|c| !is_part(c)) {
        let bare = word.trim_end_matches(|c| !is_part(c));
        let is_token = bare.starts_with("eyJ") || bare.starts_with("ZXlK");
        out += if is_token { "TOKEN" } else { bare };
        out += &word[bare.len()..];
    }
    out
}

#[test]
fn the_demo_can_be_made_anew() {
    if Command::new("openssl").arg("version").output().is_err() {
        return crate::support::real_parts::skip(test_name!(), "openssl is not on PATH: install Debian's openssl");
    }
    let folder = process::folder("generate");
    let made = Command::new("sh").arg(in_checkout("manifests/demo/generate")).arg(folder.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let names = |folder: std::path::PathBuf| -> BTreeSet<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let files = names(in_checkout("manifests/demo/secrets"));
    assert_eq!(files, names(folder.path().to_owned()));
    for file in &files {
        let made = std::fs::read_to_string(folder.path().join(file)).unwrap();
        let kept = text(&format!("manifests/demo/secrets/{file}"));
        assert_eq!(without_tokens(&made), without_tokens(&kept), "{file}: run manifests/demo/generate");
    }

    let config = format!("kubernetes: false\nmanifests: [\"{}/*.yaml\"]\n", folder.path().display());
    let mut exporter = Setup::new(config).start();
    exporter.wait_until_ready();
    let left = value(&exporter.metrics(), "jwt_exporter_jwt_expires_in_seconds", &[("secret_name", "expiring")]);
    assert!((2.0 * 86_400.0..=3.0 * 86_400.0).contains(&left), "{left}");
}
