//! A token in a Secret: read by name, changed by merge patches (RFC 7396) of its one data key and our annotation, each with
//! the resource version that was read as its precondition.
//! Source: <https://kubernetes.io/docs/reference/using-api/api-concepts/#patch-and-apply>

use crate::json::{self, JsonFault};
use crate::kubernetes::object::LOGIN_ANNOTATION;
use crate::kubernetes::{ApiRequest, ApiResponse, Cluster, Query, Reason as KubeReason, RequestError, Verb};
use crate::redacted::{Redacted, read_wiped};
use crate::renewal::attempt::{Claiming, Held, Target};
use crate::renewal::claim::{ANNOTATION, Claim};
use crate::renewal::reason::{Failure, Reason};
use crate::renewal::verdict::Found;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::time::Duration;
use zeroize::Zeroizing;

/// A Secret has at most 1 MiB of values (Kubernetes, `MaxSecretSize`), which base64 and annotations make about twice as much.
pub(in crate::renewal) const MOST_BYTES: usize = 4 << 20;

const TIMEOUT: Duration = Duration::from_secs(30);

/// One data key of one Secret, and the state that it was last seen in.
pub(in crate::renewal) struct SecretTarget<'a> {
    cluster: &'a Cluster,
    namespace: &'a str,
    name: &'a str,
    key: &'a str,
    create: Option<&'a [(String, String)]>,
    /// `metadata.resourceVersion`; `None`: there is no such Secret.
    version: Option<String>,
}

impl<'a> SecretTarget<'a> {
    pub(in crate::renewal) fn new(
        cluster: &'a Cluster,
        (namespace, name, key): (&'a str, &'a str, &'a str),
        create: Option<&'a [(String, String)]>,
    ) -> Self {
        Self { cluster, namespace, name, key, create, version: None }
    }

    fn path(&self) -> String {
        Query::path(&["api", "v1", "namespaces", self.namespace, "secrets", self.name])
            .with("fieldManager", "jwt-exporter")
            .build()
    }

    /// Changes the Secret as it was seen; `false`: it has changed since, or is gone.
    fn patch(&mut self, body: &Zeroizing<Vec<u8>>) -> Result<bool, Failure> {
        let request = ApiRequest {
            verb: Verb::Patch,
            resource: "secrets",
            path: self.path(),
            body: Some(("application/merge-patch+json", body)),
            deadline: Some(TIMEOUT),
            per_read: TIMEOUT,
        };
        self.changed(&request)
    }

    /// Makes the Secret, empty but for the claim: of several replicas one succeeds, and the others wait for it.
    fn make(&mut self, labels: &[(String, String)], claim: &Claim) -> Result<bool, Failure> {
        let labels: Map<String, Value> =
            labels.iter().map(|(name, value)| (name.clone(), Value::String(value.clone()))).collect();
        let metadata = json!({"name": self.name, "labels": labels, "annotations": {ANNOTATION: claim.to_string()}});
        let body = json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata}).to_string();
        let path = Query::path(&["api", "v1", "namespaces", self.namespace, "secrets"]);
        let request = ApiRequest {
            verb: Verb::Create,
            resource: "secrets",
            path: path.with("fieldManager", "jwt-exporter").build(),
            body: Some(("application/json", body.as_bytes())),
            deadline: Some(TIMEOUT),
            per_read: TIMEOUT,
        };
        self.changed(&request)
    }

    /// Sends a change and takes in the new resource version.
    fn changed(&mut self, request: &ApiRequest<'_>) -> Result<bool, Failure> {
        let answer = match self.cluster.send(request).and_then(whole) {
            Ok(answer) => answer,
            Err(error) => {
                return match error.reason() {
                    KubeReason::Conflict => Ok(false),
                    KubeReason::NotFound if request.verb == Verb::Patch => Ok(false),
                    KubeReason::Forbidden => Err(Failure::new(Reason::TargetForbidden, error.to_string())),
                    // 422 Unprocessable Entity: among others, a Secret that became immutable.
                    KubeReason::BadStatus => Err(Failure::new(Reason::TargetUnwritable, error.to_string())),
                    _ => Err(unavailable(&error)),
                };
            }
        };
        let object = Object::read(&answer, self.key).map_err(|fault| malformed(&fault))?;
        self.version = Some(object.version.into_owned());
        Ok(true)
    }

    fn metadata(&self, annotation: Value) -> Value {
        json!({"resourceVersion": self.version, "annotations": {ANNOTATION: annotation}})
    }
}

impl Target for SecretTarget<'_> {
    fn read(&mut self) -> Result<Held, Failure> {
        self.version = None;
        let answer = match get(self.cluster, self.namespace, self.name) {
            Ok(answer) => answer,
            Err(error) => {
                return match error.reason() {
                    KubeReason::NotFound if self.create.is_some() => {
                        Ok(Held { found: Found::Missing, claim: None, logins: None })
                    }
                    KubeReason::NotFound => Err(Failure::new(
                        Reason::TargetNotFound,
                        "there is no such Secret; create it, or let this renewal do it with `create: {}`",
                    )),
                    KubeReason::Forbidden => Err(Failure::new(Reason::TargetForbidden, error.to_string())),
                    _ => Err(unavailable(&error)),
                };
            }
        };
        let object = Object::read(&answer, self.key).map_err(|fault| malformed(&fault))?;
        if object.immutable {
            let message = "the Secret is immutable: it has to be deleted and created again without `immutable: true`";
            return Err(Failure::new(Reason::TargetImmutable, message));
        }
        self.version = Some(object.version.into_owned());
        let mut value = Zeroizing::new(Vec::with_capacity(object.value.len()));
        // The API server sends nothing else than base64; no token is worse than none.
        let _ = STANDARD.decode_vec(object.value.as_bytes(), &mut value);
        let claim = object.annotation.as_deref().and_then(Claim::parse);
        Ok(Held { found: Found::of(&value), claim, logins: object.logins.map(Cow::into_owned) })
    }

    fn claim(&mut self, claim: &Claim) -> Result<Claiming, Failure> {
        let done = match (&self.version, self.create) {
            (None, Some(labels)) => self.make(labels, claim)?,
            (None, None) => false,
            (Some(_), _) => {
                let patch = json!({"metadata": self.metadata(Value::String(claim.to_string()))}).to_string();
                self.patch(&Zeroizing::new(patch.into_bytes()))?
            }
        };
        Ok(if done { Claiming::Ours } else { Claiming::Changed })
    }

    fn write(&mut self, token: &Redacted) -> Result<bool, Failure> {
        if self.version.is_none() {
            // Deleted while we asked. The next try makes it anew, if it is to be made.
            let message = "the Secret is gone";
            return Err(Failure::new(Reason::TargetNotFound, message));
        }
        // Put together by hand: a tree of JSON would leave copies of the token behind.
        let metadata = self.metadata(Value::Null).to_string();
        let key = Value::String(self.key.to_owned()).to_string();
        let room = metadata.len() + key.len() + token.expose().len() * 4 / 3 + 64;
        let mut body = Zeroizing::new(String::with_capacity(room));
        for part in ["{\"metadata\":", &metadata, ",\"data\":{", &key, ":\""] {
            body.push_str(part);
        }
        STANDARD.encode_string(token.expose(), &mut body);
        body.push_str("\"}}");
        let body = Zeroizing::new(std::mem::take(&mut *body).into_bytes());
        self.patch(&body)
    }
}

/// What is looked at of a Secret (Kubernetes API, `core/v1.Secret`).
struct Object<'a> {
    version: Cow<'a, str>,
    annotation: Option<Cow<'a, str>>,
    logins: Option<Cow<'a, str>>,
    immutable: bool,
    /// Base64.
    value: Cow<'a, str>,
}

impl<'a> Object<'a> {
    fn read(answer: &'a [u8], key: &str) -> Result<Self, JsonFault> {
        let (mut metadata, mut data, mut immutable) = ("{}", "{}", false);
        json::members(json::text(answer)?, |name, value| match &*name {
            "metadata" => metadata = value,
            "data" if value != "null" => data = value,
            "immutable" => immutable = value == "true",
            _ => {}
        })?;
        let (mut version, mut annotations) = (None, "{}");
        json::members(metadata, |name, value| match &*name {
            "resourceVersion" => version = json::string(value),
            "annotations" if value != "null" => annotations = value,
            _ => {}
        })?;
        let (mut annotation, mut logins) = (None, None);
        json::members(annotations, |name, value| match &*name {
            ANNOTATION => annotation = json::string(value),
            LOGIN_ANNOTATION => logins = json::string(value),
            _ => {}
        })?;
        let mut found = Cow::Borrowed("");
        json::members(data, |name, value| {
            if name == key {
                found = json::string(value).unwrap_or_default();
            }
        })?;
        let version = version.ok_or(JsonFault::OtherShape)?;
        Ok(Self { version, annotation, logins, immutable, value: found })
    }
}

/// Reads a Secret by its name, the newest state of it.
pub(in crate::renewal) fn get(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
) -> Result<Zeroizing<Vec<u8>>, RequestError> {
    let response = cluster.send(&ApiRequest {
        verb: Verb::Get,
        resource: "secrets",
        path: Query::path(&["api", "v1", "namespaces", namespace, "secrets", name]).build(),
        body: None,
        deadline: Some(TIMEOUT),
        per_read: TIMEOUT,
    })?;
    whole(response)
}

/// The body, in memory that is wiped.
fn whole(mut response: ApiResponse) -> Result<Zeroizing<Vec<u8>>, RequestError> {
    let body = read_wiped(&mut response, MOST_BYTES).map_err(|error| response.read_error(error))?;
    if body.len() > MOST_BYTES {
        return Err(response.bad_answer(&format!("the object has more than {MOST_BYTES} bytes")));
    }
    Ok(body)
}

fn unavailable(error: &RequestError) -> Failure {
    Failure {
        reason: Reason::TargetUnavailable,
        message: error.to_string(),
        retry_after: error.retry_after().and_then(|wait| i64::try_from(wait.as_secs()).ok()),
    }
}

fn malformed(fault: &JsonFault) -> Failure {
    Failure::new(Reason::TargetUnavailable, format!("what the API server sent {fault}"))
}
