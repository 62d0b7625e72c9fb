//! What a cluster knows: whether a token is good (`authentication.k8s.io/v1`, TokenReview), and the labels of a namespace.

use crate::json::{self, Duplicates, Value};
use crate::kubernetes::{ApiRequest, Cluster, Query, Reason, RequestError, Verb};
use crate::login::{Review, ReviewRequest};
use crate::redacted::Redacted;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::Duration;
use zeroize::Zeroizing;

/// Longest time for one request.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// No more of an answer is read.
const MOST_BYTES: usize = 1 << 20;

/// Asks whether a token is good.
///
/// # Errors
/// Why there is no answer.
pub(super) fn token_review(
    cluster: &Cluster,
    token: &Redacted,
    wanted: &ReviewRequest,
) -> Result<Review, RequestError> {
    let audiences = serde_json::to_string(&wanted.audiences).unwrap_or_default();
    let head = "{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"TokenReview\",\"spec\":{\"token\":";
    // Room for everything: what is left in a buffer that became too small is not wiped. An escaped byte has six.
    let room = head.len() + 6 * token.expose().len() + audiences.len() + 64;
    let mut body = Zeroizing::new(Vec::with_capacity(room));
    body.extend_from_slice(head.as_bytes());
    let _ = serde_json::to_writer(&mut *body, token.expose());
    for part in [",\"audiences\":", &audiences, "}}"] {
        body.extend_from_slice(part.as_bytes());
    }
    let request = ApiRequest {
        verb: Verb::Create,
        resource: "tokenreviews",
        path: Query::path(&["apis", "authentication.k8s.io", "v1", "tokenreviews"]).build(),
        body: Some(("application/json", &body)),
        deadline: Some(TIME_LIMIT),
        per_read: TIME_LIMIT,
    };
    let status = ask(cluster, &request, "status")?;
    if status.member("authenticated") != Some(&Value::Boolean(true)) {
        return Ok(Review::Refused);
    }
    // A server that is asked for audiences wants to hear of one of them.
    let told = match status.member("audiences") {
        Some(Value::List(told)) => told.as_slice(),
        _ => &[],
    };
    let meant = |audience: &String| told.iter().any(|told| told.as_text() == Some(audience));
    let failed = status.member("error").and_then(Value::as_text).is_some_and(|error| !error.is_empty());
    if failed || !wanted.audiences.is_empty() && !wanted.audiences.iter().any(meant) {
        return Ok(Review::Refused);
    }
    let user = status.member("user");
    let text = |name| user.and_then(|user| user.member(name)).and_then(Value::as_text).unwrap_or_default().to_owned();
    Ok(Review::Authenticated { username: text("username"), uid: text("uid") })
}

/// Reads the labels of a namespace; `None`: there is no such namespace.
///
/// # Errors
/// Why there is no answer.
pub(super) fn labels(cluster: &Cluster, namespace: &str) -> Result<Option<BTreeMap<String, String>>, RequestError> {
    let request = ApiRequest {
        verb: Verb::Get,
        resource: "namespaces",
        path: Query::path(&["api", "v1", "namespaces", namespace]).build(),
        body: None,
        deadline: Some(TIME_LIMIT),
        per_read: TIME_LIMIT,
    };
    let metadata = match ask(cluster, &request, "metadata") {
        Err(error) if error.reason() == Reason::NotFound => return Ok(None),
        answer => answer?,
    };
    let pairs = match metadata.member("labels") {
        Some(Value::Object(members)) => members.as_slice(),
        _ => &[],
    };
    let pair = |(name, value): &(String, Value)| Some((name.clone(), value.as_text()?.to_owned()));
    Ok(Some(pairs.iter().filter_map(pair).collect()))
}

/// One member of the answer. Of the others no copy is made: a TokenReview comes back with the token in it.
fn ask(cluster: &Cluster, request: &ApiRequest<'_>, wanted: &str) -> Result<Value, RequestError> {
    let response = cluster.send(request)?;
    let mut answer = Zeroizing::new(Vec::with_capacity(MOST_BYTES + 2));
    let mut bounded = response.take(MOST_BYTES as u64 + 1);
    let read = bounded.read_to_end(&mut answer);
    let response = bounded.into_inner();
    read.map_err(|error| response.read_error(error))?;
    if answer.len() > MOST_BYTES {
        return Err(response.bad_answer(&format!("the answer has more than {MOST_BYTES} bytes")));
    }
    let no_json = || response.bad_answer("the answer is no JSON object");
    let mut found = None;
    json::members(json::text(&answer).map_err(|_| no_json())?, |name, value| {
        if name == wanted {
            found = Value::parse(value.as_bytes(), Duplicates::LastWins).ok();
        }
    })
    .map_err(|_| no_json())?;
    found.ok_or_else(|| response.bad_answer(&format!("the answer has no `{wanted}`")))
}
