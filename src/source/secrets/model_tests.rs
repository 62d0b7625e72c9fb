//! Whatever two selectors are told, in whatever order: in the end the source holds what the cluster has.
//!
//! The model of an API server is the history of all changes. A list shows the state at one of its versions; a watch tells
//! what a selector sees of each change after a version (API concepts, "Efficient detection of changes"): a Secret that no
//! longer matches is `DELETED`, in the version of the change.

use super::*;
use crate::jwt::ClaimPaths;
use crate::kubernetes::access::Access;
use crate::observation::Bounds;
use proptest::prelude::*;
use std::collections::BTreeMap;

const STREAMS: usize = 2;

/// A Secret of the cluster by name, with a bit for each selector that matches it.
type ClusterState = BTreeMap<u8, (u64, u8)>;

/// All that ever happened: in the version `n + 1` the Secret `history[n].0` became such that these selectors match it, or was
/// deleted.
#[derive(Default)]
struct ApiServer {
    history: Vec<(u8, Option<u8>)>,
}

impl ApiServer {
    fn version(&self) -> u64 {
        self.history.len() as u64
    }

    fn state_at(&self, version: u64) -> ClusterState {
        let mut state = ClusterState::new();
        for (number, (name, labels)) in self.history.iter().enumerate().take(version as usize) {
            match labels {
                Some(labels) => state.insert(*name, (number as u64 + 1, *labels)),
                None => state.remove(name),
            };
        }
        state
    }

    /// The line for a change, if a stream's selector sees it.
    fn event(&self, version: u64, stream: usize) -> Option<Vec<u8>> {
        let (name, labels) = self.history[version as usize - 1];
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
    format!(r#"{{"metadata":{{"namespace":"ns","name":"{name}","resourceVersion":"{version}"}},"data":{{}}}}"#)
}

/// The source, fed by hand, and what is on the way to it.
struct Followed {
    source: SecretsSource,
    server: ApiServer,
    /// Up to which version each watch has told its stream everything.
    told: [u64; STREAMS],
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
        let reading = Reading { claims: ClaimPaths::default(), bounds, logins: [].into() };
        let selectors = vec!["0".to_owned(), "1".to_owned()];
        let source = SecretsSource::new("kubernetes", cluster, selectors, "key".into(), reading);
        let mut followed = Self { source, server: ApiServer::default(), told: [0; STREAMS] };
        followed.list([u8::MAX; STREAMS]);
        followed
    }

    /// Lists each selector, at a version not before what its stream knows and not after the newest; then the watches that
    /// were open go on, and those that were not start from the list.
    fn list(&mut self, freshness: [u8; STREAMS]) {
        let mut listed = Vec::new();
        let mut versions = Vec::new();
        for (number, freshness) in freshness.into_iter().enumerate() {
            let position = self.source.streams[number].position.parse().unwrap_or(0);
            let version = position + (self.server.version() - position) * u64::from(freshness) / u64::from(u8::MAX);
            for (name, (changed, _)) in self.server.state_at(version).iter().filter(|(_, s)| s.1 & 1 << number != 0) {
                let object = object(*name, *changed);
                let secret = SecretObject::read(object.as_bytes(), "key").unwrap();
                let observation = self.source.observe(&secret, 0, "selector").unwrap().unwrap();
                listed.push((number, observation));
            }
            versions.push(version);
        }
        self.source.holdings.replace(listed, |_| false);
        for (number, version) in versions.into_iter().enumerate() {
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
        if self.told[number] < self.server.version() {
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
        self.told[number] = self.source.streams[number].position.parse().unwrap();
    }

    fn held(&self) -> Vec<(String, u64)> {
        self.source.held().iter().map(|secret| (secret.name.to_string(), secret.version)).collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Change(u8, u8),
    Delete(u8),
    Tell(usize),
    Reopen(usize),
    List([u8; STREAMS]),
    /// The watch of the stream is gone before the lists.
    Relist(usize, [u8; STREAMS]),
}

fn step() -> impl Strategy<Value = Step> {
    let freshness = any::<[u8; STREAMS]>;
    prop_oneof![
        6 => (0_u8..3, 0_u8..4).prop_map(|(name, labels)| Step::Change(name, labels)),
        2 => (0_u8..3).prop_map(Step::Delete),
        8 => (0..STREAMS).prop_map(Step::Tell),
        1 => (0..STREAMS).prop_map(Step::Reopen),
        1 => freshness().prop_map(Step::List),
        1 => (0..STREAMS, freshness()).prop_map(|(stream, freshness)| Step::Relist(stream, freshness)),
    ]
}

proptest! {
    #[test]
    fn in_the_end_the_source_holds_what_the_cluster_has(steps in proptest::collection::vec(step(), 0..60)) {
        let mut followed = Followed::new();
        for step in steps {
            match step {
                Step::Change(name, labels) => followed.server.history.push((name, Some(labels))),
                // Of what is not there nothing can be deleted.
                Step::Delete(name) => {
                    if followed.server.state_at(u64::MAX).contains_key(&name) {
                        followed.server.history.push((name, None));
                    }
                }
                Step::Tell(stream) => followed.tell(stream),
                Step::Reopen(stream) => followed.reopen(stream),
                Step::List(freshness) => followed.list(freshness),
                Step::Relist(stream, freshness) => {
                    followed.source.streams[stream].state = State::Idle;
                    followed.list(freshness);
                }
            }
        }
        for stream in 0..STREAMS {
            while followed.told[stream] < followed.server.version() {
                followed.tell(stream);
            }
        }
        let state = followed.server.state_at(u64::MAX);
        let matched = state.iter().filter(|(_, (_, labels))| *labels != 0);
        let expected: Vec<_> = matched.map(|(name, (version, _))| (name.to_string(), *version)).collect();
        prop_assert_eq!(followed.held(), expected);
    }
}
