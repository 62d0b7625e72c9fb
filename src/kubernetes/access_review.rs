//! What we may do, asked by a `SelfSubjectAccessReview`, which everybody may create.
//! Source: <https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/self-subject-access-review-v1/>

use super::status::read_bounded;
use super::{ApiRequest, Cluster, RequestError, Verb};
use serde_json::{Value, json};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(30);

/// Whether we may do this with a resource (API group, name), in a namespace or in all, with all of its objects or the one of a
/// name.
///
/// # Errors
/// Why nobody said.
pub fn may(
    cluster: &Cluster,
    verb: Verb,
    (group, resource): (&str, &str),
    (namespace, name): (Option<&str>, Option<&str>),
) -> Result<bool, RequestError> {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {
            "verb": verb.as_str(), "version": "v1", "group": group, "resource": resource,
            "namespace": namespace.unwrap_or_default(), "name": name.unwrap_or_default(),
        }},
    });
    let mut response = cluster.send(&ApiRequest {
        verb: Verb::Create,
        resource: "selfsubjectaccessreviews",
        path: "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".to_owned(),
        body: Some(("application/json", review.to_string().as_bytes())),
        deadline: Some(TIMEOUT),
        per_read: TIMEOUT,
    })?;
    let answer: Option<Value> = serde_json::from_slice(&read_bounded(&mut response)).ok();
    let allowed = answer.as_ref().and_then(|answer| answer.pointer("/status/allowed")).and_then(Value::as_bool);
    allowed.ok_or_else(|| response.bad_answer("the answer is no access review"))
}
