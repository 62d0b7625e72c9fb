//! Tokens in files: no cluster at all.

use super::{Endpoint, LIMIT, PASSWORD, answer, fresh, lives, setup};
use crate::support::exposition::find;
use crate::support::token;
use crate::support::wait_for;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

fn renewal(endpoint: &Endpoint, folder: &Path) -> Value {
    std::fs::write(folder.join("username"), "admin").unwrap();
    std::fs::write(folder.join("password"), format!("{PASSWORD}\n")).unwrap();
    let credentials = json!({"username": folder.join("username"), "password": folder.join("password")});
    json!({"file": folder.join("token"), "credentials_files": credentials, "request": endpoint.request("/authorize?x=1")})
}

#[test]
fn a_missing_file_is_written_and_one_that_expires_is_replaced() {
    let endpoint = Endpoint::start(|request| answer(&if request.before == 0 { lives(-100, 4) } else { fresh() }));
    let folder = tempfile::tempdir().unwrap();
    let exporter = setup("kubernetes: false\n", &[renewal(&endpoint, folder.path())]).start();
    let success = [("result", "success")];
    let metrics = exporter.wait_for_metrics("two renewals", |metrics| {
        find(metrics, "jwt_exporter_renewals_total", &success)[0].value == 2.0
    });
    assert!(find(&metrics, "jwt_exporter_renewal_error", &[]).is_empty(), "{metrics}");
    let next = find(&metrics, "jwt_exporter_renewal_next_timestamp_seconds", &[])[0].value as i64 - token::now();
    // 20% of an hour before its end, and up to a tenth of that earlier.
    assert!((3600 - 720 - 72 - 60..=3600 - 720).contains(&next), "{next}");
    let last = find(&metrics, "jwt_exporter_renewal_last_success_timestamp_seconds", &[])[0].value as i64;
    assert!((token::now() - 60..=token::now()).contains(&last));
    assert!(find(&metrics, "jwt_exporter_renewal_insecure", &[]).is_empty());

    let file = folder.path().join("token");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_to_string(&file).unwrap().split('.').count(), 3);
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".new")), "{left:?}");
    for request in endpoint.server.requests() {
        assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/authorize?x=1"));
        assert_eq!(request.header("content-type"), Some("application/json"));
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(body, json!({"username": "admin", "password": PASSWORD}));
    }
}

#[test]
fn the_metrics_of_a_renewal_join_those_of_its_token() {
    let endpoint = Endpoint::good();
    let folder = tempfile::tempdir().unwrap();
    let mut renewal = renewal(&endpoint, folder.path());
    // Too long for a label as it is.
    let long = folder.path().join("x".repeat(250)).join("y".repeat(250));
    std::fs::create_dir_all(&long).unwrap();
    for file in [folder.path().join("token"), long.join("token")] {
        renewal["file"] = json!(file);
        let config = format!("kubernetes: false\nfiles: [{}]\n", file.display());
        let exporter = setup(&config, &[renewal.clone()]).start();
        let metrics = exporter.wait_for_metrics("the token", |metrics| {
            !find(metrics, "jwt_exporter_token_info", &[]).is_empty()
                && find(metrics, "jwt_exporter_renewals_total", &[("result", "success")])[0].value == 1.0
        });
        let place = |family| {
            let sample = find(&metrics, family, &[]).remove(0);
            ["secret_namespace", "secret_name", "secret_key"].map(|label| sample.label(label).to_owned())
        };
        assert_eq!(place("jwt_exporter_renewals_total"), place("jwt_exporter_token_info"));
    }
}

#[test]
fn a_token_that_lives_on_is_left_alone_until_somebody_breaks_it() {
    let endpoint = Endpoint::good();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, fresh()).unwrap();
    let exporter = setup("kubernetes: false\n", &[renewal(&endpoint, folder.path())]).start();
    exporter.wait_for_metrics("a look", |metrics| {
        !find(metrics, "jwt_exporter_renewal_next_timestamp_seconds", &[]).is_empty()
    });
    assert!(endpoint.server.requests().is_empty());
    std::fs::write(&file, "broken").unwrap();
    endpoint.server.wait_for_requests(1, LIMIT);
}

#[test]
fn two_processes_with_one_file_ask_once() {
    let endpoint = Endpoint::start(|_| {
        // Long enough for the other one to come along.
        std::thread::sleep(Duration::from_secs(2));
        answer(&fresh())
    });
    let folder = tempfile::tempdir().unwrap();
    let start = || setup("kubernetes: false\n", &[renewal(&endpoint, folder.path())]).start();
    let (one, other) = (start(), start());
    wait_for("the file", LIMIT, || std::fs::read(folder.path().join("token")).map_err(|error| error.to_string()));
    for exporter in [&one, &other] {
        exporter.wait_for_metrics("calm", |metrics| {
            find(metrics, "jwt_exporter_renewal_next_timestamp_seconds", &[])
                .first()
                .is_some_and(|next| next.value as i64 > token::now() + 5)
        });
    }
    assert_eq!(endpoint.server.requests().len(), 1);
}

#[test]
fn a_folder_that_cannot_be_written_is_told_before_anybody_is_asked() {
    let endpoint = Endpoint::good();
    let folder = tempfile::tempdir().unwrap();
    let mut renewal = renewal(&endpoint, folder.path());
    renewal["file"] = json!(folder.path().join("no-folder/token"));
    let exporter = setup("kubernetes: false\n", &[renewal]).start();
    exporter.wait_for_metrics("the reason", |metrics| {
        !find(metrics, "jwt_exporter_renewal_error", &[("reason", "target_unwritable")]).is_empty()
    });
    assert!(endpoint.server.requests().is_empty());
}

#[test]
fn what_is_insecure_is_warned_of() {
    let stranger = Endpoint::good();
    let folder = tempfile::tempdir().unwrap();
    let mut renewal = renewal(&stranger, folder.path());
    renewal["request"]["ca_file"] = "".into();
    renewal["request"]["insecure_skip_verify"] = true.into();
    let exporter = setup("kubernetes: false\n", &[renewal]).start();
    stranger.server.wait_for_requests(1, LIMIT);
    assert_eq!(exporter.log_lines("insecure_skip_verify").len(), 1, "{}", exporter.log());
    exporter.wait_for_metrics("the metric", |metrics| {
        !find(metrics, "jwt_exporter_renewal_insecure", &[]).is_empty()
            && find(metrics, "jwt_exporter_renewals_total", &[("result", "success")])[0].value == 1.0
    });
}
