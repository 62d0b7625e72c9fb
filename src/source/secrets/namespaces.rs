//! What is known of the cluster's namespaces: which of them a selector chooses, and the labels that they give to their tokens.
//! Nothing else of them is kept.

use super::scope::Selection;
use super::stream::{State, Stream};
use crate::kubernetes::object::NamespaceObject;
use crate::kubernetes::{LabelSelector, Query, RequestError};
use crate::observation::LabelMap;
use std::collections::{BTreeMap, BTreeSet};

/// The number of the stream of namespaces; those of Secrets count from 0.
pub(super) const NAMESPACES: usize = usize::MAX;

/// What a source that looks at namespaces knows of them.
pub(super) struct Namespaces {
    /// Secrets of others are passed over. `None`: no namespace is.
    selector: Option<LabelSelector>,
    labels: LabelMap,
    /// The labels of a namespace of which nothing is known: all are empty.
    unknown: String,
    known: BTreeMap<String, Namespace>,
    /// These are read by their names at each poll; `None`: all are listed and watched.
    pub(super) names: Option<Vec<String>>,
    /// What of the selector the API server checks for us.
    sent_selector: String,
    pub(super) stream: Stream,
    /// What could not be read at the last try, while the source as a whole worked.
    pub(super) failures: Vec<RequestError>,
}

/// Of one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Namespace {
    is_chosen: bool,
    /// As [`LabelMap::render`] writes them.
    labels: String,
}

/// All namespaces of a list.
#[derive(Default)]
pub(super) struct Found(BTreeMap<String, Namespace>);

impl Found {
    /// It is not what it was, or not there any more.
    pub(super) fn forget(&mut self, name: &str) {
        self.0.remove(name);
    }
}

/// What became of one namespace.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NamespaceChange {
    pub(super) name: String,
    /// It was not chosen before and is now.
    pub(super) joined: bool,
    /// The reverse.
    pub(super) left: bool,
    /// It gives other labels to its tokens.
    pub(super) relabelled: bool,
}

impl Namespaces {
    /// `None` if nothing is asked of namespaces: then they are never read.
    pub(super) fn new(selection: &Selection, labels: &LabelMap) -> Option<Self> {
        let selector = selection.namespace_selector.clone();
        if selector.is_none() && labels.is_empty() {
            return None;
        }
        let listed = !selection.only_named && selection.namespaces.is_empty();
        let named = selection.secrets.iter().map(|named| &named.namespace);
        let names = || selection.namespaces.iter().chain(named.clone()).cloned().collect::<BTreeSet<_>>();
        // Secrets that are read by their names have labels of their namespace too, be it chosen or not.
        let all_are_needed = !labels.is_empty() && !selection.secrets.is_empty();
        let sent_selector = selector.as_ref().filter(|_| !all_are_needed).map(ToString::to_string);
        Some(Self {
            selector,
            unknown: labels.render(|_| None),
            labels: labels.clone(),
            known: BTreeMap::new(),
            names: (!listed).then(|| names().into_iter().collect()),
            sent_selector: sent_selector.unwrap_or_default(),
            stream: Stream::new(NAMESPACES, NAMESPACES, String::new()),
            failures: Vec::new(),
        })
    }

    /// They may be watched, if they are not read by their names.
    pub(super) fn allow_watch(&mut self) {
        if self.names.is_none() {
            self.stream.state = State::Idle;
        }
    }

    /// Whether there is a choice among namespaces: then nothing can be read without knowing them.
    pub(super) fn has_selector(&self) -> bool {
        self.selector.is_some()
    }

    /// The beginning of a list or watch of them.
    pub(super) fn query(&self) -> Query {
        Query::path(&["api", "v1", "namespaces"]).with_some("labelSelector", &self.sent_selector)
    }

    /// Whether Secrets of this namespace are looked at.
    pub(super) fn is_chosen(&self, name: &str) -> bool {
        self.selector.is_none() || self.known.get(name).is_some_and(|known| known.is_chosen)
    }

    /// The labels that this namespace gives to its tokens.
    pub(super) fn labels_of(&self, name: &str) -> &str {
        self.known.get(name).map_or(&self.unknown, |known| &known.labels)
    }

    /// What is to be kept of a namespace, if anything.
    fn look_at(&self, object: &NamespaceObject<'_>) -> Option<Namespace> {
        let label = |key: &str| object.labels.get(key);
        let is_chosen = self.selector.as_ref().is_none_or(|selector| selector.matches(label));
        (is_chosen || !self.labels.is_empty()).then(|| Namespace { is_chosen, labels: self.labels.render(label) })
    }

    /// What is known by now.
    pub(super) fn known(&self) -> Found {
        Found(self.known.clone())
    }

    /// Adds a namespace of a list.
    pub(super) fn find(&self, object: &NamespaceObject<'_>, found: &mut Found) {
        if let Some(namespace) = self.look_at(object) {
            found.0.insert(object.name.to_string(), namespace);
        }
    }

    /// Takes over a list; tells what is different now.
    pub(super) fn replace(&mut self, Found(found): Found) -> Vec<NamespaceChange> {
        let mut names: Vec<String> = self.known.keys().filter(|name| !found.contains_key(*name)).cloned().collect();
        names.extend(found.keys().cloned());
        let mut before = std::mem::replace(&mut self.known, found);
        names.into_iter().filter_map(|name| self.change(before.remove(&name).as_ref(), &name)).collect()
    }

    /// A namespace is like this now, or gone.
    pub(super) fn put(&mut self, object: &NamespaceObject<'_>, deleted: bool) -> Option<NamespaceChange> {
        let before = match self.look_at(object).filter(|_| !deleted) {
            Some(namespace) => self.known.insert(object.name.to_string(), namespace),
            None => self.known.remove(&*object.name),
        };
        self.change(before.as_ref(), &object.name)
    }

    /// What is different now that a namespace was `before`.
    fn change(&self, before: Option<&Namespace>, name: &str) -> Option<NamespaceChange> {
        let was_chosen = self.selector.is_none() || before.is_some_and(|before| before.is_chosen);
        let is_chosen = self.is_chosen(name);
        let relabelled = before.map_or(&self.unknown, |before| &before.labels) != self.labels_of(name);
        let change = NamespaceChange {
            name: name.to_owned(),
            joined: is_chosen && !was_chosen,
            left: was_chosen && !is_chosen,
            relabelled,
        };
        (change.joined || change.left || change.relabelled).then_some(change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::secrets::NamedSecret;

    fn namespaces(selector: Option<&str>, labels: &[(&str, &str)], selection: Selection) -> Option<Namespaces> {
        let namespace_selector = selector.and_then(|text| LabelSelector::parse(text).unwrap());
        let labels = labels.iter().map(|(name, key)| ((*name).to_owned(), (*key).to_owned()));
        Namespaces::new(&Selection { namespace_selector, ..selection }, &LabelMap::new(labels.collect()))
    }

    fn object(name: &str, labels: &str) -> String {
        format!(r#"{{"metadata":{{"name":"{name}","labels":{labels}}}}}"#)
    }

    fn put(namespaces: &mut Namespaces, name: &str, labels: &str, deleted: bool) -> (bool, bool, bool) {
        let object = object(name, labels);
        let change = namespaces.put(&NamespaceObject::read(object.as_bytes()).unwrap(), deleted);
        change.map_or((false, false, false), |change| (change.joined, change.left, change.relabelled))
    }

    #[test]
    fn a_namespace_joins_leaves_and_is_relabelled() {
        let mut all = namespaces(Some("env=dev"), &[("team", "team")], Selection::default()).unwrap();
        assert!(!all.is_chosen("a"));
        assert_eq!(put(&mut all, "a", r#"{"env":"dev"}"#, false), (true, false, false));
        assert_eq!((all.is_chosen("a"), all.labels_of("a")), (true, r#",team="""#));
        assert_eq!(put(&mut all, "a", r#"{"env":"dev","x":"y"}"#, false), (false, false, false));
        assert_eq!(put(&mut all, "a", r#"{"env":"dev","team":"t"}"#, false), (false, false, true));
        assert_eq!(put(&mut all, "a", r#"{"team":"u"}"#, false), (false, true, true));
        assert_eq!((all.is_chosen("a"), all.labels_of("a")), (false, r#",team="u""#));
        assert_eq!(put(&mut all, "a", r#"{"env":"dev","team":"u"}"#, false), (true, false, false));
        assert_eq!(put(&mut all, "a", r#"{"env":"dev","team":"u"}"#, true), (false, true, true));
        assert_eq!(all.labels_of("a"), r#",team="""#);
    }

    #[test]
    fn a_list_says_what_is_different() {
        let mut all = namespaces(Some("env"), &[("team", "team")], Selection::default()).unwrap();
        for name in ["gone", "same", "left"] {
            put(&mut all, name, r#"{"env":"dev","team":"t"}"#, false);
        }
        let mut found = Found::default();
        for (name, labels) in
            [("same", r#"{"env":"dev","team":"t"}"#), ("left", r#"{"team":"t"}"#), ("new", r#"{"env":""}"#)]
        {
            all.find(&NamespaceObject::read(object(name, labels).as_bytes()).unwrap(), &mut found);
        }
        let changes: Vec<_> =
            all.replace(found).into_iter().map(|c| (c.name, c.joined, c.left, c.relabelled)).collect();
        let expected = [("gone", false, true, true), ("left", false, true, false), ("new", true, false, false)];
        assert_eq!(changes, expected.map(|(name, joined, left, other)| (name.to_owned(), joined, left, other)));
    }

    #[test]
    fn what_is_asked_for_and_how() {
        let labels = [("team", "team")];
        let selection = |namespaces: &[&str], secrets: &[&str], only_named| Selection {
            namespaces: namespaces.iter().map(|name| (*name).into()).collect(),
            secrets: secrets
                .iter()
                .map(|namespace| NamedSecret {
                    context: None,
                    namespace: (*namespace).into(),
                    name: "s".into(),
                    keys: Vec::new(),
                    logins: Vec::new(),
                })
                .collect(),
            only_named,
            ..Selection::default()
        };
        assert!(namespaces(None, &[], selection(&["a"], &["b"], false)).is_none());
        let query = |found: Option<Namespaces>| {
            let found = found.unwrap();
            found.names.clone().map_or_else(|| found.query().build(), |names| names.join(" "))
        };
        let every = "/api/v1/namespaces";
        assert_eq!(query(namespaces(None, &labels, selection(&[], &[], false))), every);
        assert_eq!(query(namespaces(None, &labels, selection(&[], &["b"], false))), every);
        assert_eq!(query(namespaces(None, &labels, selection(&["c", "b"], &["b", "a", "a"], false))), "a b c");
        assert_eq!(query(namespaces(None, &labels, selection(&[], &["b"], true))), "b");
        let selected = "/api/v1/namespaces?labelSelector=env";
        assert_eq!(query(namespaces(Some("env"), &labels, selection(&[], &[], false))), selected);
        assert_eq!(query(namespaces(Some("env"), &[], selection(&[], &["b"], false))), selected);
        assert_eq!(query(namespaces(Some("env"), &labels, selection(&[], &["b"], false))), every);
    }

    #[test]
    fn without_labels_only_the_chosen_ones_are_kept() {
        let mut all = namespaces(Some("env"), &[], Selection::default()).unwrap();
        put(&mut all, "a", "{}", false);
        put(&mut all, "b", r#"{"env":"x"}"#, false);
        assert_eq!(all.known.len(), 1);
        assert_eq!(all.labels_of("b"), "");
    }
}
