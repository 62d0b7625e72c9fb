//! Exporters that share the Secrets of a cluster: each renews its own.

use super::fake_secrets::FakeSecrets;
use super::{Endpoint, answer, fresh, lives, setup};
use crate::support::exporter::Exporter;
use crate::support::exposition::find;
use crate::support::kubeconfig::Kubeconfig;
use serde_json::{Value, json};

/// Enough that every shard has one: which is whose is a matter of a hash that never changes.
const NAMES: [&str; 4] = ["bearer-1", "bearer-2", "bearer-3", "bearer-4"];

const SHARDS: usize = 3;

/// Names of Secrets in these samples.
fn names(metrics: &str, family: &str, labels: &[(&str, &str)]) -> Vec<String> {
    find(metrics, family, labels).iter().map(|sample| sample.label("secret_name").to_owned()).collect()
}

#[test]
fn a_renewal_is_the_business_of_the_shard_that_owns_its_secret() {
    let endpoint = Endpoint::start(|_| answer(&fresh()));
    let old = lives(-1000, 100);
    let places = NAMES.map(|name| format!("ns/{name}"));
    let data = [("token", old.as_str())];
    let secrets: Vec<(&str, &[(&str, &str)])> = places.iter().map(|place| (place.as_str(), &data[..])).collect();
    let api = FakeSecrets::start(&secrets, |_| ());
    let named: Vec<Value> = NAMES.iter().map(|name| json!({"namespace": "ns", "name": name, "key": "token"})).collect();
    let renewals = NAMES.map(|name| {
        let target = json!({"namespace": "ns", "name": name, "key": "token"});
        let request = json!({"url": format!("{}/{name}", endpoint.server.url()), "ca_file": endpoint.ca_file()});
        json!({"secret": target, "request": request})
    });
    // Each is known by its bearer token.
    let exporters: Vec<Exporter> = (0..SHARDS)
        .map(|shard| {
            let config = format!("watch: false\nshard: {shard}/{SHARDS}\nsecrets: {}\n", json!(named));
            let kubeconfig = Kubeconfig::new(api.server.url()).token(&format!("shard-{shard}"));
            setup(&config, &renewals).kubeconfig(&kubeconfig).start()
        })
        .collect();

    let mut renewed = 0;
    for (shard, exporter) in exporters.iter().enumerate() {
        let held = "jwt_exporter_token_expiration_timestamp_seconds";
        let own = |metrics: &str| names(metrics, held, &[]);
        let metrics = exporter.wait_for_metrics("all of its Secrets renewed", |metrics| {
            let done = find(metrics, "jwt_exporter_renewals_total", &[("result", "success")]);
            !done.is_empty() && done.len() == own(metrics).len() && done.iter().all(|sample| sample.value == 1.0)
        });
        let own = own(&metrics);
        assert_eq!(names(&metrics, "jwt_exporter_renewals_total", &[("result", "success")]), own, "shard {shard}");
        renewed += own.len();
        let bearer = format!("Bearer shard-{shard}");
        let asked =
            api.server.requests().into_iter().filter(|request| request.header("authorization") == Some(&bearer));
        for request in asked.filter(|request| request.path().contains("/bearer-")) {
            let of_its_own = own.iter().any(|name| request.path().ends_with(&format!("/{name}")));
            assert!(of_its_own, "shard {shard} has {own:?}: {} {}", request.method, request.path());
        }
    }
    assert_eq!(renewed, NAMES.len(), "each in one shard");
    // Of each Secret: one request to who hands out tokens, a claim before it, and the token after it.
    let mut asked: Vec<String> =
        endpoint.server.requests().iter().map(|request| request.path()[1..].to_owned()).collect();
    asked.sort();
    assert_eq!(asked, NAMES);
    for (name, place) in NAMES.iter().zip(&places) {
        let patches = api.server.requests().into_iter();
        let patches = patches.filter(|request| request.method == "PATCH" && request.path().ends_with(name));
        let bodies: Vec<Value> = patches.map(|request| serde_json::from_slice(&request.body).unwrap()).collect();
        let with_token = bodies.iter().filter(|patch| !patch["data"]["token"].is_null()).count();
        assert_eq!((bodies.len(), with_token), (2, 1), "{name}: {bodies:?}");
        assert_ne!(api.value(place, "token"), old);
    }
}
