//! What of the configuration takes a Secret of the cluster, or passes it over.

use super::Explanation;
use super::asking::Held;
use crate::config::Config;
use crate::kubernetes::{LabelSelector, NamespacePattern, RequestError};
use std::collections::BTreeMap;

/// Tells everything that speaks for or against the Secret. If it is taken: the data keys that the configuration names, which
/// are none if it names none.
pub(super) fn explain(
    config: &Config,
    (namespace, name): (&str, &str),
    held: &Held,
    of_namespace: Option<Result<BTreeMap<String, String>, RequestError>>,
    told: &mut Explanation,
) -> Option<Vec<String>> {
    if config.shard.is_some_and(|shard| !shard.owns(namespace, name)) {
        told.say("  not taken: by `shard` it is another process's");
        told.conclude("it belongs to another shard");
        return None;
    }
    if let Some(named) = config.secrets.iter().find(|named| named.namespace == namespace && named.name == name) {
        told.say("  taken: `secrets:` names it");
        return Some(named.keys.clone());
    }
    if config.only_named {
        told.say("  not taken: `secrets:` does not name it, and without `label_selectors` nothing is listed");
        told.conclude("the configuration reads only the Secrets that it names, and this is none of them");
        return None;
    }
    let before = told.lines.len();
    let mut against = |line: String, verdict: &str| {
        told.say(format!("  not taken: {line}"));
        told.conclude(verdict);
    };
    if !config.namespaces.is_empty() && !config.namespaces.iter().any(|known| known == namespace) {
        let all = config.namespaces.join(", ");
        against(format!("`namespaces` are {all}"), "its namespace is not among `namespaces`");
    }
    if let Some(pattern) = config.exclude_namespaces.iter().find(|pattern| pattern.matches(namespace)) {
        let pattern = NamespacePattern::as_str(pattern);
        against(format!("`exclude_namespaces` has {pattern}"), "its namespace is excluded");
    }
    if let (Some(selector), Some(labels)) = (&config.namespace_selector, of_namespace) {
        match labels {
            Ok(labels) if selector.matches(|key| labels.get(key).map(String::as_str)) => {}
            Ok(_) => against(
                format!("`namespace_selector` wants {selector}, and the labels of the namespace do not match"),
                "`namespace_selector` leaves its namespace out",
            ),
            Err(error) => against(
                format!("whether `namespace_selector` takes its namespace is not known: {error}"),
                "the labels of its namespace are not known",
            ),
        }
    }
    let field = |field: &str| match field {
        "metadata.name" => name,
        "metadata.namespace" => namespace,
        _ => &held.secret_type,
    };
    for term in config.field_selector.unmet(field) {
        let found = term.split(['!', '=']).next().map(field).unwrap_or_default();
        against(format!("`field_selector` wants {term}, and that is {found:?}"), "`field_selector` leaves it out");
    }
    let is_placed = told.lines.len() == before;
    let is_labelled = labels(config, (namespace, name), held, told);
    (is_placed && is_labelled).then(Vec::new)
}

/// Whether a label selector takes it; if none does, what each of them misses.
fn labels(config: &Config, (namespace, name): (&str, &str), held: &Held, told: &mut Explanation) -> bool {
    let selectors = &config.label_selectors;
    if selectors.is_empty() {
        told.say("  `label_selectors` are empty: every Secret is taken");
        return true;
    }
    if let Some(selector) = selectors.iter().find(|selector| selector.matches(|key| held.label(key))) {
        told.say(format!("  the label selector {selector} takes it"));
        return true;
    }
    for selector in selectors {
        for unmet in selector.unmet(|key| held.label(key)) {
            let found = match held.label(&unmet.key) {
                Some(value) => format!("it is {value:?}"),
                None => "it is missing".to_owned(),
            };
            let (key, wanted) = (&unmet.key, &unmet.wanted);
            told.say(format!("  not taken by the label selector {selector}: the label {key} {wanted}, and {found}"));
        }
    }
    let hint = match selectors.as_slice() {
        [one] => hint(one, namespace, name),
        _ => String::new(),
    };
    told.conclude(format!("no label selector takes it{hint}"));
    false
}

/// The command that mends it, where a single label does.
fn hint(selector: &LabelSelector, namespace: &str, name: &str) -> String {
    let text = selector.as_str();
    match text.split_once('=') {
        Some((key, value)) if !text.contains([',', '!', '(', '>', '<', ' ']) && !value.starts_with('=') => {
            format!("; label it: kubectl -n {namespace} label --overwrite secret {name} {key}={value}")
        }
        _ => String::new(),
    }
}
