//! Whatever two selectors and the watch of namespaces are told, in whatever order: in the end the source holds what the cluster
//! has in the namespaces that are chosen, with their labels.
//!
//! The model of an API server is the history of all changes. A list shows the state at one of its versions; a watch tells
//! what a selector sees of each change after a version (API concepts, "Efficient detection of changes"): a Secret or
//! namespace that no longer matches is `DELETED`, in the version of the change.

use super::namespaces::Found;
use super::*;
use crate::jwt::ClaimPaths;
use crate::kubernetes::LabelSelector;
use crate::kubernetes::access::Access;
use crate::kubernetes::object::NamespaceObject;
use crate::observation::{Bounds, LabelMap, label_value};
use proptest::prelude::*;
use std::collections::BTreeMap;

const STREAMS: usize = 2;

/// Behind those of Secrets: the stream of namespaces.
const OF_NAMESPACES: usize = STREAMS;

/// A Secret of the cluster by name, with a bit for each selector that matches it.
type ClusterState = BTreeMap<u8, (u64, u8)>;

/// A namespace as it is: whether it is to be chosen, and its label.
type Namespace = (bool, u8);

#[derive(Clone, Copy)]
enum Change {
    /// It became such that these selectors match it, or was deleted.
    Secret(u8, Option<u8>),
    /// It became like this, or was deleted.
    Namespace(u8, Option<Namespace>),
}

/// All that ever happened: `history[n]` in the version `n + 1`.
#[derive(Default)]
struct ApiServer {
    history: Vec<Change>,
}

/// The namespace of a Secret.
fn namespace_of(name: u8) -> u8 {
    name % 2
}

impl ApiServer {
    fn version(&self) -> u64 {
        self.history.len() as u64
    }

    fn state_at(&self, version: u64) -> ClusterState {
        let mut state = ClusterState::new();
        for (number, change) in self.history.iter().enumerate().take(version as usize) {
            match change {
                Change::Secret(name, Some(labels)) => drop(state.insert(*name, (number as u64 + 1, *labels))),
                Change::Secret(name, None) => drop(state.remove(name)),
                Change::Namespace(..) => {}
            }
        }
        state
    }

    fn namespaces_at(&self, version: u64) -> BTreeMap<u8, Namespace> {
        let mut state = BTreeMap::new();
        for change in self.history.iter().take(version as usize) {
            match change {
                Change::Namespace(name, Some(namespace)) => drop(state.insert(*name, *namespace)),
                Change::Namespace(name, None) => drop(state.remove(name)),
                Change::Secret(..) => {}
            }
        }
        state
    }

    /// The line for a change of a namespace: the server checks the selector.
    fn namespace_event(&self, version: u64) -> Option<Vec<u8>> {
        let Change::Namespace(name, now) = self.history[version as usize - 1] else { return None };
        let before = self.namespaces_at(version - 1).get(&name).copied().filter(|(chosen, _)| *chosen);
        let now = now.filter(|(chosen, _)| *chosen);
        let (kind, shown) = match (before, now) {
            (None, None) => return None,
            (None, Some(now)) => ("ADDED", now),
            (Some(_), Some(now)) => ("MODIFIED", now),
            (Some(before), None) => ("DELETED", before),
        };
        Some(format!(r#"{{"type":"{kind}","object":{}}}"#, namespace(name, shown, version)).into_bytes())
    }

    /// The line for a change, if a stream's selector sees it.
    fn event(&self, version: u64, stream: usize) -> Option<Vec<u8>> {
        let Change::Secret(name, labels) = self.history[version as usize - 1] else { return None };
        let sees = |labels: u8| labels & 1 << stream != 0;
        let before = self.state_at(version - 1).get(&name).is_some_and(|(_, labels)| sees(*labels));
        let kind = match (before, labels.is_some_and(sees)) {
            (false, false) => return None,
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
        };
        Some(format!(r#"{{"type":"{kind}","object":{}}}"#, object(name, version)).into_bytes())
    }
}

fn object(name: u8, version: u64) -> String {
    let namespace = namespace_of(name);
    format!(r#"{{"metadata":{{"namespace":"{namespace}","name":"{name}","resourceVersion":"{version}"}},"data":{{}}}}"#)
}

fn namespace(name: u8, (chosen, label): Namespace, version: u64) -> String {
    let labels = format!(r#"{{"chosen":"{chosen}","team":"{label}"}}"#);
    format!(r#"{{"metadata":{{"name":"{name}","resourceVersion":"{version}","labels":{labels}}}}}"#)
}

/// The source, fed by hand, and what is on the way to it.
struct Followed {
    source: SecretsSource,
    server: ApiServer,
    /// Up to which version each watch has told its stream everything.
    told: [u64; STREAMS + 1],
    /// With a bit for each selector whose last list failed.
    failed: u64,
}

impl Followed {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        let kubeconfig = "{clusters: [{name: c, cluster: {server: 'http://127.0.0.1:9'}}], users: [{name: u, user: {}}], \
             contexts: [{name: x, context: {cluster: c, user: u}}], current-context: x}";
        std::fs::write(&path, kubeconfig).unwrap();
        let access = Access::from_kubeconfig(&path, None, &|_| None).unwrap();
        let cluster = Arc::new(Cluster::connect(access, Arc::new(|_, _, _| ())).unwrap());
        let bounds = Bounds { max_tokens_per_secret: 1, max_series_per_token: 1 };
        let mut reading = Reading::new(ClaimPaths::default(), bounds);
        reading.namespace_labels = LabelMap::new(vec![("team".into(), "team".into())]);
        let selection = Selection {
            label_selectors: vec!["0".to_owned(), "1".to_owned()],
            namespace_selector: LabelSelector::parse("chosen=true").unwrap(),
            ..Selection::default()
        };
        let source = SecretsSource::new("kubernetes", cluster, Vec::new(), "key".into(), reading);
        let source = source.with_selection(selection);
        let mut followed = Self { source, server: ApiServer::default(), told: [0; STREAMS + 1], failed: 0 };
        followed.list([u8::MAX; STREAMS + 1], 0);
        followed
    }

    /// A version not before what a stream knows and not after the newest.
    fn version_for(&self, position: &str, freshness: u8) -> u64 {
        let position = position.parse().unwrap_or(0);
        position + (self.server.version() - position) * u64::from(freshness) / u64::from(u8::MAX)
    }

    /// Lists the namespaces.
    fn list_namespaces(&mut self, freshness: u8) {
        let position = self.source.namespaces.as_ref().unwrap().stream.position.clone();
        let version = self.version_for(&position, freshness);
        let namespaces = self.source.namespaces.as_mut().unwrap();
        let mut found = Found::default();
        for (name, state) in self.server.namespaces_at(version).into_iter().filter(|(_, (chosen, _))| *chosen) {
            let object = namespace(name, state, 1);
            namespaces.find(&NamespaceObject::read(object.as_bytes()).unwrap(), &mut found);
        }
        let changes = namespaces.replace(found);
        namespaces.stream.start_from(version.to_string(), true);
        if namespaces.stream.state != State::Open {
            namespaces.stream.state = State::Open;
            self.told[OF_NAMESPACES] = version;
        }
        self.source.apply(&changes);
    }

    /// Brings the next event of namespaces; the Secrets of one that joins are listed.
    fn tell_of_namespaces(&mut self, freshness: u8) {
        if self.told[OF_NAMESPACES] == self.server.version() {
            return;
        }
        self.told[OF_NAMESPACES] += 1;
        let Some(line) = self.server.namespace_event(self.told[OF_NAMESPACES]) else { return };
        let Some(change) = self.source.namespace_event(&line).unwrap() else { return };
        self.source.apply(std::slice::from_ref(&change));
        for number in (0..STREAMS).filter(|_| change.joined) {
            let position = self.source.streams[number].position.clone();
            let version = self.version_for(&position, freshness);
            let listed = self.matching(version, number).into_iter();
            for (name, changed) in listed.filter(|(name, _)| namespace_of(*name).to_string() == change.name) {
                let observation = self.observe(name, changed).expect("it is chosen");
                self.source.holdings.put(number, observation);
            }
        }
    }

    /// Name and version of each Secret that a selector matched once.
    fn matching(&self, version: u64, number: usize) -> Vec<(u8, u64)> {
        let state = self.server.state_at(version).into_iter();
        state.filter(|(_, (_, labels))| labels & 1 << number != 0).map(|(name, (changed, _))| (name, changed)).collect()
    }

    fn observe(&mut self, name: u8, changed: u64) -> Option<Arc<SecretObservation>> {
        let object = object(name, changed);
        let secret = SecretObject::read(object.as_bytes(), "key").unwrap();
        self.source.observe(&secret, 0, "selector").unwrap()
    }

    /// Lists each selector, at a version not before what its stream knows and not after the newest; then the watches that
    /// were open go on, and those that were not start from the list. Those with a bit in `failed` cannot be listed.
    fn list(&mut self, freshness: [u8; STREAMS + 1], failed: u64) {
        self.failed = failed;
        self.list_namespaces(freshness[OF_NAMESPACES]);
        let mut listed = Vec::new();
        let mut versions = Vec::new();
        let lists = freshness.into_iter().enumerate().take(STREAMS);
        for (number, freshness) in lists.filter(|(number, _)| failed & holdings::bit(*number) == 0) {
            let version = self.version_for(&self.source.streams[number].position, freshness);
            for (name, changed) in self.matching(version, number) {
                listed.extend(self.observe(name, changed).map(|observation| (number, observation)));
            }
            versions.push((number, version));
        }
        self.source.holdings.replace(listed, |_| failed);
        for (number, version) in versions {
            let stream = &mut self.source.streams[number];
            stream.start_from(version.to_string(), true);
            if stream.state != State::Open {
                stream.state = State::Open;
                self.told[number] = version;
            }
        }
    }

    /// Brings a stream the next event of its watch, or a bookmark where it sees nothing of the change.
    fn tell(&mut self, number: usize) {
        if self.source.streams[number].state == State::Open && self.told[number] < self.server.version() {
            self.told[number] += 1;
            let version = self.told[number];
            let bookmark = || {
                let object = format!(r#"{{"metadata":{{"resourceVersion":"{version}"}}}}"#);
                format!(r#"{{"type":"BOOKMARK","object":{object}}}"#).into_bytes()
            };
            let line = self.server.event(version, number).unwrap_or_else(bookmark);
            let opening = self.source.streams[number].opening;
            let event = StreamEvent { stream: number, opening, what: StreamNews::Line(line) };
            let followed = self.source.receive(event);
            assert!(matches!(followed, super::Followed::Nothing | super::Followed::Changed), "{followed:?}");
        }
    }

    /// The watch of a stream is opened anew, from where the stream is.
    fn reopen(&mut self, number: usize) {
        let of_namespaces = &self.source.namespaces.as_ref().unwrap().stream;
        let stream = self.source.streams.get(number).unwrap_or(of_namespaces);
        self.told[number] = stream.position.parse().unwrap();
    }

    /// Name, version, and the label of its namespace.
    fn held(&self) -> Vec<(String, u64, String)> {
        let label = |secret: &SecretObservation| label_value(&secret.errors[0].location, "team").unwrap();
        self.source.held().iter().map(|secret| (secret.name.to_string(), secret.version, label(secret))).collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Change(u8, u8),
    Delete(u8),
    ChangeNamespace(u8, Option<Namespace>),
    Tell(usize),
    TellOfNamespaces(u8),
    Reopen(usize),
    /// With a bit for each selector whose list fails.
    List([u8; STREAMS + 1], u64),
    /// The watch of the stream is gone before the lists.
    Relist(usize, [u8; STREAMS + 1], u64),
}

fn step() -> impl Strategy<Value = Step> {
    let freshness = any::<[u8; STREAMS + 1]>;
    let namespace = proptest::option::weighted(0.8, (proptest::bool::weighted(0.7), 0_u8..3));
    prop_oneof![
        6 => (0_u8..3, 0_u8..4).prop_map(|(name, labels)| Step::Change(name, labels)),
        2 => (0_u8..3).prop_map(Step::Delete),
        4 => (0_u8..2, namespace).prop_map(|(name, namespace)| Step::ChangeNamespace(name, namespace)),
        8 => (0..STREAMS).prop_map(Step::Tell),
        6 => any::<u8>().prop_map(Step::TellOfNamespaces),
        1 => (0..STREAMS + 1).prop_map(Step::Reopen),
        1 => (freshness(), 0_u64..4).prop_map(|(freshness, failed)| Step::List(freshness, failed)),
        1 => (0..STREAMS, freshness(), 0_u64..4)
            .prop_map(|(stream, freshness, failed)| Step::Relist(stream, freshness, failed)),
    ]
}

proptest! {
    #[test]
    fn in_the_end_the_source_holds_what_the_cluster_has(steps in proptest::collection::vec(step(), 0..60)) {
        let mut followed = Followed::new();
        for step in steps {
            match step {
                Step::Change(name, labels) => {
                    followed.server.history.push(Change::Secret(name, Some(labels)));
                }
                // Of what is not there nothing can be deleted.
                Step::Delete(name) => {
                    if followed.server.state_at(u64::MAX).contains_key(&name) {
                        followed.server.history.push(Change::Secret(name, None));
                    }
                }
                Step::ChangeNamespace(name, namespace) => {
                    followed.server.history.push(Change::Namespace(name, namespace));
                }
                Step::TellOfNamespaces(freshness) => followed.tell_of_namespaces(freshness),
                Step::Tell(stream) => followed.tell(stream),
                Step::Reopen(stream) => followed.reopen(stream),
                Step::List(freshness, failed) => followed.list(freshness, failed),
                Step::Relist(stream, freshness, failed) => {
                    followed.source.streams[stream].state = State::Idle;
                    followed.list(freshness, failed);
                }
            }
        }
        // What could not be listed is tried again, by itself.
        followed.list([0; STREAMS + 1], !followed.failed);
        for stream in 0..STREAMS {
            while followed.told[stream] < followed.server.version() {
                followed.tell(stream);
            }
        }
        while followed.told[OF_NAMESPACES] < followed.server.version() {
            followed.tell_of_namespaces(0);
        }
        let state = followed.server.state_at(u64::MAX).into_iter().filter(|(_, (_, labels))| *labels != 0);
        let namespaces = followed.server.namespaces_at(u64::MAX);
        let label = |name: u8| namespaces.get(&namespace_of(name)).filter(|(chosen, _)| *chosen).map(|(_, label)| label);
        let mut expected: Vec<_> = state
            .filter_map(|(name, (version, _))| Some((name.to_string(), version, label(name)?.to_string())))
            .collect();
        expected.sort_by_key(|(name, ..)| (name.parse::<u8>().ok().map(namespace_of), name.clone()));
        prop_assert_eq!(followed.held(), expected);
    }
}
