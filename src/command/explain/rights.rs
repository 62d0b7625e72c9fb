//! What we may do at the API server, and what of it is missing.

use crate::config::Config;
use crate::kubernetes::{Cluster, Verb, may};
use crate::vault::Reviewer;
use std::fmt;

/// Something that the exporter does, and whether we may.
pub(super) struct Right {
    verb: Verb,
    /// API group and resource.
    resource: (&'static str, &'static str),
    /// `None`: in the whole cluster.
    namespace: Option<String>,
    name: Option<String>,
    is_denied: bool,
    /// What becomes of it all without the right; `None`: nothing is read.
    without: Option<&'static str>,
}

const SECRETS: (&str, &str) = ("", "secrets");
const NAMESPACES: (&str, &str) = ("", "namespaces");
const REVIEWS: (&str, &str) = ("authentication.k8s.io", "tokenreviews");

impl Right {
    fn what(&self) -> String {
        let resource = self.resource.1;
        let place = match (&self.namespace, &self.name) {
            (Some(namespace), Some(name)) if self.resource == SECRETS => format!("the Secret {namespace}/{name}"),
            (_, Some(name)) => format!("the namespace {name}"),
            (Some(namespace), None) => format!("{resource} in the namespace {namespace}"),
            (None, None) if self.resource == SECRETS => format!("{resource} in the whole cluster"),
            (None, None) => resource.to_owned(),
        };
        format!("{} {place}", self.verb)
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.what();
        match (self.is_denied, self.without) {
            (false, _) => write!(f, "we may {what}"),
            (true, None) => write!(f, "we may NOT {what}: grant that"),
            (true, Some(without)) => write!(f, "we may not {what}: {without}"),
        }
    }
}

/// The rights without which nothing is read, in words.
pub(super) fn missing(rights: &[Right]) -> Option<String> {
    let missing = rights.iter().filter(|right| right.is_denied && right.without.is_none());
    let missing: Vec<String> = missing.map(Right::what).collect();
    (!missing.is_empty()).then(|| format!("the right to {} is missing", missing.join(" and to ")))
}

/// What the configuration would do to read this Secret and to judge its logins, each held against `SelfSubjectAccessReview`, which
/// everybody may create. What cannot be asked is not there.
pub(super) fn ask(
    cluster: &Cluster,
    config: &Config,
    context: Option<&str>,
    (namespace, name): (&str, &str),
) -> Vec<Right> {
    let named = config.secrets.iter().any(|secret| secret.namespace == namespace && secret.name == name);
    let is_listed = config.namespaces.is_empty() || config.namespaces.iter().any(|known| known == namespace);
    if !named && (config.only_named || !is_listed) {
        return Vec::new();
    }
    let whole_cluster = !named && config.namespaces.is_empty();
    let first = if named { Verb::Get } else { Verb::List };
    let (of_namespace, of_name) = ((!whole_cluster).then_some(namespace), named.then_some(name));
    let mut rights = Vec::new();
    let mut add = |verb, resource: (&'static str, &'static str), place: (Option<&str>, Option<&str>), without| {
        let Ok(is_allowed) = may(cluster, verb, resource, place) else { return };
        let (namespace, name) = (place.0.map(str::to_owned), place.1.map(str::to_owned));
        rights.push(Right { verb, resource, namespace, name, is_denied: !is_allowed, without });
    };
    add(first, SECRETS, (of_namespace, of_name), None);
    if config.watch {
        add(Verb::Watch, SECRETS, (of_namespace, of_name), Some("changes show at the next poll"));
    }
    let no_labels = Some("the labels of `namespace_labels` are empty");
    if config.namespace_selector.is_some() && !named {
        add(Verb::List, NAMESPACES, (None, None), None);
    } else if !config.reading.namespace_labels.is_empty() {
        match whole_cluster {
            true => add(Verb::List, NAMESPACES, (None, None), no_labels),
            false => add(Verb::Get, NAMESPACES, (Some(namespace), Some(namespace)), no_labels),
        }
    }
    let asks_here = |reviewer: &Reviewer| match reviewer {
        Reviewer::Nobody => false,
        Reviewer::Ours => context.is_none(),
        Reviewer::Context(name) => context == Some(name),
    };
    if config.logins.iter().any(|login| asks_here(&login.review)) {
        add(Verb::Create, REVIEWS, (None, None), Some("logins at Kubernetes mounts stay review_unavailable"));
    }
    rights
}
