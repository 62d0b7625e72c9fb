//! The main job against a real API server, a file per subject.

mod access;
mod rotation;
mod selection;
mod tokens;
mod unreadable;
mod values;

use crate::support::exposition::find;

/// The value of a counter or gauge of the source `kubernetes`; 0 if it has no sample yet.
fn of_source(metrics: &str, family: &str, labels: &[(&str, &str)]) -> f64 {
    let labels = [labels, &[("source", "kubernetes")]].concat();
    find(metrics, family, &labels).iter().map(|sample| sample.value).sum()
}

/// List requests for Secrets that were answered with this code.
fn lists(metrics: &str, code: &str) -> f64 {
    let labels = [("verb", "list"), ("resource", "secrets"), ("code", code)];
    find(metrics, "jwt_exporter_kube_requests_total", &labels).iter().map(|sample| sample.value).sum()
}

/// How many polls are over.
fn polls(metrics: &str) -> f64 {
    of_source(metrics, "jwt_exporter_poll_duration_seconds_count", &[])
}

fn is_up(metrics: &str) -> bool {
    of_source(metrics, "jwt_exporter_source_up", &[]) == 1.0
}
