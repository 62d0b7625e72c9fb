//! Several clusters at once: each by itself, and told apart by a label.

use crate::support::api_client::Secret;
use crate::support::exporter::{Exporter, Finished, Setup};
use crate::support::exposition::{find, value};
use crate::support::fake_api_server::{Answer, FakeApiServer, Request};
use crate::support::kubeconfig::{Kubeconfig, several};
use crate::support::{process, token, unique_name, wait_for};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);
const INFO: &str = "jwt_exporter_token_info";
const EXPIRATION: &str = "jwt_exporter_token_expiration_timestamp_seconds";

/// A scripted API server with one Secret, `ns/NAME`, that keeps every watch open.
struct Cluster {
    server: FakeApiServer,
    watches: Arc<Mutex<Vec<Sender<Vec<u8>>>>>,
}

/// A Secret whose token expires at its version.
fn object(name: &str, version: u32) -> Value {
    let jwt = token::hs256(&json!({"exp": version, "sub": name}));
    let data = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, jwt);
    let metadata = json!({"name": name, "namespace": "ns", "resourceVersion": version.to_string()});
    json!({"metadata": metadata, "data": {"token": data}, "type": "Opaque"})
}

impl Cluster {
    fn with(name: &'static str, version: u32) -> Self {
        let watches: Arc<Mutex<Vec<Sender<Vec<u8>>>>> = Arc::default();
        let open = Arc::clone(&watches);
        let server = FakeApiServer::start(move |request: &Request| {
            if request.query("watch").is_some() {
                let (sender, receiver) = channel();
                open.lock().unwrap().push(sender);
                return Answer::feed(receiver);
            }
            match request.path() {
                "/api/v1/secrets" => {
                    let list = json!({"metadata": {"resourceVersion": "10"}, "items": [object(name, version)]});
                    Answer::json(200, &list)
                }
                path if path == format!("/api/v1/namespaces/ns/secrets/{name}") => {
                    Answer::json(200, &object(name, version))
                }
                _ => Answer::status_object(404, "NotFound"),
            }
        });
        Self { server, watches }
    }

    fn kubeconfig(&self) -> Kubeconfig {
        Kubeconfig::new(self.server.url()).token("bearer")
    }

    fn send(&self, name: &str, version: u32) {
        let event = json!({"type": "MODIFIED", "object": object(name, version)}).to_string() + "\n";
        self.watches.lock().unwrap()[0].send(event.into_bytes()).unwrap();
    }
}

/// One that accepts and never says a word.
fn mute() -> FakeApiServer {
    FakeApiServer::start(|_: &Request| Answer::silence())
}

fn setup(contexts: &[(&str, &Kubeconfig)], config: &str) -> Setup {
    let setup = Setup::new(format!("kubeconfig_path: kubeconfig\n{config}"));
    std::fs::write(setup.folder().join("kubeconfig"), several(contexts)).unwrap();
    setup
}

fn write_manifest(folder: &Path, name: &str) {
    let jwt = token::hs256(&json!({"exp": 7, "sub": name}));
    let metadata = json!({"name": name, "namespace": "ns"});
    let secret = json!({"kind": "Secret", "apiVersion": "v1", "metadata": metadata, "stringData": {"token": jwt}});
    std::fs::write(folder.join("secret.yaml"), secret.to_string()).unwrap();
}

/// Cluster, namespace, name of each token.
fn places(metrics: &str) -> Vec<String> {
    let place = |sample: crate::support::exposition::Sample| {
        assert!(sample.labels.contains_key("secret_cluster"), "{sample:?}");
        ["secret_cluster", "secret_namespace", "secret_name"].map(|label| sample.label(label).to_owned()).join(" ")
    };
    find(metrics, INFO, &[]).into_iter().map(place).collect()
}

fn up(metrics: &str, source: &str) -> f64 {
    value(metrics, "jwt_exporter_source_up", &[("source", source)])
}

fn await_expiry(exporter: &Exporter, cluster: &str, expiry: f64) -> String {
    exporter.wait_for_metrics(&format!("{expiry} in {cluster}"), |metrics| {
        let found = find(metrics, EXPIRATION, &[("secret_cluster", cluster)]);
        found.iter().any(|sample| sample.value == expiry)
    })
}

/// Puts a configuration into the place of the one before, as editors do. `rest` is without its address.
fn rewrite(exporter: &Exporter, rest: &str) {
    let new = exporter.folder().join("config.new");
    std::fs::write(&new, format!("address: \"{}\"\n{rest}", exporter.address())).unwrap();
    std::fs::rename(new, exporter.config_file()).unwrap();
}

#[test]
fn two_clusters_files_and_manifests_are_served_from_one_process() {
    const ARN: &str = "arn:aws:eks:eu-west-1:1:cluster/a\\\"b";
    let plane = require_control_plane!();
    let namespace = plane.admin().create_unique_namespace("contexts");
    let label = unique_name("contexts");
    let secret = |name: &str, expiry: u32| {
        let jwt = token::hs256(&json!({"exp": expiry}));
        Secret::new(&namespace, name).label("contexts", &label).data("token", jwt)
    };
    plane.admin().put_secret(&secret("one", 100));
    let (other, real) = (Cluster::with("two", 5), plane.admin_kubeconfig());
    let contexts = format!("contexts: [kubernetes-admin@kubernetes, '{ARN}']\n");
    let config =
        format!("{contexts}label_selectors: [contexts={label}]\nfiles: [token.jwt]\nmanifests: [secret.yaml]\n");
    let setup = setup(&[("kubernetes-admin@kubernetes", &real), (ARN, &other.kubeconfig())], &config);
    std::fs::write(setup.folder().join("token.jwt"), token::hs256(&json!({"exp": 9}))).unwrap();
    let manifest = json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "m", "namespace": "ns",
        "labels": {"contexts": label}}, "stringData": {"token": token::hs256(&json!({"exp": 7}))}});
    std::fs::write(setup.folder().join("secret.yaml"), manifest.to_string()).unwrap();
    let mut exporter = setup.start();
    exporter.wait_until_ready();
    let metrics = exporter.metrics();
    let arn = format!("kubernetes/{ARN}");
    let sources = ["kubernetes/kubernetes-admin@kubernetes", &arn, "files", "manifests"];
    assert_eq!(sources.map(|source| up(&metrics, source)), [1.0; 4], "{metrics}");
    let mut wanted = vec![
        " ".to_owned() + " token.jwt",
        format!("kubernetes-admin@kubernetes {namespace} one"),
        " ns m".to_owned(),
        format!("{ARN} ns two"),
    ];
    let mut found = places(&metrics);
    wanted.sort();
    found.sort();
    assert_eq!(found, wanted);
    plane.admin().put_secret(&secret("one", 200));
    await_expiry(&exporter, "kubernetes-admin@kubernetes", 200.0);
    other.send("two", 20);
    await_expiry(&exporter, ARN, 20.0);
}

#[test]
fn a_cluster_that_is_away_or_hangs_delays_no_other() {
    let (good, dies, hangs) = (Cluster::with("good", 5), Cluster::with("dies", 5), mute());
    let hanging = Kubeconfig::new(hangs.url()).token("bearer");
    let contexts = [("hangs", &hanging), ("dies", &dies.kubeconfig()), ("good", &good.kubeconfig())];
    let setup = setup(&contexts, "contexts: [hangs, dies, good]\nlabel_selectors: []\nmanifests: [secret.yaml]\n");
    write_manifest(setup.folder(), "m");
    let mut exporter = setup.start();
    await_expiry(&exporter, "good", 5.0);
    await_expiry(&exporter, "dies", 5.0);
    good.server.wait_for_requests(2, LIMIT);
    dies.server.wait_for_requests(2, LIMIT);
    assert!(!hangs.requests().is_empty());

    drop(dies);
    exporter.wait_for_metrics("one that died", |metrics| up(metrics, "kubernetes/dies") == 0.0);
    for version in 20..25 {
        good.send("good", version);
        let metrics = await_expiry(&exporter, "good", version.into());
        assert_eq!(value(&metrics, EXPIRATION, &[("secret_cluster", "dies")]), 5.0, "it stays shown");
        let up = |source: &str| up(&metrics, source);
        assert_eq!((up("kubernetes/good"), up("kubernetes/dies"), up("manifests")), (1.0, 0.0, 1.0));
    }
    // It may have run into its time limit by now, and is asked again: it hangs at any moment.
    assert_eq!(up(&exporter.metrics(), "kubernetes/hangs"), 0.0);
    exporter.process().signal("TERM");
    let told = Instant::now();
    assert!(exporter.process().wait(LIMIT).success());
    assert!(told.elapsed() < Duration::from_secs(15), "a hanging list was waited for");
}

#[test]
fn a_reload_touches_only_the_contexts_that_change() {
    let (kept, other) = (Cluster::with("kept", 5), Cluster::with("other", 5));
    let config = "kubeconfig_path: kubeconfig\nlabel_selectors: []\nmanifests: [secret.yaml]\n";
    let with = |contexts: &str| format!("{config}contexts: {contexts}\n");
    let setup =
        setup(&[("kept", &kept.kubeconfig())], "label_selectors: []\ncontexts: [kept]\nmanifests: [secret.yaml]\n");
    write_manifest(setup.folder(), "m");
    let exporter = setup.start();
    await_expiry(&exporter, "kept", 5.0);
    kept.server.wait_for_requests(2, LIMIT);
    // The kubeconfig gets another context, too.
    let kubeconfig = several(&[("other", &other.kubeconfig()), ("kept", &kept.kubeconfig())]);
    std::fs::write(exporter.folder().join("kubeconfig"), kubeconfig).unwrap();
    rewrite(&exporter, &with("[other, kept]"));
    await_expiry(&exporter, "other", 5.0);
    kept.send("kept", 20);
    let metrics = await_expiry(&exporter, "kept", 20.0);
    assert_eq!(places(&metrics), ["kept ns kept", " ns m", "other ns other"]);

    rewrite(&exporter, &with("[kept]"));
    let metrics = exporter.wait_for_metrics("one that is left out", |metrics| !metrics.contains("other"));
    assert_eq!(places(&metrics), ["kept ns kept", " ns m"]);
    kept.send("kept", 30);
    await_expiry(&exporter, "kept", 30.0);
    assert_eq!(kept.server.requests().len(), 2, "one list, and one watch that is still the same");

    rewrite(&exporter, &with("[kept, nowhere]"));
    wait_for("a context that there is not", LIMIT, || {
        let log = exporter.log();
        let told = "contexts: expected contexts of kubeconfig, which are \"other\", \"kept\", found \"nowhere\"";
        if log.contains(told) { Ok(()) } else { Err(log) }
    });
    // Another user of this context is another way in.
    let changed = kept.kubeconfig().token("another");
    std::fs::write(exporter.folder().join("kubeconfig"), several(&[("kept", &changed)])).unwrap();
    rewrite(&exporter, &with("[kept] "));
    wait_for("another token", LIMIT, || {
        let requests = kept.server.requests();
        let last = requests.last().and_then(|request| request.header("authorization")).unwrap_or_default().to_owned();
        if last == "Bearer another" { Ok(()) } else { Err(format!("{} {}", last, exporter.log())) }
    });
}

#[test]
fn a_context_that_there_is_not_is_an_error_that_names_those_that_there_are() {
    let nobody = Kubeconfig::new("http://127.0.0.1:9");
    let ran = setup(&[("a", &nobody), ("b\"", &nobody)], "contexts: [a, c]\n").run();
    assert_eq!(ran.status.code(), Some(2), "{}", ran.stderr);
    let told = "contexts: expected contexts of kubeconfig, which are \"a\", \"b\"\", found \"c\"";
    assert!(ran.stderr.contains(told), "{}", ran.stderr);
}

fn run(setup: Setup, arguments: &[&str]) -> Finished {
    arguments.iter().fold(setup, |setup, argument| setup.argument(argument)).run()
}

#[test]
fn samples_of_several_clusters_are_told_apart_and_in_order() {
    let (a, b) = (Cluster::with("one", 5), Cluster::with("one", 6));
    let contexts = [("b \"\\", &b.kubeconfig()), ("a", &a.kubeconfig())];
    let config = "contexts: ['b \"\\', a]\nlabel_selectors: []\nmanifests: [secret.yaml]\n";
    let make = || {
        let setup = setup(&contexts, config);
        write_manifest(setup.folder(), "one");
        setup
    };
    let ran = run(make(), &["-once", "-"]);
    assert_eq!(ran.status.code(), Some(0), "{}", ran.stderr);
    let lasting: String = ran
        .stdout
        .lines()
        .filter(|line| !line.starts_with('#') && line.contains("secret_cluster") || line.contains("source_up{"))
        .map(|line| line.to_owned() + "\n")
        .collect();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/exposition/contexts.prom");
    if std::env::var("GOLDEN").is_ok_and(|value| value == "rewrite") {
        std::fs::write(&golden, &lasting).unwrap();
    }
    assert_eq!(std::fs::read_to_string(golden).unwrap(), lasting);

    let ran = run(make(), &["check", "-output", "json"]);
    assert_eq!(ran.status.code(), Some(1), "{}{}", ran.stdout, ran.stderr);
    let answer: Value = serde_json::from_str(&ran.stdout).unwrap();
    let clusters: BTreeSet<&str> =
        answer["tokens"].as_array().unwrap().iter().map(|row| row["secret_cluster"].as_str().unwrap()).collect();
    assert_eq!(clusters, BTreeSet::from(["", "a", "b \"\\"]));
    let ran = run(make(), &["check"]);
    assert!(ran.stdout.contains("a: ns/one:token"), "{}", ran.stdout);
}

#[test]
fn one_cluster_that_cannot_be_read_leaves_the_others_to_a_single_look() {
    let (good, nobody) =
        (Cluster::with("one", 5), Kubeconfig::new(format!("http://127.0.0.1:{}", process::free_port())));
    let contexts = [("away", &nobody), ("good", &good.kubeconfig())];
    let make = || setup(&contexts, "contexts: [away, good]\nlabel_selectors: []\n");
    let ran = run(make(), &["-once", "-"]);
    assert_eq!(ran.status.code(), Some(1), "{}", ran.stderr);
    assert_eq!(places(&ran.stdout), ["good ns one"]);
    assert_eq!((up(&ran.stdout, "kubernetes/away"), up(&ran.stdout, "kubernetes/good")), (0.0, 1.0));
    let ran = run(make(), &["check"]);
    assert_eq!(ran.status.code(), Some(2));
    assert!(
        ran.stdout.contains("kubernetes/away: ") && ran.stdout.contains("1 of 2 sources not read"),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_single_look_reads_all_clusters_at_the_same_time() {
    // No server answers before both were asked.
    let asked = Arc::new((Mutex::new(0), Condvar::new()));
    let server = || {
        let asked = Arc::clone(&asked);
        FakeApiServer::start(move |_: &Request| {
            let (count, changed) = &*asked;
            let mut count = count.lock().unwrap();
            *count += 1;
            changed.notify_all();
            let (_count, late) = changed.wait_timeout_while(count, LIMIT, |count| *count % 2 == 1).unwrap();
            if late.timed_out() {
                return Answer::status_object(500, "the other cluster was not asked");
            }
            Answer::json(200, &json!({"metadata": {"resourceVersion": "10"}, "items": []}))
        })
    };
    let (first, second) = (server(), server());
    let kubeconfig = |server: &FakeApiServer| Kubeconfig::new(server.url()).token("bearer");
    let contexts = [("z", &kubeconfig(&first)), ("a", &kubeconfig(&second))];
    for command in [["-once", "-"].as_slice(), &["check", "-output", "json"]] {
        let ran = run(setup(&contexts, "contexts: [z, a]\nlabel_selectors: []\n"), command);
        assert_eq!(ran.status.code(), Some(0), "{}{}", ran.stdout, ran.stderr);
    }
    let ran = run(setup(&contexts, "contexts: [z, a]\nlabel_selectors: []\n"), &["check", "-output", "json"]);
    let answer: Value = serde_json::from_str(&ran.stdout).unwrap();
    let sources = answer["sources"].as_array().unwrap();
    let names: Vec<&str> = sources.iter().map(|source| source["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["kubernetes/z", "kubernetes/a"], "in the order of the configuration");
}

#[test]
fn explain_looks_into_every_context() {
    let (there, empty) = (Cluster::with("one", 5), Cluster::with("other", 5));
    let contexts = [("empty", &empty.kubeconfig()), ("there", &there.kubeconfig())];
    let config = "contexts: [empty, there]\nlabel_selectors: []\n";
    let ran = run(setup(&contexts, config), &["explain", "ns/one"]);
    assert_eq!(ran.status.code(), Some(0), "{}{}", ran.stdout, ran.stderr);
    let said = &ran.stdout;
    assert!(said.contains("in the context empty:") && said.contains("no samples from here: it is not there"), "{said}");
    assert!(said.contains("in the context there:") && said.ends_with("It has samples: from there.\n"), "{said}");
    let ran = run(setup(&contexts, config), &["explain", "ns/none"]);
    assert_eq!(ran.status.code(), Some(1), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("It has no samples: it is not there (in empty).\n"), "{}", ran.stdout);
}

#[test]
fn a_named_secret_is_read_in_its_own_context_alone() {
    let (a, b) = (Cluster::with("one", 5), Cluster::with("two", 6));
    let contexts = [("a", &a.kubeconfig()), ("b", &b.kubeconfig())];
    let config = "contexts: [a, b]\nsecrets:\n- {context: a, namespace: ns, name: one}\n- {context: b, namespace: ns, name: two}\n\
                  - {context: b, namespace: ns, name: one}\n";
    let ran = run(setup(&contexts, config), &["-once", "-"]);
    assert_eq!(places(&ran.stdout), ["a ns one", "b ns two"], "{}{}", ran.stdout, ran.stderr);
    let missing = find(&ran.stdout, "jwt_exporter_token_error", &[("reason", "not_found")]);
    assert_eq!((missing.len(), missing[0].label("secret_cluster")), (1, "b"), "{missing:?}");
    let paths = |cluster: &Cluster| -> BTreeSet<String> {
        cluster.server.requests().iter().map(|request| request.path().rsplit('/').next().unwrap().to_owned()).collect()
    };
    assert_eq!((paths(&a), paths(&b)), (["one".to_owned()].into(), ["one".to_owned(), "two".to_owned()].into()));
}
