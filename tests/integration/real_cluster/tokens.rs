//! Tokens of every kind through the real API server, and every sample that comes of them. What is expected is worked out
//! here, by a model of its own (`model`), from the documents of the token; `cases` has the table.

mod cases;
mod model;

use crate::support::api_client::Secret;
use crate::support::exporter::Setup;
use crate::support::exposition::{Sample, find, samples};
use crate::support::{token, unique_name};
use cases::{broken, well_formed};
use model::{Expected, Place};
use std::collections::BTreeMap;

/// A sample as it is compared: name and labels.
type Series = (String, BTreeMap<String, String>);

#[test]
fn every_sample_of_every_kind_of_token_is_as_documented() {
    let plane = require_control_plane!();
    let admin = plane.admin();
    let (namespace, wanted) = (admin.create_unique_namespace("tokens"), unique_name("wanted"));
    let (well_formed, broken) = (well_formed(), broken());
    assert!(well_formed.len() >= 37 && broken.len() >= 32, "{} and {}", well_formed.len(), broken.len());

    let mut expected = Expected::default();
    let mut secrets = Vec::new();
    for case in &well_formed {
        let place = Place { namespace: &namespace, name: case.name, key: "token" };
        model::token(&mut expected, &place, &case.header, &case.claims);
        secrets.push((case.name, Vec::from(case.value())));
    }
    for (name, value, reason) in &broken {
        let place = Place { namespace: &namespace, name, key: "token" };
        model::error(&mut expected, &place, reason);
        secrets.push((*name, value.clone()));
    }
    let secret = |(name, value): &(&str, Vec<u8>)| {
        let secret = Secret::new(&namespace, name).label("test", &wanted);
        secret.annotation("jwt-exporter/secret-key", "token").data("token", value)
    };
    admin.put_secrets(&secrets.iter().map(secret).collect::<Vec<_>>());

    let config = format!("label_selectors: [\"test={wanted}\"]\n");
    let mut exporter = Setup::new(config).kubeconfig(&plane.admin_kubeconfig()).start();
    exporter.wait_until_ready();
    // The list comes from the API server's cache, which may be a moment behind; the watch brings what was written last.
    exporter.wait_for_metrics("all Secrets", |metrics| {
        find(metrics, "jwt_exporter_source_secrets", &[]).iter().any(|sample| sample.value == secrets.len() as f64)
    });
    let before = token::now();
    let metrics = exporter.metrics();
    let after = token::now();

    let shown: Vec<Sample> =
        samples(&metrics).into_iter().filter(|sample| sample.label("secret_namespace") == namespace).collect();
    let mut shown: BTreeMap<Series, f64> =
        shown.into_iter().map(|sample| ((sample.name, sample.labels), sample.value)).collect();
    let mut wrong = Vec::new();
    for (series, value) in expected.samples {
        match shown.remove(&series) {
            Some(found) if value.allows(found, before, after) => (),
            found => wrong.push(format!("{series:?}\n  expected {value:?}, found {found:?}")),
        }
    }
    wrong.extend(shown.iter().map(|(series, value)| format!("{series:?}\n  not expected, found {value}")));
    assert!(wrong.is_empty(), "{} samples differ:\n{}", wrong.len(), wrong.join("\n"));

    // In the order of namespace, name and key, family by family.
    for family in ["jwt_exporter_token_info", "jwt_exporter_token_error"] {
        let names: Vec<String> = samples(&metrics)
            .into_iter()
            .filter(|sample| sample.name == family)
            .map(|sample| sample.label("secret_name").to_owned())
            .collect();
        assert!(names.is_sorted(), "{names:?}");
    }
    // And it lives.
    assert_eq!(exporter.process().exited(), None);
    assert!(!exporter.log().contains("panic"), "{}", exporter.log());
}
