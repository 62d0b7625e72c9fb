//! The configuration: golden cases under `tests/golden/config/`, and what files that are no configuration lead to.
//!
//! `GOLDEN=rewrite cargo test config` writes the expected errors anew; look at the difference before you keep it.

use jwt_exporter::config::{self, Config, ListenHost, MAX_BYTES};
use jwt_exporter::observation::{Showing, TokenSeries};
use jwt_exporter::renewal::{BeforeExpiry, CredentialsPlan, TargetPlan};
use jwt_exporter::source::Links;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/config")
}

fn lookup(name: &str) -> Option<OsString> {
    match name {
        "HOME" => Some("/home/me".into()),
        "CLUSTER" => Some("dev".into()),
        "HOSTNAME" => Some("exporter-2".into()),
        _ => None,
    }
}

fn read(text: &str) -> Result<Config, String> {
    config::parse(text, "config.yaml", &lookup).map_err(|error| error.to_string())
}

fn good(text: &str) -> Config {
    read(text).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

#[test]
fn every_mistake_has_its_one_error() {
    let rewrite = std::env::var("GOLDEN").is_ok_and(|value| value == "rewrite");
    let mut cases: Vec<PathBuf> = fs::read_dir(golden())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    cases.sort();
    assert!(cases.len() >= 40, "the cases are gone: {}", cases.len());
    let mut wrong = Vec::new();
    let mut errors = BTreeSet::new();
    for case in cases {
        let text = fs::read_to_string(&case).unwrap();
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let found = match config::parse(&text, &name, &lookup) {
            Ok(_) => panic!("{name} has no mistake"),
            Err(error) => format!("{error}\n"),
        };
        assert_eq!(found.lines().count(), 1, "{name}: {found}");
        errors.insert(found.split_once(": ").map(|(_, rest)| rest.to_owned()));
        let beside = case.with_extension("err");
        if rewrite {
            fs::write(&beside, &found).unwrap();
        } else if fs::read_to_string(&beside).ok().as_deref() != Some(&found) {
            wrong.push(found);
        }
    }
    assert!(wrong.is_empty(), "not as in the .err files (GOLDEN=rewrite writes them anew):\n{}", wrong.concat());
    assert!(errors.len() >= 40, "too many mistakes look the same");
}

#[test]
fn an_empty_document_is_all_defaults() {
    for text in
        ["", "\n", "# nothing\n", "---\n", "---\n...\n", "{}", "null", "~", "\u{feff}", "address:\nclaims:\n  scope:\n"]
    {
        assert_eq!(good(text), Config::default(), "{text:?}");
    }
}

#[test]
fn the_defaults_are_those_of_the_reference() {
    let config = Config::default();
    assert_eq!(config.address.to_string(), ":8080");
    assert_eq!(config.address.host, ListenHost::Any);
    assert_eq!(config.polling_interval, Duration::from_secs(3600));
    assert_eq!(config.kubeconfig_path, None);
    assert_eq!(config.annotation_key, "jwt-exporter/secret-key");
    let [selector] = config.label_selectors.as_slice() else { panic!("{config:?}") };
    assert_eq!(selector.as_str(), "monitor.jwt.io/monitoring=true");
    assert!(config.kubernetes && config.manifests.is_empty());
    let bounds = config.reading.bounds;
    assert_eq!((bounds.max_tokens_per_secret, bounds.max_series_per_token, config.max_series), (32, 100, 250_000));
}

#[test]
fn the_defaults_written_out_change_nothing() {
    let text = r#"
address: ":8080"
label_selectors: ["monitor.jwt.io/monitoring=true"]
polling_interval: 1h
kubeconfig_path: ""
annotation_key: jwt-exporter/secret-key
kubernetes: true
namespaces: []
exclude_namespaces: []
field_selector: ""
namespace_selector: ""
secrets: []
shard: ""
secret_labels: {}
namespace_labels: {}
claim_labels: {}
drop_labels: []
hash_labels: []
hash_key_file: ""
token_series: detailed
files: []
follow_links_outside: false
manifests: []
claims:
  scope: [/scope, /scp]
  role: [/roles, /role]
  name: [/name]
  email: [/email]
max_tokens_per_secret: 32
max_series_per_token: 100
max_series: 250000
status_page: true
"#;
    assert_eq!(good(text), Config::default());
    // And with the line ends of another system, a mark in front, and two dashes at the end.
    assert_eq!(good(&format!("\u{feff}---{}---\r\n", text.replace('\n', "\r\n"))), Config::default());
}

#[test]
fn every_key_is_heard() {
    let config = good(
        r#"
address: 127.0.0.1:9100
label_selectors: [a=b, " c in (d, e) "]
polling_interval: 1d12h
kubeconfig_path: ~/.kube/${CLUSTER}
annotation_key: Example.com/Keys
kubernetes: yes
namespaces: [billing, kube-system]
exclude_namespaces: [kube-public, "*-dev"]
field_selector: type=Opaque, metadata.name!=x
secrets: [{namespace: a, name: b.c, key: D_1}, {namespace: a, name: e}, {namespace: a, name: b.c, key: f}]
files: [/etc/tokens/**/token, ./~/x]
follow_links_outside: on
manifests: [demo/*.yaml]
claims: {role: [/realm_access/roles], email: []}
max_tokens_per_secret: 1
max_series_per_token: 2
max_series: 3
shard: ordinal/3
secret_labels: {team: app.kubernetes.io/team, _a1: b}
namespace_labels: {Zone: z}
claim_labels: {tenant: /tenant/id, groups: /groups}
drop_labels: [Zone, name, email, groups]
token_series: compact
status_page: no
"#,
    );
    let mut reading = config.reading.clone();
    assert_eq!(reading.show.added, [("tenant".to_owned(), Showing::Plain)]);
    assert_eq!(reading.claims.added, ["/tenant/id".parse().unwrap()]);
    for (name, how) in [("name", Showing::Dropped), ("email", Showing::Dropped), ("subject", Showing::Plain)] {
        assert_eq!(*reading.show.named(name).unwrap(), how, "{name}");
    }
    assert_eq!(config.dropped, ["Zone", "name", "email", "groups"]);
    assert_eq!(reading.token_series, TokenSeries::Compact);
    assert_eq!(config.shard.unwrap().to_string(), "2/3");
    let labels: Vec<_> = config.reading.secret_labels.entries().collect();
    assert_eq!(labels, [("_a1", "b"), ("team", "app.kubernetes.io/team")]);
    assert_eq!(config.reading.namespace_labels.entries().count(), 0);
    let selector = good("namespace_selector: ' env in (a) '").namespace_selector.unwrap();
    assert_eq!(selector.as_str(), "env in (a)");
    assert_eq!(config.address.to_string(), "127.0.0.1:9100");
    let selectors: Vec<_> = config.label_selectors.iter().map(|selector| selector.as_str()).collect();
    assert_eq!(selectors, ["a=b", "c in (d, e)"]);
    assert_eq!(config.polling_interval, Duration::from_secs(36 * 3600));
    assert_eq!(config.kubeconfig_path.as_deref(), Some(Path::new("/home/me/.kube/dev")));
    assert_eq!(config.annotation_key, "Example.com/Keys");
    assert_eq!(config.namespaces, ["billing", "kube-system"]);
    let excluded: Vec<_> = config.exclude_namespaces.iter().map(|pattern| pattern.as_str()).collect();
    assert_eq!(excluded, ["kube-public", "*-dev"]);
    assert_eq!(config.field_selector.as_str(), "type=Opaque,metadata.name!=x");
    let named: Vec<_> =
        config.secrets.iter().map(|secret| (&*secret.namespace, &*secret.name, secret.keys.join("+"))).collect();
    assert_eq!(named, [("a", "b.c", "D_1+f".to_owned()), ("a", "e", String::new())]);
    assert!(!config.only_named);
    let manifests: Vec<_> = config.manifests.iter().map(|glob| glob.as_str()).collect();
    assert_eq!(manifests, ["demo/*.yaml"]);
    let files: Vec<_> = config.files.iter().map(|glob| glob.as_str()).collect();
    assert_eq!((files, config.links), (vec!["/etc/tokens/**/token", "./~/x"], Links::Anywhere));
    assert_eq!(config.reading.claims.role, ["/realm_access/roles".parse().unwrap()]);
    assert_eq!(config.reading.claims.scope, Config::default().reading.claims.scope);
    assert!(config.reading.claims.email.is_empty());
    let bounds = config.reading.bounds;
    assert_eq!((bounds.max_tokens_per_secret, bounds.max_series_per_token, config.max_series), (1, 2, 3));
    assert!(!config.status_page);
}

#[test]
fn every_key_of_a_renewal_is_heard() {
    let text = r#"
renewals:
  - secret: {namespace: datagate, name: bearer, key: token}
    create: {labels: {app: datagate, empty: ""}}
    before_expiry: 4.35%
    credentials: {namespace: datagate, name: cpd-admin}
    request:
      method: PUT
      url: https://cpd.example:8443/v1/${user}?x=1
      headers: {content-type: application/json; charset=utf-8, X-Key: "k ${key}"}
      body: '{"password":"${password}"}'
      ca_file: ~/ca.crt
      insecure_skip_verify: yes
      timeout: 1500ms
    token: /data/0/token
    retry: {first: 5s, most: 1h}
  - {file: $HOME/token, before_expiry: 90m, credentials_files: {}, request: {url: "http://[::1]:8080", ca_file: ""}, token: /t}
"#;
    let [first, second] = <[_; 2]>::try_from(good(text).renewals).unwrap();
    assert_eq!(first.target.to_string(), "datagate/bearer (key token)");
    let TargetPlan::Secret { create: Some(labels), .. } = &first.target else { panic!("{first:?}") };
    assert_eq!(*labels, [("app".to_owned(), "datagate".to_owned()), ("empty".to_owned(), String::new())]);
    assert_eq!(
        (first.policy.before_expiry, first.policy.first, first.policy.most),
        (BeforeExpiry::Share(435), 5, 3600)
    );
    let secret = CredentialsPlan::Secret { context: None, namespace: "datagate".into(), name: "cpd-admin".into() };
    assert_eq!(first.credentials, secret);
    let request = &first.request;
    assert_eq!(
        (request.origin.to_string().as_str(), request.timeout),
        ("https://cpd.example:8443", Duration::from_secs(2))
    );
    assert_eq!(request.variables(), ["user", "key", "password"]);
    assert_eq!(request.ca_file.as_deref(), Some(Path::new("/home/me/ca.crt")));
    assert!(request.insecure_skip_verify && request.is_insecure());
    assert_eq!(first.token.to_string(), "/data/0/token");

    assert_eq!(second.target, TargetPlan::File("/home/me/token".into()));
    assert_eq!(
        (second.policy.before_expiry, second.policy.first, second.policy.most),
        (BeforeExpiry::Seconds(5400), 10, 600)
    );
    assert_eq!((second.request.timeout, second.request.ca_file.as_ref()), (Duration::from_secs(30), None));
    assert!(!second.request.insecure_skip_verify && second.request.is_insecure(), "without TLS");
    assert!(good("renewals:").renewals.is_empty());
}

#[test]
fn no_selector_or_an_empty_one_takes_every_secret() {
    for text in ["label_selectors: []", "label_selectors: ['']", "label_selectors: [a=b, ' ']"] {
        assert!(good(text).label_selectors.is_empty(), "{text}");
    }
}

#[test]
fn named_secrets_without_selectors_list_nothing() {
    let secrets = "secrets: [{namespace: a, name: b}]\n";
    assert!(good(secrets).only_named);
    assert!(good(&format!("{secrets}label_selectors:\n")).only_named);
    for selectors in ["[]", "[a=b]"] {
        assert!(!good(&format!("{secrets}label_selectors: {selectors}\nnamespaces: [a]\n")).only_named, "{selectors}");
    }
    assert!(!good("secrets: []").only_named);
}

#[test]
fn booleans_as_the_reference_reads_them() {
    for (text, value) in
        [("on", true), ("Yes", true), ("y", true), ("true", true), ("OFF", false), ("no", false), ("'n'", false)]
    {
        assert_eq!(good(&format!("kubernetes: {text}\nmanifests: [a]")).kubernetes, value, "{text}");
    }
}

#[test]
fn merge_keys_bring_what_the_mapping_does_not_say() {
    let config = good("<<: {address: ':1', polling_interval: 5m}\naddress: ':2'\n");
    assert_eq!((config.address.port, config.polling_interval), (2, Duration::from_secs(300)));
    let config = good("<<: [{address: ':1'}, {address: ':2', max_series: 7}]\n");
    assert_eq!((config.address.port, config.max_series), (1, 7));
}

#[test]
fn an_alias_is_its_anchor() {
    let config = good("claims:\n  scope: &s [/a]\n  role: *s\n");
    assert_eq!(config.reading.claims.role, config.reading.claims.scope);
}

#[test]
fn the_place_of_a_mistake_behind_an_alias_is_in_the_file() {
    let error = read("claims:\n  scope: &s [a]\n  role: [/x]\n").unwrap_err();
    assert!(error.starts_with("config.yaml:2:14: claims.scope[0]: "), "{error}");
}

#[test]
fn aliases_of_aliases_end() {
    let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..9 {
        let items = vec![format!("*a{}", level - 1); 10].join(",");
        text.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    let error = read(&text).unwrap_err();
    assert!(error.contains("cannot be read"), "{error}");
}

#[test]
fn deep_nesting_ends() {
    let error = read(&"[".repeat(10_000)).unwrap_err();
    assert!(error.len() < 300, "{error}");
}

#[test]
fn no_error_quotes_a_control_character_or_a_long_text() {
    for text in [
        "address: \"a\\n\\e[2J\\u202e\"",
        "\"\\n\\e\": 1",
        &format!("{}: 1", "k".repeat(900)),
        &format!("address: {}", "x".repeat(9000)),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.len() < 400 && !error.chars().any(|c| c.is_control() || c == '\u{202e}'), "{error}");
    }
}

fn load(path: &Path) -> Result<config::Loaded, String> {
    config::load(Some(path.to_str().unwrap()), &lookup).map_err(|error| error.to_string())
}

#[test]
fn files_that_are_no_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.yaml");
    let shown = file.to_str().unwrap();
    assert_eq!(load(&file).unwrap_err(), format!("{shown}: there is no such file"));
    assert!(load(folder.path()).unwrap_err().ends_with("this is a directory; name the file in it"));
    fs::write(&file, b"address: ':1'\nannotation_key: \xff\n").unwrap();
    assert_eq!(load(&file).unwrap_err(), format!("{shown}:2:17: the text is not UTF-8 from here on"));
    fs::write(&file, "#".repeat(MAX_BYTES + 1)).unwrap();
    assert_eq!(load(&file).unwrap_err(), format!("{shown}: the file is larger than 1048576 bytes"));
    fs::write(&file, "#".repeat(MAX_BYTES)).unwrap();
    assert_eq!(load(&file).unwrap().config, Config::default());
}

#[test]
fn the_name_of_the_file_is_expanded() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("c.yaml"), "address: ':1'").unwrap();
    let home = folder.path().as_os_str().to_owned();
    for named in ["~/c.yaml", "$HOME/c.yaml", "${HOME}/c.yaml"] {
        let loaded = config::load(Some(named), &|name| (name == "HOME").then(|| home.clone())).unwrap();
        assert_eq!(loaded.config.address.port, 1);
        assert_eq!(Path::new(&loaded.path), folder.path().join("c.yaml"));
    }
    let error = config::load(Some("~/c.yaml"), &|_| None).unwrap_err().to_string();
    assert_eq!(error, "~/c.yaml: expected a path that needs no home folder (HOME is not set), or HOME to be set");
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}|([a-z_]{0,12}: ?[\\[{\"'&*a-z0-9,:/}\\]-]{0,12}\n){0,6}") {
        let _ = read(&text);
    }

    #[test]
    fn no_known_key_panics_with_any_value(
        key in "address|label_selectors|polling_interval|kubeconfig_path|annotation_key|kubernetes|files|follow_links_outside|manifests|claims|max_series|status_page|<<",
        value in "\\PC{0,20}|[\\[{]\\PC{0,10}[}\\]]|[0-9a-z$~{}:.-]{0,12}",
    ) {
        let _ = read(&format!("{key}: {value}"));
    }
}
