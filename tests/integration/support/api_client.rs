//! A client of the Kubernetes API that shares nothing with the one under test. It panics at an unexpected answer, with the
//! answer; [`ApiClient::request`] shows any answer.

use super::certificates::{self, Identity};
use super::http::{Connection, Response};
use super::{unique_name, wait_for};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How a client says who it is.
pub enum Credentials {
    Token(String),
    Certificate(Identity),
}

/// One who asks the API server, over connections that are kept. May be used by many threads.
pub struct ApiClient {
    address: SocketAddr,
    server_name: String,
    tls: Arc<rustls::ClientConfig>,
    authorization: Option<String>,
    idle: Mutex<Vec<Connection>>,
}

/// To whom something is granted.
#[derive(Clone, Copy)]
pub enum Subject<'a> {
    User(&'a str),
    Group(&'a str),
    ServiceAccount { namespace: &'a str, name: &'a str },
}

impl Subject<'_> {
    fn to_json(self) -> Value {
        const RBAC: &str = "rbac.authorization.k8s.io";
        match self {
            Self::User(name) => json!({"kind": "User", "name": name, "apiGroup": RBAC}),
            Self::Group(name) => json!({"kind": "Group", "name": name, "apiGroup": RBAC}),
            Self::ServiceAccount { namespace, name } => {
                json!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
            }
        }
    }

    /// The user and the groups as an access review wants them.
    fn as_reviewed(self) -> (String, Vec<String>) {
        match self {
            Self::User(name) => (name.to_owned(), vec![]),
            Self::Group(name) => ("nobody".to_owned(), vec![name.to_owned()]),
            Self::ServiceAccount { namespace, name } => (format!("system:serviceaccount:{namespace}:{name}"), vec![]),
        }
    }
}

/// A Secret to be written.
#[derive(Debug, Clone)]
pub struct Secret {
    namespace: String,
    name: String,
    kind: String,
    labels: Map<String, Value>,
    annotations: Map<String, Value>,
    data: Map<String, Value>,
}

impl Secret {
    pub fn new(namespace: &str, name: &str) -> Self {
        let (labels, annotations, data) = (Map::new(), Map::new(), Map::new());
        Self { namespace: namespace.into(), name: name.into(), kind: "Opaque".into(), labels, annotations, data }
    }

    /// The Secret's `type`; `Opaque` unless said.
    pub fn kind(mut self, kind: &str) -> Self {
        kind.clone_into(&mut self.kind);
        self
    }

    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(name.to_owned(), value.into());
        self
    }

    pub fn annotation(mut self, name: &str, value: &str) -> Self {
        self.annotations.insert(name.to_owned(), value.into());
        self
    }

    /// A data key with its plain value: base64 is added here.
    pub fn data(mut self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.data.insert(key.to_owned(), STANDARD.encode(value).into());
        self
    }

    /// The object as the API has it.
    pub fn to_json(&self) -> Value {
        let metadata = json!({
            "namespace": self.namespace, "name": self.name, "labels": self.labels, "annotations": self.annotations,
        });
        json!({"apiVersion": "v1", "kind": "Secret", "type": self.kind, "metadata": metadata, "data": self.data})
    }
}

impl ApiClient {
    pub fn new(address: SocketAddr, server_name: &str, ca_pem: &str, credentials: Credentials) -> Self {
        let (tls, authorization) = match credentials {
            Credentials::Token(token) => (certificates::client_config(ca_pem, None), Some(format!("Bearer {token}"))),
            Credentials::Certificate(identity) => (certificates::client_config(ca_pem, Some(&identity)), None),
        };
        Self { address, server_name: server_name.to_owned(), tls, authorization, idle: Mutex::default() }
    }

    /// Any request; the status and the answer's JSON (`Null` if it is none).
    pub fn request(&self, method: &str, target: &str, body: Option<&Value>) -> (u16, Value) {
        let answer = self.try_request(method, target, body).unwrap_or_else(|e| panic!("{method} {target}: {e}"));
        (answer.status, answer.json())
    }

    /// The same, but for a server that may not be there.
    pub fn try_request(&self, method: &str, target: &str, body: Option<&Value>) -> std::io::Result<Response> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut headers = vec![("Accept", "application/json"), ("User-Agent", "integration-tests")];
        headers.extend(self.authorization.as_deref().map(|value| ("Authorization", value)));
        if !body.is_empty() {
            let patch = method == "PATCH";
            let content_type = if patch { "application/merge-patch+json" } else { "application/json" };
            headers.push(("Content-Type", content_type));
        }
        let kept = self.idle.lock().unwrap().pop();
        // A kept connection may have been closed at the other end, by a restart for instance: then once more, on a new one.
        if let Some(mut connection) = kept
            && let Ok(answer) = connection.send(method, target, &headers, body.as_bytes())
        {
            return Ok(self.keep(connection, answer));
        }
        let mut connection = Connection::tls(self.address, &self.server_name, &self.tls)?;
        let answer = connection.send(method, target, &headers, body.as_bytes())?;
        Ok(self.keep(connection, answer))
    }

    fn keep(&self, connection: Connection, answer: Response) -> Response {
        if answer.header("Connection").is_none_or(|value| !value.eq_ignore_ascii_case("close")) {
            self.idle.lock().unwrap().push(connection);
        }
        answer
    }

    fn expect(&self, method: &str, target: &str, body: Option<&Value>, accepted: &[u16]) -> (u16, Value) {
        let (status, answer) = self.request(method, target, body);
        assert!(accepted.contains(&status), "{method} {target}: {status} {answer}");
        (status, answer)
    }

    /// The object or list at `target`.
    pub fn get(&self, target: &str) -> Value {
        self.expect("GET", target, None, &[200]).1
    }

    /// Creates an object in the collection at `target`.
    pub fn create(&self, target: &str, object: &Value) -> Value {
        self.expect("POST", target, Some(object), &[200, 201]).1
    }

    /// Deletes an object or a whole collection; it may be gone already.
    pub fn delete(&self, target: &str) {
        self.expect("DELETE", target, None, &[200, 202, 404]);
    }

    pub fn create_namespace(&self, name: &str, labels: &[(&str, &str)]) {
        let labels: Map<String, Value> = labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        self.create("/api/v1/namespaces", &json!({"metadata": {"name": name, "labels": labels}}));
    }

    /// Creates a namespace that no other test uses and returns its name, `prefix-PID-N`.
    pub fn create_unique_namespace(&self, prefix: &str) -> String {
        let name = unique_name(prefix);
        self.create_namespace(&name, &[]);
        name
    }

    /// Deletes a namespace with its Secrets, service accounts and roles. It is gone when this returns. No namespace
    /// controller runs here, so this does its work: empty it, then take the finalizer away.
    pub fn delete_namespace(&self, name: &str) {
        const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
        let target = format!("/api/v1/namespaces/{name}");
        self.delete(&target);
        self.delete(&format!("{target}/secrets"));
        self.delete(&format!("{target}/serviceaccounts"));
        self.delete(&format!("{RBAC}/namespaces/{name}/rolebindings"));
        self.delete(&format!("{RBAC}/namespaces/{name}/roles"));
        let (status, mut namespace) = self.request("GET", &target, None);
        if status == 404 {
            return;
        }
        namespace["spec"]["finalizers"] = json!([]);
        self.expect("PUT", &format!("{target}/finalize"), Some(&namespace), &[200, 404, 409]);
        wait_for("namespace gone", Duration::from_secs(30), || match self.request("GET", &target, None) {
            (404, _) => Ok(()),
            (status, answer) => Err(format!("{status} {answer}")),
        });
    }

    /// Creates the Secret or replaces it.
    pub fn put_secret(&self, secret: &Secret) -> Value {
        let object = secret.to_json();
        let collection = format!("/api/v1/namespaces/{}/secrets", secret.namespace);
        match self.expect("POST", &collection, Some(&object), &[201, 409]) {
            (409, _) => self.expect("PUT", &format!("{collection}/{}", secret.name), Some(&object), &[200]).1,
            (_, created) => created,
        }
    }

    /// Creates or replaces many Secrets, over eight connections at once.
    pub fn put_secrets(&self, secrets: &[Secret]) {
        std::thread::scope(|scope| {
            for part in secrets.chunks(secrets.len().div_ceil(8).max(1)) {
                scope.spawn(move || part.iter().for_each(|secret| drop(self.put_secret(secret))));
            }
        });
    }

    pub fn delete_secret(&self, namespace: &str, name: &str) {
        self.delete(&format!("/api/v1/namespaces/{namespace}/secrets/{name}"));
    }

    pub fn create_service_account(&self, namespace: &str, name: &str) {
        let account = json!({"metadata": {"name": name}});
        self.create(&format!("/api/v1/namespaces/{namespace}/serviceaccounts"), &account);
    }

    /// A bound token from the TokenRequest API. No audience means the API server's own. It lives `seconds`, at least 600:
    /// <https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/>.
    pub fn request_token(&self, namespace: &str, account: &str, audiences: &[&str], seconds: u32) -> String {
        let target = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
        let spec = json!({"audiences": audiences, "expirationSeconds": seconds});
        let kind = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
        let answer = self.create(&target, &kind);
        answer["status"]["token"].as_str().unwrap_or_else(|| panic!("no token at {target}")).to_owned()
    }

    /// Grants verbs on a resource of the core API group in every namespace, by a ClusterRole and a ClusterRoleBinding.
    /// Returns their common name when the grant is in force.
    pub fn grant(&self, subject: Subject, verbs: &[&str], resource: &str) -> String {
        self.grant_at("", "Cluster", subject, verbs, resource)
    }

    /// Grants verbs on a resource of the core API group in one namespace, by a Role and a RoleBinding.
    pub fn grant_in(&self, namespace: &str, subject: Subject, verbs: &[&str], resource: &str) -> String {
        self.grant_at(namespace, "", subject, verbs, resource)
    }

    fn grant_at(&self, namespace: &str, prefix: &str, subject: Subject, verbs: &[&str], resource: &str) -> String {
        let name = unique_name("grant");
        let place = match namespace {
            "" => "/apis/rbac.authorization.k8s.io/v1".to_owned(),
            _ => format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"),
        };
        let plural = prefix.to_lowercase();
        let rules = json!([{"apiGroups": [""], "resources": [resource], "verbs": verbs}]);
        self.create(&format!("{place}/{plural}roles"), &json!({"metadata": {"name": name}, "rules": rules}));
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": format!("{prefix}Role"), "name": name});
        let binding = json!({"metadata": {"name": name}, "roleRef": role, "subjects": [subject.to_json()]});
        self.create(&format!("{place}/{plural}rolebindings"), &binding);
        for verb in verbs {
            self.await_access(subject, namespace, verb, resource, true);
        }
        name
    }

    /// Takes a cluster-wide grant back, by the name that [`ApiClient::grant`] returned. The authorizer learns of it a moment later:
    /// see [`ApiClient::await_access`].
    pub fn revoke(&self, grant: &str) {
        self.delete(&format!("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{grant}"));
        self.delete(&format!("/apis/rbac.authorization.k8s.io/v1/clusterroles/{grant}"));
    }

    /// Waits until the authorizer, which follows RBAC objects with a delay, allows this (or does so no more).
    pub fn await_access(&self, subject: Subject, namespace: &str, verb: &str, resource: &str, allowed: bool) {
        let (user, groups) = subject.as_reviewed();
        let attributes = json!({"namespace": namespace, "verb": verb, "resource": resource});
        let spec = json!({"user": user, "groups": groups, "resourceAttributes": attributes});
        let kind = "SubjectAccessReview";
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec});
        wait_for("RBAC in force", Duration::from_secs(30), || {
            let answer = self.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", &review);
            match answer["status"]["allowed"] == allowed {
                true => Ok(()),
                false => Err(answer["status"].to_string()),
            }
        });
    }
}
