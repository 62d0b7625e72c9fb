//! The image that the Containerfile makes: the static program alone, run as in a pod.

use crate::support::api_client::{Secret, Subject};
use crate::support::exposition::{find, value};
use crate::support::http::Connection;
use crate::support::image::{Container, StaticBuild, paths_below};
use crate::support::{manifests, process, token, unique_name, wait_for};
use serde_json::json;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// What a path answers, once it answers with 200.
fn get(container: &mut Container, port: u16, path: &str) -> String {
    wait_for(path, SOON, || {
        if let Some(status) = container.process.exited() {
            panic!("it ended with {status}: {}", container.process.output());
        }
        let ask = || Connection::plain(SocketAddr::from(([127, 0, 0, 1], port)))?.send("GET", path, &[], b"");
        match ask() {
            Ok(answer) if answer.status == 200 => Ok(answer.text()),
            Ok(answer) => Err(answer.text()),
            Err(error) => Err(error.to_string()),
        }
    })
}

fn is_told_to_stop(container: &mut Container) {
    let program = container.program().to_string();
    assert!(std::process::Command::new("kill").args(["-s", "TERM", &program]).status().unwrap().success());
    assert_eq!(container.process.wait(SOON).code(), Some(0), "{}", container.process.output());
}

#[test]
fn it_is_the_program_and_nothing_else_and_says_what_it_is() {
    let Some(build) = StaticBuild::find(test_name!()) else { return };
    let image = build.image();
    assert_eq!(paths_below(&image.root), ["jwt-exporter"]);
    let mode = std::fs::metadata(image.root.join("jwt-exporter")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755, "{mode:o}");

    assert_eq!(image.config["Entrypoint"], json!(["/jwt-exporter"]));
    assert_eq!(image.config["ExposedPorts"], json!({"8080/tcp": {}}));
    let objects = manifests::objects("manifests/base");
    let deployment = objects.iter().find(|object| object["kind"] == "Deployment").unwrap();
    let context = &deployment["spec"]["template"]["spec"]["securityContext"];
    assert_eq!(image.config["User"], format!("{}:{}", context["runAsUser"], context["runAsGroup"]));

    let label =
        |name: &str| image.config["Labels"][format!("org.opencontainers.image.{name}")].as_str().unwrap().to_owned();
    assert_eq!(label("version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(label("licenses"), env!("CARGO_PKG_LICENSE"));
    assert_eq!(label("title"), env!("CARGO_PKG_NAME"));
    let revision = label("revision");
    let mut container = image.start(&["-version"], &[]);
    assert_eq!(container.process.wait(SOON).code(), Some(0), "{}", container.process.output());
    let said = container.process.stdout();
    assert!(said.contains(env!("CARGO_PKG_VERSION")) && said.contains(&revision), "{revision}: {said}");
}

#[test]
fn a_pod_of_it_shows_the_tokens_of_its_cluster_and_stops_when_it_is_told_to() {
    let Some(build) = StaticBuild::find(test_name!()) else { return };
    let plane = require_control_plane!();
    let admin = plane.admin();
    let (namespace, wanted) = (admin.create_unique_namespace("image"), unique_name("wanted"));
    admin.create_service_account(&namespace, "exporter");
    let account = Subject::ServiceAccount { namespace: &namespace, name: "exporter" };
    admin.grant(account, &["list", "watch"], "secrets");
    let secret = |name: &str, exp: i64| {
        Secret::new(&namespace, name).label("test", &wanted).data("token", token::hs256(&json!({"exp": exp})))
    };
    admin.put_secret(&secret("first", 4_000_000_000));

    let image = build.image();
    image.put(&format!("{SERVICE_ACCOUNT}/token"), admin.request_token(&namespace, "exporter", &[], 3600));
    image.put(&format!("{SERVICE_ACCOUNT}/ca.crt"), plane.ca_pem());
    image.put(&format!("{SERVICE_ACCOUNT}/namespace"), &namespace);
    let port = process::free_port();
    image.put("/config/config.yaml", format!("address: 127.0.0.1:{port}\nlabel_selectors: [\"test={wanted}\"]\n"));
    std::fs::create_dir(image.root.join("proc")).unwrap();
    let (host, service_port) = (plane.address().ip().to_string(), plane.address().port().to_string());
    let environment = [("KUBERNETES_SERVICE_HOST", host.as_str()), ("KUBERNETES_SERVICE_PORT", service_port.as_str())];
    let mut container = image.start(&["-config", "/config/config.yaml"], &environment);

    get(&mut container, port, "/readyz");
    let expires = "jwt_exporter_token_expiration_timestamp_seconds";
    let mut wait_for_token = |name: &str, exp: f64| {
        wait_for(name, SOON, || {
            let metrics = get(&mut container, port, "/metrics");
            let labels = [("secret_namespace", namespace.as_str()), ("secret_name", name), ("secret_key", "token")];
            let shown = find(&metrics, expires, &labels).iter().any(|sample| sample.value == exp);
            if shown { Ok(metrics) } else { Err(metrics) }
        })
    };
    let metrics = wait_for_token("first", 4e9);
    assert_eq!(value(&metrics, "jwt_exporter_source_up", &[("source", "kubernetes")]), 1.0);
    assert!(value(&metrics, "process_resident_memory_bytes", &[]) > 0.0);
    // The watch works as well.
    admin.put_secret(&secret("second", 4_000_000_001));
    wait_for_token("second", 4_000_000_001.0);

    // It was no other than the user of the image, without any right, on a root that nobody can write to.
    assert_eq!(container.status("Uid"), ["65534"; 4]);
    assert_eq!(container.status("Gid"), ["65534"; 4]);
    assert_eq!(container.status("Groups"), [""; 0]);
    assert_eq!(container.status("CapEff"), ["0000000000000000"]);
    assert_eq!(container.status("NSpid").last().unwrap(), "1");
    let mounts = std::fs::read_to_string(format!("/proc/{}/mountinfo", container.program())).unwrap();
    let root =
        mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find(|columns| columns[4] == "/").unwrap();
    assert!(root[5].split(',').any(|option| option == "ro"), "{root:?}");
    let log = container.process.output();
    assert!(!log.contains("ERROR") && !log.contains("WARN"), "{log}");
    is_told_to_stop(&mut container);
}

#[test]
fn with_nothing_but_proc_it_shows_manifests() {
    let Some(build) = StaticBuild::find(test_name!()) else { return };
    let image = build.image();
    // Where an open file lies is asked from there. Every runtime of containers mounts it.
    std::fs::create_dir(image.root.join("proc")).unwrap();
    let port = process::free_port();
    image.put("/config.yaml", format!("address: 127.0.0.1:{port}\nkubernetes: false\nmanifests: [/secrets.json]\n"));
    let secret = json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "one"},
        "stringData": {"token": token::hs256(&json!({"exp": 4_000_000_000_i64}))}});
    image.put("/secrets.json", secret.to_string());
    let mut container = image.start(&["-config", "/config.yaml"], &[]);
    get(&mut container, port, "/readyz");
    let metrics = get(&mut container, port, "/metrics");
    let labels = [("secret_namespace", "default"), ("secret_name", "one"), ("secret_key", "token")];
    assert_eq!(value(&metrics, "jwt_exporter_token_expiration_timestamp_seconds", &labels), 4e9);
    is_told_to_stop(&mut container);
}

/// The program has no way by which anybody could have it panic. Its unit tests do: one has a source panic in a poll, the
/// other the function that answers tiny_http's requests. They are built for the same target, with the same unwinder, and run here
/// in the program's place.
#[test]
fn a_panic_in_a_poll_or_in_a_request_is_caught_there() {
    let Some(build) = StaticBuild::find(test_name!()) else { return };
    let image = build.image();
    std::fs::copy(build.unit_tests(), image.root.join("jwt-exporter")).unwrap();
    let mut container = image.start(
        &[
            "--exact",
            "poller::tests::a_failed_poll_and_a_panic_keep_what_was_known",
            "server::gate::tests::a_panic_costs_that_answer_alone",
        ],
        &[],
    );
    let status = container.process.wait(SOON);
    let output = container.process.output();
    assert!(status.success() && output.contains("test result: ok. 2 passed; 0 failed"), "{status}: {output}");
}

/// The one panic that the program itself can be brought to: tiny_http's, when the system refuses it a thread. It has to end as
/// every failed start does, and not by a signal.
#[test]
fn the_program_itself_outlives_a_panic() {
    let Some(build) = StaticBuild::find(test_name!()) else { return };
    for most_threads in 2..16 {
        let mut image = build.image();
        image.put("/config.yaml", format!("address: 127.0.0.1:{}\nkubernetes: false\n", process::free_port()));
        image.most_threads = Some(most_threads);
        // Nobody else's, since all threads of a user count.
        image.config["User"] = format!("{0}:{0}", 1_000_000 + std::process::id()).into();
        let mut container = image.start(&["-config", "/config.yaml"], &[]);
        let status = container.process.wait(SOON);
        let log = container.process.output();
        let panicked = log.contains("a defect: panic at ");
        assert_eq!(status.code(), Some(1), "{most_threads} threads: {log}");
        // Either may be written first: the panic may be another thread's than the one that gives up.
        assert!(log.contains("[ERROR] the HTTP server: "), "{most_threads} threads: {log}");
        if panicked {
            return;
        }
    }
    panic!("tiny_http was never refused a thread");
}
