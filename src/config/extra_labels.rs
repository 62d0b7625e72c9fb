//! `secret_labels`, `namespace_labels` and `claim_labels`: labels of Kubernetes objects, and claims, that stand on samples.

use super::Expected;
use super::reader::{Fault, Reader};
use crate::jwt::JsonPointer;
use crate::kubernetes::check_qualified;
use crate::observation::LabelMap;

/// What samples of tokens have already, or may have, and what Prometheus keeps for histograms and summaries.
const IN_USE: &[&str] = &[
    "algorithm",
    "audience",
    "email",
    "id",
    "issuer",
    "le",
    "login",
    "name",
    "quantile",
    "reason",
    "role",
    "scope",
    "secret_cluster",
    "secret_key",
    "secret_name",
    "secret_namespace",
    "source",
    "state",
    "subject",
    "type",
];

/// More make no sense on every sample.
const MOST: usize = 32;

/// A mapping of names for labels of samples to keys of labels of objects. `names` are those that other maps took already.
pub(super) fn kubernetes_labels(value: &Reader<'_>, names: &mut Vec<String>) -> Result<LabelMap, Fault> {
    let what = "names of labels with keys of Kubernetes labels, such as {team: app.kubernetes.io/team}";
    labels(value, what, names, |key| key.text("the key of a Kubernetes label", kubernetes_label)).map(LabelMap::new)
}

/// A mapping of names for labels of samples to the places of claims.
pub(super) fn claim_labels(value: &Reader<'_>, names: &mut Vec<String>) -> Result<Vec<(String, JsonPointer)>, Fault> {
    let what = "names of labels with JSON Pointers, such as {tenant: /tenant/id}";
    labels(value, what, names, |place| place.text("a JSON Pointer", super::file::pointer))
}

fn labels<T>(
    value: &Reader<'_>,
    what: &str,
    names: &mut Vec<String>,
    read: impl Fn(&Reader<'_>) -> Result<T, Fault>,
) -> Result<Vec<(String, T)>, Fault> {
    let entries = value.entries(what)?;
    if entries.len() > MOST {
        return Err(value.refuse(Expected::new(format!("at most {MOST} labels"))));
    }
    let mut labels = Vec::new();
    for (name, from) in entries {
        let text = name.text("the name of a label", label_name)?;
        if names.contains(&text) {
            return Err(name.refuse(Expected::new("each name of a label once, in all maps together")));
        }
        names.push(text.clone());
        labels.push((text, read(&from)?));
    }
    Ok(labels)
}

/// Prometheus, "Data model": letters, digits and `_`, no digit in front, and what begins with `__` is its own.
fn label_name(text: &str) -> Result<String, Expected> {
    let first = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    if !first || !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(Expected::new("the name of a label (letters, digits and '_', and no digit in front)"));
    }
    if text.starts_with("__") {
        return Err(Expected::new("the name of a label (those that begin with __ are Prometheus' own)"));
    }
    if IN_USE.contains(&text) {
        return Err(Expected::new(format!("the name of a label that no sample has yet, such as k8s_{text}")));
    }
    Ok(text.to_owned())
}

fn kubernetes_label(text: &str) -> Result<String, Expected> {
    check_qualified(text).map_err(|rule| {
        Expected::new(format!("the key of a Kubernetes label such as app.kubernetes.io/team ({rule})"))
    })?;
    Ok(text.to_owned())
}
