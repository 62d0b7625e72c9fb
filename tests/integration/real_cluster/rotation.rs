//! Tokens that are replaced while we run: in a kubeconfig's `tokenFile`, and where the kubelet puts them.

use super::{is_up, of_source};
use crate::support::api_client::{Secret, Subject};
use crate::support::control_plane::ControlPlane;
use crate::support::exporter::{Exporter, Setup};
use crate::support::{process, token, unique_name};
use serde_json::json;
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// A namespace with one Secret to be read and two service accounts that may read it.
struct Accounts<'a> {
    plane: &'a ControlPlane,
    namespace: String,
    config: String,
    grants: [String; 2],
}

impl<'a> Accounts<'a> {
    fn new(plane: &'a ControlPlane) -> Self {
        let admin = plane.admin();
        let (namespace, wanted) = (admin.create_unique_namespace("rotation"), unique_name("wanted"));
        let secret = Secret::new(&namespace, "one").label("test", &wanted);
        admin.put_secret(&secret.data("token", token::hs256(&json!({"exp": 1}))));
        let grants = ["first", "second"].map(|name| {
            admin.create_service_account(&namespace, name);
            admin.grant(Subject::ServiceAccount { namespace: &namespace, name }, &["list"], "secrets")
        });
        let config = format!("label_selectors: [\"test={wanted}\"]\npolling_interval: 500ms\nwatch: false\n");
        Self { plane, namespace, config, grants }
    }

    fn token(&self, account: &str) -> String {
        self.plane.admin().request_token(&self.namespace, account, &[], 600)
    }

    /// The first account loses its right; the exporter sees it, so it was the first. Then `replace` puts the second one's
    /// token into place.
    fn pass_from_first_to_second(&self, exporter: &Exporter, replace: impl Fn(&str)) {
        self.plane.admin().revoke(&self.grants[0]);
        let errors =
            |metrics: &str, reason| of_source(metrics, "jwt_exporter_source_errors_total", &[("reason", reason)]);
        exporter.wait_for_metrics("the first account refused", |metrics| errors(metrics, "forbidden") >= 1.0);
        let first = format!("system:serviceaccount:{}:first", self.namespace);
        assert_eq!(exporter.log_lines(&first).len(), 1, "{}", exporter.log());
        replace(&self.token("second"));
        exporter.wait_for_metrics("the second account accepted", is_up);
        assert!(exporter.log_lines(":second").is_empty(), "{}", exporter.log());

        // A token that the server does not know, and a good one after it.
        replace("revoked");
        exporter.wait_for_metrics("a bad token refused", |metrics| errors(metrics, "unauthorized") >= 1.0);
        replace(&self.token("second"));
        let metrics = exporter.wait_for_metrics("the second account accepted again", is_up);
        assert_eq!(of_source(&metrics, "jwt_exporter_source_tokens", &[]), 1.0);
    }
}

/// As `kubectl` plugins and agents do it: a new file takes the old one's name.
fn replace_file(path: &Path, content: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, content).unwrap();
    std::fs::rename(new, path).unwrap();
}

#[test]
fn a_token_file_of_a_kubeconfig_is_read_again() {
    let plane = require_control_plane!();
    let accounts = Accounts::new(plane);
    let setup = Setup::new(accounts.config.clone());
    let path = setup.folder().join("token");
    replace_file(&path, &accounts.token("first"));
    let mut exporter = setup.kubeconfig(&plane.kubeconfig().token_file("token")).start();
    exporter.wait_until_ready();
    accounts.pass_from_first_to_second(&exporter, |token| replace_file(&path, token));
}

/// Puts `files` where a projected volume has them: links to `..data`, itself a link to a folder that is new every time.
fn project(volume: &Path, files: &[(&str, &str)]) {
    use std::os::unix::fs::symlink;
    let folder = unique_name("..2026");
    std::fs::create_dir(volume.join(&folder)).unwrap();
    for (name, content) in files {
        std::fs::write(volume.join(&folder).join(name), content).unwrap();
        symlink(format!("..data/{name}"), volume.join(name)).ok();
    }
    symlink(&folder, volume.join("..data.new")).unwrap();
    std::fs::rename(volume.join("..data.new"), volume.join("..data")).unwrap();
}

#[test]
fn a_pod_follows_its_rotating_token() {
    // The service account's folder has a fixed place; a mount namespace of its own puts one there for our child alone.
    let mount = "mount -t tmpfs none /var/run && mkdir -p /var/run/secrets/kubernetes.io/serviceaccount";
    let can_mount = Command::new("unshare").args(["-m", "sh", "-c", mount]).output();
    if !can_mount.is_ok_and(|output| output.status.success()) {
        // No part that could be installed: a container may simply not have the right.
        writeln!(std::io::stderr(), "skipped: {}: unshare -m and mount are not permitted here", test_name!()).ok();
        return;
    }
    let plane = require_control_plane!();
    let accounts = Accounts::new(plane);
    let volume = process::folder("serviceaccount");
    let ca = plane.ca_pem();
    let replace = |token: &str| {
        project(volume.path(), &[("token", token), ("ca.crt", &ca), ("namespace", &accounts.namespace)]);
    };
    replace(&accounts.token("first"));
    let script = format!(
        "{mount} && mount --bind {} /var/run/secrets/kubernetes.io/serviceaccount && exec \"$@\"",
        volume.path().display()
    );
    let mut exporter = Setup::new(accounts.config.clone())
        .env("KUBERNETES_SERVICE_HOST", &plane.address().ip().to_string())
        .env("KUBERNETES_SERVICE_PORT", &plane.address().port().to_string())
        .through(&["unshare", "-m", "sh", "-c", &script, "sh"])
        .start();
    exporter.wait_until_ready();
    accounts.pass_from_first_to_second(&exporter, replace);
}
