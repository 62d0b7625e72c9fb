//! The cluster install that we ship, against a real API server.

use crate::support::api_client::{ApiClient, Secret, Subject};
use crate::support::certificates::CertificateAuthority;
use crate::support::control_plane::Settings;
use crate::support::exporter::Setup;
use crate::support::exposition::{find, value};
use crate::support::fake_api_server::{Answer, FakeApiServer, Request};
use crate::support::kubeconfig::Kubeconfig;
use crate::support::manifests::{collection, objects, text};
use crate::support::{process, token, wait_for};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

const NAME: &str = "jwt-exporter";

/// The objects of the install, by their kind.
fn base() -> Vec<(String, Value)> {
    let objects = objects("manifests/base").into_iter();
    objects
        .map(|object| (object["kind"].as_str().unwrap().to_owned(), object))
        .filter(|(kind, _)| kind != "Kustomization")
        .collect()
}

fn of_kind(kind: &str) -> Value {
    base().into_iter().find(|(found, _)| found == kind).unwrap_or_else(|| panic!("no {kind}")).1
}

/// Creates what may be there already.
fn ensure(admin: &ApiClient, object: &Value) {
    let (status, answer) = admin.request("POST", &collection(object), Some(object));
    assert!(matches!(status, 201 | 409), "{}: {status} {answer}", object["kind"]);
}

/// What an overlay in this folder makes of the base: its kustomization in the few words that ours use. Other folders in it, and a
/// README.md, are no part of it.
fn overlay(folder: &str) -> Vec<Value> {
    let read = |file: &str| -> Value { serde_yaml::from_str(&text(&format!("{folder}/{file}"))).unwrap() };
    let kustomization = read("kustomization.yaml");
    let known = ["apiVersion", "images", "kind", "patches", "resources"];
    assert!(kustomization.as_object().unwrap().keys().all(|key| known.contains(&key.as_str())), "{kustomization}");
    let names = |key: &str| kustomization[key].as_array().unwrap().clone().into_iter();
    let mut objects: Vec<Value> = base().into_iter().map(|(_, object)| object).collect();
    let mut used = BTreeSet::from(["kustomization.yaml".to_owned()]);
    for name in names("resources").filter(|name| name != "../../base") {
        used.insert(name.as_str().unwrap().to_owned());
        objects.push(read(name.as_str().unwrap()));
    }
    for patch in names("patches") {
        let file = patch["path"].as_str().unwrap();
        used.insert(file.to_owned());
        let patch = read(file);
        let same = |object: &Value| {
            object["kind"] == patch["kind"]
                && ["name", "namespace"].iter().all(|key| object["metadata"][key] == patch["metadata"][key])
        };
        let at = objects.iter().position(same).unwrap_or_else(|| panic!("{file} patches nothing"));
        if patch["$patch"] == "delete" {
            objects.remove(at);
        } else {
            merge(&mut objects[at], &patch);
        }
    }
    let there: BTreeSet<String> = std::fs::read_dir(crate::support::manifests::in_checkout(folder))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file() && entry.file_name() != "README.md")
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    assert_eq!(used, there, "files that nothing names");
    objects
}

/// A strategic merge patch, as far as ours go: lists are put together by the name, or the path, of their items, where
/// they have names.
fn merge(object: &mut Value, patch: &Value) {
    match (object, patch) {
        (Value::Object(members), Value::Object(changes)) => {
            for (name, change) in changes {
                merge(members.entry(name).or_insert(Value::Null), change);
            }
        }
        (Value::Array(items), Value::Array(changes)) if changes.iter().all(|change| change["name"].is_string()) => {
            for change in changes {
                let key = if change["mountPath"].is_string() { "mountPath" } else { "name" };
                match items.iter_mut().find(|item| item[key] == change[key]) {
                    Some(item) => merge(item, change),
                    None => items.push(change.clone()),
                }
            }
        }
        (object, patch) => *object = patch.clone(),
    }
}

/// An overlay in a cluster: the rights that it grants are used, all of them and no others, and suffice.
fn try_overlay(name: &str, secret: &Secret, used: &[&str]) {
    try_overlay_after(name, secret, used, |_| ());
}

fn try_overlay_after(name: &str, secret: &Secret, used: &[&str], prepare: impl Fn(&ApiClient)) {
    // Of its own: the others grant the same account more.
    let plane = require_own_control_plane!(Settings::default());
    let admin = plane.admin();
    let objects = overlay(&format!("manifests/overlays/{name}"));
    ensure(admin, &of_kind("Namespace"));
    for object in objects.iter().filter(|object| object["kind"] != "Namespace" && object["kind"] != "Deployment") {
        let (status, answer) =
            admin.request("POST", &format!("{}?fieldValidation=Strict", collection(object)), Some(object));
        assert_eq!(status, 201, "{answer}");
    }
    prepare(admin);
    admin.put_secret(secret);
    let bearer = admin.request_token(NAME, NAME, &[], 3600);
    let config = objects.iter().find(|object| object["kind"] == "ConfigMap").unwrap()["data"]["config.yaml"].clone();
    let mut exporter = Setup::new(config.as_str().unwrap()).kubeconfig(&plane.kubeconfig().token(&bearer)).start();
    exporter.wait_until_ready();
    let metrics = exporter.wait_for_metrics("a watch", |metrics| {
        let opened =
            !find(metrics, "jwt_exporter_kube_requests_total", &[("verb", "watch"), ("code", "200")]).is_empty();
        opened && !find(metrics, "jwt_exporter_token_info", &[("secret_namespace", "default")]).is_empty()
    });
    assert_eq!(value(&metrics, "jwt_exporter_source_up", &[("source", "kubernetes")]), 1.0);
    let found = exporter.wait_for_metrics("all that it asks for", |metrics| requests(metrics).len() >= used.len());
    let requests = requests(&found);
    let roles: Vec<_> = objects.iter().filter(|object| object["kind"].as_str().unwrap().ends_with("Role")).collect();
    let [role] = roles[..] else { panic!("{} roles", roles.len()) };
    let mut granted = BTreeSet::new();
    for rule in role["rules"].as_array().unwrap() {
        let resource = rule["resources"][0].as_str().unwrap();
        assert_eq!(rule["resources"].as_array().unwrap().len(), 1);
        granted.extend(
            rule["verbs"].as_array().unwrap().iter().map(|verb| format!("{} {resource}", verb.as_str().unwrap())),
        );
    }
    assert_eq!(granted, requests);
    assert_eq!(requests.iter().map(String::as_str).collect::<Vec<_>>(), used);
    let account = Subject::ServiceAccount { namespace: NAME, name: NAME };
    let cluster = if role["kind"] == "Role" { ["list", "get"] } else { ["patch", "get"] };
    for (namespace, verb) in [("", cluster[0]), ("", cluster[1]), (NAME, cluster[0]), ("default", "patch")] {
        admin.await_access(account, namespace, verb, "secrets", false);
    }
}

/// Verbs and resources that were asked for.
fn requests(metrics: &str) -> BTreeSet<String> {
    let samples = find(metrics, "jwt_exporter_kube_requests_total", &[]);
    samples.iter().map(|sample| format!("{} {}", sample.label("verb"), sample.label("resource"))).collect()
}

#[test]
fn the_overlay_for_selected_namespaces_needs_to_list_them() {
    let jwt = token::hs256(&json!({"exp": 4_000_000_000_i64}));
    let secret = Secret::new("default", "one").label("monitor.jwt.io/monitoring", "true").data("token", jwt);
    let used = ["list namespaces", "list secrets", "watch namespaces", "watch secrets"];
    let label = |admin: &ApiClient| {
        let patch = json!({"metadata": {"labels": {"monitor.jwt.io/monitoring": "true"}}});
        assert_eq!(admin.request("PATCH", "/api/v1/namespaces/default", Some(&patch)).0, 200);
    };
    try_overlay_after("selected-namespaces", &secret, &used, label);
}

/// The pods differ from the Deployment's in nothing.
#[test]
fn the_overlay_with_shards_is_taken_by_the_api_server() {
    let plane = require_control_plane!();
    let admin = plane.admin();
    ensure(admin, &of_kind("Namespace"));
    let objects = overlay("manifests/overlays/sharded");
    assert!(!objects.iter().any(|object| object["kind"] == "Deployment"));
    let set = objects.iter().find(|object| object["kind"] == "StatefulSet").unwrap();
    assert_eq!(set["spec"]["template"], of_kind("Deployment")["spec"]["template"]);
    let target = format!("{}?dryRun=All&fieldValidation=Strict", collection(set));
    let (status, answer) = admin.request("POST", &target, Some(set));
    assert_eq!(status, 201, "{answer}");
    let config = objects.iter().find(|object| object["kind"] == "ConfigMap").unwrap()["data"]["config.yaml"].clone();
    assert!(config.as_str().unwrap().contains(&format!("shard: ordinal/{}", set["spec"]["replicas"])), "{config}");
}

#[test]
fn the_overlay_for_single_namespaces_needs_a_role_alone() {
    let jwt = token::hs256(&json!({"exp": 4_000_000_000_i64}));
    let secret = Secret::new("default", "one").label("monitor.jwt.io/monitoring", "true").data("token", jwt);
    try_overlay("namespaced", &secret, &["list secrets", "watch secrets"]);
}

#[test]
fn the_overlay_for_single_secrets_lists_nothing() {
    let jwt = token::hs256(&json!({"exp": 4_000_000_000_i64}));
    try_overlay(
        "named",
        &Secret::new("default", "partner-token").data("token", jwt),
        &["get secrets", "watch secrets"],
    );
}

/// An install that renews, in a cluster: creates what it is made of and runs it with the rights that it grants, and an endpoint
/// in the place of the one in its configuration.
fn try_renewals(folder: &str, secrets: &[Secret], token_at: (&str, &str, &str), answer: fn(&Request) -> Value) {
    let plane = require_own_control_plane!(Settings::default());
    let admin = plane.admin();
    let objects = overlay(folder);
    ensure(admin, &of_kind("Namespace"));
    let (namespace, name, key) = token_at;
    ensure(admin, &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}));
    for object in objects.iter().filter(|object| object["kind"] != "Namespace") {
        let target = format!("{}?fieldValidation=Strict", collection(object));
        let (status, answer) = admin.request("POST", &target, Some(object));
        assert_eq!(status, 201, "{answer}");
    }
    for secret in secrets {
        admin.put_secret(secret);
    }
    let authority = CertificateAuthority::new("authority of the endpoint");
    let endpoint =
        FakeApiServer::start_tls(&authority.server(&["127.0.0.1"]), move |request| Answer::json(200, &answer(request)));
    let folder = process::folder("install");
    std::fs::write(folder.path().join("ca.crt"), authority.pem()).unwrap();

    let config = objects.iter().find(|object| object["kind"] == "ConfigMap").unwrap()["data"]["config.yaml"].clone();
    let mut config: Value = serde_yaml::from_str(config.as_str().unwrap()).unwrap();
    let request = &mut config["renewals"][0]["request"];
    let url = request["url"].as_str().unwrap().to_owned();
    request["url"] = format!("{}/{}", endpoint.url(), url.splitn(4, '/').last().unwrap()).into();
    if let Some(ca_file) = request["ca_file"].as_str() {
        let deployment = objects.iter().find(|object| object["kind"] == "Deployment").unwrap();
        let mounts = deployment["spec"]["template"]["spec"]["containers"][0]["volumeMounts"].as_array().unwrap();
        assert!(mounts.iter().any(|mount| ca_file.starts_with(mount["mountPath"].as_str().unwrap())), "{ca_file}");
        assert_eq!(mounts.len(), 2);
    }
    request["ca_file"] = folder.path().join("ca.crt").to_str().into();
    // An old etcd lets nobody watch a Secret that is not there yet.
    config["polling_interval"] = "1s".into();
    let bearer = admin.request_token(NAME, NAME, &[], 3600);
    let setup = || Setup::new(serde_yaml::to_string(&config).unwrap()).kubeconfig(&plane.kubeconfig().token(&bearer));

    // The rights that are there are those that a dry run wants.
    let account = Subject::ServiceAccount { namespace: NAME, name: NAME };
    let dry = wait_for("the rights in force", Duration::from_secs(30), || {
        let dry = setup().argument("renew").argument("-dry-run").run_arguments_first();
        if dry.stdout.contains("missing right") { Err(dry.stdout) } else { Ok(dry) }
    });
    assert!(dry.stdout.contains("it would be renewed now") && dry.status.success(), "{dry:?}");
    assert!(endpoint.requests().is_empty(), "a dry run asks nobody");

    let mut exporter = setup().start();
    exporter.wait_until_ready();
    exporter.wait_for_metrics("the new token", |metrics| {
        !find(metrics, "jwt_exporter_token_info", &[("secret_name", name)]).is_empty()
            && value(metrics, "jwt_exporter_renewals_total", &[("result", "success")]) == 1.0
    });
    assert_eq!(endpoint.requests().len(), 1);
    let renewed = admin.get(&format!("/api/v1/namespaces/{namespace}/secrets/{name}"));
    assert!(renewed["data"][key].is_string());
    for (namespace, verb) in
        [("", "patch"), (NAME, "get"), (namespace, "patch"), (namespace, "delete"), (namespace, "update")]
    {
        admin.await_access(account, namespace, verb, "secrets", false);
    }
}

fn token_of_an_hour() -> String {
    token::hs256(&json!({"iat": token::now(), "exp": token::now() + 3600}))
}

#[test]
fn the_overlay_with_a_renewal_has_the_rights_for_it() {
    let credentials =
        Secret::new("default", "partner-credentials").data("client_id", "us").data("client_secret", "a&b=c\n");
    let partner =
        Secret::new("default", "partner-token").label("monitor.jwt.io/monitoring", "true").data("token", "none");
    let place = ("default", "partner-token", "token");
    try_renewals("manifests/overlays/renewals", &[credentials, partner], place, |request| {
        assert_eq!((request.method.as_str(), request.path()), ("POST", "/oauth/token"));
        let body = String::from_utf8(request.body.clone()).unwrap();
        assert_eq!(body, "grant_type=client_credentials&client_id=us&client_secret=a%26b%3Dc");
        json!({"access_token": token_of_an_hour(), "token_type": "Bearer"})
    });
}

#[test]
fn the_example_for_cloud_pak_for_data_does_what_its_readme_says() {
    let credentials = Secret::new("datagate", "cpd-admin").data("username", "admin").data("password", "pass\"word");
    let place = ("datagate", "prometheus-bearer-token", "token");
    // The Secret with the token is not there: it is made.
    try_renewals("manifests/examples/cloud-pak-for-data", &[credentials], place, |request| {
        assert_eq!((request.method.as_str(), request.path()), ("POST", "/icp4d-api/v1/authorize"));
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(body, json!({"username": "admin", "password": "pass\"word"}));
        json!({"_messageCode_": "success", "message": "success", "token": token_of_an_hour()})
    });
}

#[test]
fn the_kustomization_names_every_file() {
    let kustomization: Value = serde_yaml::from_str(&text("manifests/base/kustomization.yaml")).unwrap();
    let named: BTreeSet<String> =
        kustomization["resources"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect();
    let folder = crate::support::manifests::in_checkout("manifests/base");
    let there: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "kustomization.yaml")
        .collect();
    assert_eq!(named, there);
    let image = &of_kind("Deployment")["spec"]["template"]["spec"]["containers"][0]["image"];
    assert_eq!(&kustomization["images"][0]["name"], image);
}

#[test]
fn the_api_server_takes_every_object() {
    let plane = require_control_plane!();
    let admin = plane.admin();
    ensure(admin, &of_kind("Namespace"));
    for (kind, object) in base() {
        if kind == "Namespace" {
            continue;
        }
        let target = format!("{}?dryRun=All&fieldValidation=Strict", collection(&object));
        let (status, answer) = admin.request("POST", &target, Some(&object));
        // Another test may have created some of them; they were checked before that was found out.
        assert!(matches!(status, 201 | 409), "{kind}: {status} {answer}");
        let mut mistyped = object.clone();
        mistyped["specs"] = json!({});
        let (status, answer) = admin.request("POST", &target, Some(&mistyped));
        assert_eq!(status, 400, "{kind}: {answer}");
    }
}

/// The namespace enforces the Pod Security Standard `restricted`, for Pods alone: so one is tried as the Deployment makes it.
#[test]
fn its_pods_hold_to_the_strictest_security_standard() {
    let plane = require_control_plane!();
    let admin = plane.admin();
    ensure(admin, &of_kind("Namespace"));
    let mut pod = of_kind("Deployment")["spec"]["template"].clone();
    pod["metadata"]["name"] = NAME.into();
    let target = format!("/api/v1/namespaces/{NAME}/pods?dryRun=All&fieldValidation=Strict");
    let (status, answer) = admin.request("POST", &target, Some(&pod));
    assert_eq!(status, 201, "{answer}");
    pod["spec"]["containers"][0]["securityContext"]["capabilities"] = json!({});
    let (status, answer) = admin.request("POST", &target, Some(&pod));
    assert_eq!(status, 403, "a Pod that is less strict: {answer}");
}

#[test]
fn its_rights_suffice_and_nothing_more_is_granted_than_is_used() {
    let plane = require_control_plane!();
    let admin = plane.admin();
    for kind in ["Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding"] {
        ensure(admin, &of_kind(kind));
    }
    let account = Subject::ServiceAccount { namespace: NAME, name: NAME };
    admin.await_access(account, "", "list", "secrets", true);
    admin.await_access(account, "", "watch", "secrets", true);
    let namespace = admin.create_unique_namespace("install");
    let jwt = token::hs256(&json!({"exp": 4_000_000_000_i64}));
    let secret = Secret::new(&namespace, "one").label("monitor.jwt.io/monitoring", "true");
    admin.put_secret(&secret.data("token", &jwt));

    let folder = process::folder("install");
    let bearer = admin.request_token(NAME, NAME, &[], 3600);
    let kubeconfig = Kubeconfig::new(plane.url()).ca_inline(plane.ca_pem()).token(&bearer).write(folder.path());
    let config = of_kind("ConfigMap")["data"]["config.yaml"].as_str().unwrap().to_owned();
    let mut exporter = Setup::new(format!("kubeconfig_path: {}\n{config}", kubeconfig.display())).start();
    exporter.wait_until_ready();
    // The watch is opened after the first list has been shown.
    let metrics = exporter.wait_for_metrics("a watch", |metrics| {
        !find(metrics, "jwt_exporter_kube_requests_total", &[("verb", "watch"), ("code", "200")]).is_empty()
    });
    assert_eq!(value(&metrics, "jwt_exporter_source_up", &[("source", "kubernetes")]), 1.0);
    let expires = "jwt_exporter_token_expiration_timestamp_seconds";
    assert_eq!(value(&metrics, expires, &[("secret_namespace", &namespace)]), 4e9);

    let used: BTreeSet<(String, String)> = find(&metrics, "jwt_exporter_kube_requests_total", &[])
        .iter()
        .map(|sample| (sample.label("verb").to_owned(), sample.label("resource").to_owned()))
        .collect();
    let list = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let mut granted = BTreeSet::new();
    for rule in of_kind("ClusterRole")["rules"].as_array().unwrap() {
        assert_eq!(list(&rule["apiGroups"]), [""]);
        for verb in list(&rule["verbs"]) {
            granted.extend(list(&rule["resources"]).into_iter().map(|resource| (verb.clone(), resource)));
        }
    }
    assert_eq!(granted, used);
    for (verb, resource) in [("get", "secrets"), ("patch", "secrets"), ("list", "namespaces")] {
        admin.await_access(account, "", verb, resource, false);
    }
}

/// The sidecar needs no rights: it reads what the kubelet writes. That one is not here, and so its token is asked for by us.
#[test]
fn the_sidecar_shows_the_token_of_its_pod() {
    let plane = require_control_plane!();
    let admin = plane.admin();
    ensure(admin, &of_kind("Namespace"));
    let objects = objects("manifests/sidecar");
    for object in &objects {
        let mut object = object.clone();
        object["metadata"]["namespace"] = NAME.into();
        // The namespace takes none but those of the strictest standard.
        let target = format!("{}?dryRun=All&fieldValidation=Strict", collection(&object));
        let (status, answer) = admin.request("POST", &target, Some(&object));
        assert_eq!(status, 201, "{answer}");
    }
    let pod = &objects.iter().find(|object| object["kind"] == "Pod").unwrap()["spec"];
    let mount = pod["containers"][1]["volumeMounts"][0]["mountPath"].as_str().unwrap();
    let projected = &pod["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"];
    let (file, audience) = (projected["path"].as_str().unwrap(), projected["audience"].as_str().unwrap());

    let namespace = admin.create_unique_namespace("sidecar");
    admin.create_service_account(&namespace, "app");
    let config = objects.iter().find(|object| object["kind"] == "ConfigMap").unwrap()["data"]["config.yaml"].clone();
    let folder = process::folder("sidecar");
    let config = config.as_str().unwrap().replace(mount, &folder.path().display().to_string());
    std::fs::create_dir(folder.path().join("..1")).unwrap();
    std::fs::write(folder.path().join("..1").join(file), admin.request_token(&namespace, "app", &[audience], 3600))
        .unwrap();
    std::os::unix::fs::symlink("..1", folder.path().join("..data")).unwrap();
    std::os::unix::fs::symlink(format!("..data/{file}"), folder.path().join(file)).unwrap();
    let mut exporter = Setup::new(config).start();
    exporter.wait_until_ready();
    let metrics = exporter.metrics();
    let shown = find(&metrics, "jwt_exporter_jwt_expiration_timestamp", &[("audience", audience)]);
    let path = folder.path().join(file).display().to_string();
    assert_eq!(shown.len(), 1, "{metrics}");
    assert_eq!((shown[0].label("secret_name"), shown[0].label("secret_key")), (path.as_str(), file));
    assert_eq!(shown[0].label("subject"), format!("system:serviceaccount:{namespace}:app"));
}
