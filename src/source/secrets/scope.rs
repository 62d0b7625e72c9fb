//! Where streams look: the whole cluster, or one namespace of those that the configuration names.

use super::Shard;
use super::named::NamedSecret;
use crate::kubernetes::{FieldSelector, LabelSelector, NamespacePattern, Query, Reason, RequestError};
use crate::log::{Repeated, Telling};
use crate::observation::SecretObservation;
use std::sync::Arc;
use std::time::Instant;

/// Which Secrets of a cluster are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// A Secret is taken if any of them matches. None at all takes every Secret.
    pub label_selectors: Vec<String>,
    /// Only these are listed and watched, each by itself; empty: the whole cluster. The namespaces themselves are never asked for.
    pub namespaces: Vec<String>,
    /// What is in these namespaces is never looked at.
    pub exclude_namespaces: Vec<NamespacePattern>,
    /// What is in other namespaces of the whole cluster is never looked at.
    pub namespace_selector: Option<LabelSelector>,
    /// Secrets that are read by their names, whatever their labels and their namespaces.
    pub secrets: Vec<NamedSecret>,
    /// Nothing is listed: only `secrets` are read.
    pub only_named: bool,
    /// Further requirements, which the API server checks.
    pub field_selector: FieldSelector,
    /// Secrets of other shards are never looked at, be they listed or named.
    pub shard: Option<Shard>,
}

impl Selection {
    /// Whether a Secret that a list or watch brings is not to be looked at: it is another shard's, its namespace is excluded, or
    /// it has a place of its own, where the data keys are named.
    pub(super) fn passes_over(&self, namespace: &str, name: &str) -> bool {
        !self.owns(namespace, name) || self.names(namespace, name) || self.excludes(namespace)
    }

    /// Whether a Secret is one of this shard.
    pub(super) fn owns(&self, namespace: &str, name: &str) -> bool {
        self.shard.is_none_or(|shard| shard.owns(namespace, name))
    }

    /// Whether a namespace is one of `exclude_namespaces`.
    pub(super) fn excludes(&self, namespace: &str) -> bool {
        self.exclude_namespaces.iter().any(|pattern| pattern.matches(namespace))
    }

    /// Whether a Secret is one of `secrets`.
    pub(super) fn names(&self, namespace: &str, name: &str) -> bool {
        self.secrets.iter().any(|named| named.is(namespace, name))
    }
}

/// One place that is listed and watched by itself.
pub(super) struct Scope {
    /// `None`: the whole cluster.
    pub(super) namespace: Option<Arc<str>>,
    /// A single Secret of that namespace.
    pub(super) named: Option<NamedSecret>,
    /// Of the collection, not yet with a query.
    path: String,
    field_selector: FieldSelector,
    /// When its last Secret was deleted, until it has been listed again: perhaps the namespace goes.
    pub(super) emptied: Option<Instant>,
    failing: Repeated,
}

impl Scope {
    fn new(namespace: Option<&str>, field_selector: FieldSelector) -> Self {
        let (namespace, path) = (namespace.map(Arc::from), path_of(namespace));
        Self { namespace, named: None, path, field_selector, emptied: None, failing: Repeated::default() }
    }

    fn of_secret(named: &NamedSecret) -> Self {
        let field_selector = FieldSelector::default().named(&named.name);
        Self { named: Some(named.clone()), ..Self::new(Some(&named.namespace), field_selector) }
    }

    /// The places that a selection is made of.
    pub(super) fn all(selection: &Selection) -> Vec<Self> {
        // Those that somebody named come first: they are the last to do without a watch.
        let mut scopes: Vec<Self> = selection.secrets.iter().map(Self::of_secret).collect();
        let fields = &selection.field_selector;
        if selection.only_named {
            return scopes;
        }
        if selection.namespaces.is_empty() {
            // The API knows no patterns; names it can leave out itself, so that those Secrets do not even travel.
            let excluded = selection.exclude_namespaces.iter().filter_map(NamespacePattern::exact);
            scopes.push(Self::new(None, excluded.fold(fields.clone(), FieldSelector::not_in_namespace)));
        }
        scopes.extend(selection.namespaces.iter().map(|namespace| Self::new(Some(namespace), fields.clone())));
        scopes
    }

    /// The beginning of a list or watch of the Secrets here that `selector` matches.
    pub(super) fn query(&self, selector: &str) -> Query {
        let fields = self.field_selector.as_str();
        Query::new(&self.path).with_some("labelSelector", selector).with_some("fieldSelector", fields)
    }

    /// The same in a single namespace.
    pub(super) fn query_in(&self, namespace: &str, selector: &str) -> Query {
        let fields = self.field_selector.as_str();
        let path = path_of(Some(namespace));
        Query::new(&path).with_some("labelSelector", selector).with_some("fieldSelector", fields)
    }

    /// The Secret that has a place of its own here, and where it is read.
    pub(super) fn object(&self) -> Option<(NamedSecret, String)> {
        let named = self.named.clone()?;
        let path = Query::path(&["api", "v1", "namespaces", &named.namespace, "secrets", &named.name]).build();
        Some((named, path))
    }

    /// Whether a Secret is one of this place. One with a place of its own `is_named`, and is of no other.
    pub(super) fn holds(&self, secret: &SecretObservation, is_named: bool) -> bool {
        match &self.named {
            Some(named) => named.is(&secret.namespace, &secret.name),
            None => !is_named && self.namespace.as_ref().is_none_or(|namespace| **namespace == *secret.namespace),
        }
    }

    /// Keeps in mind how the last try ended, and says so if it is to be `told`: the first failure, the sum of many, the end.
    pub(super) fn tried(&mut self, source: &str, failure: Option<&RequestError>, told: bool) {
        let (namespace, now) = (self.namespace.as_deref().unwrap_or_default(), Instant::now());
        let place = if namespace.is_empty() { "the cluster" } else { namespace };
        let Some(error) = failure else {
            if let Some(sum) = self.failing.ended(now) {
                log::info!(source, secret_namespace = namespace, failures = sum.tries, lasted = sum.lasted.as_secs();
                    "{source}: {place} can be read again after {sum}");
            }
            return;
        };
        let reason = error.reason().as_str();
        let (level, again) = match self.failing.failed(reason, now) {
            Telling::Summary(sum) if told => (log::Level::Error, format!("{place} still fails, {sum}: ")),
            Telling::First if told => (log::Level::Error, String::new()),
            _ => (log::Level::Debug, String::new()),
        };
        log::log!(level, source, reason, secret_namespace = namespace;
            "{source}: {again}{error}; what was read before of {place} stays shown, it is tried again");
    }
}

/// Whether an error is an answer to what was asked, so that something else may be answered well at the same time. All others
/// are of the way to the server, of our credentials, or of the server as a whole.
pub(super) fn is_answer(error: &RequestError) -> bool {
    use Reason::{Connect, Credentials, Proxy, Timeout, Tls, TooManyRequests, Unauthorized};
    !matches!(error.reason(), Connect | Timeout | Tls | Proxy | Credentials | Unauthorized | TooManyRequests)
}

/// Whether a place is closed to us, whatever we ask of it: forbidden, or gone.
pub(super) fn is_refusal(error: &RequestError) -> bool {
    matches!(error.reason(), Reason::Forbidden | Reason::NotFound)
}

/// Of the Secrets of a namespace, or of all.
fn path_of(namespace: Option<&str>) -> String {
    match namespace {
        None => Query::path(&["api", "v1", "secrets"]),
        Some(namespace) => Query::path(&["api", "v1", "namespaces", namespace, "secrets"]),
    }
    .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::ExtraLabels;

    fn queries(namespaces: &[&str]) -> Vec<String> {
        let namespaces = namespaces.iter().map(|name| (*name).to_owned()).collect();
        let scopes = Scope::all(&Selection { namespaces, ..Selection::default() });
        scopes.iter().map(|scope| scope.query("a=b").build()).collect()
    }

    #[test]
    fn each_namespace_has_its_own_path() {
        assert_eq!(queries(&[]), ["/api/v1/secrets?labelSelector=a%3Db"]);
        assert_eq!(
            queries(&["x", "y"]),
            ["/api/v1/namespaces/x/secrets?labelSelector=a%3Db", "/api/v1/namespaces/y/secrets?labelSelector=a%3Db"]
        );
    }

    #[test]
    fn names_are_left_out_by_the_server_and_patterns_here() {
        let selection = Selection {
            exclude_namespaces: ["a", "kube-*", "b"].map(|text| NamespacePattern::parse(text).unwrap()).to_vec(),
            field_selector: FieldSelector::parse("type=Opaque").unwrap(),
            ..Selection::default()
        };
        let scopes = Scope::all(&selection);
        let [scope] = &scopes[..] else { panic!("{} places", scopes.len()) };
        assert_eq!(scope.field_selector.as_str(), "type=Opaque,metadata.namespace!=a,metadata.namespace!=b");
        for (namespace, excluded) in [("a", true), ("kube-system", true), ("c", false)] {
            assert_eq!(selection.passes_over(namespace, "s"), excluded, "{namespace}");
        }
    }

    #[test]
    fn a_named_secret_is_of_no_other_place() {
        let named = NamedSecret {
            context: None,
            namespace: "n".into(),
            name: "s".into(),
            keys: Vec::new(),
            logins: Vec::new(),
        };
        let mut selection = Selection { secrets: vec![named], ..Selection::default() };
        let scopes = Scope::all(&selection);
        let [own, cluster] = &scopes[..] else { panic!("{} places", scopes.len()) };
        assert_eq!(own.object().unwrap().1, "/api/v1/namespaces/n/secrets/s");
        assert_eq!(own.query("").build(), "/api/v1/namespaces/n/secrets?fieldSelector=metadata.name%3Ds");
        let found = selection.secrets[0].missing(&ExtraLabels::default());
        assert!(own.holds(&found, true) && !cluster.holds(&found, true) && cluster.holds(&found, false));
        assert!(
            selection.passes_over("n", "s") && !selection.passes_over("n", "t") && !selection.passes_over("m", "s")
        );
        selection.only_named = true;
        assert_eq!(Scope::all(&selection).len(), 1);
    }
}
