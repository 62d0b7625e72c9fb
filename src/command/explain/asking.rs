//! What the API server says: the Secret itself, and the labels of its namespace.

use crate::config::Config;
use crate::json;
use crate::kubernetes::list::{MAX_OBJECT_BYTES, read_list};
use crate::kubernetes::object::{ObjectError, SecretObject};
use crate::kubernetes::{ApiRequest, ApiResponse, Cluster, FieldSelector, Query, Reason, RequestError, Verb};
use crate::observation::DataValue;
use crate::redacted::read_wiped;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;
use zeroize::Zeroizing;

/// One request is answered within this time or not at all.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A Secret as it was read, with what decides whether it is taken.
pub(super) struct Held {
    object: Zeroizing<Vec<u8>>,
    pub(super) labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    pub(super) annotation: Option<String>,
    pub(super) secret_type: String,
}

pub(super) enum Asked {
    Found(Held),
    /// By a list, without the right to `get` it.
    FoundByList(Held),
    Missing,
}

impl Held {
    fn new(object: Zeroizing<Vec<u8>>) -> Option<Self> {
        let mut held = Self {
            object,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            annotation: None,
            secret_type: String::new(),
        };
        let text = std::str::from_utf8(&held.object).ok()?;
        let (mut metadata, mut secret_type) = ("{}", Cow::Borrowed(""));
        json::members(text, |name, value| match &*name {
            "metadata" => metadata = value,
            "type" => secret_type = json::string(value).unwrap_or_default(),
            _ => {}
        })
        .ok()?;
        let (mut labels, mut annotations) = (BTreeMap::new(), BTreeMap::new());
        json::members(metadata, |name, value| match &*name {
            "labels" => labels = texts(value),
            "annotations" => annotations = texts(value),
            _ => {}
        })
        .ok()?;
        let secret_type = secret_type.into_owned();
        (held.labels, held.annotations, held.secret_type) = (labels, annotations, secret_type);
        Some(held)
    }

    pub(super) fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(String::as_str)
    }

    pub(super) fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.get(key).map(String::as_str)
    }

    pub(super) fn data<'a>(&'a self, into: &mut Vec<(Cow<'a, str>, DataValue<'a>)>) -> Result<(), ObjectError> {
        SecretObject::read(&self.object, "").and_then(|secret| secret.data(into))
    }
}

fn texts(object: &str) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    // `null` is as good as none.
    let _ = json::members(object, |key, value| {
        if let Some(value) = json::string(value) {
            texts.insert(key.into_owned(), value.into_owned());
        }
    });
    texts
}

/// The Secret, got by its name, or found by a list where that is forbidden.
pub(super) fn secret(cluster: &Cluster, config: &Config, namespace: &str, name: &str) -> Result<Asked, RequestError> {
    let with_annotation = |mut held: Held| {
        held.annotation = held.annotations.get(&config.annotation_key).cloned();
        held
    };
    let path = Query::path(&["api", "v1", "namespaces", namespace, "secrets", name]).build();
    let refused = match cluster.send(&request(Verb::Get, "secrets", path, None)) {
        Ok(response) => {
            let object = whole(response)?;
            let held = Held::new(object).ok_or_else(|| no_secret(cluster))?;
            return Ok(Asked::Found(with_annotation(held)));
        }
        Err(error) if error.reason() == Reason::NotFound => return Ok(Asked::Missing),
        Err(error) if error.reason() == Reason::Forbidden => error,
        Err(error) => return Err(error),
    };
    let fields = FieldSelector::default().named(name);
    let in_namespace = Query::path(&["api", "v1", "namespaces", namespace, "secrets"]);
    match listed(cluster, in_namespace.with("fieldSelector", fields.as_str())) {
        Ok(Some(held)) => Ok(Asked::FoundByList(with_annotation(held))),
        Ok(None) => Ok(Asked::Missing),
        // What was asked for first says best what is missing.
        Err(_) => Err(refused),
    }
}

fn listed(cluster: &Cluster, query: Query) -> Result<Option<Held>, RequestError> {
    let response = cluster.send(&request(Verb::List, "secrets", query.build(), None))?;
    let mut found = None;
    read_list(response, |item| found = Held::new(Zeroizing::new(item.to_vec()))).map_err(|_| no_secret(cluster))?;
    Ok(found)
}

/// The labels of the namespace, if it matters what they are.
pub(super) fn namespace_labels(
    cluster: &Cluster,
    config: &Config,
    namespace: &str,
) -> Option<Result<BTreeMap<String, String>, RequestError>> {
    config.namespace_selector.as_ref()?;
    // By a list, for which a selector on namespaces needs the right anyway.
    let fields = FieldSelector::default().named(namespace);
    let query = Query::path(&["api", "v1", "namespaces"]).with("fieldSelector", fields.as_str());
    let mut labels = BTreeMap::new();
    let listed = cluster.send(&request(Verb::List, "namespaces", query.build(), None)).and_then(|response| {
        let keep = |item: &[u8]| {
            labels = Held::new(Zeroizing::new(item.to_vec())).map(|held| held.labels).unwrap_or_default();
        };
        read_list(response, keep).map_err(|error| RequestError::new(Reason::BadAnswer, error.to_string()))
    });
    Some(listed.map(|_| labels))
}

fn no_secret(cluster: &Cluster) -> RequestError {
    RequestError::new(Reason::BadAnswer, format!("what {} sent is no Secret", cluster.server()))
}

fn request<'a>(verb: Verb, resource: &'a str, path: String, body: Option<(&'a str, &'a [u8])>) -> ApiRequest<'a> {
    ApiRequest { verb, resource, path, body, deadline: Some(TIMEOUT), per_read: TIMEOUT }
}

fn whole(mut response: ApiResponse) -> Result<Zeroizing<Vec<u8>>, RequestError> {
    read_wiped(&mut response, MAX_OBJECT_BYTES).map_err(|error| response.read_error(error))
}
