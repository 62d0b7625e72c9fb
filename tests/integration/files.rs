//! Tokens in files: no cluster anywhere.

use crate::support::exporter::{Exporter, Setup};
use crate::support::exposition::{find, value};
use crate::support::token;
use serde_json::json;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

const EXPIRES: &str = "jwt_exporter_token_expiration_timestamp_seconds";
const ERROR: &str = "jwt_exporter_token_error";

fn expiring_at(time: i64) -> String {
    token::hs256(&json!({ "exp": time }))
}

/// `path key expiry` of each token.
fn tokens(metrics: &str) -> Vec<String> {
    let samples = find(metrics, EXPIRES, &[("secret_namespace", "")]);
    let line = |sample: &crate::support::exposition::Sample| {
        format!("{} {} {}", sample.label("secret_name"), sample.label("secret_key"), sample.value)
    };
    samples.iter().map(line).collect()
}

/// `path reason` of each error.
fn errors(metrics: &str) -> Vec<String> {
    let samples = find(metrics, ERROR, &[("secret_namespace", "")]);
    samples.iter().map(|sample| format!("{} {}", sample.label("secret_name"), sample.label("reason"))).collect()
}

/// As the kubelet writes a projected volume.
fn project(volume: &Path, generation: u32, token: &str) {
    let data = format!("..2024_01_01_00_00_00.{generation}");
    fs::create_dir_all(volume.join(&data)).unwrap();
    fs::write(volume.join(&data).join("token"), token).unwrap();
    let before = fs::read_link(volume.join("..data")).ok();
    symlink(&data, volume.join("..data_tmp")).unwrap();
    fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    match before {
        Some(before) => fs::remove_dir_all(volume.join(before)).unwrap(),
        None => symlink("..data/token", volume.join("token")).unwrap(),
    }
}

fn polls(exporter: &Exporter) -> f64 {
    value(&exporter.metrics(), "jwt_exporter_poll_duration_seconds_count", &[("source", "files")])
}

#[test]
fn a_rotated_service_account_token_shows_within_five_seconds() {
    let setup = Setup::new("kubernetes: false\npolling_interval: 1h\nfiles: [\"volumes/**\", kubeconfig]\n");
    let volume = setup.folder().join("volumes/one");
    project(&volume, 1, &expiring_at(1_000));
    let users = json!([{"name": "a", "user": {"token": expiring_at(5_000)}}, {"name": "b", "user": {"token": expiring_at(6_000)}}]);
    fs::write(setup.folder().join("kubeconfig"), format!("apiVersion: v1\nkind: Config\nusers: {users}\n")).unwrap();
    let mut exporter = setup.start();
    exporter.wait_until_ready();
    let kubeconfig = ["kubeconfig kubeconfig/users/0/user/token 5000", "kubeconfig kubeconfig/users/1/user/token 6000"];
    let shown =
        |rest: &[&str]| -> Vec<String> { kubeconfig.iter().chain(rest).map(|line| (*line).to_owned()).collect() };
    let metrics = exporter.metrics();
    assert_eq!(tokens(&metrics), shown(&["volumes/one/token token 1000"]));
    assert_eq!(value(&metrics, "jwt_exporter_source_up", &[("source", "files")]), 1.0);
    assert_eq!(value(&metrics, "jwt_exporter_source_tokens", &[("source", "files")]), 3.0);
    assert_eq!(value(&metrics, "jwt_exporter_source_secrets", &[("source", "files")]), 2.0);
    assert_eq!(find(&metrics, "jwt_exporter_source_up", &[]).len(), 1, "{metrics}");

    for generation in 2..4 {
        let swapped = Instant::now();
        project(&volume, generation, &expiring_at(i64::from(generation) * 1000));
        let wanted = shown(&[&format!("volumes/one/token token {}", generation * 1000)]);
        exporter.wait_for_metrics("the new token", |metrics| tokens(metrics) == wanted);
        println!("seen after {:?}", swapped.elapsed());
        // Generous: the machine may be busy.
        assert!(swapped.elapsed() < Duration::from_secs(20));
    }
    // A new volume, and one that goes.
    project(&setup_folder(&exporter).join("volumes/two"), 1, &expiring_at(7_000));
    let both = shown(&["volumes/one/token token 3000", "volumes/two/token token 7000"]);
    exporter.wait_for_metrics("both tokens", |metrics| tokens(metrics) == both);
    fs::remove_dir_all(&volume).unwrap();
    let last = shown(&["volumes/two/token token 7000"]);
    exporter.wait_for_metrics("one token", |metrics| tokens(metrics) == last);
    // All that was seen between two polls.
    assert_eq!(polls(&exporter), 1.0);
    exporter.process().kill();
    assert!(!exporter.process().output().contains("eyJ"));
}

fn setup_folder(exporter: &Exporter) -> &Path {
    exporter.folder()
}

#[test]
fn without_watch_a_change_waits_for_the_poll() {
    let setup = Setup::new("kubernetes: false\nwatch: false\npolling_interval: 4s\nfiles: [token]\n");
    let file = setup.folder().join("token");
    fs::write(&file, expiring_at(1_000)).unwrap();
    let mut exporter = setup.start();
    exporter.wait_until_ready();
    fs::write(&file, expiring_at(2_000)).unwrap();
    let metrics = exporter.wait_for_metrics("the new token", |metrics| tokens(metrics) == ["token token 2000"]);
    assert!(value(&metrics, "jwt_exporter_poll_duration_seconds_count", &[("source", "files")]) >= 2.0);
}

#[test]
fn links_stay_below_the_root_unless_they_may_leave() {
    for (more, wanted) in [
        ("", vec!["in/token token 1000"]),
        ("follow_links_outside: true\n", vec!["in/away token 2000", "in/token token 1000"]),
    ] {
        let config = format!("kubernetes: false\npolling_interval: 1h\nfiles: [\"in/*\"]\n{more}");
        let setup = Setup::new(config);
        fs::create_dir(setup.folder().join("in")).unwrap();
        fs::create_dir(setup.folder().join("out")).unwrap();
        fs::write(setup.folder().join("in/token"), expiring_at(1_000)).unwrap();
        fs::write(setup.folder().join("out/token"), expiring_at(2_000)).unwrap();
        symlink("../out/token", setup.folder().join("in/away")).unwrap();
        let mut exporter = setup.start();
        exporter.wait_until_ready();
        let metrics = exporter.metrics();
        let wanted: Vec<String> = wanted.iter().map(|line| line.replace("away token", "away away")).collect();
        assert_eq!((tokens(&metrics), errors(&metrics)), (wanted, vec![]));
        let told = exporter.log_lines("follow_links_outside").len();
        assert_eq!(told, usize::from(more.is_empty()), "{}", exporter.log());
    }
}

#[test]
fn what_cannot_be_read_is_told_once_and_the_rest_goes_on() {
    if !Path::new("/usr/bin/setpriv").exists() {
        println!("skipped: no setpriv (util-linux) to start the program as another user");
        return;
    }
    let setup = Setup::new(
        "kubernetes: false\npolling_interval: 300ms\nwatch: false\nfiles: [\"f/**\", missing, \"f/*.json\"]\n",
    );
    let folder = setup.folder().to_owned();
    for (name, expires) in [("f/good", 1_000), ("f/mine", 2_000), ("f/shut/a", 3_000), ("f/shut/b", 4_000)] {
        fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
        fs::write(folder.join(name), expiring_at(expires)).unwrap();
    }
    fs::write(folder.join("f/large"), expiring_at(9_000) + &" ".repeat(1024 * 1024)).unwrap();
    let rights = |name: &str, mode: u32| fs::set_permissions(folder.join(name), Permissions::from_mode(mode)).unwrap();
    rights("", 0o755);
    // To list, and not to enter.
    rights("f/shut", 0o744);
    rights("f/mine", 0o600);
    // The way to the program and to the folder may be closed to others: root opens the one, and starts in the other.
    let as_nobody = [
        "sh",
        "-c",
        r#"exec 3<"$0"; exec setpriv --reuid=65534 --regid=65534 --clear-groups sh -c 'exec /proc/self/fd/3 "$@"' - "$@""#,
    ];
    let can_be_nobody = std::process::Command::new(as_nobody[0])
        .args(&as_nobody[1..])
        .args([crate::support::exporter::PROGRAM, "-version"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !can_be_nobody {
        println!("skipped: the program cannot be started as another user");
        return;
    }
    let setup = setup.argument("-config").argument("config.yaml");
    let mut exporter = setup.through(&as_nobody).start();
    exporter.wait_until_ready();
    let metrics = exporter.wait_for_metrics("three polls", |metrics| {
        value(metrics, "jwt_exporter_poll_duration_seconds_count", &[("source", "files")]) >= 3.0
    });
    assert_eq!(tokens(&metrics), ["f/good good 1000"]);
    assert_eq!(errors(&metrics), ["f/large too_large", "f/mine unreadable", "f/shut unreadable", "missing not_found"]);
    let counted =
        |reason| value(&metrics, "jwt_exporter_source_errors_total", &[("source", "files"), ("reason", reason)]);
    assert!(counted("unreadable") >= 6.0 && counted("not_found") >= 3.0, "{metrics}");
    for (text, times) in [("f/shut", 1), ("f/mine", 1), ("f/large", 1), ("no file like f/*.json", 1)] {
        assert_eq!(exporter.log_lines(text).len(), times, "{text}: {}", exporter.log());
    }
    // What was readable and is so no more loses its samples.
    rights("f/good", 0o000);
    let metrics = exporter.wait_for_metrics("no token", |metrics| tokens(metrics).is_empty());
    assert!(errors(&metrics).contains(&"f/good unreadable".to_owned()), "{metrics}");
    rights("f/good", 0o644);
    rights("f/mine", 0o644);
    exporter.wait_for_metrics("two tokens", |metrics| tokens(metrics) == ["f/good good 1000", "f/mine mine 2000"]);
    assert!(!exporter.log().contains("eyJ"));
}
