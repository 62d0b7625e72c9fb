//! Single namespaces of a cluster: with a Role alone, one that is forbidden, one that goes and comes back.

use crate::support::api_client::{ApiClient, Secret, Subject};
use crate::support::control_plane::ControlPlane;
use crate::support::exporter::{Exporter, Setup};
use crate::support::exposition::{find, value};
use crate::support::fake_api_server::{Answer, FakeApiServer};
use crate::support::kubeconfig::Kubeconfig;
use crate::support::{token, unique_name, wait_for};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

const EXPIRATION: &str = "jwt_exporter_token_expiration_timestamp_seconds";
const LABEL: &str = "namespaced";

/// An account that may do nothing yet, and namespaces with one labelled Secret each.
struct Scene<'a> {
    plane: &'a ControlPlane,
    home: String,
    namespaces: Vec<String>,
}

impl<'a> Scene<'a> {
    fn new(plane: &'a ControlPlane, namespaces: usize) -> Self {
        let admin = plane.admin();
        let home = admin.create_unique_namespace("home");
        admin.create_service_account(&home, "exporter");
        let namespaces: Vec<String> = (0..namespaces).map(|_| admin.create_unique_namespace("tenant")).collect();
        let scene = Self { plane, home, namespaces };
        scene.namespaces.iter().for_each(|namespace| scene.put(namespace, "one", 1));
        scene
    }

    fn admin(&self) -> &ApiClient {
        self.plane.admin()
    }

    fn put(&self, namespace: &str, name: &str, expires: i64) {
        let secret = Secret::new(namespace, name).label(LABEL, "yes");
        self.admin().put_secret(&secret.data("token", token::hs256(&json!({"exp": expires}))));
    }

    fn grant(&self, namespace: &str, verbs: &[&str]) -> String {
        let account = Subject::ServiceAccount { namespace: &self.home, name: "exporter" };
        self.admin().grant_in(namespace, account, verbs, "secrets")
    }

    fn kubeconfig(&self) -> Kubeconfig {
        let bearer = self.admin().request_token(&self.home, "exporter", &[], 3600);
        self.plane.kubeconfig().token(&bearer)
    }

    fn start(&self, config: &str) -> Exporter {
        let config = format!("label_selectors: [{LABEL}]\nnamespaces: {:?}\n{config}", self.namespaces);
        let mut exporter = Setup::new(config).kubeconfig(&self.kubeconfig()).start();
        exporter.wait_until_ready();
        exporter
    }
}

/// When the Secrets of a namespace expire, in the order of their names.
fn shown(metrics: &str, namespace: &str) -> Vec<f64> {
    find(metrics, EXPIRATION, &[("secret_namespace", namespace)]).iter().map(|sample| sample.value).collect()
}

fn scope_up(metrics: &str, namespace: &str) -> f64 {
    value(metrics, "jwt_exporter_scope_up", &[("source", "kubernetes"), ("scope", namespace)])
}

fn source_up(metrics: &str) -> f64 {
    value(metrics, "jwt_exporter_source_up", &[("source", "kubernetes")])
}

fn requests(metrics: &str, labels: &[(&str, &str)]) -> f64 {
    find(metrics, "jwt_exporter_kube_requests_total", labels).iter().map(|sample| sample.value).sum()
}

#[test]
fn a_role_in_each_namespace_is_enough() {
    let plane = require_control_plane!();
    let mut scene = Scene::new(plane, 3);
    scene.namespaces.iter().for_each(|namespace| drop(scene.grant(namespace, &["list", "watch"])));
    // It may be read, and is not asked for.
    let outside = scene.namespaces.pop().unwrap();
    let exporter = scene.start("");
    let metrics = exporter.metrics();
    for namespace in &scene.namespaces {
        assert_eq!((shown(&metrics, namespace), scope_up(&metrics, namespace)), (vec![1.0], 1.0));
    }
    assert_eq!((shown(&metrics, &outside), source_up(&metrics)), (vec![], 1.0));
    assert_eq!(find(&metrics, "jwt_exporter_scope_up", &[]).len(), 2);

    scene.put(&scene.namespaces[1], "one", 2);
    scene.put(&scene.namespaces[0], "two", 3);
    exporter.wait_for_metrics("changes in both namespaces", |metrics| {
        shown(metrics, &scene.namespaces[0]) == [1.0, 3.0] && shown(metrics, &scene.namespaces[1]) == [2.0]
    });
    let metrics = exporter.metrics();
    assert_eq!((requests(&metrics, &[("verb", "list")]), requests(&metrics, &[("verb", "watch")])), (2.0, 2.0));
    assert_eq!(requests(&metrics, &[("resource", "namespaces")]), 0.0);
    assert!(exporter.log_lines("[ERROR]").is_empty(), "{}", exporter.log());
}

#[test]
fn a_forbidden_namespace_is_tried_again_by_itself_and_the_others_go_on() {
    let plane = require_control_plane!();
    let scene = Scene::new(plane, 2);
    let [good, forbidden] = &scene.namespaces[..] else { unreachable!() };
    scene.grant(good, &["list", "watch"]);
    let exporter = scene.start("");
    let metrics = exporter.metrics();
    assert_eq!((scope_up(&metrics, good), scope_up(&metrics, forbidden), source_up(&metrics)), (1.0, 0.0, 0.0));
    assert_eq!((shown(&metrics, good), shown(&metrics, forbidden)), (vec![1.0], vec![]));

    scene.put(good, "one", 2);
    exporter.wait_for_metrics("a change in the other one", |metrics| shown(metrics, good) == [2.0]);
    exporter.wait_for_metrics("more tries", |metrics| requests(metrics, &[("verb", "list"), ("code", "403")]) >= 3.0);
    let lines = exporter.log_lines("[ERROR]");
    assert_eq!(lines.len(), 1, "told once:\n{}", exporter.log());
    for words in [forbidden.as_str(), "a Role in namespace", "verbs: [\"list\"]", "it is tried again"] {
        assert!(lines[0].contains(words), "{words}: {}", lines[0]);
    }
    let errors = value(&exporter.metrics(), "jwt_exporter_source_errors_total", &[("reason", "forbidden")]);
    assert!(errors >= 3.0, "{errors}");

    scene.grant(forbidden, &["list", "watch"]);
    exporter.wait_for_metrics("it may be read now", |metrics| shown(metrics, forbidden) == [1.0]);
    scene.put(forbidden, "one", 3);
    let metrics = exporter.wait_for_metrics("a change in it", |metrics| shown(metrics, forbidden) == [3.0]);
    assert_eq!((scope_up(&metrics, good), scope_up(&metrics, forbidden), source_up(&metrics)), (1.0, 1.0, 1.0));
    // The one that was well all the time was listed once.
    assert_eq!(requests(&metrics, &[("verb", "list"), ("code", "200")]), 2.0);
    assert_eq!(exporter.log_lines("can be read again").len(), 1, "{}", exporter.log());
}

#[test]
fn a_namespace_that_is_lost_keeps_what_it_showed_and_one_that_comes_back_is_read_anew() {
    let plane = require_control_plane!();
    let scene = Scene::new(plane, 2);
    let [lost, gone] = &scene.namespaces[..] else { unreachable!() };
    let grant = scene.grant(lost, &["list"]);
    scene.grant(gone, &["list"]);
    let exporter = scene.start("polling_interval: 1s\nwatch: false\n");
    assert_eq!(source_up(&exporter.metrics()), 1.0);

    let binding = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{lost}/rolebindings/{grant}");
    scene.admin().delete(&binding);
    let metrics = exporter.wait_for_metrics("one is lost", |metrics| scope_up(metrics, lost) == 0.0);
    assert_eq!((shown(&metrics, lost), scope_up(&metrics, gone), source_up(&metrics)), (vec![1.0], 1.0, 0.0));
    assert_eq!(exporter.get("/readyz").status, 200);
    scene.put(gone, "one", 2);
    exporter.wait_for_metrics("the other one goes on", |metrics| shown(metrics, gone) == [2.0]);

    // With the namespace goes the Role in it.
    scene.admin().delete_namespace(gone);
    exporter.wait_for_metrics("none works", |metrics| scope_up(metrics, gone) == 0.0);
    let metrics = exporter.metrics();
    assert_eq!((shown(&metrics, lost), source_up(&metrics)), (vec![1.0], 0.0));
    scene.admin().create_namespace(gone, &[]);
    scene.put(gone, "other", 4);
    scene.grant(gone, &["list"]);
    exporter.wait_for_metrics("it has come back", |metrics| {
        scope_up(metrics, gone) == 1.0 && shown(metrics, gone) == [4.0] && scope_up(metrics, lost) == 0.0
    });
    scene.grant(lost, &["list"]);
    exporter.wait_for_metrics("all work", |metrics| source_up(metrics) == 1.0 && shown(metrics, lost) == [1.0]);
}

#[test]
fn a_namespace_that_goes_while_it_is_watched_is_down_before_the_next_poll() {
    let plane = require_control_plane!();
    let scene = Scene::new(plane, 2);
    scene.namespaces.iter().for_each(|namespace| drop(scene.grant(namespace, &["list", "watch"])));
    let [stays, goes] = &scene.namespaces[..] else { unreachable!() };
    let exporter = scene.start("");
    exporter.wait_for_metrics("watches", |metrics| requests(metrics, &[("verb", "watch"), ("code", "200")]) == 2.0);
    scene.admin().delete_namespace(goes);
    let metrics = exporter.wait_for_metrics("it is gone", |metrics| scope_up(metrics, goes) == 0.0);
    assert_eq!((scope_up(&metrics, stays), shown(&metrics, stays), shown(&metrics, goes)), (1.0, vec![1.0], vec![]));
    // Each once at the start, and then the one that was emptied.
    assert_eq!(requests(&metrics, &[("verb", "list"), ("code", "200")]), 2.0);
}

#[test]
fn failing_namespaces_are_asked_at_most_once_a_second_in_all() {
    let server = FakeApiServer::start(|request| match request.path() {
        "/api/v1/namespaces/good/secrets" => {
            Answer::json(200, &json!({"kind": "SecretList", "metadata": {"resourceVersion": "7"}, "items": []}))
        }
        _ => Answer::status_object(403, "Forbidden"),
    });
    let config = "namespaces: [bad-1, good, bad-2, bad-3]\nwatch: false\n";
    let mut exporter = Setup::new(config).kubeconfig(&Kubeconfig::new(server.url()).token("bearer")).start();
    exporter.wait_until_ready();
    let requests = server.wait_for_requests(4 + 3 + 3, Duration::from_secs(60));
    let bad: Vec<_> = requests.iter().filter(|request| request.path().contains("/bad-")).collect();
    for (first, again) in bad.iter().zip(&bad[3..]) {
        assert!(again.at - first.at >= Duration::from_secs(3), "{} {:?}", again.target, again.at - first.at);
    }
    assert_eq!(requests.len() - bad.len(), 1, "the good one is not listed along with them");
}

#[test]
fn beyond_thirty_two_watches_it_is_polled_and_said_once() {
    let namespaces: Vec<String> = (0..20).map(|_| unique_name("crowd")).collect();
    let last = namespaces[19].clone();
    let rotations = Arc::new(AtomicI64::new(1));
    let rotated = Arc::clone(&rotations);
    let server = FakeApiServer::start(move |request| {
        if request.query("watch").is_some() {
            return Answer::drip(b"\n", Duration::from_secs(5));
        }
        let version = rotated.load(Ordering::SeqCst);
        let metadata = json!({"namespace": last, "name": "s", "resourceVersion": version.to_string()});
        let jwt = token::hs256(&json!({"exp": version}));
        let secret = json!({"metadata": metadata, "data": {"token": STANDARD.encode(jwt)}});
        let items = if request.path().contains(&format!("/{last}/")) { vec![secret] } else { Vec::new() };
        Answer::json(200, &json!({"kind": "SecretList", "metadata": {"resourceVersion": "7"}, "items": items}))
    });
    let config = format!("namespaces: {namespaces:?}\nlabel_selectors: [a, b]\npolling_interval: 5s\n");
    let mut exporter = Setup::new(config).kubeconfig(&Kubeconfig::new(server.url()).token("bearer")).start();
    exporter.wait_until_ready();
    let (watches, lists): (Vec<_>, Vec<_>) = wait_for("the watches", Duration::from_secs(60), || {
        let (watches, lists) = server.requests().into_iter().partition(|request| request.query("watch").is_some());
        let count = Vec::len(&watches);
        if count == 32 { Ok((watches, lists)) } else { Err(format!("{count} watches")) }
    });
    // What nothing brings up to date is read through to etcd.
    assert_eq!(lists[..40].iter().filter(|request| request.query("limit").is_some()).count(), 8);
    assert_eq!(exporter.log_lines("make 40 watches; the first 32 are opened").len(), 1, "{}", exporter.log());
    rotations.store(2, Ordering::SeqCst);
    exporter.wait_for_metrics("a change that no watch tells", |metrics| shown(metrics, &namespaces[19]) == [2.0]);
    assert_eq!(watches.iter().filter(|watch| watch.path().contains(&namespaces[19])).count(), 0);
}

#[test]
fn excluded_namespaces_and_other_types_are_never_seen_in_lists_and_watches() {
    let plane = require_control_plane!();
    let admin = plane.admin();
    let (label, prefix) = (unique_name("label"), unique_name("x"));
    let [kept, exact, globbed] = ["kept", "exact", "glob"].map(|end| format!("{prefix}-{end}"));
    let put = |namespace: &str, name: &str, kind: &str, expires: i64| {
        let secret = Secret::new(namespace, name).kind(kind).label(&label, "yes");
        admin.put_secret(&secret.data("token", token::hs256(&json!({"exp": expires}))));
    };
    for namespace in [&kept, &exact, &globbed] {
        admin.create_namespace(namespace, &[]);
        put(namespace, "before", "Opaque", 1);
        put(namespace, "before-of-another-type", "example.com/other", 1);
    }
    let config = format!(
        "label_selectors: [{label}]\nexclude_namespaces: [{exact}, \"{prefix}-gl?b*\"]\nfield_selector: type=Opaque\n"
    );
    let mut exporter = Setup::new(config).kubeconfig(&plane.admin_kubeconfig()).start();
    exporter.wait_until_ready();
    exporter.wait_for_metrics("the one token", |metrics| find(metrics, EXPIRATION, &[]).len() == 1);
    exporter.wait_for_metrics("a watch", |metrics| requests(metrics, &[("verb", "watch"), ("code", "200")]) == 1.0);
    put(&exact, "after", "Opaque", 2);
    put(&globbed, "after", "Opaque", 2);
    put(&kept, "after-of-another-type", "example.com/other", 2);
    // Written last, so that the others came before it.
    put(&kept, "after", "Opaque", 2);
    let metrics = exporter.wait_for_metrics("what is not excluded", |metrics| shown(metrics, &kept) == [2.0, 1.0]);
    assert_eq!(find(&metrics, EXPIRATION, &[]).len(), 2, "{metrics}");
    assert_eq!(source_up(&metrics), 1.0);
}

#[test]
fn the_server_is_asked_for_nothing_that_it_can_leave_out() {
    let server = FakeApiServer::start(|request| match request.query("watch") {
        Some(_) => Answer::silence(),
        None => Answer::json(200, &json!({"kind": "SecretList", "metadata": {"resourceVersion": "7"}, "items": []})),
    });
    let config = "exclude_namespaces: [default, kube-*, ci]\nfield_selector: type!=helm.sh/release.v1\n";
    let mut exporter = Setup::new(config).kubeconfig(&Kubeconfig::new(server.url()).token("bearer")).start();
    exporter.wait_until_ready();
    let requests = server.wait_for_requests(2, Duration::from_secs(60));
    for request in &requests[..2] {
        assert_eq!(request.path(), "/api/v1/secrets");
        assert_eq!(
            request.query("fieldSelector").as_deref(),
            Some("type!=helm.sh/release.v1,metadata.namespace!=default,metadata.namespace!=ci")
        );
    }
    assert!(requests[1].query("watch").is_some());
}
