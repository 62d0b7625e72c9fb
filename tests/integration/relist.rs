//! What a list finds unchanged is carried over from the one before, and costs no memory twice.

use crate::support::fake_api_server::{Answer, FakeApiServer};
use crate::support::kubeconfig::Kubeconfig;
use crate::support::{process, token};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jwt_exporter::jwt::ClaimPaths;
use jwt_exporter::kubernetes::Cluster;
use jwt_exporter::kubernetes::access::Access;
use jwt_exporter::observation::{Bounds, Reading};
use jwt_exporter::source::Source as _;
use jwt_exporter::source::secrets::SecretsSource;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

fn secret(name: &str, version: i64) -> Value {
    let metadata = json!({"name": name, "namespace": "ns", "resourceVersion": version.to_string()});
    let value = STANDARD.encode(token::hs256(&json!({"exp": version})));
    json!({"metadata": metadata, "data": {"token": value}, "type": "Opaque"})
}

#[test]
fn a_secret_that_did_not_change_is_carried_over_from_poll_to_poll() {
    let version = Arc::new(AtomicI64::new(5));
    let now = Arc::clone(&version);
    let server = FakeApiServer::start(move |_| {
        let now = now.load(Ordering::SeqCst);
        let items = [secret("changes", now), secret("stays", 5)];
        Answer::json(200, &json!({"metadata": {"resourceVersion": now.to_string()}, "items": items}))
    });
    let folder = process::folder("relist");
    let path = Kubeconfig::new(server.url()).token("bearer").write(folder.path());
    let access = Access::from_kubeconfig(&path, None, &|_| None).unwrap();
    let cluster = Arc::new(Cluster::connect(access, Arc::new(|_, _, _| ())).unwrap());
    let reading = Reading::new(ClaimPaths::default(), Bounds { max_tokens_per_secret: 1, max_series_per_token: 1 });
    let mut source = SecretsSource::new("kubernetes", cluster, vec!["x".into()], "key".into(), reading);

    source.poll().unwrap();
    let before = source.held().clone();
    version.store(6, Ordering::SeqCst);
    source.poll().unwrap();
    let after = source.held();
    assert_eq!((before.len(), after.len()), (2, 2));
    let is_the_same: Vec<bool> = before.iter().zip(after).map(|(before, after)| Arc::ptr_eq(before, after)).collect();
    assert_eq!(is_the_same, [false, true], "the second alone did not change");
    let expiries = after.iter().map(|secret| secret.tokens[0].expires().map(|at| at.0)).collect::<Vec<_>>();
    assert_eq!(expiries, [Some(6), Some(5)]);
}
