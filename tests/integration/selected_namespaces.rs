//! Namespaces by their labels, labels on tokens, and shards: against a real API server, and against one that makes trouble.

use crate::support::api_client::{ApiClient, Secret, Subject};
use crate::support::exporter::{Exporter, Setup};
use crate::support::exposition::{Sample, find, value};
use crate::support::fake_api_server::{Answer, FakeApiServer, Request};
use crate::support::kubeconfig::Kubeconfig;
use crate::support::{token, unique_name, wait_for};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const EXPIRATION: &str = "jwt_exporter_token_expiration_timestamp_seconds";
const LIMIT: Duration = Duration::from_secs(60);

fn put(admin: &ApiClient, namespace: &str, name: &str, labels: &[(&str, &str)]) {
    let secret = Secret::new(namespace, name).data("token", token::hs256(&json!({"exp": 1, "iat": 2, "nbf": 3})));
    admin.put_secret(&labels.iter().fold(secret, |secret, (key, value)| secret.label(key, value)));
}

fn relabel(admin: &ApiClient, namespace: &str, labels: &Value) {
    let target = format!("/api/v1/namespaces/{namespace}");
    let (status, answer) = admin.request("PATCH", &target, Some(&json!({"metadata": {"labels": labels}})));
    assert_eq!(status, 200, "{answer}");
}

/// Namespace and name of what is shown.
fn shown(metrics: &str) -> BTreeSet<(String, String)> {
    let place = |sample: &Sample| (sample.label("secret_namespace").into(), sample.label("secret_name").into());
    find(metrics, EXPIRATION, &[]).iter().map(place).collect()
}

fn places(of: &[(&str, &str)]) -> BTreeSet<(String, String)> {
    of.iter().map(|(namespace, name)| ((*namespace).to_owned(), (*name).to_owned())).collect()
}

fn up(metrics: &str) -> f64 {
    value(metrics, "jwt_exporter_source_up", &[("source", "kubernetes")])
}

fn requests(metrics: &str, labels: &[(&str, &str)]) -> f64 {
    find(metrics, "jwt_exporter_kube_requests_total", labels).iter().map(|sample| sample.value).sum()
}

#[test]
fn a_namespace_that_comes_to_match_and_one_that_does_not_any_more_show_at_once() {
    let plane = require_control_plane!();
    let admin = plane.admin();
    let label = unique_name("env");
    let [one, two] = ["one", "two"].map(|prefix| admin.create_unique_namespace(prefix));
    relabel(admin, &one, &json!({&label: "prod", "team": "a"}));
    for namespace in [&one, &two] {
        put(admin, namespace, "s", &[(&label, "yes"), ("tier", "gold")]);
    }
    let config = format!(
        "label_selectors: [{label}]\nnamespace_selector: {label}=prod\nsecret_labels: {{tier: tier}}\n\
         namespace_labels: {{team: team, ns: kubernetes.io/metadata.name}}\n"
    );
    let mut exporter = Setup::new(config).kubeconfig(&plane.admin_kubeconfig()).start();
    exporter.wait_until_ready();
    let metrics = exporter.wait_for_metrics("the one that matches", |metrics| shown(metrics) == places(&[(&one, "s")]));
    for family in [
        EXPIRATION,
        "jwt_exporter_jwt_expiration_timestamp",
        "jwt_exporter_jwt_expires_in_seconds",
        "jwt_exporter_token_info",
        "jwt_exporter_token_not_before_timestamp_seconds",
    ] {
        let labels = [("team", "a"), ("tier", "gold"), ("ns", &*one)];
        assert_eq!(find(&metrics, family, &labels).len(), 1, "{family}\n{metrics}");
    }
    exporter
        .wait_for_metrics("both watches", |metrics| requests(metrics, &[("verb", "watch"), ("code", "200")]) == 2.0);

    relabel(admin, &two, &json!({&label: "prod"}));
    exporter.wait_for_metrics("the other one", |metrics| shown(metrics) == places(&[(&one, "s"), (&two, "s")]));
    put(admin, &two, "t", &[(&label, "yes")]);
    exporter.wait_for_metrics("a change in it", |metrics| {
        find(metrics, EXPIRATION, &[("secret_name", "t"), ("tier", ""), ("team", ""), ("ns", &two)]).len() == 1
    });
    relabel(admin, &one, &json!({"team": "b"}));
    exporter.wait_for_metrics("another label", |metrics| {
        find(metrics, "jwt_exporter_jwt_issued_at_timestamp", &[("secret_namespace", &one), ("team", "b")]).len() == 1
            && find(metrics, EXPIRATION, &[("team", "a")]).is_empty()
    });
    relabel(admin, &one, &json!({&label: "stage"}));
    exporter.wait_for_metrics("it left", |metrics| shown(metrics) == places(&[(&two, "s"), (&two, "t")]));
    put(admin, &one, "u", &[(&label, "yes")]);
    put(admin, &two, "v", &[(&label, "yes")]);
    let last = places(&[(&two, "s"), (&two, "t"), (&two, "v")]);
    let metrics = exporter.wait_for_metrics("the rest goes on", |metrics| shown(metrics) == last);
    // Namespaces once, Secrets once, and those of the namespace that came to match.
    assert_eq!(requests(&metrics, &[("verb", "list")]), 3.0);
    assert_eq!(up(&metrics), 1.0);
}

#[test]
fn without_the_right_to_list_namespaces_labels_are_empty_and_said_once() {
    let plane = require_control_plane!();
    let admin = plane.admin();
    let (home, label) = (admin.create_unique_namespace("home"), unique_name("label"));
    admin.create_service_account(&home, "exporter");
    relabel(admin, &home, &json!({"team": "a"}));
    put(admin, &home, "s", &[(&label, "yes")]);
    let account = Subject::ServiceAccount { namespace: &home, name: "exporter" };
    admin.grant(account, &["list", "watch"], "secrets");
    let bearer = admin.request_token(&home, "exporter", &[], 3600);
    let start = |config: &str| {
        let config = format!("label_selectors: [{label}]\n{config}\n");
        Setup::new(config).kubeconfig(&plane.kubeconfig().token(&bearer)).start()
    };
    let mut labels = start("namespace_labels: {team: team}");
    labels.wait_until_ready();
    let chosen = start("namespace_selector: team");
    let metrics = labels.wait_for_metrics("more tries", |metrics| {
        requests(metrics, &[("resource", "namespaces"), ("code", "403")]) >= 3.0
    });
    assert_eq!(find(&metrics, EXPIRATION, &[("secret_namespace", &home), ("team", "")]).len(), 1);
    assert_eq!(up(&metrics), 1.0);
    let rule = r#"{apiGroups: [""], resources: ["namespaces"], verbs: ["list"]}"#;
    assert_eq!(labels.log_lines(rule).len(), 1, "{}", labels.log());

    let metrics = chosen.wait_for_metrics("the failure", |metrics| {
        !find(metrics, "jwt_exporter_source_errors_total", &[("reason", "forbidden")]).is_empty()
    });
    assert_eq!((up(&metrics), shown(&metrics)), (0.0, BTreeSet::new()));
    assert_eq!(chosen.log_lines(rule).len(), 1, "{}", chosen.log());

    admin.grant(account, &["list"], "namespaces");
    let given = [("secret_namespace", home.as_str()), ("team", "a")];
    labels.wait_for_metrics("the label", |metrics| find(metrics, EXPIRATION, &given).len() == 1);
    let watch = "changes of namespaces show at the next poll only, since watching is not allowed";
    wait_for("a word about the watch", LIMIT, || match labels.log_lines(watch).len() {
        1 => Ok(()),
        lines => Err(format!("{lines} lines: {}", labels.log())),
    });
    chosen.wait_for_metrics("it works", |metrics| up(metrics) == 1.0 && shown(metrics) == places(&[(&home, "s")]));
}

#[test]
fn labels_of_single_namespaces_need_a_role_in_each() {
    let plane = require_control_plane!();
    let admin = plane.admin();
    let [home, listed, bare] = ["home", "listed", "bare"].map(|prefix| admin.create_unique_namespace(prefix));
    admin.create_service_account(&home, "exporter");
    let account = Subject::ServiceAccount { namespace: &home, name: "exporter" };
    for namespace in [&listed, &bare] {
        relabel(admin, namespace, &json!({"team": "a"}));
        put(admin, namespace, "s", &[]);
        admin.grant_in(namespace, account, &["list", "watch"], "secrets");
    }
    admin.grant_in(&listed, account, &["get"], "namespaces");
    let config = format!("label_selectors: []\nnamespaces: [{listed}, {bare}]\nnamespace_labels: {{team: team}}\n");
    let bearer = admin.request_token(&home, "exporter", &[], 3600);
    let mut exporter = Setup::new(config).kubeconfig(&plane.kubeconfig().token(&bearer)).start();
    exporter.wait_until_ready();
    let metrics = exporter.metrics();
    for (namespace, team) in [(&listed, "a"), (&bare, "")] {
        assert_eq!(
            find(&metrics, EXPIRATION, &[("secret_namespace", namespace), ("team", team)]).len(),
            1,
            "{metrics}"
        );
    }
    assert_eq!(requests(&metrics, &[("resource", "namespaces"), ("verb", "list")]), 0.0);
    let says = format!("a Role in namespace \"{bare}\", or a ClusterRole, bound to us needs the rule");
    assert_eq!(exporter.log_lines(&says).len(), 1, "{}", exporter.log());
    admin.grant_in(&bare, account, &["get"], "namespaces");
    exporter.wait_for_metrics("both", |metrics| find(metrics, EXPIRATION, &[("team", "a")]).len() == 2);
}

#[test]
fn every_secret_is_shown_by_one_shard() {
    let plane = require_control_plane!();
    let admin = plane.admin();
    let (namespace, label) = (admin.create_unique_namespace("shards"), unique_name("label"));
    let names: Vec<String> = (0..30).map(|number| format!("s-{number}")).collect();
    // Some are named, and one that is named is not there.
    names[..20].iter().for_each(|name| put(admin, &namespace, name, &[(&label, "yes")]));
    names[20..].iter().for_each(|name| put(admin, &namespace, name, &[]));
    let named: Vec<String> = names[15..]
        .iter()
        .chain([&"missing".to_owned()])
        .map(|name| format!("{{namespace: {namespace}, name: {name}}}"))
        .collect();
    let start = |shard: usize| {
        let setup =
            Setup::new(format!("label_selectors: [{label}]\nsecrets: [{}]\nshard: ordinal/3\n", named.join(", ")));
        let setup = setup.env("HOSTNAME", &format!("jwt-exporter-{shard}"));
        let mut exporter = setup.kubeconfig(&plane.admin_kubeconfig()).start();
        exporter.wait_until_ready();
        exporter
    };
    let exporters: Vec<Exporter> = (0..3).map(start).collect();
    let count = |exporters: &[Exporter]| -> Vec<usize> {
        exporters.iter().map(|exporter| shown(&exporter.metrics()).len()).collect()
    };
    let all = |names: &[String]| names.iter().map(|name| (namespace.clone(), name.clone())).collect::<BTreeSet<_>>();
    let union = |exporters: &[Exporter]| exporters.iter().flat_map(|e| shown(&e.metrics())).collect::<BTreeSet<_>>();
    wait_for("every Secret", LIMIT, || match (union(&exporters), count(&exporters)) {
        (shown, counts) if shown == all(&names) && counts.iter().sum::<usize>() == 30 => Ok(()),
        (_, counts) => Err(format!("{counts:?}")),
    });
    assert!(count(&exporters).iter().all(|count| *count >= 3), "{:?}", count(&exporters));
    let missing =
        |exporter: &Exporter| find(&exporter.metrics(), "jwt_exporter_token_error", &[("reason", "not_found")]).len();
    assert_eq!(exporters.iter().map(missing).sum::<usize>(), 1);
    put(admin, &namespace, "later", &[(&label, "yes")]);
    wait_for("a new one", LIMIT, || match count(&exporters).iter().sum::<usize>() {
        31 => Ok(()),
        count => Err(count.to_string()),
    });
}

/// A scripted API server: Secrets `ns/s` and `other/s`, and the namespaces that the test says.
struct Scene {
    server: FakeApiServer,
    script: Arc<Mutex<Script>>,
}

type Handler = Box<dyn FnMut(&Request) -> Option<Answer> + Send>;

struct Script {
    /// What a request is answered instead.
    instead: Handler,
    namespaces: Vec<(&'static str, Value)>,
    version: u64,
    /// The watches of namespaces that are open.
    open: Vec<Sender<Vec<u8>>>,
    /// Those of Secrets, and where they look.
    of_secrets: Vec<(String, Sender<Vec<u8>>)>,
}

fn namespace(name: &str, labels: &Value, version: u64) -> Value {
    json!({"metadata": {"name": name, "labels": labels, "resourceVersion": version.to_string()}})
}

fn list(kind: &str, version: u64, items: &[Value]) -> Answer {
    let metadata = json!({"resourceVersion": version.to_string()});
    Answer::json(200, &json!({"kind": kind, "apiVersion": "v1", "metadata": metadata, "items": items}))
}

fn secret(namespace: &str) -> Value {
    use base64::Engine as _;
    let jwt = base64::engine::general_purpose::STANDARD.encode(token::hs256(&json!({"exp": 1})));
    json!({"metadata": {"namespace": namespace, "name": "s", "resourceVersion": "1"}, "data": {"token": jwt}})
}

impl Scene {
    fn new(namespaces: &[(&'static str, Value)]) -> Self {
        let script = Arc::new(Mutex::new(Script {
            instead: Box::new(|_| None),
            namespaces: namespaces.to_vec(),
            version: 10,
            open: Vec::new(),
            of_secrets: Vec::new(),
        }));
        let answers = Arc::clone(&script);
        let server = FakeApiServer::start(move |request| {
            let script = &mut *answers.lock().unwrap();
            if let Some(answer) = (script.instead)(request) {
                return answer;
            }
            let of_namespaces = request.path() == "/api/v1/namespaces";
            if request.query("watch").is_some() {
                let (sender, receiver) = channel();
                if of_namespaces {
                    script.open.push(sender);
                } else {
                    script.of_secrets.push((request.path().to_owned(), sender));
                }
                return Answer::feed(receiver);
            }
            if of_namespaces {
                let items: Vec<Value> =
                    script.namespaces.iter().map(|(name, labels)| namespace(name, labels, 5)).collect();
                return list("NamespaceList", script.version, &items);
            }
            let of = ["ns", "other"].into_iter().filter(|name| {
                request.path() == "/api/v1/secrets" || request.path() == format!("/api/v1/namespaces/{name}/secrets")
            });
            list("SecretList", script.version, &of.map(secret).collect::<Vec<_>>())
        });
        Self { server, script }
    }

    fn instead(&self, handler: impl FnMut(&Request) -> Option<Answer> + Send + 'static) {
        self.script.lock().unwrap().instead = Box::new(handler);
    }

    fn start(&self, config: &str) -> Exporter {
        let config = format!("label_selectors: []\n{config}\n");
        let mut exporter = Setup::new(config).kubeconfig(&Kubeconfig::new(self.server.url()).token("bearer")).start();
        exporter.wait_until_ready();
        exporter
    }

    /// Requests with this path, watches or not.
    fn asked(&self, path: &str, watch: bool) -> Vec<Request> {
        let requests = self.server.requests().into_iter();
        requests.filter(|request| request.path() == path && request.query("watch").is_some() == watch).collect()
    }

    fn await_asked(&self, path: &str, watch: bool, count: usize) -> Vec<Request> {
        wait_for(path, LIMIT, || match self.asked(path, watch) {
            requests if requests.len() >= count => Ok(requests),
            requests => Err(format!("{} requests", requests.len())),
        })
    }

    fn send(&self, kind: &str, object: &Value) {
        let line = json!({"type": kind, "object": object}).to_string() + "\n";
        self.script.lock().unwrap().open.last().expect("an open watch").send(line.into_bytes()).unwrap();
    }

    fn gone() -> Value {
        json!({"kind": "Status", "reason": "Expired", "message": "too old", "code": 410})
    }
}

const ALL: &str = "/api/v1/secrets";
const NAMESPACES: &str = "/api/v1/namespaces";

#[test]
fn a_watch_of_namespaces_that_is_too_old_costs_their_list_alone() {
    let scene = Scene::new(&[("ns", json!({"env": "prod"}))]);
    let exporter = scene.start("namespace_selector: env=prod");
    assert_eq!(shown(&exporter.metrics()), places(&[("ns", "s")]));
    scene.await_asked(NAMESPACES, true, 1);
    scene.script.lock().unwrap().namespaces = vec![("other", json!({"env": "prod"}))];
    scene.send("ERROR", &Scene::gone());
    exporter.wait_for_metrics("the namespace that matches now", |metrics| shown(metrics) == places(&[("other", "s")]));
    let lists = scene.asked(NAMESPACES, false);
    assert_eq!((lists.len(), scene.asked(ALL, false).len()), (2, 1));
    assert_eq!(lists[1].query("limit").as_deref(), Some("500"), "a list from the cache may be as old as the watch");
    let joined = scene.asked("/api/v1/namespaces/other/secrets", false);
    assert_eq!(joined.len(), 1);
    // The watch of all Secrets has passed over what it said up to here.
    assert_eq!(joined[0].query("resourceVersionMatch").as_deref(), Some("NotOlderThan"));
    let again = scene.await_asked(NAMESPACES, true, 2);
    assert_eq!(again[1].query("labelSelector").as_deref(), Some("env=prod"));
    assert_eq!(up(&exporter.metrics()), 1.0);
}

#[test]
fn a_watch_of_namespaces_that_may_not_be_opened_is_told_once_and_they_are_polled() {
    let scene = Scene::new(&[("ns", json!({"team": "a"}))]);
    scene.instead(|request| {
        let refused = request.path() == NAMESPACES && request.query("watch").is_some();
        refused.then(|| Answer::status_object(403, "Forbidden"))
    });
    let exporter = scene.start("namespace_labels: {team: team}\npolling_interval: 1s");
    scene.await_asked(NAMESPACES, true, 2);
    scene.script.lock().unwrap().namespaces = vec![("ns", json!({"team": "b"}))];
    let metrics =
        exporter.wait_for_metrics("the new label", |metrics| find(metrics, EXPIRATION, &[("team", "b")]).len() == 1);
    assert_eq!(up(&metrics), 1.0);
    assert_eq!(exporter.log_lines("since watching is not allowed").len(), 1, "{}", exporter.log());
}

#[test]
fn a_watch_of_namespaces_that_ends_again_and_again_is_opened_more_and_more_slowly() {
    let scene = Scene::new(&[("ns", json!({}))]);
    scene.instead(|request| {
        let ends = request.path() == NAMESPACES && request.query("watch").is_some();
        ends.then(|| {
            let (_, receiver) = channel();
            Answer::feed(receiver)
        })
    });
    let exporter = scene.start("namespace_labels: {team: team}");
    let watches = scene.await_asked(NAMESPACES, true, 4);
    for (pair, least) in watches.windows(2).zip([1, 2, 4]) {
        let pause = pair[1].at - pair[0].at;
        assert!(pause >= Duration::from_secs(least), "{pause:?}, at least {least} s");
    }
    assert_eq!((scene.asked(NAMESPACES, false).len(), scene.asked(ALL, false).len()), (1, 1));
    assert_eq!(up(&exporter.metrics()), 1.0);
}

#[test]
fn what_cannot_be_listed_of_a_namespace_that_joined_leads_to_a_poll() {
    let scene = Scene::new(&[("ns", json!({"env": "prod"}))]);
    let exporter = scene.start("namespace_selector: env=prod");
    scene.await_asked(NAMESPACES, true, 1);
    scene.instead(|request| {
        (request.path() == "/api/v1/namespaces/other/secrets").then(|| Answer::status_object(500, "InternalError"))
    });
    scene.script.lock().unwrap().namespaces.push(("other", json!({"env": "prod"})));
    scene.send("ADDED", &namespace("other", &json!({"env": "prod"}), 11));
    exporter.wait_for_metrics("the failure", |metrics| up(metrics) == 0.0);
    let both = places(&[("ns", "s"), ("other", "s")]);
    exporter.wait_for_metrics("both", |metrics| up(metrics) == 1.0 && shown(metrics) == both);
    assert_eq!((scene.asked(ALL, false).len(), scene.asked("/api/v1/namespaces/other/secrets", false).len()), (2, 1));
}

#[test]
fn a_watch_that_is_too_old_costs_the_list_of_its_own_namespace() {
    let scene = Scene::new(&[]);
    let exporter = scene.start("namespaces: [ns, other]");
    let [ns, other] = ["ns", "other"].map(|name| format!("/api/v1/namespaces/{name}/secrets"));
    scene.await_asked(&ns, true, 1);
    scene.await_asked(&other, true, 1);
    let line = json!({"type": "ERROR", "object": Scene::gone()}).to_string() + "\n";
    let watches = std::mem::take(&mut scene.script.lock().unwrap().of_secrets);
    watches.iter().find(|(path, _)| *path == ns).unwrap().1.send(line.into_bytes()).unwrap();
    let lists = scene.await_asked(&ns, false, 2);
    assert_eq!(lists[1].query("limit").as_deref(), Some("500"));
    scene.await_asked(&ns, true, 2);
    assert_eq!((scene.asked(&other, false).len(), scene.asked(&other, true).len()), (1, 1));
    let metrics = exporter.metrics();
    assert_eq!((up(&metrics), shown(&metrics)), (1.0, places(&[("ns", "s"), ("other", "s")])));
}
