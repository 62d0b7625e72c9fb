//! Where streams look: the whole cluster, or one namespace of those that the configuration names.

use crate::kubernetes::{Query, Reason, RequestError};
use crate::observation::SecretObservation;
use std::sync::Arc;

/// Which Secrets of a cluster are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// A Secret is taken if any of them matches. None at all takes every Secret.
    pub label_selectors: Vec<String>,
    /// Only these are listed and watched, each by itself; empty: the whole cluster. The namespaces themselves are never asked for.
    pub namespaces: Vec<String>,
}

/// One place that is listed and watched by itself.
pub(super) struct Scope {
    /// `None`: the whole cluster.
    pub(super) namespace: Option<Arc<str>>,
    /// Of the collection, not yet with a query.
    path: String,
    /// Why it could not be listed at the last try, though others could.
    pub(super) failure: Option<RequestError>,
    /// That it may not be watched was said.
    pub(super) told_denied: bool,
}

impl Scope {
    fn new(namespace: Option<&str>) -> Self {
        let path = match namespace {
            None => Query::path(&["api", "v1", "secrets"]),
            Some(namespace) => Query::path(&["api", "v1", "namespaces", namespace, "secrets"]),
        };
        Self { namespace: namespace.map(Arc::from), path: path.build(), failure: None, told_denied: false }
    }

    /// The places that a selection is made of.
    pub(super) fn all(selection: &Selection) -> Vec<Self> {
        match selection.namespaces.as_slice() {
            [] => vec![Self::new(None)],
            namespaces => namespaces.iter().map(|namespace| Self::new(Some(namespace))).collect(),
        }
    }

    /// The beginning of a list or watch of the Secrets here that `selector` matches.
    pub(super) fn query(&self, selector: &str) -> Query {
        Query::new(&self.path).with_some("labelSelector", selector)
    }

    /// Whether a Secret is one of this place.
    pub(super) fn holds(&self, secret: &SecretObservation) -> bool {
        self.namespace.as_ref().is_none_or(|namespace| **namespace == *secret.namespace)
    }

    /// Keeps in mind how the last try ended; says so if it is to be `told` and ended otherwise than the one before.
    pub(super) fn tried(&mut self, source: &str, failure: Option<RequestError>, told: bool) {
        let place = self.namespace.as_deref().unwrap_or_default();
        match (&self.failure, &failure) {
            (None, Some(error)) if told => {
                log::error!(
                    "{source}: {error}; what was read before of namespace {place} stays shown, it is tried again"
                );
            }
            (_, Some(error)) => log::debug!("{source}: {error}"),
            (Some(_), None) => log::info!("{source}: namespace {place} can be read again"),
            (None, None) => {}
        }
        self.failure = failure;
    }

    /// Whether an error says something of this place alone: one namespace may be forbidden or gone while the others go on.
    /// All other errors are the server's, or those of the way to it.
    pub(super) fn fails_alone(&self, error: &RequestError) -> bool {
        self.namespace.is_some() && matches!(error.reason(), Reason::Forbidden | Reason::NotFound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn only_a_namespace_can_be_forbidden_alone() {
        let error = |reason| RequestError::new(reason, String::new());
        let (cluster, namespace) = (Scope::new(None), Scope::new(Some("x")));
        for (reason, alone) in [
            (Reason::Forbidden, true),
            (Reason::NotFound, true),
            (Reason::Unauthorized, false),
            (Reason::Connect, false),
            (Reason::ServerError, false),
        ] {
            assert_eq!(namespace.fails_alone(&error(reason)), alone, "{reason:?}");
            assert!(!cluster.fails_alone(&error(reason)), "{reason:?}");
        }
    }
}
