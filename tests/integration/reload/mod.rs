//! Another configuration takes over while the exporter runs, without a gap; a bad one is refused.

mod leaks;
mod places;

use crate::support::api_client::Secret;
use crate::support::exporter::{Exporter, Setup};
use crate::support::exposition::{find, value};
use crate::support::fake_api_server::{Answer, FakeApiServer, Request};
use crate::support::kubeconfig::Kubeconfig;
use crate::support::{process, token, unique_name, wait_for};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

fn write_manifest(folder: &Path, file: &str, name: &str) {
    let jwt = token::hs256(&json!({"exp": 1, "sub": name}));
    let metadata = json!({"name": name, "namespace": "files"});
    let secret = json!({"kind": "Secret", "apiVersion": "v1", "metadata": metadata, "stringData": {"t": jwt}});
    std::fs::write(folder.join(file), secret.to_string()).unwrap();
}

/// Puts a configuration into the place of the one before, as editors do. `rest` is without its address.
fn rewrite(exporter: &Exporter, rest: &str) {
    let new = exporter.folder().join("config.new");
    std::fs::write(&new, format!("address: \"{}\"\n{rest}", exporter.address())).unwrap();
    std::fs::rename(new, exporter.config_file()).unwrap();
}

fn names(metrics: &str) -> BTreeSet<String> {
    let found = find(metrics, "jwt_exporter_token_info", &[]);
    found.iter().map(|sample| sample.label("secret_name").to_owned()).collect()
}

fn await_names(exporter: &Exporter, wanted: &[&str]) {
    let wanted: BTreeSet<String> = wanted.iter().map(|&name| name.to_owned()).collect();
    exporter.wait_for_metrics(&format!("{wanted:?}"), |metrics| names(metrics) == wanted);
}

fn is_successful(metrics: &str) -> bool {
    value(metrics, "jwt_exporter_config_last_reload_successful", &[]) == 1.0
}

fn await_log(exporter: &Exporter, text: &str, times: usize) {
    wait_for(text, LIMIT, || {
        let log = exporter.log();
        if log.matches(text).count() >= times { Ok(()) } else { Err(log) }
    });
}

/// A scripted API server with one Secret, named by the label selector, that keeps every watch open.
struct Cluster {
    server: FakeApiServer,
    watches: Arc<Mutex<Vec<Sender<Vec<u8>>>>>,
}

fn object(name: &str, version: u32) -> Value {
    use base64::Engine as _;
    let jwt = token::hs256(&json!({"exp": version, "sub": name}));
    let data = base64::engine::general_purpose::STANDARD.encode(jwt);
    let metadata = json!({"name": name, "namespace": "ns", "resourceVersion": version.to_string()});
    json!({"metadata": metadata, "data": {"token": data}, "type": "Opaque"})
}

impl Cluster {
    fn start() -> Self {
        let watches: Arc<Mutex<Vec<Sender<Vec<u8>>>>> = Arc::default();
        let open = Arc::clone(&watches);
        let server = FakeApiServer::start(move |request: &Request| {
            if request.query("watch").is_some() {
                let (sender, receiver) = channel();
                open.lock().unwrap().push(sender);
                return Answer::feed(receiver);
            }
            let selector = request.query("labelSelector").unwrap_or_default();
            Answer::json(200, &json!({"metadata": {"resourceVersion": "10"}, "items": [object(&selector, 5)]}))
        });
        Self { server, watches }
    }

    fn kubeconfig(&self) -> Kubeconfig {
        Kubeconfig::new(self.server.url()).token("bearer")
    }

    fn send(&self, watch: usize, name: &str, version: u32) {
        let event = json!({"type": "MODIFIED", "object": object(name, version)}).to_string() + "\n";
        self.watches.lock().unwrap()[watch].send(event.into_bytes()).unwrap();
    }
}

#[test]
fn a_hangup_without_a_change_touches_nothing() {
    let cluster = Cluster::start();
    let mut exporter = Setup::new("label_selectors: [a]\n").kubeconfig(&cluster.kubeconfig()).start();
    await_names(&exporter, &["a"]);
    cluster.server.wait_for_requests(2, LIMIT);
    for time in 1..=2 {
        exporter.process().signal("HUP");
        await_log(&exporter, "read again, unchanged", time);
    }
    exporter.process().signal("HUP");
    exporter.process().signal("HUP");
    await_log(&exporter, "read again, unchanged", 3);
    cluster.send(0, "a", 20);
    exporter.wait_for_metrics("an event of the watch", |metrics| {
        value(metrics, "jwt_exporter_token_expiration_timestamp_seconds", &[]) == 20.0
    });
    assert_eq!(cluster.server.requests().len(), 2, "one list and one watch");
    assert!(is_successful(&exporter.metrics()));
}

#[test]
fn sources_that_did_not_change_go_on() {
    let cluster = Cluster::start();
    let setup = Setup::new("label_selectors: [a]\n").kubeconfig(&cluster.kubeconfig());
    write_manifest(setup.folder(), "one.json", "one");
    write_manifest(setup.folder(), "two.json", "two");
    let mut exporter = setup.start();
    let kubeconfig = exporter.folder().join("kubeconfig");
    let before = std::fs::read_to_string(exporter.config_file()).unwrap();
    let before = before.lines().filter(|line| !line.starts_with("address")).collect::<Vec<_>>().join("\n");
    assert!(before.contains("kubeconfig_path"), "{before} {}", kubeconfig.display());
    await_names(&exporter, &["a"]);
    cluster.server.wait_for_requests(2, LIMIT);

    // By the file alone, without a signal: added, replaced, left out.
    for (lines, shown, said) in [
        ("\nmanifests: [one.json]\n", vec!["a", "one"], "manifests is added"),
        ("\nmanifests: [two.json]\n", vec!["a", "two"], "manifests begins anew"),
        ("\npolling_interval: 5h\n", vec!["a"], "manifests is left out"),
        ("\npolling_interval: 6h\n", vec!["a"], "the sources go on, with other values"),
    ] {
        rewrite(&exporter, &format!("{before}{lines}"));
        await_log(&exporter, &format!("read again, {said}"), 1);
        await_names(&exporter, &shown);
        assert_eq!(exporter.get("/readyz").status, 200);
    }
    assert!(!exporter.metrics().contains("source=\"manifests\""), "{}", exporter.metrics());
    cluster.send(0, "a", 20);
    let metrics = exporter.wait_for_metrics("an event of the first watch", |metrics| {
        value(metrics, "jwt_exporter_token_expiration_timestamp_seconds", &[]) == 20.0
    });
    assert_eq!(cluster.server.requests().len(), 2, "one list and one watch");
    assert_eq!(value(&metrics, "jwt_exporter_kube_requests_total", &[("verb", "list")]), 1.0);
    assert_eq!(value(&metrics, "jwt_exporter_poll_duration_seconds_count", &[]), 1.0);

    // And out with that, too: its connections end.
    rewrite(&exporter, "kubernetes: false\nmanifests: [one.json]\n");
    exporter.process().signal("HUP");
    await_names(&exporter, &["one"]);
    let mut sockets = || {
        let folder = format!("/proc/{}/fd", exporter.process().id());
        let links = std::fs::read_dir(folder).unwrap().filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        let to = format!(":{:04X} ", cluster.server.address().port());
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let lines: Vec<&str> = table.lines().filter(|line| line.contains(&to)).collect();
        let inode = |line: &&str| line.split_whitespace().nth(9).unwrap().to_owned();
        let open: Vec<String> = lines.iter().map(|line| format!("socket:[{}]", inode(line))).collect();
        let is_open = |link: &Path| open.iter().any(|open| *open == link.to_string_lossy());
        links.filter(|link| is_open(link)).count()
    };
    wait_for("no connection", LIMIT, move || match sockets() {
        0 => Ok(()),
        open => Err(format!("{open} are open")),
    });
    assert_eq!(exporter.log().matches("[ERROR]").count(), 0, "{}", exporter.log());
}

#[test]
fn a_changed_selector_takes_over_in_one_snapshot() {
    let plane = require_control_plane!();
    let admin = plane.admin();
    let namespace = admin.create_unique_namespace("reload");
    let (one, other) = (unique_name("reload"), unique_name("reload"));
    let jwt = token::hs256(&json!({"exp": 1}));
    let secret = |name: &str| Secret::new(&namespace, name).data("token", &jwt);
    admin.put_secrets(&[
        secret("both").label(&one, "yes").label(&other, "yes"),
        secret("one").label(&one, "yes"),
        secret("other").label(&other, "yes"),
    ]);
    let folder = process::folder("reload");
    let path = plane.admin_kubeconfig().write(folder.path());
    let config = |label: &str| format!("kubeconfig_path: {}\nlabel_selectors: [{label}]\n", path.display());
    let mut exporter = Setup::new(config(&one)).start();
    exporter.wait_until_ready();
    await_names(&exporter, &["both", "one"]);

    let pid = exporter.process().id();
    let done = AtomicBool::new(false);
    let (exporter, done) = (&exporter, &done);
    std::thread::scope(|scope| {
        let scraper = scope.spawn(move || {
            let mut scrapes = 0;
            while !done.load(Ordering::SeqCst) {
                let metrics = exporter.metrics();
                let found: Vec<String> = names(&metrics).into_iter().collect();
                assert!(found == ["both", "one"] || found == ["both", "other"], "{found:?}");
                assert_eq!(value(&metrics, "jwt_exporter_source_up", &[]), 1.0);
                assert_eq!(exporter.get("/readyz").status, 200);
                scrapes += 1;
            }
            scrapes
        });
        for round in 0..10 {
            let (label, shown) = if round % 2 == 0 { (&other, "other") } else { (&one, "one") };
            rewrite(exporter, &config(label));
            process::signal(pid, libc::SIGHUP);
            await_names(exporter, &["both", shown]);
        }
        done.store(true, Ordering::SeqCst);
        assert!(scraper.join().unwrap() > 10);
    });
    let metrics = exporter.metrics();
    assert_eq!(value(&metrics, "jwt_exporter_kube_requests_total", &[("verb", "list"), ("code", "200")]), 11.0);
    assert_eq!(value(&metrics, "jwt_exporter_error_total", &[]), 0.0);
    // The new one is followed.
    admin.put_secret(&secret("later").label(&one, "yes"));
    await_names(exporter, &["both", "one", "later"]);
}

#[test]
fn a_bad_one_is_refused_once_and_the_one_before_goes_on() {
    let setup = Setup::new("kubernetes: false\nmanifests: [one.json]\npolling_interval: 100ms\n");
    write_manifest(setup.folder(), "one.json", "one");
    let mut exporter = setup.start();
    await_names(&exporter, &["one"]);
    rewrite(&exporter, "kubernetes: false\nmanifest: [one.json]\n");
    let metrics = exporter.wait_for_metrics("a refusal", |metrics| !is_successful(metrics));
    await_log(&exporter, "did you mean manifests?", 1);
    assert_eq!(value(&metrics, "jwt_exporter_error_total", &[]), 1.0);
    // Asked for, it is said again.
    exporter.process().signal("HUP");
    await_log(&exporter, "did you mean manifests?", 2);
    write_manifest(exporter.folder(), "one.json", "still-read");
    await_names(&exporter, &["still-read"]);

    let port = exporter.address().port();
    std::fs::write(exporter.config_file(), "address: 127.0.0.1:1\nkubernetes: false\n").unwrap();
    await_log(&exporter, "`address` is 127.0.0.1:1; it stays 127.0.0.1", 1);
    assert!(!is_successful(&exporter.metrics()) && exporter.address().port() == port);
    std::fs::remove_file(exporter.config_file()).unwrap();
    await_log(&exporter, "there is no such file", 1);
    await_names(&exporter, &["still-read"]);

    rewrite(&exporter, "kubernetes: false\nmanifests: [one.json]\npolling_interval: 100ms\n");
    exporter.wait_for_metrics("the first one again", is_successful);
    assert_eq!(exporter.log().matches("[ERROR]").count(), 4, "{}", exporter.log());
}

#[test]
fn a_hung_list_does_not_hold_up_a_reload() {
    let server = FakeApiServer::start(|_| Answer::silence());
    let setup = Setup::new("").kubeconfig(&Kubeconfig::new(server.url()).token("bearer"));
    write_manifest(setup.folder(), "one.json", "one");
    let mut exporter = setup.start();
    server.wait_for_requests(1, LIMIT);
    rewrite(&exporter, "kubernetes: false\nmanifests: [one.json]\n");
    let begun = Instant::now();
    exporter.process().signal("HUP");
    await_names(&exporter, &["one"]);
    assert!(begun.elapsed() < Duration::from_secs(20), "a list may be silent for 30 s: {:?}", begun.elapsed());
    let metrics = exporter.metrics();
    assert_eq!(value(&metrics, "jwt_exporter_error_total", &[]), 0.0, "that it was broken off is no error");
    assert_eq!(exporter.log().matches("[ERROR]").count(), 0, "{}", exporter.log());
}

#[test]
fn without_a_working_successor_the_tokens_stay() {
    let cluster = Cluster::start();
    let refusing = FakeApiServer::start(|_| Answer::status_object(500, "InternalError"));
    let mut exporter = Setup::new("label_selectors: [a]\n").kubeconfig(&cluster.kubeconfig()).start();
    await_names(&exporter, &["a"]);
    let other = process::folder("reload");
    let path = Kubeconfig::new(refusing.url()).token("bearer").write(other.path());
    rewrite(&exporter, &format!("kubeconfig_path: {}\nlabel_selectors: [b]\n", path.display()));
    exporter.process().signal("HUP");
    let metrics =
        exporter.wait_for_metrics("its failure", |metrics| value(metrics, "jwt_exporter_source_up", &[]) == 0.0);
    assert!(names(&metrics).contains("a") && is_successful(&metrics), "{metrics}");
    // The same file, another content: read again when somebody asks.
    cluster.kubeconfig().write(other.path());
    exporter.process().signal("HUP");
    await_names(&exporter, &["b"]);
}

#[test]
fn a_kubeconfig_that_is_not_there_yet_is_taken_when_it_is() {
    let cluster = Cluster::start();
    let setup = Setup::new("kubernetes: false\nmanifests: [one.json]\n");
    write_manifest(setup.folder(), "one.json", "one");
    let mut exporter = setup.start();
    await_names(&exporter, &["one"]);
    let path = exporter.folder().join("kubeconfig");
    rewrite(&exporter, &format!("kubeconfig_path: {}\nlabel_selectors: [a]\n", path.display()));
    exporter.process().signal("HUP");
    exporter.wait_for_metrics("a refusal", |metrics| !is_successful(metrics));
    await_names(&exporter, &["one"]);
    cluster.kubeconfig().write(exporter.folder());
    // Nobody asks; it is tried again by itself.
    exporter.wait_for_metrics("the kubeconfig", is_successful);
    await_names(&exporter, &["a"]);
    assert_eq!(exporter.log().matches("[ERROR]").count(), 1, "{}", exporter.log());
}
