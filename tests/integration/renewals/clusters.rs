//! Secrets in several clusters: each is renewed in its own, with credentials from wherever they are.

use super::fake_secrets::FakeSecrets;
use super::{Endpoint, LIMIT, answer, setup};
use crate::support::exporter::Setup;
use crate::support::exposition::{find, value};
use crate::support::kubeconfig::several;
use crate::support::token;
use crate::support::wait_for;
use serde_json::{Value, json};

/// A token that says for whom it is.
fn of(user: &str) -> String {
    token::hs256(&json!({"sub": user, "iat": token::now(), "exp": token::now() + 3600}))
}

fn subject(token: &str) -> String {
    use base64::Engine as _;
    let claims =
        token.split('.').nth(1).and_then(|part| base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).ok());
    let claims: Value = claims.and_then(|claims| serde_json::from_slice(&claims).ok()).unwrap_or_default();
    claims["sub"].as_str().unwrap_or_default().to_owned()
}

fn within(east: &FakeSecrets, west: &FakeSecrets, renewals: &[Value]) -> Setup {
    let secret = |context| format!("{{context: {context}, namespace: ns, name: bearer, key: token}}");
    let config = format!(
        "kubeconfig_path: kubeconfig\ncontexts: [east, west]\nsecrets: [{}, {}]\nwatch: false\npolling_interval: 300ms\n",
        secret("east"),
        secret("west")
    );
    let setup = setup(&config, renewals);
    let text = several(&[("east", &east.kubeconfig()), ("west", &west.kubeconfig())]);
    std::fs::write(setup.folder().join("kubeconfig"), text).unwrap();
    setup
}

#[test]
fn each_token_is_renewed_in_its_cluster() {
    let endpoint = Endpoint::start(|request| {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        answer(&of(body["username"].as_str().unwrap()))
    });
    let credentials = |user| [("username", user), ("password", "p")];
    let bearer: &[(&str, &str)] = &[("token", "broken")];
    let east = FakeSecrets::start(
        &[("ns/bearer", bearer), ("ns/admin", &credentials("easterner")), ("ns/lent", &credentials("lent"))],
        |_| {},
    );
    let west = FakeSecrets::start(&[("ns/bearer", bearer), ("ns/admin", &credentials("westerner"))], |_| {});
    let renewal = |context: &str, credentials: Value| {
        json!({
            "secret": {"context": context, "namespace": "ns", "name": "bearer", "key": "token"},
            "credentials": credentials,
            "request": endpoint.request("/"),
        })
    };
    // Unless said otherwise, the credentials are where the token is.
    let own = json!({"namespace": "ns", "name": "admin"});
    let lent = json!({"context": "east", "namespace": "ns", "name": "lent"});
    let exporter = within(&east, &west, &[renewal("east", own.clone()), renewal("west", lent)]).start();
    for (cluster, user) in [(&east, "easterner"), (&west, "lent")] {
        wait_for(user, LIMIT, || match subject(&cluster.value("ns/bearer", "token")) {
            subject if subject == user => Ok(()),
            other => Err(format!("{other}\n{}", exporter.log())),
        });
        assert_eq!(cluster.claim("ns/bearer"), None);
    }
    let metrics = exporter.wait_for_metrics("both", |metrics| {
        ["east", "west"].into_iter().all(|cluster| {
            let place = [("secret_cluster", cluster), ("secret_namespace", "ns"), ("result", "success")];
            find(metrics, "jwt_exporter_renewals_total", &place).first().is_some_and(|count| count.value == 1.0)
                && find(metrics, "jwt_exporter_token_info", &place[..2]).len() == 1
        })
    });
    for cluster in ["east", "west"] {
        let next = value(&metrics, "jwt_exporter_renewal_next_timestamp_seconds", &[("secret_cluster", cluster)]);
        assert!(next > token::now() as f64 + 1000.0, "{metrics}");
        let line = format!("renewal of ns/bearer (key token, context {cluster}): renewed");
        assert_eq!(exporter.log_lines(&line).len(), 1, "{}", exporter.log());
    }

    // The west's own credentials do not matter to the east; and what somebody breaks there is renewed there.
    drop(exporter);
    let dry_run = within(&east, &west, &[renewal("west", own)]).argument("renew").argument("-dry-run");
    let finished = dry_run.run_arguments_first();
    assert!(finished.stdout.contains("ns/bearer (key token, context west)\n  the token expires at "), "{finished:?}");
    assert_eq!(endpoint.server.requests().len(), 2);
}

#[test]
fn a_file_beside_several_clusters_has_an_empty_one() {
    let endpoint = Endpoint::good();
    let east = FakeSecrets::start(&[("ns/bearer", &[]), ("ns/admin", &[("username", "u"), ("password", "p")])], |_| {});
    let west = FakeSecrets::start(&[("ns/bearer", &[])], |_| {});
    let folder = tempfile::tempdir().unwrap();
    let renewal = json!({
        "file": folder.path().join("token"),
        "credentials": {"context": "east", "namespace": "ns", "name": "admin"},
        "request": endpoint.request("/"),
    });
    let exporter = within(&east, &west, &[renewal]).start();
    exporter.wait_for_metrics("the file", |metrics| {
        let labels = [("secret_cluster", ""), ("secret_namespace", ""), ("result", "success")];
        find(metrics, "jwt_exporter_renewals_total", &labels).first().is_some_and(|count| count.value == 1.0)
    });
    assert!(folder.path().join("token").exists());
}
