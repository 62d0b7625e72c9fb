//! An API server of our own with a few Secrets, which can be read and patched, and which can be made to wait.

use crate::support::fake_api_server::{Answer, FakeApiServer, Request};
use crate::support::kubeconfig::Kubeconfig;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Secrets by `namespace/name`.
type Secrets = Arc<Mutex<BTreeMap<String, Value>>>;

pub struct FakeSecrets {
    pub server: FakeApiServer,
    secrets: Secrets,
}

impl FakeSecrets {
    /// `(namespace/name, [(data key, value)])`. `before` is called with each request before it is answered.
    pub fn start(secrets: &[(&str, &[(&str, &str)])], before: impl Fn(&Request) + Send + Sync + 'static) -> Self {
        let object = |(place, data): &(&str, &[(&str, &str)])| {
            let (namespace, name) = place.split_once('/').unwrap();
            let data: BTreeMap<&str, String> = data.iter().map(|(key, value)| (*key, STANDARD.encode(value))).collect();
            let metadata = json!({"namespace": namespace, "name": name, "resourceVersion": "1"});
            ((*place).to_owned(), json!({"metadata": metadata, "data": data, "type": "Opaque"}))
        };
        let secrets: Secrets = Arc::new(Mutex::new(secrets.iter().map(object).collect()));
        let held = Arc::clone(&secrets);
        let server = FakeApiServer::start(move |request| {
            before(request);
            answer(request, &mut held.lock().unwrap())
        });
        Self { server, secrets }
    }

    pub fn kubeconfig(&self) -> Kubeconfig {
        Kubeconfig::new(self.server.url()).token("bearer")
    }

    pub fn value(&self, place: &str, key: &str) -> String {
        let secrets = self.secrets.lock().unwrap();
        String::from_utf8(STANDARD.decode(secrets[place]["data"][key].as_str().unwrap()).unwrap()).unwrap()
    }

    /// Somebody else changes something of it.
    pub fn touch(&self, place: &str) {
        next_version(self.secrets.lock().unwrap().get_mut(place).unwrap());
    }

    pub fn claim(&self, place: &str) -> Option<String> {
        let secrets = self.secrets.lock().unwrap();
        secrets[place]["metadata"]["annotations"]["jwt-exporter/renewal"].as_str().map(str::to_owned)
    }
}

fn answer(request: &Request, secrets: &mut BTreeMap<String, Value>) -> Answer {
    let parts: Vec<&str> = request.path().split('/').collect();
    let ["", "api", "v1", "namespaces", namespace, "secrets", name] = parts[..] else {
        return Answer::status_object(404, "NotFound");
    };
    let Some(secret) = secrets.get_mut(&format!("{namespace}/{name}")) else {
        return Answer::status_object(404, "NotFound");
    };
    if request.method == "PATCH" {
        let patch: Value = serde_json::from_slice(&request.body).unwrap();
        let version = secret["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
        if patch["metadata"]["resourceVersion"] != version {
            return Answer::status_object(409, "Conflict");
        }
        merge(secret, &patch);
        next_version(secret);
    }
    Answer::json(200, secret)
}

fn next_version(secret: &mut Value) {
    let version = secret["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap();
    secret["metadata"]["resourceVersion"] = (version + 1).to_string().into();
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in patch {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(name);
        } else {
            merge(&mut target[name], value);
        }
    }
}
